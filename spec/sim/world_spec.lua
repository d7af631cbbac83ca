-- kt.sim: time, tasks, apps, servers, links and their faults, as specs use them.
local sim = require "kt.sim"

local function two(line)
  local w = sim.world { seed = 1 }
  w:host "client"
  w:host "server"
  w:link("client", "server", line or { delay = "10ms" })
  return w
end

-- A UDP sender on `client` and a receiver on `server`, which prints each datagram with its time.
local function datagrams(w, n)
  local from, to = w:host "client", w:host "server"
  to:file("in.lua", [[
    local kt = require "kt"
    local s = kt.udp { on = ":9" }
    kt.spawn(function()
      while true do
        local data = s:receive { timeout = "1h" }
        if not data then return end
        print(("%s at %.2f"):format(data, kt.now() - 1000))
      end
    end)]])
  from:file("out.lua", ([[
    local kt = require "kt"
    local s = kt.udp { on = ":9" }
    kt.spawn(function()
      for i = 1, %d do
        s:send(tostring(i), "10.0.2.1:9")
        kt.sleep "100ms"
      end
      kt.sleep "1h"
    end)]]):format(n))
  local receiver = to:run "in.lua"
  from:run "out.lua"
  return receiver
end

describe("time", function()
  it("stops while code runs, and jumps to the next event", function()
    local w = two()
    local seen = {}
    w:at("2h", function() table.insert(seen, w:now()) end)
    w:at("1s", function() table.insert(seen, w:now()) end)
    assert.equal(0, w:now())
    w:run "3h"
    assert.same({ 1, 7200 }, seen)
    assert.equal(10800, w:now())
  end)

  it("advances by at least a microsecond in any wait", function()
    local w = sim.world { seed = 1 }
    w:sleep(1e-9)
    assert.equal(1e-6, w:now())
    w:run_for(4e-7)
    assert.equal(2e-6, w:now())
    w:sleep(0)
    assert.equal(2e-6, w:now())
    local at = {}
    w:at(1e-9 + w:now(), function() at[1] = w:now() end)
    local ticks = 0
    w:every(1e-8, function() ticks = ticks + 1 end)
    w:run(12e-6)
    assert.equal(2e-6, at[1]) -- a moment is rounded, not a duration
    assert.equal(10, ticks)
    assert.error_matches(function() w:run_until(function() end, { timeout = 1e-9 }) end, "within 1e%-09 s; the clock is at 1.3e%-05 s")
  end)

  it("begins at the given time", function()
    local w = sim.world { seed = 1, start = "2028-02-29 23:59:59" }
    w:host "a":file("s.lua", [[local kt = require "kt"
      kt.spawn(function() kt.sleep "1s" local d = kt.date() print(d.year, d.month, d.day, d.hour, d.weekday, kt.wall() // 1) end)]])
    local script = w:host "a":run "s.lua"
    w:run "2s"
    assert.equal("2028\t3\t1\t0\t3\t1835481600.0\n", script:output())
  end)

  it("may begin in 1970", function()
    local w = sim.world { start = 0 }
    w:host "a":file("s.lua", 'local kt = require "kt" kt.spawn(function() print(kt.date().year) end)')
    local script = w:host "a":run "s.lua"
    w:run "1s"
    assert.equal("1970\n", script:output())
  end)

  it("comes in periods until they are canceled", function()
    local w = two()
    local n, ticker = 0, nil
    ticker = w:every("10s", function()
      n = n + 1
      if n == 3 then ticker:cancel() end
    end)
    w:run "10m"
    assert.equal(3, n)
  end)

  it("runs until a condition holds, and no further", function()
    local w = two()
    local n = 0
    w:every("1s", function() n = n + 1 end)
    assert.equal("five", w:run_until(function() return n == 5 and "five" end))
    assert.equal(5, w:now())
  end)

  it("passes in tasks as it does in the body", function()
    local w = two()
    local log = {}
    w:task(function(name)
      w:sleep "2s"
      table.insert(log, name .. w:now())
    end, "task ")
    w:sleep "1s"
    table.insert(log, "body " .. w:now())
    w:run_for "2s"
    assert.same({ "body 1.0", "task 2.0" }, log)
  end)
end)

describe("an app", function()
  local function pair(fn)
    local w = two()
    w:host "server":serve { on = ":80", fn = fn }
    return w, w:host "client":connect "server:80"
  end

  it("reads what the server writes, in the pieces that it asks for", function()
    local _, app = pair(function(conn)
      conn:write "one\ntwo\n12345678rest"
      conn:shutdown()
      conn:read()
    end)
    assert.equal("one\n", app:read_until "\n")
    assert.equal("two\n", app:read_until "\n")
    assert.equal("1234", app:read_exactly(4))
    assert.equal("56", app:read(2))
    assert.equal("78rest", app:read_all())
    local data, err = app:read()
    assert.is_nil(data)
    assert.equal("eof", err.code)
  end)

  it("gets a timeout with the time it waited", function()
    local w, app = pair(function(conn) conn:read { timeout = "1h" } end)
    local data, err = app:read { timeout = "3s" }
    assert.is_nil(data)
    assert.equal("timeout", err.code)
    assert.matches("nothing received within 3 s", tostring(err), 1, true)
    assert.near(3, w:now(), 0.1)
  end)

  it("gets an error on a reset", function()
    local _, app = pair(function(conn)
      conn:read()
      conn:reset()
    end)
    app:write "x"
    local data, err = app:read()
    assert.is_nil(data)
    assert.equal("reset", err.code)
  end)

  it("writes no faster than the other end reads", function()
    local w, app = pair(function(conn)
      conn.world:sleep "10s"
      conn:read_all { timeout = "1h" }
    end)
    assert.is_true(app:write(("x"):rep(4 << 20), { timeout = "1h" }))
    assert.is_true(w:now() > 10)
  end)

  it("keeps the partial data of an incomplete read", function()
    local _, app = pair(function(conn)
      conn:write "abc"
      conn:read { timeout = "1h" }
    end)
    local data, err = app:read_exactly(5, { timeout = "1s" })
    assert.is_nil(data)
    assert.equal("abc", err.partial)
    assert.equal("abc", app:read_exactly(3))
  end)

  it("that another task closes does not wait any longer", function()
    local w, app = pair(function(conn) conn:read { timeout = "1h" } end)
    w:at("2s", function() app:close() end)
    local _, err = app:read { timeout = "1h" }
    assert.equal("closed", err.code)
    assert.equal(2, w:now())
  end)

  it("gets its own bytes back from an echo server, and its address", function()
    local w = two()
    w:host "server":serve { on = ":7", kind = "echo" }
    local reply = w:host "client":connect "server:7":echo "hello"
    assert.equal("server", reply.server)
    assert.near(0.02, reply.time, 0.001)
  end)

  it("raises without an echo, with the reason, or returns it from a try", function()
    local w = two()
    w:host "server":serve { on = ":7", kind = "sink" }
    local app = w:host "client":connect "server:7"
    assert.error_matches(function() app:echo("hello", { timeout = "1s" }) end, "within 1 s; 0 of %d+ bytes came back")
    local reply, err = app:try_echo("hello", { timeout = "1s" })
    assert.is_nil(reply)
    assert.equal("timeout", err.code)
  end)
end)

describe("a transfer", function()
  for kind, server in pairs { up = "sink", down = "source", echo = "echo" } do
    it("is checked byte by byte: " .. kind, function()
      local w = two { delay = "10ms", rate = "80Mbit" }
      w:host "server":serve { on = ":1", kind = server, bytes = server == "source" and "3MB" or nil }
      local t = w:transfer { from = "client", to = "server:1", bytes = "3MB", kind = kind }:wait()
      assert.is_true(t:intact())
      assert.equal(3000000, t.received)
      assert.is_true(t:goodput() > 1e6 and t:goodput() < 1e7)
      w:settle()
      assert.same({}, w:leftovers())
    end)
  end

  it("detects a wrong byte", function()
    local w = two()
    w:host "server":serve { on = ":1", fn = function(conn)
      local data = conn:read_exactly(1000)
      conn:write(data:sub(1, 500) .. "!" .. data:sub(502))
      conn:shutdown()
      conn:read_all()
    end }
    assert.error_matches(function()
      w:transfer { from = "client", to = "server:1", bytes = 1000, kind = "echo" }:wait()
    end, "byte 500 differs from the one sent")
  end)

  it("detects missing bytes, and reports why", function()
    local w = two { delay = "10ms", rate = "8Mbit" }
    w:host "server":serve { on = ":1", kind = "sink" }
    w:at("500ms", function() w:host "server":crash() end)
    w:at("1s", function() w:host "server":restart() end)
    assert.error_matches(function() w:transfer { from = "client", to = "server:1", bytes = "3MB", timeout = "1h" }:wait() end,
      "%d+ of 3000000 bytes arrived; .*the host has crashed")
  end)

  it("goes as fast as the hosts can when rate, queue and burst are taken off the link, at first or while it runs", function()
    local function seconds(line, later)
      local w = two(line)
      w:host "server":serve { on = ":1", kind = "sink" }
      if later then w:link("client", "server"):set(later) end
      local from = w:now()
      w:transfer { from = "client", to = "server:1", bytes = "3MB" }:wait()
      return w:now() - from
    end
    local slow = { delay = "10ms", rate = "1Mbit", queue = { time = "200ms" }, burst = { enter = 0.001, leave = 0.5 } }
    local off = { rate = false, queue = false, burst = false }
    assert.is_true(seconds(slow) > 24)
    assert.is_true(seconds(slow, off) < 5)
    slow.there, slow.back = off, off
    assert.is_true(seconds(slow) < 5)
  end)

  it("knows its worst stall", function()
    local w = two { delay = "10ms", rate = "8Mbit" }
    w:host "server":serve { on = ":1", kind = "sink" }
    w:at("1s", function() w:link("client", "server"):cut() end)
    w:at("4s", function() w:link("client", "server"):heal() end)
    local t = w:transfer { from = "client", to = "server:1", bytes = "3MB" }:wait()
    assert.near(3, t:worst_stall(), 0.5)
  end)
end)

describe("keystrokes", function()
  it("are timed one by one", function()
    local w = two { delay = "40ms", jitter = "10ms" }
    w:host "server":serve { on = ":7", kind = "echo" }
    local k = w:keystrokes { from = "client", to = "server:7", every = "50ms", count = 40 }:wait()
    assert.equal(40, #k:latencies())
    assert.is_true(k:median() >= 0.06 and k:median() <= 0.12)
    assert.is_true(k:worst() >= k:median())
  end)
end)

describe("a link", function()
  it("delays, each way by its own", function()
    local w = two { there = { delay = "10ms" }, back = { delay = "90ms" } }
    w:host "server":serve { on = ":7", kind = "echo" }
    assert.near(0.1, w:host "client":connect "server:7":echo("x").time, 0.002)
  end)

  it("loses by chance, and counts what it lost", function()
    local w = two { delay = "10ms", loss = "20%" }
    local receiver = datagrams(w, 500)
    w:run "1m"
    local _, n = receiver:output():gsub("\n", "")
    local stats = w:link("client", "server"):stats()
    assert.equal(500, stats.sent_packets)
    assert.equal(n, stats.delivered_packets)
    assert.equal(500 - n, stats.lost.loss)
    assert.is_true(n > 350 and n < 450)
  end)

  it("is cut and healed, both ways or one", function()
    local w = two()
    local receiver = datagrams(w, 10)
    w:at("250ms", function() w:link("client", "server"):cut "client" end)
    w:at("550ms", function() w:link("client", "server"):heal() end)
    w:run "2s"
    assert.equal("1 at 0.01\n2 at 0.11\n3 at 0.21\n7 at 0.61\n8 at 0.71\n9 at 0.81\n10 at 0.91\n", receiver:output())
    assert.equal(3, w:link("client", "server"):stats().lost.cut)
  end)

  it("holds packets and releases them", function()
    local w = two()
    local receiver = datagrams(w, 3)
    w:at("50ms", function() w:link("client", "server"):hold() end)
    w:at("1s", function() w:link("client", "server"):heal() end)
    w:run "2s"
    assert.equal("1 at 0.01\n2 at 1.00\n3 at 1.00\n", receiver:output())
  end)

  it("changes the given parameters and keeps the rest", function()
    local w = two { delay = "10ms", loss = 1 }
    local receiver = datagrams(w, 3)
    w:at("150ms", function() w:link("client", "server"):set { loss = 0 } end)
    w:run "1s"
    assert.equal("3 at 0.21\n", receiver:output())
  end)
end)

describe("a packet rule", function()
  it("drops, delays and doubles what it picks, until it is removed", function()
    local w = two()
    local receiver = datagrams(w, 5)
    local rule = w:rule { from = "client", to = "server", fn = function(p)
      if p.data == "1" then return "drop" end
      if p.data == "2" then return { delay = "50ms" } end
      if p.data == "3" then return { copies = 1 } end
      if p.data == "4" then return "drop" end
    end }
    w:at("250ms", function() rule:remove() end)
    w:run "1s"
    assert.equal("2 at 0.16\n3 at 0.21\n3 at 0.21\n4 at 0.31\n5 at 0.41\n", receiver:output())
  end)

  it("may be removed by its own function, and may remove others; the rest still run", function()
    local w = two()
    local receiver, asked = datagrams(w, 4), {}
    local first, third
    local function asks(name, fn)
      return w:rule { from = "client", to = "server", fn = function(p)
        asked[#asked + 1] = name .. p.data
        return fn and fn(p)
      end }
    end
    first = asks("a", function(p) if p.data == "2" then first:remove() end end)
    asks("b", function(p) if p.data == "3" then third:remove() end end)
    third = asks "c"
    asks("d", function(p) if p.data == "4" then asks "e" end end)
    w:run "1s"
    assert.equal("a1 b1 c1 d1 a2 b2 c2 d2 b3 d3 b4 d4", table.concat(asked, " "))
    assert.matches("4 at", receiver:output())
  end)
end)

describe("a host", function()
  it("that crashes loses its conns, and serves and runs again when it is back up", function()
    local w = two()
    local server = w:host "server"
    server:serve { on = ":7", kind = "echo" }
    server:file("s.lua", 'local kt = require "kt" kt.spawn(function() print(kt.now() > 1001) kt.sleep "1h" end)')
    local script = server:run "s.lua"
    local app = w:host "client":connect "server:7"
    w:run "1s"
    server:crash()
    assert.is_false(server:is_up())
    assert.is_false(script:is_running())
    assert.is_nil((w:host "client":try_connect("server:7", { timeout = "1s" })))
    server:restart()
    local _, err = app:try_echo "hello"
    assert.equal("reset", err.code)
    assert.equal("server", w:host "client":connect "server:7":echo("hello").server)
    assert.is_true(script:is_running())
    assert.equal("false\ntrue\n", script:output())
  end)

  it("behind a NAT is seen at another address, which a rebinding changes", function()
    local w = two()
    w:host "client":nat { public = "198.51.100.7" }
    local peers = {}
    w:host "server":serve { on = ":7", fn = function(conn) table.insert(peers, conn.peer) end }
    w:host "client":connect "server:7"
    w:host "client":nat_rebind()
    w:host "client":connect "server:7"
    w:run_for "1s"
    assert.equal(2, #peers)
    assert.matches("^198%.51%.100%.7:%d+$", peers[1])
    assert.is_true(peers[1] ~= peers[2])
  end)

  it("behind a NAT works with IPv6 too", function()
    local w = two()
    w:host "client":nat { public = { "198.51.100.7", "2001:db8::7" } }
    local peers = {}
    w:host "server":serve { on = ":7", fn = function(conn) table.insert(peers, (conn.peer:gsub(":%d+$", ""))) end }
    w:host "client":connect "10.0.2.1:7"
    w:host "client":connect "[fd00::2]:7"
    w:run_for "1s"
    assert.same({ "198.51.100.7", "[2001:db8::7]" }, peers)
    assert.is_nil((w:host "server":try_connect("[fd00::1]:7", { timeout = "1s" })))

    local text = [[local kt = require "kt"
      local s = kt.udp { on = ":9" }
      kt.spawn(function() %s local data, from = s:receive { timeout = "1s" } print(data, from) s:send("back", from) end)]]
    w:host "server":file("s.lua", text:format "")
    w:host "client":file("c.lua", text:format 's:send("there", "[fd00::2]:9")')
    local there, back = w:host "server":run "s.lua", w:host "client":run "c.lua"
    w:run_for "2s"
    assert.matches("^there\t%[2001:db8::7%]:%d+\n", there:output())
    assert.equal("back\t[fd00::2]:9\n", back:output())
  end)

  it("sends no faster than its rate", function()
    local function took(opts)
      local w = sim.world { seed = 1 }
      w:host("client", opts)
      w:host "server":serve { on = ":1", kind = "sink" }
      w:link("client", "server", { delay = "1ms" })
      w:transfer({ from = "client", to = "server:1", bytes = "1MB" }):wait()
      return w:now()
    end
    assert.near(0.8, took { send = "10Mbit" }, 0.1)
    assert.is_true(took() < 0.1)
  end)

  it("reads no faster than its rate", function()
    local w = two()
    w:host "server":serve { on = ":1", kind = "sink" }
    w:host "server":slow_reader "1MB"
    local t = w:transfer { from = "client", to = "server:1", bytes = "3MB" }:wait()
    assert.near(1e6, t:goodput(), 2e5)
  end)

  it("may have its clock set while its timers continue", function()
    local w = two()
    w:host "client":file("s.lua", [[local kt = require "kt"
      kt.spawn(function() local a, t = kt.now(), os.time() kt.sleep "10s" print(os.time() - t, math.floor(kt.now() - a)) end)]])
    local script = w:host "client":run("s.lua", { unsafe = true })
    w:at("5s", function() w:host "client":clock_jump(3600) end)
    w:run "11s"
    assert.equal("3610\t10\n", script:output())
  end)

  it("keeps what its scripts write", function()
    local w = two()
    local client = w:host("client")
    client:file("a.txt", "hello")
    assert.equal("hello", client:read_file "a.txt")
    assert.is_nil(w:host "server":read_file "a.txt")
  end)
end)

describe("a name", function()
  it("leads to a host, to nowhere, or to a silent name server", function()
    local w = two()
    w:host "server":serve { on = ":7", kind = "echo" }
    local function try() return w:host "client":try_connect("vps.example:7", { timeout = "5s" }) end
    assert.equal("name", select(2, try()).code)
    w:name("vps.example", "server")
    assert.is_truthy(try())
    w:name("vps.example", false)
    assert.equal("name", select(2, try()).code)
    w:name("vps.example", "10.0.2.1")
    assert.is_truthy(try())
    w:name("vps.example", nil, { fail = true, delay = "2s" })
    local from = w:now()
    assert.is_nil((try()))
    assert.near(2, w:now() - from, 0.01)
  end)
end)

describe("a script", function()
  it("gets arguments, files beside it, and an environment", function()
    local w = two()
    local client = w:host "client"
    client:file("etc/s.lua", [[local kt = require "kt"
      local a, b = ...
      local secret = kt.secret_file "psk.key"
      kt.spawn(function() print(a, b, os.getenv "MODE", tostring(secret)) end)]])
    local script = client:run("etc/s.lua", { args = { "x", 5 }, env = { MODE = "fast" }, files = { ["psk.key"] = "s" }, unsafe = true })
    w:run "1s"
    assert.equal("x\t5\tfast\t<secret>\n", script:output())
    assert.equal(0, script.exit_code)
  end)

  it("ends by a signal as in reality, and by a kill at once", function()
    local w = two()
    local client = w:host "client"
    client:file("s.lua", 'local kt = require "kt" kt.listen { on = ":5" }:serve(function(c) c:read { timeout = "1h" } end)')
    local first = client:run "s.lua"
    local app = w:host "server":connect "client:5"
    assert.is_true(first:signal "TERM")
    w:run_until(function() return not first:is_running() end)
    assert.equal(0, first.exit_code)
    assert.near(5, w:now(), 0.1)
    assert.is_nil((app:read()))
    local second = client:run "s.lua"
    second:kill()
    assert.is_false(second:is_running())
    assert.equal("refused", select(2, w:host "server":try_connect "client:5").code)
  end)

  it("is reloaded by SIGHUP: open conns continue, new ones go to the new script", function()
    local w = two()
    local client, server = w:host "client", w:host "server"
    local function says(word)
      client:file("s.lua", ([[local kt = require "kt"
        kt.listen { on = ":5" }:serve(function(c)
          while c:read { timeout = "1h" } do c:write "%s" end
        end)]]):format(word))
    end
    says "old"
    local script = client:run "s.lua"
    local before = server:connect "client:5"
    before:write "?"
    assert.equal("old", before:read_exactly(3))
    says "new"
    assert.is_true(script:signal "HUP")
    w:run_for "1s"
    local after = server:connect "client:5"
    after:write "?"
    assert.equal("new", after:read_exactly(3))
    before:write "?"
    assert.equal("old", before:read_exactly(3))
  end)

  it("reports its resources", function()
    local w = two()
    local client = w:host "client"
    client:file("s.lua", 'local kt = require "kt" kt.listen { on = ":5" }:serve(function(c) c:read { timeout = "1h" } end)')
    local script = client:run "s.lua"
    local app = w:host "server":connect "client:5"
    w:run_for "1s"
    assert.equal(1, script:stats().pipes)
    assert.equal(1, client:stats().conns)
    assert.equal(2, #w:leftovers())
    assert.error_matches(function() w:settle { timeout = "3s" } end, "script s.lua on host client holds 1 conns and streams")
    app:close()
    w:settle()
  end)
end)

describe("a sweep", function()
  it("runs the given number of seeds", function()
    local seeds = {}
    assert.equal(20, sim.sweep(20, function(w, seed)
      assert.equal(w.seed, seed)
      table.insert(seeds, seed)
    end))
    assert.equal(20, #seeds)
  end)

  it("stops at the first seed that fails, and leaves out irrelevant faults", function()
    local ran = 0
    local ok, why = pcall(sim.sweep, 100, function(w, seed)
      ran = math.max(ran, seed)
      local hits = 0
      for i = 1, 12 do
        w:fault(i, "fault number " .. i, function() if seed == 7 and (i == 3 or i == 9) then hits = hits + 1 end end)
      end
      w:run "20s"
      if hits == 2 then error "both have hit" end
    end)
    assert.is_false(ok)
    assert.equal(7, ran)
    assert.matches("seed 7 of 100: .*both have hit", why)
    assert.matches("still fails with 2 of its 12 faults:\n  3 s: fault number 3\n  9 s: fault number 9\n", why, 1, true)
  end)
end)
