--- Settings from the options of `kt test` or from the environment: KT_SEED, KT_TRACE (a folder), KT_PLOT (a file).

-- The seed, or nil if there is none. An invalid one is an error: using another seed would not reproduce anything.
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
  path = nil, -- the folder of kt test --path
  patience = 5, -- seconds of processor time before a slow run is reported
  say = function(text) io.stderr:write(text) end,
  seeds = {}, -- of worlds made since kt.sim.report last read them
}

local live, most = 0, 16

--- Called when a world is made. Its memory is outside Lua, so the garbage collector is run by the number of worlds.
function settings.made(world)
  live = live + 1
  if live > most then
    collectgarbage()
    most = live + 16
  end
  table.insert(settings.seeds, { seed = world.seed, given = world.seed_given })
  if settings.trace or settings.plot then require("kt.sim.trace").attach(world, settings) end
end

--- Called before a world ends.
function settings.finished(world)
  live = live - 1
  if world.tracer then world.tracer:finish() end
end

return settings
