--- Decides from the outcomes of checks whether a link is up. Pure: the caller passes the time.
---
--- `fall` failures in a row take a link down, `rise` successes in a row bring it up again. Until its first success a link is not
--- proven: it counts as up at first, a single failure takes it down, and a single success brings it up. So a pool knows the state of
--- its links after one round trip, and a packet lost at start costs one interval.
local health = {}
health.__index = health

--- rules: { fall, rise }. now: when the link was added. steady: the link was there from the start, so `hold` need not wait for it.
function health.new(rules, now, steady)
  return setmetatable({
    rules = rules,
    up = true,
    proven = false,
    passes = 0, fails = 0, -- in a row
    since = now, -- when it last went up or down
    steady_since = steady and -math.huge or now, -- since when it has been up continuously
    passed_at = -math.huge,
    why = nil, -- the last failure, as a sentence
  }, health)
end

--- Marks a link without checks as up permanently.
function health:trust() self.proven = true end

--- Records a successful check. Returns "up" if it brought the link up or proved it for the first time.
function health:pass(now)
  self.passes, self.fails, self.passed_at = self.passes + 1, 0, now
  if self.proven and (self.up or self.passes < self.rules.rise) then return nil end
  if not self.up then self.since, self.steady_since = now, now end
  self.up, self.proven = true, true
  return "up"
end

--- Records a failed check. Returns "down" if it took the link down.
function health:fail(now, why)
  self.passes, self.fails, self.why = 0, self.fails + 1, why
  if not self.up or (self.proven and self.fails < self.rules.fall) then return nil end
  self.up, self.since = false, now
  return "down"
end

return health
