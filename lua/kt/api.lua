--- The one description of the API: what a script can call, where, with what. The binding check is made from it
--- (kt/init.lua, and script/opts.c asks it for the sentence); so will be the reference and the type definitions.
---
--- A function: name, context ("declare": the main chunk; "task"; "any"), signature, doc, and where it takes a table or
--- a unit `argument`, described for kt.schema, whose mistakes begin with `path`.
local api = { functions = {}, handles = {} }

local function def(f)
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
}

def {
  name = "kt.connect", context = "task", returns = "conn | nil, err", path = "connect",
  signature = 'kt.connect { to = "host:port", timeout = "5s" } → conn | nil, err',
  doc = "Connects to a TCP port or a unix socket, and waits until that has worked or failed.",
  argument = {
    type = "table",
    keys = {
      { name = "to", type = "string", required = true, wanted = '"host:port", or "unix:/path"', doc = "Where to." },
      { name = "timeout", type = "duration", default = 10, doc = "How long it may take." },
    },
  },
}

def {
  name = "link:open", context = "task", returns = "stream | nil, err", path = "open",
  signature = 'link:open { timeout = "5s", client = conn.peer } → stream | nil, err',
  doc = "Opens a stream to the peer, dialling it first if need be.",
  argument = {
    type = "table",
    keys = {
      { name = "timeout", type = "duration", default = 10, doc = "How long it may take." },
      { name = "client", type = "string", doc = "On whose behalf; for the log." },
    },
  },
}

def {
  name = "kt.splice", context = "task", returns = "summary | nil, err", path = "splice",
  signature = 'kt.splice(a, b [, { idle = "10m", linger = "10s" }]) → { a_to_b, b_to_a, duration, reason } | nil, err',
  doc = "Joins two conns or streams, takes both over, and waits until both directions have ended. reason is \"end\", or "
    .. "the code of what cut it short.",
  argument = {
    type = "table",
    keys = {
      { name = "idle", type = "duration", default = 0, doc = "Ends when nothing has moved for so long; 0: never." },
      { name = "linger", type = "duration",
        doc = "Where the end of one direction cannot be passed on (a kcptun peer knows no half-close), the other may go on until it "
          .. "was quiet for so long. Default: 10 s, and 0 for a stream that the peer opened, to which the end is the answer's end." },
    },
  },
}

def {
  name = "kt.sleep", context = "task", path = "kt.sleep",
  signature = 'kt.sleep "500ms"',
  doc = "Waits. kt.sleep(0) lets the others run.",
  argument = { type = "duration", wanted = 'a duration such as "500ms"' },
}

def { name = "kt.spawn", context = "any", signature = "kt.spawn(fn, …)",
  doc = "Runs fn(…) as a task: when the runtime starts, or at the end of this turn. Conns and streams among the arguments "
    .. "become the new task's." }
def { name = "kt.now", context = "any", signature = "kt.now() → seconds", doc = "A clock that only goes forward." }
def { name = "kt.secret", context = "any", signature = "kt.secret(string) → secret", doc = "A string that never prints." }
def { name = "kt.secret_file", context = "any", signature = 'kt.secret_file "psk.key" → secret',
  doc = "A file's content, without one trailing newline. A relative path starts at the script's own folder." }
for _, level in ipairs { "debug", "info", "warn", "error" } do
  def { name = "kt.log." .. level, context = "any", signature = ("kt.log.%s(fmt, …)"):format(level),
    doc = "One line in the log, formatted as by string.format." }
end

-- Not for scripts: what the verbs in the binary pass to kt.core.
api.internal = {
  ["kt.core.drain_timeout"] = { path = "drain_timeout", argument = { type = "duration" } },
}

api.handles.link = {
  methods = { open = "see link:open", stats = "figures of the link", close = "closes it; its streams break" },
  fields = { remote = "the peer, as declared" },
}
api.handles.acceptor = {
  methods = { serve = "the function that gets each stream, in a task of its own", stats = "figures of all links",
    close = "closes it and all its links" },
}
api.handles.listener = {
  methods = { serve = "the function that gets each conn, in a task of its own", close = "takes no more conns" },
  fields = { local_addr = "where it listens, once it does" },
}
api.handles.conn = {
  methods = { close = "delivers what was written, then ends it", reset = "ends it at once; with an err, logs why" },
  fields = { peer = "the other end's address", local_addr = "this end's" },
}
api.handles.stream = {
  methods = api.handles.conn.methods,
  fields = { peer = "the other end of the link" },
}
api.handles.err = { fields = { code = 'a stable name, such as "timeout"; tostring(err) is a sentence' } }

--- What is wrong with `value` as the argument of the function `name`, as one text; nil if nothing.
function api.explain(name, value)
  local schema = require "kt.schema"
  local f = api.functions[name] or api.internal[name]
  local out, mistakes = schema.check(f.path, f.argument, value)
  if out == nil and mistakes then return schema.text(name, mistakes) end
end

return api
