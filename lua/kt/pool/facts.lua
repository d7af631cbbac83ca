--- Statistics of a pool's members. Calls link:stats() on demand, and at most every 100 ms.
local facts = {}

local FRESH = 0.1 -- seconds

--- A number from stats, or `otherwise` if it is missing, NaN or not a number.
local function number(value, otherwise)
  return math.type(value) and value == value and value or otherwise
end

local function fill(seen, member)
  local stats = member.link:stats()
  local srtt = number(stats.srtt, 0)
  -- In order of preference: the script's measurement, the link's, the checks'.
  seen.srtt = member.measured and member.rtt or srtt > 0 and srtt or member.rtt or math.huge
  seen.rttvar = number(stats.rttvar, 0)
  seen.loss = number(stats.loss, 0)
  seen.rate_in, seen.rate_out = number(stats.rate_in, 0), number(stats.rate_out, 0)
  seen.streams = number(stats.streams, 0)
  seen.heard = number(stats.since_heard, math.huge)
  return seen
end

--- Statistics of the member's link, cached. Refreshes `seen` in place, so that reading allocates no table here.
function facts.read(member, now)
  local seen = member.seen
  if now - seen.at < FRESH then return seen end
  fill(seen, member)
  seen.at = now
  member.opened = 0
  return seen
end

--- Current statistics in a new table. Does not touch the cache, so policies see no difference.
function facts.look(member) return fill({}, member) end

--- The initial value of `seen`.
function facts.none() return { at = -math.huge } end

--- Number of streams: those in the cached statistics, and those opened since. Without the latter, all connections of a burst would go
--- to the link that had the fewest streams when it began.
function facts.streams(member, now)
  return facts.read(member, now).streams + member.opened
end

local function told(member, now, seen, streams)
  return {
    name = member.name, weight = member.weight,
    srtt = seen.srtt, rttvar = seen.rttvar, loss = seen.loss,
    streams = streams, rate_in = seen.rate_in, rate_out = seen.rate_out,
    since = now - member.health.since, draining = member.draining,
  }
end

--- A new table for a policy, which may modify it.
function facts.of(member, now)
  return told(member, now, facts.read(member, now), facts.streams(member, now))
end

--- The table for pool:links(): current statistics, and fields that policies do not need because they only see links that are up.
function facts.all(member, now)
  local seen = facts.look(member)
  local out = told(member, now, seen, seen.streams)
  out.link, out.up, out.proven = member.link, member.health.up, member.health.proven
  out.error = member.health.fails > 0 and member.health.why or nil
  return out
end

return facts
