--- kt.sim: tests tunnels in simulated time. See docs/testing.md.
local chance = require "kt.sim.chance"
local complain = require "kt.sim.complain"
local schema = require "kt.schema"
local world = require "kt.sim.world"

local sim = { version = require("kt.sim.core").version }

chance.begin() -- for runs without kt.sim.report

--- Makes a world: { seed = 7, files = { … }, log = "info" }.
function sim.world(opts)
  local made = world.new(opts)
  return made
end

sim.sweep = require "kt.sim.sweep"

return setmetatable(sim, {
  __index = function(_, name)
    local names = {}
    for known in next, sim do names[#names + 1] = known end
    table.sort(names)
    error(complain.where() .. schema.absent("sim", tostring(name), names), 0)
  end,
})
