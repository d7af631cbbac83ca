--- The settings of the wires for kt.link and kt.accept in kt.api. Names, types, ranges and defaults come from kt.api.kcptun and kt.api.native
--- (made from each wire's settings.def); this file has their descriptions and the rules between them.
local kcptun, native, wires = require "kt.api.kcptun", require "kt.api.native", require "kt.api.wires"
local units = require "kt.units"

local wire = {}

local SECRET = 'a string, or kt.secret_file "psk.key"'

-- Other common names for ciphers. kcptun's aes is AES-256.
local other_names = { ["aes-256"] = "aes", ["aes256"] = "aes", ["aes-256-cfb"] = "aes", ["aes128"] = "aes-128", ["aes192"] = "aes-192" }

local modes = table.move(kcptun.modes, 1, #kcptun.modes, 1, {})
table.insert(modes, #modes, "manual")

--- The keys that every mode but "manual" sets.
wire.manual_keys = {}

local rows, manual = {}, {}

local function default_of(row, client)
  local value = client and row.link or row.acceptor
  if row.type == "boolean" or row.type == "flag" then return value == 1 end
  return value
end

local native_rows = {}
for _, row in ipairs(native.settings) do
  rows[row.path], native_rows[row.path] = row, row
end
for _, row in ipairs(kcptun.settings) do
  rows[row.path] = row
  if row.manual then
    local name = row.path:match "[^.]+$"
    wire.manual_keys[#wire.manual_keys + 1], manual[name] = name, default_of(row, true)
  end
end
for _, row in ipairs(kcptun.names) do
  rows[row.path] = { path = row.path, type = "enum", values = row.values, link = row.default, acceptor = row.default }
end
rows.mode = { path = "mode", type = "enum", values = modes, link = "auto", acceptor = "auto", live = true }

local function row_of(path) return rows[path] or error(path .. ": lua/kt/api/wire.lua describes it, but no wire's settings.def has it", 0) end

--- The values that the flag of a setting ("kcp.mtu") takes: { min, max, default, values, meant }, in plain numbers.
function wire.setting(path, client)
  local row = row_of(path)
  return {
    min = row.min, max = row.max, default = default_of(row, client), values = row.values, meant = path == "crypt" and other_names or nil,
    unit = (row.type == "size" or row.type == "rate") and row.type or nil,
  }
end

--- Likewise for a setting of kt's own wire.
function wire.native_setting(path, client)
  local row = native_rows[path] or error("no setting " .. path)
  return { min = row.min, max = row.max, default = default_of(row, client) }
end

--- kcptun's default key.
wire.default_key = kcptun.key

--- The most elements of lists: { remote = 8, … }.
wire.lists = native.lists

--- The key of a setting, as kt.schema wants it. Where the wires have different defaults it has none, and the wire fills it in. Likewise for one
--- that the mode sets; its default in mode "manual" is `manual`.
local function field(path, client, doc)
  local row, other = row_of(path), native_rows[path]
  local out = { name = path:match "[^.]+$", type = row.type, values = row.values, doc = doc, only = row.only }
  if other and default_of(other, client) ~= default_of(row, client) then
    local function text(r) return units.write(r.type, default_of(r, client)) or tostring(default_of(r, client)) end
    out.doc = ("%s The default is %s on kcptun's wire and %s on kt's."):format(doc, text(row), text(other))
  elseif row.manual then
    out.manual = default_of(row, client)
  else
    out.default = default_of(row, client)
  end
  if row.type == "boolean" or row.type == "flag" or row.type == "enum" then return out end
  if row.min > 0 or row.type == "integer" then out.min = row.min end
  if row.type == "size" and row.max & (row.max + 1) == 0 then
    out.below = row.max + 1 -- a rounder number
  else
    out.max = row.max
  end
  return out
end

local function kcp(client)
  return {
    name = "kcp", type = "table", default = {},
    doc = "KCP's own settings.",
    keys = {
      field("kcp.mtu", client, "Maximum UDP payload, in bytes."),
      field("kcp.sndwnd", client, "Send window: packets that may be in flight."),
      field("kcp.rcvwnd", client, "Receive window, in packets."),
      field("kcp.nodelay", client, 'Shorter retransmission timeouts. Only with mode = "manual".'),
      field("kcp.interval", client, 'Milliseconds between flushes. Only with mode = "manual".'),
      field("kcp.resend", client, 'Fast retransmit: resend a packet after this many ACKs of later packets; 0 turns it off. Only with mode = "manual".'),
      field("kcp.nc", client, 'No congestion window. Only with mode = "manual".'),
      field("kcp.acknodelay", client, "Send ACKs immediately instead of at the next flush."),
    },
  }
end

--- The settings that only one wire has, by the first name of their path: { mtu = "kt", kcp = "kcptun", … }.
local only = { crypt = "kcptun", mode = "kcptun", private_key = "kt", server_key = "kt", authorized = "kt", paths = "kt" }
for _, row in ipairs(kcptun.settings) do
  if not native_rows[row.path] then only[row.path:match "^[^.]+"] = "kcptun" end
end
for _, row in ipairs(native.settings) do
  if rows[row.path] == row then only[row.path:match "^[^.]+"] = "kt" end
end

--- The wire that alone has a setting, by its path; nil: both have it.
function wire.only(path) return only[path:match "^[^.]+"] end

-- The suggestion for a setting of the other wire: kcptun's has some of kt's inside a table.
local function advice(name, whose)
  for path in pairs(rows) do
    local group = whose == "kt" and path:match("^(.+)%." .. name .. "$")
    if group then return ("on kcptun's it goes inside %s"):format(group) end
  end
  return ('give wire = "%s" for it'):format(whose)
end

--- Drops the defaults of settings that the wire does not have; a value that was given is a mistake. With "auto" both wires' are allowed.
local function keep_own(out, raw, mistake)
  if out.wire == "auto" then return end
  for name, whose in pairs(only) do
    if whose ~= out.wire then
      if raw[name] ~= nil then
        mistake(name, ("only %s wire has this setting"):format(whose == "kt" and "kt's" or "kcptun's"), advice(name, whose))
      end
      out[name] = nil
    end
  end
end

-- Settings that mode "auto" chooses unless they are given: names by group, and whole paths. C must see which were given.
local sized, is_sized = {}, {}
for _, path in ipairs(kcptun.sized) do
  local group, name = path:match "^(%w+)%.([%w_]+)$"
  sized[group] = sized[group] or {}
  table.insert(sized[group], name)
  is_sized[path] = true
end

--- Whether mode "auto" chooses the setting at a path (or nil) unless it is given.
function wire.sized(path) return is_sized[path or ""] or false end

--- Whether a table like `kcp` has windows or what a mode sets: then the default is mode "fast", as in kcptun.
function wire.tuned(given)
  if type(given) ~= "table" then return false end
  for _, keys in ipairs { wire.manual_keys, sized.kcp } do
    for _, key in ipairs(keys) do
      if given[key] ~= nil then return true end
    end
  end
  return false
end

local function drop_defaults(out, raw)
  for group, names in pairs(sized) do
    local given = type(raw[group]) == "table" and raw[group] or {}
    for _, name in ipairs(names) do
      if type(out[group]) == "table" and given[name] == nil then out[group][name] = nil end
    end
  end
end

function wire.rules(out, raw, mistake)
  -- kcptun's wire knows only the shared key: it would let in clients without a key pair, or send streams to any server.
  if out.wire == "auto" and raw.private_key ~= nil then out.wire = "kt" end
  if type(out.remote) == "table" then
    if out.wire == "kcptun" and #out.remote > 1 then
      mistake("remote", "only kt's wire takes a list of addresses", 'give wire = "kt" for it, or a pool of links')
    end
    out.remote, out.others = out.remote[1], table.move(out.remote, 2, #out.remote, 1, {})
  end
  local most = wire.lists.paths
  if type(out.paths) == "table" and #out.paths > most then mistake("paths", ("expected at most %d, got %d"):format(most, #out.paths)) end
  if out.wire then
    keep_own(out, raw, mistake)
    if raw.key == nil and raw.private_key == nil then mistake("key", "missing", "expected " .. SECRET) end
  end
  if out.wire == "kt" then return end
  if raw.mode == nil and out.mode and wire.tuned(raw.kcp) then out.mode = "fast" end
  drop_defaults(out, raw)
  if raw.bandwidth ~= nil and raw.bandwidth ~= 0 and out.mode ~= "auto" and out.wire ~= "auto" then
    mistake("bandwidth", 'only mode = "auto" takes it', "give rate to limit what is sent")
  end
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

--- Checks the rules between the settings of one group ("fec").
local function group_rule(group)
  local function names(rule)
    local of, first = rule[1]:match "^(.*)%.(.*)$"
    return of == group, first, rule[2]:match "[^.]+$"
  end
  return function(out, _, mistake)
    for _, rule in ipairs(kcptun.sums) do
      local mine, a, b = names(rule)
      local sum = mine and out[a] and out[b] and out[a] + out[b] or 0
      if sum > rule.most then mistake(b, ("expected %s + %s of at most %d, got %d"):format(a, b, rule.most, sum)) end
    end
    for _, rule in ipairs(kcptun.within) do
      local mine, a, b = names(rule)
      if mine and out[a] and out[b] and out[a] > out[b] then
        mistake(a, ("expected at most %s (%d), got %d"):format(b, out[b], out[a]))
      end
    end
  end
end

--- Without the keys that only the other end has.
local function of_end(client, keys)
  local mine = {}
  for _, d in ipairs(keys) do
    if not d.only or d.only == (client and "link" or "acceptor") then mine[#mine + 1] = d end
    d.only = nil
  end
  return mine
end

local function crypt(client)
  local out = field("crypt", client, "Cipher; the same at both ends.")
  out.meant = other_names
  return out
end

--- The keys of kt.link (client = true) or kt.accept.
function wire.keys(client)
  return of_end(client, {
    { name = "wire", type = "enum", values = wires, default = wires[1],
      doc = "The protocol on the wire. \"auto\": an acceptor takes kt's and kcptun's, a link tries kt's and falls back to kcptun's if nothing "
        .. "answers for 0.3 s, but never with a peer that has spoken kt's. \"kt\": kt's own, which needs kt at both ends. \"kcptun\": kcptun's. "
        .. "With a private_key, \"auto\" means \"kt\"." },
    { name = "key", type = "secret", expected = SECRET,
      doc = "The shared secret, the same at both ends: a passphrase, or a key that `kt keygen` made. Required unless there is a private_key." },
    { name = "private_key", type = "secret", expected = SECRET,
      doc = "This end's private key, as `kt keygen --pair` makes it: the ends know each other by their public keys. Only on kt's wire." },
    crypt(client),
    field("mode", client, '"auto" finds the bandwidth of the path, and sizes windows and buffers that are not given. The others are fixed ways to '
      .. 'retransmit: "manual" takes the values in kcp, "default" KCP\'s own.'),
    kcp(client),
    { name = "fec", type = "table", default = {}, off = true, check = group_rule "fec",
      doc = "Forward error correction; the same at both ends. false turns it off.",
      keys = {
        field("fec.data", client, "Data packets per group; 0 turns FEC off."),
        field("fec.parity", client, "Parity packets per group; 0 turns FEC off."),
      } },
    field("compress", client, "Snappy compression; the same at both ends."),
    { name = "qpp", type = "table", default = false, off = true, on = true,
      doc = "Quantum Permutation Pads; the same at both ends. true means 61 pads.",
      keys = { field("qpp.pads", client, "Number of pads; the same at both ends.") } },
    field("tuncrypt", client, "Encrypt each stream a second time, end to end; needs kt at both ends."),
    { name = "smux", type = "table", default = {}, check = group_rule "smux",
      doc = "Settings of smux, the stream multiplexer.",
      keys = {
        field("smux.version", client, "Protocol version; the same at both ends."),
        field("smux.buffer", client,
          "Buffer of a session in each direction, shared by its streams. With version 2, stream windows shrink to fit; see docs/limits.md."),
        field("smux.stream_buffer", client, "Receive buffer of one stream, for smux version 2."),
        field("smux.frame", client, "Largest smux frame sent, in bytes."),
        field("smux.keepalive", client, "Interval between heartbeats."),
      } },
    field("suspect_after", client, "After this long without an answer from the peer, new streams use a new session; the old one keeps its streams."),
    field("dead_after", client, "After this long without an answer from the peer, the session ends and its streams are reset."),
    field("max_streams", client,
      "Maximum number of open streams per session. Further streams from the peer are refused; a link opens its own in another session. "
      .. "On kt's wire further ones wait, and n streams of one link need max_buffered of n times 14 KiB at the end that dials and opens them, "
      .. "and n times 32 KiB at an acceptor."),
    field("max_buffered", client,
      "Memory for all sessions with their streams and buffers, in bytes. A session may hold at most as much as is still free; "
      .. "an acceptor refuses one that does not fit."),
    field("mtu", client, "Largest UDP payload to try, in bytes; what the path carries is found by probing. Only on kt's wire."),
    field("bandwidth", client, 'Bandwidth of the line in this direction, IP headers included, which is never exceeded; 0: find it by measuring. '
      .. 'On kcptun\'s wire only with mode = "auto".'),
    field("survive", client, "How long a link is kept without an answer from the peer; the smaller value of both ends applies. Only on kt's wire."),
    field("padding", client, "Pad small packets to random sizes, so that they tell an observer less. Only on kt's wire."),
    field("duplicate", client, "With several paths, send everything on two of them, so that it arrives as soon as the faster one delivers it. Only on kt's "
      .. "wire."),
    field("parity", client, "Rebuild lost packets from parity (FEC), which either end sends while its packets are lost: for flows with fec, and for streams "
      .. "that leave the line room to spare. Only on kt's wire, if both ends have it."),
    field("keepalive", client, "A link that is silent for this long, or for a third of survive, sends a packet, so that NATs keep its address; 0 means "
      .. "never. Only on kt's wire."),
    field("rate", client, "Send limit per session, in bytes of UDP payload per second; 0 means no limit."),
    field("max_flows", client, "Flows that the peer may have open; a new one replaces the one idle longest. 0 refuses all. Only on kt's wire."),
    field("flow_idle", client, "A flow ends after this long without a datagram. Only on kt's wire."),
    field("dscp", client, "DSCP of outgoing packets."),
    field("sockbuf", client, "Size of the UDP socket's send and receive buffers."),
    { name = "server_key", type = "string", only = "link",
      doc = "The peer's public key, in base64, or the text of its .pub file; with private_key. Only on kt's wire." },
    { name = "paths", type = "list", only = "link", of = { type = "interface", required = true, expected = "an IP address or an interface of this machine" },
      doc = ("This machine's addresses or network interfaces (\"wlan0\") to use at the same time, one path each, at most %d."):format(wire.lists.paths)
        .. " Packets are spread over "
        .. "them by their speed; if one fails, the others carry on. With an address, the system's routes choose the interface that packets "
        .. "leave by; with a name, they leave by that interface, from its address (Linux, SO_BINDTODEVICE; needs CAP_NET_RAW before 5.7). "
        .. "Default: one path, from the address that the system chooses. Only on kt's wire." },
    field("hop", client, "How often a link that carries anything moves to another port of the peer, and to another of its own; 0 means never. "
      .. "Only on kt's wire."),
    field("sessions", client, "Number of sessions, used in turn."),
    field("expire", client, "A session accepts no new streams after this long; 0 means no limit."),
    field("scavenge", client, "An expired session is closed after this much longer."),
    { name = "stay", type = "boolean", default = false, only = "link",
      doc = "Dial immediately instead of with the first stream, and redial whenever the session is lost. A link with :serve always does." },
    { name = "authorized", type = "keys", fn = true, only = "acceptor",
      call = "fun(key: string, from: table): string | false", waits = false, what = "authorized",
      doc = "The clients to accept, with their public keys in base64: { alice = \"…\" }; with private_key. "
        .. "Or a function authorized(key, { address }) that returns a client's name, or false; it must not wait, and refuses if it fails. "
        .. "A stream or link has its client's name as `identity`. Only on kt's wire." },
    field("max_sessions", client, "Maximum number of sessions; datagrams that would start another are dropped."),
  })
end

--- The descriptions of wire.keys by path: { ["kcp.mtu"] = "Maximum UDP payload, in bytes.", … }.
function wire.docs(client)
  local docs = {}
  local function walk(keys, prefix)
    for _, d in ipairs(keys) do
      docs[prefix .. d.name] = d.doc
      if d.keys then walk(d.keys, prefix .. d.name .. ".") end
    end
  end
  walk(wire.keys(client), "")
  return docs
end

--- Raises an error unless every setting of a wire has its description among wire.keys. For scripts/generate.
function wire.complete()
  local of_link, of_acceptor = wire.docs(true), wire.docs(false)
  for path in pairs(rows) do
    if not of_link[path] and not of_acceptor[path] then
      error(path .. ": a wire's settings.def has it; describe it in wire.keys of lua/kt/api/wire.lua", 0)
    end
  end
end

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
  local keys, fixed = {}, {}
  local function add(list, unfit, path, d)
    local row = rows[path]
    local out = {}
    for k, v in pairs(d) do out[k] = v end
    out.default, out.manual = nil, nil
    if d.keys then
      out.keys, out.fixed = {}, {}
      for _, inner in ipairs(d.keys) do add(out.keys, out.fixed, path .. "." .. inner.name, inner) end
    end
    if row and row.live or out.keys and #out.keys > 0 then list[#list + 1] = out else unfit[d.name] = true end
  end
  for _, d in ipairs(all) do add(keys, fixed, d.name, d) end
  for _, d in ipairs(keys) do
    if d.fixed and not next(d.fixed) then d.fixed = nil end
    if d.name == "fec" then
      d.doc = "Forward error correction. false turns it off, but the FEC header stays. A session can lower its parity and raise it "
        .. "back to its initial value; a different group size or more parity takes effect in a new session, which new streams use."
    end
  end
  return keys, fixed
end

return wire
