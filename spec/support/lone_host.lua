-- A script on the only host of a world, in virtual time.
local sim = require "kt.sim"

local lone_host = {}

--- Starts the text, below a first line that requires kt, as s.lua on host "a". world: further options of sim.world. Returns the script, its
--- host and the world.
function lone_host.start(text, world)
  world = world or {}
  world.seed = world.seed or 1
  local w = sim.world(world)
  local host = w:host "a"
  host:file("s.lua", 'local kt = require "kt"\n' .. text)
  return host:run "s.lua", host, w
end

--- Runs the text as a task for an hour, below the lines of `main`, if any; without them it begins on line 3. No task may fail. Returns what it
--- printed.
function lone_host.task(text, main, world)
  local script, _, w = lone_host.start((main and main .. "\n" or "") .. "kt.spawn(function()\n" .. text .. "\nend)", world)
  w:run_for "1h"
  assert(script:failed_tasks() == 0 and not script:log():find("failed", 1, true), script:log())
  return script:output()
end

return lone_host
