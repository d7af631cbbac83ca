--- Chooses the member for the next stream.
---
--- The policy picks among the members that are up, in the lowest tier that has any. If none is up, it picks among those not checked
--- yet. If there are none of those either, the least bad member is tried without asking the policy: an attempt may succeed.
---
--- A draining member is chosen only by a script's policy, which gets it with the others as long as one of them is up.
---
--- A script's policy cannot harm the pool: it gets its own tables, cannot wait, and if it raises or returns an invalid value the
--- first link that is up is used. Each kind of mistake is logged once.
---
--- hold: with a policy that prefers one link for all streams, `current` is that link. It changes only if the last change was at
--- least `hold` ago and the new link has been up for as long, or immediately if the current link cannot be used.
local events = require "kt.pool.events"
local facts = require "kt.pool.facts"
local policies = require "kt.pool.policies"
local schema = require "kt.schema"

local choice = {}

--- Fills pool.asked with the members to choose from, and returns their number.
local function gather(pool, proven, tried)
  local list, n, tier = pool.asked, 0, nil
  local scripted = type(pool.policy) == "function"
  for _, m in ipairs(pool.members) do
    if tier and m.tier ~= tier then break end -- members are sorted by tier
    if m.health.up and m.health.proven == proven and not (tried and tried[m]) and (scripted or not m.draining) then
      if not m.draining then tier = m.tier end
      n = n + 1
      list[n] = m
    end
  end
  if not tier then n = 0 end -- only draining ones
  for i = #list, n + 1, -1 do list[i] = nil end
  return n
end

--- The first of the list that is not draining; there is one.
local function first_in_use(list)
  for _, m in ipairs(list) do
    if not m.draining then return m end
  end
end

--- The member that passed a check most recently.
local function least_bad(pool, tried)
  local best
  for _, m in ipairs(pool.members) do
    if not m.draining and not (tried and tried[m])
      and (not best or m.health.passed_at > best.health.passed_at
        or (m.health.passed_at == best.health.passed_at and m.health.fails < best.health.fails)) then
      best = m
    end
  end
  return best
end

--- Logs a mistake in the script, once per kind.
local function complain(pool, kind, fmt, ...)
  if pool.told[kind] then return end
  pool.told[kind] = true
  pool.env.log_about("warn", pool.name, nil, ("%s%s; further mistakes of this kind are not logged"):format(pool.where, fmt:format(...)))
end
choice.complain = complain

--- The value that a script's function raised, as text. Does not call __tostring of tables, which is the script's code too.
function choice.raised(err)
  local kind = type(err)
  if kind == "string" or kind == "userdata" or kind == "number" then return tostring(err) end
  return "it raised " .. (kind == "nil" and "nil" or kind == "boolean" and tostring(err) or "a " .. kind)
end

--- Calls the script's policy.
local function consult(pool, list, now, request)
  if pool.asking then -- the last call did not return: kt stopped it, and its task, for running too long
    complain(pool, "stopped", "policy: stopped for running too long; not called again, using the first link that is up")
    pool.policy, pool.asking = "first", false
    return first_in_use(list)
  end
  local up, given = {}, {}
  for i, m in ipairs(list) do
    given[i] = facts.of(m, now)
    up[i] = given[i]
  end
  pool.asking = true
  local ok, index = pool.env.pure("a policy", pool.policy, up, request)
  pool.asking = false
  if not ok then
    complain(pool, "raised", "policy: %s; using the first link that is up", choice.raised(index))
    return first_in_use(list)
  end
  -- The index refers to `up` as the policy left it: it may have sorted the list.
  local at = math.type(index) and math.tointeger(index)
  local picked = at and up[at]
  for i, fact in ipairs(given) do
    if rawequal(fact, picked) then return list[i] end
  end
  complain(pool, "returned " .. (at and "an index" or type(index)),
    "policy: expected an index into up (1 to %d), got %s; using the first link that is up", #list, schema.show(index))
  return first_in_use(list)
end

local function contains(list, member)
  for _, m in ipairs(list) do
    if m == member then return true end
  end
  return false
end

local function reason(pool, from, tried)
  if not from.live then return from.name .. " was removed from the pool" end
  if from.draining then return from.name .. " is draining" end
  if not from.health.up then return ("%s is down: %s"):format(from.name, from.health.why or "?") end
  if tried and tried[from] then return ("%s failed: %s"):format(from.name, tried[from]) end
  return type(pool.policy) == "string" and pool.policy .. " prefers it" or "the policy prefers it"
end

--- Makes `preferred` the current member, unless `hold` keeps the old one. Returns the current member.
local function hold(pool, list, preferred, now, tried)
  local current = pool.current
  if current == preferred then return preferred end
  if current and not current.draining and contains(list, current)
    and (now - pool.switched_at < pool.hold or now - preferred.health.steady_since < pool.hold) then
    return current
  end
  pool.current = preferred
  if current then
    local why = reason(pool, current, tried)
    pool.switched_at, pool.switches = now, pool.switches + 1
    events.tell(pool, "switch", preferred.name, ("new streams now go to %s instead of %s: %s"):format(preferred.name, current.name, why))
    events.emit(pool, "switch", { from = current.name, to = preferred.name, reason = why })
  end
  return preferred
end

--- The member for the next attempt, or nil if all have been tried. request: { client, key } or nil; tried: member → why it failed.
function choice.pick(pool, request, tried)
  local now, list = pool.env.now(), pool.asked
  local chosen
  if gather(pool, true, tried) == 0 and gather(pool, false, tried) == 0 then
    chosen = least_bad(pool, tried)
  else
    local named = policies[pool.policy]
    if type(pool.policy) == "string" then
      chosen = named(list, now, request and request.key or "", pool.current)
    else
      chosen = consult(pool, list, now, { client = request and request.client, key = request and request.key })
    end
    if pool.hold then chosen = hold(pool, list, chosen, now, tried) end
  end
  if chosen then
    pool.turn = pool.turn + 1
    chosen.used = pool.turn
  end
  return chosen
end

--- Called after a link went up or down or was removed: a policy that does not depend on the request switches now instead of with
--- the next stream.
function choice.reconsider(pool)
  if not pool.hold or not policies.steady[pool.policy] or not pool.current then return end
  local now = pool.env.now()
  if gather(pool, true) > 0 then
    hold(pool, pool.asked, policies[pool.policy](pool.asked, now, "", pool.current), now)
  end
end

return choice
