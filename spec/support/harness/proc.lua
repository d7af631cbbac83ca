-- Facts from /proc: a process's memory, descriptors and processor time; which ports are open on the system.
local uv = require "luv"

local proc = {}

local function slurp(path)
  local file = io.open(path)
  if not file then return nil end
  local text = file:read("a")
  file:close()
  return text
end

local function status_kib(pid, field)
  local text = assert(slurp(("/proc/%d/status"):format(pid)), "no such process")
  return tonumber(text:match(field .. ":%s*(%d+) kB")) * 1024
end

--- Bytes of memory in use now, and the peak.
function proc.rss(pid) return status_kib(pid, "VmRSS") end
function proc.peak_rss(pid) return status_kib(pid, "VmHWM") end

--- Resets the peak to what is in use now.
function proc.reset_peak(pid)
  local file = assert(io.open(("/proc/%d/clear_refs"):format(pid), "w"))
  file:write("5")
  file:close()
end

--- The number of open descriptors of the process.
function proc.fd_count(pid)
  local count, scan = 0, assert(uv.fs_scandir(("/proc/%d/fd"):format(pid)))
  while uv.fs_scandir_next(scan) do count = count + 1 end
  return count
end

local TICKS = 100 -- USER_HZ, a constant of the kernel's interface

--- Processor seconds used so far, user and system together.
function proc.cpu(pid)
  local text = assert(slurp(("/proc/%d/stat"):format(pid)), "no such process")
  local user, system = text:match("^.*%)" .. (" %S+"):rep(11) .. " (%d+) (%d+)")
  return (user + system) / TICKS
end

local function port_open(files, port, state)
  local wanted = ("^%%s*%%d+: %%x+:%04X %%x+:%%x+ %s "):format(port, state)
  for _, name in ipairs(files) do
    for line in (slurp("/proc/net/" .. name) or ""):gmatch("[^\n]+") do
      if line:find(wanted) then return true end
    end
  end
  return false
end

--- Whether a TCP port or a unix socket has a listener, or a UDP port is bound. Does not connect, because a connection would go through the
--- tunnel.
function proc.tcp_listening(port) return port_open({ "tcp", "tcp6" }, port, "0A") end
function proc.udp_bound(port) return port_open({ "udp", "udp6" }, port, "07") end
function proc.unix_listening(path)
  for line in (slurp("/proc/net/unix") or ""):gmatch("[^\n]+") do
    local flags, name = line:match("^%S+ %S+ %S+ (%S+) %S+ %S+ +%d+ (.*)$")
    if name == path and flags == "00010000" then return true end
  end
  return false
end

return proc
