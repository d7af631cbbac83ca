--- Describes UDP sockets and DNS lookups, for kt.api.

return function(with)
  local def, handle, method, record = with.def, with.handle, with.method, with.record

  def {
    name = "kt.udp", context = "any", returns = "socket | nil, err", path = "udp",
    signature = 'kt.udp { on = ":5353" | to = "host:port" } → socket | nil, err',
    doc = "Opens a UDP socket, bound to an address, connected to one peer, or both. Called in the main chunk, it opens when the script "
      .. "starts; in a task, immediately, and it is closed when the task ends. A reload hands a socket of the main chunk over to the new script, which "
      .. "loses no datagram; one that a task has bound to a port is closed then, so that the new script can bind it.",
    fails = { "in_use", "denied", "name", "timeout", "unreachable", "config" },
    argument = {
      type = "table",
      check = function(_, raw, mistake)
        if raw.on == nil and raw.to == nil then mistake("on", 'missing; expected on = ":5353", or to = "host:port"') end
      end,
      keys = {
        { name = "on", type = "endpoint", allow = "z", expected = '":5353", or "ip:port"', doc = "The address to bind; port 0 means any free port." },
        { name = "to", type = "string", constant = with.peer, doc = "The only peer. A host name is looked up, which only a task can do." },
        { name = "timeout", type = "duration", max = 86400, default = 10, doc = "Timeout for looking up the name." },
        { name = "queue", type = "size", min = 4096, max = 16 << 20, default = 65536,
          doc = "Receive queue, in bytes; each datagram counts 60 bytes more than its size. Datagrams that do not fit are dropped and counted." },
      },
    },
    example = [[
local socket = kt.udp { on = ":5353" }
kt.spawn(function()
  while true do
    local data, from = socket:receive { timeout = "1h" }
    if data then socket:send(data, from) end
  end
end)]],
  }

  def {
    name = "kt.resolve", context = "task", returns = "record[] | nil, err", path = "kt.resolve",
    signature = 'kt.resolve { name = …, type = "A" | "AAAA" | "SRV", servers = { "127.0.0.1:5353" }, timeout = "5s" } → records | nil, err',
    doc = "Looks up DNS records, with their TTL. It asks DNS only: no hosts file, no search domains. SRV records are sorted by priority, "
      .. "lowest number first. At most 64 records are returned; SRV records with port 0 or a target that is not a host name are "
      .. "skipped. err.code is \"name\" when the name does not exist, has no such record, or is malformed. Every other code leaves that "
      .. "open: \"timeout\" means no answer; \"io\" means the servers are unreachable, failed, or refused to answer.",
    fails = { "name", "timeout", "io", "protocol", "limit" },
    argument = {
      type = "table",
      check = function(_, raw, mistake)
        local n = type(raw.servers) == "table" and rawlen(raw.servers)
        if n and (n < 1 or n > 8) then mistake("servers", ("expected 1 to 8 name servers, got %d"):format(n)) end
      end,
      keys = {
        { name = "name", type = "string", required = true, expected = "a host's name", doc = "The name to look up." },
        { name = "type", type = "enum", values = { "A", "AAAA", "SRV" }, default = "A", doc = "The record type." },
        { name = "servers", type = "list", of = { type = "name_server", required = true, expected = "a name server's IP address" },
          doc = "Name servers, \"ip\" or \"ip:port\", 1 to 8, tried in order. Default: the system's." },
        { name = "timeout", type = "duration", default = 5, doc = "Timeout for the whole call." },
      },
    },
    example = [[
local records, err = kt.resolve { name = "_tunnel._udp.example.org", type = "SRV" }
for _, r in ipairs(records or {}) do print(r.target, r.port, r.priority, r.weight, r.ttl) end]],
  }

  handle {
    name = "socket", owned = true, doc = "A UDP socket; made by kt.udp.",
    fields = {
      { name = "local_addr", type = "string | nil", doc = "The address it is bound to, while it is open." },
      { name = "peer", type = "string | nil", doc = "The peer given as `to`, else nil." },
    },
  }
  method("socket", {
    name = "receive", context = "task", returns = "string | nil, string | err",
    signature = 'receive { timeout = "30s" } → data, from | nil, err',
    doc = "Returns the next datagram and its sender's address; waits for one if the queue is empty. With `to`, it fails with \"refused\" when "
      .. "no one listens at the peer's port.",
    fails = { "timeout", "refused", "closed" },
    optional = true, argument = with.patient(),
  })
  method("socket", {
    name = "send", context = "task", returns = "boolean | nil, err",
    signature = 'send(data [, "host:port"] [, { timeout = "30s" }]) → true | nil, err',
    doc = "Sends a datagram; waits while the system's send buffer is full. Delivery is not guaranteed. A reply to one of the last few hundred "
      .. "senders leaves from the local address that the sender used.",
    fails = { "limit", "name", "unreachable", "timeout", "closed" },
    params = {
      { name = "data", type = "string", doc = "The datagram, at most 2048 bytes." },
      { name = "to", type = "string", optional = true,
        doc = "The destination, such as `from`; a host name is looked up. Only for a socket made without `to`." },
    },
    optional = true, argument = with.patient(),
  })
  method("socket", {
    name = "stats", context = "any", returns = "traffic", signature = "stats() → traffic", doc = "Returns the socket's current statistics.",
  })
  method("socket", {
    name = "close", context = "any", signature = "close()",
    doc = "Closes the socket. Waiting calls fail with \"closed\". Safe to call twice.",
  })

  record {
    name = "record", doc = "A DNS record. A and AAAA records have an address, SRV records the other fields.",
    fields = {
      { name = "ttl", type = "integer", doc = "TTL in seconds, 1 to 86400." },
      { name = "address", type = "string | nil", doc = "An IP address, such as \"192.0.2.7\" or \"2001:db8::7\"." },
      { name = "target", type = "string | nil", doc = "The host that provides the service." },
      { name = "port", type = "integer | nil", doc = "The service's port." },
      { name = "priority", type = "integer | nil", doc = "Priority, 0 to 65535; lower is preferred." },
      { name = "weight", type = "integer | nil", doc = "Relative share among targets of the same priority, 0 to 65535." },
    },
  }

  record {
    name = "traffic", doc = "Statistics of a socket.",
    fields = with.statistics "socket",
  }
end
