-- kt's own wire on bad paths, in virtual time: outages, moves, restarts, holes in the MTU, and what they cost.
local core = require "kt.sim.core"
local sim = require "kt.sim"

local KEY = "d2hhdCBtYWtlcyBhIGtleSBpcyAzMiBieXRlcy4uLi4="

--- Two hosts with the scripts of spec/fixtures/native. opts: seed, line, nat, target, addresses (of the server), client (its script, if it is another).
local function tunnel(opts)
  opts = opts or {}
  local w = sim.world { seed = opts.seed or 3, files = { ["client.key"] = KEY, ["server.key"] = KEY } }
  local t = { w = w, at_client = w:host "client", at_server = w:host("server", { address = opts.addresses }) }
  if opts.nat then t.at_client:nat { public = "198.51.100.1" } end
  t.line = w:link("client", "server", opts.line or { delay = "50ms" })
  t.at_server:serve(opts.target or { on = "127.0.0.1:8388", kind = "echo" })
  t.server = t.at_server:run "spec/fixtures/native/server.lua"
  if opts.client then t.at_client:file("client.lua", opts.client) end
  t.client = t.at_client:run(opts.client and "client.lua" or "spec/fixtures/native/client.lua")
  function t.connect() return t.at_client:connect "127.0.0.1:12948" end
  function t.outage(from, lasts)
    w:fault(from, "cut", function() t.line:cut() end)
    w:fault(from + lasts, "heal", function() t.line:heal() end)
  end
  return t
end

--- Sends bytes to an echo and checks what comes back, in both directions at once. Returns a function: bytes back so far.
local function stream(t, app, bytes)
  local got, sent, seed = 0, 0, 11
  t.w:task(function()
    while sent < bytes do
      local n = math.min(20000, bytes - sent)
      assert(app:write(core.bytes(seed, sent, n), { timeout = "1h" }))
      sent = sent + n
    end
    app:shutdown()
  end)
  t.w:task(function()
    while true do
      local data = app:read(1 << 16, { timeout = "1h" })
      if not data then return end
      assert.is_nil(core.differ(seed, got, data))
      got = got + #data
    end
  end)
  return function() return got end
end

local function until_true(t, fn, timeout)
  t.w:run_until(fn, { timeout = timeout })
end

describe("an outage of kt's own wire", function()
  for i, seconds in ipairs { 1, 2, 5, 20, 60, 590 } do
    it(("of %d s with data under way both ways ends within an eighth of it, a second at most, and a few round trips"):format(seconds), function()
      local t = tunnel { seed = i, line = { delay = "50ms", rate = "20Mbit", queue = { time = "100ms" } } }
      local app = t.connect()
      local got = stream(t, app, 6000000)
      local from = 1.5 + i * 0.037
      t.outage(from, seconds)
      t.w:run(from + seconds)
      local before = got()
      until_true(t, function() return got() > before end, "10s")
      local after = t.w:now() - from - seconds
      assert.is_true(after < 0.5 + math.min(seconds / 8, 1), ("%.3f s after the outage"):format(after))
      until_true(t, function() return got() == 6000000 end, "60s")
      assert.equal(1, t.client:stats().counters.ActiveOpens)
    end)
  end

  for i, seconds in ipairs { 2, 8, 13, 20, 60, 300 } do
    for _, owed in ipairs { true, false } do
      local what = ("of %d s, with %s, that ends at another address of the client ends within"):format(seconds, owed and "a byte owed" or "nothing owed")
      -- A client that owes nothing may have to notice first that nothing answers.
      it(("%s %s, on the same link"):format(what, owed and "1.2 s" or "3.2 s"), function()
        for _, dead in ipairs { false, "10.0.2.1" } do -- an address of the server that goes dead with the outage
          local t = tunnel { seed = i, line = { delay = "20ms" }, addresses = dead and { dead, "10.0.2.2" } or nil }
          local app = t.connect()
          app:echo "before"
          t.w:run_for(0.5 + i * 0.31)
          t.line:cut()
          if dead then t.w:rule { from = "client", to = "server", fn = function(p) return p.dst:find(dead, 1, true) and "drop" or nil end } end
          if owed then app:write "x" end
          t.w:run_for(seconds + 0.1)
          t.at_client:move "10.0.9.1"
          t.line:heal()
          local from = t.w:now()
          if not owed then app:write "x" end
          assert.equal("x", app:read_exactly(1, { timeout = dead and "40s" or "10s" }))
          assert.equal(1, t.client:stats().counters.ActiveOpens)
          local took = t.w:now() - from
          if not dead then assert.is_true(took < (owed and 1.2 or 3.2), took) end
        end
      end)
    end
  end

  it("on a line with a round trip of more than a second ends within a few round trips, on the same link", function()
    for _, delay in ipairs { 0.6, 1.5 } do
      for _, seconds in ipairs { 12, 25, 40 } do
        local t = tunnel { line = { delay = delay } }
        t.w:run_for "5s"
        local app = t.connect()
        app:echo("before", { timeout = "20s" })
        t.line:cut()
        app:write "in the outage"
        t.w:run_for(seconds)
        t.line:heal()
        local from = t.w:now()
        app:read_exactly(13, { timeout = "60s" })
        assert.is_true(t.w:now() - from < 3 + 6 * delay, ("%.1f s after %d s, delay %.1f s"):format(t.w:now() - from, seconds, delay))
        local counters = t.client:stats().counters
        assert.equal(1, counters.ActiveOpens)
        assert.equal(0, counters.SessionsRestarted)
      end
    end
  end)

  it("costs few packets", function()
    local t = tunnel()
    local app = t.connect()
    app:echo "before"
    local before = t.client:stats().counters.OutPkts
    t.line:cut()
    app:write "in the outage"
    t.w:run_for "10s"
    local first = t.client:stats().counters.OutPkts - before
    t.w:run_for "60s"
    local rest = t.client:stats().counters.OutPkts - before - first
    assert.is_true(first < 80, first .. " packets in the first 10 s")
    assert.is_true(rest < 240, rest .. " packets in the minute after them")
  end)

  it("that is longer than `survive` ends the link at both ends, with its connections", function()
    local t = tunnel()
    local app = t.connect()
    app:echo "before"
    t.line:cut()
    app:write "lost"
    t.w:run_for "620s"
    assert.matches("link with 10.0.2.1:29900 ended: no answer for 600.%d s", t.client:log())
    local data, err = app:read(1, { timeout = "1s" })
    assert.is_nil(data)
    assert.equal("reset", err.code)
    assert.equal(0, t.server:stats().counters.CurrEstab)
    t.line:heal()
    t.connect():echo "after"
  end)

  it("does not keep a link at the server whose client is gone without a word", function()
    local t = tunnel()
    t.connect():echo "before"
    t.line:cut()
    t.at_client:crash()
    t.w:run_for "605s"
    assert.equal(0, t.server:stats().counters.CurrEstab)
  end)
end)

describe("a client of kt's own wire", function()
  it("continues a transfer both ways through new ports of its NAT", function()
    local t = tunnel { nat = true, line = { delay = "30ms", rate = "20Mbit" } }
    local got = stream(t, t.connect(), 4000000)
    for n = 1, 3 do t.w:fault(n * 1.3, "rebind", function() t.at_client:nat_rebind() end) end
    until_true(t, function() return got() == 4000000 end, "30s")
    assert.equal(1, t.server:stats().counters.PassiveOpens)
  end)

  it("is found again within 3 s if it only receives when its NAT forgets it", function()
    local t = tunnel { nat = true, line = { delay = "30ms", rate = "20Mbit" }, target = { on = "127.0.0.1:8388", fn = function(conn)
      conn:read_exactly(1)
      conn:write(("x"):rep(20000000), { timeout = "1h" })
    end } }
    local app = t.connect()
    app:write "g"
    t.w:run_for "2s"
    t.at_client:nat_rebind()
    local n = 0
    t.w:task(function()
      while true do
        local data = app:read(1 << 16, { timeout = "1h" })
        if not data then return end
        n = n + #data
      end
    end)
    t.w:run_for "500ms"
    local before = n
    until_true(t, function() return n > before + 100000 end, "3s")
  end)

  it("continues at another address with data under way within a few round trips", function()
    local t = tunnel { line = { delay = "30ms", rate = "20Mbit" } }
    local got = stream(t, t.connect(), 4000000)
    t.w:run "1500ms"
    t.at_client:move "10.0.9.1"
    t.w:run_for "100ms" -- what was on its way has arrived
    local before = got()
    until_true(t, function() return got() > before end, "600ms")
    until_true(t, function() return got() == 4000000 end, "10s")
    assert.equal(1, t.server:stats().counters.PassiveOpens)
  end)

  it("answers a keystroke within a few round trips of its move", function()
    local t = tunnel { line = { delay = "30ms" } }
    local app = t.connect()
    app:echo "before"
    t.w:run_for "5s"
    t.at_client:move "10.0.9.1"
    local took = app:echo("after").time
    assert.is_true(took < 0.6, took)
  end)

  it("notices its move though what it sends puts its probe timeouts off", function()
    local t = tunnel { line = { delay = "2ms" } }
    local app = t.connect()
    app:echo "before"
    t.w:run_for "5s"
    t.at_client:move "10.0.9.1"
    for _ = 1, 25 do
      app:write "x"
      t.w:run_for "20ms"
    end
    assert.equal(("x"):rep(25), app:read_exactly(25, { timeout = "50ms" }))
  end)

  it("dials from its new address if it moved while nothing answered", function()
    local t = tunnel()
    t.line:cut()
    t.connect()
    t.w:run_for "1s"
    t.at_client:move "10.0.9.1"
    t.line:heal()
    t.connect():echo("after", { timeout = "6s" })
  end)

  it("notices within 15 s that its server gave the link up, and dials again", function()
    local t = tunnel()
    t.connect():echo "before"
    t.w:run_for "5s"
    t.line:cut("server") -- CLOSE is lost
    t.at_server:restart()
    t.w:run_for "15m" -- the server says `unknown` no more
    t.line:heal()
    local app = t.connect()
    assert.is_true(app:echo("after", { timeout = "20s" }).time < 15)
  end)

  it("keeps its connections when it checks a server that still knows the link", function()
    local t = tunnel()
    local app = t.connect()
    app:echo "before"
    t.line:cut("server")
    app:write "x"
    t.w:run_for "20s" -- initiations arrive, but no answer does
    t.line:heal()
    assert.equal("x", app:read_exactly(1, { timeout = "5s" }))
    assert.equal(1, t.client:stats().counters.ActiveOpens)
  end)
end)

describe("a restart of the server of kt's own wire", function()
  it("is noticed by a PING alone", function()
    local t = tunnel()
    t.connect():echo "before"
    t.w:run_for "5s"
    t.at_server:restart()
    t.w:run_for "20s" -- until the keepalive
    assert.matches("no longer knows this link", t.client:log(), 1, true)
  end)

  it("breaks connections with a reason, and new ones work at once", function()
    local t = tunnel()
    local app = t.connect()
    app:echo "before"
    t.at_server:restart()
    app:write "x"
    local data, err = app:read(1, { timeout = "5s" })
    assert.is_nil(data)
    assert.equal("reset", err.code)
    t.connect():echo("after", { timeout = "2s" })
  end)

end)

describe("a restart of the client of kt's own wire", function()
  it("ends what it left at the server, with its target conns, within 3 s", function()
    local left, served = nil, 0
    local t = tunnel { target = { on = "127.0.0.1:8388", fn = function(conn)
      conn:write(conn:read_exactly(1))
      served = served + 1
      if served == 1 then left = select(2, conn:read(1, { timeout = "1h" })) else conn:read(1, { timeout = "1h" }) end
    end } }
    local function first_byte()
      local app = t.connect()
      app:write "x"
      app:read_exactly(1)
    end
    first_byte()
    t.at_client:crash()
    t.w:run_for "1s"
    t.at_client:restart()
    first_byte()
    t.w:run_for "3s"
    assert.equal("reset", left and left.code)
    assert.matches("link with 10.0.1.1:%d+ ended: its client has restarted", t.server:log())
    local counters = t.server:stats().counters
    assert.same({ 2, 1, 1 }, { counters.PassiveOpens, counters.CurrEstab, counters.SessionsRestarted })
  end)

  it("is not seen in a second process on its host, nor after a move", function()
    local function counts(t)
      local c = t.server:stats().counters
      return { c.PassiveOpens, c.CurrEstab, c.SessionsRestarted }
    end
    local t = tunnel()
    t.connect():echo "before"
    t.at_client:file("second.lua", ([[
      local kt = require "kt"
      local far = kt.link { remote = "server:29900", wire = "kt", key = "%s", stay = true }
      far:serve(function(stream) stream:close() end)]]):format(KEY))
    t.at_client:run("second.lua", { beside = true })
    t.w:run_for "5s"
    assert.same({ 2, 2, 0 }, counts(t))

    t = tunnel()
    t.connect():echo "before"
    t.at_client:crash()
    t.at_client:move "10.0.9.1"
    t.at_client:restart()
    t.connect():echo "after"
    t.w:run_for "5s"
    assert.same({ 2, 2, 0 }, counts(t))
  end)
end)

describe("a path of kt's own wire", function()
  for _, loss in ipairs { "20%", "35%", "50%" } do
    it("delivers every byte at " .. loss .. " loss both ways", function()
      local t = tunnel { line = { delay = "20ms", loss = loss, rate = "50Mbit" } }
      local got = stream(t, t.connect(), 200000)
      until_true(t, function() return got() == 200000 end, "300s")
      assert.equal(1, t.server:stats().counters.PassiveOpens)
    end)
  end

  it("delivers every byte where one packet in five is overtaken", function()
    local t = tunnel { line = { delay = "20ms", jitter = "10ms", reorder = "20%", duplicate = "10%", rate = "50Mbit" } }
    local got = stream(t, t.connect(), 5000000)
    until_true(t, function() return got() == 5000000 end, "30s")
  end)

  it("that carries 1,280 bytes takes packets of 1,200", function()
    local t = tunnel { line = { delay = "20ms", mtu = 1280, rate = "50Mbit" } }
    local got = stream(t, t.connect(), 2000000)
    until_true(t, function() return got() == 2000000 end, "10s")
    assert.equal(0, t.server:stats().counters.MTUReduced)
  end)

  it("whose MTU shrinks in a transfer carries on with smaller packets", function()
    local t = tunnel { line = { delay = "20ms", rate = "20Mbit" } }
    local got = stream(t, t.connect(), 5000000)
    t.w:fault("1s", "black hole", function() t.line:set { mtu = 1280 } end)
    until_true(t, function() return got() == 5000000 end, "20s")
  end)

  it("may be asymmetric", function()
    local t = tunnel { line = { delay = "20ms", rate = "100Mbit", back = { delay = "80ms", rate = "1Mbit", queue = { time = "200ms" } } } }
    local got = stream(t, t.connect(), 1000000)
    until_true(t, function() return got() == 1000000 end, "30s")
  end)

  it("with full socket buffers neither spins nor stops", function()
    local t = tunnel { line = { delay = "20ms", rate = "20Mbit" } }
    local got = stream(t, t.connect(), 4000000)
    t.w:fault("500ms", "full", function() t.at_client:udp_full(2) t.at_server:udp_full(2) end)
    until_true(t, function() return got() == 4000000 end, "20s")
  end)
end)
