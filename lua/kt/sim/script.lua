--- Scripts running on simulated hosts.
local class = require "kt.sim.class"
local clock = require "kt.sim.clock"
local complain = require "kt.sim.complain"
local settings = require "kt.sim.settings"
local shape = require "kt.sim.shape"
local task = require "kt.sim.task"

local script = {}
script.__index = script

local LINES_MAX = 10000

local function pairs_of(map)
  local names, out = {}, {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do out[i] = name .. "=" .. tostring(map[name]) end
  return out
end

-- Paths without a leading / are relative to the script's folder.
local function put_files(host, path, files)
  local folder = path:match "^(.*/)" or ""
  local names = {}
  for name in pairs(files) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    host.world.core:put_file(host.name, name:sub(1, 1) == "/" and name or folder .. name, tostring(files[name]))
  end
end

-- Modules that run several commands.
local modules = {
  client = "kt.cli.tunnel", server = "kt.cli.tunnel", ping = "kt.cli.measure", speed = "kt.cli.measure", doctor = "kt.cli.measure",
}
for _, verb in ipairs { "status", "list", "reload", "drain", "log", "events", "close" } do modules[verb] = "kt.cli.control" end

--- The arguments of a module that runs a verb: those of the command line, after what the verb gets from the system.
local function arguments(self, verb)
  local args = { verb, table.unpack(self.opts.args) }
  if modules[verb] ~= "kt.cli.control" then return args end
  table.insert(args, 1, "--")
  local place = 1
  for _, other in ipairs(self.host.scripts) do
    if other:is_running() and other.opts.control then
      table.insert(args, place, other.opts.control)
      place = place + 1
    end
  end
  return args
end

-- Starts or restarts the script. what: the spec's call, for errors.
local function start(self, what)
  local world, opts = self.host.world, self.opts
  local verb = self.path:match "^kt (%a+)$" -- a built-in command
  local where = "script " .. self.path .. " on host " .. self.host.name
  local printed, logged = #self.printed, #self.lines -- before this run
  world.starting = self
  local args = opts.args
  local module = verb and "kt.cli." .. verb
  if verb and modules[verb] then module, args = modules[verb], arguments(self, verb) end
  local core, id, said = world.core:start(self.host.name, {
    name = verb or self.path, path = not verb and self.path or nil, module = module,
    args = args, env = pairs_of(opts.env), unsafe = opts.unsafe, modules = opts.path or settings.path,
    allow_read = opts.allow_read, allow_write = opts.allow_write,
    memory = opts.memory, level = world.level, control = opts.control })
  world.starting = nil
  if not core then complain.raise("%s: %s: %s", what, where, said) end
  if math.type(said) and said ~= 0 then
    core:kill()
    complain.raise("%s: %s: exited immediately with code %d: %s", what, where, said,
      #self.printed > printed and table.concat(self.printed, "", printed + 1):gsub("%s+$", "")
        or #self.lines > logged and self.lines[#self.lines] or "no output")
  end
  self.core, self.id, self.crashed, self.exit_code = core, id, nil, nil
  world.scripts[id] = self
  return self
end

--- For host.lua.
function script.start(host, path, opts, since)
  put_files(host, path, host.world.files)
  put_files(host, path, opts.files)
  local self = start(setmetatable({ host = host, path = path, opts = opts, since = since, lines = {}, printed = {}, watchers = {}, failed = 0 },
    script), "host:run")
  table.insert(host.scripts, self)
  return self
end

-- ---- what comes from the world ----

function script:on_log(line)
  if #self.lines < LINES_MAX then table.insert(self.lines, line) end
  local world, watchers = self.host.world, self.watchers
  if #watchers == 0 then return end
  self.watchers = {}
  -- Wake them later: this may be called while the script is running.
  task.timer(world, world.core:now(), function()
    for _, waiter in ipairs(watchers) do task.wake(world, waiter) end
  end)
end

function script:on_print(text)
  if #self.printed < LINES_MAX then table.insert(self.printed, text) end
end

-- Adds up the counters of the run that is about to end.
local function remember(self)
  local usage = self.core:usage()
  self.failed = self.failed + (usage and usage.counters.TaskErrors or 0)
end

function script:on_ended(code, failed)
  self.exit_code = code
  self.failed = self.failed + failed
  self.host.world.scripts[self.id] = nil
end

function script:on_crash()
  if not self:is_running() then return end
  remember(self)
  self.crashed = true
  self.host.world.scripts[self.id] = nil
end

--- Starts over after its host has restarted. Log and output are appended to those of earlier runs.
function script:again() start(self, "host:restart") end

-- ---- for specs ----

function script:is_running() return not self.exit_code and not self.crashed and not self.killed end

--- Kills it as SIGKILL would; the host closes its sockets.
function script:kill()
  if not self:is_running() then return end
  remember(self)
  self.killed = true
  self.host.world.scripts[self.id] = nil
  self.core:kill()
end

--- Sends a signal: "TERM", "INT", "HUP", "USR1" or "USR2". Returns whether it was handled.
function script:signal(name)
  complain.value("script:signal", { type = "enum", values = { "TERM", "INT", "HUP", "USR1", "USR2" } }, name)
  return self.core:signal(name) > 0
end

--- Its log and its output.
function script:log() return table.concat(self.lines, "\n") end
function script:output() return table.concat(self.printed) end

--- Waits until it has logged a line that matches the pattern, and returns the line. Earlier lines count.
function script:wait_log(pattern, opts)
  complain.value("script:wait_log", { type = "string" }, pattern)
  local world, at = self.host.world, 1
  local timeout = complain.checked("script:wait_log", shape.wait_log, opts).timeout
  local deadline = world.core:now() + clock.us(timeout)
  while true do
    for i = at, #self.lines do
      if self.lines[i]:find(pattern) then return self.lines[i] end
    end
    at = #self.lines + 1
    local waiter = task.waiter()
    table.insert(self.watchers, waiter)
    if not task.wait(world, "script:wait_log", waiter, deadline) then
      complain.raise("script:wait_log: %s logged no line matching %q within %g s; last line: %s", self.path, pattern, timeout,
        self.lines[#self.lines] or "(none)")
    end
  end
end

--- The number of its tasks that have failed, over all its runs, and the log line of the last one.
function script:failed_tasks()
  local usage = self:is_running() and self.core:usage()
  local last
  for _, line in ipairs(self.lines) do
    if line:find("task failed:", 1, true) then last = line end
  end
  return self.failed + (usage and usage.counters.TaskErrors or 0), last
end

--- { memory =, memory_peak =, tasks =, pipes =, replaced =, counters = { … }, links = { … } } | nil once it has ended. Scripts
--- that a reload has replaced are included until their conns have ended; `replaced` is their number.
function script:stats() return self.core:usage() end

--- The state of its pools, by order of creation and by name: { name =, up =, current =, switches =, …,
--- links = { { name =, up =, srtt =, streams =, … } } } | nil once it has ended.
function script:pools()
  local list = self.core:pools()
  return list and complain.by_name(list, "script " .. self.path .. " on host " .. self.host.name)
end

class(script, "script", { kept = { "log", "output", "is_running" }, fields = { "exit_code" },
  world = function(self) return self.host.world end })

return script
