-- proxy-protocol.lua: the target gets the client's address, then the client's bytes.
local sim = require "kt.sim"

-- Reads a PROXY protocol v2 header as haproxy's doc/proxy-protocol.txt lays it out; returns its command, and the addresses of the
-- client and of what it connected to.
local function header_of(conn)
  local head = conn:read_exactly(16)
  assert(head:sub(1, 12) == "\r\n\r\n\0\r\nQUIT\n" and head:byte(13) >> 4 == 2, "not version 2")
  local command, family, size = string.unpack(">xxxxxxxxxxxxBBI2", head)
  local body = size > 0 and conn:read_exactly(size) or ""
  if family == 0x11 then
    local a, b, c, d, e, f, g, h, from, to = string.unpack(">BBBBBBBBI2I2", body)
    return command & 15, ("%d.%d.%d.%d:%d"):format(a, b, c, d, from), ("%d.%d.%d.%d:%d"):format(e, f, g, h, to)
  elseif family == 0x21 then
    local function text(at, port) return ("[%x:%x:%x:%x:%x:%x:%x:%x]:"):format(string.unpack(">I2I2I2I2I2I2I2I2", body, at)) .. port end
    local from, to = string.unpack(">I2I2", body, 33)
    return command & 15, text(1, from), text(17, to)
  end
  assert(family == 0 and size == 0, "not an address family")
  return command & 15, "nobody", "nothing"
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
    w:host("server"):serve { on = "127.0.0.1:8388", fn = function(conn)
      local command, from, to = header_of(conn)
      conn:write(("%d: %s asks %s for %s"):format(command, from, to, conn:read_until "\n"))
    end }
  end)

  -- As string.format's %x writes an IPv6 address.
  local function long(address) return (address:gsub("::", ":0:0:0:0:0:")) end

  for _, gateway in ipairs { "192.0.2.1:12948", "[2001:db8::1]:12948" } do
    it("sends the target the address of a client that connected to " .. gateway, function()
      w:host("gateway"):run "scripts/examples/proxy-protocol.lua"
      local app = w:host("user"):connect(gateway)
      app:write "this\n"
      assert.equal(("1: %s asks %s for this\n"):format(long(app.local_addr), long(gateway)), app:read_all())
    end)
  end

  local function text() return assert(io.open "scripts/examples/proxy-protocol.lua"):read "a" end

  it("sends no address for a client of a unix socket", function()
    w:host("gateway"):file("unix.lua", (text():gsub('":12948"', '"unix:/near"')))
    w:host("gateway"):run "unix.lua"
    local app = w:host("gateway"):connect "unix:/near"
    app:write "this\n"
    assert.equal("0: nobody asks nothing for this\n", app:read_all())
  end)

  it("writes IPv6 addresses in binary, with zeros anywhere", function()
    local parse = assert(load(text():match "local UNSPEC.-\n(.-)\nlocal function header" .. "\nreturn parse", "=parse", "t",
      setmetatable({ TCP4 = 4, TCP6 = 6 }, { __index = _G })))()
    for address, bytes in pairs {
      ["[2001:db8::1]:80"] = "\x20\x01\x0d\xb8" .. ("\0"):rep(11) .. "\1",
      ["[2001:db8:1:2:3:4:5:6]:80"] = "\x20\x01\x0d\xb8\0\1\0\2\0\3\0\4\0\5\0\6",
      ["[::]:80"] = ("\0"):rep(16),
      ["[fe80::]:80"] = "\xfe\x80" .. ("\0"):rep(14),
      ["[fe80::abcd%2]:80"] = "\xfe\x80" .. ("\0"):rep(12) .. "\xab\xcd",
      ["[1::8]:80"] = "\0\1" .. ("\0"):rep(12) .. "\0\8",
    } do
      local family, got, port = parse(address)
      assert.same({ 6, bytes, "80" }, { family, got, port })
    end
    assert.is_nil(parse "unix:")
    assert.same({ 4, "\192\0\2\1", "443" }, { parse "192.0.2.1:443" })
  end)
end)
