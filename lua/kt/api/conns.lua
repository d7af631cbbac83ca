--- Describes listeners, conns, streams, and the splice that joins them, for kt.api.
local wire = require "kt.api.wire"

-- The keys that conn:set and stream:set share.
local function limits()
  return {
    { name = "rate_in", type = "rate", doc = "Read limit, in bytes per second; 0 means no limit." },
    { name = "rate_out", type = "rate", doc = "Write limit, in bytes per second; 0 means no limit." },
    { name = "limit", type = "handle", kind = "limit", off = true,
      doc = "A limit shared with others (kt.limit), for both directions together; false ends it." },
    { name = "limit_in", type = "handle", kind = "limit", off = true, doc = "A shared limit for what is read; false ends it." },
    { name = "limit_out", type = "handle", kind = "limit", off = true, doc = "A shared limit for what is written; false ends it." },
    { name = "idle", type = "duration", typical = 120, doc = "Reset it after this long without a byte in either direction; 0 means never." },
    { name = "total", type = "duration", typical = 1800, doc = "Reset it this long after it was opened; 0 means never." },
  }
end

-- Keys that people try on a conn or a stream but that belong elsewhere, with the message for each.
local function elsewhere(own)
  local out = { rate = { "the direction is missing", "give rate_in, rate_out, or both" } }
  for _, key in ipairs { "mode", "kcp", "fec", "suspect_after", "dead_after" } do
    out[key] = {
      own == "stream" and "all streams of a kcptun session share this setting" or "this is a setting of the link",
      ("use link:set { %s = ... }"):format(key),
    }
  end
  if own == "conn" then
    for _, key in ipairs { "priority", "weight" } do
      out[key] = { "this is a setting of streams", ("use stream:set { %s = ... }"):format(key) }
    end
  end
  return out
end

return function(with)
  local def, handle, method, record, concat, handler, serve_doc = with.def, with.handle, with.method, with.record, with.concat, with.handler, with.serve_doc

  def {
    name = "kt.listen", context = "any", returns = "listener | udplistener | nil, err", instead = { udp = "udplistener" }, path = "listen",
    signature = 'kt.listen { on = "127.0.0.1:12948" | udp = "127.0.0.1:53" } → listener | udplistener | nil, err',
    doc = "Listens for local connections, TCP or unix; or, with `udp`, for datagrams, and makes a flow of those from one address. Called in the main "
      .. "chunk, it opens when the script starts; in a task, immediately.",
    fails = { "in_use", "denied", "config" },
    argument = {
      type = "table", main = "on",
      check = function(out, raw, mistake)
        if raw.on == nil and raw.udp == nil then mistake("on", 'missing; expected on = "127.0.0.1:12948", or udp = "127.0.0.1:53"') end
        if raw.on ~= nil and raw.udp ~= nil then mistake("udp", "not allowed with on", "call kt.listen twice") end
        if raw.udp ~= nil then
          if raw.transparent == "redirect" then
            mistake("transparent", 'only with on', 'give transparent = "tproxy"; the system does not tell where redirected datagrams went')
          end
          for _, key in ipairs { "proxy", "proxy_from" } do
            if raw[key] ~= nil then mistake(key, "only with on") end
          end
          return
        end
        for _, key in ipairs { "idle", "max_flows" } do
          if raw[key] ~= nil then mistake(key, "only with udp") end
          out[key] = nil
        end
        if raw.proxy_from ~= nil and not raw.proxy then mistake("proxy_from", "only with proxy = true") end
      end,
      keys = {
        { name = "on", type = "endpoint", allow = "uz",
          expected = '"127.0.0.1:12948", ":12948", or "unix:/path"', doc = "Where to listen for connections." },
        { name = "udp", type = "endpoint", allow = "z", expected = '"127.0.0.1:53", or ":53"', doc = "Where to listen for datagrams, instead of `on`." },
        { name = "idle", type = "duration", min = 1, max = 86400, default = 120, doc = "With udp: a flow ends after this long without a datagram." },
        { name = "max_flows", type = "integer", min = 1, max = 1 << 20, default = 1024,
          doc = "With udp: flows at a time; a new one replaces the one idle longest." },
        { name = "transparent", type = "enum", values = { "redirect", "tproxy" },
          doc = "Accepts traffic that the kernel diverts (Linux only); conn.original and flow.original are the original destination. "
            .. '"redirect": by rules that rewrite the address (nftables `redirect`, `dnat`). "tproxy": by `tproxy`, which does not; needs '
            .. "CAP_NET_ADMIN. With udp only \"tproxy\": each pair of addresses is a flow, and answers come from the original address. On a "
            .. "simulated host: what it gets as the gateway of others (host:gateway)." },
        { name = "proxy", type = "boolean", default = false,
          doc = "With on: conns begin with a PROXY protocol header, version 1 or 2, as haproxy, nginx and cloud load balancers send it. The handler gets "
            .. "the conn once the header has come: conn.peer is the client's address then, and conn.local_addr the address that the client "
            .. "connected to. Both stay the conn's own if the header names none (LOCAL, UNKNOWN). A conn without a valid header of at most 4 KiB "
            .. "within 5 s is reset, and counted as ProxyRefused." },
        { name = "proxy_from", type = "list", of = { type = "prefix", required = true, expected = "an IP address or a network",
            doc = "An IP address, or a network." },
          doc = "With proxy: the senders that may connect, addresses and networks such as \"10.0.0.0/8\"; conns of others are reset. Default: all, so "
            .. "anyone who can connect can claim any address." },
      },
    },
    example = [[
kt.listen { on = "127.0.0.1:12948" }:serve(function(conn)
  local stream, err = far:open { client = conn.peer }
  if not stream then return conn:reset(err) end
  kt.splice(conn, stream, { idle = "10m" })
end)]],
  }

  def {
    name = "kt.connect", context = "task", returns = "conn | flow | nil, err", instead = { udp = "flow" }, path = "kt.connect",
    signature = 'kt.connect { to = "host:port" | udp = "host:port", timeout = "5s", proxy = "v2", client = stream } → conn | flow | nil, err',
    doc = "Connects to a TCP port or a unix socket and waits for the outcome. With `udp`, makes a flow to a UDP port, from a port of its own; only a "
      .. "lookup of the host takes time. That flow ends with \"refused\" if the host reports a closed port before anything has come back.",
    fails = { "refused", "timeout", "name", "unreachable", "config" },
    argument = {
      type = "table", main = "to",
      check = function(_, raw, mistake)
        if raw.to == nil and raw.udp == nil then mistake("to", 'missing; expected "host:port", or "unix:/path"') end
        if raw.to ~= nil and raw.udp ~= nil then mistake("udp", "not allowed with to", "call kt.connect twice") end
        if raw.udp ~= nil and raw.proxy ~= nil then mistake("proxy", "only with to") end
        if raw.client ~= nil and raw.proxy == nil then mistake("client", 'only with proxy', 'give proxy = "v2"') end
      end,
      keys = {
        { name = "to", type = "string", constant = with.address, expected = '"host:port", or "unix:/path"', doc = "Where to connect." },
        { name = "udp", type = "string", constant = with.peer, expected = '"host:port"', doc = "Where the datagrams of a flow go, instead of `to`." },
        { name = "timeout", type = "duration", default = 10, doc = "Timeout for the whole call." },
        { name = "proxy", type = "enum", values = { "v1", "v2" },
          doc = "With to: sends a PROXY protocol header of this version first, so that the target learns the client's address. The target must "
            .. "expect it (`accept-proxy` in haproxy, `proxy_protocol` in nginx)." },
        { name = "client", type = "client",
          doc = "With proxy: the client that the conn is for: a conn (its peer, and the address that it connected to), a stream (the client that the peer "
            .. "named in stream.client, else the peer's own address), or an address such as \"192.0.2.7:51234\". Without one, or if it has no IP "
            .. "address, as on a unix socket, the header names none (LOCAL in v2, UNKNOWN in v1)." },
      },
    },
  }

  def {
    name = "kt.splice", context = "task", returns = "summary | nil, err", path = "kt.splice", fails = { "closed", "reset", "timeout", "memory" },
    signature = 'kt.splice(a, b [, { idle = "10m", total = "1h", rate = "2MiB", limit = bucket }]) → { a_to_b, b_to_a, duration, reason, cause } | nil, err',
    doc = "Joins two conns or streams: copies bytes both ways until both directions have ended. It takes both over; other tasks can still "
      .. "call :set and :stats on them. Its own limits and theirs apply together. Also joins two flows, until either ends or both have been silent "
      .. "for `idle`; a flow cannot be joined with a conn or a stream.",
    params = {
      { name = "a", type = "conn | stream | flow", doc = "One end." },
      { name = "b", type = "conn | stream | flow", doc = "The other end." },
    },
    optional = true,
    argument = {
      type = "table",
      keys = {
        { name = "idle", type = "duration", typical = 120,
          doc = "End after this long without a byte in either direction; 0 means never. Default: never; for flows 2 m." },
        { name = "total", type = "duration", default = 0, typical = 1800, doc = "End after this long, even while bytes are moving; 0 means never." },
        { name = "rate", type = "rate", default = 0,
          doc = "Limit for each direction, in bytes per second, or a table with one limit per direction; 0 means no limit. Not for flows.",
          keys = {
            { name = "a_to_b", type = "rate", default = 0, doc = "Limit from a to b." },
            { name = "b_to_a", type = "rate", default = 0, doc = "Limit from b to a." },
          } },
        { name = "limit", type = "handle", kind = "limit", off = true,
          doc = "A limit shared with others (kt.limit), for both directions together, or a table with one per direction. Not for flows.",
          keys = {
            { name = "a_to_b", type = "handle", kind = "limit", doc = "Shared limit from a to b." },
            { name = "b_to_a", type = "handle", kind = "limit", doc = "Shared limit from b to a." },
          } },
        { name = "tap", type = "function", call = "fun(data: string, direction: string)",
          doc = "tap(data, direction): gets the first bytes of each direction (\"a_to_b\", \"b_to_a\"), once, as a task of its own: as soon as `first` "
            .. "bytes have passed, the other direction answers, or this one ends. The splice does not wait for it. Not for flows." },
        { name = "first", type = "size", min = 1, max = 65536, default = 4096, doc = "Maximum number of bytes that tap gets." },
        { name = "mirror", type = "pipe",
          doc = "A conn or stream that gets a copy of what goes from a to b, or a table with one per direction. The splice takes it over, and "
            .. "drops what comes back from it. It never holds up the splice: if it falls more than 256 KiB behind, breaks or ends, it is reset, and "
            .. "the bytes that it did not get are counted in `mirror_dropped`. Not for flows.",
          keys = {
            { name = "a_to_b", type = "pipe", doc = "Gets what goes from a to b." },
            { name = "b_to_a", type = "pipe", doc = "Gets what goes from b to a." },
          } },
        { name = "linger", type = "duration", typical = 10,
          doc = "When one direction ends but the end cannot be passed on (kcptun has no half-close), the other direction "
            .. "continues until it has been quiet for this long. Default: 10 s, or 1 s once bytes have come back; 0 for a stream "
            .. "that the peer opened, where the end of data is also the end of the answer." },
      },
    },
  }

  def {
    name = "kt.limit", context = "any", returns = "limit", path = "limit",
    signature = 'kt.limit { rate = "2Mbit", burst = "256KiB" } → limit',
    doc = "Makes a rate limit that conns, streams and splices share: their bytes together, in both directions, stay within it. Those that have "
      .. "something to move take turns, so each gets the same share of the rate. A byte that passes a splice counts once, even if the splice and "
      .. "both its ends use the limit.",
    argument = {
      type = "table",
      keys = {
        { name = "rate", type = "rate", required = true, expected = 'a rate such as "2Mbit"', doc = "Bytes per second; 0 means no limit." },
        { name = "burst", type = "size", min = 1024, max = 1 << 37,
          doc = "Maximum burst after a pause, in bytes. Default: what the rate allows in an eighth of a second." },
      },
    },
    example = [[
local office = kt.limit { rate = "20Mbit" }
kt.listen { on = "127.0.0.1:12948" }:serve(function(conn)
  conn:set { limit = office }                -- all conns together: 20 Mbit/s
  local stream, err = far:open()
  if not stream then return conn:reset(err) end
  kt.splice(conn, stream)
end)]],
  }

  handle { name = "limit", doc = "A rate limit that several conns, streams and splices share; made by kt.limit. All tasks share it." }
  method("limit", {
    name = "set", context = "any", signature = 'set { rate = "2Mbit", burst = "256KiB" }',
    doc = "Changes the limit, at once, for all that use it. Keys that are not given stay as they are.",
    argument = {
      type = "table",
      keys = {
        { name = "rate", type = "rate", doc = "Bytes per second; 0 means no limit." },
        { name = "burst", type = "size", min = 1024, max = 1 << 37, doc = "Maximum burst after a pause, in bytes." },
      },
    },
  })

  handle {
    name = "listener", doc = "Accepts local connections; made by kt.listen.",
    fields = { { name = "local_addr", type = "string | nil", doc = "The address it listens on, once it is open." } },
  }
  method("listener", {
    name = "serve", context = "any", returns = "listener", signature = "serve(function(conn) … end) → listener",
    doc = serve_doc "conn", params = { handler.conn },
  })
  method("listener", {
    name = "close", context = "any", signature = "close()", doc = "Stops listening. Conns already accepted stay open.",
  })

  handle {
    name = "conn", owned = true, doc = "A local TCP or unix connection.",
    fields = {
      { name = "peer", type = "string | nil",
        doc = "Address of the other end, also after closing. For a unix socket: \"unix:/path\", or \"unix:\" if the other end is unnamed." },
      { name = "local_addr", type = "string | nil", doc = "Address of this end, in the same form; nil once it is closed." },
      { name = "original", type = "string | nil",
        doc = "For a conn diverted to a listener with `transparent`: its original destination; nil if the client connected to the listener itself." },
    },
  }
  handle {
    name = "stream", owned = true, doc = "A reliable, ordered byte pipe inside a link.",
    fields = {
      { name = "peer", type = "string | nil", doc = "Address of the link's other end." },
      { name = "local_addr", type = "string | nil",
        doc = "UDP address of this end while the stream is open: that of its session's socket, or on an acceptor the listening address." },
      { name = "identity", type = "string | nil", doc = "For a stream that the peer opened on kt's wire: the peer's name in `authorized`." },
      { name = "target", type = "string | nil",
        doc = "For a stream that the peer opened on kt's wire: where it asks to be connected (`to` in link:open). Check it before you connect there." },
      { name = "client", type = "string | nil", doc = "Likewise: the client that it is for, as the peer says." },
      { name = "name", type = "string | nil", doc = "Likewise: the name that the peer gave it." },
      { name = "link", type = "string | nil", doc = "For a stream that a pool opened: the name of its link in the pool." },
    },
  }

  -- Conns and streams share these methods.
  for _, kind in ipairs { "conn", "stream" } do
    method(kind, {
      name = "read", context = "task", returns = "string | nil, err",
      signature = 'read([n] [, { timeout = "30s" }]) → data | nil, err',
      doc = "Reads at least 1 and at most n bytes; waits if none have arrived. At the end of the data err.code is \"eof\".",
      fails = { "eof", "timeout", "reset", "closed" },
      params = { { name = "n", type = "integer", min = 1, max = 1 << 20, optional = true, doc = "Maximum number of bytes, up to 1 MiB. Default: 16 KiB." } },
      optional = true, argument = with.patient(),
    })
    method(kind, {
      name = "read_exactly", context = "task", returns = "string | nil, err, string | nil",
      signature = 'read_exactly(n [, { timeout = "30s" }]) → data | nil, err, came',
      doc = "Reads exactly n bytes; waits until they have arrived. On failure, `came` holds the bytes that did arrive. err.code is \"memory\" "
        .. "when all such calls together buffer half of the script's memory limit.",
      fails = { "eof", "timeout", "reset", "closed", "memory" },
      params = { { name = "n", type = "integer", min = 0, max = 1 << 20, doc = "Number of bytes, at most 1 MiB." } },
      optional = true, argument = with.patient(),
    })
    method(kind, {
      name = "read_until", context = "task", returns = "string | nil, err, string | nil",
      signature = 'read_until(delimiter, max [, { timeout = "30s" }]) → data | nil, err, came',
      doc = "Reads up to and including the delimiter, and nothing after it. err.code is \"limit\" if the first max bytes do not contain "
        .. "it. On failure, `came` holds the bytes that did arrive; they are consumed. For \"memory\" see read_exactly.",
      fails = { "eof", "limit", "timeout", "reset", "closed", "memory" },
      params = {
        { name = "delimiter", type = "string", doc = "The delimiter, 1 to 256 bytes." },
        { name = "max", type = "integer", min = 1, max = 1 << 20, doc = "Maximum number of bytes including the delimiter, up to 1 MiB." },
      },
      optional = true, argument = with.patient(),
    })
    method(kind, {
      name = "peek", context = "task", returns = "string | nil, err, string | nil",
      signature = 'peek(n [, { timeout = "30s" }]) → data | nil, err, came',
      doc = "Returns the next n bytes without taking them: they stay for the next read, or for a splice. Waits until they have arrived. On failure, "
        .. "`came` holds those that did arrive. Not for streams of a link with tuncrypt.",
      fails = { "eof", "timeout", "reset", "closed", "unsupported" },
      params = { { name = "n", type = "integer", min = 1, max = 16384, doc = "Number of bytes, at most 16 KiB." } },
      optional = true, argument = with.patient(),
    })
    method(kind, {
      name = "write", context = "task", returns = "integer | nil, err, integer | nil",
      signature = 'write(data [, { timeout = "30s" }]) → #data | nil, err, taken',
      doc = "Writes all of the data; waits until it has been accepted. On failure, `taken` is the number of bytes accepted.",
      fails = { "timeout", "reset", "closed" },
      params = { { name = "data", type = "string", doc = "The bytes to write." } },
      optional = true, argument = with.patient(),
    })
    method(kind, {
      name = "shutdown", context = "any", signature = "shutdown()",
      doc = "Half-closes it: the other end reads \"eof\" after the last byte, and this end can still read. kcptun has no half-close, so "
        .. "towards a kcptun peer this takes effect at close.",
    })
    method(kind, {
      name = "close", context = "any", signature = "close()",
      doc = "Closes it after delivering what was written. Safe to call twice.",
    })
    method(kind, {
      name = "reset", context = "any", signature = "reset([err])",
      doc = "Ends it immediately and drops what was not delivered. The other end sees a reset. The reason is logged, and a stream passes it "
        .. "on to a kt peer. A kcptun peer sees a normal end, because its wire has no reset.",
      params = { { name = "reason", type = "err | string", optional = true, doc = "The reason. Up to 127 bytes of it reach the other end." } },
    })
  end

  local function set(kind, signature, doc, keys)
    method(kind, {
      name = "set", context = "any", returns = "boolean | nil, err", signature = signature,
      doc = doc .. " May be called at any time, also during a splice; the lowest limit applies. Keys that are not given stay as they are. "
        .. "When idle or total expires, the " .. kind .. " is reset, and waiting calls and a splice fail with \"idle\" or \"total\".",
      fails = { "closed" },
      argument = { type = "table", keys = keys, elsewhere = elsewhere(kind) },
    })
  end

  set("conn", 'set { rate_in = "2MiB", rate_out = 0, idle = "10m", total = "1h", user_timeout = "60s" } → true | nil, err',
    "Sets the conn's limits.", concat(limits(), {
      { name = "user_timeout", type = "duration", typical = 60,
        doc = 'TCP only: reset the conn ("timeout") if data was sent and the other machine has been silent for this long, or up to 25% '
          .. "longer. An application that is alive but does not read is not affected. 0 means the system's limit, about 15 minutes. Default: 60 s." },
    }))
  set("stream", 'set { priority = 0, weight = 32, rate_in = "2MiB", rate_out = 0, idle = "10m", total = "1h" } → true | nil, err',
    "Sets the stream's limits, and its priority among the streams that this end sends on the link.",
    concat(wire.policy(), limits()))

  method("conn", {
    name = "stats", context = "any", returns = "connstats", signature = "stats() → connstats",
    doc = "Returns the conn's current statistics; also during a splice and after closing.",
  })
  method("stream", {
    name = "stats", context = "any", returns = "streamstats", signature = "stats() → streamstats",
    doc = "Returns the stream's current statistics; also during a splice. After closing, those of its session are 0.",
  })

  record {
    name = "summary", doc = "The result of a splice.",
    fields = {
      { name = "a_to_b", type = "integer", doc = "Bytes copied from a to b." },
      { name = "b_to_a", type = "integer", doc = "Bytes copied from b to a." },
      { name = "duration", type = "number", doc = "Duration in seconds." },
      { name = "reason", type = "string", values = { "end" }, codes = true,
        doc = '"end", or the err.code of what ended it. Flows have no end of their own: mostly "idle" or "closed".' },
      { name = "mirrored", type = "integer | nil", doc = "Bytes that mirrors took; nil without a mirror, or without a byte." },
      { name = "mirror_dropped", type = "integer | nil", doc = "Bytes that mirrors did not get: 0 if the copy is complete." },
      { name = "cause", type = "err | nil",
        doc = 'With reason "reset", why the peer (a kt) reset the stream: an err with its code ("refused", "timeout", ...) and sentence.' },
    },
  }

  record { name = "connstats", doc = "Statistics of a conn.", fields = with.statistics "pipe" }

  record {
    name = "streamstats", doc = "Statistics of a stream. From srtt on they are those of its session on kcptun's wire, which has none per stream.",
    fields = with.statistics("pipe", "stream"),
  }
end
