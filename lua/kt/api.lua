--- The one description of the API: what a script can call and read, where, and with what. Made from it: the binding check
--- (kt/init.lua, and script/opts.c asks it for the sentence), `kt check`, `kt help`, lua/meta/kt.lua, docs/reference.md. A
--- symbol that is bound and not described here, or described and not bound, fails spec/api_spec.lua.
---
--- api.functions, a list and by name: "kt.link" or, for a method, "link:open":
---   context     where it may be called: "declare" (the main chunk), "task", "any"
---   signature   how it is written; begins with the name
---   doc         what it does, in sentences
---   returns     kinds by position, "stream | nil, err"; names of api.handles, api.records, or Lua's own
---   fails       the err.codes to reckon with, most likely first
---   params      what comes before `argument`, or in its place: { name, type, doc, optional }; "..." is the rest
---   argument    the table or unit that it takes, described for kt.schema, whose mistakes begin with `path`
---   optional    `argument` may be left out
---   example     lines to copy
---   since       the first version that has it
--- api.values: what is in the kt table and is no function. api.handles: what constructors return; their methods are
--- among the functions. api.records: plain tables that calls return. api.codes: every err.code.
local api = { functions = {}, values = {}, handles = {}, records = {}, codes = {} }

local function def(f)
  f.since = f.since or "0.1.0"
  api.functions[#api.functions + 1] = f
  api.functions[f.name] = f
end

-- What kt.link and kt.accept share. The defaults are kcptun's.

local ciphers = {
  "aes", "aes-128", "aes-192", "aes-128-gcm", "salsa20", "blowfish", "twofish", "cast5", "3des", "tea", "xtea", "xor",
  "sm4", "none", "null",
}
local modes = { "normal", "fast", "fast2", "fast3", "manual", "default" }
local manual = { nodelay = false, interval = 50, resend = 0, nc = false }

local function kcp(client)
  return {
    name = "kcp", type = "table", default = {},
    doc = "KCP's own settings.",
    keys = {
      { name = "mtu", type = "integer", min = 128, max = 1500, default = 1350, doc = "Largest UDP payload, in bytes." },
      { name = "sndwnd", type = "integer", min = 1, max = 65535, default = client and 128 or 1024,
        doc = "Send window, in packets: what may be under way." },
      { name = "rcvwnd", type = "integer", min = 1, max = 65535, default = client and 512 or 1024,
        doc = "Receive window, in packets." },
      { name = "nodelay", type = "flag", doc = 'Quicker retransmission timeouts. Only with mode = "manual".' },
      { name = "interval", type = "integer", min = 10, max = 5000,
        doc = 'Milliseconds between flushes. Only with mode = "manual".' },
      { name = "resend", type = "integer", min = 0, max = 255,
        doc = 'Retransmit after so many later acknowledgements; 0: never. Only with mode = "manual".' },
      { name = "nc", type = "flag", doc = 'No congestion window. Only with mode = "manual".' },
      { name = "acknodelay", type = "boolean", default = false, doc = "Acknowledge at once rather than at the next flush." },
    },
  }
end

local function rules(out, raw, mistake)
  local own = type(raw.kcp) == "table" and raw.kcp or {}
  for _, key in ipairs { "nodelay", "interval", "resend", "nc" } do
    if out.mode ~= "manual" and own[key] ~= nil then
      mistake("kcp." .. key, ('mode = "%s" sets it'):format(out.mode or "fast"), 'give mode = "manual" to set it yourself')
    elseif out.mode == "manual" and out.kcp and out.kcp[key] == nil then
      out.kcp[key] = manual[key]
    end
  end
end

local function fec_rule(out, _, mistake)
  if out.data and out.parity and out.data + out.parity > 255 then
    mistake("parity", ("data + parity is %d; wanted at most 255"):format(out.data + out.parity))
  end
end

local function smux_rule(out, _, mistake)
  if out.buffer and out.stream_buffer and out.stream_buffer > out.buffer then
    mistake("stream_buffer", ("%d bytes is more than buffer, which all streams share (%d)"):format(
      out.stream_buffer, out.buffer))
  end
end

local function wire_keys(client)
  return {
    { name = "wire", type = "enum", values = { "kcptun" }, default = "kcptun", doc = "The protocol on the wire." },
    { name = "key", type = "secret", required = true, wanted = 'a string, or kt.secret_file "psk.key"',
      doc = "The secret that both ends share." },
    { name = "crypt", type = "enum", values = ciphers, default = "aes", doc = "Cipher; the same at both ends." },
    { name = "mode", type = "enum", values = modes, default = "fast",
      doc = 'How eagerly KCP retransmits. "manual": as kcp says; "default": KCP\'s own.' },
    kcp(client),
    { name = "fec", type = "table", default = {}, off = true, check = fec_rule,
      doc = "Forward error correction; the same at both ends; false: none.",
      keys = {
        { name = "data", type = "integer", min = 0, max = 255, default = 10, doc = "Packets in a group; 0: no FEC." },
        { name = "parity", type = "integer", min = 0, max = 255, default = 3, doc = "Parity packets for each; 0: no FEC." },
      } },
    { name = "compress", type = "boolean", default = true, doc = "Snappy compression; the same at both ends." },
    { name = "qpp", type = "table", default = false, off = true, on = true,
      doc = "Quantum Permutation Pads; the same at both ends; true: with 61 pads.",
      keys = { { name = "pads", type = "integer", min = 1, max = 4096, default = 61, doc = "How many pads." } } },
    { name = "tuncrypt", type = "boolean", default = false,
      doc = "A second, end-to-end layer of encryption in each stream; needs kt at both ends." },
    { name = "smux", type = "table", default = {}, check = smux_rule,
      doc = "The multiplexer.",
      keys = {
        { name = "version", type = "integer", min = 1, max = 2, default = 2, doc = "The same at both ends." },
        { name = "buffer", type = "size", min = 65536, max = 1 << 31, default = 4194304,
          doc = "Received bytes that a session holds for all its streams." },
        { name = "stream_buffer", type = "size", min = 8192, max = 0x7fffffff, default = 2097152,
          doc = "... and for one stream." },
        { name = "frame", type = "integer", min = 1, max = 65535, default = 8192, doc = "Most bytes in a frame." },
        { name = "keepalive", type = "duration", min = 1, max = 30, default = 10, doc = "Time between heartbeats." },
      } },
    { name = "dead_after", type = "duration", min = 1, max = 60, default = 5,
      doc = "A peer that owes an answer for so long is dead." },
    { name = "rate", type = "rate", default = 0, doc = "Most that a session sends, in bytes of UDP payload; 0: no limit." },
    { name = "dscp", type = "integer", min = 0, max = 63, default = 0, doc = "DSCP of the packets sent." },
    { name = "sockbuf", type = "size", max = 1 << 30, default = 4194304, doc = "Socket buffer, each way." },
  }
end

local function concat(...)
  local out = {}
  for _, list in ipairs { ... } do table.move(list, 1, #list, #out + 1, out) end
  return out
end

def {
  name = "kt.link", context = "declare", returns = "link", path = "link",
  signature = "kt.link { remote = …, key = …, … } → link",
  doc = "Declares a link to a peer. It dials when the first stream is opened, and again whenever the peer was lost.",
  argument = {
    type = "table", check = rules,
    keys = concat({
      { name = "remote", type = "endpoint", allow = "rh", required = true,
        wanted = '"host:port", or "host:min-max" for a port drawn anew at each dialling', doc = "The peer." },
    }, wire_keys(true), {
      { name = "sessions", type = "integer", min = 1, max = 1024, default = 1, doc = "Sessions, used in rotation." },
      { name = "expire", type = "duration", default = 0,
        doc = "A session takes no new streams after so long; 0: never." },
      { name = "scavenge", type = "duration", default = 600, doc = "... and is cut after so long again." },
    }),
  },
  example = [[
local far = kt.link { remote = "vps.example:29900", key = kt.secret_file "psk.key", mode = "fast2" }]],
}

def {
  name = "kt.accept", context = "declare", returns = "acceptor", path = "accept",
  signature = "kt.accept { on = …, key = …, … } → acceptor",
  doc = "Declares that links are taken from peers.",
  argument = {
    type = "table", check = rules,
    keys = concat({
      { name = "on", type = "endpoint", allow = "rz", required = true,
        wanted = '":29900", "ip:port", or a range of ports ":3000-3010"', doc = "Where to listen, UDP." },
    }, wire_keys(false)),
  },
  example = [[
kt.accept { on = ":29900", key = kt.secret_file "psk.key" }:serve(function(stream)
  local conn, err = kt.connect { to = "127.0.0.1:8388" }
  if not conn then return stream:reset(err) end
  kt.splice(stream, conn)
end)]],
}

def {
  name = "kt.listen", context = "declare", returns = "listener", path = "listen",
  signature = 'kt.listen { on = "127.0.0.1:12948" } → listener',
  doc = "Declares that local connections are taken, TCP or unix.",
  argument = {
    type = "table",
    keys = {
      { name = "on", type = "endpoint", allow = "uz", required = true,
        wanted = '"127.0.0.1:12948", ":12948", or "unix:/path"', doc = "Where to listen." },
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
  name = "kt.connect", context = "task", returns = "conn | nil, err", path = "connect",
  signature = 'kt.connect { to = "host:port", timeout = "5s" } → conn | nil, err',
  doc = "Connects to a TCP port or a unix socket, and waits until that has worked or failed.",
  fails = { "refused", "timeout", "name", "unreachable", "config" },
  argument = {
    type = "table",
    keys = {
      { name = "to", type = "string", required = true, wanted = '"host:port", or "unix:/path"', doc = "Where to." },
      { name = "timeout", type = "duration", default = 10, doc = "How long it may take." },
    },
  },
}

def {
  name = "kt.splice", context = "task", returns = "summary | nil, err", path = "splice",
  signature = 'kt.splice(a, b [, { idle = "10m", linger = "10s" }]) → { a_to_b, b_to_a, duration, reason } | nil, err',
  doc = "Joins two conns or streams, takes both over, and waits until both directions have ended.",
  params = {
    { name = "a", type = "conn | stream", doc = "One of the two." },
    { name = "b", type = "conn | stream", doc = "The other." },
  },
  optional = true,
  argument = {
    type = "table",
    keys = {
      { name = "idle", type = "duration", default = 0, doc = "Ends when nothing has moved for so long; 0: never." },
      { name = "linger", type = "duration",
        doc = "Where the end of one direction cannot be passed on (a kcptun peer knows no half-close), the other may go on until it "
          .. "was quiet for so long. Default: 10 s, or 1 s once something has come back; 0 for a stream that the peer "
          .. "opened, to which the end is the answer's end." },
    },
  },
}

def {
  name = "kt.udp", context = "any", returns = "socket | nil, err", path = "udp",
  signature = 'kt.udp { on = ":5353" | to = "host:port" } → socket | nil, err',
  doc = "A UDP socket: bound to an address, or talking to one peer, or both. In the main chunk it is declared, and opened at start; "
    .. "in a task it is opened at once, and closed when the task ends.",
  fails = { "in_use", "denied", "name", "timeout", "unreachable", "config" },
  argument = {
    type = "table",
    check = function(out, _, mistake)
      if not out.on and not out.to then mistake("on", 'missing; wanted on = ":5353", or to = "host:port"') end
    end,
    keys = {
      { name = "on", type = "endpoint", allow = "z", wanted = '":5353", or "ip:port"', doc = "The address to bind; port 0: any." },
      { name = "to", type = "string", doc = "The only peer it talks to; a name is looked up, in a task only." },
      { name = "timeout", type = "duration", max = 86400, default = 10, doc = "How long looking up the name may take." },
      { name = "queue", type = "size", min = 4096, max = 16 << 20, default = 65536,
        doc = "Bytes of datagrams that wait to be received (each counts 32 more); past it they are dropped and counted." },
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
  name = "kt.sleep", context = "task", path = "kt.sleep",
  signature = 'kt.sleep "500ms"',
  doc = "Waits. kt.sleep(0) lets the others run.",
  argument = { type = "duration", wanted = 'a duration such as "500ms"' },
}

def {
  name = "kt.spawn", context = "any", signature = "kt.spawn(fn, …)",
  doc = "Runs fn(…) as a task: when the runtime starts, or at the end of this turn. Conns, streams and sockets among the arguments "
    .. "become the new task's.",
  params = {
    { name = "fn", type = "function", doc = "The task." },
    { name = "...", type = "any", doc = "What it is called with." },
  },
}

def {
  name = "kt.now", context = "any", returns = "number", signature = "kt.now() → seconds",
  doc = "A clock that only goes forward, in seconds; it stands still while a task runs.",
}

def {
  name = "kt.secret", context = "any", returns = "secret", signature = "kt.secret(string) → secret",
  doc = "A string that never prints.",
  params = { { name = "text", type = "string", doc = "What is secret." } },
}

def {
  name = "kt.secret_file", context = "any", returns = "secret", signature = 'kt.secret_file "psk.key" → secret',
  doc = "A file's content, without one trailing newline. A relative path starts at the script's own folder. Raises when the "
    .. "file is empty or cannot be read; warns when every user can read it.",
  params = { { name = "path", type = "string", doc = "The file." } },
}

for _, level in ipairs { "debug", "info", "warn", "error" } do
  def {
    name = "kt.log." .. level, context = "any", signature = ("kt.log.%s(fmt, …)"):format(level),
    doc = "One line in the log, formatted as by string.format; a message alone is taken as it is.",
    params = {
      { name = "fmt", type = "string", doc = "The message, or a format for it." },
      { name = "...", type = "any", doc = "What the format asks for." },
    },
  }
end

api.values = {
  { name = "kt.version", type = "string", doc = 'The version of kt, such as "0.1.0".', since = "0.1.0" },
  { name = "kt.log", type = "table", doc = "The log: one function for each level.", since = "0.1.0" },
}

-- Not for scripts: what the verbs in the binary pass to kt.core.
api.internal = {
  ["kt.core.drain_timeout"] = { path = "drain_timeout", argument = { type = "duration" } },
}

-- Handles: a list and by name. The fields are lists; the methods are functions "kind:name".

local function handle(h)
  api.handles[#api.handles + 1] = h
  api.handles[h.name] = h
  h.fields, h.methods = h.fields or {}, {}
end

--- A method of a kind: as def, without the kind in name and signature.
local function method(kind, m)
  m.signature = kind .. ":" .. m.signature
  m.name = kind .. ":" .. m.name
  def(m)
  local methods = api.handles[kind].methods
  methods[#methods + 1] = m
end

local handler = {
  conn = { name = "handler", type = "fun(conn: conn)", doc = "Called with each conn." },
  stream = { name = "handler", type = "fun(stream: stream)", doc = "Called with each stream." },
}

local function serve_doc(what)
  return ("Sets the function that gets each %s, in a task of its own, and returns the handle. The task owns the %s: when the "
    .. "function returns it is closed, when it fails it is reset. Once for each handle."):format(what, what)
end

handle {
  name = "link", doc = "A link to a peer, as kt.link declared it. Shared by all tasks.",
  fields = { { name = "remote", type = "string", doc = "The peer, as declared." } },
}
method("link", {
  name = "open", context = "task", returns = "stream | nil, err", path = "open",
  signature = 'open { timeout = "5s", client = conn.peer } → stream | nil, err',
  doc = "Opens a stream to the peer, dialling it first if need be.",
  fails = { "timeout", "closed", "dead", "limit" },
  optional = true,
  argument = {
    type = "table",
    keys = {
      { name = "timeout", type = "duration", default = 10, doc = "How long it may take." },
      { name = "client", type = "string", doc = "On whose behalf; for the log." },
    },
  },
})
method("link", {
  name = "stats", context = "any", returns = "stats", signature = "stats() → stats", doc = "The figures of the link, as they are now.",
})
method("link", {
  name = "close", context = "any", signature = "close()",
  doc = "Closes the link. Its streams break, and whoever waits for one gets an err \"closed\".",
})

handle { name = "acceptor", doc = "Takes links from peers, as kt.accept declared it." }
method("acceptor", {
  name = "serve", context = "declare", returns = "acceptor", signature = "serve(function(stream) … end) → acceptor",
  doc = serve_doc "stream", params = { handler.stream },
})
method("acceptor", {
  name = "stats", context = "any", returns = "stats", signature = "stats() → stats",
  doc = "The figures of all links together; times are of the one heard last.",
})
method("acceptor", {
  name = "close", context = "any", signature = "close()", doc = "Closes it and all its links.",
})

handle {
  name = "listener", doc = "Takes local connections, as kt.listen declared it.",
  fields = { { name = "local_addr", type = "string | nil", doc = "Where it listens, once it does." } },
}
method("listener", {
  name = "serve", context = "declare", returns = "listener", signature = "serve(function(conn) … end) → listener",
  doc = serve_doc "conn", params = { handler.conn },
})
method("listener", {
  name = "close", context = "any", signature = "close()", doc = "Takes no more conns; those that are there go on.",
})

handle {
  name = "conn", doc = "A local TCP or unix connection.",
  fields = {
    { name = "peer", type = "string | nil", doc = "The other end's address; kept when it is closed." },
    { name = "local_addr", type = "string | nil", doc = "This end's address, while it is open." },
  },
}
handle {
  name = "stream", doc = "A reliable, ordered pipe of bytes inside a link.",
  fields = { { name = "peer", type = "string | nil", doc = "The other end of the link." } },
}

local function patient() -- the argument of what waits
  return { type = "table", keys = { { name = "timeout", type = "duration", default = 30, doc = "How long the whole call may take." } } }
end

-- What tasks read and write. A conn and a stream have the same methods.
for _, kind in ipairs { "conn", "stream" } do
  method(kind, {
    name = "read", context = "task", returns = "string | nil, err", path = "read",
    signature = 'read([n] [, { timeout = "30s" }]) → data | nil, err',
    doc = "What has arrived, at least 1 and at most n bytes; waits if nothing has. err.code is \"eof\" at the end of the data.",
    fails = { "eof", "timeout", "reset", "closed" },
    params = { { name = "n", type = "integer", optional = true, doc = "The most bytes, up to 1 MiB; 16 KiB unless given." } },
    optional = true, argument = patient(),
  })
  method(kind, {
    name = "read_exactly", context = "task", returns = "string | nil, err, string | nil", path = "read_exactly",
    signature = 'read_exactly(n [, { timeout = "30s" }]) → data | nil, err, came',
    doc = "Waits for n bytes; nothing behind them is read. When it fails, `came` is what had arrived.",
    fails = { "eof", "timeout", "reset", "closed" },
    params = { { name = "n", type = "integer", doc = "How many bytes, at most 1 MiB." } },
    optional = true, argument = patient(),
  })
  method(kind, {
    name = "read_until", context = "task", returns = "string | nil, err, string | nil", path = "read_until",
    signature = 'read_until(delimiter, max [, { timeout = "30s" }]) → data | nil, err, came',
    doc = "All bytes up to the delimiter and with it; nothing behind it is read. err.code is \"limit\" when there is no delimiter "
      .. "within max bytes. When it fails, `came` is what had arrived, which counts as read.",
    fails = { "eof", "limit", "timeout", "reset", "closed" },
    params = {
      { name = "delimiter", type = "string", doc = "What ends it, 1 to 256 bytes." },
      { name = "max", type = "integer", doc = "The most bytes, the delimiter's among them; up to 1 MiB." },
    },
    optional = true, argument = patient(),
  })
  method(kind, {
    name = "write", context = "task", returns = "integer | nil, err, integer | nil", path = "write",
    signature = 'write(data [, { timeout = "30s" }]) → #data | nil, err, taken',
    doc = "Waits until all of the data was taken, in order. When it fails, `taken` is how many bytes were.",
    fails = { "timeout", "reset", "closed" },
    params = { { name = "data", type = "string", doc = "The bytes." } },
    optional = true, argument = patient(),
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
    doc = "Ends it at once, dropping what was not delivered; a reason is logged.",
    params = { { name = "reason", type = "err | string", optional = true, doc = "Why." } },
  })
end

handle {
  name = "socket", doc = "A UDP socket, as kt.udp made it.",
  fields = {
    { name = "local_addr", type = "string | nil", doc = "Where it is bound, while it is open." },
    { name = "peer", type = "string | nil", doc = "Whom it talks to; nil without `to`." },
  },
}
method("socket", {
  name = "receive", context = "task", returns = "string | nil, string | err", path = "receive",
  signature = 'receive { timeout = "30s" } → data, from | nil, err',
  doc = "The next datagram and its sender's address. A socket made with `to` also tells that nobody listens there (\"refused\").",
  fails = { "timeout", "refused", "closed" },
  optional = true, argument = patient(),
})
method("socket", {
  name = "send", context = "task", returns = "boolean | nil, err", path = "send",
  signature = 'send(data [, "host:port"] [, { timeout = "30s" }]) → true | nil, err',
  doc = "Sends a datagram. Waits while the system takes no more. Whether it arrives, nobody knows.",
  fails = { "limit", "name", "unreachable", "timeout", "closed" },
  params = {
    { name = "data", type = "string", doc = "The datagram, at most 2048 bytes." },
    { name = "to", type = "string", optional = true,
      doc = "An address, such as `from`; a name is looked up. Only for a socket that was made without `to`." },
  },
  optional = true, argument = patient(),
})
method("socket", {
  name = "stats", context = "any", returns = "traffic", signature = "stats() → traffic", doc = "The figures of the socket, as they are now.",
})
method("socket", {
  name = "close", context = "any", signature = "close()",
  doc = "Closes it; whoever waits in a call on it gets an err \"closed\". Closing twice is harmless.",
})

handle { name = "secret", doc = "Bytes that never print: it shows as `<secret>`. Its memory is wiped when it is collected." }

handle {
  name = "err", doc = "What an expected failure returns beside nil: tostring(err) is a sentence, and `..` joins it to strings.",
  fields = { { name = "code", type = "string", doc = "A stable name, such as \"timeout\"." } },
}

-- Records: plain tables.

local function record(r)
  api.records[#api.records + 1] = r
  api.records[r.name] = r
end

record {
  name = "summary", doc = "What a splice has done.",
  fields = {
    { name = "a_to_b", type = "integer", doc = "Bytes from the first to the second." },
    { name = "b_to_a", type = "integer", doc = "Bytes from the second to the first." },
    { name = "duration", type = "number", doc = "Seconds." },
    { name = "reason", type = "string", doc = '"end", or the err.code of what cut it short.' },
  },
}

record {
  name = "stats", doc = "The figures of a link.",
  fields = {
    { name = "sessions", type = "integer", doc = "Sessions that are up." },
    { name = "streams", type = "integer", doc = "Streams that are open." },
    { name = "srtt", type = "number", doc = "Smoothed round-trip time, in seconds." },
    { name = "rttvar", type = "number", doc = "Its variation, in seconds." },
    { name = "rto", type = "number", doc = "Retransmission timeout, in seconds." },
    { name = "segs_out", type = "integer", doc = "Segments sent, each counted once." },
    { name = "segs_retrans", type = "integer", doc = "Segments sent again." },
    { name = "segs_recovered", type = "integer", doc = "Segments that FEC has rebuilt here." },
    { name = "bytes_in", type = "integer", doc = "Payload received." },
    { name = "bytes_out", type = "integer", doc = "Payload sent." },
    { name = "inflight", type = "integer", doc = "Segments sent and not yet acknowledged." },
    { name = "queued", type = "integer", doc = "Segments that wait for the window." },
    { name = "rmt_wnd", type = "integer", doc = "The peer's receive window, in segments." },
    { name = "cwnd", type = "integer", doc = "Congestion window, in segments; with nc the send window." },
    { name = "since_heard", type = "number", doc = "Seconds since the peer was heard; math.huge: never." },
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

-- err.code: the names are base/err.h's.
api.codes = {
  { name = "invalid", doc = "An argument makes no sense." },
  { name = "memory", doc = "Out of memory." },
  { name = "again", doc = "Not now; try again." },
  { name = "timeout", doc = "It took longer than it may." },
  { name = "closed", doc = "What it was asked of is closed." },
  { name = "eof", doc = "The other end has finished sending." },
  { name = "reset", doc = "The other end broke the connection." },
  { name = "refused", doc = "Nobody listens there." },
  { name = "unreachable", doc = "No way to that network or host." },
  { name = "name", doc = "The host's name cannot be found." },
  { name = "in_use", doc = "Somebody else has that address." },
  { name = "denied", doc = "The system does not permit it." },
  { name = "config", doc = "An address or a setting cannot be read." },
  { name = "protocol", doc = "The peer broke the protocol." },
  { name = "auth", doc = "A packet does not authenticate." },
  { name = "limit", doc = "A limit is reached." },
  { name = "unsupported", doc = "This cannot be done here." },
  { name = "canceled", doc = "It was called off." },
  { name = "io", doc = "Reading or writing failed." },
  { name = "dead", doc = "The peer has gone silent." },
  { name = "restarted", doc = "The peer has begun anew." },
  { name = "not_found", doc = "No such file." },
  { name = "mismatch", doc = "The two ends are set up differently." },
  { name = "idle", doc = "Nothing has moved for too long." },
}

--- All the names that kt.help, the reference and the specs go by, in order: functions, methods, values, fields
--- ("conn.peer"), and what holds them ("conn", "stats").
function api.symbols()
  local out = {}
  for _, v in ipairs(api.values) do out[#out + 1] = { name = v.name, value = v } end
  for _, f in ipairs(api.functions) do out[#out + 1] = { name = f.name, fn = f } end
  for _, list in ipairs { api.handles, api.records } do
    for _, h in ipairs(list) do
      out[#out + 1] = { name = h.name, holder = h }
      for _, field in ipairs(h.fields) do out[#out + 1] = { name = h.name .. "." .. field.name, value = field } end
    end
  end
  return out
end

--- What is wrong with `value` as the argument of the function `name`, as one text; nil if nothing.
function api.explain(name, value)
  local schema = require "kt.schema"
  local f = api.functions[name] or api.internal[name]
  local out, mistakes = schema.check(f.path, f.argument, value)
  if out == nil and mistakes then return schema.text(name, mistakes) end
end

return api
