-- Links and acceptors with wire = "auto", in virtual time: which of the two wires they speak, when, and what the log says.
local sim = require "kt.sim"

local KEY = "d2hhdCBtYWtlcyBhIGtleSBpcyAzMiBieXRlcy4uLi4="
local SERVER = assert(io.open "spec/fixtures/both/server.lua"):read "a"
local OTHER = "YW5vdGhlciBrZXkgaXMgYWxzbyAzMiBieXRlcyBsb24="
local ON_KCPTUN = "server:29900 does not answer on wire kt; using wire kcptun from now on"
local SILENT = "no answer for 5 s on wire kt or kcptun: is a server running there, does UDP get through, and are the key and the "
  .. "settings of the wire the same on both ends?"

local function tunnel(opts)
  local w = sim.world { seed = opts.seed or 7 }
  local t = { w = w, target = {} }
  w:host "client" w:host "server"
  t.line = w:link("client", "server", opts.line or { delay = "50ms" })
  local accepted = 0
  w:host "server":serve { on = "127.0.0.1:8388", fn = function(conn)
    accepted = accepted + 1
    while true do
      local data = conn:read { timeout = "1h" }
      if not data or not conn:write(data) then return end
    end
  end }
  function t.accepted() return accepted end
  local function put_script(wire)
    w:host "server":file("server.lua", ('local wire, key, smux = "%s", "%s", %s\n'):format(wire, KEY, opts.smux or "nil") .. SERVER)
  end
  -- The server's machine comes back with another script.
  function t.replace_server(wire)
    put_script(wire)
    w:host "server":restart()
  end
  if opts.server then
    put_script(opts.server)
    t.server = w:host "server":run "server.lua"
  end
  t.client = w:host "client":run("spec/fixtures/both/client.lua", { args = { opts.client or "auto", opts.key or KEY, opts.stay or "" } })
  function t.connect() return w:host "client":connect "127.0.0.1:12948" end
  function t.counter(name) return t.server:stats().counters[name] end
  function t.client_says(text)
    local n, at = 0, 1
    while true do
      local first, last = t.client:log():find(text, at, true)
      if not first then return n end
      n, at = n + 1, last + 1
    end
  end
  return t
end

describe("a link that may speak either wire", function()
  it("speaks kt's with a server that takes both, as soon as one that speaks nothing else", function()
    local t = tunnel { server = "auto" }
    local app = t.connect()
    assert.is_true(app:echo("hello").time < 0.302)
    assert.is_true(app:echo("again").time < 0.102)
    assert.equal(1, t.client_says "is up, chacha20-poly1305")
    assert.equal(1, t.counter "PassiveOpens")
  end)

  it("falls back to kcptun's after 0.3 s without an answer, and says so once", function()
    local t = tunnel { server = "kcptun" }
    assert.is_true(t.connect():echo("hello", { timeout = "5s" }).time < 0.8)
    assert.is_true(t.connect():echo("again").time < 0.3)
    t.w:run_for "20s"
    assert.equal(1, t.client_says(ON_KCPTUN))
    assert.equal(1, t.client_says "the link is up")
    assert.equal(0, t.client_says "warn ")
  end)

  it("tells its user once that nothing answers, with the causes in order", function()
    local t = tunnel { server = "auto", key = OTHER }
    t.connect()
    t.w:run_for "5500ms"
    assert.equal(1, t.client_says(SILENT))
    assert.equal(1, t.client_says "warn ")
    t.w:run_for "15s"
    assert.equal(1, t.client_says("no stream: link:open: 10.0.2.1:29900: " .. SILENT))
  end)

  it("names the setting of kcptun's wire that differs, and fails within 5 s", function()
    for _, stay in ipairs { "", "stay" } do
      local t = tunnel { server = "kcptun", smux = "{ version = 1 }", stay = stay }
      local app = t.connect()
      t.w:run_for "5s"
      assert.equal(1, t.client_says "ended: expected smux version 2, got 1: set smuxver the same on both ends")
      assert.equal(1, t.client_says "no stream: server:29900: expected smux version 2, got 1")
      assert.equal(2, t.client_says "warn ")
      t.w:run_for "50s"
      assert.equal(2, t.client_says "warn ")
      assert.is_nil(app:read { timeout = "1s" })
    end
  end)

  it("says at once that nothing listens there", function()
    local t = tunnel {}
    t.connect()
    t.w:run_for "3s"
    assert.equal(1, t.client_says "10.0.2.1:29900: nothing listens there (port unreachable)")
    assert.equal(1, t.client_says "warn ")
  end)

  it("says once that the name of its server does not resolve", function()
    local w = sim.world { seed = 7 }
    w:host "client"
    local client = w:host "client":run("spec/fixtures/both/client.lua", { args = { "auto", KEY, "" } })
    w:host "client":connect "127.0.0.1:12948"
    w:run_for "6s"
    local _, warnings = client:log():gsub("warn ", "")
    assert.equal(1, warnings)
    assert.matches("trying again every second", client:log(), 1, true)
  end)

  it("asks nobody once no connection waits any more", function()
    local t = tunnel { server = "auto", key = OTHER }
    t.connect()
    t.w:run_for "60s"
    local before = t.counter "InBytes"
    t.w:run_for "60s"
    assert.equal(before, t.counter "InBytes")
  end)

  it("opens each connection once, however late the answers are", function()
    local t = tunnel { server = "auto", line = { delay = "900ms", loss = "30%" } }
    local apps = {}
    for i = 1, 5 do
      apps[i] = t.connect()
      apps[i]:write "x"
    end
    for i = 1, 5 do assert.equal("x", apps[i]:read { timeout = "60s" }) end
    assert.equal(5, t.accepted())
  end)

  it("speaks kt's in the end, although kcptun's was answered first after an outage", function()
    local t = tunnel { server = "auto" }
    t.line:cut()
    t.connect():write "x"
    t.w:run_for "13s"
    t.line:heal()
    t.w:run_for "6s"
    assert.equal(1, t.client_says "is up, chacha20-poly1305")
    assert.equal(0, t.client_says(ON_KCPTUN))
    assert.equal(1, t.accepted())
  end)

  it("serves streams that the far end opens, on either wire", function()
    for _, wire in ipairs { "auto", "kcptun", "kt" } do
      local t = tunnel { server = wire, stay = "serve" }
      t.w:run_for "3s"
      assert.equal("back", t.w:host("server"):connect("127.0.0.1:9000"):echo("back", { timeout = "5s" }) and "back")
    end
  end)
end)

describe("an acceptor that takes either wire", function()
  it("gives a new script the link on kt's wire of a peer that has come on both", function()
    local t = tunnel { server = "auto", stay = "serve" }
    t.line:cut()
    t.w:run_for "13s"
    t.line:heal()
    t.w:run_for "6s"
    assert.equal(2, t.counter "PassiveOpens")
    assert.equal(1, t.client_says "is up, chacha20-poly1305")
    t.server:signal "HUP"
    t.w:run_for "1s"
    t.w:host("server"):connect("127.0.0.1:9000"):echo("back", { timeout = "5s" })
  end)
end)

describe("a link whose peer has spoken kt's wire", function()
  it("never falls back to kcptun's, and says why it does not", function()
    local t = tunnel { server = "auto" }
    t.connect():echo "hello"
    t.replace_server "kcptun"
    local app = t.connect()
    app:write "x"
    assert.is_nil((app:try_echo("again", { timeout = "60s" })))
    t.w:run_for "600s"
    t.connect()
    t.w:run_for "6s"
    assert.equal(0, t.counter "PassiveOpens")
    assert.equal(0, t.client_says(ON_KCPTUN))
    assert.equal(1, t.client_says "(wire kcptun is not tried, as it has spoken kt)")
  end)

  it("is not alone in that: nor does another link of the process", function()
    local t = tunnel { server = "auto" }
    t.connect():echo "hello"
    t.replace_server "kcptun"
    local said = t.w:host("client"):connect("127.0.0.1:7000"):read_all { timeout = "20s" }
    assert.matches("(wire kcptun is not tried, as it has spoken kt)", said, 1, true)
    assert.equal(0, t.counter "PassiveOpens")
  end)

  it("nor is that forgotten in a reload", function()
    local t = tunnel { server = "auto" }
    t.connect():echo "hello"
    t.replace_server "kcptun"
    t.client:signal "HUP"
    t.connect()
    t.w:run_for "15s"
    assert.equal(0, t.counter "PassiveOpens")
  end)
end)

describe("a link that fell back to kcptun's wire", function()
  for _, stay in ipairs { "", "stay" } do
    it("speaks kt's once its server has been upgraded" .. (stay == "" and "" or ", also if it stays"), function()
      local t = tunnel { server = "kcptun", stay = stay }
      t.connect():echo("hello", { timeout = "5s" })
      t.replace_server "auto"
      local app = t.connect() -- finds out that the session is dead
      app:write "x"
      t.w:run_for "60s"
      t.connect():echo("again", { timeout = "20s" })
      t.w:run_for "60s"
      assert.equal(1, t.client_says "is up, chacha20-poly1305")
      app:close()
      t.connect():echo "once more"
      t.w:run_for "60s"
      assert.equal(2, #t.server:stats().links) -- the acceptor, and a link on kt's wire
    end)
  end

  it("asks on both wires at once from then on", function()
    local t = tunnel { server = "kcptun" }
    local app = t.connect()
    app:echo("hello", { timeout = "5s" })
    t.w:run_for "6s"
    t.replace_server "kcptun"
    app:write "x" -- finds out that the session is dead
    t.w:run_for "60s"
    assert.is_true(t.connect():echo("again", { timeout = "5s" }).time < 0.5)
    assert.equal(1, t.client_says(ON_KCPTUN))
  end)

  it("returns to it after an outage, with its connections", function()
    local t = tunnel { server = "kcptun" }
    local app = t.connect()
    app:echo("hello", { timeout = "5s" })
    t.w:fault("3s", "cut", function() t.line:cut() end)
    t.w:fault("15s", "heal", function() t.line:heal() end)
    t.w:run "4s"
    app:echo("in the outage", { timeout = "60s" })
    t.connect():echo("after", { timeout = "10s" })
    t.w:run_for "20s"
    assert.equal(1, t.client_says(ON_KCPTUN))
  end)
end)

describe("the choice of a wire", function()
  it('is kt\'s alone with wire = "kt"', function()
    local t = tunnel { client = "kt", server = "kcptun" }
    t.connect()
    t.w:run_for "30s"
    assert.equal(0, t.counter "PassiveOpens")
  end)

  it('is kcptun\'s alone with wire = "kcptun"', function()
    local t = tunnel { client = "kcptun", server = "kt" }
    t.connect()
    t.w:run_for "30s"
    assert.equal(0, t.counter "PassiveOpens")
  end)

  for _, wire in ipairs { "kt", "kcptun" } do
    it(("is the client's at a server that takes both: %s"):format(wire), function()
      local t = tunnel { client = wire, server = "auto" }
      assert.is_true(t.connect():echo("hello").time < 0.302)
      assert.equal(wire == "kt" and 1 or 0, t.client_says "is up, chacha20-poly1305")
    end)
  end
end)

describe("a peer of kt's wire that does not fit", function()
  for _, client in ipairs { "auto", "kt" } do
    it(("says within 5 s that the clocks differ, with wire = %q"):format(client), function()
      local t = tunnel { server = "auto", client = client }
      t.w:host("client"):clock_jump "-1h"
      t.connect()
      t.w:run_for "5s"
      assert.equal(1, t.client_says "10.0.2.1:29900: this machine's clock is 3599 s behind the server's; they may differ by at most 120 s")
      assert.equal(1, t.client_says "no stream: this machine's clock is 3599 s behind the server's")
      assert.equal(0, t.client_says(ON_KCPTUN))
    end)
  end
end)

describe("settings of a link that may speak either wire", function()
  local function run(text)
    local w = sim.world { seed = 7 }
    w:host "one"
    w:host("one"):file("x.lua", 'local kt = require "kt"\n' .. text)
    return pcall(w:host("one").run, w:host "one", "x.lua")
  end

  it("are those of both", function()
    assert.is_true(run [[
      local far = kt.link { remote = "a:1", key = "k", wire = "auto", crypt = "xor", fec = false, kcp = { sndwnd = 99 }, survive = "1h", mtu = 1300,
        bandwidth = "20Mbit" }
      kt.accept { on = ":2", key = "k", wire = "auto", crypt = "xor", survive = "1h" }:serve(print)
      far:set { mode = "fast3", rate = "1MB", fec = { parity = 1 } }
      far:set { bandwidth = "50Mbit" }
    ]])
  end)

  it("are checked by the wire that has them", function()
    for setting, message in pairs {
      ["kcp = { sndwnd = 0 }"] = "kcp.sndwnd: expected 1", ["survive = '2days'"] = "survive", ['mode = "warp"'] = "mode: unknown value",
      ["kcp = { nc = true }"] = 'kcp.nc: mode = "fast" sets it',
    } do
      local ok, err = run(('kt.link { remote = "a:1", key = "k", wire = "auto", %s }'):format(setting))
      assert.is_false(ok)
      assert.matches(message, tostring(err), 1, true)
    end
  end)

  it("are kt's alone with a private key, which kcptun's wire does not know", function()
    local ok, err = run [[kt.accept { on = ":2", wire = "auto", private_key = "ERERERERERERERERERERERERERERERERERERERERERE=", authorized = {}, crypt = "xor" }]]
    assert.is_false(ok)
    assert.matches("crypt: only kcptun's wire has this setting", tostring(err), 1, true)
    assert.is_true(run [[kt.accept { on = ":2", wire = "auto", private_key = "ERERERERERERERERERERERERERERERERERERERERERE=", authorized = {} }:serve(print)]])
  end)

  it("need their passphrase worked into a key but once", function()
    local before = os.clock()
    assert.is_true(run 'for i = 1, 40 do kt.link { remote = "a:" .. i, key = "a phrase", wire = "auto", stay = true }:serve(print) end')
    assert.is_true(os.clock() - before < 2) -- each takes 0.1 s
  end)

  it("reach the sessions of both wires in a reload", function()
    local t = tunnel { server = "auto" }
    t.connect():echo "hello"
    t.w:host("server"):file("server.lua", ('local wire, key, smux = "auto", "%s", nil\n'):format(OTHER) .. SERVER)
    t.server:signal "HUP"
    t.w:run_for "1s"
    assert.matches("1 sessions keep their old settings, take no new streams because the key has changed", t.server:log(), 1, true)
  end)
end)
