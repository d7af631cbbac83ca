--- The part of kt.api that describes links and acceptors.
local wire = require "kt.api.wire"

return function(with)
  local def, handle, method, record, concat, handler, serve_doc = with.def, with.handle, with.method, with.record, with.concat, with.handler, with.serve_doc

  def {
    name = "kt.link", context = "any", returns = "link | nil, err", path = "link",
    signature = "kt.link { remote = …, key = …, … } → link | nil, err",
    doc = "A link to a peer. It dials when the first stream is opened, and again whenever the peer was lost. In the main chunk it is "
      .. "declared, and opened at start; in a task it is opened at once, and closed once it was forgotten and carries no stream, unless it serves or stays.",
    fails = { "memory" },
    argument = {
      type = "table", check = wire.rules,
      keys = concat({
        { name = "remote", type = "endpoint", allow = "rh", required = true,
          expected = '"host:port", or "host:min-max" for a random port at each dial', doc = "The peer." },
      }, wire.keys(true), wire.link_only),
    },
    example = [[
local far = kt.link { remote = "vps.example:29900", key = kt.secret_file "psk.key", mode = "fast2" }]],
  }

  def {
    name = "kt.accept", context = "any", returns = "acceptor | nil, err", path = "accept",
    signature = "kt.accept { on = …, key = …, … } → acceptor | nil, err",
    doc = "Takes links from peers. In the main chunk it is declared, and opened at start; in a task it is opened at once.",
    fails = { "in_use", "denied", "config" },
    argument = {
      type = "table", check = wire.rules,
      keys = concat({
        { name = "on", type = "endpoint", allow = "rz", required = true,
          expected = '":29900", "ip:port", or a range of ports ":3000-3010"', doc = "Where to listen, UDP." },
      }, wire.keys(false), wire.accept_only),
    },
    example = [[
kt.accept { on = ":29900", key = kt.secret_file "psk.key" }:serve(function(stream)
  local conn, err = kt.connect { to = "127.0.0.1:8388" }
  if not conn then return stream:reset(err) end
  kt.splice(stream, conn)
end)]],
  }

  handle {
    name = "link", doc = "A link to a peer, as kt.link made it, or as an acceptor gives it out. Shared by all tasks.",
    fields = { { name = "remote", type = "string", doc = "The peer, as declared; of an accepted link, its address." } },
  }
  method("link", {
    name = "open", context = "task", returns = "stream | nil, err",
    signature = 'open { timeout = "5s", client = conn.peer, priority = 3, weight = 16 } → stream | nil, err',
    doc = "Opens a stream to the peer, dialling it first if need be. On an accepted link the peer must be a kt whose link serves.",
    fails = { "timeout", "name", "unreachable", "closed", "dead", "limit", "unsupported" },
    optional = true,
    argument = {
      type = "table",
      keys = concat({
        { name = "timeout", type = "duration", default = 10, doc = "How long it may take." },
        { name = "client", type = "string", doc = "On whose behalf; for the log." },
      }, wire.policy(3, 16)),
    },
  })
  method("link", {
    name = "probe", context = "task", returns = "number | nil, err",
    signature = 'probe { timeout = "1s" } → seconds | nil, err',
    doc = "Asks the peer for an answer that any peer gives, and says how long it took, the peer's own flush interval included; dials "
      .. "if there is no session.",
    fails = { "timeout", "name", "unreachable", "closed", "dead", "restarted" },
    optional = true,
    argument = { type = "table", keys = { { name = "timeout", type = "duration", default = 1, doc = "How long it may take." } } },
  })

  local keys, fixed = wire.changeable(with.api.functions["kt.link"].argument.keys)
  method("link", {
    name = "set", context = "any", returns = "boolean | nil, err",
    signature = 'set { mode = …, kcp = { … }, fec = { … } | false, rate = …, suspect_after = …, dead_after = … } → true | nil, err',
    doc = "Changes settings, for sessions that are up and for those to come; what is not named stays. Not of an accepted link.",
    fails = { "closed", "unsupported" },
    argument = { type = "table", check = wire.set_rules, keys = keys, fixed = fixed },
    example = 'far:set { mode = "fast3", kcp = { sndwnd = 1024 }, fec = { parity = 1 } }',
  })
  method("link", {
    name = "serve", context = "any", returns = "link", signature = "serve(function(stream) … end) → link",
    doc = serve_doc "stream" .. " These are the streams that the far side opens, which needs kt there too; the link dials at once, and again "
      .. "for ever, so that it can.",
    params = { handler.stream },
  })
  method("link", {
    name = "on", context = "any", returns = "link",
    signature = 'on("up" | "down" | "degraded" | "stats", function(stats, err) … end [, options]) → link',
    doc = "Runs a function, as a task, when something happens: \"up\": the peer was heard, where none was; \"down\": no session is left, "
      .. "err says why; \"degraded\": a threshold was passed, err says which, once until it is better again (by default 5% loss or 1.5 s "
      .. "of silence); \"stats\": time and again.",
    params = {
      { name = "event", type = '"up" | "down" | "degraded" | "stats"', doc = "Which." },
      { name = "handler", type = "fun(stats: stats, err: err)", doc = "Called with the figures of that moment, and the reason." },
    },
    optional = true,
    argument = {
      type = "table",
      keys = {
        { name = "every", type = "duration", min = 0.1, doc = 'For "stats": how often; 5s unless given.' },
        { name = "loss", type = "share", doc = 'For "degraded": the share of segments lost, as stats has it.' },
        { name = "srtt", type = "duration", doc = "... the round-trip time." },
        { name = "silence", type = "duration", doc = "... how long the peer may be silent while it owes an answer." },
      },
    },
    example = 'far:on("degraded", function(stats, err) kt.log.warn("%s (srtt %.3f)", tostring(err), stats.srtt) end, { loss = "3%", srtt = "300ms" })',
  })
  method("link", {
    name = "stats", context = "any", returns = "stats", signature = "stats() → stats",
    doc = "The figures of the link, as they are now; once it is closed, its counters as they were then.",
  })
  method("link", {
    name = "close", context = "any", signature = "close()",
    doc = "Closes the link. Its streams break, and whoever waits for one gets an err \"closed\".",
  })

  handle { name = "acceptor", doc = "Takes links from peers, as kt.accept made it." }
  method("acceptor", {
    name = "serve", context = "any", returns = "acceptor", signature = "serve(function(stream) … end) → acceptor",
    doc = serve_doc "stream", params = { handler.stream },
  })
  method("acceptor", {
    name = "on", context = "any", returns = "acceptor",
    signature = 'on("link", function(link) … end) → acceptor',
    doc = "Runs a function, as a task, for each peer whose session begins. Its link has open, probe, stats, remote, on and close; it is "
      .. "closed when the session ends, for which there is link:on(\"down\", …). Once for each acceptor.",
    params = {
      { name = "event", type = '"link"', doc = "The only one that there is." },
      { name = "handler", type = "fun(link: link)", doc = "Called with each link." },
    },
    example = [[
acceptor:on("link", function(link)
  local stream, err = link:open { timeout = "5s" } -- needs link:serve on the other side
  if stream then stream:write "hello" end
end)]],
  })
  method("acceptor", {
    name = "stats", context = "any", returns = "stats", signature = "stats() → stats",
    doc = "The figures of all links together; times are of the one heard last. A reload that keeps the acceptor keeps its counters.",
  })
  method("acceptor", {
    name = "close", context = "any", signature = "close()", doc = "Closes it and all its links.",
  })

  record {
    name = "stats",
    doc = "The figures of a link. Counters (segs_…, bytes_…) are sums over all sessions since kt.link or kt.accept made it, those that have "
      .. "ended included, and never fall; they start over only with another link, as after a restart, or in the script that a reload brings. "
      .. "All others are of the sessions that are up now.",
    fields = {
      { name = "sessions", type = "integer", doc = "Sessions that are up." },
      { name = "streams", type = "integer", doc = "Streams that are open." },
      { name = "srtt", type = "number", doc = "Smoothed round-trip time, in seconds." },
      { name = "rttvar", type = "number", doc = "Its variation, in seconds." },
      { name = "rto", type = "number", doc = "Retransmission timeout, in seconds." },
      { name = "segs_out", type = "integer", doc = "Segments sent, each counted once; a counter." },
      { name = "segs_retrans", type = "integer", doc = "Segments sent again; a counter." },
      { name = "segs_recovered", type = "integer", doc = "Segments that FEC has rebuilt here; a counter." },
      { name = "bytes_in", type = "integer", doc = "Bytes of payload received; a counter." },
      { name = "bytes_out", type = "integer", doc = "Bytes of payload sent; a counter." },
      { name = "inflight", type = "integer", doc = "Segments sent and not yet acknowledged." },
      { name = "queued", type = "integer", doc = "Segments that wait for the window." },
      { name = "rmt_wnd", type = "integer", doc = "The peer's receive window, in segments." },
      { name = "cwnd", type = "integer", doc = "Congestion window, in segments; with nc the send window." },
      { name = "since_heard", type = "number", doc = "Seconds since the peer was heard; math.huge: never." },
      { name = "up", type = "boolean", doc = "The peer was heard, in a session that is still there." },
      { name = "since", type = "number", doc = "... for so many seconds; 0: it is not." },
      { name = "loss", type = "number",
        doc = "The share of segments lost in the last 4 s, 0 to 1: of those sent, how many were sent again, or of those received, how many "
          .. "FEC had to rebuild, whichever is larger; tends to 0 where there were fewer than 32." },
      { name = "rate_in", type = "integer", doc = "Payload received a second, over the last 4 s." },
      { name = "rate_out", type = "integer", doc = "Payload sent a second, over the last 4 s." },
      { name = "retransmitted", type = "integer", doc = "The same as segs_retrans." },
      { name = "recovered", type = "integer", doc = "The same as segs_recovered." },
    },
  }
end
