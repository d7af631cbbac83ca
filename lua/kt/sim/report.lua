--- Says after a failed spec how it is repeated: with which seed, and which line runs it alone. Loaded by `kt test`; under plain
--- busted by --helper=kt.sim.report. Begins chance anew for each spec, and for what is outside of them.
local busted = require "busted"
local chance = require "kt.sim.chance"
local settings = require "kt.sim.settings"

settings.reports = true

local failed = {}

-- The seed that KT_SEED has to be: that of a sweep which failed, that of worlds which were given none, or what it was.
local function seed_of(seeds)
  local seed = settings.seed
  for _, made in ipairs(seeds) do
    if not made.given then seed = made.seed end
  end
  return settings.swept or seed
end

-- Where it was written, in full: short_src is cut short.
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
    if not said[line] then io.write(next(said) and "" or "\nTo repeat:\n", line) end
    said[line] = true
  end
  return nil, true
end, { priority = 1 })
