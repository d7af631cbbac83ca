--- A pool: several links behind one open. Assembles the other modules, and depends on kt only through `env`:
---   now() → seconds, random() → [0, 1), log_about(level, pool, link or nil, text)
---   happened(type, pool, link, text): tells those who follow the process's events (runtime/script/core/events.h)
---   self() → this task; alive(task); park(seconds): sleeps until then, until unpark(task), or until a spurious wakeup
---   spawn(fn, …): starts a task that does not keep the script alive
---   handler(), handle(handler, name, fn, event): run a handler of the script (runtime/script/core/handler.h)
---   pure(what, fn, …): pcall(fn, …) with one result; fn cannot wait
---   err(code, text), resolve(options), link(settings)
---   name_link(stream, name): sets stream.link; answered(stream, seconds): waits for the peer's acknowledgement of the stream;
---   give(stream, task): hands a stream of this task to another one
---
--- Invariant: a member is live, and its checker runs, exactly while it is in pool.members.
local checks = require "kt.pool.checks"
local choice = require "kt.pool.choice"
local discovery = require "kt.pool.discovery"
local events = require "kt.pool.events"
local facts = require "kt.pool.facts"
local members = require "kt.pool.members"
local opening = require "kt.pool.opening"
local policies = require "kt.pool.policies"

local pool = {}
pool.__index = pool

--- config: kt.pool's argument, checked against kt.api. where: the prefix of messages about mistakes in the script.
function pool.new(env, config, where)
  local self = setmetatable({
    env = env, where = where, name = config.name,
    check = config.check, policy = config.policy, key = config.key, retries = config.retries, discover = config.discover,
    hold = nil, -- seconds, if the policy prefers one link
    probe = config.check and { timeout = config.check.timeout },
    members = {}, seq = 0, turn = 0, asked = {}, told = {}, handlers = {}, handled = 0, waiting = {}, closed = false,
    current = nil, switched_at = -math.huge, switches = 0, opened = 0, failed = 0, failed_attempts = 0,
  }, pool)
  if policies.steady[config.policy] or (type(config.policy) == "function" and config.hold) then
    self.hold = config.hold or pool.HOLD
  end
  for _, entry in ipairs(config.links or {}) do self:enter(entry, true) end
  discovery.start(self)
  return self
end

pool.HOLD = 10 -- seconds; the default for built-in policies

--- Adds a link that has passed members.objection. steady: see kt.pool.health.
function pool:enter(entry, steady)
  local m = members.add(self, entry, steady)
  checks.start(self, m)
  for task in next, self.waiting do self.env.unpark(task) end
end

--- Changes the weight and tier of a member, as DNS says; a weight that the script set stays.
function pool:change(link, weight, tier)
  local m, at = members.find(self, link)
  if m and m.weighed then weight = m.weight end
  if not m or (m.weight == weight and m.tier == tier) then return end
  m.weight, m.tier = weight, tier
  table.remove(self.members, at)
  members.place(self, m)
end

--- Removes a link, given as a link or by name. Returns false if it is not in the pool. Its streams stay open.
function pool:leave(what)
  local m = members.find(self, what)
  if not m or self.closed then return false end
  members.remove(self, m)
  choice.reconsider(self)
  return true
end

pool.open, pool.race = opening.open, opening.race

--- Changes a member, given as a link or by name. change: { weight, drain }, both optional. Returns false if it is not in the pool.
function pool:set(what, change)
  local m = members.find(self, what)
  if not m or self.closed then return false end
  if change.weight then m.weight, m.weighed = change.weight, true end
  if change.drain ~= nil and change.drain ~= m.draining then
    m.draining = change.drain
    events.say(self, "info", m.name, "%s %s", m.name, m.draining and "is draining: it gets no new streams" or "is back in use")
    choice.reconsider(self)
  end
  return true
end

--- Whether any link may get new streams.
function pool:usable()
  for _, m in ipairs(self.members) do
    if not m.draining then return true end
  end
  return false
end

--- The facts of each member, in order.
function pool:links()
  local out, now = {}, self.env.now()
  if self.closed then return out end
  for i, m in ipairs(self.members) do out[i] = facts.all(m, now) end
  return out
end

function pool:stats()
  local up = 0
  for _, m in ipairs(self.members) do up = up + (m.live and m.health.up and 1 or 0) end
  return {
    links = self.closed and 0 or #self.members, up = up, current = self.current and self.current.live and self.current.name or nil,
    opened = self.opened, failed = self.failed, failed_attempts = self.failed_attempts, switches = self.switches,
  }
end

--- Stops checks and discovery. Links and streams stay open; links that the pool made are closed after their last stream. Allocates
--- nothing, because it may run in a finalizer.
function pool:close()
  if self.closed then return end
  self.closed = true
  for _, m in ipairs(self.members) do
    m.live = false
    if m.checker then self.env.unpark(m.checker) end
  end
  if self.discoverer then self.env.unpark(self.discoverer) end
  for task in next, self.waiting do self.env.unpark(task) end
end

return pool
