--- pool:open: one link after another, as the policy says, until one gives a stream.
---
--- Each attempt may take its share of the time that is left: a first link that hangs leaves the next one as much as it had. An
--- attempt at a link that was closed takes no time, and does not count as one.
local choice = require "kt.pool.choice"

local opening = {}

--- The key of a request that was given none: what the script's function makes of the client, or the client's host, so that a client
--- stays with its link.
local function key_of(pool, client)
  if pool.key then
    local ok, key = pool.env.pure("a key function", pool.key, { client = client })
    if ok and (type(key) == "string" or math.type(key)) then return tostring(key) end
    choice.complain(pool, "key", "key: %s; using the client's address",
      ok and ("expected a string, got %s"):format(key == nil and "nil" or "a " .. type(key)) or choice.raised(key))
  end
  return client and (client:match "^(.*):%d+$" or client) or nil
end

--- Waits until a pool that discovers its links has one. Nil, or the err.
local function await(pool, deadline, timeout)
  local env = pool.env
  while #pool.members == 0 and not pool.closed do
    if not pool.discover then return env.err("unreachable", pool.name .. ": the pool has no links") end
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
local function all_failed(pool, tried, last)
  if not tried then return pool.env.err("unreachable", pool.name .. ": the pool has no links") end
  if tried.n == 1 then return last end
  return pool.env.err(last.code, ("%s: no link opened a stream: %s"):format(pool.name, table.concat(tried.texts, "; ")))
end

--- Enters that a member has failed to open a stream. tried: what failed before, or nil; returns it.
local function failed(pool, m, err, tried)
  tried = tried or { n = 0, texts = {} }
  tried[m], tried.n = tostring(err), tried.n + 1
  tried.texts[tried.n] = ("%s: %s"):format(m.name, err)
  pool.failed_attempts = pool.failed_attempts + 1
  if m.checker then -- is it the link? The next check says so, and comes sooner
    m.poke = true
    pool.env.unpark(m.checker)
  end
  return tried
end

--- ask: what link:open is given, to be changed here: timeout in seconds, client, priority, weight. key: of pool:open, or nil.
--- Nothing is made in here for a stream that opens at once, unless the policy wants to be told something.
function opening.open(pool, ask, key)
  local env, timeout = pool.env, ask.timeout
  local deadline = env.now() + timeout
  local err = #pool.members == 0 and await(pool, deadline, timeout)
  if err then return nil, err end
  local request
  if pool.policy == "hash" or type(pool.policy) == "function" then
    request = { client = ask.client, key = key or key_of(pool, ask.client) }
  end
  local tried, attempts = nil, 1 + pool.retries
  while attempts > 0 and not pool.closed do
    local m = choice.pick(pool, request, tried)
    local left = deadline - env.now()
    if not m or (tried and left <= 0) then break end
    ask.timeout = math.max(left, 0) / math.max(1, math.min(attempts, #pool.members - (tried and tried.n or 0)))
    m.opened = m.opened + 1
    local stream
    stream, err = m.link:open(ask)
    if stream then
      pool.opened = pool.opened + 1
      return stream
    end
    m.opened = m.opened - 1
    if err.code ~= "closed" then attempts = attempts - 1 end
    tried = failed(pool, m, err, tried)
  end
  if pool.closed then return nil, env.err("closed", pool.name .. ": the pool was closed") end
  pool.failed = pool.failed + 1
  return nil, all_failed(pool, tried, err)
end

return opening
