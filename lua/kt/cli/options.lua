-- The flags of `kt client` and `kt server`, with kcptun's names and defaults. Flags, help, JSON configuration and the report of effective
-- settings all use this table.
--
-- A row has
--   name      the long flag; short and alias are a short and a second long form
--   json      the key in a configuration file; default: the name; false if a file cannot set it
--   type      "string", "int", "bool" or "enum"; min and max for ints, values for enums, and for strings that another module checks
--   unit      "size" or "rate": an int that may also be written with a unit (kt.units)
--   default   nil if the setting is optional
--   group     the section of the help; arg: the name of the value; help: the text; default: what describes `of`
--   only      "client" or "server", if only one of them has the flag; other: the other end's counterpart
--   of        "kcp.mtu": the setting of kt.link (server: kt.accept) from which range, unit, values and default are taken
--   kt        the setting of kt's own wire that the flag stands for, if it is not `of`
--   wire      "kt" or "kcptun": the wire that alone has the setting; default: the one that alone has `of`
--   native    derived: the setting of kt's wire that is logged apart: `kt`, or `of` if its default differs there
--   several   the key of a list that kt sip003 may set instead
--   secret    whether the value is kept out of logs
--   low, high kcptun accepts any integer. Where the tunnel can still work, kt replaces a value below min by low and one above max by
--             high (a number; true: min or max itself; or a function of the value and the row that may return nil). Without low or high
--             the value is refused.
--   when      when(values): whether the setting is in use; an unused setting is not checked
--   unknown   what kcptun does with a name that is not among the values

local wire, wires = require "kt.api.wire", require "kt.api.wires"

local options = {}

options.groups = {
  { "addresses", "Addresses" }, { "security", "Security" }, { "kcp", "KCP" }, { "fec", "FEC (forward error correction)" },
  { "mux", "Sessions and streams" }, { "operation", "Operation" },
}

local function most(_, row) return row.max end
local function six_bits(n) return n & 63 end
local function manual(values) return values.mode == "manual" end
local function expiring(values) return values.autoexpire > 0 end

local rows = {
  { name = "localaddr", short = "l", type = "string", default = ":12948", only = "client", other = "listen",
    group = "addresses", arg = "ADDR", help = "where applications connect: host:port, :port, or the path of a unix socket" },
  { name = "remoteaddr", short = "r", type = "string", default = "vps:29900", only = "client", other = "target", several = "remotes",
    group = "addresses", arg = "ADDR", help = "the server: host:port, or host:min-max to pick a port for each session" },
  { name = "listen", short = "l", type = "string", default = ":29900", only = "server", other = "localaddr", several = "listens",
    group = "addresses", arg = "ADDR", help = "UDP address to listen on: host:port, :port, or host:min-max" },
  { name = "target", short = "t", type = "string", default = "127.0.0.1:12948", only = "server", other = "remoteaddr",
    group = "addresses", arg = "ADDR", help = "where connections go: host:port, :port, or the path of a unix socket" },
  { name = "to", type = "string", default = "", only = "client", other = "allow", group = "addresses", arg = "ADDR",
    help = "ask the server to connect to host:port instead of its --target; needs kt's wire, and the server's --allow" },
  { name = "allow", type = "string", default = "", only = "server", other = "to", group = "addresses", arg = "PATTERNS",
    help = "targets that clients may ask for with --to: host:port, * for any part, separated by commas" },
  { name = "acceptproxy", type = "string", default = "", only = "client", other = "proxy", group = "addresses", arg = "FROM",
    help = "expect a PROXY protocol header from these load balancers (addresses and networks separated by commas, or any) and take the "
      .. "client's address from it" },
  { name = "proxy", type = "enum", values = { "none", "v1", "v2" }, default = "none", only = "server", other = "acceptproxy", group = "addresses",
    arg = "VERSION", unknown = "kcptun has no such flag",
    help = "send the target a PROXY protocol header with the client's address first: none, v1 or v2; the target must expect it" },
  { name = "udp", type = "string", default = "", only = "client", group = "addresses", arg = "ADDRS",
    help = "where applications send datagrams: ADDR, or ADDR=TARGET to ask for another target than the server's --udp; separated by commas" },
  { name = "udp", type = "string", default = "", only = "server", group = "addresses", arg = "ADDR",
    help = "where datagrams of clients go: host:port; needs kt's wire" },
  { name = "udpidle", type = "int", of = "flow_idle", group = "addresses", arg = "SECONDS",
    help = "end a flow after this long without a datagram from its address" },

  { name = "wire", type = "enum", values = wires, default = wires[1], group = "security", arg = "NAME",
    unknown = "kcptun has no such flag",
    help = "protocol: kt, kcptun, or auto (kt's between two kts, otherwise kcptun's)" },
  { name = "key", type = "string", default = wire.default_key, secret = true, group = "security", arg = "KEY",
    help = "shared secret; can also be set with $KCPTUN_KEY" },
  { name = "privatekey", type = "string", default = "", group = "security", arg = "FILE",
    help = "this end's private key, made by kt keygen --pair: the ends know each other by their keys; needs kt's wire" },
  { name = "serverkey", type = "string", default = "", only = "client", other = "authorized", group = "security", arg = "KEY",
    help = "the server's public key, with --privatekey" },
  { name = "authorized", type = "string", default = "", only = "server", other = "serverkey", group = "security", arg = "FILE",
    help = "clients to accept, with --privatekey: one line NAME PUBLIC-KEY [PATTERNS] for each; PATTERNS are those of --allow for this client" },
  { name = "crypt", type = "enum", of = "crypt", group = "security", arg = "NAME",
    unknown = "kcptun silently uses aes instead" },
  { name = "QPP", json = "qpp", type = "bool", of = "qpp", group = "security",
    help = "enable Quantum Permutation Pads; must match on both ends" },
  { name = "QPPCount", json = "qpp-count", type = "int", of = "qpp.pads", group = "security", arg = "N",
    when = function(values) return values.QPP end },
  { name = "tuncrypt", type = "bool", of = "tuncrypt", group = "security" },

  { name = "mode", type = "enum", of = "mode", group = "kcp", arg = "NAME",
    unknown = "kcptun silently uses manual instead",
    help = "auto finds the path's bandwidth by itself; the others are kcptun's retransmission profiles; manual uses --nodelay, "
      .. "--interval, --resend and --nc" },
  { name = "bandwidth", type = "string", of = "bandwidth", default = "", group = "kcp", arg = "RATE", when = function(values) return values.bandwidth ~= "" end,
    help = "mode auto: bandwidth of the line in this direction, such as 50Mbit; never exceeded" },
  { name = "mtu", type = "int", of = "kcp.mtu", kt = "mtu", group = "kcp", arg = "BYTES", help = "largest UDP payload",
    low = function(n, row) return n < 50 and 1400 or row.min end, high = true },
  { name = "sndwnd", type = "int", of = "kcp.sndwnd", group = "kcp", arg = "N", low = 32, high = true },
  { name = "rcvwnd", type = "int", of = "kcp.rcvwnd", group = "kcp", arg = "N", low = 32, high = true },
  { name = "ratelimit", type = "int", of = "rate", group = "kcp", arg = "RATE",
    help = "send rate limit per session, in bytes per second or with a unit, such as 20Mbit; 0: no limit", low = true, high = true },
  { name = "acknodelay", type = "bool", of = "kcp.acknodelay", group = "kcp" },
  { name = "nodelay", type = "int", of = "kcp.nodelay", group = "kcp", arg = "N", when = manual,
    help = "mode manual: 1 shortens the retransmission timeout", low = true, high = true },
  { name = "interval", type = "int", of = "kcp.interval", group = "kcp", arg = "MS", when = manual,
    help = "mode manual: time between flushes, in milliseconds",
    low = function(n, row) return n < 0 and 100 or row.min end, high = true },
  { name = "resend", type = "int", of = "kcp.resend", group = "kcp", arg = "N", when = manual,
    help = "mode manual: retransmit after this many later acknowledgements; 0: only after a timeout",
    low = true, high = true },
  { name = "nc", type = "int", of = "kcp.nc", group = "kcp", arg = "N", when = manual,
    help = "mode manual: 1 turns congestion control off", low = true, high = true },
  { name = "dscp", type = "int", of = "dscp", group = "kcp", arg = "N", low = six_bits, high = six_bits },
  { name = "sockbuf", type = "int", of = "sockbuf", group = "kcp", arg = "SIZE",
    help = "size of the UDP socket's buffers, in bytes or with a unit, such as 4MiB", low = most, high = true },

  { name = "datashard", alias = "ds", type = "int", of = "fec.data", group = "fec", arg = "N", low = true },
  { name = "parityshard", alias = "ps", type = "int", of = "fec.parity", group = "fec", arg = "N", low = true },

  { name = "conn", type = "int", of = "sessions", only = "client", group = "mux", arg = "N" },
  { name = "autoexpire", type = "int", of = "expire", only = "client", group = "mux", arg = "SECONDS",
    help = "replace a session after this time; 0: never", low = true, high = true },
  { name = "scavengettl", type = "int", of = "scavenge", only = "client", group = "mux", arg = "SECONDS",
    when = expiring, help = "time that the streams of a replaced session have to finish",
    low = true, high = true },
  { name = "nocomp", type = "bool", default = false, wire = "kcptun", group = "mux", help = "disable compression; must match on both ends" },
  { name = "smuxver", type = "int", of = "smux.version", group = "mux", arg = "N",
    help = "smux version; must match on both ends (kcptun before 2025-11 uses 1)" },
  { name = "smuxbuf", type = "int", of = "smux.buffer", group = "mux", arg = "SIZE",
    help = "receive buffer that the streams of a session share",
    low = function(n, row) return n > 0 and row.min or nil end, high = true },
  { name = "streambuf", type = "int", of = "smux.stream_buffer", group = "mux", arg = "SIZE",
    low = function(n, row) return n > 0 and row.min or nil end },
  { name = "framesize", type = "int", of = "smux.frame", group = "mux", arg = "BYTES" },
  { name = "keepalive", type = "int", of = "smux.keepalive", kt = "keepalive", group = "mux", arg = "SECONDS" },
  { name = "suspectpeer", type = "int", of = "suspect_after", group = "mux", arg = "SECONDS",
    help = "after this long without an answer, new connections use a new session" },
  { name = "deadpeer", type = "int", of = "dead_after", kt = "survive", group = "mux", arg = "SECONDS",
    help = "after this long without an answer, a session and its connections end" },
  { name = "maxstreams", type = "int", of = "max_streams", group = "mux", arg = "N",
    help = "streams that a session may have open at once; cannot be unlimited", low = true, high = true },
  { name = "maxbuffered", type = "int", of = "max_buffered", group = "mux", arg = "SIZE",
    help = "memory for all sessions with their streams and buffers, in bytes or with a unit, such as 64MiB", low = true, high = true },
  { name = "maxsessions", type = "int", of = "max_sessions", only = "server", group = "mux", arg = "N",
    low = true, high = true },
  { name = "closewait", type = "int", min = 0, max = 86400, group = "mux", arg = "SECONDS", low = 0, high = 86400,
    help = "how long a stream stays half open with a peer that is not kt (default: client 10, then 1 after the last byte "
      .. "of the reply; server 0)" },

  { name = "usertimeout", type = "int", min = 0, max = 86400, default = 60, group = "operation", arg = "SECONDS",
    help = "reset a TCP connection that leaves sent data unacknowledged for this long; 0: the system's limit" },
  { name = "c", json = false, type = "string", default = "", group = "operation", arg = "FILE",
    help = "read settings from a JSON file; they override flags" },
  { name = "log", type = "string", default = "", group = "operation", arg = "FILE", help = "append the log to a file; the default is stderr" },
  { name = "loglevel", type = "string", values = { "debug", "info", "warn", "error", "quiet" }, default = "info", group = "operation", arg = "LEVEL",
    help = "debug, info, warn, error or quiet" },
  { name = "logformat", type = "string", values = { "text", "json", "journald" }, default = "text", group = "operation", arg = "FORMAT",
    help = "text, json, or journald, which sends the log to systemd's journal" },
  { name = "quiet", type = "bool", default = false, group = "operation", help = "do not log the opening and closing of streams" },
  { name = "snmplog", type = "string", default = "", group = "operation", arg = "FILE",
    help = "append counters to a CSV file; 2006, 01, 02, 15, 04 and 05 in its name stand for date and time" },
  { name = "snmpperiod", type = "int", min = 0, max = 86400, default = 60, group = "operation", arg = "SECONDS",
    when = function(values) return values.snmplog ~= "" end, help = "time between lines of the snmplog; 0: none",
    low = 0, high = 86400 },
  { name = "nodiagnose", type = "bool", default = false, only = "server", group = "operation",
    help = "refuse kt ping, kt speed and kt doctor, which otherwise any client may use" },
  { name = "control", type = "string", default = "", group = "operation", arg = "PATH",
    help = "path of the control socket (kt status, kt top), or none for no socket (default NAME.sock in $XDG_RUNTIME_DIR/kt or /run/kt)" },
  { name = "http", type = "string", default = "", group = "operation", arg = "ADDR",
    help = "serve metrics and a status page at ADDR: 127.0.0.1:9100, unix:/path; see docs/monitoring.md" },
  { name = "httptoken", type = "string", default = "", group = "operation", arg = "FILE",
    help = "require the token in FILE; mandatory unless --http is a loopback address or a unix socket" },
  { name = "tcp", type = "bool", default = false, group = "operation", help = "refused: kt does not imitate TCP" },
  { name = "pprof", type = "bool", default = false, group = "operation", help = "refused: kt has no Go profiler" },
  { name = "help", json = false, short = "h", type = "bool", default = false, group = "operation", help = "show this help" },
  { name = "version", json = false, short = "v", type = "bool", default = false, group = "operation", help = "show the version" },
}

-- "Send window: …." as help has it: "send window: …"; "DSCP …" stays.
local function as_help(doc) return (doc:gsub("^%u%l", string.lower):gsub("%.$", "")) end

-- docs: what wire.docs returns for this side.
local function complete(row, client, docs)
  local copy = {}
  if row.of then
    for name, value in pairs(wire.setting(row.of, client)) do copy[name] = value end
    if row.type == "int" and type(copy.default) == "boolean" then copy.default = copy.default and 1 or 0 end
    copy.wire, copy.native = wire.only(row.of), row.kt
    if row.type == "int" and not copy.wire and wire.native_setting(row.of, client).default ~= copy.default then copy.native = row.of end
  end
  for key, value in pairs(row) do copy[key] = value end
  copy.help = copy.help or as_help(docs[row.of])
  if copy.low == true then copy.low = copy.min end
  if copy.high == true then copy.high = copy.max end
  if copy.json == nil then copy.json = row.name end
  return copy
end

--- A key of a configuration file as Go compares it: without case, which makes the Kelvin sign a k and the long s an s.
function options.fold(name) return (name:lower():gsub("\u{212a}", "k"):gsub("\u{17f}", "s")) end

--- The rows of one side ("client" or "server"); also by each name of their flags, and by JSON key, folded.
function options.of(side)
  local list, by_flag, by_json = {}, {}, {}
  local client = side == "client"
  local docs = wire.docs(client)
  for _, row in ipairs(rows) do
    if not row.only or row.only == side then
      local copy = complete(row, client, docs)
      list[#list + 1] = copy
      for _, flag in ipairs { copy.name, copy.short or copy.name, copy.alias } do by_flag[flag] = copy end
      if copy.json then by_json[options.fold(copy.json)] = copy end
    end
  end
  return list, by_flag, by_json
end

return options
