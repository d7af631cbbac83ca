-- A child process. Keeps its output (bounded), waits for its end, and stops it only by its own pid.
local uv = require "luv"
local loop = require "harness.loop"
local proc = require "harness.proc"

uv.os_setenv("KT_RUNTIME_DIR", "/dev/null") -- no control socket, except where a spec wants one

local KEPT = 256 * 1024 -- the newest bytes of each output
local SHOWN = 4 * 1024 -- bytes of each that are printed when a spec fails

-- $KCPTUN_KEY, the key of kt client, kt server and kcptun where a spec gives none, as kt keygen makes it: a passphrase would take 0.1 s of processor
-- time and 64 MiB at each start.
local KEY = "MzIgYnl0ZXM6IGEga2V5IGFuZCBub3QgYSBwaHJhc2U="

local Process = {}
Process.__index = Process

local running = {} -- every process of this spec, in the order of their start

local function changed(self)
  local waiting = self.waiting
  self.waiting = {}
  for _, wake in ipairs(waiting) do wake() end
end

local function keep(self, name, pipe)
  pipe:read_start(function(_, chunk)
    if chunk then
      self[name] = (self[name] .. chunk):sub(-KEPT)
      self.fresh = (self.fresh .. chunk):sub(-KEPT)
      self.since[name] = (self.since[name] .. chunk):sub(-KEPT)
      self.received[name] = self.received[name] + #chunk
    elseif not pipe:is_closing() then
      pipe:close()
    end
    self.open_pipes = self.open_pipes - (chunk and 0 or 1)
    changed(self)
  end)
end

--- Starts {name=, cmd={program, args…}, env={NAME=value, or false for none}, cwd=, graceful=}. The child is killed if this process dies.
--- pipes: further pipes of luv, for its descriptors from 3 on. graceful: at the end of the spec it gets SIGTERM and must exit with 0.
local function start(options)
  local self = setmetatable({
    name = options.name or options.cmd[1], cmd = options.cmd, graceful = options.graceful,
    stdout = "", stderr = "", fresh = "", -- all output; both since the last mark
    since = { stdout = "", stderr = "" }, -- each since the last mark
    received = { stdout = 0, stderr = 0 }, -- bytes of each in all
    open_pipes = 2, waiting = {},
  }, Process)
  local out, err = uv.new_pipe(), uv.new_pipe()
  local args = { "--pdeathsig", "KILL", "--", table.unpack(options.cmd) }
  local set, env = uv.os_environ(), {}
  set.KCPTUN_KEY = KEY
  for name, value in pairs(options.env or {}) do set[name] = value end
  for name, value in pairs(set) do
    if value then env[#env + 1] = name .. "=" .. value end
  end
  local pid
  self.handle, pid = uv.spawn("setpriv", { args = args, stdio = { nil, out, err, table.unpack(options.pipes or {}) }, env = env, cwd = options.cwd },
    function(code, signal)
      self.code, self.signal, self.exited = code, signal, true
      self.handle:close()
      changed(self)
    end)
  if not self.handle then error("cannot start " .. self.name .. ": " .. tostring(pid)) end
  self.pid = pid
  keep(self, "stdout", out)
  keep(self, "stderr", err)
  running[#running + 1] = self
  return self
end

--- Waits until `predicate` returns a true value; calls it after each change of output or state.
function Process:wait_for(what, seconds, predicate)
  local deadline = loop.now() + (seconds or loop.default_timeout)
  while true do
    local found = predicate()
    if found then return found end
    local left = deadline - loop.now()
    if left <= 0 then error(("waited %g s for %s of %s"):format(seconds or loop.default_timeout, what, self.name), 2) end
    loop.wait_until(left, function(wake) self.waiting[#self.waiting + 1] = wake end)
  end
end

--- Waits until the process has ended and all its output was read; returns exit code and signal.
function Process:wait_exit(seconds)
  self:wait_for("the end", seconds, function() return self.exited and self.open_pipes == 0 end)
  return self.code, self.signal
end

--- Makes `expect` ignore the output so far.
function Process:mark()
  self.fresh = ""
  self.since.stdout, self.since.stderr = "", ""
end

--- Waits for a Lua pattern in stdout or stderr since the start or the last mark; returns its captures.
function Process:expect(pattern, seconds)
  local found = self:wait_for(("'%s' in the output"):format(pattern), seconds, function()
    -- stdout and stderr have separate writers, so their lines can mix.
    for _, text in ipairs { self.since.stdout, self.since.stderr, self.fresh } do
      local m = table.pack(text:match(pattern))
      if m[1] ~= nil then return m end
    end
    if self.exited and self.open_pipes == 0 then
      error(("%s ended (code %s, signal %s) without '%s' in its output"):format(self.name, self.code, self.signal, pattern))
    end
  end)
  return table.unpack(found, 1, found.n)
end

--- kt's counters by name, as it logs them on SIGUSR1.
function Process:counters()
  self:mark()
  self:signal_with("sigusr1")
  self:expect("StreamsMoved %d+\n")
  local counters = {}
  for name, value in self.fresh:gmatch("(%u%a+) (%d+)\n") do counters[name] = tonumber(value) end
  return counters
end

--- Waits until all that a kt has logged so far was read; returns stderr. What a running process writes may come late, so count a line, or
--- check that there is none, in what this returns. It lets kt log its counters, which come after.
function Process:logged()
  local before = self.received.stderr
  self:signal_with("sigusr1")
  return self:wait_for("the counters", nil, function()
    local new = self.received.stderr - before
    return (self.exited and self.open_pipes == 0 or new > 0 and self.stderr:sub(-new):find "StreamsMoved %d+\n") and self.stderr
  end)
end

function Process:signal_with(name)
  if not self.exited then uv.kill(self.pid, name) end
end

--- Sends SIGTERM and waits, then kills the process if it is still running; returns exit code and signal.
function Process:stop(seconds)
  self:signal_with("sigterm")
  local ok = pcall(self.wait_exit, self, seconds or 8)
  if not ok then self:kill() end
  return self.code, self.signal
end

function Process:kill()
  self.graceful = false
  self:signal_with("sigkill")
  return self:wait_exit(10)
end

--- Waits until `ready()` is true; fails at once if the process ends first.
function Process:wait_ready(what, ready, seconds)
  loop.eventually(("%s to have %s"):format(self.name, what), seconds or 10, function()
    if self.exited then
      error(("%s ended (code %s, signal %s) before it had %s"):format(self.name, self.code, self.signal, what), 0)
    end
    return ready()
  end)
  return self
end

function Process:wait_tcp(port) return self:wait_ready("TCP port " .. port, function() return proc.tcp_listening(port) end) end
function Process:wait_udp(port) return self:wait_ready("UDP port " .. port, function() return proc.udp_bound(port) end) end
function Process:wait_unix(path) return self:wait_ready("socket " .. path, function() return proc.unix_listening(path) end) end

function Process:rss() return proc.rss(self.pid) end
function Process:peak_rss() return proc.peak_rss(self.pid) end
function Process:fd_count() return proc.fd_count(self.pid) end
--- The count once it has been stable for 0.3 s, so that pending closes are done.
function Process:settled_fd_count()
  local count, since
  return loop.eventually("a settled count of descriptors", 10, function()
    local now = self:fd_count()
    if now ~= count then count, since = now, loop.now() end
    return loop.now() - since > 0.3 and count
  end)
end

function Process:cpu() return proc.cpu(self.pid) end

--- A report of all processes of this spec, for finding out why it failed.
local function report()
  local lines = {}
  for _, p in ipairs(running) do
    local state = p.exited and ("ended, code %s, signal %s"):format(p.code, p.signal) or "running"
    lines[#lines + 1] = ("---- %s (pid %d, %s): %s"):format(p.name, p.pid, state, table.concat(p.cmd, " "))
    for _, text in ipairs { p.stdout, p.stderr } do
      if text ~= "" then lines[#lines + 1] = (text:sub(-SHOWN):gsub("\n$", "")) end
    end
  end
  return table.concat(lines, "\n")
end

--- A sanitizer's report about the process, if there is one.
local function sanitizer_report(p)
  local at = p.stderr:find("ERROR: %a+Sanitizer") or p.stderr:find("runtime error: ")
  return at and p.stderr:sub(at, at + SHOWN)
end

local function exited_within(p, seconds) return (pcall(p.wait_exit, p, seconds)) end

--- Sends SIGTERM so that the process drains, and again if that takes long: a kt whose peer does not support half-close waits for the rest
--- of a reply.
local function end_gracefully(p)
  p:signal_with("sigterm")
  if exited_within(p, 0.5) then return end
  p:signal_with("sigterm")
  if exited_within(p, 8) then return end
  p:kill()
  return p.name .. " did not end within 8 s of a second SIGTERM"
end

--- Ends what still runs and forgets all processes. Returns a list of sentences about those that did not end well.
local function end_all()
  local wrong = {}
  for _, p in ipairs(running) do
    if p.graceful then
      wrong[#wrong + 1] = end_gracefully(p)
      if p.graceful and (p.code ~= 0 or p.signal ~= 0) then
        wrong[#wrong + 1] = ("%s ended with code %d, signal %d:\n%s"):format(p.name, p.code, p.signal, p.stderr:sub(-SHOWN))
      end
    end
  end
  for _, p in ipairs(running) do
    if not p.exited then p:kill() end
    local report_of = sanitizer_report(p)
    if report_of then wrong[#wrong + 1] = p.name .. ": " .. report_of end
  end
  running = {}
  return wrong
end

return { KEY = KEY, start = start, report = report, end_all = end_all }
