-- Where a link on kt's own wire goes, in virtual time: addresses of both families, and which of them answers.
local sim = require "kt.sim"

local KEY = "d2hhdCBtYWtlcyBhIGtleSBpcyAzMiBieXRlcy4uLi4="
local V6, V4 = "2001:db8::1", "192.0.2.1"

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

  it("goes on to the next address at once where nothing listens", function()
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
