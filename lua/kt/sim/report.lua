--- Prints a command that reproduces each failed spec, with its seed, and reseeds math.random for each spec and for code outside of
--- specs. Loaded by `kt test`, or under plain busted by --helper=kt.sim.report.
local busted = require "busted"
local chance = require "kt.sim.chance"
local settings = require "kt.sim.settings"

settings.reports = true

local failed = {}

-- The value for KT_SEED: the seed of a failed sweep, or of worlds made without one, or the current KT_SEED.
local function seed_of(seeds)
  local seed = settings.seed
  for _, made in ipairs(seeds) do
    if not made.given then seed = made.seed end
  end
  return settings.swept or seed
end

-- The full path of the file; short_src may be truncated.
local function file_of(element)
  local trace = element and element.trace
  return trace and (trace.source and trace.source:match "^@(.*)$" or trace.short_src)
end

local function remember(element, parent)
  failed[#failed + 1] = { name = element.name or parent and parent.name, file = file_of(element) or file_of(parent), seed = seed_of(settings.seeds) }
  return nil, true
end

busted.subscribe({ "test", "start" }, function()
  settings.seeds, settings.swept = {}, nil
  return nil, true
end)
for _, event in ipairs { { "file", "start" }, { "describe", "start" }, { "test", "start" }, { "test", "end" } } do
  busted.subscribe(event, function()
    chance.begin()
    return nil, true
  end)
end
busted.subscribe({ "failure", "it" }, remember)
for _, where in ipairs { "it", "before_each", "after_each" } do busted.subscribe({ "error", where }, remember) end

local function quoted(path) return path:find "^[%w_./+-]+$" and path or "'" .. path:gsub("'", "'\\''") .. "'" end

busted.subscribe({ "exit" }, function()
  local said = {}
  for _, spec in ipairs(failed) do
    local pattern = tostring(spec.name):gsub("[^%w ]", ".")
    local line = ("  %skt test %s --filter='%s'\n"):format(spec.seed and ("KT_SEED=%d "):format(spec.seed) or "",
      quoted(spec.file or ""), pattern)
    if not said[line] then io.write(next(said) and "" or "\nTo reproduce:\n", line) end
    said[line] = true
  end
  return nil, true
end, { priority = 1 })
