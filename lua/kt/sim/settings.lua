--- What `kt test` was told, or the environment of plain busted: KT_SEED, KT_TRACE (a folder), KT_PLOT (a file).
local settings = {
  seed = math.tointeger(tonumber(os.getenv "KT_SEED" or "")),
  trace = os.getenv "KT_TRACE",
  plot = os.getenv "KT_PLOT",
  seeds = {}, -- of worlds made since the report last looked
}

--- A world was made.
function settings.made(world)
  table.insert(settings.seeds, { seed = world.seed, given = world.seed_given })
  if settings.trace or settings.plot then require("kt.sim.trace").attach(world, settings) end
end

--- It is about to end.
function settings.finished(world)
  if world.tracer then world.tracer:finish() end
end

return settings
