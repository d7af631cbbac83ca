-- The whole runtime in random worlds: random topologies, settings, flows and faults (support/sweep_world.lua says what must hold).
-- KT_SWEEP_SEEDS: how many seeds, KT_SWEEP_FROM: the first; KT_SWEEP_LOG: a file for a line with each seed and the fingerprint of its run, so
-- that two runs can be compared and a crash has a seed. scripts/sweep sets them.
local sim = require "kt.sim"
local sweep_world = require "sweep_world"

local seeds = math.tointeger(tonumber(os.getenv "KT_SWEEP_SEEDS")) or os.getenv "KT_SPEC_LIGHT" and 10 or 40
local from = math.tointeger(tonumber(os.getenv "KT_SWEEP_FROM")) or 1

describe("tunnels in random worlds", function()
  local log = os.getenv "KT_SWEEP_LOG"
  log = log and assert(io.open(log, "w"))

  it("deliver the written bytes or a reason, serve again once all is well, and leave nothing behind", function()
    sim.sweep(seeds, function(w, seed)
      if log then log:write(("%d "):format(seed)):flush() end
      local fingerprint = sweep_world.run(w)
      if log then log:write(fingerprint, "\n") end
    end, { from = from })
  end)

  it("repeat exactly", function()
    for seed = from, from + math.min(seeds, 5) - 1 do
      local prints = {}
      for i = 1, 2 do
        local w = sim.world { seed = seed }
        prints[i] = sweep_world.run(w)
        w:close()
      end
      assert.equal(prints[1], prints[2], "seed " .. seed)
    end
  end)
end)
