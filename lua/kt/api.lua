--- The one description of the API: what a script can call and read, where, and with what. Made from it: the binding check
--- (kt/init.lua, and script/opts.c asks it for the sentence), `kt check`, `kt help`, lua/meta/kt.lua, docs/reference.md. A
--- symbol that is bound and not described here, or described and not bound, fails spec/api_spec.lua. Pools are in kt/api/pool.lua.
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

--- What a mode sets, but for "manual".
api.manual_keys = { "nodelay", "interval", "resend", "nc" }

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
  for _, key in ipairs(api.manual_keys) do
    if out.mode ~= "manual" and own[key] ~= nil then
      mistake("kcp." .. key, ('mode = "%s" sets it'):format(out.mode or "fast"), 'give mode = "manual" to set it yourself')
    elseif out.mode == "manual" and out.kcp and out.kcp[key] == nil then
      out.kcp[key] = manual[key]
    end
  end
end

--- For link:set: what is not named stays as it is, so only what is named together must go together.
local function set_rules(out, raw, mistake)
  if raw.mode ~= nil and raw.mode ~= "manual" then rules(out, raw, mistake) end
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

local link_only = {
  { name = "sessions", type = "integer", min = 1, max = 1024, default = 1, doc = "Sessions, used in rotation." },
  { name = "expire", type = "duration", default = 0,
    doc = "A session takes no new streams after so long; 0: never." },
  { name = "scavenge", type = "duration", default = 600, doc = "... and is cut after so long again." },
  { name = "stay", type = "boolean", default = false,
    doc = "Dials at once, without waiting for a stream, and again for ever; so does a link with :serve." },
}

def {
  name = "kt.link", context = "any", returns = "link | nil, err", path = "link",
  signature = "kt.link { remote = …, key = …, … } → link | nil, err",
  doc = "A link to a peer. It dials when the first stream is opened, and again whenever the peer was lost. In the main chunk it is "
    .. "declared, and opened at start; in a task it is opened at once, and closed when it was forgotten, unless it serves or stays.",
  fails = { "memory" },
  argument = {
    type = "table", check = rules,
    keys = concat({
      { name = "remote", type = "endpoint", allow = "rh", required = true,
        wanted = '"host:port", or "host:min-max" for a port drawn anew at each dialling', doc = "The peer." },
    }, wire_keys(true), link_only),
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
  name = "kt.listen", context = "any", returns = "listener | nil, err", path = "listen",
  signature = 'kt.listen { on = "127.0.0.1:12948" } → listener | nil, err',
  doc = "Takes local connections, TCP or unix. In the main chunk it is declared, and opened at start; in a task it is opened at once.",
  fails = { "in_use", "denied", "config" },
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
  name = "kt.resolve", context = "task", returns = "record[] | nil, err", path = "resolve",
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
      if n and (n < 1 or n > 8) then mistake("servers", n .. " name servers; wanted 1 to 8") end
    end,
    keys = {
      { name = "name", type = "string", required = true, wanted = "a host's name", doc = "The name to look up." },
      { name = "type", type = "enum", values = { "A", "AAAA", "SRV" }, default = "A", doc = "The records that are wanted." },
      { name = "servers", type = "list", of = { type = "name_server", required = true, wanted = "a name server's IP address" },
        doc = "Whom to ask, \"ip\" or \"ip:port\", 1 to 8 of them, one after the other. Default: those of the system." },
      { name = "timeout", type = "duration", default = 5, doc = "How long it may take." },
    },
  },
  example = [[
local records, err = kt.resolve { name = "_tunnel._udp.example.org", type = "SRV" }
for _, r in ipairs(records or {}) do print(r.target, r.port, r.priority, r.weight, r.ttl) end]],
}

def {
  name = "kt.splice", context = "task", returns = "summary | nil, err", path = "splice",
  signature = 'kt.splice(a, b [, { idle = "10m", total = "1h", rate = "2MiB" }]) → { a_to_b, b_to_a, duration, reason } | nil, err',
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
  name = "kt.reload", context = "declare", path = "reload",
  signature = 'kt.reload { old = "drain", timeout = "30s" }',
  doc = "What becomes of this script's conns once a reload (SIGHUP, kt reload) has brought another script in its place. Addresses "
    .. "that both have are handed over; a listener that the new script does not have is closed. The tasks of this script go on as "
    .. "long as any conn or stream of it does, then they end. A script that cannot be loaded or opened replaces nothing. Links are "
    .. "made anew; those of the old script serve its conns to the end. An acceptor keeps its sessions: with other settings new "
    .. "sessions have these and the others keep theirs; with another key or cipher those end with the streams that they have "
    .. "(dscp and sockbuf of an acceptor need a restart). When 16 replaced scripts still have conns, a reload is refused.",
  argument = {
    type = "table",
    check = function(out, raw, mistake)
      if raw.timeout ~= nil and out.old == "keep" then
        mistake("timeout", 'there is none with old = "keep"', 'give old = "drain" to bound the time')
      end
    end,
    keys = {
      { name = "old", type = "enum", values = { "keep", "drain" }, default = "keep",
        doc = '"keep": they go on as long as they live. "drain": those still there after timeout are reset.' },
      { name = "timeout", type = "duration", max = 30 * 86400, default = 30, doc = 'How long, with old = "drain".' },
    },
  },
  example = 'kt.reload { old = "drain", timeout = "10m" }',
}

def {
  name = "kt.now", context = "any", returns = "number", signature = "kt.now() → seconds",
  doc = "A clock that only goes forward, in seconds; it stands still while a task runs.",
}

def {
  name = "kt.wall", context = "any", returns = "number", signature = "kt.wall() → seconds",
  doc = "The wall clock: seconds since 1970-01-01 UTC. It jumps when the clock is set; kt.now is for measuring.",
}

def {
  name = "kt.date", context = "any", returns = "date", path = "date",
  signature = 'kt.date { zone = "local" | "utc" } → date',
  doc = "The date and the time of day, by the wall clock.",
  optional = true,
  argument = {
    type = "table",
    keys = {
      { name = "zone", type = "enum", values = { "local", "utc" }, default = "local", doc = "Of where: here (TZ), or UTC." },
    },
  },
  example = [[
local now = kt.date()
local night = now.hour >= 23 or now.hour < 7]],
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

-- What :set of a conn and of a stream share, and what people look for there in vain.
local function limits()
  return {
    { name = "rate_in", type = "rate", doc = "The most that comes out of it, in bytes a second; 0: no limit." },
    { name = "rate_out", type = "rate", doc = "The most that goes into it, in bytes a second; 0: no limit." },
    { name = "idle", type = "duration", doc = "It breaks when nothing has moved either way for so long; 0: never." },
    { name = "total", type = "duration", doc = "It breaks so long after it began; 0: never." },
  }
end

local function policy(priority, weight) -- the defaults
  return {
    { name = "priority", type = "integer", min = 0, max = 7, default = priority,
      doc = "Who goes first when the link is full: 0 is served before 1, and so on to 7. Those behind get one byte in 32 at least." },
    { name = "weight", type = "integer", min = 1, max = 256, default = weight,
      doc = "The share among streams of one priority: with 32 it is twice that of 16." },
  }
end

local function elsewhere(own)
  local out = { rate = { "which way?", "give rate_in, rate_out, or both" } }
  for _, key in ipairs { "mode", "kcp", "fec", "dead_after" } do
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

local handler = {
  conn = { name = "handler", type = "fun(conn: conn)", doc = "Called with each conn." },
  stream = { name = "handler", type = "fun(stream: stream)", doc = "Called with each stream." },
}

local function serve_doc(what)
  return ("Sets the function that gets each %s, in a task of its own, and returns the handle. The task owns the %s: when the "
    .. "function returns it is closed, when it fails it is reset. Once for each handle."):format(what, what)
end

handle {
  name = "link", doc = "A link to a peer, as kt.link made it, or as an acceptor gives it out. Shared by all tasks.",
  fields = { { name = "remote", type = "string", doc = "The peer, as declared; of an accepted link, its address." } },
}
method("link", {
  name = "open", context = "task", returns = "stream | nil, err", path = "open",
  signature = 'open { timeout = "5s", client = conn.peer, priority = 3, weight = 16 } → stream | nil, err',
  doc = "Opens a stream to the peer, dialling it first if need be. On an accepted link the peer must be a kt whose link serves.",
  fails = { "timeout", "closed", "dead", "limit", "unsupported" },
  optional = true,
  argument = {
    type = "table",
    keys = concat({
      { name = "timeout", type = "duration", default = 10, doc = "How long it may take." },
      { name = "client", type = "string", doc = "On whose behalf; for the log." },
    }, policy(3, 16)),
  },
})
method("link", {
  name = "probe", context = "task", returns = "number | nil, err", path = "probe",
  signature = 'probe { timeout = "1s" } → seconds | nil, err',
  doc = "Asks the peer for an answer that any peer gives, and says how long it took, the peer's own flush interval included; dials "
    .. "if there is no session.",
  fails = { "timeout", "closed", "dead", "restarted" },
  optional = true,
  argument = { type = "table", keys = { { name = "timeout", type = "duration", default = 1, doc = "How long it may take." } } },
})

local function changeable() -- what of a live link can be changed: the keys of kt.link, without defaults
  local own = { mode = true, fec = true, rate = true, dead_after = true, kcp = true }
  local function bare(d)
    local out = {}
    for k, v in pairs(d) do out[k] = v end
    out.default = nil
    if not d.keys then return out end
    out.keys = {}
    for _, key in ipairs(d.keys) do
      if key.name ~= "mtu" then out.keys[#out.keys + 1] = bare(key) end
    end
    return out
  end
  local keys, fixed = {}, {}
  for _, key in ipairs(api.functions["kt.link"].argument.keys) do
    if own[key.name] then keys[#keys + 1] = bare(key) else fixed[key.name] = true end
    if key.name == "kcp" then keys[#keys].fixed = { mtu = true } end
    if key.name == "fec" then
      keys[#keys].doc = "Forward error correction; false: none, though its header stays. Live sessions keep their groups and send "
        .. "less parity, or again as much as they began with; for other groups or more, new streams get a new session."
    end
  end
  return keys, fixed
end

local keys, fixed = changeable()
method("link", {
  name = "set", context = "any", returns = "boolean | nil, err", path = "set",
  signature = 'set { mode = …, kcp = { … }, fec = { … } | false, rate = …, dead_after = … } → true | nil, err',
  doc = "Changes settings, for sessions that are up and for those to come; what is not named stays. Not of an accepted link.",
  fails = { "closed", "unsupported" },
  argument = { type = "table", check = set_rules, keys = keys, fixed = fixed },
  example = 'far:set { mode = "fast3", kcp = { sndwnd = 1024 }, fec = { parity = 1 } }',
})
method("link", {
  name = "serve", context = "any", returns = "link", signature = "serve(function(stream) … end) → link",
  doc = serve_doc "stream" .. " These are the streams that the far side opens, which needs kt there too; the link dials at once, and again "
    .. "for ever, so that it can.",
  params = { handler.stream },
})
method("link", {
  name = "on", context = "any", returns = "link", path = "on",
  signature = 'on("up" | "down" | "degraded" | "stats", function(stats, err) … end [, options]) → link',
  doc = "Runs a function, as a task, when something happens: \"up\": the peer was heard, where none was; \"down\": no session is left, "
    .. "err says why; \"degraded\": a threshold was passed, err says which, once until it is better again (by default 5% loss or 1.5 s "
    .. "of silence); \"stats\": time and again.",
  params = {
    { name = "event", type = "string", doc = "Which." },
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
  name = "stats", context = "any", returns = "stats", signature = "stats() → stats", doc = "The figures of the link, as they are now.",
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
    { name = "event", type = "string", doc = '"link".' },
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
  doc = "The figures of all links together; times are of the one heard last.",
})
method("acceptor", {
  name = "close", context = "any", signature = "close()", doc = "Closes it and all its links.",
})

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

local function set(kind, signature, doc, keys)
  method(kind, {
    name = "set", context = "any", returns = "boolean | nil, err", path = "set", signature = signature,
    doc = doc .. " At any time, also while a splice has it: the least of all limits counts. What is not given stays as it is. When a "
      .. "time has passed, it is reset, and whoever waits gets an err \"idle\" or \"total\", which is also the splice's reason.",
    fails = { "closed" },
    argument = { type = "table", keys = keys, elsewhere = elsewhere(kind) },
  })
end

set("conn", 'set { rate_in = "2MiB", rate_out = 0, idle = "10m", total = "1h" } → true | nil, err',
  "Sets limits of the conn.", limits())
set("stream", 'set { priority = 0, weight = 32, rate_in = "2MiB", rate_out = 0, idle = "10m", total = "1h" } → true | nil, err',
  "Sets the stream's place among those that this end sends on the link, and its limits.",
  concat(policy(), limits()))

method("conn", {
  name = "stats", context = "any", returns = "connstats", signature = "stats() → connstats",
  doc = "The figures of the conn, as they are now; also while a splice has it, and after its end.",
})
method("stream", {
  name = "stats", context = "any", returns = "streamstats", signature = "stats() → streamstats",
  doc = "The figures of the stream, as they are now; also while a splice has it. After its end the session's are 0.",
})

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
  name = "date", doc = "A date and a time of day.",
  fields = {
    { name = "year", type = "integer", doc = "Such as 2031." },
    { name = "month", type = "integer", doc = "January is 1." },
    { name = "day", type = "integer", doc = "Of the month, from 1." },
    { name = "hour", type = "integer", doc = "Up to 23." },
    { name = "minute", type = "integer", doc = "Up to 59." },
    { name = "second", type = "integer", doc = "Up to 59; 60 in a leap second." },
    { name = "weekday", type = "integer", doc = "Monday is 1, Sunday 7." },
  },
}

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

local passed = {
  { name = "bytes_in", type = "integer", doc = "Bytes that have come out of it." },
  { name = "bytes_out", type = "integer", doc = "Bytes that have gone into it." },
  { name = "rate_in", type = "number", doc = "Bytes a second that come out of it, over the last two seconds." },
  { name = "rate_out", type = "number", doc = "Bytes a second that go into it, over the last two seconds." },
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
    { name = "loss", type = "number", doc = "Segments sent again, of all sent, over the last two seconds: 0 to 1." },
    { name = "retransmitted", type = "integer", doc = "Segments sent again." },
    { name = "recovered", type = "integer", doc = "Segments that FEC has rebuilt here." },
    { name = "inflight", type = "integer", doc = "Segments sent and not yet acknowledged." },
  }),
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

require "kt.api.pool" {
  def = def, handle = handle, method = method, record = record,
  discovered = { keys = concat(wire_keys(true), link_only), check = rules },
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
  { name = "total", doc = "It has been open for as long as it may be." },
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
