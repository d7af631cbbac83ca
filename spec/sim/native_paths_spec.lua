-- Where a link on kt's own wire goes, in virtual time: addresses of both families, and which of them answers.
local sim = require "kt.sim"

local KEY = "d2hhdCBtYWtlcyBhIGtleSBpcyAzMiBieXRlcy4uLi4="
local V6, V4 = "2001:db8::1", "192.0.2.1"

local SERVER = [[
local kt = require "kt"
kt.accept { on = "%s", wire = "kt", key = kt.secret_file "server.key" }:serve(function(stream)
  local conn, err = kt.connect { to = "127.0.0.1:8388" }
  if not conn then return stream:reset(err) end
  kt.splice(stream, conn)
end)]]
local CLIENT = [[
local kt = require "kt"
local far = kt.link { wire = "kt", key = kt.secret_file "client.key", %s }
kt.listen { on = "127.0.0.1:12948" }:serve(function(conn)
  local stream, err = far:open()
  if not stream then return conn:reset(err) end
  kt.splice(conn, stream)
end)]]

local function world(addresses, line)
  local w = sim.world { seed = 7, files = { ["client.key"] = KEY, ["server.key"] = KEY } }
  w:host "client" w:host("server", { address = addresses })
  w:link("client", "server", line or { delay = "20ms" })
  w:host "server":serve { on = "127.0.0.1:8388", kind = "echo" }
  w:host "server":run "spec/fixtures/native/server.lua"
  return w
end

--- Drops what goes to or comes from these addresses.
local function dead(w, ...)
  local gone = {}
  for _, address in ipairs { ... } do gone[address] = true end
  local function ip(endpoint) return endpoint:match "^%[(.*)%]:%d+$" or endpoint:match "^(.*):%d+$" end
  return w:rule { fn = function(packet) return (gone[ip(packet.dst)] or gone[ip(packet.src)]) and "drop" or nil end }
end

local function first_echo(w)
  w:host "client":run "spec/fixtures/native/client.lua"
  return w:host "client":connect("127.0.0.1:12948"):echo("hello", { timeout = "10s" }).time
end

describe("a link to a name with IPv6 and IPv4 addresses", function()
  it("begins at once if both families work", function()
    assert.is_true(first_echo(world { V6, V4 }) < 0.09)
  end)

  for name, order in pairs { IPv6 = { V6, V4 }, IPv4 = { V4, V6 } } do
    it("loses 250 ms if " .. name .. ", its first choice, is dead", function()
      local w = world(order)
      dead(w, order[1])
      local time = first_echo(w)
      assert.is_true(time > 0.25 and time < 0.34, time)
    end)
  end

  it("tries the other family before further addresses of the first", function()
    local w = world { V6, "2001:db8::2", "2001:db8::3", V4 }
    dead(w, V6, "2001:db8::2", "2001:db8::3")
    assert.is_true(first_echo(w) < 0.34)
  end)

  it("tries the next address at once where nothing listens", function()
    local w = world { V6 }
    w:host("other", { address = { V4 } })
    w:link("client", "other", { delay = "20ms" })
    w:name("server", { V4, V6 })
    assert.is_true(first_echo(w) < 0.14)
  end)

  it("takes an answer that comes while other addresses are being tried", function()
    local w = world({ V6, V4 }, { delay = "400ms" })
    dead(w, V4)
    local time = first_echo(w)
    assert.is_true(time > 1.6 and time < 1.7, time)
  end)
end)

--- A world with a link whose settings are these. carried(bytes): the number of the server's addresses that have had this many bytes.
local function hopping(opts)
  local w = sim.world { seed = opts.seed or 7, files = { ["client.key"] = KEY, ["server.key"] = KEY,
    ["server.lua"] = SERVER:format(opts.on or ":29900"), ["client.lua"] = CLIENT:format(opts.settings) } }
  w:host "client" w:host("server", { address = opts.address or { V4 } })
  w:link("client", "server", opts.line or { delay = "20ms" })
  w:host "server":serve { on = "127.0.0.1:8388", kind = "echo" }
  local t = { w = w, ports = {} }
  w:rule { from = "client", fn = function(packet) t.ports[packet.dst] = (t.ports[packet.dst] or 0) + packet.size end }
  function t.carried(bytes)
    local n = 0
    for _, size in pairs(t.ports) do n = n + (size >= bytes and 1 or 0) end
    return n
  end
  t.server = w:host "server":run "server.lua"
  t.client = w:host "client":run "client.lua"
  function t.counter(name) return t.server:stats().counters[name] end
  return t
end

describe("a link that hops", function()
  local RANGE = { on = ":3000-3010", settings = 'remote = "server:3000-3010", hop = "1s"' }

  it("takes another port on its schedule, and loses nothing of a transfer in both directions", function()
    local t = hopping { on = RANGE.on, settings = RANGE.settings, line = { delay = "20ms", rate = "20Mbit" } }
    local transfer = t.w:transfer { from = "client", to = "127.0.0.1:12948", kind = "echo", bytes = "12MiB" }
    transfer:wait()
    assert.is_true(t.carried(500000) >= 4, t.carried(500000))
    assert.equal(1, t.counter "PassiveOpens")
    assert.equal(0, t.counter "RetransSegs")
    assert.equal(0, t.client:stats().counters.RetransSegs)
  end)

  it("stays where it is while a port that it tries is closed", function()
    local t = hopping { on = ":3000", settings = RANGE.settings:gsub("3000%-3010", "3000-3001") }
    t.w:rule { fn = function(packet) return (packet.dst .. packet.src):find ":3001" and "drop" or nil end }
    local app = t.w:host "client":connect "127.0.0.1:12948"
    for _ = 1, 40 do
      assert.is_true(app:echo("keystroke", { timeout = "10s" }).time < 0.3)
      t.w:run_for "200ms"
    end
    assert.equal(2, t.carried(1))
  end)

  it("does not while it is idle", function()
    local t = hopping(RANGE)
    t.w:host "client":connect("127.0.0.1:12948"):echo "hello"
    local before = t.carried(1)
    t.w:run_for "15s"
    assert.is_true(t.carried(1) <= before + 1)
  end)
end)

describe("a link with several addresses of its peer", function()
  local OTHER = "192.0.2.2"
  local BOTH = { address = { V4, OTHER }, settings = ('remote = { "%s:29900", "%s:29900" }'):format(V4, OTHER) }

  it("begins at the one that answers", function()
    local t = hopping(BOTH)
    dead(t.w, V4)
    assert.is_true(t.w:host "client":connect("127.0.0.1:12948"):echo("hello", { timeout = "5s" }).time < 0.34)
  end)

  it("moves to another when the one in use falls silent", function()
    local t = hopping(BOTH)
    local app = t.w:host "client":connect "127.0.0.1:12948"
    app:echo "hello"
    dead(t.w, V4)
    assert.is_true(app:echo("again", { timeout = "20s" }).time < 5.5)
    assert.equal(1, t.counter "PassiveOpens")
  end)

  it("finds a server that has restarted at another", function()
    local t = hopping(BOTH)
    local app = t.w:host "client":connect "127.0.0.1:12948"
    app:echo "hello"
    dead(t.w, V4)
    t.w:host "server":restart()
    app:write "x"
    assert.equal("reset", select(2, app:read(1, { timeout = "8s" })).code)
    assert.is_true(t.w:host "client":connect("127.0.0.1:12948"):echo("again", { timeout = "1s" }).time < 0.2)
  end)

  it("leaves a port where much more is lost than before", function()
    local t = hopping { on = ":3000-3010", settings = 'remote = "server:3000-3010"', line = { delay = "20ms", rate = "10Mbit" } }
    local app = t.w:transfer { from = "client", to = "127.0.0.1:12948", kind = "echo", bytes = "16MiB" }
    t.w:run_for "3s"
    local first = next(t.ports)
    t.w:rule { from = "client", fn = function(packet) return packet.dst == first and t.w:random() < 0.4 and "drop" or nil end }
    app:wait()
    assert.is_true(t.carried(1000000) > 1)
  end)
end)
