--- The links of a pool: names, weights and order. Invariant: no link and no name appears twice, members are sorted by `tier` and then
--- by insertion, and `live` is true exactly for members of the pool.
local facts = require "kt.pool.facts"
local health = require "kt.pool.health"
local policies = require "kt.pool.policies"

local members = {}

--- The member with this link or name, and its position; nil if there is none.
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

--- Why an entry { link, name, weight } cannot be added, and a suggestion; nil if it can.
function members.objection(pool, entry)
  local same = members.find(pool, entry.link)
  if same then return ("the link is already in the pool, as %s"):format(same.name), "give it a weight to increase its share" end
  if entry.name and members.find(pool, entry.name) then
    return ('the name "%s" is taken'):format(entry.name), "give it another name"
  end
end

--- Adds a link that has passed members.objection. steady: see kt.pool.health.
function members.add(pool, entry, steady)
  local now = pool.env.now()
  pool.seq = pool.seq + 1
  local name = entry.name or free_name(pool, entry.link.remote)
  local m = {
    link = entry.link, name = name, weight = entry.weight or 1, tier = entry.tier or 0, seq = pool.seq, live = true,
    health = health.new(pool.check or { fall = 1, rise = 1 }, now, steady),
    seen = facts.none(),
    rtt = nil, -- smoothed, from checks; `measured` if the script's check measured it
    used = 0, -- pool.turn when it was last chosen
    credit = 0, -- see policies.weighted
    hash = policies.hash_of(name),
    draining = false, -- gets no new streams, except from the script's policy
    weighed = false, -- the script has set the weight
    opened = 0, -- streams opened since `seen` was refreshed
  }
  if not pool.check then m.health:trust() end
  members.place(pool, m)
  return m
end

--- Inserts a member at the end of its tier.
function members.place(pool, m)
  local at = #pool.members + 1
  while at > 1 and pool.members[at - 1].tier > m.tier do at = at - 1 end
  table.insert(pool.members, at, m)
end

--- Removes a member. Its streams stay open.
function members.remove(pool, m)
  local found, at = members.find(pool, m.link)
  if found ~= m then return false end
  table.remove(pool.members, at)
  m.live = false
  if m.checker then pool.env.unpark(m.checker) end
  return true
end

return members
