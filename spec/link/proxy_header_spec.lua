-- Headers of the PROXY protocol (link/proxy_header.h), and the networks whose senders may send one (base/prefix.h).
local proxy = require "spec_proxy"

local SIGNATURE = "\r\n\r\n\0\r\nQUIT\n"
local function v2(command, family, body) return SIGNATURE .. string.pack(">BBs2", command, family, body) end
local TCP4 = "\192\0\2\7\203\0\113\1" .. string.pack(">I2I2", 51234, 443)
local TCP6 = "\x20\x01\x0d\xb8" .. ("\0"):rep(11) .. "\7" .. "\x20\x01\x0d\xb8" .. ("\0"):rep(11) .. "\1" .. string.pack(">I2I2", 51234, 443)
local LINE = "PROXY TCP4 192.0.2.7 203.0.113.1 51234 443\r\n"

describe("a PROXY protocol header", function()
  it("is read with what it names, and ends where the data begins", function()
    for _, case in ipairs {
      { LINE, "192.0.2.7:51234", "203.0.113.1:443" },
      { "PROXY TCP6 2001:db8::7 2001:db8::1 51234 0\r\n", "[2001:db8::7]:51234", "[2001:db8::1]:0" },
      { "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1 65535\r\n", "192.0.2.7:1", "[2001:db8::1]:65535" },
      { "PROXY UNKNOWN\r\n" },
      { "PROXY UNKNOWN " .. ("f"):rep(91) .. "\r\n" },
      { v2(0x21, 0x11, TCP4), "192.0.2.7:51234", "203.0.113.1:443" },
      { v2(0x21, 0x11, TCP4 .. "\4\0\5zeros"), "192.0.2.7:51234", "203.0.113.1:443" },
      { v2(0x21, 0x21, TCP6), "[2001:db8::7]:51234", "[2001:db8::1]:443" },
      { v2(0x20, 0x11, TCP4) }, { v2(0x20, 0x00, "") }, { v2(0x20, 0xff, "any") },  -- LOCAL
      { v2(0x21, 0x00, "any") }, { v2(0x21, 0x12, TCP4) }, { v2(0x21, 0x31, ("/"):rep(216)) }, -- no TCP over IP
      { v2(0x21, 0x11, TCP4 .. ("t"):rep(4096 - 16 - 12)), "192.0.2.7:51234", "203.0.113.1:443" },
    } do
      local header, from, to = table.unpack(case)
      assert.same({ #header, from, to }, { proxy.read(header .. "GET / HTTP/1.1\r\n") })
      for n = 0, math.min(#header, 200) - 1 do assert.equal(0, (proxy.read(header:sub(1, n)))) end -- asks for more
    end
  end)

  it("is refused at the first byte that does not fit", function()
    for _, bytes in ipairs {
      "G", "PROXX", "\r\n\r\n\1", SIGNATURE .. "\x11", SIGNATURE .. "\x22", v2(0x21, 0x13, TCP4), v2(0x21, 0x41, TCP4), v2(0x21, 0x01, TCP4),
      v2(0x21, 0x10, TCP4), v2(0x21, 0x11, TCP4:sub(1, 11)), v2(0x21, 0x21, TCP6:sub(1, 35)), SIGNATURE .. "\x21\x11\x0f\xf1",
      "PROXY \r\n", "PROXY TCP4\r\n", "PROXY UNKNOWNS\r\n", "PROXY TCP5 192.0.2.7 203.0.113.1 1 2\r\n", LINE:gsub("\r", ""), LINE:gsub(" 443", ""),
      LINE:gsub(" 443", " 443 "), LINE:gsub("TCP4 ", "TCP4  "), LINE:gsub("51234", "65536"), LINE:gsub("51234", "051"), LINE:gsub("51234", "+51"),
      LINE:gsub("51234", "x"), LINE:gsub("192.0.2.7", "192.0.2"), LINE:gsub("192.0.2.7", "::1"), LINE:gsub("192", "192\0"), LINE:gsub("443", "443 1"),
      "PROXY TCP6 fe80::1%%1 ::1 1 2\r\n", "PROXY TCP6 192.0.2.7 ::1 1 2\r\n", "PROXY UNKNOWN " .. ("f"):rep(92) .. "\r\n", "PROXY " .. ("f"):rep(101),
    } do
      assert.equal("protocol", (proxy.read(bytes)), ("%q"):format(bytes))
    end
  end)

  it("is written as the specification lays it out, and read back", function()
    local v4, v6 = "192.0.2.7:51234", "[2001:db8::7]:51234"
    assert.equal(LINE, proxy.write(1, v4, "203.0.113.1:443"))
    assert.equal(v2(0x21, 0x11, TCP4), proxy.write(2, v4, "203.0.113.1:443"))
    assert.equal(v2(0x21, 0x21, TCP6), proxy.write(2, v6, "[2001:db8::1]:443"))
    assert.equal("PROXY UNKNOWN\r\n", proxy.write(1))
    assert.equal(v2(0x20, 0, ""), proxy.write(2))
    assert.equal("PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 51234 443\r\n", proxy.write(1, v4, "[2001:db8::1]:443")) -- two families
    local longest = "[" .. ("ffff:"):rep(7) .. "ffff]:65535"
    for version = 1, 2 do
      for _, ends in ipairs { { v4, v6 }, { v6, v4 }, { v4, "0.0.0.0:0" }, { longest, longest } } do
        local header = proxy.write(version, table.unpack(ends))
        assert.same({ #header, ends[1], ends[2] }, { proxy.read(header) })
      end
      local header = proxy.write(version, v4)
      assert.same({ #header, v4, "0.0.0.0:0" }, { proxy.read(header) })
    end
  end)
end)

describe("a network", function()
  it("has the addresses of its prefix, whatever their port", function()
    for _, case in ipairs {
      { "10.0.0.0/8", "10.255.0.1:80", true }, { "10.0.0.0/8", "11.0.0.1:80", false }, { "192.0.2.128/25", "192.0.2.127:1", false },
      { "192.0.2.128/25", "192.0.2.200:1", true }, { "192.0.2.7", "192.0.2.7:1", true }, { "192.0.2.7", "192.0.2.6:1", false },
      { "0.0.0.0/0", "192.0.2.7:1", true }, { "::/0", "192.0.2.7:1", false }, { "2001:db8::/33", "[2001:db8:7fff::1]:1", true },
      { "2001:db8::/33", "[2001:db8:8000::1]:1", false }, { "::1", "[::1]:9", true },
    } do
      assert.equal(case[3], proxy.prefix(case[1], case[2]), case[1] .. " " .. case[2])
    end
  end)

  it("is refused with what to write instead", function()
    for text, message in pairs {
      ["here"] = '^"here": expected an IP address, or a network such as ', ["10.0.0.0/33"] = "^10.0.0.0: expected a length of 0 to 32 after the slash$",
      ["10.0.0.1/8"] = "^10.0.0.1/8: bits after the first 8 must be zero$", ["10.0.0.0/"] = "after the slash", ["10.0.0.0/08"] = "after the slash",
      ["fe80::1%1"] = '^"fe80::1%%1": expected an IP address', ["::/129"] = "0 to 128", [""] = '^"": expected an IP address',
    } do
      local ok, err = proxy.prefix(text, "192.0.2.7:1")
      assert.is_nil(ok, text)
      assert.matches(message, err)
    end
  end)
end)
