-- The control socket and the verbs for a running kt, in virtual time: what kt status shows, and which events kt events follows.
local sim = require "kt.sim"

local SERVER = [[
local kt = require "kt"
kt.accept { on = ":29900", key = "k" }:serve(function(stream)
  local conn = kt.connect { to = "127.0.0.1:9000" }
  if conn then kt.splice(stream, conn) end
end)]]

-- Two ways to the server, of which the pool prefers the first.
local CLIENT = [[
local kt = require "kt"
local function to(host) return kt.link { remote = host .. ":29900", key = "k", survive = "10s" } end
local pool = kt.pool { name = "ways", links = { to "near", to "far" }, policy = "first", check = { every = "1s", timeout = "500ms" }, hold = "1s" }
kt.http.status { on = "127.0.0.1:9100" }
kt.listen { on = "127.0.0.1:8000" }:serve(function(conn)
  if conn:peek(4) == "fail" then error("asked to fail", 0) end
  local stream = pool:open()
  if stream then kt.splice(conn, stream) end
end)]]

describe("in virtual time", function()
  local w, client, line

  before_each(function()
    line = nil
    w = sim.world { seed = 3, files = { ["client.lua"] = CLIENT, ["server.lua"] = SERVER } }
    client = w:host "client"
    for i, name in ipairs { "near", "far" } do
      w:host(name):serve { on = ":9000", kind = "echo" }
      w:host(name):run("server.lua", { control = "/run/kt/server.sock" })
      local made = w:link("client", name, { delay = i * 0.01 })
      line = line or made
    end
    client:run("client.lua", { control = "/run/kt/client.sock" })
  end)

  --- Starts a verb on the client's host.
  local function start(name, ...) return client:run("kt " .. name, { args = { ... }, beside = true }) end

  --- Runs a verb to its end; returns its exit code and its output.
  local function verb(name, ...)
    local run = start(name, ...)
    w:run_until(function() return not run:is_running() end, { timeout = "1m" })
    return run.exit_code, run:output()
  end

  it("kt status shows links, pools, listeners, and conns with what they carry, and kt close ends one", function()
    local app
    w:at("1s", function()
      app = client:connect "127.0.0.1:8000"
      app:echo(("x"):rep(5000))
    end)
    w:run "10s"
    local code, text = verb "status"
    assert.equal(0, code, text)
    assert.matches("^client %(pid %d+%), kt [%d.]+, up 10 s, log level info\nconns and streams: 2, tasks: %d", text)
    assert.matches("Links\n  LINK +STATE +RTT [^\n]*\n  near:29900 +up +2%d ms +0%.0 %% +1 [^\n]*5%.0 kB\n  far:29900 +up +4%d ms ", text)
    assert.matches("Pools\n  POOL[^\n]*\n  ways +near:29900 +%* +up +2%d ms [^\n]*\n  ways +far:29900 +up +4%d ms", text)
    assert.matches("Listeners\n[^\n]*\n[^\n]*\n  127.0.0.1:8000 +kt.listen +open", text)
    assert.matches("Conns and streams\n[^\n]*\n +%d+ +conn +127.0.0.1:%d+ +stream near:29900 +9 s +5%.0 kB +5%.0 kB\n +2 +stream +near:29900 +conn 127", text)
    assert.same({ 0, "closed 2\n" }, { verb("close", "2") }, text)
    assert.matches("conns and streams: 0,", select(2, verb "status"))
    app:close()
  end)

  it("kt events follows what becomes of links, pools, the script and its tasks, at either end, and so does the status page", function()
    local near = w:host "near"
    local here, json, there = start "events", start("events", "--json"), near:run("kt events", { beside = true })
    local page
    w:at("2s", function() client:connect "127.0.0.1:8000":echo "over the first way" end)
    w:at("5s", function() client:connect "127.0.0.1:8000":write "fail" end)
    w:at("10s", function() line:cut() end)
    w:at("20s", function() client:connect "127.0.0.1:8000":echo "over the other way" end)
    w:at("30s", function() line:heal() end)
    w:at("60s", function() client.scripts[1]:signal "HUP" end)
    w:at("70s", function()
      client:file("client.lua", "nonsense")
      client.scripts[1]:signal "HUP"
    end)
    w:at("80s", function()
      local conn = client:connect "127.0.0.1:9100"
      conn:write "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
      page = conn:read(65536)
      conn:close()
    end)
    w:run "90s"

    --- Checks that the events have come in this order, among others.
    local function follows(run, expected)
      local text, at = run:output(), 1
      for _, pattern in ipairs(expected) do
        local first, last = text:find("\n2026%-01%-01 00:0" .. pattern .. "[^\n]*", at)
        assert.truthy(first, text .. "\nhas no " .. pattern .. " after " .. text:sub(1, at))
        at = last
      end
    end
    follows(here, {
      "0:00 up     near:29900: the link is up", "0:00 up     ways: near:29900 is up ", "0:05 error  127.0.0.1:%d+: task failed: asked to fail ",
      "0:1%d down   ways: near:29900 is down: ", "0:1%d switch ways: far:29900: ", "0:1%d down   near:29900: no answer for 3.0 s",
      "0:30 up     near:29900: ", "1:00 reload reloaded client.lua: ", "1:10 reload failed: client.lua:1: ",
    })
    follows(there, { "0:00 up     10.0.1.1:%d+: a peer is up", "0:%d%d down   10.0.1.1:%d+: not heard for 10 s", "0:30 up     10.0.1.1:%d+: a peer is up" })
    local failed = '{"conn":"127.0.0.1:%d+","failed":true,"text":"task failed: asked to fail [^"]*","time":1767225605,"type":"error"}\n'
    assert.matches(failed, json:output())
    assert.matches('"conn":"127.0.0.1:%d+","failed":true,"sequence":%d+,"text":"task failed: asked to fail ', page)
  end)

  it("kt status shows as many links of peers as conns, and says how many are missing", function()
    local hub = w:host "hub"
    w:link("client", "hub", { delay = 0.01 })
    hub:file("hub.lua", [[
      local kt = require "kt"
      kt.accept { on = ":29900", key = "k", wire = "kt" }:on("link", function() kt.sleep "1h" end)
      kt.http.status { on = ":9100", token = kt.secret "0123456789abcdef" }]])
    hub:run("hub.lua", { control = "/run/kt/hub.sock" })
    client:file("peers.lua", [[
      local kt = require "kt"
      for _ = 1, 40 do kt.link { remote = "hub:29900", key = "k", wire = "kt", stay = true } end
      kt.every("1h", print)]])
    client:run("peers.lua", { beside = true })
    w:run "5s"
    local function peers(...)
      local run = hub:run("kt status", { args = { ... }, beside = true })
      w:run_until(function() return not run:is_running() end)
      return select(2, run:output():gsub("\n  10%.0%.1%.1:%d+ +up ", "")), run:output()
    end
    assert.equal(40, (peers()))
    local n, text = peers("--conns", "3")
    assert.equal(3, n)
    assert.matches("  ... and 37 more links of peers\n\nListeners\n", text, 1, true)
  end)
end)
