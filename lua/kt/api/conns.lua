--- The part of kt.api that describes listeners, conns, streams, and the splice that joins them.
local wire = require "kt.api.wire"

-- What :set of a conn and of a stream share, and what people look for there in vain.
local function limits()
  return {
    { name = "rate_in", type = "rate", doc = "The most that comes out of it, in bytes a second; 0: no limit." },
    { name = "rate_out", type = "rate", doc = "The most that goes into it, in bytes a second; 0: no limit." },
    { name = "idle", type = "duration", doc = "It breaks when nothing has moved either way for so long; 0: never." },
    { name = "total", type = "duration", doc = "It breaks so long after it began; 0: never." },
  }
end

local function elsewhere(own)
  local out = { rate = { "which way?", "give rate_in, rate_out, or both" } }
  for _, key in ipairs { "mode", "kcp", "fec", "suspect_after", "dead_after" } do
    out[key] = {
      own == "stream" and "no stream has its own on the kcptun wire: all of a session share it" or "a conn has none; it is the link's",
      ("set it for the whole link: link:set { %s = ... }"):format(key),
    }
  end
  if own == "conn" then
    for _, key in ipairs { "priority", "weight" } do
      out[key] = { "a conn has none; streams of a link have", ("stream:set { %s = ... }"):format(key) }
    end
  end
  return out
end

return function(with)
  local def, handle, method, record, concat, handler, serve_doc = with.def, with.handle, with.method, with.record, with.concat, with.handler, with.serve_doc

  def {
    name = "kt.listen", context = "any", returns = "listener | nil, err", path = "listen",
    signature = 'kt.listen { on = "127.0.0.1:12948" } → listener | nil, err',
    doc = "Takes local connections, TCP or unix. In the main chunk it is declared, and opened at start; in a task it is opened at once.",
    fails = { "in_use", "denied", "config" },
    argument = {
      type = "table",
      keys = {
        { name = "on", type = "endpoint", allow = "uz", required = true,
          expected = '"127.0.0.1:12948", ":12948", or "unix:/path"', doc = "Where to listen." },
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
    name = "kt.connect", context = "task", returns = "conn | nil, err", path = "kt.connect",
    signature = 'kt.connect { to = "host:port", timeout = "5s" } → conn | nil, err',
    doc = "Connects to a TCP port or a unix socket, and waits until that has worked or failed.",
    fails = { "refused", "timeout", "name", "unreachable", "config" },
    argument = {
      type = "table",
      keys = {
        { name = "to", type = "string", required = true, expected = '"host:port", or "unix:/path"', doc = "Where to." },
        { name = "timeout", type = "duration", default = 10, doc = "How long it may take." },
      },
    },
  }

  def {
    name = "kt.splice", context = "task", returns = "summary | nil, err", path = "kt.splice",
    signature = 'kt.splice(a, b [, { idle = "10m", total = "1h", rate = "2MiB" }]) → { a_to_b, b_to_a, duration, reason, cause } | nil, err',
    doc = "Joins two conns or streams, takes both over, and waits until both directions have ended. Other tasks can still call :set and "
      .. ":stats of the two; its limits and theirs all hold.",
    params = {
      { name = "a", type = "conn | stream", doc = "One of the two." },
      { name = "b", type = "conn | stream", doc = "The other." },
    },
    optional = true,
    argument = {
      type = "table",
      keys = {
        { name = "idle", type = "duration", default = 0, doc = "Ends when nothing has moved for so long; 0: never." },
        { name = "total", type = "duration", default = 0, doc = "Ends after so long, whatever moves; 0: never." },
        { name = "rate", type = "rate", default = 0,
          doc = "The most that moves each way, in bytes a second, or a table with one for each way; 0: no limit.",
          keys = {
            { name = "a_to_b", type = "rate", default = 0, doc = "From the first to the second." },
            { name = "b_to_a", type = "rate", default = 0, doc = "From the second to the first." },
          } },
        { name = "linger", type = "duration",
          doc = "Where the end of one direction cannot be passed on (a kcptun peer knows no half-close), the other may go on until it "
            .. "was quiet for so long. Default: 10 s, or 1 s once something has come back; 0 for a stream that the peer "
            .. "opened, to which the end is the answer's end." },
      },
    },
  }

  handle {
    name = "listener", doc = "Takes local connections, as kt.listen made it.",
    fields = { { name = "local_addr", type = "string | nil", doc = "Where it listens, once it does." } },
  }
  method("listener", {
    name = "serve", context = "any", returns = "listener", signature = "serve(function(conn) … end) → listener",
    doc = serve_doc "conn", params = { handler.conn },
  })
  method("listener", {
    name = "close", context = "any", signature = "close()", doc = "Takes no more conns; those that are there go on.",
  })

  handle {
    name = "conn", doc = "A local TCP or unix connection.",
    fields = {
      { name = "peer", type = "string | nil",
        doc = "The other end's address; kept when it is closed. Of a unix socket \"unix:/path\", or \"unix:\" where the other end has no name." },
      { name = "local_addr", type = "string | nil", doc = "This end's address, while it is open, written likewise." },
    },
  }
  handle {
    name = "stream", doc = "A reliable, ordered pipe of bytes inside a link.",
    fields = {
      { name = "peer", type = "string | nil", doc = "The other end of the link." },
      { name = "local_addr", type = "string | nil",
        doc = "The UDP address of this end, while the stream is open: where its session's socket is bound, on an acceptor the one it listens on." },
    },
  }

  -- What tasks read and write. A conn and a stream have the same methods.
  for _, kind in ipairs { "conn", "stream" } do
    method(kind, {
      name = "read", context = "task", returns = "string | nil, err",
      signature = 'read([n] [, { timeout = "30s" }]) → data | nil, err',
      doc = "What has arrived, at least 1 and at most n bytes; waits if nothing has. err.code is \"eof\" at the end of the data.",
      fails = { "eof", "timeout", "reset", "closed" },
      params = { { name = "n", type = "integer", min = 1, max = 1 << 20, optional = true, doc = "The most bytes, up to 1 MiB; 16 KiB unless given." } },
      optional = true, argument = with.patient(),
    })
    method(kind, {
      name = "read_exactly", context = "task", returns = "string | nil, err, string | nil",
      signature = 'read_exactly(n [, { timeout = "30s" }]) → data | nil, err, came',
      doc = "Waits for n bytes; nothing behind them is read. When it fails, `came` is what had arrived. err.code is \"memory\" when what all "
        .. "such calls have gathered is half of the script's memory limit.",
      fails = { "eof", "timeout", "reset", "closed", "memory" },
      params = { { name = "n", type = "integer", min = 0, max = 1 << 20, doc = "How many bytes, at most 1 MiB." } },
      optional = true, argument = with.patient(),
    })
    method(kind, {
      name = "read_until", context = "task", returns = "string | nil, err, string | nil",
      signature = 'read_until(delimiter, max [, { timeout = "30s" }]) → data | nil, err, came',
      doc = "All bytes up to the delimiter and with it; nothing behind it is read. err.code is \"limit\" when there is no delimiter "
        .. "within max bytes. When it fails, `came` is what had arrived, which counts as read. \"memory\": see read_exactly.",
      fails = { "eof", "limit", "timeout", "reset", "closed", "memory" },
      params = {
        { name = "delimiter", type = "string", doc = "What ends it, 1 to 256 bytes." },
        { name = "max", type = "integer", min = 1, max = 1 << 20, doc = "The most bytes, the delimiter's among them; up to 1 MiB." },
      },
      optional = true, argument = with.patient(),
    })
    method(kind, {
      name = "write", context = "task", returns = "integer | nil, err, integer | nil",
      signature = 'write(data [, { timeout = "30s" }]) → #data | nil, err, taken',
      doc = "Waits until all of the data was taken, in order. When it fails, `taken` is how many bytes were.",
      fails = { "timeout", "reset", "closed" },
      params = { { name = "data", type = "string", doc = "The bytes." } },
      optional = true, argument = with.patient(),
    })
    method(kind, {
      name = "shutdown", context = "any", signature = "shutdown()",
      doc = "Ends sending; the other end reads \"eof\" when it has read all. Reading goes on. Towards a kcptun peer, which knows no "
        .. "half-close, it is held back until close.",
    })
    method(kind, {
      name = "close", context = "any", signature = "close()",
      doc = "Delivers what was written, then ends it. Closing twice is harmless.",
    })
    method(kind, {
      name = "reset", context = "any", signature = "reset([err])",
      doc = "Ends it at once, dropping what was not delivered; a reason is logged. The other end sees a reset. A stream carries the reason to a "
        .. "kt at the other end; a kcptun peer sees an orderly end, as its wire has no reset.",
      params = { { name = "reason", type = "err | string", optional = true, doc = "Why. Up to 127 bytes reach the other end." } },
    })
  end

  local function set(kind, signature, doc, keys)
    method(kind, {
      name = "set", context = "any", returns = "boolean | nil, err", signature = signature,
      doc = doc .. " At any time, also while a splice has it: the least of all limits counts. What is not given stays as it is. When a "
        .. "time has passed, it is reset, and whoever waits gets an err \"idle\" or \"total\", which is also the splice's reason.",
      fails = { "closed" },
      argument = { type = "table", keys = keys, elsewhere = elsewhere(kind) },
    })
  end

  set("conn", 'set { rate_in = "2MiB", rate_out = 0, idle = "10m", total = "1h", user_timeout = "60s" } → true | nil, err',
    "Sets limits of the conn.", concat(limits(), {
      { name = "user_timeout", type = "duration",
        doc = 'TCP: it breaks ("timeout") when something was sent and nothing came from the other machine for this long, and up to a quarter '
          .. "more. An application that is there and does not read is left alone. 0: when the system gives up, after about 15 minutes. "
          .. '"60s" until set.' },
    }))
  set("stream", 'set { priority = 0, weight = 32, rate_in = "2MiB", rate_out = 0, idle = "10m", total = "1h" } → true | nil, err',
    "Sets the stream's place among those that this end sends on the link, and its limits.",
    concat(wire.policy(), limits()))

  method("conn", {
    name = "stats", context = "any", returns = "connstats", signature = "stats() → connstats",
    doc = "The figures of the conn, as they are now; also while a splice has it, and after its end.",
  })
  method("stream", {
    name = "stats", context = "any", returns = "streamstats", signature = "stats() → streamstats",
    doc = "The figures of the stream, as they are now; also while a splice has it. After its end the session's are 0.",
  })

  record {
    name = "summary", doc = "What a splice has done.",
    fields = {
      { name = "a_to_b", type = "integer", doc = "Bytes from the first to the second." },
      { name = "b_to_a", type = "integer", doc = "Bytes from the second to the first." },
      { name = "duration", type = "number", doc = "Seconds." },
      { name = "reason", type = "string", doc = '"end", or the err.code of what cut it short.' },
      { name = "cause", type = "err | nil",
        doc = 'Why the far kt reset the stream, when reason is "reset": its code ("refused", "timeout", ...) and sentence.' },
    },
  }

  local passed = {
    { name = "bytes_in", type = "integer", doc = "Bytes that have come out of it." },
    { name = "bytes_out", type = "integer", doc = "Bytes that have gone into it." },
    { name = "rate_in", type = "number", doc = "Bytes a second that come out of it, since `:stats` was called before, or since it was "
      .. "made; calls within a quarter of a second are one." },
    { name = "rate_out", type = "number", doc = "Bytes a second that go into it, likewise." },
    { name = "since", type = "number", doc = "Seconds since it began, until its end." },
  }

  record { name = "connstats", doc = "The figures of a conn.", fields = passed }

  record {
    name = "streamstats", doc = "The figures of a stream.",
    fields = concat(passed, {
      { name = "priority", type = "integer", doc = "Its priority." },
      { name = "weight", type = "integer", doc = "Its weight." },
      { name = "queued", type = "integer", doc = "Bytes written that have not left for the network's queue." },
      { name = "srtt", type = "number", doc = "Smoothed round-trip time, in seconds; on the kcptun wire of its session, as what follows." },
      { name = "rttvar", type = "number", doc = "Its variation, in seconds." },
      { name = "loss", type = "number", doc = "Share of segments lost over the last seconds, 0 to 1, as in the link's stats." },
      { name = "retransmitted", type = "integer", doc = "Segments sent again since the session began." },
      { name = "recovered", type = "integer", doc = "Segments that FEC has rebuilt here since the session began." },
      { name = "inflight", type = "integer", doc = "Segments sent and not yet acknowledged." },
    }),
  }
end
