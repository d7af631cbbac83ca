--- Describes flows and the listeners that make them, for kt.api. The functions that open them are described with links and conns.

return function(with)
  local handle, method, record = with.handle, with.method, with.record

  handle {
    name = "udplistener", doc = "A UDP socket that makes a flow of the datagrams from one address; made by kt.listen { udp = … }.",
    fields = { { name = "local_addr", type = "string | nil", doc = "The address it listens on, once it is open." } },
  }
  method("udplistener", {
    name = "serve", context = "any", returns = "udplistener", signature = "serve(function(flow) … end) → udplistener",
    doc = with.serve_doc "flow", params = { with.handler.flow },
    example = [[
kt.listen { udp = "127.0.0.1:53" }:serve(function(flow)
  local out <close> = assert(far:flow { to = "8.8.8.8:53", client = flow.peer })
  kt.splice(flow, out)
end)]],
  })
  method("udplistener", {
    name = "stats", context = "any", returns = "flowcounts", signature = "stats() → flowcounts",
    doc = "Returns the listener's current statistics.",
  })
  method("udplistener", {
    name = "close", context = "any", signature = "close()", doc = "Stops listening. Its flows end.",
  })

  handle {
    name = "flow", owned = true,
    doc = "Datagrams that belong together by their addresses, without retransmission or ordering. kt.splice joins two; until then, the last "
      .. "datagrams wait. A flow ends when it is idle, when its other end closes it, or when another one needs its place.",
    fields = {
      { name = "peer", type = "string | nil",
        doc = "Address of the other end: the client for a listener's flow, the target for one that kt.connect made, the link's peer for a link's flow." },
      { name = "identity", type = "string | nil", doc = "For a flow that a link's peer opened: the peer's name in `authorized`." },
      { name = "target", type = "string | nil",
        doc = "Likewise: where the peer asks to have the datagrams sent (`to` in link:flow). Check it before you send anything there." },
      { name = "client", type = "string | nil", doc = "Likewise: the client that it is for, as the peer says." },
      { name = "original", type = "string | nil",
        doc = "For a flow diverted to a listener with `transparent`: the address that the client sends to, from which answers come." },
    },
  }
  method("flow", {
    name = "set", context = "any", returns = "boolean | nil, err", signature = "set { copies = 2, fec = true } → true | nil, err",
    doc = "Changes a setting of a link's flow. May be called at any time, also during a splice.",
    fails = { "closed", "unsupported" },
    argument = { type = "table", keys = with.redundancy() },
  })
  method("flow", {
    name = "stats", context = "any", returns = "flowstats", signature = "stats() → flowstats",
    doc = "Returns the flow's current statistics; also during a splice and after closing.",
  })
  method("flow", {
    name = "close", context = "any", signature = "close()", doc = "Closes it. Safe to call twice.",
  })

  record { name = "flowstats", doc = "Statistics of a flow.", fields = with.statistics "flow" }
  record {
    name = "flowcounts", doc = "Statistics of a UDP listener.",
    fields = {
      { name = "flows", type = "integer", doc = "Flows now." },
      { name = "opened", type = "integer", doc = "Flows so far; a counter." },
      { name = "evicted", type = "integer", doc = "Flows that ended to make room for others; a counter." },
    },
  }
end
