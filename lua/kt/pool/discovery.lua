--- Finds the links of a pool in DNS: a task that looks up the name, adds new links, removes those no longer listed, and repeats
--- when the shortest TTL expires.
---
--- While lookups fail, the links stay: an unreachable resolver must not take down the tunnel. A removed link gets no new streams and is
--- closed after its last one. SRV priorities become tiers, SRV weights become link weights (RFC 2782).
local events = require "kt.pool.events"

local discovery = {}

local LINKS_MAX = 64 -- per name, against mistakes and hostile answers
local TTL_MIN, TTL_MAX = 1, 86400
local LATE_MAX = 0.1 -- of the TTL: random delay, so that clients whose caches expire together do not all ask at once
local AGAIN_MIN, AGAIN_MAX = 1, 60 -- seconds to the next lookup after failed ones
local RETIRED_EVERY = 5 -- seconds between checks whether removed links still have streams

local function address(host, port)
  return (host:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(host, port)
end

local function read(answer, kind, port)
  if type(answer) ~= "table" then return nil end
  if kind ~= "SRV" then
    return type(answer.address) == "string" and { remote = address(answer.address, port), weight = 1, tier = 0 } or nil
  end
  local target = type(answer.target) == "string" and answer.target:gsub("%.$", "") or ""
  if target == "" or not math.type(answer.port) or answer.port < 1 then return nil end -- target ".": the service is not available
  return {
    remote = address(target, answer.port), tier = math.tointeger(answer.priority) or 0,
    weight = math.max(1, math.tointeger(answer.weight) or 1), -- SRV weight 0 means a very small share; 1 is the pool's minimum
  }
end

--- Converts answers to entries { remote, weight, tier }, one per remote, most preferred first, at most LINKS_MAX. Returns them, the
--- TTL in seconds (nil if no answer is usable), and the number of entries dropped. Pure.
function discovery.plan(answers, kind, port)
  local plan, seen, ttl = {}, {}, TTL_MAX
  for _, answer in ipairs(answers) do
    local entry = read(answer, kind, port)
    if entry and not seen[entry.remote] then
      seen[entry.remote] = true
      plan[#plan + 1] = entry
      ttl = math.min(ttl, math.type(answer.ttl) and answer.ttl or TTL_MIN)
    end
  end
  if #plan == 0 then return plan, nil end
  table.sort(plan, function(a, b)
    if a.tier ~= b.tier then return a.tier < b.tier end
    if a.weight ~= b.weight then return a.weight > b.weight end
    return a.remote < b.remote
  end)
  local dropped = math.max(0, #plan - LINKS_MAX)
  for i = #plan, LINKS_MAX + 1, -1 do plan[i] = nil end
  return plan, math.max(TTL_MIN, ttl), dropped
end

--- The difference between `found` (remote → anything) and the plan: entries to add, entries to keep, remotes to drop, sorted. Pure.
function discovery.diff(found, plan)
  local add, keep, drop, planned = {}, {}, {}, {}
  for _, entry in ipairs(plan) do
    planned[entry.remote] = true
    local list = found[entry.remote] and keep or add
    list[#list + 1] = entry
  end
  for remote in next, found do
    if not planned[remote] then drop[#drop + 1] = remote end
  end
  table.sort(drop)
  return add, keep, drop
end

--- Closes the retired links that have no streams left.
local function close_idle(retired)
  for i = #retired, 1, -1 do
    if retired[i]:stats().streams == 0 then table.remove(retired, i):close() end
  end
end

local function make_link(pool, entry)
  local settings = { remote = entry.remote }
  for key, value in next, pool.discover.link do settings[key] = value end
  local ok, link, err = pcall(pool.env.link, settings)
  if ok and link then return link end
  events.say(pool, "warn", entry.remote, "skipped %s from %s: %s", entry.remote, pool.discover.name, tostring(ok and err or link))
end

--- Updates the pool to match the plan. self: { pool, found = remote → link, retired }
local function apply(self, plan)
  local pool = self.pool
  local add, keep, drop = discovery.diff(self.found, plan)
  for _, entry in ipairs(add) do
    local link = make_link(pool, entry)
    if link then
      self.found[entry.remote] = link
      pool:enter { link = link, weight = entry.weight, tier = entry.tier }
      events.say(pool, "info", entry.remote, "added %s from %s", entry.remote, pool.discover.name)
    end
  end
  for _, entry in ipairs(keep) do pool:change(self.found[entry.remote], entry.weight, entry.tier) end
  for _, remote in ipairs(drop) do
    local link = self.found[remote]
    self.found[remote] = nil
    pool:leave(link)
    self.retired[#self.retired + 1] = link
    events.say(pool, "info", remote, "removed %s, no longer in %s; its streams stay open", remote, pool.discover.name)
  end
end

--- One lookup. Returns the seconds until the next one.
local function look(self)
  local pool, d = self.pool, self.pool.discover
  local env = pool.env
  local answers, err = env.resolve { name = d.name, type = d.type, servers = d.servers, timeout = d.timeout }
  if pool.closed then return 0 end
  local plan, ttl, dropped
  if answers then plan, ttl, dropped = discovery.plan(answers, d.type, d.port) end
  if not ttl then
    self.failures = self.failures + 1
    if self.failures == 1 then
      events.say(pool, "warn", nil, "no %s records of %s: %s%s", d.type, d.name, answers and "no usable record in the answer" or tostring(err),
        next(self.found) and "; keeping the current links" or "")
    end
    return math.min(AGAIN_MAX, AGAIN_MIN * 2 ^ math.min(self.failures - 1, 16))
  end
  if dropped > 0 and not self.told_many then
    self.told_many = true
    events.say(pool, "warn", nil, "%s has more than %d links; using the first %d", d.name, LINKS_MAX, LINKS_MAX)
  end
  self.failures = 0
  apply(self, plan)
  return ttl * (1 + LATE_MAX * env.random())
end

local function run(pool)
  local env = pool.env
  local self = { pool = pool, found = {}, retired = {}, failures = 0 }
  pool.discoverer = env.self()
  while not pool.closed do
    local ok, seconds = pcall(look, self) -- on failure, such as out of memory, try again later
    if not ok then events.say(pool, "warn", nil, "%s could not be looked up: %s", pool.discover.name, tostring(seconds)) end
    local due = env.now() + (ok and seconds or AGAIN_MAX)
    while not pool.closed and env.now() < due do
      close_idle(self.retired)
      env.park(math.min(due - env.now(), #self.retired > 0 and RETIRED_EVERY or math.huge))
    end
  end
  for _, link in next, self.found do self.retired[#self.retired + 1] = link end
  close_idle(self.retired)
  while #self.retired > 0 do
    env.park(RETIRED_EVERY)
    close_idle(self.retired)
  end
end

function discovery.start(pool)
  if pool.discover then pool.env.spawn(run, pool) end
end

return discovery
