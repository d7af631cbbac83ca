--- Seeds math.random for the spec itself, outside of worlds, so that it is as reproducible as its worlds. A spec gets the same numbers
--- whether it runs alone or after others; see kt.sim.report.
local settings = require "kt.sim.settings"

local chance = {}

--- Seeds it with the given seed, else KT_SEED, else 1, like a world.
function chance.begin(seed) math.randomseed(seed or settings.seed or 1, 0) end

return chance
