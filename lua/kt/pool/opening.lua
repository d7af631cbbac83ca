--- pool:open and pool:race. open tries one link after another, in the order of the policy, until one opens a stream.
---
--- Each attempt gets an equal share of the remaining time, so a link that hangs leaves enough for the next one. An attempt on a closed
--- link takes no time and does not count.
local choice = require "kt.pool.choice"
local race = require "kt.pool.race"

local opening = {}

--- The key of a request without one: the result of the script's key function, or the client's host, so that a client keeps its link.
local function key_of(pool, client)
  if pool.key then
    local ok, key = pool.env.pure("a key function", pool.key, { client = client })
    if ok and (type(key) == "string" or math.type(key)) then return tostring(key) end
    choice.complain(pool, "key", "key: %s; using the client's address",
      ok and ("expected a string, got %s"):format(key == nil and "nil" or "a " .. type(key)) or choice.raised(key))
  end
  return client and (client:match "^(.*):%d+$" or client) or nil
end

--- Waits until a pool with `discover` has a link. Returns nil, or an err.
local function await(pool, deadline, timeout)
  local env = pool.env
  while #pool.members == 0 and not pool.closed do
    if not pool.discover then return env.err("unreachable", pool.name .. ": the pool has no links") end
    local left = deadline - env.now()
    if left <= 0 then
      return env.err("timeout", ("%s: no link found in %s within %g s"):format(pool.name, pool.discover.name, timeout))
    end
    pool.waiting[env.self()] = true
    env.park(left)
    pool.waiting[env.self()] = nil
  end
end

--- One err for all attempts: the code of the last, and the reason for each link.
local function all_failed(pool, tried, last)
  if not tried then
    return pool.env.err("unreachable", pool.name .. (#pool.members > 0 and ": all links are draining" or ": the pool has no links"))
  end
  if tried.n == 1 then return last end
  return pool.env.err(last.code, ("%s: no link opened a stream: %s"):format(pool.name, table.concat(tried.texts, "; ")))
end

--- Records that a member failed to open a stream. tried: earlier failures, or nil. Returns the updated `tried`.
local function failed(pool, m, err, tried)
  tried = tried or { n = 0, texts = {} }
  tried[m], tried.n = tostring(err), tried.n + 1
  tried.texts[tried.n] = ("%s: %s"):format(m.name, err)
  pool.failed_attempts = pool.failed_attempts + 1
  if m.checker then -- check the link soon: it may be down
    m.poke = true
    pool.env.unpark(m.checker)
  end
  return tried
end

--- Records that a member opened a stream, and returns the stream.
local function opened(pool, m, stream)
  pool.opened = pool.opened + 1
  pool.env.name_link(stream, m.name)
  return stream
end

--- ask: the options for link:open, modified here: timeout in seconds, client, priority, weight. key: that of pool:open, or nil.
--- Allocates nothing for a stream that opens at the first attempt, unless the policy takes a request.
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
    if stream then return opened(pool, m, stream) end
    m.opened = m.opened - 1
    if err.code ~= "closed" then attempts = attempts - 1 end
    tried = failed(pool, m, err, tried)
  end
  if pool.closed then return nil, env.err("closed", pool.name .. ": the pool was closed") end
  pool.failed = pool.failed + 1
  return nil, all_failed(pool, tried, err)
end

--- ask: as for opening.open.
function opening.race(pool, ask)
  local env, timeout = pool.env, ask.timeout
  local deadline = env.now() + timeout
  local err = #pool.members == 0 and await(pool, deadline, timeout)
  if err then return nil, err end
  ask.timeout = deadline - env.now()
  local tried, last
  local stream, m = race.run(pool, ask, function(loser, why) tried, last = failed(pool, loser, why, tried), why end)
  if stream then return opened(pool, m, stream) end
  if pool.closed then return nil, env.err("closed", pool.name .. ": the pool was closed") end
  pool.failed = pool.failed + 1
  if last or not pool:usable() then return nil, all_failed(pool, tried, last) end
  return nil, env.err("timeout", ("%s: no link answered within %g s"):format(pool.name, timeout))
end

return opening
