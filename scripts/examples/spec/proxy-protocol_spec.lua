-- proxy-protocol.lua: the target gets the client's address, then the client's bytes.
local sim = require "kt.sim"

-- Reads a PROXY protocol v2 header; returns the client's address and port.
local function client_of(conn)
  local head = conn:read_exactly(16)
  assert(head:sub(1, 13) == "\r\n\r\n\0\r\nQUIT\n\x21", "not version 2 and PROXY")
  local family, size = string.unpack(">BI2", head, 14)
  local body = conn:read_exactly(size)
  if family == 0x11 then return ("%d.%d.%d.%d:%d"):format(string.unpack(">BBBB xxxx I2", body)) end
  return ("[%x:%x:%x:%x:%x:%x:%x:%x]:%d"):format(string.unpack(">I2I2I2I2I2I2I2I2 xxxxxxxxxxxxxxxx I2", body))
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
    w:host("server"):run "scripts/examples/server.lua"
    w:host("gateway"):run "scripts/examples/proxy-protocol.lua"
    w:host("server"):serve { on = "127.0.0.1:8388", fn = function(conn)
      conn:write(client_of(conn) .. " asks " .. conn:read_until "\n")
    end }
  end)

  for _, gateway in ipairs { "192.0.2.1:12948", "[2001:db8::1]:12948" } do
    it("sends the target the address of a client that connected to " .. gateway, function()
      local app = w:host("user"):connect(gateway)
      app:write "what?\n"
      local own = app.local_addr:gsub("::", ":0:0:0:0:0:")
      assert.equal(own .. " asks what?\n", app:read_all())
    end)
  end
end)
