-- Reports of `kt client` and `kt server`: effective settings at the start, counters on SIGUSR1 and in the snmplog.

local core = require "kt.core"
local kt = require "kt"
local options = require "kt.cli.options"
local wire = require "kt.api.wire"

local report = {}

local function onoff(value)
  return value and "on" or "off"
end

-- The settings of kt's own wire.
local function native(say, side, config)
  local function value(path) return config[path] or wire.native_setting(path, side == "client").default end
  say("  %smtu up to %d, bandwidth %s, keepalive %s, suspectpeer %s, deadpeer %s", config.wire == "auto" and "on kt's wire: " or "", value "mtu",
    config.bandwidth or "measured", value "keepalive" > 0 and value "keepalive" .. " s" or "off", value "suspect_after" .. " s",
    value "survive" .. " s")
end

-- Names of the given flags that have no effect with a peer on kt's wire.
local function only_kcptun(list, from)
  local names = {}
  for _, row in ipairs(list) do
    if from[row.name] and not row.kt and (row.name == "nocomp" or row.of and wire.only(row.of) == "kcptun") then names[#names + 1] = row.name end
  end
  return names
end

local function kcptun(say, values, from)
  local function sized(name)
    return values.mode == "auto" and not from[name] and "auto" or ("%d"):format(values[name])
  end
  say("  crypt %s, tuncrypt %s, QPP %s%s", values.crypt, onoff(values.tuncrypt), onoff(values.QPP),
    values.QPP and (" (%d pads)"):format(values.QPPCount) or "")
  say("  mode %s%s, sndwnd %s, rcvwnd %s, mtu %d, acknodelay %s", values.mode, values.mode == "manual"
    and (" (nodelay %d, interval %d, resend %d, nc %d)"):format(values.nodelay, values.interval, values.resend, values.nc)
    or values.bandwidth ~= "" and (" (bandwidth %s)"):format(values.bandwidth) or "",
    sized "sndwnd", sized "rcvwnd", values.mtu, onoff(values.acknodelay))
  local fec = values.datashard > 0 and values.parityshard > 0
  local unsent = values.mode == "auto" and not from.datashard and not from.parityshard
  local shards = ("%d+%d%s"):format(values.datashard, values.parityshard, unsent and " (parity not sent)" or "")
  say("  FEC %s, compression %s, ratelimit %s", fec and shards or "off", onoff(not values.nocomp),
    values.ratelimit > 0 and values.ratelimit .. " bytes/s" or "off")
  say("  smux %d, smuxbuf %s, streambuf %s, framesize %d, keepalive %d s, suspectpeer %d s, deadpeer %d s", values.smuxver, sized "smuxbuf",
    sized "streambuf", values.framesize, values.keepalive, values.suspectpeer, values.deadpeer)
end

local speaks = { kcptun = "kcptun wire", kt = "kt wire", auto = "kt wire or kcptun wire" }

-- Logs the effective settings, without the key. config: what settings.link made.
function report.settings(side, values, from, config)
  local say = kt.log.info
  say("kt %s %s, %s", side, core.version, speaks[values.wire])
  local sessions = side == "client" and values.wire ~= "kt" and (", conn %d, autoexpire %d s, scavengettl %d s"):format(values.conn,
    values.autoexpire, values.scavengettl) or ""
  if side == "client" then
    say("  listen %s, remote %s%s", values.localaddr, table.concat(values.remotes or { values.remoteaddr }, ", "), sessions)
    if values.acceptproxy ~= "" then say("  PROXY protocol headers from %s", values.acceptproxy) end
    for _, udp in ipairs(values.udp) do say("  udp %s to %s", udp.at, udp.to or "the server's --udp") end
  else
    say("  listen %s, target %s%s", table.concat(values.listens or { values.listen }, ", "), values.target, values.udp ~= "" and ", udp " .. values.udp or "")
    if values.proxy ~= "none" then say("  PROXY protocol %s to the target", values.proxy) end
  end
  say("  key from %s, dscp %d, sockbuf %d, maxstreams %d, maxbuffered %d", from.key or "the default", values.dscp, values.sockbuf,
    values.maxstreams, values.maxbuffered)
  if values.wire ~= "kcptun" then native(say, side, config) end
  if values.wire == "auto" then
    local names = only_kcptun(options.of(side), from)
    say("  on kcptun's wire%s:", #names > 0 and (", which alone uses %s"):format(table.concat(names, ", ")) or "")
  end
  if values.wire ~= "kt" then kcptun(say, values, from) end
  say("  usertimeout %s, closewait %s", values.usertimeout > 0 and values.usertimeout .. " s" or "off",
    values.closewait and values.closewait .. " s" or "as needed")
end

-- SIGUSR1: logs all counters, one per line, then the statistics of each link or acceptor.
function report.on_usr1(handles)
  core.on_signal("USR1", function()
    local lines = {}
    for _, c in ipairs(core.counters()) do lines[#lines + 1] = ("%s %d"):format(c[1], c[2]) end
    for _, handle in ipairs(handles) do
      local stats = handle:stats()
      local names = {}
      for name in pairs(stats) do names[#names + 1] = name end
      table.sort(names)
      if #handles > 1 then lines[#lines + 1] = tostring(handle) end
      for _, name in ipairs(names) do lines[#lines + 1] = ("%s %s"):format(name, tostring(stats[name])) end
    end
    core.log_text(table.concat(lines, "\n") .. "\n")
  end)
end

-- Go's reference time in a file name, as in kcptun.
local layout = {["2006"] = "%Y", ["01"] = "%m", ["02"] = "%d", ["15"] = "%H", ["04"] = "%M", ["05"] = "%S"}

local function file_name(path)
  local name = path:gsub("%%", "%%%%"):gsub("%d+", function(digits)
    return layout[digits] or (digits:gsub("2006", "%%Y"):gsub("0[1245]", layout):gsub("15", "%%H"))
  end)
  return core.date(name)
end

-- Appends the counters to the snmplog every `period` seconds; a new file begins with a header line.
function report.snmp(path, period)
  if path == "" or period == 0 then return end
  kt.spawn(function()
    local complained
    while true do
      kt.sleep(period)
      if core.replaced() then return end -- the new script writes the log
      local names, values = {"Unix"}, {core.date "%s"}
      for _, c in ipairs(core.counters()) do
        names[#names + 1] = c[1]
        values[#values + 1] = ("%d"):format(c[2])
      end
      local ok, err = core.append_row(file_name(path), table.concat(names, ",") .. "\n", table.concat(values, ",") .. "\n")
      if not ok and not complained then kt.log.warn("snmplog: %s", tostring(err)) end
      complained = not ok
    end
  end)
end

return report
