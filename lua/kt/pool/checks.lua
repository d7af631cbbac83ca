--- Checks the links of a pool, with one task per link that sleeps between checks.
---
--- Intervals vary between 0.9 and 1.1 of `every`, so that neither the links of a pool nor the pools of many clients synchronize.
--- Busy links are checked too: a check costs two small packets, and an idle link has no other traffic to judge it by. A check that
--- times out does not count as failed if data arrived from the link meanwhile: the answer is waiting in a queue, and the link is
--- congested, not dead. If only one direction works, the link itself notices (dead_after), and the next check fails.
local choice = require "kt.pool.choice"
local events = require "kt.pool.events"
local facts = require "kt.pool.facts"
local schema = require "kt.schema"

local checks = {}

local SPREAD = 0.2 -- of every
local SOONEST = 0.25 -- of every: the minimum interval before a check that a failed stream triggers
local GAIN = 1 / 8 -- weight of a new sample in the smoothed round-trip time, as in RFC 6298

--- Runs the script's check in a separate task, which may hang or fail; what it has opened is closed when it ends.
local function run_own(pool, m, job)
  job.task = pool.env.self()
  job.ok, job.result, job.err = pcall(pool.check.with, m.link)
  job.done = true
  if m.checker then pool.env.unpark(m.checker) end
end

--- The outcome of the script's check: rtt (or nil), nil; or nil and the reason it failed.
local function judged(pool, job)
  local result = job.result
  if not job.ok then
    choice.complain(pool, "check", "check.with: %s", choice.raised(result))
    return nil, "its check raised an error"
  elseif result == true then
    return nil
  elseif math.type(result) and result >= 0 and result < math.huge then
    return result
  elseif not result then
    return nil, job.err ~= nil and choice.raised(job.err) or "its check returned " .. tostring(result)
  end
  choice.complain(pool, "check returned", "check.with: expected true, a round-trip time in seconds, or nil and a reason, got %s",
    type(result) == "number" and schema.show(result) or "a " .. type(result))
  return nil, "its check returned an invalid value"
end

--- Checks a link with the script's function. Returns what `judged` returns.
local function check_with(pool, m)
  local env, job = pool.env, m.job
  if job and not job.done and env.alive(job.task) then return nil, "its previous check is still running" end
  job = { done = false }
  m.job = job
  local ok, wrong = pcall(env.spawn, run_own, pool, m, job)
  if not ok then return nil, "its check could not start: " .. choice.raised(wrong) end
  local deadline = env.now() + pool.check.timeout
  while not job.done do
    local left = deadline - env.now()
    if left <= 0 then return nil, ("its check took longer than %g s"):format(pool.check.timeout) end
    env.park(left)
    if not m.live or pool.closed then return nil end
  end
  m.job = nil
  return judged(pool, job)
end

--- Checks a link by a round trip to the peer. Returns rtt; or nil and the reason it failed; or nil, nil, true if inconclusive.
local function probe(pool, m)
  local env = pool.env
  local began = env.now()
  local rtt, err = m.link:probe(pool.probe)
  if rtt then return rtt end
  if err.code == "timeout" then
    m.seen.at = -math.huge -- discard cached statistics
    if facts.read(m, env.now()).heard < env.now() - began then return nil, nil, true end
  end
  return nil, tostring(err)
end

--- Records the outcome of a check.
function checks.enter(pool, m, rtt, why)
  local env = pool.env
  local now = env.now()
  if rtt then m.rtt = m.rtt and m.rtt + (rtt - m.rtt) * GAIN or rtt end
  if rtt and pool.check.with then m.measured = true end
  local change
  if why then change = m.health:fail(now, why) else change = m.health:pass(now) end
  if not change then return end
  if change == "down" then
    local times = m.health.fails
    events.tell(pool, "down", m.name, ("%s is down: %s%s"):format(m.name, why, times > 1 and (" (%d checks in a row failed)"):format(times) or ""))
    m.rtt, m.measured = nil, nil -- the link may come back on another path
  else
    events.tell(pool, "up", m.name, ("%s is up%s"):format(m.name, m.rtt and (" (%.3g ms)"):format(m.rtt * 1000) or ""))
  end
  m.seen.at = -math.huge
  events.emit(pool, change, { name = m.name, link = m.link, reason = why })
  choice.reconsider(pool)
end

--- Sleeps until the next check.
local function rest(pool, m, began)
  local env, every = pool.env, pool.check.every
  local due = began + every * (1 - SPREAD / 2 + SPREAD * env.random())
  while m.live and not pool.closed do
    local left = (m.poke and math.min(due, began + every * SOONEST) or due) - env.now()
    if left <= 0 then return end
    env.park(left)
  end
end

--- One check.
local function round(pool, m)
  local rtt, why, unclear
  if pool.check.with then rtt, why = check_with(pool, m) else rtt, why, unclear = probe(pool, m) end
  if m.live and not pool.closed and not unclear then checks.enter(pool, m, rtt, why) end
end

local function run(pool, m)
  m.checker = pool.env.self()
  while m.live and not pool.closed do
    local began = pool.env.now()
    m.poke = false
    local ok, wrong = pcall(round, pool, m) -- on failure, such as out of memory, try again next time
    if not ok then events.say(pool, "warn", m.name, "%s could not be checked: %s", m.name, choice.raised(wrong)) end
    rest(pool, m, began)
  end
  m.checker = nil
end

--- Starts checking a member.
function checks.start(pool, m)
  if pool.check then pool.env.spawn(run, pool, m) end
end

return checks
