--- kt.limit_count: how often something may happen, per key, by a token bucket.
---
--- A bucket is one number, the time at which it is full again (the virtual scheduling of ITU-T I.371, or GCRA). One that is full is as good
--- as none, so a bucket that was not touched for `per` can be dropped.
local cache = require "kt.cache"
local core = require "kt.core"

local limit_count = {}

local SLACK = 1e-9 -- of `per`, for the rounding of sums

local make, inside

local function take(handle, key)
  local self = inside(handle, "take")
  cache.check_key("limitcount:take", key)
  local now = core.now()
  local full = math.max(self.buckets:get(key, now) or now, now)
  local after = full + self.per / self.count
  local wait = after - now - self.per
  local enough = wait <= self.per * SLACK
  self.buckets:set(key, enough and after or full, now) -- also if refused: what asks often is not the oldest, and is not forgotten
  if enough then return true end
  return false, wait
end

make, inside = core.kind("limitcount", { { "take", take } }, false)

--- config: kt.limit_count's argument, checked.
function limit_count.new(config)
  return make { count = config.count, per = config.per, buckets = cache.entries(config.keys, config.per) }
end

return limit_count
