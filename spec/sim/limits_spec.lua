-- Resource limits per peer and in total, in virtual time.
local sim = require "kt.sim"

local function server(w, ...)
  w:host "server"
  w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
  return w:host("server"):run("kt server", { args = { "--wire", "kcptun", "-l", ":29900", "-t", "127.0.0.1:8388", "--key", "k", ... } })
end

local function client(w, name, ...)
  w:host(name)
  w:link(name, "server", { delay = "20ms" })
  w:host(name):run("kt client", { args = { "--wire", "kcptun", "-r", "server:29900", "-l", "127.0.0.1:12948", "--key", "k", ... } })
  return function() return w:host(name):connect "127.0.0.1:12948" end
end

local function times(text, words)
  local n = 0
  for _ in text:gmatch(words) do n = n + 1 end
  return n
end

describe("a server with --maxstreams", function()
  it("refuses further streams of a session, counts them, logs that once, and accepts others when some have ended", function()
    local w = sim.world {}
    local far = server(w, "--maxstreams", "3")
    local connect = client(w, "client")
    local apps = {}
    for i = 1, 3 do
      apps[i] = connect()
      apps[i]:echo "hello"
    end
    for _ = 1, 5 do assert.is_nil((connect():try_echo("hello", { timeout = "5s" }))) end
    for i = 1, 3 do apps[i]:echo "again" end
    assert.equal(5, far:stats().counters.StreamsRefused)
    assert.equal(1, times(far:log "refus", "3 streams open; refusing new ones"))

    for i = 1, 3 do apps[i]:close() end
    w:run_for "2s"
    connect():echo "hello"
  end)
end)

describe("a server with few descriptors", function()
  for wire, over in pairs { kcptun = "refus", kt = "wait" } do
    it("reserves some for a neighbour of a greedy session, whose further streams it lets " .. over .. ", on wire " .. wire, function()
      local w = sim.world {}
      w:host("server", { descriptors = 132 })
      local far = server(w, "--wire", wire)
      local connect, neighbour = client(w, "client", "--wire", wire), client(w, "neighbour", "--wire", wire)
      local apps = {}
      for i = 1, 90 do
        apps[i] = connect()
        apps[i]:try_echo("hello", { timeout = "1s" })
      end
      w:run_for "1s"
      assert.equal(50, far:stats().counters.StreamsNow)
      assert.equal(over == "refus" and 40 or 0, far:stats().counters.StreamsRefused)
      assert.equal(1, times(far:log(over), "the remaining descriptors are for other"))

      for i = 1, 25 do
        apps[90 + i] = neighbour()
        apps[90 + i]:echo "hello"
      end
      assert.equal(75, far:stats().counters.StreamsNow)
      if wire == "kcptun" then return end
      for i = 1, 15 do apps[i]:close() end
      assert.equal("hello", (apps[51]:read_exactly(5, { timeout = "5s" })))
    end)
  end
end)

describe("a client with --maxstreams", function()
  it("opens further streams in another session", function()
    local w = sim.world {}
    local far = server(w)
    local connect = client(w, "client", "--maxstreams", "1")
    local app = connect()
    app:echo "hello"
    connect():echo "hello"
    app:echo "again"
    assert.equal(2, far:stats().counters.CurrEstab)
  end)
end)

describe("a server with --maxsessions", function()
  it("refuses further sessions, counts them, logs that once, and accepts others when some have ended", function()
    local w = sim.world {}
    local far = server(w, "--maxsessions", "2")
    local first = client(w, "one")
    local second = client(w, "two")
    local third = client(w, "three")
    local app, other = first(), second()
    app:echo "hello"
    other:echo "hello"
    assert.is_nil((third():try_echo("hello", { timeout = "5s" })))
    app:echo "again"
    assert.is_true(far:stats().counters.SessionsRefused >= 1)
    assert.equal(2, far:stats().counters.CurrEstab)
    assert.equal(1, times(far:log "refus", "2 sessions open; refusing new ones"))

    w:host("one"):crash()
    w:run_for "60s"
    third():echo "hello"
    other:echo "again"
  end)
end)

local PLAIN = { "--crypt", "null", "--nocomp", "--ds", "0", "--ps", "0" }

--- A target that answers pings, or sends without end.
local function pong_or_blast(conn)
  if conn:read_until "\n" == "ping\n" then
    repeat local ok = conn:write "pong\n" until not ok or not conn:read_until("\n", { timeout = "1h" })
  else
    while conn:write(("x"):rep(65536), { timeout = "1h" }) do end
  end
end

-- A peer that has the key and keeps no rule: 1,000 streams in segments that offer no window, and nothing is ever acknowledged.
local BLAST = [[
local kt = require "kt"
local function frame(cmd, id, data) return ("<BBI2I4"):pack(2, cmd, #data, id) .. data end
kt.spawn(function()
  local udp = assert(kt.udp { to = "server:29900" })
  for sn = 0, 19 do
    local data = ""
    for i = 1, 50 do
      local id = 3 + 2 * (sn * 50 + i)
      data = data .. frame(0, id, "") .. frame(2, id, "blast\n")
    end
    udp:send(("<I4BBI2I4I4I4I4"):pack(77, 81, 0, 0, 0, sn, 0, #data) .. data)
    kt.sleep "20ms"
  end
  kt.sleep "1h"
end)]]

describe("a peer that opens streams to a target that blasts, and acknowledges nothing", function()
  it("makes the server hold at most three quarters of --maxbuffered, and a neighbour is unaffected", function()
    local w = sim.world { files = { ["blast.lua"] = BLAST } }
    w:host "server"
    w:host("server"):serve { on = "127.0.0.1:8388", fn = pong_or_blast }
    local far = w:host("server"):run("kt server", { args = { "--wire", "kcptun", "-l", ":29900", "-t", "127.0.0.1:8388", "--key", "k", "--maxbuffered",
      tostring(8 << 20), table.unpack(PLAIN) } })
    local connect = client(w, "client", table.unpack(PLAIN))
    local app = connect()
    app:write "ping\n"
    app:read_until "\n"

    w:host "attacker"
    w:link("attacker", "server", { delay = "5ms" })
    w:host("attacker"):run "blast.lua"
    w:run_for "10s"
    assert.is_true(far:stats().counters.BytesHeld > 3 << 20)
    assert.is_true(far:stats().counters.BytesHeld < (6 << 20) + 65536)
    assert.is_true(far:stats().counters.StreamsRefused > 0)
    assert.equal(1, times(far:log "refus", "the remaining memory is for other sessions"))
    for _ = 1, 20 do
      local from = w:now()
      app:write "ping\n"
      assert.equal("pong\n", (app:read_until("\n", { timeout = "5s" })))
      assert.is_true(w:now() - from < 0.06)
    end

    w:host("attacker"):crash()
    w:run_for "1m"
    assert.equal(1, far:stats().counters.StreamsNow)
    assert.is_true(far:stats().counters.BytesHeld < 65536)
  end)
end)

-- Sessions that each have 16 streams to a target that blasts, and acknowledge nothing.
local CROWD = [[
local kt = require "kt"
local function frame(cmd, id, data) return ("<BBI2I4"):pack(2, cmd, #data, id) .. data end
kt.spawn(function()
  local udp = assert(kt.udp { to = "server:29900" })
  local data = ""
  for i = 1, 16 do data = data .. frame(0, 1 + 2 * i, "") .. frame(2, 1 + 2 * i, "blast\n") end
  for conv = 1, 100 do
    udp:send(("<I4BBI2I4I4I4I4"):pack(conv, 81, 0, 0, 0, 0, 0, #data) .. data)
    kt.sleep "20ms"
  end
  kt.sleep "1h"
end)]]

describe("a hundred sessions of a peer that acknowledges nothing, with streams to a target that blasts", function()
  it("take no more than --maxbuffered together; the rest is refused, counted and logged once, and a neighbour moves on", function()
    local SESSION, budget = 14336, 2 << 20
    local w = sim.world { files = { ["crowd.lua"] = CROWD } }
    w:host "server"
    w:host("server"):serve { on = "127.0.0.1:8388", fn = pong_or_blast }
    local far = w:host("server"):run("kt server", { args = { "--wire", "kcptun", "-l", ":29900", "-t", "127.0.0.1:8388", "--key", "k",
      "--maxbuffered", tostring(budget), table.unpack(PLAIN) } })
    local app = client(w, "client", table.unpack(PLAIN))()
    local function ping()
      app:write "ping\n"
      assert.equal("pong\n", (app:read_until("\n", { timeout = "5s" })))
    end
    ping()
    w:host "attacker"
    w:link("attacker", "server", { delay = "5ms" })
    w:host("attacker"):run "crowd.lua"
    w:run_for "5s"
    local counters = far:stats().counters
    assert.is_true(counters.CurrEstab >= 6 and counters.SessionsRefused > 0, counters.CurrEstab)
    assert.equal(1, times(far:log "refus", "sessions open; refusing new ones %(the open ones need the remaining memory"))
    local held = counters.BytesHeld + counters.CurrEstab * SESSION
    assert.is_true(held > budget // 2 and held <= budget, held)
    for _ = 1, 20 do
      local from = w:now()
      ping()
      assert.is_true(w:now() - from < 0.06)
    end

    w:host("attacker"):crash()
    w:run_for "1m"
    ping()
    local late = client(w, "late", table.unpack(PLAIN))()
    late:write "ping\n"
    assert.equal("pong\n", (late:read_until("\n", { timeout = "5s" })))
    assert.equal(2, far:stats().counters.StreamsNow)
  end)
end)

-- Segments of streams that are opened, written to and ended. The first segment comes last, so that all can be read in one instant.
local STORM = [[
local kt = require "kt"
local function frame(cmd, id, data) return ("<BBI2I4"):pack(2, cmd, #data, id) .. data end
local function segment(conv, sn, data) return ("<I4BBI2I4I4I4I4"):pack(conv, 81, 0, 512, 0, sn, 0, #data) .. data end
kt.spawn(function()
  local udp = assert(kt.udp { to = "server:29900" })
  local function send(sn)
    local frames = {}
    for i = 1, 40 do
      local id = 3 + 2 * (40 * sn + i)
      frames[i] = frame(0, id, "") .. frame(2, id, "x") .. frame(1, id, "")
    end
    udp:send(segment(77, sn, table.concat(frames)))
  end
  for sn = 1, 99 do send(sn) end
  kt.sleep "1s"
  send(0)
  kt.sleep "1h"
end)]]

describe("a peer that opens and ends thousands of streams at once, more than it may have open", function()
  it("has them accepted in parts, with other tasks in between, and loses none of them", function()
    local w = sim.world { files = { ["storm.lua"] = STORM, ["far.lua"] = [[
      local kt = require "kt"
      local taken, most, bytes = 0, 0, 0
      local function watch()
        local last = 0
        for _ = 1, 2000 do
          kt.sleep(0)
          most = math.max(most, taken - last)
          last = taken
        end
        print(most, taken, bytes)
      end
      kt.accept { on = ":29900", wire = "kcptun", key = "k", crypt = "null", compress = false, fec = false, max_streams = 500 }:serve(function(stream)
        taken = taken + 1
        if taken == 1 then kt.spawn(watch) end
        bytes = bytes + #stream:read()
        stream:close()
      end)]] } }
    w:host "server"
    w:host "attacker"
    w:link("attacker", "server", { delay = "20ms" })
    local far = w:host("server"):run "far.lua"
    w:host("attacker"):run "storm.lua"
    w:run_for "5s"
    local most, taken, bytes = far:output():match "^(%d+)\t(%d+)\t(%d+)\n$"
    assert.is_true(tonumber(most) <= 512, most .. " at a time")
    assert.same({ "4000", "4000" }, { taken, bytes })
    assert.equal(0, far:stats().counters.StreamsRefused)
  end)
end)

describe("a session whose unread downloads use up its share of --maxbuffered at the server", function()
  it("still carries uploads", function()
    local w, got = sim.world {}, 0
    w:host "server"
    w:host("server"):serve { on = "127.0.0.1:8388", fn = function(conn)
      if conn:read_until "\n" == "down\n" then
        for _ = 1, 100 do conn:write(("d"):rep(10000), { timeout = "1h" }) end
      else
        got = #conn:read_exactly(20000, { timeout = "1h" })
      end
    end }
    w:host("server"):run("kt server", { args = { "--wire", "kcptun", "-l", ":29900", "-t", "127.0.0.1:8388", "--key", "k", "--maxbuffered", "1048576" } })
    local connect = client(w, "client")
    local unread = {}
    for i = 1, 20 do
      unread[i] = connect()
      unread[i]:write "down\n"
    end
    w:run "10s"
    connect():write("up\n" .. ("u"):rep(20000))
    w:run "12s"
    assert.equal(20000, got)
  end)
end)

describe("thirty connections of one client that send and receive at once, where both ends have little memory", function()
  for mb, seconds in pairs { [1] = 5, [2] = 4 } do
    it(("move 200 kB each way in %d s with %d MiB, and stay within it"):format(seconds, mb), function()
      local w, done, flag = sim.world {}, 0, ("%dMiB"):format(mb)
      local far, connect = server(w, "--maxbuffered", flag), client(w, "client", "--maxbuffered", flag)
      for _ = 1, 30 do
        w:task(function()
          local app = connect()
          w:task(function() app:write(("x"):rep(200000), { timeout = "1h" }) end)
          app:read_exactly(200000, { timeout = "1h" })
          done = done + 1
        end)
      end
      local most = 0
      for _ = 1, seconds * 20 do
        w:run_for "50ms"
        most = math.max(most, far:stats().counters.BytesHeld)
      end
      assert.equal(30, done)
      assert.is_true(most < mb << 20, most)
    end)
  end
end)

describe("a client of kt's wire that opens sixty connections at once, with a server that has memory for fewer", function()
  it("has none refused: the server keeps memory for those that it allowed, and the rest wait until others end", function()
    local w, done = sim.world {}, 0
    w:host "server"
    w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
    local far = w:host("server"):run("kt server", { args = { "-l", ":29900", "-t", "127.0.0.1:8388", "--key", "k", "--maxbuffered", "2MiB" } })
    w:host "client"
    w:link("client", "server", { delay = "10ms" })
    w:host("client"):run("kt client", { args = { "-r", "server:29900", "-l", "127.0.0.1:12948", "--key", "k" } })
    w:run_for "1s"
    local apps = {}
    for i = 1, 60 do
      w:task(function()
        apps[i] = w:host("client"):connect "127.0.0.1:12948"
        apps[i]:echo(("x"):rep(8000), { timeout = "1h" })
        done = done + 1
      end)
    end
    w:run_for "3s"
    assert.equal(0, far:stats().counters.StreamsRefused)
    assert.is_true(done > 50 and done < 60, done)
    assert.equal(1, times(far:log "wait", "streams open; further ones wait %(the remaining memory is for other links"))
    for i = 1, 20 do apps[i]:close() end
    w:run_for "3s"
    assert.equal(60, done)
    assert.equal(0, far:stats().counters.StreamsRefused)
  end)
end)
