--- The settings of kcptun's wire, with ranges, rules and defaults (kcptun's own), for kt.link and kt.accept in kt.api.
local wire = {}

local ciphers = {
  "aes", "aes-128", "aes-192", "aes-128-gcm", "salsa20", "blowfish", "twofish", "cast5", "3des", "tea", "xtea", "xor",
  "sm4", "none", "null",
}
-- Other common names for ciphers. kcptun's aes is AES-256.
local other_names = { ["aes-256"] = "aes", ["aes256"] = "aes", ["aes-256-cfb"] = "aes", ["aes128"] = "aes-128", ["aes192"] = "aes-192" }
local modes = { "normal", "fast", "fast2", "fast3", "manual", "default" }
local manual = { nodelay = false, interval = 50, resend = 0, nc = false }

--- The keys that every mode but "manual" sets.
wire.manual_keys = { "nodelay", "interval", "resend", "nc" }

local function kcp(client)
  return {
    name = "kcp", type = "table", default = {},
    doc = "KCP's own settings.",
    keys = {
      { name = "mtu", type = "integer", min = 128, max = 1500, default = 1350, doc = "Maximum UDP payload, in bytes." },
      { name = "sndwnd", type = "integer", min = 1, max = 65535, default = client and 128 or 1024,
        doc = "Send window: packets that may be in flight." },
      { name = "rcvwnd", type = "integer", min = 1, max = 65535, default = client and 512 or 1024,
        doc = "Receive window, in packets." },
      { name = "nodelay", type = "flag", doc = 'Shorter retransmission timeouts. Only with mode = "manual".' },
      { name = "interval", type = "integer", min = 10, max = 5000,
        doc = 'Milliseconds between flushes. Only with mode = "manual".' },
      { name = "resend", type = "integer", min = 0, max = 255,
        doc = 'Fast retransmit: resend a packet after this many ACKs of later packets; 0 turns it off. Only with mode = "manual".' },
      { name = "nc", type = "flag", doc = 'No congestion window. Only with mode = "manual".' },
      { name = "acknodelay", type = "boolean", default = false, doc = "Send ACKs immediately instead of at the next flush." },
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

--- For link:set: keys that are not given stay as they are, so only the given ones must agree with each other.
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
    mistake("stream_buffer", ("expected at most %d bytes (buffer, which all streams share), got %d"):format(
      out.buffer, out.stream_buffer))
  end
end

--- The keys of kt.link (client = true) or kt.accept.
function wire.keys(client)
  return {
    { name = "wire", type = "enum", values = { "kcptun" }, default = "kcptun", doc = "The protocol on the wire." },
    { name = "key", type = "secret", required = true, expected = 'a string, or kt.secret_file "psk.key"',
      doc = "The shared secret; the same at both ends." },
    { name = "crypt", type = "enum", values = ciphers, meant = other_names, default = "aes", doc = "Cipher; the same at both ends." },
    { name = "mode", type = "enum", values = modes, default = "fast",
      doc = 'How aggressively KCP retransmits. "manual" takes the values in kcp, "default" KCP\'s own.' },
    kcp(client),
    { name = "fec", type = "table", default = {}, off = true, check = fec_rule,
      doc = "Forward error correction; the same at both ends. false turns it off.",
      keys = {
        { name = "data", type = "integer", min = 0, max = 255, default = 10, doc = "Data packets per group; 0 turns FEC off." },
        { name = "parity", type = "integer", min = 0, max = 255, default = 3, doc = "Parity packets per group; 0 turns FEC off." },
      } },
    { name = "compress", type = "boolean", default = true, doc = "Snappy compression; the same at both ends." },
    { name = "qpp", type = "table", default = false, off = true, on = true,
      doc = "Quantum Permutation Pads; the same at both ends. true means 61 pads.",
      keys = { { name = "pads", type = "integer", min = 1, max = 4096, default = 61, doc = "Number of pads." } } },
    { name = "tuncrypt", type = "boolean", default = false,
      doc = "Encrypts each stream a second time, end to end; needs kt at both ends." },
    { name = "smux", type = "table", default = {}, check = smux_rule,
      doc = "Settings of smux, the stream multiplexer.",
      keys = {
        { name = "version", type = "integer", min = 1, max = 2, default = 2, doc = "Protocol version; the same at both ends." },
        { name = "buffer", type = "size", min = 65536, max = 1 << 31, default = 4194304,
          doc = "Buffer of a session in each direction, shared by its streams. With version 2, stream windows shrink to fit; see docs/limits.md." },
        { name = "stream_buffer", type = "size", min = 8192, below = 1 << 31, default = 2097152,
          doc = "Receive buffer of one stream (version 2)." },
        { name = "frame", type = "integer", min = 1, max = 65535, default = 8192, doc = "Maximum frame size, in bytes." },
        { name = "keepalive", type = "duration", min = 1, max = 30, default = 10, doc = "Interval between heartbeats." },
      } },
    { name = "suspect_after", type = "duration", min = 1, max = 60, default = 5,
      doc = "After this long without an answer from the peer, new streams use a new session; the old one keeps its streams." },
    { name = "dead_after", type = "duration", min = 1, max = 60, default = 30,
      doc = "After this long without an answer from the peer, the session ends and its streams are reset." },
    { name = "max_streams", type = "integer", min = 1, max = 65535, default = 4096,
      doc = "Maximum number of open streams per session. Further streams from the peer are refused; a link opens its own in another session." },
    { name = "memory", type = "size", min = 1 << 20, max = 1 << 40, default = 64 << 20,
      doc = "Memory for the buffers of all sessions, in bytes. A session may hold at most as much as is still free." },
    { name = "rate", type = "rate", default = 0, doc = "Send limit per session, in bytes of UDP payload per second; 0 means no limit." },
    { name = "dscp", type = "integer", min = 0, max = 63, default = 0, doc = "DSCP of outgoing packets." },
    { name = "sockbuf", type = "size", max = 1 << 30, default = 4194304, doc = "Size of the UDP socket's send and receive buffers." },
  }
end

--- Further keys of kt.link.
wire.link_only = {
  { name = "sessions", type = "integer", min = 1, max = 1024, default = 1, doc = "Number of sessions, used in turn." },
  { name = "expire", type = "duration", default = 0,
    doc = "A session accepts no new streams after this long; 0 means it always does." },
  { name = "scavenge", type = "duration", default = 600, doc = "An expired session is closed after this much longer." },
  { name = "stay", type = "boolean", default = false,
    doc = "Dial immediately instead of with the first stream, and redial whenever the session is lost. A link with :serve always does." },
}

--- Further keys of kt.accept.
wire.accept_only = {
  { name = "max_sessions", type = "integer", min = 1, max = 1 << 20, default = 4096,
    doc = "Maximum number of sessions; datagrams that would start another are dropped." },
}

--- The keys for a stream's share of the link, in link:open (with defaults) and stream:set.
function wire.policy(priority, weight)
  return {
    { name = "priority", type = "integer", min = 0, max = 7, default = priority,
      doc = "Order of service when the link is full: 0 first, 7 last. Lower classes still get at least one byte in 32." },
    { name = "weight", type = "integer", min = 1, max = 256, default = weight,
      doc = "Relative share among streams of the same priority: 32 gets twice as much as 16." },
  }
end

--- The keys of kt.link that link:set can change, without defaults, and the set of names of those it cannot.
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
      keys[#keys].doc = "Forward error correction. false turns it off, but the FEC header stays. A session can lower its parity and raise it "
        .. "back to its initial value; a different group size or more parity takes effect in a new session, which new streams use."
    end
  end
  return keys, fixed
end

return wire
