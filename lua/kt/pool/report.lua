--- The state of a script's pools as plain data, for kt.sim. Reading it has no effect on policies or checks.
local facts = require "kt.pool.facts"

local report = {}

local pools, made = setmetatable({}, { __mode = "k" }), 0 -- pool → its number

function report.add(pool)
  made = made + 1
  pools[pool] = made
end

local function of_member(m, now)
  local seen, health = facts.look(m), m.health
  return {
    name = m.name, remote = m.link.remote, weight = m.weight, draining = m.draining, up = health.up, proven = health.proven, since = now - health.since,
    error = health.fails > 0 and health.why or nil, srtt = seen.srtt < math.huge and seen.srtt or nil, rttvar = seen.rttvar,
    loss = seen.loss, streams = seen.streams, rate_in = seen.rate_in, rate_out = seen.rate_out,
  }
end

local function of(pool)
  local out, now = pool:stats(), pool.env.now()
  out.name, out.links = pool.name, {}
  for i, m in ipairs(pool.members) do out.links[i] = of_member(m, now) end
  return out
end

--- All open pools, in the order in which they were made.
function report.all()
  local open, out = {}, {}
  for pool in next, pools do
    if not pool.closed then open[#open + 1] = pool end
  end
  table.sort(open, function(a, b) return pools[a] < pools[b] end)
  for i, pool in ipairs(open) do out[i] = of(pool) end
  return out
end

return report
