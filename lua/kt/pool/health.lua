--- Whether a link is up, told from the outcomes of its checks. Pure: it is told the time.
---
--- `fall` failures in a row take it down, `rise` successes in a row bring it up again. A link of which no check has succeeded yet
--- is not proven: it counts as up, but its first check decides, whichever way it goes, and so does each one after that until
--- one has succeeded. A pool knows where it stands after one round trip, and one lost packet at start costs one interval.
local health = {}
health.__index = health

--- rules: { fall, rise }. now: when the link came in. steady: it is there from the beginning, and need not show that it stays.
function health.new(rules, now, steady)
  return setmetatable({
    rules = rules,
    up = true,
    proven = false,
    passes = 0, fails = 0, -- in a row
    since = now, -- when it went up or down last
    steady_since = steady and -math.huge or now, -- from when on it has been up without a break
    passed_at = -math.huge,
    why = nil, -- the last failure, as a sentence
  }, health)
end

--- For a link that nobody checks: it is up for good.
function health:trust() self.proven = true end

--- A check has succeeded. Returns "up" if that made the link so, or proved it for the first time.
function health:pass(now)
  self.passes, self.fails, self.passed_at = self.passes + 1, 0, now
  if self.proven and (self.up or self.passes < self.rules.rise) then return nil end
  if not self.up then self.since, self.steady_since = now, now end
  self.up, self.proven = true, true
  return "up"
end

--- A check has failed. Returns "down" if that made the link so.
function health:fail(now, why)
  self.passes, self.fails, self.why = 0, self.fails + 1, why
  if not self.up or (self.proven and self.fails < self.rules.fall) then return nil end
  self.up, self.since = false, now
  return "down"
end

return health
