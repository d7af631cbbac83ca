--- What is known of a member of a pool. link:stats() is asked at most every 100 ms, and only if somebody wants to know.
local facts = {}

local FRESH = 0.1 -- seconds

--- A number from stats; what is missing or no number is `otherwise`.
local function number(value, otherwise)
  return math.type(value) and value == value and value or otherwise
end

local function fill(seen, member)
  local stats = member.link:stats()
  local srtt = number(stats.srtt, 0)
  -- Its own word counts if the script measures; else the link's, once it has measured; else the checks'.
  seen.srtt = member.measured and member.rtt or srtt > 0 and srtt or member.rtt or math.huge
  seen.rttvar = number(stats.rttvar, 0)
  seen.loss = number(stats.loss, 0)
  seen.rate_in, seen.rate_out = number(stats.rate_in, 0), number(stats.rate_out, 0)
  seen.streams = number(stats.streams, 0)
  seen.heard = number(stats.since_heard, math.huge)
  return seen
end

--- The figures of the member's link. `seen` is filled anew in place: reading costs no table of ours.
function facts.read(member, now)
  local seen = member.seen
  if now - seen.at < FRESH then return seen end
  fill(seen, member)
  seen.at = now
  member.opened = 0
  return seen
end

--- The same as they are now, in a table of their own: looking changes nothing that a policy would see.
function facts.look(member) return fill({}, member) end

--- What `seen` is before anything was read.
function facts.none() return { at = -math.huge } end

--- Streams of the member: those that its link has, and those that were opened since it was asked. Else all connections of a busy
--- moment would go where the fewest were at its beginning.
function facts.streams(member, now)
  return facts.read(member, now).streams + member.opened
end

local function told(member, now, seen, streams)
  return {
    name = member.name, weight = member.weight,
    srtt = seen.srtt, rttvar = seen.rttvar, loss = seen.loss,
    streams = streams, rate_in = seen.rate_in, rate_out = seen.rate_out,
    since = now - member.health.since,
  }
end

--- A table for a policy: its own, to do with as it likes.
function facts.of(member, now)
  return told(member, now, facts.read(member, now), facts.streams(member, now))
end

--- The same for pool:links(): the figures of this moment, with what policies need not see, as they are asked about links that are up.
function facts.all(member, now)
  local seen = facts.look(member)
  local out = told(member, now, seen, seen.streams)
  out.link, out.up, out.proven = member.link, member.health.up, member.health.proven
  out.error = member.health.fails > 0 and member.health.why or nil
  return out
end

return facts
