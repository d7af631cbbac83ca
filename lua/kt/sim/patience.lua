--- Reports slow runs and where their time goes. A timer of one microsecond, or two scripts that answer each other immediately, cannot be
--- told apart from the work of a large world, so they are not an error; but a spec that seems to hang should say why.
---
--- The report depends on the machine's speed, unlike everything else, so it goes to standard error.
local complain = require "kt.sim.complain"
local settings = require "kt.sim.settings"

local patience = {}

local MOST = 3 -- scripts to name

--- For world.lua: called when a run begins.
function patience.begin(world) world.busy = nil end

local function turns(world)
  local out = {}
  for i, script in ipairs(world.core:turns()) do out[i] = { what = script.name .. " on host " .. script.host, n = script.turns } end
  return out
end

-- "3000 turns of s.lua on host a, 12 tasks of the spec, the last from spec/x_spec.lua:7"
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
    out[#out + 1] = ("%d tasks of the spec, the last from %s:%d"):format(spawned, info.short_src, info.linedefined)
  end
  return table.concat(out, ", ")
end

--- Called now and then during a run. Reports a run that is slower than real time, first after settings.patience, then each time the
--- time spent has doubled.
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
  settings.say(("kt.sim: %sslow run: %.3g s of processor time took the world from %.9g s to %.9g s (seed %d); %s\n"):format(
    complain.where(), spent, busy.now, now, world.seed, where_it_goes(world, busy)))
end

return patience
