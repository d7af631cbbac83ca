-- Simulated runs repeat: same seed, same scripts, same run; in one process and in two.
local sim = require "kt.sim"

-- Runs a script's text alone on a host; returns the script once it has ended or the time is over.
local function run(text, opts)
  opts = opts or {}
  local w = sim.world { seed = opts.seed or 1 }
  local host = w:host "here"
  host:file("s.lua", 'local kt = require "kt"\n' .. text)
  local script = host:run("s.lua", { unsafe = opts.unsafe, env = opts.env })
  w:run(opts.time or 10)
  return script, w
end

describe("a script on a simulated host", function()
  it("walks tables in the order of their keys", function()
    local text = [[
      kt.spawn(function()
        local t = { b = 1, a = 2, [3] = 3, [1.5] = 4, [true] = 5, [-1] = 6, c = 7, [false] = 8 }
        for k in pairs(t) do print(k) end
        t.b, t.a = nil
        for k in next, t do print(k) end
      end)]]
    assert.equal("-1\n1.5\n3\na\nb\nc\nfalse\ntrue\n-1\n1.5\n3\nc\nfalse\ntrue\n", (run(text):output()))
  end)

  it("walks keys compared by identity in the order in which they were first seen", function()
    local text = [[
      kt.spawn(function()
        local names, t = {}, {}
        for i = 1, 50 do
          local key = i % 2 == 0 and {} or function() return i end
          names[key], t[key] = i, true
          for _ in pairs(t) do end -- now it has been met
        end
        local out = {}
        for key in pairs(t) do out[#out + 1] = names[key] end
        print(table.concat(out, " "))
      end)]]
    local want = {}
    for i = 1, 50 do want[i] = i end
    assert.equal(table.concat(want, " ") .. "\n", (run(text):output()))
  end)

  it("walks keys never seen before in the same order each time", function()
    local text = [[
      kt.spawn(function()
        local names, t = {}, {}
        for i = 1, 200 do
          local key = i % 3 == 0 and {} or i % 3 == 1 and function() return i end or coroutine.create(print)
          names[key], t[key] = i, true
          local garbage = ("x"):rep(i * 20) -- luacheck: ignore
        end
        local out = {}
        for key in pairs(t) do out[#out + 1] = names[key] end
        print(table.concat(out, " "))
      end)]]
    local first = run(text):output()
    local elsewhere = {} -- memory
    for i = 1, 1000 do elsewhere[i] = ("y"):rep(i) end
    assert.equal(first, (run(text):output()))
    assert.equal(1000, #elsewhere)
  end)

  it("may remove keys while it walks, and gets an error for a key that never existed", function()
    local text = [[
      kt.spawn(function()
        local t = {}
        for i = 1, 100 do t["k" .. i] = i end
        local n = 0
        for k in pairs(t) do t[k] = nil; n = n + 1 end
        print(n, next(t), pcall(next, { a = 1 }, "b"))
      end)]]
    assert.equal("100\tnil\tfalse\tinvalid key to 'next'\n", (run(text):output()))
  end)

  it("may remove keys while it walks by next, the first and the last too, and continue from any key", function()
    local text = [[
      kt.spawn(function()
        local t, seen = { a = 1, b = 2, c = 3 }, {}
        for k in next, t do t[k] = nil; seen[#seen + 1] = k end
        print(table.concat(seen, " "), next(t))
        t = { a = 1, c = 3 }
        next(t, "a")
        t.b = 2
        print(next(t, "b"))
        print(pcall(next, t, "d"))
      end)]]
    assert.equal("a b c\tnil\nc\t3\nfalse\tinvalid key to 'next'\n", (run(text):output()))
  end)

  it("keeps nothing alive by having walked it", function()
    local text = [[
      kt.spawn(function()
        local t = setmetatable({}, { __mode = "k" })
        for i = 1, 10 do t[{}] = i end
        for _ in next, t do end
        collectgarbage()
        collectgarbage()
        local n = 0
        for _ in pairs(t) do n = n + 1 end
        print(n <= 1)
      end)]]
    assert.equal("true\n", (run(text):output()))
  end)

  it("may remove keys while it walks with next, the first and the only one too", function()
    local text = [[
      kt.spawn(function()
        for _, names in ipairs { { "b" }, { "c", "a", "b" }, { {} }, { {}, 1, kt } } do
          local t, n = {}, 0
          for _, name in ipairs(names) do t[name] = true end
          for k in next, t do t[k] = nil; n = n + 1 end
          print(n, next(t))
        end
      end)]]
    assert.equal("1\tnil\n3\tnil\n1\tnil\n3\tnil\n", (run(text):output()))
  end)

  it("follows a table's own __pairs", function()
    local text = [[
      kt.spawn(function()
        local t = setmetatable({}, { __pairs = function(t) return function(_, k) return not k and "own" or nil end, t end })
        for k in pairs(t) do print(k) end
      end)]]
    assert.equal("own\n", (run(text):output()))
  end)

  it("draws the same numbers for the same seed, and different ones for another", function()
    local text = "kt.spawn(function() print(math.random(1 << 40), math.random(1 << 40)) end)"
    local first = run(text):output()
    assert.equal(first, run(text):output())
    assert.is_true(first ~= run(text, { seed = 2 }):output())
  end)

  it("has the world's time from os, in UTC, where it has os", function()
    local text = [[
      kt.spawn(function()
        kt.sleep "90s"
        print(os.date "%Y-%m-%d %H:%M:%S", os.time(), os.clock() > 90)
        print(os.time { year = 2026, month = 1, day = 1, hour = 0 })
      end)]]
    assert.equal("2026-01-01 00:01:30\t1767225690\ttrue\n1767225600\n", (run(text, { unsafe = true, time = 100 }):output()))
  end)

  it("sees its own environment, and nothing of this machine's", function()
    local text = [[kt.spawn(function() print(os.getenv "WHO", os.getenv "PATH") end)]]
    assert.equal("me\tnil\n", (run(text, { unsafe = true, env = { WHO = "me" } }):output()))
  end)

  it("ends only itself by os.exit, at once and past every pcall", function()
    local text = [[kt.spawn(function()
      while true do
        pcall(function() print "once" os.exit(%s) end)
        coroutine.wrap(function() pcall(os.exit, 9) end)()
        print "never"
      end
    end)]]
    for arguments, code in pairs { [""] = 0, ["true"] = 0, ["false"] = 1, ["3, true"] = 3 } do
      local script = run(text:format(arguments), { unsafe = true })
      assert.equal(code, script.exit_code)
      assert.equal("once\n", script:output())
      assert.equal("", script:log())
    end
  end)

  it("ends itself by os.exit also in its main chunk", function()
    assert.equal(0, run("os.exit(0)", { unsafe = true }).exit_code)
    assert.error_matches(function() run("os.exit(4)", { unsafe = true }) end, "s.lua on host here: exited immediately with code 4", 1, true)
  end)

  it("runs no programs of this machine's, and has no locale but C", function()
    local path = os.tmpname()
    os.remove(path)
    local script = run(([[kt.spawn(function()
      print(os.execute(), os.execute "touch %s")
      print(pcall(io.popen, "touch %s"))
      print(os.setlocale(), os.setlocale "", os.setlocale "C", os.setlocale "de_DE.UTF-8", os.setlocale(nil, "numeric"))
    end)]]):format(path, path), { unsafe = true })
    assert.equal(("false\tnil\texit\t127\nfalse\tio.popen: simulated hosts cannot run programs; not run: touch %s\n"
      .. "C\tC\tC\tnil\tC\n"):format(path), script:output())
    assert.matches("os.execute: simulated hosts have no shell; not run: touch " .. path, script:log(), 1, true)
    assert.is_nil(io.open(path))
  end)

  it("that never waits is stopped, at the same place each time", function()
    local text = "kt.spawn(function()\n  local n = 0\n  while true do n = n + 1 end\nend)"
    local first = run(text):log()
    assert.matches("s.lua:4: stopped after %d+ million instructions without yielding", first)
    assert.equal(first, run(text):log())
  end)

  for what, body in pairs {
    ["in a pattern that tries all ways to part its subject"] = 'local s = ("a"):rep(300) s:find(".-.-.-.-.-.-b")',
    ["in patterns that each take long enough"] = 'local s = ("a"):rep(60) while true do s:find ".-.-.-b" end',
    ["in a comparator"] = "table.sort({ 2, 1, 3 }, function() while true do end end)",
    ["in a list too long to sort"] = "local t = {} for i = 1, 2000000 do t[i] = i * 7919 % 1000003 end table.sort(t)",
    ["in sorting again and again"] = "local t = {} for i = 1, 4000 do t[i] = -i end while true do table.sort(t) end",
    ["in making long strings"] = 'while true do local s = ("x"):rep(20000000) s = nil end',
    ["in joining long strings"] = 'local s = ("x"):rep(20000000) while true do local t = s .. "y" t = nil end',
    ["in looking through a long string"] = 'local s = ("x"):rep(20000000) while true do s:find("y", 1, true) end',
    ["in a list whose head moves"] = "local t = {} while true do table.insert(t, 1, 0) end",
    ["in moving a list"] = "local t = {} for i = 1, 1000000 do t[i] = i end while true do table.move(t, 1, #t, 2) end",
    ["in compiling"] = 'local s = ("x = 1 "):rep(1000000) while true do load(s) end',
  } do
    it("that takes too long " .. what .. " is stopped, at the same place each time", function()
      local text = "kt.spawn(function()\n  " .. body .. "\nend)"
      local from = os.clock()
      local first = run(text):log()
      assert.matches("s.lua:3: stopped after %d+ million instructions without yielding", first)
      assert.is_true(os.clock() - from < 30)
      assert.equal(first, run(text):log())
    end)
  end

  it("sorts stably, for any list", function()
    local text = [[
      kt.spawn(function()
        local t = {} -- an organ pipe: of such lists Lua's own sort draws its pivots by the clock
        for i = 1, 4000 do t[i] = { i <= 2000 and i // 10 or (4000 - i) // 10, i } end
        local asked = 0
        table.sort(t, function(a, b) asked = asked + 1 return a[1] < b[1] end)
        for i = 2, #t do
          assert(t[i - 1][1] < t[i][1] or (t[i - 1][1] == t[i][1] and t[i - 1][2] < t[i][2]))
        end
        print(asked < 4000 * 12)
      end)]]
    assert.equal("true\n", (run(text):output()))
  end)

  it("that never waits in a coroutine of its own is stopped too", function()
    local text = "kt.spawn(function()\n  coroutine.wrap(function() while true do end end)()\nend)"
    assert.matches("stopped after %d+ million instructions", run(text):log())
  end)

  it("continues its other tasks after one was stopped", function()
    local text = [[
      kt.spawn(function() while true do end end)
      kt.spawn(function() kt.sleep "1s" local n = 0 for i = 1, 3e6 do n = n + i end print(n) end)]]
    assert.equal("4500001500000\n", (run(text):output()))
  end)

  it("that sleeps until a time gets past it, even if very little is left", function()
    local text = [[
      kt.spawn(function()
        local due = kt.now() + 0.0000123
        while kt.now() < due do kt.sleep(due - kt.now()) end
        print "past it"
      end)]]
    assert.equal("past it\n", (run(text):output()))
  end)

  it("is refused when its main chunk does not end", function()
    assert.error_matches(function() run "while true do end" end, "s.lua:2: stopped after %d+ million instructions in the main chunk")
  end)

  it("collects unreferenced values", function()
    local script = run("kt.spawn(function() for i = 1, 20000 do local t = {} for j = 1, 100 do t[j] = j end kt.sleep '1ms' end end)",
      { time = 15 })
    assert.is_true(script:stats().memory < 40e6)
  end)
end)

local function busy(seed)
  local w = sim.world { seed = seed, files = { ["psk.key"] = "secret" } }
  w:host "client"
  w:host "server"
  w:link("client", "server", { delay = "20ms", jitter = "5ms", loss = "5%", duplicate = "1%", reorder = "1%", corrupt = "0.5%",
    burst = { enter = 0.002, leave = 0.2 }, rate = "20Mbit" })
  w:name("vps.example", "server")
  w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
  w:host("server"):run "scripts/examples/server.lua"
  w:host("client"):run "scripts/examples/client.lua"
  w:host("client"):short_io(1000)
  w:fault("1s", "cut", function() w:link("client", "server"):cut() end)
  w:fault("2s", "heal", function() w:link("client", "server"):heal() end)
  local t = w:transfer { from = "client", to = "127.0.0.1:12948", bytes = "100KB", kind = "echo" }
  w:keystrokes { from = "client", to = "127.0.0.1:12948", count = 20 }:wait()
  t:wait()
  local print = w:fingerprint()
  w:close()
  return print
end

describe("a world", function()
  it("runs the same way for the same seed, packet by packet, and differently for another", function()
    local n, seen = tonumber(os.getenv "KT_SPEC_SEEDS") or os.getenv "KT_SPEC_LIGHT" and 5 or 25, {}
    for seed = 1, n do
      local first = busy(seed)
      assert.equal(first, busy(seed))
      assert.is_nil(seen[first])
      seen[first] = seed
    end
  end)

  it("runs the same way in another process", function()
    local path = os.tmpname() .. ".lua"
    local file = assert(io.open(path, "w"))
    file:write([[
      local sim = require "kt.sim"
      local filler = {}
      for i = 1, 1000 do filler[i] = { i } end -- memory is elsewhere
      it("prints", function()
        local w = sim.world { seed = 3 }
        w:host "a":serve { on = ":1", kind = "echo" }
        w:host "b"
        w:link("a", "b", { delay = "10ms", jitter = "3ms" })
        w:host "a":file("s.lua", 'local kt = require "kt" kt.udp{ on = ":9" }; '
          .. 'kt.spawn(function() for i = 1, 100 do kt.sleep(math.random() / 100) end end)')
        local app = w:host "b":connect "a:1"
        for i = 1, 50 do app:echo(("x"):rep(w:random(1, 2000))) end
        io.stderr:write("print ", w:fingerprint(), "\n")
      end)]])
    file:close()
    local kt = os.getenv "KT_BIN" or "build/kt"
    local prints = {}
    for i = 1, 2 do
      local pipe = io.popen(("%s test --pattern=. %s 2>&1"):format(kt, path))
      local said = pipe:read "a"
      prints[i] = said:match "print (%x+)" or error(said)
      pipe:close()
    end
    os.remove(path)
    assert.equal(prints[1], prints[2])
  end)

  it("has a separate random generator for the spec", function()
    local function draw(seed)
      local w = sim.world { seed = seed }
      return w:random(1, 1 << 30), w:random(10), w:random()
    end
    local a, b, c = draw(5)
    assert.same({ a, b, c }, { draw(5) })
    assert.is_true(a ~= draw(6))
    assert.is_true(b >= 1 and b <= 10 and c >= 0 and c < 1)
  end)
end)
