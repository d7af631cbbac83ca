-- runtime/base/addr: addresses as values, and endpoints as users write them.
local base = require "spec_base"

local function ip(text, port) return (assert(base.addr_from_ip(text, port or 80), text)) end

describe("addr", function()
  it("prints what it parsed", function()
    assert.equal("1.2.3.4:5", base.addr_text(ip("1.2.3.4", 5)))
    assert.equal("0.0.0.0:0", base.addr_text(ip("0.0.0.0", 0)))
    assert.equal("[::1]:5", base.addr_text(ip("::1", 5)))
    assert.equal("[2001:db8::1:0]:65535", base.addr_text(ip("2001:db8:0:0:0:0:1:0", 65535)))
    assert.equal("[::ffff:1.2.3.4]:5", base.addr_text(ip("::ffff:1.2.3.4", 5)))
  end)

  it("prints the longest possible address", function()
    local long = ("ffff:"):rep(7) .. "ffff"
    assert.equal("[" .. long .. "%4294967295]:65535", base.addr_text(ip(long .. "%4294967295", 65535)))
  end)

  it("keeps the scope of a link-local address", function()
    assert.equal("[fe80::1%7]:5", base.addr_text(ip("fe80::1%7", 5)))
    assert.is_truthy(base.addr_from_ip("fe80::1%lo", 5))
    assert.is_false(base.addr_equal(ip "fe80::1%7", ip "fe80::1%8"))
    for _, bad in ipairs { "fe80::1%", "fe80::1%0", "fe80::1%4294967296", "fe80::1%no-such-one", "1.2.3.4%1" } do
      assert.is_nil(base.addr_from_ip(bad, 5), bad)
    end
  end)

  it("refuses what is not a numeric address", function()
    for _, bad in ipairs { "", " ", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", "localhost", ":",
      "1:2", "[::1]", "::1::", "fffff::", ("1"):rep(100), ("f:"):rep(50) } do
      assert.is_nil(base.addr_from_ip(bad, 80), bad)
    end
  end)

  it("reads and changes the port", function()
    for _, text in ipairs { "1.2.3.4", "::1" } do
      assert.equal(258, base.addr_port(ip(text, 258)))
      assert.is_true(base.addr_equal(ip(text, 9), base.addr_with_port(ip(text, 258), 9)))
    end
  end)

  it("takes IPv4 and IPv6 from a sockaddr and nothing else", function()
    for _, text in ipairs { "1.2.3.4", "2001:db8::1" } do
      assert.is_true(base.addr_equal(ip(text), base.addr_from_sockaddr(ip(text))))
    end
    assert.is_nil(base.addr_from_sockaddr(ip "1.2.3.4", base.AF_UNIX))
    assert.is_nil(base.addr_from_sockaddr(ip "1.2.3.4", 0))
  end)

  it("knows how long its sockaddr is", function()
    assert.equal(16, base.addr_len(ip "1.2.3.4"))
    assert.equal(28, base.addr_len(ip "::1"))
    assert.equal(0, base.addr_len(("\0"):rep(28)))
    assert.equal("(no address)", base.addr_text(("\0"):rep(28)))
  end)

  it("is equal, with an equal hash, when family, address and port are equal", function()
    local all = { ip("1.2.3.4", 5), ip("1.2.3.4", 6), ip("1.2.3.5", 5), ip("::1", 5), ip("::1", 6), ip("::2", 5),
      ip("1::2", 5), ip("::ffff:1.2.3.4", 5), ip("fe80::1%1", 5), ip("fe80::1%2", 5) }
    for i, a in ipairs(all) do
      for j, b in ipairs(all) do
        assert.equal(i == j, base.addr_equal(a, b))
        assert.equal(i == j, base.addr_hash(a, 42) == base.addr_hash(b, 42))
      end
    end
  end)

  it("spreads the hashes of similar addresses, and depends on the seed", function()
    for _, prefix in ipairs { "10.0.0.", "2001:db8::" } do
      local low, high, used, used_high, same = {}, {}, 0, 0, 0
      for i = 1, 250 do
        for port = 1000, 1003 do
          local a = ip(prefix .. i, port)
          local h = base.addr_hash(a, 1)
          if not low[h & 1023] then used = used + 1 end
          if not high[h >> 54] then used_high = used_high + 1 end
          low[h & 1023], high[h >> 54] = true, true
          if h & 1023 == base.addr_hash(a, 2) & 1023 then same = same + 1 end
        end
      end
      -- 1000 balls in 1024 bins leave about 639 bins used, with a deviation of about 10.
      assert.is_true(used > 570 and used < 710, used)
      assert.is_true(used_high > 570 and used_high < 710, used_high)
      assert.is_true(same < 12, same)
    end
  end)
end)

describe("endpoint", function()
  local function good(text, flags, host, min, max)
    local e, why = base.endpoint(text, flags)
    assert.is_truthy(e, why)
    assert.same({ is_unix = false, host = host, port_min = min, port_max = max or min }, e)
  end

  local function bad(text, flags, pattern)
    local e, why, name = base.endpoint(text, flags)
    assert.is_nil(e, text)
    assert.equal("config", name)
    assert.is_truthy(why:find(pattern, 1, true), why)
    return why
  end

  it("takes host:port, :port and bracketed IPv6", function()
    good("127.0.0.1:12948", "", "127.0.0.1", 12948)
    good("vps.example:29900", "", "vps.example", 29900)
    good("my_host-1.example.:1", "", "my_host-1.example.", 1)
    good(":29900", "", "", 29900)
    good("[::1]:5", "h", "::1", 5)
    good("[::]:65535", "", "::", 65535)
    good("[fe80::1%eth0.5]:5", "", "fe80::1%eth0.5", 5)
    good("[::ffff:1.2.3.4]:5", "", "::ffff:1.2.3.4", 5)
  end)

  it("quotes the text and says what is expected", function()
    assert.equal('"127.0.0.1": missing port; write host:port', bad("127.0.0.1", "", "missing port"))
    assert.equal('"": empty; write host:port', bad("", "", "empty"))
    assert.equal('"::1": an IPv6 address needs brackets; write [::1]:port', bad("::1", "", "brackets"))
    assert.equal('"h:5-2": the port range runs backwards; write 2-5', bad("h:5-2", "r", "backwards"))
  end)

  it("strips control characters from quoted text and shortens it", function()
    assert.equal('"a?[2Jb?": missing port; write host:port', bad("a\27[2Jb\n", "", "missing port"))
    local why = bad(("漢"):rep(1000), "", "missing port")
    assert.is_true(#why < 130)
    assert.is_truthy(utf8.len(why))
  end)

  it("requires a port from 1 to 65535", function()
    good("h:1", "", "h", 1)
    good("h:65535", "", "h", 65535)
    for _, port in ipairs { "0", "65536", "99999", "100000", "4294967377", ("9"):rep(100), "", "x", "8x", "-1", "+1",
      " 80", "80 ", "080", "0x50", "8.0", "80\n", "８０" } do
      bad("h:" .. port, "", "a port is a number from 1 to 65535")
      bad("[::1]:" .. port, "", "a port is a number from 1 to 65535")
      bad(":" .. port, "", "a port is a number from 1 to 65535")
    end
  end)

  it("accepts port 0 where any free port will do", function()
    good("h:0", "z", "h", 0)
    good(":0", "z", "", 0)
    bad("h:00", "z", "expected a port")
    bad("h:65536", "z", "a port is a number from 0 to 65535")
    bad("h:0", "r", "port 0")
  end)

  it("accepts a port range where one is allowed", function()
    good("h:29900-29999", "r", "h", 29900, 29999)
    good("h:7-7", "r", "h", 7, 7)
    good("h:7", "r", "h", 7, 7)
    good(":1-65535", "r", "", 1, 65535)
    good("[::1]:1-2", "r", "::1", 1, 2)
    bad("h:29900-29999", "", "port ranges are not allowed here")
    bad("h:2-1", "r", "backwards")
    for _, range in ipairs { "1-", "1-2-3", "1-x", "1--2", "1- 2", "1-02" } do bad("h:" .. range, "r", "invalid port range") end
    bad("h:-2", "r", "expected a port")
    bad("h:0-2", "rz", "port 0")
    bad("h:2-0", "r", "port 0")
    bad("h:1-65536", "r", "too big")
    bad("h:65536-65537", "r", "too big")
  end)

  it("requires a host where one is needed", function()
    bad(":80", "h", "missing host")
    good("h:80", "h", "h", 80)
    bad("*:80", "", "write :port")
  end)

  it("requires brackets around IPv6", function()
    for _, text in ipairs { "::", "::1", "2001:db8::1", "fe80::1:8080" } do bad(text, "", "needs brackets") end
    bad("::1:99999", "", "for IPv6")
    bad("a:b:80", "", "more than one ':'")
  end)

  it("validates the address inside the brackets", function()
    for _, inside in ipairs { "", "1.2.3.4", "localhost", "::1::", " ::1", "%eth0", ("f"):rep(300) } do
      bad("[" .. inside .. "]:80", "", "expected an IPv6 address between the brackets")
    end
    bad("[::1", "", "missing ']'")
    bad("[", "", "missing ']'")
    bad("[::1]", "", "missing port")
    bad("[::1]80", "", "missing port")
    bad("[::1]x:80", "", "missing port")
    bad("[fe80::1%]:80", "", "interface")
    bad("[fe80::1%a b]:80", "", "interface")
    bad("[fe80::1%" .. ("x"):rep(300) .. "]:80", "", "between the brackets")
  end)

  it("accepts a name of 255 bytes but not of 256", function()
    good(("h"):rep(255) .. ":80", "", ("h"):rep(255), 80)
    bad(("h"):rep(256) .. ":80", "", "256 bytes")
    bad(("h"):rep(100000) .. ":80", "", "limit is 255")
  end)

  it("refuses invalid host names", function()
    for _, host in ipairs { "a b", " h", "h ", "a/b", "http//h", "h\n", "h\127", "a@b", "漢", "%", "h%eth0", "]" } do
      bad(host .. ":80", "", "a host name may contain only")
    end
  end)

  it("refuses numbers with dots that are not an IPv4 address", function()
    for _, host in ipairs { "1.2.3", "1.2.3.4.5", "256.1.1.1", "127.1", "01.2.3.4", "1..2", "." } do
      bad(host .. ":80", "", "invalid IPv4 address")
    end
  end)

  it("accepts unix sockets where they are allowed", function()
    for _, text in ipairs { "/run/kt.sock", "unix:/run/kt.sock" } do
      assert.same({ is_unix = true, host = "/run/kt.sock", port_min = 0, port_max = 0 }, base.endpoint(text, "u"))
      bad(text, "", "unix sockets are not allowed here")
    end
    for _, text in ipairs { "run/kt.sock", "./kt.sock", "../kt.sock" } do
      assert.same({ is_unix = true, host = text, port_min = 0, port_max = 0 }, base.endpoint(text, "u"))
      bad(text, "", "unix sockets are not allowed here")
    end
    bad("unix:run/kt.sock", "u", "must start with '/'")
    bad("unix:", "u", "must start with '/'")
    bad("/run/", "u", "directory")
    bad("/", "u", "directory")
    bad("/run/a\nb", "u", "control character")
    good("unix:80", "u", "unix", 80)
  end)

  it("accepts a unix path of 107 bytes but not of 108", function()
    local path = "/" .. ("p"):rep(106)
    assert.equal(path, base.endpoint(path, "u").host)
    assert.equal(path, base.endpoint("unix:" .. path, "u").host)
    bad(path .. "p", "u", "108 bytes")
    bad("unix:" .. path .. "p", "u", "socket is 107")
  end)
end)
