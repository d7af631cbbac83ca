--- The built-in policies. Each gets a non-empty, ordered list of members and returns one of them. They never raise, wait, or allocate
--- a table.
---
--- Policies that take turns keep their state in the members, so links can be added, removed and down in between.
local facts = require "kt.pool.facts"

local policies = {}

--- In the order of the documentation.
policies.names = { "first", "round_robin", "least_loaded", "lowest_rtt", "weighted", "hash" }

--- The policies that prefer one link for all streams; `hold` applies only to them.
policies.steady = { first = true, lowest_rtt = true }

local MARGIN = 0.9 -- another link must have less than this share of the current link's round-trip time

--- The member with the lowest cost; among equals, the least recently used.
local function least(members, cost, now)
  local best, best_cost
  for _, m in ipairs(members) do
    local c = cost(m, now)
    if not best or c < best_cost or (c == best_cost and m.used < best.used) then best, best_cost = m, c end
  end
  return best
end

function policies.first(members) return members[1] end

local function nothing() return 0 end

function policies.round_robin(members) return least(members, nothing) end

local function load(m, now) return facts.streams(m, now) / m.weight end

function policies.least_loaded(members, now) return least(members, load, now) end

--- Keeps the current link unless another is clearly faster: two similar links would otherwise alternate with every measurement.
function policies.lowest_rtt(members, now, _, current)
  local best, best_rtt
  for _, m in ipairs(members) do
    local rtt = facts.read(m, now).srtt
    if m == current then rtt = rtt * MARGIN end
    if not best or rtt < best_rtt then best, best_rtt = m, rtt end
  end
  return best
end

--- Smooth weighted round robin: each turn every member gains its weight as credit, and the one with the most is chosen and pays the
--- total. Weights 5, 1, 1 give a a b a c a a, not five in a row.
function policies.weighted(members)
  local best, total = nil, 0
  for _, m in ipairs(members) do
    m.credit = m.credit + m.weight
    total = total + m.weight
    if not best or m.credit > best.credit then best = m end
  end
  best.credit = best.credit - total
  return best
end

--- The finalizer of splitmix64: every bit of the result depends on every bit of x.
local function mix(x)
  x = (x ~ (x >> 30)) * 0xbf58476d1ce4e5b9
  x = (x ~ (x >> 27)) * 0x94d049bb133111eb
  return x ~ (x >> 31)
end

local KEY_MAX = 256 -- bytes of a key that are hashed

--- A 64-bit hash of a string (FNV-1a, mixed).
function policies.hash_of(text)
  local h = 0xcbf29ce484222325
  for i = 1, math.min(#text, KEY_MAX) do h = (h ~ text:byte(i)) * 0x100000001b3 end
  return mix(h)
end

--- Weighted rendezvous hashing: each member draws a pseudorandom value for the key, scaled by its weight, and the lowest wins. Removing a
--- link remaps only that link's keys, and all pools with the same link names agree.
function policies.hash(members, _, key)
  local h = policies.hash_of(key)
  local best, best_lot
  for _, m in ipairs(members) do
    local u = ((mix(h ~ m.hash) >> 11) + 0.5) * 0x1p-53 -- in (0, 1)
    local lot = -math.log(u) / m.weight
    if not best or lot < best_lot then best, best_lot = m, lot end
  end
  return best
end

return policies
