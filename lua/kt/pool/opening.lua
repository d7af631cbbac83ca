--- pool:open: one link after another, as the policy says, until one gives a stream.
---
--- Each attempt may take its share of the time that is left: a first link that hangs leaves the next one as much as it had. An
--- attempt at a link that was closed takes no time, and does not count as one.
local choice = require "kt.pool.choice"

local opening = {}

--- The key of a request, where the policy wants one: what open was given, what the script's function makes of the client, or the
--- client's host, so that a client stays with its link.
local function key_of(pool, o)
  if o.key then return o.key end
  if pool.key then
    local ok, key = pool.env.pure("a key function", pool.key, { client = o.client })
    if ok and (type(key) == "string" or math.type(key)) then return tostring(key) end
    choice.complain(pool, "key", "key: %s; the client's address serves",
      ok and "it returned a " .. type(key) .. "; wanted a string" or choice.raised(key))
  end
  return o.client and (o.client:match "^(.*):%d+$" or o.client) or nil
end

--- Waits until a pool that discovers its links has one. Nil, or the err.
local function await(pool, deadline, timeout)
  local env = pool.env
  while #pool.members == 0 and not pool.closed do
    if not pool.discover then return env.err("unreachable", pool.name .. ": there is no link in it") end
    local left = deadline - env.now()
    if left <= 0 then
      return env.err("timeout", ("%s: %s brought no link within %g s"):format(pool.name, pool.discover.name, timeout))
    end
    pool.waiting[env.self()] = true
    env.park(left)
    pool.waiting[env.self()] = nil
  end
end

--- One err for all attempts: the last one's code, and what was wrong with each link.
local function all_failed(pool, failures, last)
  if #failures == 0 then return pool.env.err("unreachable", pool.name .. ": there is no link in it") end
  if #failures == 1 then return last end
  return pool.env.err(last.code, ("%s: no link opened a stream: %s"):format(pool.name, table.concat(failures, "; ")))
end

--- o: what pool:open was given, checked; timeout in seconds.
function opening.open(pool, o)
  local env = pool.env
  local deadline = env.now() + o.timeout
  local err = await(pool, deadline, o.timeout)
  if err then return nil, err end
  local request
  if pool.policy == "hash" or type(pool.policy) == "function" then request = { client = o.client, key = key_of(pool, o) } end
  local ask = { client = o.client, priority = o.priority, weight = o.weight }
  local tried, failures, attempts = nil, {}, 1 + pool.retries
  while attempts > 0 and not pool.closed do
    local m = choice.pick(pool, request, tried)
    if not m then break end
    local left = deadline - env.now()
    if left <= 0 and err then break end
    ask.timeout = math.max(left, 0) / math.max(1, math.min(attempts, #pool.members - #failures))
    m.opened = m.opened + 1
    local stream
    stream, err = m.link:open(ask)
    if stream then
      pool.opened = pool.opened + 1
      return stream
    end
    m.opened = m.opened - 1
    if err.code ~= "closed" then attempts = attempts - 1 end
    tried = tried or {}
    tried[m] = tostring(err)
    failures[#failures + 1] = ("%s: %s"):format(m.name, err)
    pool.failed_attempts = pool.failed_attempts + 1
    if m.checker then -- is it the link? The next check says so, and comes sooner
      m.poke = true
      env.unpark(m.checker)
    end
  end
  if pool.closed then return nil, env.err("closed", pool.name .. ": the pool was closed") end
  pool.failed = pool.failed + 1
  return nil, all_failed(pool, failures, err)
end

return opening
