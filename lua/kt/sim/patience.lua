--- A run that takes long says so, and where its time goes: a timer of a microsecond, or two scripts that answer each other at
--- once, are no mistake that could be told from the work of a large world, but nobody should have to guess why a spec hangs.
---
--- What it says hangs on this machine's speed, and nothing else does: it is told to people, on standard error.
local complain = require "kt.sim.complain"
local settings = require "kt.sim.settings"

local patience = {}

local MOST = 3 -- scripts that are named

--- For world.lua: a run begins.
function patience.begin(world) world.busy = nil end

local function turns(world)
  local out = {}
  for i, script in ipairs(world.core:turns()) do out[i] = { what = script.name .. " on host " .. script.host, n = script.turns } end
  return out
end

-- "3000 turns of s.lua on host a, 12 tasks of the spec's, the last one that of spec/x_spec.lua:7"
local function where_it_goes(world, busy)
  local before, list = {}, {}
  for _, script in ipairs(busy.turns) do before[script.what] = script.n end
  for _, script in ipairs(turns(world)) do
    local n = script.n - (before[script.what] or 0)
    if n > 0 then list[#list + 1] = { n = n, text = ("%d turns of %s"):format(n, script.what) } end
  end
  table.sort(list, function(a, b) return a.n > b.n end)
  local out = {}
  for i = 1, math.min(#list, MOST) do out[i] = list[i].text end
  local spawned = world.spawned - busy.spawned
  if spawned > 0 then
    local info = debug.getinfo(world.last_spawned, "S")
    out[#out + 1] = ("%d tasks of the spec's, the last one that of %s:%d"):format(spawned, info.short_src, info.linedefined)
  end
  return table.concat(out, ", ")
end

--- Now and then in a run: says it when that is slower than the clock on the wall, after a while and each time that doubles.
function patience.look(world)
  local spent, now = os.clock(), world:now()
  local busy = world.busy
  if not busy then
    world.busy = { spent = spent, now = now, turns = turns(world), spawned = world.spawned, next_word = settings.patience }
    return
  end
  spent = spent - busy.spent
  if spent < busy.next_word then return end
  busy.next_word = spent * 2
  if now - busy.now >= spent then return end
  settings.say(("kt.sim: %sthis takes long: %.3g s of processor time, and the world has come from %.9g s to %.9g s (seed %d); %s\n"):format(
    complain.where(), spent, busy.now, now, world.seed, where_it_goes(world, busy)))
end

return patience
