-- kt test, as users run it.
local kt = os.getenv "KT_BIN" or "build/kt"
local lua_path = (os.getenv "KT_BUILD" or "build") .. "/lua/?.so;;"

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read "a"
  if file then file:close() end
  return text
end

-- Output and exit code of a command in a shell.
local function run(command)
  local pipe = assert(io.popen(command .. " 2>&1; echo code $?"))
  local text = pipe:read "a"
  pipe:close()
  local said, code = text:match "^(.*)code (%d+)\n$"
  return said, tonumber(code)
end

local good = [[
  local sim = require "kt.sim"
  describe("a network", function()
    it("echoes", function()
      local w = sim.world()
      w:host "a":serve { on = ":7", kind = "echo" }
      w:host "b"
      w:link("a", "b", { delay = "10ms", loss = "10%" })
      w:host "a":file("s.lua", 'local kt = require "kt" local s = kt.udp { on = ":9" } kt.spawn(function() s:receive { timeout = "1h" } end)')
      w:host "a":run "s.lua"
      w:host "b":file("s.lua", 'local kt = require "kt" local s = kt.udp { on = ":9" } '
        .. 'kt.spawn(function() for i = 1, 20 do s:send(("x"):rep(i), "10.0.1.1:9") kt.sleep "10ms" end end)')
      w:host "b":run "s.lua"
      w:host "b":connect "a:7":echo "hello"
      w:run "1s"
    end)
  end)]]

describe("kt test", function()
  local folder = os.tmpname()
  setup(function()
    os.remove(folder)
    assert(os.execute("mkdir -p " .. folder))
  end)
  teardown(function() os.execute("rm -r " .. folder) end)

  it("runs specs and exits with 0 when all pass", function()
    write(folder .. "/good_spec.lua", good)
    local said, code = run(kt .. " test -o plainTerminal " .. folder)
    assert.matches("1 success / 0 failures / 0 errors", said, 1, true)
    assert.equal(0, code)
  end)

  it("exits with another code when one fails, and prints how to repeat that one", function()
    write(folder .. "/bad_spec.lua", [[
      local sim = require "kt.sim"
      it("holds (mostly)", function()
        local w = sim.world()
        assert.is_true(w.seed ~= 12)
      end)]])
    local said, code = run("KT_SEED=12 " .. kt .. " test -o plainTerminal " .. folder .. "/bad_spec.lua")
    assert.equal(1, code)
    assert.matches("To reproduce:\n  KT_SEED=12 kt test " .. folder .. "/bad_spec.lua --filter='holds .mostly.'", said, 1, true)
    said, code = run(kt .. " test -o plainTerminal " .. folder .. "/bad_spec.lua")
    assert.equal(0, code, said)
  end)

  it("passes busted's options on", function()
    write(folder .. "/two_spec.lua", 'it("one", function() end) it("two", function() end)')
    assert.matches("1 success /", run(kt .. " test -o plainTerminal --filter=two " .. folder .. "/two_spec.lua"), 1, true)
    assert.matches("ok 2", run(kt .. " test -o TAP " .. folder .. "/two_spec.lua"), 1, true)
  end)

  it("gives scripts UTC, independent of this machine's time zone", function()
    write(folder .. "/zone_spec.lua", [[
      local sim = require "kt.sim"
      it("is noon", function()
        local w = sim.world { start = "2026-03-02 12:00" }
        w:host "a":file("s.lua", 'local kt = require "kt" kt.spawn(function() local d = kt.date() print(d.day, d.hour, d.minute) end)')
        local script = w:host "a":run "s.lua"
        w:run "1s"
        assert.equal("2\t12\t0\n", script:output())
      end)]])
    for _, zone in ipairs { "UTC", "IST-5:30", "NZST-12" } do
      local said, code = run(("TZ=%s %s test -o plainTerminal %s/zone_spec.lua"):format(zone, kt, folder))
      assert.equal(0, code, said)
    end
  end)

  it("gives specs all of Lua's library", function()
    write(folder .. "/os_spec.lua", 'it("x", function() assert(os.getenv "PATH" and io.open and debug and require "lfs") end)')
    assert.equal(0, select(2, run(kt .. " test " .. folder .. "/os_spec.lua")))
  end)

  it("writes a log and a capture of each world", function()
    local said = run(("%s test --trace=%s/trace %s/good_spec.lua"):format(kt, folder, folder))
    local text = assert(read(folder .. "/trace/good_spec-4-1.log"), said)
    assert.matches("*** " .. folder .. "/good_spec.lua:4, seed 1", text, 1, true)
    assert.matches("b > a +udp 10.0.2.1:9 > 10.0.1.1:9  %d+ bytes  sent #%d+\n", text)
    assert.matches("dropped by loss", text, 1, true)
    local capture = run(("tcpdump -n -r %s/trace/good_spec-4-1.pcapng"):format(folder))
    local _, packets = capture:gsub("10.0.2.1.9 > 10.0.1.1.9: UDP, length", "")
    assert.equal(20, packets)
  end)

  it("prints how to repeat a spec whose path is long or contains blanks", function()
    local deep = folder .. "/" .. ("long"):rep(20)
    assert(os.execute("mkdir '" .. deep .. "'"))
    local text = 'it("x", function() error "no" end)'
    write(deep .. "/far_spec.lua", text)
    write(deep .. "/far away_spec.lua", text)
    local said = run(("%s test -o plainTerminal '%s'"):format(kt, deep))
    assert.matches("  kt test " .. deep .. "/far_spec.lua --filter='x'\n", said, 1, true)
    assert.matches("  kt test '" .. deep .. "/far away_spec.lua' --filter='x'\n", said, 1, true)
    os.execute("rm -r '" .. deep .. "'")
  end)

  it("names a mistake's line in full, even with a long path", function()
    local deep = folder .. "/" .. ("long"):rep(20)
    assert(os.execute("mkdir '" .. deep .. "'"))
    write(deep .. "/far_spec.lua", 'it("x", function() require("kt.sim").world { sed = 1 } end)')
    assert.matches(deep .. "/far_spec.lua:1: sim.world.sed: unknown key", run(("%s test -o plainTerminal '%s'"):format(kt, deep)), 1, true)
    os.execute("rm -r '" .. deep .. "'")
  end)

  it("prints how to repeat a failure in a before_each", function()
    write(folder .. "/before_spec.lua", [[describe("all", function()
      before_each(function() require("kt.sim").world() error "no" end)
      it("x", function() end)
    end)]])
    local said = run("KT_SEED=3 " .. kt .. " test -o plainTerminal " .. folder .. "/before_spec.lua")
    assert.matches("To reproduce:\n  KT_SEED=3 kt test " .. folder .. "/before_spec.lua --filter='all'\n", said, 1, true)
  end)

  it("has written log and capture of a spec that is killed", function()
    write(folder .. "/hang_spec.lua", (good:gsub('w:run "1s"', '%0 io.stdout:write("hangs\\n") io.stdout:flush() while true do end')))
    local pipe = io.popen(("%s test --trace=%s/hang %s/hang_spec.lua & echo $!; wait"):format(kt, folder, folder))
    local pid = pipe:read "l"
    assert.equal("hangs", pipe:read "l")
    os.execute("kill " .. pid)
    pipe:close()
    local text = assert(read(folder .. "/hang/hang_spec-4-1.log"))
    assert.matches("delivered", text, 1, true)
    assert.equal("\n", text:sub(-1))
    local capture = run(("tcpdump -n -r %s/hang/hang_spec-4-1.pcapng"):format(folder))
    local _, packets = capture:gsub("10.0.2.1.9 > 10.0.1.1.9: UDP, length", "")
    assert.equal(20, packets)
  end)

  it("has drawn the results of a spec that is killed", function()
    write(folder .. "/slow_spec.lua", [[
      local sim = require "kt.sim"
      it("x", function()
        local w = sim.world()
        w:host "a"
        w:host "b"
        w:link("a", "b", {})
        local from, drawn = os.clock(), os.clock()
        w:run_until(function() return os.clock() - from > 1.5 end, { timeout = "100h" })
        io.stdout:write("hangs\n") io.stdout:flush() while true do end
      end)]])
    local pipe = io.popen(("%s test --plot=%s/slow.svg %s/slow_spec.lua & echo $!; wait"):format(kt, folder, folder))
    local pid = pipe:read "l"
    assert.equal("hangs", pipe:read "l")
    os.execute("kill " .. pid)
    pipe:close()
    assert.matches('<polyline points="[%d.]+,[%d.]+ [^>]*><title>a %- b</title>.*</svg>\n$', assert(read(folder .. "/slow.svg")))
  end)

  it("numbers drawings before the file extension, in folders that it makes", function()
    write(folder .. "/three_spec.lua", 'it("x", function() local sim = require "kt.sim" sim.world():close() sim.world():close() end)')
    for name, second in pairs { ["pl/out"] = "pl/out-2", ["pl/my.plot-file"] = "pl/my.plot-file-2", ["new/a.b/c.svg"] = "new/a.b/c-2.svg" } do
      local said, code = run(("%s test --plot %s/%s %s/three_spec.lua"):format(kt, folder, name, folder))
      assert.equal(0, code, said)
      assert.matches("^<svg", assert(read(folder .. "/" .. name), name))
      assert.matches("^<svg", assert(read(folder .. "/" .. second), second))
    end
  end)

  it("fails at the spec's line when it cannot write what it was asked to", function()
    write(folder .. "/one_spec.lua", 'local sim = require "kt.sim"\nit("x", function()\n  sim.world()\nend)')
    for _, option in ipairs { "--trace=/dev/null/t", "--plot=/dev/null/x.svg" } do
      local said, code = run(("%s test -o plainTerminal %s %s/one_spec.lua"):format(kt, option, folder))
      assert.equal(1, code)
      assert.matches("one_spec.lua:3: kt test: cannot write /dev/null/", said, 1, true)
    end
  end)

  it("draws each world's figures", function()
    run(("%s test --plot %s/out.svg %s/good_spec.lua"):format(kt, folder, folder))
    assert.matches("^<svg", assert(read(folder .. "/out.svg")))
    assert.matches("goodput", read(folder .. "/out.svg"), 1, true)
  end)

  it("runs the same way when it is traced", function()
    write(folder .. "/same_spec.lua", (good:gsub('w:run "1s"', '%0 print("fingerprint " .. w:fingerprint())')))
    local plain = run(kt .. " test " .. folder .. "/same_spec.lua"):match "fingerprint (%x+)"
    local watched = run(("%s test --trace=%s/t --plot %s/t.svg %s/same_spec.lua"):format(kt, folder, folder, folder)):match "fingerprint (%x+)"
    assert.is_string(plain)
    assert.equal(plain, watched)
  end)

  it("runs a given seed of a sweep", function()
    write(folder .. "/sweep_spec.lua", [[
      local sim = require "kt.sim"
      it("x", function() print("ran " .. sim.sweep(50, function(w, seed) if seed == 40 then error "forty" end end)) end)]])
    local said = run(kt .. " test -o plainTerminal " .. folder .. "/sweep_spec.lua")
    assert.matches("seed 40 of 50: ", said, 1, true)
    assert.matches("To reproduce:\n  KT_SEED=40 kt test " .. folder .. "/sweep_spec.lua --filter='x'\n", said, 1, true)
    assert.is_nil(said:find("to repeat", 1, true)) -- once is enough
    assert.matches("ran 1\n", run("KT_SEED=39 " .. kt .. " test " .. folder .. "/sweep_spec.lua"), 1, true)
  end)

  -- Draws and walks tables, in a file's body, in a hook and in specs.
  local drawing = [[
    local sim = require "kt.sim"
    local first = math.random(1 << 40)
    local function say(name) print(name .. ":", first, math.random(1 << 40)) end
    local near = "20ms"
    local words = { near = near, far = "60ms", spare = "90ms", other = "1ms", fifth = "2ms", sixth = "3ms" }
    describe("a spec", function()
      local hook
      before_each(function() hook = math.random(1 << 40) end)
      it("one", function() say("one " .. hook) end)
      it("two", function() say("two " .. hook) say "again" end)
      it("walks", function()
        local w = sim.world()
        for name in pairs(words) do w:host(name) end
        local names = {}
        for name in next, words do names[#names + 1] = name end
        print("hosts", table.concat(w.host_names, " "), table.concat(names, " "))
      end)
      it("sweeps", function() sim.sweep(2, function(_, seed) print("seed " .. seed, math.random(1 << 40)) end) end)
    end)]]

  local function drawn(command, name)
    local said, code = run(command)
    assert.equal(0, code, said)
    return assert(said:match("%f[%w]" .. name .. "[^\n]*"), said)
  end

  it("draws the same numbers in each run, and in a spec that runs alone", function()
    write(folder .. "/draw_spec.lua", drawing)
    local all = ("%s test -o plainTerminal %s/draw_spec.lua"):format(kt, folder)
    for _, name in ipairs { "one", "two", "again", "seed 1", "seed 2" } do assert.equal(drawn(all, name), drawn(all, name)) end
    assert.equal(drawn(all, "two"), drawn(all .. " --filter=two", "two"))
    assert.equal(drawn(all, "seed 2"), drawn("KT_SEED=2 " .. all, "seed 2"))
    assert.are_not.equal(drawn(all, "one"), drawn("KT_SEED=2 " .. all, "one"))
    assert.are_not.equal(drawn(all, "seed 1"):match "%d+$", drawn(all, "seed 2"):match "%d+$")
  end)

  it("walks tables in the order of their keys", function()
    write(folder .. "/draw_spec.lua", drawing)
    assert.equal("hosts\tfar fifth near other sixth spare\tfar fifth near other sixth spare",
      drawn(("%s test -o plainTerminal %s/draw_spec.lua"):format(kt, folder), "hosts"))
  end)

  it("prints the seed where the spec's own random numbers depend on it", function()
    write(folder .. "/chance_spec.lua", [[it("is bad", function() assert.is_true(math.random() < 0) end)]])
    local said = run(("KT_SEED=5 %s test -o plainTerminal %s/chance_spec.lua"):format(kt, folder))
    assert.matches("KT_SEED=5 kt test", said, 1, true)
  end)

  it("refuses an invalid seed, instead of running another", function()
    for _, seed in ipairs { "abc", "1.5", "nan", "99999999999999999999", "0x10", " 7" } do
      local said, code = run(("KT_SEED='%s' %s test %s/good_spec.lua"):format(seed, kt, folder))
      assert.equal(("kt test: KT_SEED: expected an integer (-9223372036854775808 to 9223372036854775807), got %s\n"):format(seed), said)
      assert.equal(1, code)
    end
    for _, seed in ipairs { "", "-3", "9223372036854775807" } do
      local said, code = run(("KT_SEED='%s' %s test -o plainTerminal %s/good_spec.lua"):format(seed, kt, folder))
      assert.matches("1 success", said, 1, true)
      assert.equal(0, code)
    end
  end)

  it("explains how to get busted when it is missing", function()
    local said, code = run("LUA_PATH=/nowhere/?.lua " .. kt .. " test " .. folder .. "/good_spec.lua")
    assert.matches("apt-get install lua-busted", said, 1, true)
    assert.equal(1, code)
  end)

  it("gives scripts the modules of --path", function()
    os.execute("mkdir " .. folder .. "/shared")
    write(folder .. "/shared/greeting.lua", "return 'from the shared folder'")
    write(folder .. "/path_spec.lua", [[
      it("finds it", function()
        local w = require("kt.sim").world()
        w:host "a":file("s.lua", 'local kt = require "kt" kt.spawn(print, (require "greeting"))')
        local script = w:host "a":run "s.lua"
        w:run "1s"
        assert.equal("from the shared folder\n", script:output())
      end)]])
    local said, code = run(("%s test --path %s/shared -o plainTerminal %s/path_spec.lua"):format(kt, folder, folder))
    assert.equal(0, code, said)
  end)

  it("explains its usage, and reports an option without its value", function()
    local said, code = run(kt .. " test --help")
    assert.matches("usage: kt test", said, 1, true)
    assert.equal(0, code)
    said, code = run(kt .. " test --plot")
    assert.matches("--plot: expected a file", said, 1, true)
    assert.equal(1, code)
    assert.matches("--plot: expected a file", run(kt .. " test --plot="), 1, true)
    said, code = run(kt .. " test --trace= x_spec.lua")
    assert.matches("--trace=: expected a folder", said, 1, true)
    assert.equal(1, code)
  end)

  it("reports when it finds no specs", function()
    local said, code = run(kt .. " test -o plainTerminal " .. folder .. "/none_spec.lua")
    assert.matches("Cannot find file or directory", said, 1, true)
    assert.equal(1, code)
  end)
end)

describe("plain busted", function()
  it("has kt.sim through kt.so", function()
    local path = os.tmpname() .. ".lua"
    write(path, good)
    -- The sanitized module needs an interpreter that is sanitized too, and that is spec-lua.
    local lua = (os.getenv "KT_BUILD" or "build") .. "/spec/spec-lua"
    local said, code = run(("LUA_CPATH='%s' %s /usr/bin/busted -o plainTerminal --helper=kt.sim.report --pattern=. %s"):format(
      lua_path, lua, path))
    os.remove(path)
    assert.matches("1 success / 0 failures / 0 errors", said, 1, true)
    assert.equal(0, code)
  end)

  it("gets the command to repeat a seed from the sweep itself, unless the report prints it", function()
    local path = os.tmpname() .. ".lua"
    write(path, 'it("x", function() require("kt.sim").sweep(50, function(_, seed) if seed == 40 then error "forty" end end) end)')
    local said = run(("LUA_CPATH='%s' %s/spec/spec-lua /usr/bin/busted -o plainTerminal --pattern=. %s"):format(
      lua_path, os.getenv "KT_BUILD" or "build", path))
    os.remove(path)
    assert.matches("to reproduce: KT_SEED=40 kt test " .. path, said, 1, true)
  end)

  it("gets an error from each module that names the interpreter it needs, when run in another", function()
    local _, absent = run "lua5.1 -v"
    if absent ~= 0 or os.getenv "KT_SPEC_LIGHT" then pending "needs lua5.1, and kt.so without sanitizers" end
    for _, module in ipairs { "kt", "kt.sim", "kt.sim.report", "kt.sim.core" } do
      local said, code = run(("LUA_CPATH='%s' lua5.1 -e 'require \"%s\"'"):format(lua_path, module))
      assert.matches("kt.so is for Lua 5.4, but this is Lua 5.1; run specs with kt test, or with lua5.4 /usr/bin/busted", said, 1, true)
      assert.equal(1, code)
    end
  end)

  it("walks tables in the order of their keys, and draws the same numbers each time, in each file that uses kt.sim", function()
    local folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir " .. folder))
    for i = 1, 2 do
      write(("%s/%d_spec.lua"):format(folder, i), [[
        local sim = require "kt.sim"
        local n = math.random(1 << 40)
        it("walks", function()
          local names = {}
          for name in pairs { near = 1, far = 2, spare = sim, other = 4, fifth = 5, sixth = 6 } do names[#names + 1] = name end
          print(table.concat(names, " "), n)
        end)]])
    end
    local lua = (os.getenv "KT_BUILD" or "build") .. "/spec/spec-lua"
    local said = run(("LUA_CPATH='%s' %s /usr/bin/busted -o plainTerminal %s"):format(lua_path, lua, folder))
    os.execute("rm -r " .. folder)
    local numbers = {}
    for n in said:gmatch "far fifth near other sixth spare\t(%d+)\n" do numbers[#numbers + 1] = n end
    assert.equal(2, #numbers, said)
    assert.equal(numbers[1], numbers[2])
  end)

  it("gets an error for an invalid seed", function()
    local said, code = run(("KT_SEED=abc LUA_CPATH='%s' %s/spec/spec-lua /usr/bin/busted -o plainTerminal -e 'require \"kt.sim\"'"):format(
      lua_path, os.getenv "KT_BUILD" or "build"))
    assert.matches("KT_SEED: expected an integer", said, 1, true)
    assert.equal(1, code)
  end)

  it("gets an error for kt, which only scripts have", function()
    local said = run(("LUA_CPATH='%s' %s/spec/spec-lua /usr/bin/busted -o plainTerminal -e 'require(\"kt\").link {}'"):format(
      lua_path, os.getenv "KT_BUILD" or "build"))
    assert.matches("kt.link: a spec has only kt.sim", said, 1, true)
  end)
end)
