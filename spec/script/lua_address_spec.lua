-- kt.address and kt.cidr. The parser's rules are those of all calls (spec/base/addr_spec.lua, lua_addresses_spec.lua).
local run = require("lone_host").task

describe("kt.address", function()
  it("gives host, port and last port of every form, each host in one spelling", function()
    assert.equal([[
vps.example	443	nil
192.0.2.1	443	nil
2001:db8::1	443	nil
fe80::1%eth0	443	nil
192.0.2.1	80	nil
	443	nil
127.0.0.1	0	nil
vps.example	29900	29910
/run/app.sock	nil	nil
run/App.sock	nil	nil
example.	1	nil
	nil	nil
]], run [[
for _, text in ipairs { "VPS.example:443", "192.0.2.1:443", "[2001:0DB8:0::1]:443", "[fe80::0001%eth0]:443", "[::ffff:192.0.2.1]:80", ":443",
  "127.0.0.1:0", "vps.example:29900-29910", "unix:/run/app.sock", "run/App.sock", "example.:1", "unix:" } do
  local host, port, last = kt.address(text)
  print(host, port, last)
end]])
  end)

  it("refuses what no call takes, and what a resolver would read as another address", function()
    assert.equal([[
config	"vps.example": missing port; write host:port
config	"::1": an IPv6 address needs brackets; write [::1]:port
config	"192.0.2.256:80": invalid IPv4 address; write four numbers from 0 to 255 separated by dots, then :port
config	"0x7f.1:80": invalid IPv4 address; write four numbers from 0 to 255 separated by dots, then :port
config	"0300.0.2.1.:80": invalid IPv4 address; write four numbers from 0 to 255 separated by dots, then :port
config	"a:080": expected a port after ':'; a port is a number from 1 to 65535
config	an address with a zero byte
s.lua:7: kt.address: expected a string such as "host:port", got nil
]], run [[
for _, text in ipairs { "vps.example", "::1", "192.0.2.256:80", "0x7f.1:80", "0300.0.2.1.:80", "a:080", "a\0b:80" } do
  local host, err = kt.address(text)
  print(host or err.code, err)
end
print(select(2, pcall(function() kt.address(nil) end)))]])
  end)
end)

describe("kt.cidr", function()
  it("contains the addresses of its networks, with a port, a scope, or mapped into IPv6", function()
    assert.equal([[
10.255.0.1 10.0.0.1:80 ::ffff:10.0.0.1 [::ffff:a00:1]:80 192.0.2.7 [fe80::1%eth0]:5 fe80::2%1 2001:db8:7fff::1 198.51.100.9
true	false	false	false
]], run [[
local set, found = assert(kt.cidr { "2001:db8::/33", "10.1.0.0/16", "10.0.0.0/8", "10.255.255.255", "192.0.2.7", "fe80::/10", "::ffff:198.51.100.0/120" }), {}
for _, text in ipairs { "10.255.0.1", "10.0.0.1:80", "11.0.0.0", "9.255.255.255", "::ffff:10.0.0.1", "[::ffff:a00:1]:80", "192.0.2.7", "192.0.2.6",
  "[fe80::1%eth0]:5", "fe80::2%1", "2001:db8:7fff::1", "2001:db8:8000::", "198.51.100.9", "::", "0.0.0.0", "10.0.0.1%eth0", "ten.example:80", "10.1",
  "unix:", "", "10.0.0.1\0" } do
  if set:contains(text) then found[#found + 1] = text end
end
print(table.concat(found, " "))
local all, none = kt.cidr "0.0.0.0/0", kt.cidr {}
print(all:contains "192.0.2.7:1", all:contains "::1", none:contains "192.0.2.7", none:contains "::1")]])
  end)

  it("finds an address among many networks", function()
    assert.equal("65536	true	false\n", run [[
local list = {}
for i = 0, 65535 do list[i + 1] = ("10.%d.%d.%d/31"):format(i % 256, i // 256, i % 64 * 4) end
local set, n = assert(kt.cidr(list)), 0
for i = 0, 65535 do
  if set:contains(("10.%d.%d.%d"):format(i % 256, i // 256, i % 64 * 4 + 1)) then n = n + 1 end
  if i % 1000 == 0 then kt.sleep(0) end
end
print(n, set:contains "10.1.0.4", set:contains "10.1.0.6")]])
  end)

  it("says which network is wrong", function()
    assert.equal([[
config	"10.0.0": expected an IP address, or a network such as 10.0.0.0/8 or 2001:db8::/32
config	10.0.0.1/8: bits after the first 8 must be zero
config	::1: expected a length of 0 to 128 after the slash
limit	65537 networks; at most 65536 are allowed
s.lua:9: kt.cidr: element 1 of the list: expected a string, got number
s.lua:10: kt.cidr: expected a network such as "10.0.0.0/8", or a list of them, got nil
s.lua:11: cidr:contains: expected an address as a string, got nil
]], run [[
local many = {}
for i = 1, 65537 do many[i] = "10.0.0.1" end
for _, networks in ipairs { "10.0.0", { "10.0.0.0/8", "10.0.0.1/8" }, "::1/129", many } do
  local set, err = kt.cidr(networks)
  print(set or err.code, err)
end
print(select(2, pcall(function() kt.cidr { 1 } end)))
print(select(2, pcall(function() kt.cidr(nil) end)))
print(select(2, pcall(function() kt.cidr("10.0.0.0/8"):contains(nil) end)))]])
  end)
end)

describe("kt.ipmask", function()
  it("gives the network of an address", function()
    assert.equal([[
192.0.2.7/32
2001:db8:0:1::/64
192.0.0.0/23
2001:db8::/33
192.0.2.7/32
fe80::/64
0.0.0.0/0
config	not an IP address
s.lua:9: kt.ipmask: argument 2: expected an integer (0 to 32)
s.lua:10: kt.ipmask: expected an address as a string, got nil
]], run [[
for _, args in ipairs { { "192.0.2.7:80" }, { "[2001:db8:0:1:2::3]:80" }, { "192.0.1.7", 23 }, { "2001:db8:7fff::1", 24, 33 }, { "::ffff:192.0.2.7" },
  { "fe80::1%eth0" }, { "192.0.2.7", 0 } } do
  print((kt.ipmask(table.unpack(args))))
end
local none, err = kt.ipmask "a.example:80"
print(err.code, none or err)
print(select(2, pcall(function() kt.ipmask("192.0.2.7", 33) end)))
print(select(2, pcall(function() kt.ipmask(nil) end)))]])
  end)
end)
