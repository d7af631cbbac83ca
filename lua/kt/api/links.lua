--- Describes links and acceptors, for kt.api.
local wire, wires = require "kt.api.wire", require "kt.api.wires"

return function(with)
  local def, handle, method, record, concat, handler, serve_doc = with.def, with.handle, with.method, with.record, with.concat, with.handler, with.serve_doc

  def {
    name = "kt.link", context = "any", returns = "link | nil, err", path = "link",
    signature = "kt.link { remote = …, key = …, … } → link | nil, err",
    doc = "Makes a link to a peer. It dials when the first stream is opened, and redials after it has lost the peer. Called in the main chunk, it "
      .. "opens when the script starts; in a task, immediately, and it is closed once the script has dropped it and it carries no stream, unless it "
      .. "serves or has `stay`.",
    fails = { "memory" },
    argument = {
      type = "table", check = wire.rules,
      keys = concat({
        { name = "remote", type = "endpoints", allow = "rh", most = wire.lists.remote, required = true,
          expected = '"host:port", or "host:min-max" for a random port at each dial',
          doc = "The peer. On kt's wire also a list of addresses of the same peer, which are all tried. The link keeps its streams and moves to "
            .. "another address, or another port of the range, when the peer is silent, when loss rises sharply, or as `hop` says." },
      }, wire.keys(true)),
    },
    example = [[
local far = kt.link { remote = "vps.example:29900", key = kt.secret_file "psk.key" }]],
  }

  def {
    name = "kt.accept", context = "any", returns = "acceptor | nil, err", path = "accept",
    signature = "kt.accept { on = …, key = …, … } → acceptor | nil, err",
    doc = "Accepts links from peers. Called in the main chunk, it opens when the script starts; in a task, immediately.",
    fails = { "in_use", "denied", "config" },
    argument = {
      type = "table", check = wire.rules,
      keys = concat({
        { name = "on", type = "endpoint", allow = "rz", required = true,
          expected = '":29900", "ip:port", or a range of ports ":3000-3010"', doc = "UDP address to listen on." },
      }, wire.keys(false)),
    },
    example = [[
kt.accept { on = ":29900", key = kt.secret_file "psk.key" }:serve(function(stream)
  local conn, err = kt.connect { to = "127.0.0.1:8388" }
  if not conn then return stream:reset(err) end
  kt.splice(stream, conn)
end)]],
  }

  handle {
    name = "link", doc = "A link to a peer; made by kt.link, or passed to acceptor:on. All tasks share it.",
    fields = {
      { name = "remote", type = "string", doc = "The peer as given to kt.link; for an accepted link, the peer's address." },
      { name = "identity", type = "string | nil", doc = "For an accepted link on kt's wire: the peer's name in `authorized`." },
    },
  }
  method("link", {
    name = "open", context = "task", returns = "stream | nil, err",
    signature = 'open { timeout = "5s", to = "db:5432", client = conn.peer, name = "sql", priority = 3, weight = 16 } → stream | nil, err',
    doc = "Opens a stream to the peer and returns it once it can be written: at once on a link that is up, without asking the peer. "
      .. "If no session is up, it dials first. On kt's wire it waits for the handshake, and while the link has as many streams as either end allows. "
      .. "Whether the peer accepts the stream shows later, on a read or a write. On an accepted link the peer must be a kt whose link serves.",
    fails = { "timeout", "name", "unreachable", "closed", "dead", "limit", "unsupported" },
    optional = true,
    argument = {
      type = "table",
      keys = concat({
        { name = "timeout", type = "duration", default = 10, doc = "Timeout for the whole call." },
        { name = "to", type = "string", doc = "Where the peer is to connect the stream: `stream.target` there. Only on kt's wire; the peer decides." },
        { name = "client", type = "string", doc = "The client that the stream is for: for the log, and on kt's wire `stream.client` there." },
        { name = "name", type = "string", doc = "A name for the stream: `stream.name` there. Only on kt's wire." },
      }, wire.policy(3, 16)),
    },
  })
  method("link", {
    name = "flow", context = "task", returns = "flow | nil, err",
    signature = 'flow { to = "8.8.8.8:53", client = flow.peer, copies = 2, fec = true } → flow | nil, err',
    doc = "Opens a flow to the peer, which must be a kt that handles \"flow\" events; only on kt's wire. Does not wait: while no session is up, it dials, "
      .. "and the last 8 KiB of datagrams are kept. The flow outlives sessions, so it survives an outage or a restart of the peer.",
    fails = { "unsupported", "closed", "limit" },
    optional = true,
    argument = {
      type = "table",
      keys = concat({
        { name = "to", type = "string", doc = "Where the peer is to send the datagrams: `flow.target` there. The peer decides." },
        { name = "client", type = "string", doc = "The client that the flow is for: `flow.client` there." },
      }, with.redundancy(0, false)),
    },
  })
  method("link", {
    name = "probe", context = "task", returns = "number | nil, err",
    signature = 'probe { timeout = "1s" } → seconds | nil, err',
    doc = "Measures the round-trip time to the peer, including the peer's flush interval, with a packet that every peer answers; dials "
      .. "first if no session is up.",
    fails = { "timeout", "name", "unreachable", "closed", "dead", "restarted" },
    optional = true,
    argument = { type = "table", keys = { { name = "timeout", type = "duration", default = 1, doc = "Timeout for the whole call." } } },
  })

  local keys, fixed = wire.changeable(with.api.functions["kt.link"].argument.keys)
  method("link", {
    name = "set", context = "any", returns = "boolean | nil, err",
    signature = 'set { mode = …, kcp = { … }, fec = { … } | false, rate = …, suspect_after = …, dead_after = … } → true | nil, err',
    doc = "Changes settings of current and future sessions. Keys that are not given stay as they are. Not available on an accepted link.",
    fails = { "closed", "unsupported" },
    argument = { type = "table", check = wire.set_rules, keys = keys, fixed = fixed },
    example = 'far:set { mode = "fast3", kcp = { sndwnd = 1024 }, fec = { parity = 1 } }',
  })
  method("link", {
    name = "serve", context = "any", returns = "link", signature = "serve(function(stream) … end) → link",
    doc = serve_doc "stream" .. " The streams are those that the peer opens; it must be a kt. The link dials immediately and keeps redialling, "
      .. "so that the peer can reach it.",
    params = { handler.stream },
  })
  method("link", {
    name = "on", context = "any", returns = "link",
    signature = 'on("up" | "down" | "degraded" | "stats" | "flow", function(stats, err) … end [, options]) → link',
    doc = "Runs a function as a task on an event. \"up\": the peer has begun to answer; \"down\": the last session ended, and err says "
      .. "why; \"degraded\": a threshold was exceeded, and err says which (by default 5% loss or 1.5 s of silence), reported again only after "
      .. "the link has recovered; \"stats\": at regular intervals. \"flow\": the peer opened a flow, which the function gets instead; once per "
      .. "link, which then dials immediately and keeps redialling.",
    params = {
      { name = "event", type = '"up" | "down" | "degraded" | "stats" | "flow"', doc = "The event." },
      { name = "handler", type = "fun(stats: stats, err: err) | fun(flow: flow)", by = { flow = "fun(flow: flow)", other = "fun(stats: stats, err: err)" },
        doc = "Called with the link's statistics at that moment, and the reason; or with the flow." },
    },
    optional = true,
    argument = {
      type = "table",
      keys = {
        { name = "every", type = "duration", min = 0.1, typical = 5, doc = 'For "stats": the interval. Default: 5 s.' },
        { name = "loss", type = "share", doc = 'For "degraded": the highest acceptable loss, as in stats.' },
        { name = "srtt", type = "duration", typical = 1, doc = 'For "degraded": the highest acceptable round-trip time.' },
        { name = "silence", type = "duration", typical = 5, doc = 'For "degraded": the longest acceptable silence while an answer is due.' },
      },
    },
    example = 'far:on("degraded", function(stats, err) kt.log.warn("%s (srtt %.3f)", tostring(err), stats.srtt) end, { loss = "3%", srtt = "300ms" })',
  })
  method("link", {
    name = "stats", context = "any", returns = "stats", signature = "stats() → stats",
    doc = "Returns the link's current statistics. After closing, the counters keep their last values.",
  })
  method("link", {
    name = "close", context = "any", signature = "close()",
    doc = "Closes the link. Its streams are reset, and waiting calls fail with \"closed\".",
  })

  handle { name = "acceptor", doc = "Accepts links from peers; made by kt.accept." }
  method("acceptor", {
    name = "serve", context = "any", returns = "acceptor", signature = "serve(function(stream) … end) → acceptor",
    doc = serve_doc "stream", params = { handler.stream },
  })
  method("acceptor", {
    name = "on", context = "any", returns = "acceptor",
    signature = 'on("link", function(link) … end), on("flow", function(flow) … end) → acceptor',
    doc = "Runs a function as a task for each new session of a peer. The link it gets has open, flow, probe, stats, remote, on and close, and is "
      .. "closed when the session ends; link:on(\"down\", …) reports that. With \"flow\", for each flow that a peer opens; the task owns it. Without "
      .. "acceptor:serve, streams that peers open are refused. May be called once per acceptor and event.",
    params = {
      { name = "event", type = '"link" | "flow"', doc = "The event." },
      { name = "handler", type = "fun(link: link) | fun(flow: flow)", by = { flow = "fun(flow: flow)", link = "fun(link: link)" },
        doc = "Called with each link, or each flow." },
    },
    example = [[
acceptor:on("link", function(link)
  local stream, err = link:open { timeout = "5s" } -- needs link:serve on the other side
  if stream then stream:write "hello" end
end)]],
  })
  method("acceptor", {
    name = "stats", context = "any", returns = "stats", signature = "stats() → stats",
    doc = "Returns the current statistics of all its links together; times are those of the session heard from last. A reload that keeps the "
      .. "acceptor keeps its counters.",
  })
  method("acceptor", {
    name = "close", context = "any", signature = "close()", doc = "Closes the acceptor and all its links.",
  })

  record {
    name = "stats",
    doc = "Statistics of a link. Counters are totals over all sessions, ended ones included, since kt.link or kt.accept made "
      .. "it. They never decrease, and start at 0 with a new link: after a restart, or in the new script after a reload. All other "
      .. "fields describe the sessions that are up now. A field that only one wire has is nil on the other.",
    fields = with.statistics("link", table.unpack(wires.folders)),
  }
end
