--- Sweeps: runs the same spec under many seeds. On the first failure it removes the faults (w:fault) that the failure does not need,
--- then reports the seed, the remaining faults and how to run that seed alone.
local chance = require "kt.sim.chance"
local complain = require "kt.sim.complain"
local settings = require "kt.sim.settings"
local shape = require "kt.sim.shape"
local world = require "kt.sim.world"

local TRIALS = 200

-- Runs fn in a world with that seed, with all faults or only those in `keep` (number → true). Returns success, the error, and the
-- descriptions of all faults.
local function try(sweep, seed, keep)
  local opts = {}
  for name, value in next, sweep.opts do opts[name] = value end
  opts.seed = seed
  local w = world.new(opts)
  w.keep = keep
  chance.begin(seed)
  local ok, why = xpcall(sweep.fn, function(e) return type(e) == "string" and e or tostring(e) end, w, seed)
  local faults = w.faults
  w:close()
  return ok, why, faults
end

local function count(set)
  local n = 0
  for _ in pairs(set) do n = n + 1 end
  return n
end

-- Removes runs of faults, long ones first, as long as the spec still fails without them. Returns the faults to keep.
local function shrink(sweep, seed, faults)
  local keep, trials = {}, 0
  for i = 1, #faults do keep[i] = true end
  local size = #faults
  while size >= 1 do
    local first = 1
    while first <= #faults and trials < TRIALS do
      local fewer, dropped = {}, 0
      for i in pairs(keep) do
        if i >= first and i < first + size then dropped = dropped + 1 else fewer[i] = true end
      end
      if dropped > 0 then
        trials = trials + 1
        if not try(sweep, seed, fewer) then keep = fewer end
      end
      first = first + size
    end
    size = size // 2
  end
  return keep
end

local function report(sweep, seed, why, faults)
  local where = sweep.where
  local lines = { ("%sseed %d of %d: %s"):format(where ~= "" and where .. ": " or "", seed, sweep.last, why) }
  if #faults > 0 then
    local keep = shrink(sweep, seed, faults)
    table.insert(lines, ("still fails with %d of its %d faults:"):format(count(keep), #faults))
    for i, text in ipairs(faults) do
      if keep[i] then table.insert(lines, "  " .. text) end
    end
  end
  settings.swept = seed
  if not settings.reports then
    table.insert(lines, ("to reproduce: KT_SEED=%d kt test %s"):format(seed, where:match "^(.*):%d+$" or ""))
  end
  return table.concat(lines, "\n")
end

--- Calls fn(w, seed) with a new world for each of n seeds, starting at opts.from or 1, or for KT_SEED only. Returns the number of seeds.
--- The other options are passed to sim.world.
return function(n, fn, opts)
  local where = complain.line() or ""
  if math.type(n) ~= "integer" or n < 1 then complain.misfit("sim.sweep", "the number of seeds", n) end
  if type(fn) ~= "function" then complain.misfit("sim.sweep", "a function(w, seed)", fn) end
  local worlds = complain.checked("sim.sweep", shape.sweep, opts)
  local first = worlds.from
  worlds.from = nil
  local last = first + n - 1
  local sweep = { fn = fn, last = last, opts = worlds, where = where }
  if settings.seed then first, last = settings.seed, settings.seed end
  for seed = first, last do
    local ok, why, faults = try(sweep, seed)
    if not ok then error(report(sweep, seed, why, faults), 0) end
  end
  return last - first + 1
end
