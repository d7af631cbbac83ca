--- Says after a failed spec how it is repeated: with which seed, and which line runs it alone. Loaded by `kt test`; under plain
--- busted by --helper=kt.sim.report. Begins chance anew for each spec, and for what is outside of them.
local busted = require "busted"
local chance = require "kt.sim.chance"
local settings = require "kt.sim.settings"

local failed = {}

local function remember(element, parent)
  local at = element.trace and element.trace.short_src or parent and parent.trace and parent.trace.short_src
  local seed = settings.seed
  for _, made in ipairs(settings.seeds) do
    if not made.given then seed = made.seed end
  end
  failed[#failed + 1] = { name = element.name, file = at, seed = seed }
  return nil, true
end

busted.subscribe({ "test", "start" }, function()
  settings.seeds = {}
  return nil, true
end)
for _, event in ipairs { { "file", "start" }, { "describe", "start" }, { "test", "start" }, { "test", "end" } } do
  busted.subscribe(event, function()
    chance.begin()
    return nil, true
  end)
end
busted.subscribe({ "failure", "it" }, remember)
busted.subscribe({ "error", "it" }, remember)

busted.subscribe({ "exit" }, function()
  for i, spec in ipairs(failed) do
    if i == 1 then io.write "\nTo repeat:\n" end
    local pattern = tostring(spec.name):gsub("[^%w ]", ".")
    io.write(("  %skt test %s --filter='%s'\n"):format(spec.seed and ("KT_SEED=%d "):format(spec.seed) or "",
      spec.file or "", pattern))
  end
  return nil, true
end, { priority = 1 })
