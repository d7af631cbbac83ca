-- Files and variables that kt run --allow-read, --allow-write and --env open to a script, on a real machine.
local h = require "harness"
local scripts = require "harness.scripts"

describe("what kt run allows a script", function()
  local s = scripts.each(before_each, after_each)

  it("neither symbolic links nor .. lead out of a folder, for reading or for writing", function()
    h.run(function()
      local at = s.dir
      assert(os.execute(([[cd %s && mkdir app data log out && echo inside > data/x && echo outside > out/x &&
        ln -s ../data/x app/link && ln -s ../out/x data/link && ln -s ../out/new log/dangling && ln -s ../out log/out]]):format(at)))
      h.write_file(at .. "/app/s.lua", [[
        local kt = require "kt"
        for _, path in ipairs { "link", "../data/x", "../data/link", "../data/../out/x", "../out/none", "../none/x", "../../../../../../etc/none",
          "none", "none/x", "../data/none", "" , "a\0b" } do
          local text, err = kt.file(path)
          print(text and text:gsub("\n", "") or err.code)
        end
        print(select(2, kt.file "."))
        kt.spawn(function()
          for _, path in ipairs { "../log/a", "../log/dangling", "../log/out/new", "../log/../out/new", "../log/none/a", "a", "../none/a", "", "../log" } do
            local ok, err = kt.append(path, "text\n")
            print(ok or err.code)
          end
          print(kt.env.KT_ONE, pcall(function() return kt.env.HOME end))
        end)]])
      local p = s.kt("run", "--allow-read", at .. "/data", "--allow-write", at .. "/log", "--env", "KT_ONE", "--env", "KT_TWO", at .. "/app/s.lua")
      assert.equal(0, p:wait_exit(10))
      local printed = p.stdout
      assert.equal("inside\ninside\n" .. ("denied\n"):rep(5) .. ("not_found\n"):rep(3) .. ("invalid\n"):rep(2)
        .. "kt.file: " .. at .. "/app: is a folder, not a regular file\n"
        .. "true\ndenied\ndenied\ndenied\nnot_found\ndenied\ndenied\ninvalid\ninvalid\n"
        .. "nil\tfalse\t" .. at .. "/app/s.lua:13: kt.env.HOME: not allowed; start kt with --env HOME\n", printed)
      assert.equal("text\n", h.read_file(at .. "/log/a"))
      assert.is_nil(io.open(at .. "/out/new"))
    end)
  end)

  it("a symbolic link slipped in between the check and the opening of a file leads nowhere", function()
    h.run(function()
      local at = s.dir
      assert(os.execute(("cd %s && mkdir -p app data/d out && echo inside > data/d/x && echo outside > out/x && ln -s ../out data/link"):format(at)))
      h.write_file(at .. "/swap.lua", [[
        local at = ...
        local function move(a, b) os.rename(at .. "/data/" .. a, at .. "/data/" .. b) end
        local own = io.open(at .. "/swap.lua")
        while own do
          own:close()
          move("d", "kept") move("link", "d") move("d", "link") move("kept", "d")
          own = io.open(at .. "/swap.lua")
        end]])
      assert(os.execute(("cd %s && { lua5.4 swap.lua . & }"):format(at)))
      h.write_file(at .. "/app/s.lua", [[
        local kt = require "kt"
        local seen, began = {}, kt.wall()
        kt.spawn(function()
          repeat
            for _ = 1, 200 do
              local text, err = kt.file "../data/d/x"
              local what = text or err.code
              seen[what] = (seen[what] or 0) + 1
              kt.append("../data/d/log", "text\n")
            end
            kt.sleep(0)
          until kt.wall() > began + 0.4
          print((seen["inside\n"] or 0) > 0, seen["outside\n"])
        end)]])
      local p = s.kt("run", "--allow-read", at .. "/data", "--allow-write", at .. "/data", at .. "/app/s.lua")
      local code = p:wait_exit(20)
      os.remove(at .. "/swap.lua")
      assert.equal(0, code)
      assert.equal("true\tnil\n", p.stdout)
      assert.is_nil(io.open(at .. "/out/log"))
    end)
  end)

  it("kt.watch sees a file that is written, replaced by another, removed and made again", function()
    h.run(function()
      h.write_file(s.dir .. "/deny.txt", "one")
      local p = s.kt("run", s.write("s.lua", [[
        local kt = require "kt"
        kt.watch("deny.txt", function(text, err) print("now", text, err and err.code) end)
        kt.spawn(function()
          print "watching"
          kt.sleep "1h"
        end)]]))
      p:expect "watching"
      h.write_file(s.dir .. "/deny.txt", "two")
      p:expect "now\ttwo\tnil"
      h.write_file(s.dir .. "/new.txt", "three")
      os.rename(s.dir .. "/new.txt", s.dir .. "/deny.txt")
      p:expect "now\tthree\tnil"
      os.remove(s.dir .. "/deny.txt")
      p:expect "now\tnil\tnot_found"
      h.write_file(s.dir .. "/deny.txt", "four")
      p:expect "now\tfour\tnil"
    end)
  end)

  it("kt.watch sees changes behind symbolic links: of the file that one leads to, and of a folder on the way", function()
    h.run(function()
      assert(os.execute(([[cd %s && mkdir -p real v1 v2 && echo one >real/x && echo v1 >v1/y && echo v2 >v2/y && echo w >w &&
        ln -s real/x link && ln -s v1 data && ln -s data/y y]]):format(s.dir)))
      local p = s.kt("run", s.write("s.lua", [[
        local kt = require "kt"
        for _, path in ipairs { "link", "data/y", "y" } do kt.watch(path, function(text) print(path, text) end) end
        print(select(2, kt.watch("none/x", print)).code)
        print "watching"
        kt.spawn(function() kt.sleep "1h" end)]]))
      p:expect "not_found"
      p:expect "watching"
      h.write_file(s.dir .. "/real/x", "two")
      assert(os.execute(("cd %s && ln -s v2 new && mv -T new data"):format(s.dir)))
      p:expect "link\ttwo"
      p:expect "data/y\tv2"
      p:expect "\ny\tv2"
    end)
  end)
end)
