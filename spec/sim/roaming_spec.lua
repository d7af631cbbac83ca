-- A client whose address or NAT port changes, in virtual time: its session continues, and no attacker can take it over.
local attacker = require "attacker"
local sim = require "kt.sim"

local function tunnel(opts)
  local w = sim.world { seed = opts.seed or 7 }
  local t = { w = w, conns = 0 }
  w:host "client"
  if not opts.direct then w:host "client":nat { public = "198.51.100.1" } end
  w:host "server":serve { on = "127.0.0.1:8388", fn = function(conn)
    t.conns = t.conns + 1
    opts.serve(conn)
  end }
  w:link("client", "server", { delay = "30ms", rate = "20Mbit", loss = opts.loss })
  local function args(...) return { args = { "--key", "k", "--nocomp", "--crypt", opts.crypt or "aes", ... } } end
  t.server = w:host "server":run("kt server", args("--wire", "kcptun", "-l", ":29900", "-t", "127.0.0.1:8388"))
  t.client = w:host "client":run("kt client", args("--wire", "kcptun", "-r", "server:29900", "-l", "127.0.0.1:12948"))
  t.conn = w:host "client":connect "127.0.0.1:12948"
  function t.counter(name) return t.server:stats().counters[name] end
  return t
end

local function echo(conn)
  while true do
    local data = conn:read { timeout = "1h" }
    if not data or not conn:write(data) then return end
  end
end

local function only_session(t)
  assert.equal(1, t.conns)
  assert.equal(1, t.counter "PassiveOpens")
  assert.is_nil(t.server:log():find("ended:", 1, true))
  assert.is_nil(t.client:log():find("ended:", 1, true))
end

local function moved(t)
  local n = select(2, t.server:log():gsub("session with 198%.51%.100%.1:%d+, conv %x+, continues at 198%.51%.100%.1:%d+", ""))
  return n
end

describe("a client whose NAT gives it another port", function()
  it("keeps an idle connection, which answers within half a second", function()
    local t = tunnel { serve = echo }
    t.conn:echo "one"
    for i = 1, 3 do
      t.w:run(45 * i) -- both ends' heartbeats are at full tens
      t.w:host "client":nat_rebind()
      assert.is_true(t.conn:echo("more", { timeout = "5s" }).time < 0.6)
      assert.equal(i, moved(t))
    end
    only_session(t)
  end)

  it("keeps a download, which stalls for three seconds at most", function()
    local size = 20000000
    local t = tunnel { serve = function(conn)
      conn:read_exactly(1)
      conn:write(("x"):rep(size), { timeout = "1h" })
    end }
    t.conn:write "G"
    assert(t.conn:read_exactly(1000000, { timeout = "20s" }))
    t.w:host "client":nat_rebind()
    local at = t.w:now()
    assert(t.conn:read_exactly(3000000, { timeout = "20s" })) -- more than what was under way
    assert.is_true(t.w:now() - at < 4.5, t.w:now() - at)
    assert(t.conn:read_exactly(size - 4000000, { timeout = "60s" }))
    assert.equal(1, moved(t))
    only_session(t)
  end)

  it("keeps an upload, which stalls for three seconds at most", function()
    local got, last, worst = 0, nil, 0
    local t
    t = tunnel { serve = function(conn)
      while true do
        local data = conn:read { timeout = "1h" }
        if not data then return end
        got = got + #data
        if last then worst = math.max(worst, t.w:now() - last) end
        last = t.w:now()
      end
    end }
    t.w:at("2s", function() t.w:host "client":nat_rebind() end)
    assert(t.conn:write(("x"):rep(10000000), { timeout = "60s" }))
    t.w:run_until(function() return got == 10000000 end, { timeout = "60s" })
    assert.is_true(worst > 1 and worst < 3, worst)
    assert.equal(1, moved(t))
    only_session(t)
  end)

  it("keeps its connection through many changes on a line that loses packets", function()
    for seed = 1, 5 do
      local t = tunnel { serve = echo, seed = seed, loss = "5%" }
      local ticker = t.w:every("7s", function() t.w:host "client":nat_rebind() end)
      for i = 1, 20 do
        t.conn:echo("number " .. i, { timeout = "8s" })
        t.w:run_for "3s"
      end
      ticker:cancel()
      assert.is_true(moved(t) > 3)
      only_session(t)
    end
  end)
end)

describe("a client whose host gets another address", function()
  local function direct(serve)
    local t = tunnel { direct = true, serve = serve }
    function t.move(to) t.w:host "client":move(to) end
    return t
  end

  it("keeps its connections, with data in either direction or only occasionally", function()
    local t = direct(echo)
    t.conn:echo "one"
    for i = 1, 3 do
      t.w:run(45 * i)
      t.move("10.0.1." .. 10 + i)
      assert.is_true(t.conn:echo("more", { timeout = "5s" }).time < 4)
    end
    only_session(t)
    assert.matches("session with 10.0.2.1:29900: the address of this host has changed to 10.0.1.13", t.client:log(), 1, true)
    assert.matches("continues at 10.0.1.13:", t.server:log(), 1, true)
  end)

  it("keeps a download", function()
    local size = 3000000
    local t = direct(function(conn)
      conn:read_exactly(1)
      conn:write(("x"):rep(size), { timeout = "1h" })
    end)
    t.conn:write "G"
    assert(t.conn:read_exactly(1000000, { timeout = "20s" }))
    t.move "10.0.1.11"
    local at = t.w:now()
    assert(t.conn:read_exactly(2000000, { timeout = "20s" }))
    assert.is_true(t.w:now() - at < 6, t.w:now() - at)
    only_session(t)
  end)

  it("waits while it has no path to the server, and continues when it has one again", function()
    local t = direct(echo)
    t.conn:echo "one"
    t.move "fd00::99"
    t.w:run_for "12s"
    t.move "10.0.1.12"
    t.conn:echo("more", { timeout = "8s" })
    only_session(t)
  end)

  it("stays on its socket when the line is down and the address is the same", function()
    local t = direct(echo)
    t.conn:echo "one"
    local line = t.w:link("client", "server")
    line:cut()
    t.w:run_for "8s"
    line:heal()
    t.conn:echo("more", { timeout = "5s" })
    assert.equal(0, select(2, t.client:log():gsub("has changed", "")))
    assert.equal(0, select(2, t.server:log():gsub("continues at", "")))
    only_session(t)
  end)
end)

describe("a live session", function()
  it("stays with its client when an attacker replays datagrams from elsewhere while the client is silent", function()
    for _, crypt in ipairs { "aes", "null" } do
      local t = tunnel { serve = echo, crypt = crypt }
      local a = attacker.on_path(t.w)
      for i = 1, 5 do
        t.conn:echo("number " .. i)
        t.w:run_for "4s"
        for k = 1, #a.recorded do a:send(a.recorded[k], 4000 + k) end
        t.w:run_for "500ms"
      end
      a:check()
      assert.equal(0, moved(t))
      only_session(t)
    end
  end)

  it("survives when an attacker replays from the client's own address", function()
    local t = tunnel { serve = echo }
    local a = attacker.on_path(t.w)
    for i = 1, 5 do
      t.conn:echo("number " .. i)
      t.w:run_for "4s"
      for k = 1, #a.recorded do a:send(a.recorded[k], a.recorded[k].from) end
    end
    t.conn:echo "the last one"
    assert.equal(0, moved(t))
    only_session(t)
  end)

  it("is not taken over by copies that arrive before the datagrams of a client that has moved", function()
    local t = tunnel { serve = echo }
    t.conn:echo "one"
    local a = attacker.new(t.w, { delay = "1ms", seen = function(a, datagram) a:send(datagram) end })
    for i = 1, 3 do
      t.w:run_for "20s"
      t.w:host "client":nat_rebind()
      t.conn:echo("more", { timeout = "5s" })
      assert.equal(i, moved(t))
    end
    a:check()
    only_session(t)
  end)
end)
