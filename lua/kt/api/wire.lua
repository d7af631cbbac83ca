--- What kt.link and kt.accept share, for the parts of kt.api: the settings of kcptun's wire with their ranges and rules. The
--- defaults are kcptun's.
local wire = {}

local ciphers = {
  "aes", "aes-128", "aes-192", "aes-128-gcm", "salsa20", "blowfish", "twofish", "cast5", "3des", "tea", "xtea", "xor",
  "sm4", "none", "null",
}
-- What people write for a cipher that has another name here. kcptun's aes is AES-256.
local other_names = { ["aes-256"] = "aes", ["aes256"] = "aes", ["aes-256-cfb"] = "aes", ["aes128"] = "aes-128", ["aes192"] = "aes-192" }
local modes = { "normal", "fast", "fast2", "fast3", "manual", "default" }
local manual = { nodelay = false, interval = 50, resend = 0, nc = false }

--- What a mode sets, but for "manual".
wire.manual_keys = { "nodelay", "interval", "resend", "nc" }

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

function wire.rules(out, raw, mistake)
  local own = type(raw.kcp) == "table" and raw.kcp or {}
  for _, key in ipairs(wire.manual_keys) do
    if out.mode ~= "manual" and own[key] ~= nil then
      mistake("kcp." .. key, ('mode = "%s" sets it'):format(out.mode or "fast"), 'give mode = "manual" to set it yourself')
    elseif out.mode == "manual" and out.kcp and out.kcp[key] == nil then
      out.kcp[key] = manual[key]
    end
  end
end

--- For link:set: what is not named stays as it is, so only what is named together must go together.
function wire.set_rules(out, raw, mistake)
  if raw.mode ~= nil and raw.mode ~= "manual" then wire.rules(out, raw, mistake) end
end

local function fec_rule(out, _, mistake)
  if out.data and out.parity and out.data + out.parity > 255 then
    mistake("parity", ("expected data + parity of at most 255, got %d"):format(out.data + out.parity))
  end
end

local function smux_rule(out, _, mistake)
  if out.buffer and out.stream_buffer and out.stream_buffer > out.buffer then
    mistake("stream_buffer", ("%d bytes is more than buffer, which all streams share (%d)"):format(
      out.stream_buffer, out.buffer))
  end
end

--- client: of a link, else of an acceptor.
function wire.keys(client)
  return {
    { name = "wire", type = "enum", values = { "kcptun" }, default = "kcptun", doc = "The protocol on the wire." },
    { name = "key", type = "secret", required = true, expected = 'a string, or kt.secret_file "psk.key"',
      doc = "The secret that both ends share." },
    { name = "crypt", type = "enum", values = ciphers, meant = other_names, default = "aes", doc = "Cipher; the same at both ends." },
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
          doc = "Unread bytes that a session holds for all its streams. With version 2 windows shrink to fit, see docs/limits.md." },
        { name = "stream_buffer", type = "size", min = 8192, below = 1 << 31, default = 2097152,
          doc = "... and at most for one stream (version 2)." },
        { name = "frame", type = "integer", min = 1, max = 65535, default = 8192, doc = "Most bytes in a frame." },
        { name = "keepalive", type = "duration", min = 1, max = 30, default = 10, doc = "Time between heartbeats." },
      } },
    { name = "suspect_after", type = "duration", min = 1, max = 60, default = 5,
      doc = "After this long without an answer that the peer owes, new streams use a new session; the old one keeps its streams." },
    { name = "dead_after", type = "duration", min = 1, max = 60, default = 30,
      doc = "After this long without an answer that the peer owes, the session ends and its streams break." },
    { name = "max_streams", type = "integer", min = 1, max = 65535, default = 4096,
      doc = "Streams that a session may have open at once. Further ones of the peer are refused; a link opens its own in another session." },
    { name = "memory", type = "size", min = 1 << 20, max = 1 << 40, default = 64 << 20,
      doc = "Memory for the buffers of all sessions, in bytes. A session may take as much of it as is left for the others." },
    { name = "rate", type = "rate", default = 0, doc = "Most that a session sends, in bytes of UDP payload; 0: no limit." },
    { name = "dscp", type = "integer", min = 0, max = 63, default = 0, doc = "DSCP of the packets sent." },
    { name = "sockbuf", type = "size", max = 1 << 30, default = 4194304, doc = "Socket buffer, each way." },
  }
end

--- What a link has besides.
wire.link_only = {
  { name = "sessions", type = "integer", min = 1, max = 1024, default = 1, doc = "Sessions, used in rotation." },
  { name = "expire", type = "duration", default = 0,
    doc = "A session takes no new streams after so long; 0: never." },
  { name = "scavenge", type = "duration", default = 600, doc = "... and is cut after so long again." },
  { name = "stay", type = "boolean", default = false,
    doc = "Dials at once, without waiting for a stream, and again for ever; so does a link with :serve." },
}

--- What an acceptor has besides.
wire.accept_only = {
  { name = "max_sessions", type = "integer", min = 1, max = 1 << 20, default = 4096,
    doc = "Sessions that peers may have at once; datagrams that would begin another are dropped." },
}

--- What :open and :set say of a stream; with its defaults.
function wire.policy(priority, weight)
  return {
    { name = "priority", type = "integer", min = 0, max = 7, default = priority,
      doc = "Who goes first when the link is full: 0 is served before 1, and so on to 7. Those behind get one byte in 32 at least." },
    { name = "weight", type = "integer", min = 1, max = 256, default = weight,
      doc = "The share among streams of one priority: with 32 it is twice that of 16." },
  }
end

--- What of a live link can be changed: of the keys of kt.link, those without their defaults; and the names of the others.
function wire.changeable(all)
  local own = { mode = true, fec = true, rate = true, suspect_after = true, dead_after = true, kcp = true }
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
  for _, key in ipairs(all) do
    if own[key.name] then keys[#keys + 1] = bare(key) else fixed[key.name] = true end
    if key.name == "kcp" then keys[#keys].fixed = { mtu = true } end
    if key.name == "fec" then
      keys[#keys].doc = "Forward error correction; false: none, though its header stays. Live sessions keep their groups and send "
        .. "less parity, or again as much as they began with; for other groups or more, new streams get a new session."
    end
  end
  return keys, fixed
end

return wire
