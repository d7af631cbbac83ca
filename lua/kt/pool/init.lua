--- kt.pool for scripts: checks arguments, provides the handle, and connects the pool (kt.pool.pool) to kt.
local api = require "kt.api"
local core = require "kt.core"
local events = require "kt.pool.events"
local members = require "kt.pool.members"
local misuse = require "kt.misuse"
local pool = require "kt.pool.pool"
local report = require "kt.pool.report"
local schema = require "kt.schema"
local units = require "kt.units"

local env = {
  now = core.now, random = math.random, log_about = core.log_about, err = core.err, pure = core.pure,
  self = coroutine.running, happened = core.happened, park = core.park, unpark = core.unpark,
  name_link = core.name_link, answered = core.answered, give = core.give,
  spawn = core.spawn_aside, handler = core.handler, handle = core.handle,
}

function env.alive(task) return coroutine.status(task) ~= "dead" end

-- Required late: kt loads this module.
function env.link(settings) return require("kt").link(settings) end
function env.resolve(options) return require("kt").resolve(options) end

-- ---- options of pool:open and pool:race, read once per connection ----

local DURATIONS_MAX = 64
local known, count = {}, 0 -- cache of parsed durations

local function duration(value)
  local seconds = known[value]
  if seconds then return seconds end
  seconds = units.duration(value)
  if seconds and type(value) == "string" then
    if count == DURATIONS_MAX then known, count = {}, 0 end
    known[value], count = seconds, count + 1
  end
  return seconds
end

local function text(value) return type(value) == "string" and value or nil end
local function whole(min, max)
  return function(value)
    local n = math.type(value) and math.tointeger(value)
    return n and n >= min and n <= max and n or nil
  end
end

local readers = { timeout = duration, client = text, to = text, name = text, key = text, priority = whole(0, 7), weight = whole(1, 256) }
local TIMEOUT = 10

--- The options for link:open, and the key, which race does not take.
local function read_open(options, what)
  local out, given_key = { timeout = TIMEOUT }, nil
  if options == nil then return out end
  if type(options) ~= "table" then misuse("%s", api.explain(what, options)) end
  for key, value in next, options do
    local reader = (key ~= "key" or what == "pool:open") and readers[key]
    local read = reader and reader(value)
    if not read then misuse("%s", api.explain(what, options)) end
    if key == "key" then given_key = read else out[key] = read end
  end
  return out, given_key
end

-- ---- the handle ----

local inside -- (handle, method) → its pool

local methods = {}

function methods.open(self, options)
  local p = inside(self, "open")
  core.need_task "pool:open"
  return p:open(read_open(options, "pool:open"))
end

function methods.race(self, options)
  local p = inside(self, "race")
  core.need_task "pool:race"
  return p:race((read_open(options, "pool:race")))
end

function methods.add(self, entry)
  local p = inside(self, "add")
  local f = api.functions["pool:add"]
  local out, mistakes = schema.check(f.path, f.argument, entry)
  if not out then schema.refuse(core.where(), "pool:add", mistakes) end
  if schema.unknown(out) or schema.unknown(out.link) then return end
  if p.closed then misuse("pool:add: the pool was closed") end
  local wrong, fix = members.objection(p, out)
  if wrong then misuse("pool:add: %s; %s", wrong, fix) end
  p:enter(out)
end

local function need_member(method, what)
  if type(what) ~= "string" and schema.kind(what) ~= "link" then
    misuse("pool:%s: expected a link of the pool, or its name, got %s", method, schema.show(what))
  end
end

function methods.remove(self, what)
  local p = inside(self, "remove")
  need_member("remove", what)
  return p:leave(what)
end

function methods.set(self, what, change)
  local p = inside(self, "set")
  need_member("set", what)
  local f = api.functions["pool:set"]
  local out, mistakes = schema.check(f.path, f.argument, change)
  if not out then schema.refuse(core.where(), "pool:set", mistakes) end
  return p:set(what, out)
end

function methods.links(self) return inside(self, "links"):links() end

function methods.stats(self) return inside(self, "stats"):stats() end

function methods.on(self, name, fn)
  local p = inside(self, "on")
  local ok, wrong, fix = schema.types.enum({ values = events.names }, name)
  if not ok then misuse("pool:on: %s; %s", wrong, fix) end
  if type(fn) ~= "function" then misuse('pool:on "%s": expected a function, got %s', name, schema.show(fn)) end
  local set, too_many = events.on(p, name, fn)
  if not set then misuse("pool:on: %s", too_many) end
end

function methods.close(self) inside(self, "close"):close() end

local order = {}
for i, name in ipairs { "open", "race", "add", "set", "remove", "links", "stats", "on", "close" } do order[i] = { name, methods[name] } end

--- Closes a pool that was garbage-collected while open; after a reload that is normal.
local function forgotten(p)
  if p.closed then return end
  if not core.replaced() then core.log.warn("%s was dropped without :close(); closed it", (p.where:gsub(": $", ""))) end
  p:close()
end

local make
make, inside = core.kind("pool", order, forgotten)

local new = {}

--- Makes a pool and returns its handle. config: checked against kt.api.
function new.pool(config)
  local links = {}
  for _, entry in ipairs(config.links or {}) do
    if not schema.unknown(entry) then links[#links + 1] = entry end -- unknown only in `kt check`
  end
  config.links = links
  local p = pool.new(env, config, core.where() .. "kt.pool: ")
  report.add(p)
  return make(p)
end

return new
