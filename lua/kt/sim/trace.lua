--- Writes the output of `kt test --trace` and `--plot` for a world: a log, a capture for Wireshark, a plot. They are most useful for a
--- world that hangs, so the files are written without delay, and the plot at least once per second of processor time.
local complain = require "kt.sim.complain"
local task = require "kt.sim.task"

local tracer = {}
tracer.__index = tracer

local EVERY_US = 100000 -- between two points of a plot

local made = 0

local function make_folder(path)
  local found, lfs = pcall(require, "lfs")
  if not found then return end
  local done = path:sub(1, 1) == "/" and "/" or ""
  for part in path:gmatch "[^/]+" do
    done = done .. part .. "/"
    lfs.mkdir(done)
  end
end

-- Opens a file for writing; creates its folder if necessary.
local function open(path)
  local folder = path:match "^(.*)/"
  if folder then make_folder(folder) end
  local file, why = io.open(path, "wb")
  if not file then complain.raise("kt test: cannot write %s", why) end
  return file
end

-- "spec/failover_spec.lua:12", the third world → "failover_spec-12-3"
local function name_of(world)
  local file, line = world.made_at:match "([^/]+)%.lua:(%d+)$"
  return ("%s-%s-%d"):format(file or "world", line or "0", made)
end

-- "out/my.svg", the third world → "out/my-3.svg"
local function numbered(path)
  if made == 1 then return path end
  local folder, name = path:match "^(.*/)([^/]*)$"
  local stem, ending = (name or path):match "^(.+)(%.%w+)$"
  return ("%s%s-%d%s"):format(folder or "", stem or name or path, made, ending or "")
end

-- ---- the log and the capture ----

function tracer:line(fmt, ...)
  if self.text then self.text:write(("%12.6f  "):format(self.world:now()), fmt:format(...), "\n") end
end

function tracer:log(script, text) self:line("%s: %s", script.host.name, text) end
function tracer:mark(text) self:line("*** %s", text) end

function tracer:packet(p)
  if p.from == p.to then return end -- traffic within a host
  local way = p.from .. " > " .. p.to
  self:line("%-24s %s %s > %s  %d bytes  %s%s%s #%d", way, p.proto, p.src, p.dst, p.size,
    p.flags ~= "" and p.flags .. " " or "", p.what, p.cause and " by " .. p.cause or "", p.id)
  if not self.capture or p.proto ~= "udp" then return end
  if p.what == "corrupted" or p.what == "duplicated" then
    self.notes[p.id] = p.what
  elseif p.what == "delivered" or p.what == "dropped" then
    self.interfaces[way] = self.interfaces[way] or self.capture:interface(way)
    self.capture:packet { at = p.at, interface = self.interfaces[way], from = p.src, to = p.dst, data = p.data,
      note = p.what == "dropped" and "lost: " .. p.cause or self.notes[p.id] }
    self.notes[p.id] = nil
  end
end

-- ---- the plot ----

-- list: "points" or "limit", see kt.sim.plot.
local function point(self, panel, name, value, list)
  local all = self.panels[panel]
  local series = all.by_name[name]
  if not series then
    series = { name = name, points = {}, limit = {} }
    all.by_name[name] = series
    table.insert(all, series)
  end
  table.insert(series[list or "points"], { self.world:now(), value })
end

local function rate(self, key, value)
  local before = self.before[key] or 0
  self.before[key] = value
  return math.max(value - before, 0) / (EVERY_US / 1e6)
end

local function sample(self)
  for _, name in ipairs(self.world.host_names) do
    for n, link in ipairs(self.world.hosts[name]:stats().links) do
      local label = ("%s: %s %s"):format(name, link.what, link.name)
      local key = name .. n .. link.what
      point(self, "flight", label, link.inflight)
      if link.cwnd > 0 then point(self, "flight", label, link.cwnd, "limit") end
      if link.srtt > 0 then point(self, "srtt", label, link.srtt * 1000) end
      point(self, "goodput", label, rate(self, key .. " bytes", link.bytes_in + link.bytes_out) * 8 / 1e6)
    end
  end
  for _, link in ipairs(self.world.links) do
    local label = link.a .. " - " .. link.b
    point(self, "lost", label, rate(self, label .. " lost", link:stats(link.a).lost_packets + link:stats(link.b).lost_packets))
  end
end

local function draw(self)
  self.drawn = os.clock()
  local chart = { title = ("%s, seed %d"):format(self.world.made_at, self.world.seed), marks = self.world.marks, panels = {
    { name = "in flight, and cwnd (thin)", unit = "packets", series = self.panels.flight },
    { name = "srtt", unit = "ms", series = self.panels.srtt },
    { name = "goodput", unit = "Mbit/s", series = self.panels.goodput },
    { name = "lost", unit = "packets/s", series = self.panels.lost },
  } }
  local file = open(self.plot)
  file:write(require("kt.sim.plot").svg(chart))
  file:close()
end

local function keep_sampling(self)
  task.timer(self.world, self.world.core:now() + EVERY_US, function()
    sample(self)
    if os.clock() - self.drawn > 1 then draw(self) end
    keep_sampling(self)
  end)
end

-- ---- life ----

function tracer:finish()
  -- When the Lua state closes, files may be closed before their world.
  if io.type(self.text) == "file" then self.text:close() end
  if io.type(self.file) == "file" then self.file:close() end
  if self.plot then draw(self) end
  self.text, self.capture, self.plot = nil, nil, nil
end

local trace = {}

function trace.attach(world, settings)
  made = made + 1
  local self = setmetatable({ world = world, interfaces = {}, notes = {}, before = {} }, tracer)
  if settings.trace then
    local path = settings.trace .. "/" .. name_of(world)
    self.text = open(path .. ".log")
    self.text:setvbuf "line"
    self:line("*** %s, seed %d", world.made_at, world.seed)
    local file = open(path .. ".pcapng")
    self.file = file
    self.capture = require("kt.sim.pcapng").writer(function(bytes)
      file:write(bytes)
      file:flush()
    end)
    world.core:watch(true)
  end
  if settings.plot then
    self.plot = numbered(settings.plot)
    self.panels = {}
    for _, name in ipairs { "flight", "srtt", "goodput", "lost" } do self.panels[name] = { by_name = {} } end
    draw(self) -- fails early if the file cannot be written
    keep_sampling(self)
  end
  world.tracer = self
end

return trace
