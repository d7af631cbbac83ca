--- The part of kt.api that describes UDP sockets and names.

return function(with)
  local def, handle, method, record = with.def, with.handle, with.method, with.record

  def {
    name = "kt.udp", context = "any", returns = "socket | nil, err", path = "udp",
    signature = 'kt.udp { on = ":5353" | to = "host:port" } → socket | nil, err',
    doc = "A UDP socket: bound to an address, or talking to one peer, or both. In the main chunk it is declared, and opened at start; "
      .. "in a task it is opened at once, and closed when the task ends.",
    fails = { "in_use", "denied", "name", "timeout", "unreachable", "config" },
    argument = {
      type = "table",
      check = function(_, raw, mistake)
        if raw.on == nil and raw.to == nil then mistake("on", 'missing; expected on = ":5353", or to = "host:port"') end
      end,
      keys = {
        { name = "on", type = "endpoint", allow = "z", expected = '":5353", or "ip:port"', doc = "The address to bind; port 0: any." },
        { name = "to", type = "string", doc = "The only peer it talks to; a name is looked up, in a task only." },
        { name = "timeout", type = "duration", max = 86400, default = 10, doc = "How long looking up the name may take." },
        { name = "queue", type = "size", min = 4096, max = 16 << 20, default = 65536,
          doc = "Bytes of datagrams that wait to be received (each counts 60 more); past it they are dropped and counted." },
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
    doc = "Asks DNS for the records of a name, with the time that they hold. DNS alone: not the hosts file, and no search domains are "
      .. "added. SRV records come by priority, the lowest number first. At most 64 records of an answer are taken; SRV records "
      .. "whose target is no host's name, or whose port is 0, are left out. err.code is \"name\" where the name is the trouble: there is "
      .. "no such name, it has no such record, or it is no name at all. All other codes say nothing about the name: nobody answered "
      .. "(\"timeout\"), or the servers cannot be reached, fail, or will not say (\"io\").",
    fails = { "name", "timeout", "io", "protocol", "limit" },
    argument = {
      type = "table",
      check = function(_, raw, mistake)
        local n = type(raw.servers) == "table" and rawlen(raw.servers)
        if n and (n < 1 or n > 8) then mistake("servers", ("expected 1 to 8 name servers, got %d"):format(n)) end
      end,
      keys = {
        { name = "name", type = "string", required = true, expected = "a host's name", doc = "The name to look up." },
        { name = "type", type = "enum", values = { "A", "AAAA", "SRV" }, default = "A", doc = "The records that are expected." },
        { name = "servers", type = "list", of = { type = "name_server", required = true, expected = "a name server's IP address" },
          doc = "Whom to ask, \"ip\" or \"ip:port\", 1 to 8 of them, one after the other. Default: those of the system." },
        { name = "timeout", type = "duration", default = 5, doc = "How long it may take." },
      },
    },
    example = [[
local records, err = kt.resolve { name = "_tunnel._udp.example.org", type = "SRV" }
for _, r in ipairs(records or {}) do print(r.target, r.port, r.priority, r.weight, r.ttl) end]],
  }

  handle {
    name = "socket", doc = "A UDP socket, as kt.udp made it.",
    fields = {
      { name = "local_addr", type = "string | nil", doc = "Where it is bound, while it is open." },
      { name = "peer", type = "string | nil", doc = "Whom it talks to; nil without `to`." },
    },
  }
  method("socket", {
    name = "receive", context = "task", returns = "string | nil, string | err",
    signature = 'receive { timeout = "30s" } → data, from | nil, err',
    doc = "The next datagram and its sender's address. A socket made with `to` also tells that nobody listens there (\"refused\").",
    fails = { "timeout", "refused", "closed" },
    optional = true, argument = with.patient(),
  })
  method("socket", {
    name = "send", context = "task", returns = "boolean | nil, err",
    signature = 'send(data [, "host:port"] [, { timeout = "30s" }]) → true | nil, err',
    doc = "Sends a datagram. Waits while the system takes no more. Whether it arrives, nobody knows. What goes to one of the last few hundred "
      .. "peers that were received from leaves from the address of this host that the peer addressed.",
    fails = { "limit", "name", "unreachable", "timeout", "closed" },
    params = {
      { name = "data", type = "string", doc = "The datagram, at most 2048 bytes." },
      { name = "to", type = "string", optional = true,
        doc = "An address, such as `from`; a name is looked up. Only for a socket that was made without `to`." },
    },
    optional = true, argument = with.patient(),
  })
  method("socket", {
    name = "stats", context = "any", returns = "traffic", signature = "stats() → traffic", doc = "The figures of the socket, as they are now.",
  })
  method("socket", {
    name = "close", context = "any", signature = "close()",
    doc = "Closes it; whoever waits in a call on it gets an err \"closed\". Closing twice is harmless.",
  })

  record {
    name = "record", doc = "A record of a name. A and AAAA records have an address, SRV records the rest.",
    fields = {
      { name = "ttl", type = "integer", doc = "Seconds that it holds, 1 to 86400." },
      { name = "address", type = "string | nil", doc = "An IP address, such as \"192.0.2.7\" or \"2001:db8::7\"." },
      { name = "target", type = "string | nil", doc = "The host that has the service." },
      { name = "port", type = "integer | nil", doc = "Its port there." },
      { name = "priority", type = "integer | nil", doc = "Hosts with a lower one come first; 0 to 65535." },
      { name = "weight", type = "integer | nil", doc = "Its share among hosts of the same priority; 0 to 65535." },
    },
  }

  record {
    name = "traffic", doc = "The figures of a socket.",
    fields = {
      { name = "received", type = "integer", doc = "Datagrams that have come." },
      { name = "received_bytes", type = "integer", doc = "Their bytes." },
      { name = "sent", type = "integer", doc = "Datagrams sent." },
      { name = "sent_bytes", type = "integer", doc = "Their bytes." },
      { name = "dropped", type = "integer", doc = "Datagrams for which the queue had no room." },
      { name = "oversize", type = "integer", doc = "Datagrams that were larger than 2048 bytes, and dropped." },
      { name = "unsent", type = "integer", doc = "Datagrams that the system refused to send." },
      { name = "queued", type = "integer", doc = "Datagrams that wait to be received." },
    },
  }
end
