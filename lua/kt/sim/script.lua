--- Scripts that run on simulated hosts.
local complain = require "kt.sim.complain"

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

-- Files that a script names without a leading / are looked for beside it.
local function put_files(host, path, files)
  local folder = path:match "^(.*/)" or ""
  local names = {}
  for name in pairs(files) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    host.world.core:put_file(host.name, name:sub(1, 1) == "/" and name or folder .. name, tostring(files[name]))
  end
end

local function start(self)
  local world, opts = self.host.world, self.opts
  local verb = self.path:match "^kt (%a+)$" -- one of ours
  local where = "script " .. self.path .. " on host " .. self.host.name
  world.starting = self
  local core, id, text = world.core:start(self.host.name, {
    name = verb or self.path, path = not verb and self.path or nil, module = verb and "kt.cli." .. verb,
    args = opts.args, env = pairs_of(opts.env), unsafe = opts.unsafe,
    memory = opts.memory, level = world.level })
  world.starting = nil
  if not core then complain.raise("host:run: %s: %s", where, text) end
  self.core, self.id = core, id
  world.scripts[id] = self
  table.insert(self.host.scripts, self)
  return self
end

--- For host.lua.
function script.start(host, path, opts, since)
  put_files(host, path, host.world.files)
  put_files(host, path, opts.files)
  return start(setmetatable({ host = host, path = path, opts = opts, since = since, lines = {}, printed = {} }, script))
end

-- ---- what comes from the world ----

function script:on_log(line)
  if #self.lines < LINES_MAX then table.insert(self.lines, line) end
end

function script:on_print(text)
  if #self.printed < LINES_MAX then table.insert(self.printed, text) end
end

function script:on_ended(code)
  self.exit_code = code
  self.host.world.scripts[self.id] = nil
end

function script:on_crash()
  if not self:is_running() then return end
  self.crashed = true
  self.host.world.scripts[self.id] = nil
end

--- After its host has come up again.
function script:again()
  start(setmetatable({ host = self.host, path = self.path, opts = self.opts, since = self.since, lines = {}, printed = {} },
    script))
end

-- ---- for specs ----

function script:is_running() return not self.exit_code and not self.crashed and not self.killed end

--- As by SIGKILL: its sockets are closed by the host.
function script:kill()
  if not self:is_running() then return end
  self.killed = true
  self.host.world.scripts[self.id] = nil
  self.core:kill()
end

--- "TERM", "INT", "HUP", "USR1", "USR2".
function script:signal(name)
  complain.value("script:signal", { type = "enum", values = { "TERM", "INT", "HUP", "USR1", "USR2" } }, name)
  return self.core:signal(name) > 0
end

--- What it has logged and printed.
function script:log() return table.concat(self.lines, "\n") end
function script:output() return table.concat(self.printed) end

--- { memory =, memory_peak =, tasks =, pipes =, replaced =, counters = { … }, links = { … } } | nil once it has ended. What a reload
--- has replaced counts for as long as its conns are there: `replaced` says how many such scripts there are.
function script:stats() return self.core:usage() end

--- What its pools are doing, in the order in which it made them, and by name: { name =, up =, current =, switches =, …,
--- links = { { name =, up =, srtt =, streams =, … } } } | nil once it has ended.
function script:pools()
  local list = self.core:pools()
  return list and complain.by_name(list, "script " .. self.path .. " on host " .. self.host.name)
end

return script
