-- Files named on the command line and in scripts: a path that is not a regular file never blocks kt, and the error for a
-- missing file names what is missing.
local h = require "harness"
local scripts = require "harness.scripts"

local SCRIPT = 'local kt = require "kt"\nkt.listen { on = "127.0.0.1:0" }:serve(function() end)\nkt.log.info("up")\n'

describe("a file argument", function()
  local s = scripts.each(before_each, after_each)

  before_each(function()
    assert(os.execute(("mkfifo %s/fifo && mkdir %s/folder"):format(s.dir, s.dir)))
    s.write("s.lua", SCRIPT)
    s.write("file", "text\n")
  end)

  local function start(...) return s.kt(...) end

  --- Runs kt until it ends by itself.
  local function say(...)
    local p = start(...)
    local code = p:wait_exit(10)
    return p.stdout .. p.stderr, code
  end

  -- what it is, and a command that names it; the word FILE stands for it
  local arguments = {
    { "a script", { "run", "FILE" } },
    { "a script to check", { "check", "FILE" } },
    { "a configuration", { "client", "-c", "FILE" } },
    { "a log", { "run", "--log", "FILE", "s.lua" } },
    { "a log of kt client", { "client", "-l", "127.0.0.1:0", "-r", "127.0.0.1:9", "--log", "FILE" } },
    { "a pid file", { "run", "--pid-file", "FILE", "s.lua" } },
    { "a pid file to reload by", { "reload", "--pid-file", "FILE" } },
    { "a key file", { "run", "secret.lua" } },
  }
  local function command(words, file)
    local out = {}
    for i, word in ipairs(words) do out[i] = word == "FILE" and file or word end
    s.write("secret.lua", ('local kt = require "kt"\nkt.secret_file(%q)\n'):format(file))
    return out
  end

  for _, argument in ipairs(arguments) do
    it("that is a pipe is refused at once: " .. argument[1], function()
      h.run(function()
        local said, code = say(table.unpack(command(argument[2], "fifo")))
        assert.matches("fifo: is a pipe, not a regular file\n", said)
        assert.equal(1, code)
      end)
    end)

    it("that is a folder is refused: " .. argument[1], function()
      h.run(function()
        local said, code = say(table.unpack(command(argument[2], "folder")))
        assert.matches("folder: [Ii]s a %l+", said)
        assert.equal(1, code)
      end)
    end)
  end

  it("that became a pipe makes a reload fail without changes", function()
    h.run(function()
      local p = start("run", "s.lua")
      p:expect "up"
      assert(os.execute(("rm %s/s.lua && mkfifo %s/s.lua"):format(s.dir, s.dir)))
      p:signal_with "sighup"
      p:expect "s.lua: is a pipe, not a regular file"
      assert.same({ 0, 0 }, { p:stop(10) })
    end)
  end)

  it("for a log may be a device such as /dev/null", function()
    h.run(function()
      local p = start("run", "--log", "/dev/null", "s.lua")
      h.loop.eventually("SIGTERM to be handled", 10, function()
        local caught = h.read_file(("/proc/%d/status"):format(p.pid)):match "SigCgt:%s*(%x+)"
        return tonumber(caught, 16) & 0x4000 ~= 0
      end)
      assert.same({ 0, 0 }, { p:stop(10) })
      assert.equal("", p.stderr)
    end)
  end)

  for _, argument in ipairs(arguments) do
    local makes = argument[1]:find "log" or argument[1] == "a pid file"
    it("in a missing folder is reported with that folder: " .. argument[1], function()
      h.run(function()
        for _, path in ipairs { "nowhere/deep/x", "~/x" } do
          local said = say(table.unpack(command(argument[2], path)))
          local wanted = path .. (makes and ": no such folder: " .. path:match "^(.*)/" or ": no such file")
          if path:find "~" then wanted = wanted .. "; ~ is not expanded here, write the full path" end
          assert.truthy(said:find(wanted .. "\n", 1, true), said)
        end
      end)
    end)
  end
end)
