--- What `kt test` was told, or the environment of plain busted: KT_SEED, KT_TRACE (a folder), KT_PLOT (a file).

-- A seed that is none must not become another: what it should repeat would not be repeated. nil if it was not given.
local function read_seed(text)
  if not text or text == "" then return nil end
  local seed = text:find "^%-?%d+$" and math.tointeger(tonumber(text))
  if not seed then error(("KT_SEED: expected an integer (%d to %d), got %s"):format(math.mininteger, math.maxinteger, text), 0) end
  return seed
end

local settings = {
  seed = read_seed(os.getenv "KT_SEED"),
  trace = os.getenv "KT_TRACE",
  plot = os.getenv "KT_PLOT",
  patience = 5, -- seconds of processor time that a run may take before it says so
  say = function(text) io.stderr:write(text) end,
  seeds = {}, -- of worlds made since the report last looked
}

local live, most = 0, 16

--- A world was made. What it takes is not Lua's: so that forgotten ones do not pile up, garbage is looked for by their number.
function settings.made(world)
  live = live + 1
  if live > most then
    collectgarbage()
    most = live + 16
  end
  table.insert(settings.seeds, { seed = world.seed, given = world.seed_given })
  if settings.trace or settings.plot then require("kt.sim.trace").attach(world, settings) end
end

--- It is about to end.
function settings.finished(world)
  live = live - 1
  if world.tracer then world.tracer:finish() end
end

return settings
