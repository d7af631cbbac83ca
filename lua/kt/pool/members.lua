--- The links of a pool: their names, weights and order. Invariant: no link and no name is in it twice, the order is that of `tier`
--- and then of coming in, and `live` is true exactly for those that are in.
local facts = require "kt.pool.facts"
local health = require "kt.pool.health"
local policies = require "kt.pool.policies"

local members = {}

--- The member of this link, or of this name; nil if there is none.
function members.find(pool, what)
  for i, m in ipairs(pool.members) do
    if m.link == what or m.name == what then return m, i end
  end
end

--- A free name: `base`, with a number if it is taken.
local function free_name(pool, base)
  local name, n = base, 1
  while members.find(pool, name) do
    n = n + 1
    name = ("%s#%d"):format(base, n)
  end
  return name
end

--- What keeps an entry { link, name, weight } out, and what to do about it; nil if nothing.
function members.objection(pool, entry)
  local same = members.find(pool, entry.link)
  if same then return ("this link is in the pool already, as %s"):format(same.name), "give it once, with a weight if it is to count more" end
  if entry.name and members.find(pool, entry.name) then
    return ('the name "%s" is taken'):format(entry.name), "every link of a pool has its own"
  end
end

--- Puts a link in, which has passed members.objection. steady: see kt.pool.health.
function members.add(pool, entry, steady)
  local now = pool.env.now()
  pool.seq = pool.seq + 1
  local name = entry.name or free_name(pool, entry.link.remote)
  local m = {
    link = entry.link, name = name, weight = entry.weight or 1, tier = entry.tier or 0, seq = pool.seq, live = true,
    health = health.new(pool.check or { fall = 1, rise = 1 }, now, steady),
    seen = facts.none(),
    rtt = nil, -- of the checks, smoothed; measured: by the script's own check
    used = 0, -- the turn in which it was chosen last
    credit = 0, -- see policies.weighted
    hash = policies.hash_of(name),
    opened = 0, -- streams since `seen` was read
  }
  if not pool.check then m.health:trust() end
  members.place(pool, m)
  return m
end

--- Puts a member where it belongs: at the end of its tier.
function members.place(pool, m)
  local at = #pool.members + 1
  while at > 1 and pool.members[at - 1].tier > m.tier do at = at - 1 end
  table.insert(pool.members, at, m)
end

--- Takes a member out. Its streams go on.
function members.remove(pool, m)
  local found, at = members.find(pool, m.link)
  if found ~= m then return false end
  table.remove(pool.members, at)
  m.live = false
  if m.checker then pool.env.unpark(m.checker) end
  return true
end

return members
