-- The flags of `kt client` and `kt server`: kcptun's names and defaults, in one table from which the parser, the help, the JSON configuration and
-- the report of effective settings are made.
--
-- A row without a default has none: the value is nil unless given.
--
-- A row: name (the long flag), short (its short form), alias (a second long form), json (its key in a configuration file when that differs),
-- type ("string", "int", "bool"), min and max for ints, default, help. A row with only = "client" or "server" exists there only. A row with
-- of = "kcp.mtu" is that setting of kt.link (server: kt.accept): kt.api says its range and its default, once for scripts and flags.

local api = require "kt.api"

local options = {}

local rows = {
  {name = "localaddr", short = "l", type = "string", default = ":12948", only = "client",
   help = "where applications connect: host:port, :port, or the path of a unix socket"},
  {name = "remoteaddr", short = "r", type = "string", default = "vps:29900", only = "client",
   help = "the server: host:port, or host:min-max to pick a port of a range for each session"},
  {name = "listen", short = "l", type = "string", default = ":29900", only = "server",
   help = "UDP address to listen on: host:port, :port, or host:min-max"},
  {name = "target", short = "t", type = "string", default = "127.0.0.1:12948", only = "server",
   help = "where streams are taken to: host:port, or the path of a unix socket"},
  {name = "key", type = "string", default = "it's a secrect",
   help = "the shared secret; also taken from $KCPTUN_KEY"},
  {name = "crypt", type = "string", default = "aes",
   help = "aes, aes-128, aes-192, aes-128-gcm, salsa20, blowfish, twofish, cast5, 3des, tea, xtea, xor, sm4, none, null"},
  {name = "mode", type = "string", default = "fast",
   help = "fast3, fast2, fast, normal, default, or manual (then nodelay, interval, resend and nc count)"},
  {name = "QPP", json = "qpp", type = "bool", default = false, help = "permute stream bytes (kcptun's QPP)"},
  {name = "QPPCount", json = "qpp-count", type = "int", of = "qpp.pads", help = "number of QPP pads"},
  {name = "tuncrypt", type = "bool", default = false,
   help = "encrypt each stream from end to end as well; kt on both ends"},
  {name = "conn", type = "int", of = "sessions", only = "client",
   help = "number of UDP sessions, used in rotation"},
  {name = "autoexpire", type = "int", min = 0, max = 31536000, default = 0, only = "client",
   help = "replace a session that is older than so many seconds; 0: never"},
  {name = "scavengettl", type = "int", min = 0, max = 31536000, default = 600, only = "client",
   help = "cut a replaced session after so many seconds"},
  {name = "mtu", type = "int", of = "kcp.mtu", help = "largest UDP payload in bytes"},
  {name = "ratelimit", type = "int", min = 0, max = 1 << 40, default = 0,
   help = "most bytes a second a session may send; 0: no limit"},
  {name = "sndwnd", type = "int", of = "kcp.sndwnd", help = "send window in packets"},
  {name = "rcvwnd", type = "int", of = "kcp.rcvwnd", help = "receive window in packets"},
  {name = "datashard", alias = "ds", type = "int", of = "fec.data",
   help = "FEC: data packets in a group; 0: no FEC"},
  {name = "parityshard", alias = "ps", type = "int", of = "fec.parity",
   help = "FEC: parity packets in a group; 0: no FEC"},
  {name = "dscp", type = "int", of = "dscp", help = "DSCP of the datagrams sent"},
  {name = "nocomp", type = "bool", default = false, help = "no compression; the same on both ends"},
  {name = "acknodelay", type = "bool", default = false, help = "acknowledge at once"},
  {name = "nodelay", type = "int", min = 0, max = 1, default = 0, help = "with mode manual: 1 retransmits sooner"},
  {name = "interval", type = "int", of = "kcp.interval", default = 50, help = "with mode manual: KCP's tick in milliseconds"},
  {name = "resend", type = "int", of = "kcp.resend", default = 0,
   help = "with mode manual: retransmit after so many later acknowledgements; 0: only after a timeout"},
  {name = "nc", type = "int", min = 0, max = 1, default = 0, help = "with mode manual: 1 switches congestion control off"},
  {name = "sockbuf", type = "int", min = 0, max = 1 << 30, default = 4194304, help = "socket buffer in bytes"},
  {name = "smuxver", type = "int", of = "smux.version",
   help = "version of smux, the same on both ends (kcptun before 2025-11 defaults to 1)"},
  {name = "smuxbuf", type = "int", of = "smux.buffer",
   help = "most bytes buffered for all streams of a session"},
  {name = "framesize", type = "int", of = "smux.frame", help = "largest smux frame sent, in bytes"},
  {name = "streambuf", type = "int", of = "smux.stream_buffer",
   help = "most bytes buffered for a stream (smux 2)"},
  {name = "keepalive", type = "int", of = "smux.keepalive", help = "seconds between heartbeats"},
  {name = "suspectpeer", type = "int", of = "suspect_after",
   help = "seconds of silence, while the peer owes an answer, after which new connections use a new session"},
  {name = "deadpeer", type = "int", of = "dead_after",
   help = "seconds of silence, while the peer owes an answer, after which a session and its connections end"},
  {name = "closewait", type = "int", min = 0, max = 86400,
   help = "seconds a stream may go on one way, quiet, after the other way ended, with a peer that is not a kt; "
     .. "default: client 10, and 1 once something has come back; server 0"},
  {name = "snmplog", type = "string", default = "",
   help = "append the counters to this file as CSV; 2006, 01, 02, 15, 04, 05 in its name stand for date and time"},
  {name = "snmpperiod", type = "int", min = 0, max = 86400, default = 60, help = "seconds between lines of the snmplog"},
  {name = "log", type = "string", default = "", help = "append the log to this file instead of stderr"},
  {name = "loglevel", type = "string", default = "info", help = "debug, info, warn, error or quiet"},
  {name = "quiet", type = "bool", default = false, help = "do not log the opening and closing of streams"},
  {name = "tcp", type = "bool", default = false, help = "refused: kt does not fake TCP"},
  {name = "pprof", type = "bool", default = false, help = "refused: that is Go's profiler"},
}

-- What kt.api says of a setting by its path.
local function described(side, path)
  local at = api.functions[side == "client" and "kt.link" or "kt.accept"].argument
  for name in path:gmatch "[^.]+" do
    local found
    for _, key in ipairs(at.keys) do found = key.name == name and key or found end
    at = found or error("no setting " .. path)
  end
  return at
end

-- The rows of one side ("client" or "server"), each with its default in `default`; also indexed by flag and by JSON key.
function options.of(side)
  local list, by_name, by_json = {}, {}, {}
  for _, row in ipairs(rows) do
    if not row.only or row.only == side then
      local copy = {}
      if row.of then
        local setting = described(side, row.of)
        copy.min, copy.max, copy.default = setting.min, setting.max or setting.below and setting.below - 1, setting.default
      end
      for key, value in pairs(row) do copy[key] = value end
      copy.json = row.json or row.name
      list[#list + 1] = copy
      by_name[copy.name] = copy
      if copy.alias then by_name[copy.alias] = copy end
      by_json[copy.json] = copy
    end
  end
  return list, by_name, by_json
end

return options
