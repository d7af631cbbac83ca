-- proxy-protocol.lua: the target gets the client's address, then the client's bytes.
local sim = require "kt.sim"

-- Reads a PROXY protocol v2 header as haproxy's doc/proxy-protocol.txt lays it out; returns the address of the client.
local function client_of(conn)
  local head = conn:read_exactly(16)
  assert(head:sub(1, 13) == "\r\n\r\n\0\r\nQUIT\n\x21", "not version 2, or no client")
  local family, size = string.unpack(">BI2", head, 14)
  local body = conn:read_exactly(size)
  if family == 0x11 then return ("%d.%d.%d.%d:"):format(body:byte(1, 4)) .. string.unpack(">I2", body, 9) end
  assert(family == 0x21, "not an address family")
  return ("[%x:%x:%x:%x:%x:%x:%x:%x]:"):format(string.unpack(">I2I2I2I2I2I2I2I2", body)) .. string.unpack(">I2", body, 33)
end

describe("proxy-protocol.lua", function()
  local w
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret" } }
    w:host("user", { address = { "192.0.2.7", "2001:db8::7" } })
    w:host("gateway", { address = { "192.0.2.1", "2001:db8::1" } })
    w:host "server"
    w:link("user", "gateway", { delay = "5ms" })
    w:link("gateway", "server", { delay = "40ms", loss = "2%" })
    w:name("vps.example", "server")
    w:host("server"):run "scripts/examples/proxy-protocol.lua"
    w:host("server"):serve { on = "127.0.0.1:8388", fn = function(conn)
      local client = client_of(conn)
      conn:write(("%s asks for %s"):format(client, conn:read_until "\n"))
    end }
    w:host("gateway"):file("near.lua", (assert(io.open "scripts/examples/client.lua"):read("a"):gsub('"127.0.0.1:12948"', '":12948"')))
    w:host("gateway"):run "near.lua"
  end)

  for _, gateway in ipairs { "192.0.2.1:12948", "[2001:db8::1]:12948" } do
    it("tells the target the address of a client that connected to " .. gateway, function()
      local app = w:host("user"):connect(gateway)
      app:write "this\n"
      assert.equal(app.local_addr:gsub("::", ":0:0:0:0:0:") .. " asks for this\n", app:read_all())
    end)
  end
end)
