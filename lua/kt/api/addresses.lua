--- Describes addresses and networks as values, for kt.api.

return function(with)
  local def, handle, method = with.def, with.handle, with.method

  def {
    name = "kt.address", context = "any", returns = "string | nil, integer | err | nil, integer | nil",
    signature = 'kt.address "host:port" → host, port, last | nil, err',
    doc = "Splits an address, by the rules of all functions that take one. An IP address comes without brackets, in its one short form: "
      .. '"2001:db8::1", "fe80::1%eth0", and "192.0.2.1" also if it was mapped into IPv6. A name comes in lower case, and is not looked up. Text that '
      .. 'a resolver might read as an IP address, such as "0x7f.1", is refused. Of ":443" the host is "". Of a unix socket it is the path, "" for '
      .. "a client without one (\"unix:\"), and there is no port. `last` is the last port of a range.",
    fails = { "config" },
    params = { { name = "text", type = "string", doc = "The address, such as `conn.peer`." } },
    example = [[
local host, port = kt.address(stream.target)
if not host or port ~= 443 then return stream:reset "denied" end]],
  }

  def {
    name = "kt.cidr", context = "any", returns = "cidr | nil, err",
    signature = 'kt.cidr { "10.0.0.0/8", "2001:db8::/32" } → cidr | nil, err',
    doc = "Makes a set of networks in CIDR notation (RFC 4632), of one or of a list of up to 65536. A network may be a single address. Bits after its "
      .. "length must be zero.",
    fails = { "config", "limit" },
    params = { { name = "networks", type = "string | table", doc = "The network, or a list of them." } },
    example = [[
local private = assert(kt.cidr { "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7" })
kt.listen { on = ":1080" }:serve(function(conn)
  if not private:contains(conn.peer) then return conn:reset "denied" end
  local stream = far:open { client = conn.peer }
  if stream then kt.splice(conn, stream) end
end)]],
  }

  def {
    name = "kt.ipmask", context = "any", returns = "string | nil, err", signature = "kt.ipmask(address [, 32 [, 64]]) → network | nil, err",
    doc = 'Returns the network that an IP address is in, such as "2001:db8:0:1::/64", as a key for counts per client: an IPv6 client '
      .. "usually has all addresses of its /64. The address may have a port or a scope, and may be mapped into IPv6, as for cidr:contains.",
    fails = { "config" },
    params = {
      { name = "address", type = "string", doc = "The address, such as `conn.peer`." },
      { name = "bits4", type = "integer", min = 0, max = 32, optional = true, doc = "Length of the network of an IPv4 address. Default: 32." },
      { name = "bits6", type = "integer", min = 0, max = 128, optional = true, doc = "Length of the network of an IPv6 address. Default: 64." },
    },
    example = [[
local client = kt.ipmask(conn.peer) -- "192.0.2.7/32", "2001:db8:0:1::/64"; nil for a unix socket
if client and blocked:get(client) then return conn:reset "denied" end -- blocked: a kt.cache]],
  }

  handle { name = "cidr", doc = "A set of networks; made by kt.cidr." }
  method("cidr", {
    name = "contains", context = "any", returns = "boolean", signature = "contains(address) → boolean",
    doc = "Whether an IP address is in one of the networks. It may have a port, as `conn.peer` has, or a scope; an IPv4 address that is mapped into IPv6 "
      .. "counts as IPv4. False for a name, which is not looked up, and for any other text.",
    params = { { name = "address", type = "string", doc = "The address." } },
  })
end
