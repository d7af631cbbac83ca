--- Chance in a spec itself, outside of worlds: math.random is under the seed, too, so that a spec that draws repeats as its
--- worlds do. Each spec has the same numbers, whether it runs alone or after others. See kt.sim.report.
local settings = require "kt.sim.settings"

local chance = {}

--- Begins anew: with a seed, or KT_SEED's, or 1, as worlds do.
function chance.begin(seed) math.randomseed(seed or settings.seed or 1, 0) end

return chance
