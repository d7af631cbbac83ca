-- An attacker without the key, in virtual time: copies that are faster or slower than the original, replays, and other source addresses.
local attacker = require "attacker"
local sim = require "kt.sim"

local KEY = { "--key", "a secret of this spec's", "--nocomp" }

--- A client 30 ms away from a server, with a target behind it. opts: seed, args (of both), crypt, serve, nat.
local function tunnel(opts)
  opts = opts or {}
  local w = sim.world { seed = opts.seed or 7 }
  w:host "client"
  w:host "server"
  if opts.nat then w:host "client":nat { public = "198.51.100.1" } end
  w:link("client", "server", { delay = "30ms", loss = opts.loss })
  local t = { w = w, conns = 0 }
  w:host "server":serve { on = "127.0.0.1:8388", fn = function(conn)
    t.conns = t.conns + 1
    if opts.serve then return opts.serve(conn) end
    while true do
      local data = conn:read { timeout = "1h" }
      if not data or not conn:write(data) then return end
    end
  end }
  local function args(more)
    for _, list in ipairs { KEY, opts.args or {} } do table.move(list, 1, #list, #more + 1, more) end
    return { args = more }
  end
  function t.start_server()
    t.server = w:host "server":run("kt server", args { "--wire", "kcptun", "-l", ":29900", "-t", "127.0.0.1:8388", table.unpack(opts.server_args or {}) })
  end
  function t.start_client() t.client = w:host "client":run("kt client", args { "--wire", "kcptun", "-r", "server:29900", "-l", "127.0.0.1:12948" }) end
  t.start_server()
  t.start_client()
  function t.connect() return w:host "client":connect "127.0.0.1:12948" end
  function t.counter(name) return t.server:stats().counters[name] end
  return t
end

local function blast(conn)
  conn:read_exactly(1)
  conn:write(("x"):rep(300000))
  conn:shutdown()
end

describe("a copy of a session's first datagrams from another address", function()
  local ways = {
    ["that arrives before the original"] = { delay = "1ms", after = 0 },
    ["that arrives after it"] = { delay = "29ms", after = 0.003 },
    ["that arrives when the session has an answer"] = { delay = "1ms", after = 0.095 },
  }
  for name, way in pairs(ways) do
    for _, copies in ipairs { 1, 40 } do
      it(("%s, from %d addresses, leaves the session alone and gets little back"):format(name, copies), function()
        local t = tunnel { serve = blast }
        local a = attacker.on_path(t.w, way.delay, function(a, datagram, n)
          if n > 6 then return end
          t.w:sleep(way.after)
          for i = 1, copies do a:send(datagram, 4000 + i) end
        end)
        for _ = 1, 3 do
          local conn = t.connect()
          conn:write "G"
          assert.equal(300000, #assert(conn:read_all { timeout = "5s" }))
          conn:close()
        end
        a:check()
        assert.is_true(#a.recorded > 6)
        assert.equal(3, t.conns)
        assert.equal(1, t.counter "PassiveOpens")
        assert.equal(1, t.client:stats().counters.ActiveOpens)
        assert.is_nil(t.server:log():find("ended:", 1, true))
      end)
    end
  end

  it("does not get the session even if every datagram is copied and arrives first", function()
    local t = tunnel { serve = blast }
    local a = attacker.on_path(t.w, nil, function(a, datagram) a:send(datagram) end)
    for _ = 1, 3 do
      local conn = t.connect()
      conn:write "G"
      assert.equal(300000, #assert(conn:read_all { timeout = "10s" }))
      conn:close()
    end
    a:check()
    assert.equal(3, t.conns)
    assert.equal(1, t.counter "PassiveOpens")
  end)
end)

describe("a recorded start of a session that has ended", function()
  -- A session, recorded, and ended; `before` is called when the world has been made.
  local function ended(opts, before)
    local t = tunnel(opts)
    local a = attacker.on_path(t.w)
    if before then before(t, a) end
    local conn = t.connect()
    conn:write "G"
    conn:read_all { timeout = "5s" }
    conn:close()
    t.w:run_for "1s"
    t.client:kill()
    t.w:run_for "40s"
    assert.equal(0, t.counter "CurrEstab")
    return t, a
  end

  local crypts = { "aes", "aes-128-gcm", "blowfish", "salsa20", "xor", "none", "null" }
  for _, crypt in ipairs(crypts) do
    it(("does not begin it again with crypt %s, with any other replayed datagrams"):format(crypt), function()
      local t, a = ended { serve = blast, args = { "--crypt", crypt } }
      for from = 1, 10 do
        for i = from, math.min(from + 7, #a.recorded) do a:send(a.recorded[i], 4000 + from) end
        t.w:run_for "3s"
      end
      a:check()
      assert.equal(1, t.conns)
      assert.equal(1, t.counter "PassiveOpens")
      assert.is_true(t.counter "ReplayedStarts" > 0)
      assert.matches("the start of an earlier session was replayed", t.server:log(), 1, true)
    end)
  end

  it("does not begin it again even if that datagram was lost and a later one began the session", function()
    local lost
    local t, a = ended({ serve = blast }, function(t)
      t.w:rule { from = "client", to = "server", fn = function(packet)
        if packet.at < 0.1 then
          lost = lost or { data = packet.data, to = packet.dst }
          return "drop"
        end
      end }
    end)
    a:send(lost)
    t.w:run_for "3s"
    a:check()
    assert.equal(1, t.conns)
  end)

  it("does not begin it again after a reload", function()
    local w = sim.world { seed = 7 }
    local conns = 0
    w:host "client"
    w:host "server":serve { on = "127.0.0.1:8388", fn = function(conn)
      conns = conns + 1
      blast(conn)
    end }
    w:link("client", "server", { delay = "30ms" })
    local function text(port)
      return ([[
        local kt = require "kt"
        kt.accept { on = ":29900", wire = "kcptun", key = "k" }:serve(function(stream) kt.splice(stream, assert(kt.connect { to = "127.0.0.1:8388" })) end)
        kt.listen { on = ":%d" }:serve(function(conn) conn:close() end)]]):format(port)
    end
    w:host "server":file("s.lua", text(1))
    local server = w:host "server":run "s.lua"
    local a = attacker.on_path(w)
    local client = w:host "client":run("kt client", { args = { "--wire", "kcptun", "-r", "server:29900", "-l", ":1", "--key", "k" } })
    local conn = w:host "client":connect "127.0.0.1:1"
    conn:write "G"
    conn:read_all { timeout = "5s" }
    conn:close()
    client:kill()
    w:run_for "40s"
    w:host "server":file("s.lua", text(2))
    server:signal "HUP"
    w:run_for "10s"
    for _, datagram in ipairs(a.recorded) do a:send(datagram) end
    w:run_for "3s"
    assert.equal(1, conns)
    a:check()
  end)

  it("gets at most three times its bytes from a restarted server, together with everything recorded after it", function()
    local t, a = ended { serve = blast }
    local size = 0
    for _, datagram in ipairs(a.recorded) do size = size + #datagram.data end
    t.server:kill()
    t.start_server()
    for _, datagram in ipairs(a.recorded) do
      a:send(datagram)
      t.w:run_for "30ms"
    end
    t.w:run_for "60s"
    a:check()
    assert.is_true(a:received() > 0 and size > 0)
  end)

  it("does not affect a client that repeats its first datagram", function()
    local t = tunnel()
    local n = 0
    t.w:rule { from = "server", to = "client", fn = function()
      n = n + 1
      return n < 5 and "drop" or nil
    end }
    assert.equal("server", t.connect():echo("hello", { timeout = "5s" }).server or "server")
    assert.equal(0, t.counter "ReplayedStarts")
    assert.equal(1, t.counter "PassiveOpens")
  end)
end)

describe("a session that the server gave up before its client received anything", function()
  it("is replaced at once when the path is back, and keeps its connections", function()
    local t = tunnel { server_args = { "--deadpeer", "5" } }
    local line = t.w:link("client", "server")
    line:cut "server"
    local conn = t.connect()
    conn:write "hello"
    t.w:run "2s"
    line:cut() -- until the server has given up
    t.w:run_until(function() return t.counter "CurrEstab" == 0 end)
    line:heal()
    assert.equal("hello", conn:read_exactly(5, { timeout = "3s" }))
    assert.equal(2, t.counter "PassiveOpens")
    assert.matches("carried over to a new session", t.client:log(), 1, true)
    assert.matches("ended: the peer does not know this session", t.client:log(), 1, true)
    assert.is_nil(t.client:log():find("it restarted", 1, true)) -- that would be untrue
  end)
end)

describe("a client that goes silent after its first datagrams", function()
  for _, crypt in ipairs { "aes", "null" } do
    it("gets three times their bytes at most, with crypt " .. crypt, function()
      local t = tunnel { serve = blast, args = { "--crypt", crypt } }
      local sent, got = 0, 0
      t.w:rule { from = "client", to = "server", fn = function(packet)
        if packet.at > 0.35 then return "drop" end
        sent = sent + packet.size
      end }
      t.w:rule { from = "server", to = "client", fn = function(packet)
        got = got + packet.size
        return "drop"
      end }
      local conn = t.connect()
      conn:write "G"
      t.w:run_for "90s"
      assert.is_true(got > 0 and sent > 0)
      assert.is_true(got <= 3 * sent, ("%d bytes for %d"):format(got, sent))
      assert.equal(0, t.counter "CurrEstab")
    end)
  end
end)

describe("a client without an attacker", function()
  it("gets the first answer of a session in one round trip, if it has no more than 1,000 bytes", function()
    local t = tunnel { serve = function(conn)
      conn:read_exactly(1)
      conn:write(("x"):rep(1000))
    end }
    local conn = t.connect()
    local start = t.w:now()
    conn:write "G"
    assert(conn:read_exactly(1000, { timeout = "5s" }))
    assert.is_true(t.w:now() - start < 0.09, t.w:now() - start)
  end)

  it("gets it within seconds on lines that lose a third of all packets each way", function()
    for seed = 1, 30 do
      local t = tunnel { seed = seed, loss = "33%" }
      t.connect():echo("hello", { timeout = "9s" })
    end
  end)
end)
