-- Links on kt's own wire (docs/wire.md), in virtual time: two scripts, and whatever may happen to the line between them.
local sim = require "kt.sim"

local KEY = "d2hhdCBtYWtlcyBhIGtleSBpcyAzMiBieXRlcy4uLi4="
local OTHER = "YW5vdGhlciBrZXkgaXMgYWxzbyAzMiBieXRlcyBsb24="

local function tunnel(opts)
  opts = opts or {}
  local files = { ["client.key"] = opts.client_key or KEY, ["server.key"] = KEY }
  local w = sim.world { seed = opts.seed or 7, files = files }
  local t = { w = w }
  w:host "client" w:host "server"
  if opts.nat then w:host "client":nat { public = "198.51.100.1" } end
  t.line = w:link("client", "server", opts.line or { delay = "50ms" })
  w:host "server":serve(opts.target or { on = "127.0.0.1:8388", kind = "echo" })
  if not opts.no_server then t.server = w:host "server":run "spec/fixtures/native/server.lua" end
  t.client = w:host "client":run("spec/fixtures/native/client.lua", { args = opts.args })
  function t.connect() return w:host "client":connect "127.0.0.1:12948" end
  function t.counter(name) return t.server:stats().counters[name] end
  return t
end

describe("a link on kt's own wire", function()
  it("carries a first request and its answer in two round trips", function()
    local t = tunnel()
    local app = t.connect()
    assert.is_true(app:echo("hello").time < 0.202)
    assert.is_true(app:echo("again").time < 0.102)
  end)

  it("carries streams that the accepting end opens", function()
    local t = tunnel()
    t.connect():echo "the link is up"
    assert.equal("back", t.w:host("server"):connect("127.0.0.1:9000"):echo("back") and "back")
  end)

  it("delivers every byte over a line that loses, reorders and repeats packets", function()
    local t = tunnel { line = { delay = "30ms", jitter = "10ms", loss = "10%", duplicate = "5%", rate = "50Mbit" } }
    t.w:transfer { from = "client", to = "127.0.0.1:12948", kind = "echo", bytes = "3MiB" }:wait()
    assert.equal(0, t.counter "SessionsFailed")
  end)

  it("says at both ends that it is up, and with which cipher: in a world, one that every processor has", function()
    local t = tunnel()
    t.connect():echo "x"
    assert.matches("link to 10.0.2.1:29900 is up, chacha20%-poly1305", t.client:log())
    assert.matches("link from 10.0.1.1:%d+", t.server:log())
  end)

  for _, padding in ipairs { false, true } do
    it(padding and "pads small packets to random sizes if asked" or "sends small packets at the size of what they hold", function()
      local t = tunnel { args = padding and { "padding" } or nil }
      local app = t.connect()
      app:echo(("x"):rep(100))
      local sizes, kinds = {}, 0
      t.w:rule { from = "client", to = "server", fn = function(packet) sizes[packet.size] = true end }
      for _ = 1, 50 do app:echo(("x"):rep(100)) end
      for _ in pairs(sizes) do kinds = kinds + 1 end
      assert.is_true(padding and kinds > 20 or not padding and kinds < 8, kinds .. " sizes")
    end)
  end

  it("counts what it carries in its statistics", function()
    local t = tunnel()
    t.connect():echo(("x"):rep(100000))
    t.w:run_for "1s"
    local stats = t.server:stats().counters
    assert.same({ 100008, 100008 }, { stats.BytesReceived, stats.BytesSent }) -- 8 is what the server says of itself
    local link = t.w:host("client"):stats().links[1]
    assert.is_true(link.srtt >= 0.1 and link.rto > link.srtt and link.rto < 0.3)
    assert.is_true(link.cwnd > 0 and link.mtu >= 1200)
    assert.same({ 0, 0 }, { link.inflight, link.queued })
  end)

  it("stays up while idle, however short it survives without its peer", function()
    local t = tunnel { args = { "survive", "1s" } }
    local app = t.connect()
    app:echo "x"
    t.w:run_for "30s"
    app:echo "still there"
  end)

  it("sends nothing while idle but a keepalive every 20 s", function()
    local t = tunnel()
    t.connect():echo(("x"):rep(200000)) -- enough to find the path's MTU
    t.w:run_for "5s"
    local before = t.counter "InPkts"
    t.w:run_for "60s"
    assert.is_true(t.counter "InPkts" - before <= 6)
  end)
end)

describe("a peer of kt's own wire that does not fit", function()
  it("logs within 5 s what may be wrong if nothing answers", function()
    local t = tunnel { no_server = true }
    t.w:host "client":connect "127.0.0.1:12948"
    t.w:run_for "5500ms"
    assert.matches("no answer for 5 s: is kt running there, does UDP get through, and is the key the same on both ends?", t.client:log(), 1, true)
  end)

  it("gets no answer if its key is another", function()
    local t = tunnel { client_key = OTHER }
    t.w:host "client":connect "127.0.0.1:12948"
    t.w:run_for "5500ms"
    assert.matches("is the key the same on both ends?", t.client:log(), 1, true)
    assert.equal(0, t.counter "OutPkts")
    local _, lines = t.server:log():gsub("10.0.1.1:%d+: a datagram does not authenticate %([^)]+%): is the key the same on both ends%?", "")
    assert.equal(1, lines)
  end)

  it("asks about server_key, at both ends, if they use key pairs", function()
    local w = sim.world { seed = 7 }
    w:host "client" w:host "server"
    w:link("client", "server", { delay = "50ms" })
    local server = w:host("server"):run("spec/fixtures/native/pair_server.lua",
      { files = { ["own.key"] = "IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI=", ["clients.lua"] = "return {}" } })
    local client = w:host("client"):run("spec/fixtures/native/pair_client.lua",
      { files = { ["own.key"] = "ERERERERERERERERERERERERERERERERERERERERERE=" } })
    w:run_for "6s"
    assert.matches("is server_key (--serverkey) that server's public key, and does it use key pairs?", client:log(), 1, true)
    assert.matches("does not authenticate (dropped; logged at most once a minute): does that client use a key pair, and this server's public key?",
      server:log(), 1, true)
  end)
end)

describe("a key of kt's own wire", function()
  it("is refused if it is damaged, and not taken for a passphrase", function()
    local key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    local function refusal(text)
      local w = sim.world { seed = 7, files = { psk = text } }
      w:host("one"):file("x.lua", 'require("kt").link { remote = "a:1", wire = "kt", key = require("kt").secret_file "psk" }:serve(print)')
      local ok, err = pcall(w:host("one").run, w:host "one", "x.lua")
      return not ok and tostring(err) or nil
    end
    assert.matches("key: not base64", refusal(key:sub(1, -2)), 1, true)
    assert.matches("key: 31 bytes, expected 32", refusal "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==", 1, true)
    for _, text in ipairs { key .. "\n" .. key, "it's a secret\nand more" } do assert.matches("key: more than one line", refusal(text), 1, true) end
    for _, text in ipairs { key, key .. "\n\n", "it's a secrt", key:sub(1, -5), ("a passphrase of as many characters as a key "):sub(1, 43), key .. "AAAA" } do
      assert.is_nil(refusal(text))
    end
  end)
end)

describe("a link on kt's own wire, when its client moves,", function()
  it("keeps a connection through a new port of its NAT", function()
    local t = tunnel { nat = true }
    local app = t.connect()
    app:echo "one"
    t.w:run_for "30s"
    t.w:host "client":nat_rebind()
    assert.is_true(app:echo("two", { timeout = "5s" }).time < 0.6)
    assert.matches("continues at 198.51.100.1:%d+", t.server:log())
    assert.equal(1, t.counter "PassiveOpens")
  end)

  it("keeps a connection through another address", function()
    local t = tunnel()
    local app = t.connect()
    app:echo "one"
    t.w:host "client":move "10.0.9.1"
    app:echo("two", { timeout = "30s" })
    assert.matches("continues at 10.0.9.1:%d+", t.server:log())
    assert.equal(1, t.counter "PassiveOpens")
  end)
end)

describe("a link on kt's own wire survives", function()
  for _, seconds in ipairs { 3, 30, 300 } do
    it(("an outage of %d s, and its connections with it"):format(seconds), function()
      local t = tunnel()
      local app = t.connect()
      app:echo "before"
      t.w:fault("1s", "cut", function() t.line:cut() end)
      t.w:fault(1 + seconds .. "s", "heal", function() t.line:heal() end)
      t.w:run "1500ms"
      app:echo("in the outage", { timeout = "400s" })
      local after = t.w:now() - 1 - seconds
      assert.is_true(after >= 0 and after < 1.3, ("%.3f s after the outage"):format(after))
      assert.equal(1, t.counter "PassiveOpens")
    end)
  end

  it("a restart of its server, for connections made after it", function()
    local t = tunnel()
    t.connect():echo "before"
    t.w:host "server":restart()
    assert.is_true(t.connect():echo("after", { timeout = "10s" }).time < 5)
    assert.matches("no longer knows this link", t.client:log(), 1, true)
  end)
end)

describe("streams on kt's own wire", function()
  it("do not wait for one that nobody reads", function()
    local t = tunnel { line = { delay = "20ms", rate = "50Mbit" }, target = { on = "127.0.0.1:8388", fn = function(conn)
      if conn:read_exactly(1) == "d" then conn:write(("x"):rep(50000000), { timeout = "1h" }) return end
      while true do
        local data = conn:read { timeout = "1h" }
        if not data or not conn:write(data) then return end
      end
    end } }
    for _ = 1, 3 do t.connect():write "d" end
    t.w:run_for "20s"
    local app = t.connect()
    app:write "e"
    for _ = 1, 20 do assert.is_true(app:echo("keystroke").time < 0.25) end
  end)

  it("end with the reason that the far end gives", function()
    local t = tunnel { target = { on = "127.0.0.1:9999", kind = "echo" } } -- nobody at 8388
    local app = t.connect()
    local reply, err = app:try_echo "hello"
    assert.is_nil(reply)
    assert.equal("reset", err.code)
  end)

  it("carry what is sent before a shutdown, and the answer after it", function()
    local t = tunnel { target = { on = "127.0.0.1:8388", fn = function(conn)
      local all = {}
      while true do
        local data = conn:read { timeout = "1h" }
        if not data then break end
        all[#all + 1] = data
      end
      conn:write("got " .. #table.concat(all))
      conn:close()
    end } }
    local app = t.connect()
    app:write(("x"):rep(100000))
    app:shutdown()
    assert.equal("got 100000", app:read_all { timeout = "10s" })
  end)
end)

describe("a server of kt's own wire that knows its clients by their keys", function()
  local ALICE, MALLORY = "IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI=", "MzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzM="

  local CLIENTS = 'return { %s = "D6poTtKIZ7l/Smot7l34zpdOdrcBjj8iocTPJnhXDyA=" }'

  local function tunnel_of(key)
    local w = sim.world { seed = 7 }
    w:host "client" w:host "server"
    w:link("client", "server", { delay = "50ms" })
    w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
    local server = w:host("server"):run("spec/fixtures/native/pair_server.lua",
      { files = { ["own.key"] = "ERERERERERERERERERERERERERERERERERERERERERE=", ["clients.lua"] = CLIENTS:format("alice") } })
    local client = w:host("client"):run("spec/fixtures/native/pair_client.lua", { files = { ["own.key"] = key } })
    return w:host("client"):connect "127.0.0.1:12948", server, client, w
  end

  it("tells its script who calls, where a stream is to go, and for whom", function()
    local app, server = tunnel_of(ALICE)
    app:write "127.0.0.1:8388\n"
    app:echo "hello"
    assert.matches("alice is here", server:log(), 1, true)
    assert.matches("alice asks for 127.0.0.1:8388, for 127.0.0.1:%d+, as a stream", server:log())
  end)

  it("connects a client to nothing but what the script allows it", function()
    local app = tunnel_of(ALICE)
    app:write "10.0.2.1:22\n"
    local reply, err = app:try_echo "hello"
    assert.is_nil(reply)
    assert.equal("reset", err.code)
  end)

  it("ends the link of a client that a reload no longer lets in", function()
    local app, server, client, w = tunnel_of(ALICE)
    app:write "127.0.0.1:8388\n"
    app:echo "hello"
    w:host("server"):file("spec/fixtures/native/clients.lua", CLIENTS:format("bob"))
    server:signal "HUP"
    assert.is_nil((app:try_echo("hello", { timeout = "5s" })))
    assert.matches("this client is no longer authorized", client:log(), 1, true)
  end)

  it("logs a refused client at most once a second, however many keys are made up", function()
    local _, server, _, w = tunnel_of(ALICE)
    w:host "crowd"
    w:link("crowd", "server", { delay = "20ms" })
    w:host("crowd"):file("crowd.lua", ([[
      local kt = require "kt"
      for i = 1, 20 do
        local key = kt.crypto.base64_encode(("%%02d"):format(i):rep(16))
        kt.link { remote = "server:29900", wire = "kt", private_key = kt.secret(key), server_key = "%s", stay = true }:serve(print)
      end]]):format "e06Qm75//kTEZaIgA31gjuNYl9Me+XLwf3SJLLD3PxM=")
    w:host("crowd"):run "crowd.lua"
    w:run_for "900ms"
    assert.equal(1, select(2, server:log():gsub("its key is not authorized", "")))
    w:run_for "10s"
    local _, times = server:log():gsub("its key is not authorized", "")
    assert.is_true(times > 1 and times <= 11, times)
  end)

  it("refuses a client that it does not know, and says so at both ends", function()
    local app, server, client, w = tunnel_of(MALLORY)
    app:write "127.0.0.1:8388\n"
    assert.is_nil((app:try_echo("hello", { timeout = "5s" })))
    assert.matches("refused: its key is not authorized: ew1H2TQn+DERYHgcfHM/2J+IlwrvSQ2KoO4ZpMuKGxQ=", server:log(), 1, true)
    w:run_for "30s" -- it stays, and tries again
    local _, told = client:log():gsub("error [^\n]*the server does not know this client's public key", "")
    assert.equal(1, told)
  end)

  describe("by a function", function()
    --- The server's script, with this body of the function.
    local function server_with(body)
      return ([[
        local kt = require "kt"
        local ALICE = "D6poTtKIZ7l/Smot7l34zpdOdrcBjj8iocTPJnhXDyA="
        local links = kt.accept { on = ":29900", wire = "kt", private_key = kt.secret_file "own.key",
          authorized = function(key, peer) %s end }
        links:serve(function(stream)
          kt.log.info(stream.identity .. " is here")
          kt.splice(stream, assert(kt.connect { to = stream.target }))
        end)]]):format(body)
    end
    local function tunnel_by(body)
      local w = sim.world { seed = 7 }
      w:host "client" w:host "server"
      w:link("client", "server", { delay = "50ms" })
      w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
      w:host("server"):file("server.lua", server_with(body))
      local server = w:host("server"):run("server.lua", { files = { ["own.key"] = "ERERERERERERERERERERERERERERERERERERERERERE=" } })
      local client = w:host("client"):run("spec/fixtures/native/pair_client.lua", { files = { ["own.key"] = ALICE } })
      local app = w:host("client"):connect "127.0.0.1:12948"
      app:write "127.0.0.1:8388\n"
      return app, server, client, w
    end

    it("tells it the key and the address, and takes the name that it returns; asked again after a reload", function()
      local app, server, client, w = tunnel_by 'return key == ALICE and peer.address:find "^10%.0%.1%.1:" and "al"'
      app:echo "hello"
      assert.matches("al is here", server:log(), 1, true)
      w:host("server"):file("server.lua", server_with "return false")
      server:signal "HUP"
      assert.is_nil((app:try_echo("hello", { timeout = "5s" })))
      assert.matches("this client is no longer authorized", client:log(), 1, true)
    end)

    for body, why in pairs {
      ["return false"] = "refused: its key is not authorized: D6po",
      ['error "a mistake"'] = "authorized failed; refused the client: server.lua:%d+: a mistake",
      ["return true"] = "authorized failed; refused the client: .*expected a name of 1 to 63 bytes, or false, got boolean",
      ['kt.sleep "1s" return "al"'] = "kt.sleep: cannot wait in authorized; it must return at once",
      ["while true do end"] = "authorized failed; refused the client: server.lua:%d+: stopped",
    } do
      it("refuses with " .. body .. ", and says why once", function()
        local app, server, _, w = tunnel_by(body)
        assert.is_nil((app:try_echo("hello", { timeout = "5s" })))
        w:run_for "20s"
        assert.matches(why, server:log())
        for _, told in ipairs { "authorized failed", "its key is not authorized" } do
          local _, times = server:log():gsub(told, "")
          assert.is_true(times <= 1)
        end
      end)
    end
  end)
end)
