-- What `kt client` and `kt server` report: effective settings at the start, counters on SIGUSR1 and in the snmplog.

local core = require "kt.core"
local kt = require "kt"

local report = {}

local function onoff(value)
  return value and "on" or "off"
end

-- Logs the effective settings, without the key.
function report.settings(side, values, from)
  local say = kt.log.info
  say("kt %s %s, kcptun wire", side, core.version)
  if side == "client" then
    say("  listen %s, remote %s, conn %d, autoexpire %d s, scavengettl %d s", values.localaddr, values.remoteaddr, values.conn,
      values.autoexpire, values.scavengettl)
  else
    say("  listen %s, target %s", values.listen, values.target)
  end
  say("  crypt %s, key from %s, tuncrypt %s, QPP %s%s", values.crypt, from.key or "the default", onoff(values.tuncrypt),
    onoff(values.QPP), values.QPP and (" (%d pads)"):format(values.QPPCount) or "")
  local function sized(name)
    return values.mode == "auto" and not from[name] and "auto" or ("%d"):format(values[name])
  end
  say("  mode %s%s, sndwnd %s, rcvwnd %s, mtu %d, acknodelay %s", values.mode, values.mode == "manual"
    and (" (nodelay %d, interval %d, resend %d, nc %d)"):format(values.nodelay, values.interval, values.resend, values.nc)
    or values.bandwidth ~= "" and (" (bandwidth %s)"):format(values.bandwidth) or "",
    sized "sndwnd", sized "rcvwnd", values.mtu, onoff(values.acknodelay))
  local fec = values.datashard > 0 and values.parityshard > 0
  local unsent = values.mode == "auto" and not from.datashard and not from.parityshard
  local shards = ("%d+%d%s"):format(values.datashard, values.parityshard, unsent and " (parity not sent)" or "")
  say("  FEC %s, compression %s, ratelimit %s, dscp %d, sockbuf %d", fec and shards or "off", onoff(not values.nocomp),
    values.ratelimit > 0 and values.ratelimit .. " bytes/s" or "off", values.dscp, values.sockbuf)
  say("  smux %d, smuxbuf %s, streambuf %s, framesize %d, maxstreams %d, maxbuffered %d", values.smuxver, sized "smuxbuf", sized "streambuf",
    values.framesize, values.maxstreams, values.maxbuffered)
  say("  keepalive %d s, suspectpeer %d s, deadpeer %d s, closewait %s", values.keepalive, values.suspectpeer, values.deadpeer,
    values.closewait and values.closewait .. " s" or "as needed")
  say("  usertimeout %s", values.usertimeout > 0 and values.usertimeout .. " s" or "off")
end

-- SIGUSR1: logs all counters, one per line, then the statistics of the link or acceptor.
function report.on_usr1(handle)
  core.on_signal("USR1", function()
    local lines = {}
    for _, c in ipairs(core.counters()) do lines[#lines + 1] = ("%s %d"):format(c[1], c[2]) end
    local stats = handle:stats()
    local names = {}
    for name in pairs(stats) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do lines[#lines + 1] = ("%s %s"):format(name, tostring(stats[name])) end
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
