-- Readers that stop reading, in virtual time: the other connections of their session keep moving.
local sim = require "kt.sim"

local BIG = 20000000

--- A tunnel of kt client and kt server, and what is behind it: "down\n" gets BIG bytes, "up\n" is never read again, the rest an answer.
local function tunnel(flags, line)
  local w = sim.world { seed = 5 }
  w:host "client"
  w:host "server"
  w:link("client", "server", line or { delay = "20ms", rate = "100Mbit" })
  w:host("server"):serve { on = "127.0.0.1:8388", fn = function(conn)
    local what = conn:read_until "\n"
    if what == "down\n" then
      for _ = 1, BIG // 100000 do
        if not conn:write(("z"):rep(100000), { timeout = "1h" }) then break end
      end
    elseif what == "up\n" then
      w:sleep "1h"
    else
      conn:write "hello\n"
    end
  end }
  local function side(name, ...)
    local args = { "--wire", "kcptun", "--key", "k", ... }
    table.move(flags, 1, #flags, #args + 1, args)
    return w:host(name):run("kt " .. name, { args = args })
  end
  side("server", "-l", ":29900", "-t", "127.0.0.1:8388")
  local client = side("client", "-r", "server:29900", "-l", "127.0.0.1:12948")
  local function connect(what)
    local app = w:host("client"):connect "127.0.0.1:12948"
    app:write(what)
    return app
  end
  return w, connect, client
end

--- Seconds until a new connection has its answer.
local function answer(w, connect, timeout)
  local from = w:now()
  assert.equal("hello\n", (connect "other\n":read_until("\n", { timeout = timeout or "60s" })))
  return w:now() - from
end

describe("with smux 2", function()
  for n, buffer in pairs { [3] = 2 << 20, [200] = 128 << 10 } do
    it(("%d unread downloads delay no other connection"):format(n), function()
      local w, connect, client = tunnel { "--streambuf", ("%d"):format(buffer) }
      local apps = {}
      for i = 1, n do apps[i] = connect "down\n" end
      w:run_for "5s"
      for _ = 1, 5 do assert.is_true(answer(w, connect) < 0.1) end
      assert.equal(0, client:stats().counters.StreamsCut)
      for _, app in ipairs(apps) do app:close() end
    end)
  end

  it("eight downloads that stop after they have filled their windows delay no other connection, and none is reset", function()
    local w, connect, client = tunnel { "--mode", "auto", "--maxbuffered", "8388608", "--nocomp", "--crypt", "null" }
    local apps, stop = {}, false
    for i = 1, 8 do
      apps[i] = connect "down\n"
      w:task(function() repeat until stop or not apps[i]:read { timeout = "10s" } end)
    end
    w:run_for "1500ms"
    stop = true
    for _ = 1, 10 do
      assert.is_true(answer(w, connect) < 0.15)
      w:run_for "100ms"
    end
    assert.equal(0, client:stats().counters.StreamsCut)
    for _, app in ipairs(apps) do app:close() end
    w:run_for "12s"
    local counters = client:stats().counters
    assert.equal(counters.StreamsNow * 5120, counters.BytesHeld) -- the windows' slots are free
  end)

  it("thirty downloads of bytes that compress delay no other connection when they stop, and none is reset", function()
    -- 'z' takes a twentieth on the wire, so what was granted arrives before the server hears of a smaller window
    local w, connect, client = tunnel({ "--quiet" }, { delay = "1ms", rate = "1Gbit" })
    local apps = {}
    for i = 1, 30 do
      apps[i] = connect "down\n"
      w:task(function()
        local got = 0
        while got < 300000 do got = got + #apps[i]:read { timeout = "10s" } end
      end)
    end
    for _ = 1, 10 do
      assert.is_true(answer(w, connect) < 0.15)
      w:run_for "100ms"
    end
    assert.equal(0, client:stats().counters.StreamsCut)
    for _, app in ipairs(apps) do app:close() end
  end)

  it("sixty unread downloads where both ends have little memory delay no new connection by a second, and none is reset", function()
    local w, connect, client = tunnel { "--maxbuffered", "8388608", "--nocomp" }
    local apps = {}
    for i = 1, 60 do apps[i] = connect "down\n" end
    for _ = 1, 5 do assert.is_true(answer(w, connect) < 1) end
    w:run_for "3s"
    for _ = 1, 5 do assert.is_true(answer(w, connect) < 0.15) end
    assert.equal(0, client:stats().counters.StreamsCut)
    for _, app in ipairs(apps) do app:close() end
  end)

  it("thirty uploads that the target never reads delay no other connection", function()
    local w, connect = tunnel {}
    local apps = {}
    for i = 1, 30 do
      apps[i] = connect "up\n"
      w:task(function() apps[i]:write(("y"):rep(3000000), { timeout = "1h" }) end)
    end
    w:run_for "5s"
    for _ = 1, 5 do assert.is_true(answer(w, connect) < 0.1) end
  end)

  it("a download that is read after a pause arrives whole, and as fast as the line", function()
    local w, connect = tunnel { "--nocomp" }
    local apps = {}
    for i = 1, 5 do apps[i] = connect "down\n" end
    w:run_for "10s"
    local from, n = w:now(), 0
    while n < BIG do n = n + #assert(apps[3]:read { timeout = "10s" }) end
    assert.equal(BIG, n)
    assert.is_true(BIG / (w:now() - from) > 8e6)
  end)
end)

describe("with smux 1", function()
  for _, n in ipairs { 1, 30 } do
    it(("%d unread downloads are reset, and named in the log, within seconds of blocking others"):format(n), function()
      local w, connect, client = tunnel { "--smuxver", "1" }
      local apps = {}
      for i = 1, n do apps[i] = connect "down\n" end
      w:run_for "2s"
      assert.is_true(answer(w, connect) < 6)
      assert.is_true(client:stats().counters.StreamsCut >= 1)
      assert.matches("stream %d+ reset: its %d+ unread bytes blocked all streams of the session", client:log "unread")
      w:run_for "5s"
      assert.is_true(answer(w, connect) < 0.1)
      for _, app in ipairs(apps) do app:close() end
    end)
  end

  it("unread downloads that fill the session's share of --maxbuffered before --smuxbuf are reset as well", function()
    local w, connect, client = tunnel { "--smuxver", "1", "--nocomp", "--maxbuffered", "8388608" }
    local apps = {}
    for i = 1, 30 do apps[i] = connect "down\n" end
    w:run_for "2s"
    assert.is_true(answer(w, connect) < 6)
    assert.is_true(client:stats().counters.StreamsCut >= 1)
    for _, app in ipairs(apps) do app:close() end
    w:run_for "15s"
    assert.is_true(client:stats().counters.BytesHeld < 65536)
  end)

  it("an application whose download was reset sees that it is incomplete", function()
    local w, connect = tunnel { "--smuxver", "1" }
    local app = connect "down\n"
    w:run_for "2s"
    answer(w, connect)
    local data, err
    repeat data, err = app:read { timeout = "10s" } until not data
    assert.equal("reset", err.code)
  end)

  it("a lone download may pause without limit", function()
    local w, connect, client = tunnel { "--smuxver", "1" }
    local app = connect "down\n"
    w:run_for "300s"
    local n = 0
    while n < BIG do n = n + #assert(app:read { timeout = "10s" }) end
    assert.equal(0, client:stats().counters.StreamsCut)
  end)

  it("a lone download at a client that serves streams is reset after 30 s, so that it does not block the server's", function()
    local w = sim.world { seed = 5 }
    w:host "near"
    w:host "far"
    w:link("near", "far", { delay = "20ms", rate = "100Mbit" })
    w:host("far"):file("far.lua", [[
      local kt = require "kt"
      local acceptor, peer = kt.accept { on = ":29900", wire = "kcptun", key = "k", smux = { version = 1 } }
      acceptor:on("link", function(link) peer = link end)
      acceptor:serve(function(stream)
        kt.spawn(function()
          kt.sleep "2s"
          local call = peer:open { timeout = "5s" }
          call:write "hello"
          print(call:read_exactly(5, { timeout = "60s" }))
        end)
        stream:write(("z"):rep(20000000), { timeout = "1h" })
      end)
    ]])
    w:host("near"):file("near.lua", [[
      local kt = require "kt"
      local link = kt.link { remote = "far:29900", wire = "kcptun", key = "k", smux = { version = 1 } }
      link:serve(function(call) call:write(call:read_exactly(5)) end)
      kt.spawn(function()
        local stream = link:open { timeout = "5s" }
        stream:read { timeout = "5s" }
        kt.sleep "1h"
        stream:close()
      end)
    ]])
    local far = w:host("far"):run "far.lua"
    local near = w:host("near"):run "near.lua"
    w:run "25s"
    assert.equal("", far:output())
    w:run "35s"
    assert.equal("hello\n", far:output())
    assert.equal(1, near:stats().counters.StreamsCut)
  end)

  it("a slow reader is not reset: the others move at its pace", function()
    local w, connect, client = tunnel { "--smuxver", "1" }
    local slow = connect "down\n"
    w:task(function()
      for _ = 1, 300 do
        slow:read()
        w:sleep "100ms"
      end
    end)
    w:run_for "10s"
    answer(w, connect)
    assert.equal(0, client:stats().counters.StreamsCut)
  end)
end)
