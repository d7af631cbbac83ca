-- runtime/base/wheel: timers.
local base = require "spec_base"

local TICK, NEVER = base.KT_WHEEL_TICK_US, base.KT_TIME_NEVER
local SECOND, HOUR = 1000000, 3600 * 1000000
local SPAN = 1 << 36 -- ticks that the wheel's levels cover

local function ceil_tick(us) return us // TICK + (us % TICK ~= 0 and 1 or 0) end

-- A wheel with named timers that record when they fired.
local function bench(now)
  local b = { wheel = base.wheel(now), now = now, log = {} }
  function b:timer(name, also)
    return self.wheel:timer(function()
      self.log[#self.log + 1] = name
      if also then also() end
    end)
  end
  function b:run(at)
    self.now, self.log = at, {}
    self.wheel:run(at)
    return table.concat(self.log, " ")
  end
  return b
end

describe("wheel", function()
  it("needs no call when no timer is armed", function()
    local w = base.wheel(12345)
    assert.equal(NEVER, w:next())
    w:run(HOUR)
    assert.equal(NEVER, w:next())
  end)

  it("never fires early and at most a tick late", function()
    for _, start in ipairs { 0, 1, 511, 512, 1000000007 } do
      for _, delay in ipairs { 1, 511, 512, 513, 32767, 32768, 32769, 2097152, 134217729, HOUR } do
        local b = bench(start)
        local at = start + delay
        b.wheel:set(b:timer "x", at)
        assert.equal("", b:run(at - 1))
        assert.equal("x", b:run(at + TICK - 1))
        assert.equal("", b:run(at + HOUR))
      end
    end
  end)

  it("fires on the tick itself", function()
    local b = bench(0)
    b.wheel:set(b:timer "x", 4 * TICK)
    assert.equal("", b:run(4 * TICK - 1))
    assert.equal("x", b:run(4 * TICK))
  end)

  it("fires in order of deadline, and in the order of setting within a tick", function()
    local b = bench(0)
    local w = b.wheel
    w:set(b:timer "d", 50 * HOUR)
    w:set(b:timer "c", 3 * SECOND)
    w:set(b:timer "a", 10 * TICK)
    w:set(b:timer "c2", 3 * SECOND)
    w:set(b:timer "b", 100 * TICK)
    assert.equal("a b c c2 d", b:run(100 * HOUR))
  end)

  it("fires a deadline in the past on the next run, at any time", function()
    local b = bench(5 * SECOND)
    local w = b.wheel
    w:set(b:timer "zero", 0)
    w:set(b:timer "now", 5 * SECOND)
    assert.equal(5 * SECOND, w:next())
    assert.equal("zero now", b:run(5 * SECOND))
    assert.equal(NEVER, w:next())
  end)

  it("moves an armed timer and forgets its old deadline", function()
    local b = bench(0)
    local x = b:timer "x"
    b.wheel:set(x, 10 * TICK)
    b.wheel:set(x, HOUR)
    assert.equal("", b:run(SECOND))
    b.wheel:set(x, 2 * SECOND)
    assert.equal("x", b:run(2 * SECOND + TICK))
    assert.equal("", b:run(2 * HOUR))
  end)

  it("does not fire a canceled timer, and takes KT_TIME_NEVER for a cancel", function()
    local b = bench(0)
    local w = b.wheel
    for _, at in ipairs { 0, 10 * TICK, SECOND, HOUR, SPAN * TICK * 3 } do
      local x, y = b:timer "x", b:timer "y"
      w:set(x, at)
      w:set(y, at)
      assert.is_true(w:armed(x))
      w:cancel(x)
      w:set(y, NEVER)
      assert.is_false(w:armed(x) or w:armed(y))
      assert.equal(NEVER, w:next())
      w:cancel(x)
    end
    assert.equal("", b:run(SPAN * TICK * 4))
  end)

  it("lets a callback cancel timers that are due in the same run", function()
    for _, at in ipairs { 0, 20 * TICK } do
      local b = bench(0)
      local w = b.wheel
      local same, later = b:timer "same", b:timer "later"
      local killer = b:timer("killer", function()
        w:cancel(same)
        w:cancel(later)
      end)
      w:set(killer, at)
      w:set(same, at)
      w:set(later, SECOND)
      assert.equal("killer", b:run(2 * SECOND))
      assert.equal(NEVER, w:next())
    end
  end)

  it("lets a callback move a timer that is due in the same run", function()
    local b = bench(0)
    local w = b.wheel
    local other = b:timer "other"
    w:set(b:timer("mover", function() w:set(other, HOUR) end), 20 * TICK)
    w:set(other, 20 * TICK)
    assert.equal("mover", b:run(SECOND))
    assert.equal("other", b:run(HOUR + TICK))
  end)

  it("defers timers that a callback sets to now or earlier to the next run, so that it cannot loop forever", function()
    local b = bench(0)
    local w = b.wheel
    local again, past
    again = b:timer("again", function() w:set(again, b.now) end)
    past = b:timer("past", function() w:set(past, 0) end)
    w:set(again, TICK)
    w:set(past, TICK)
    assert.equal("again past", b:run(SECOND))
    assert.equal(SECOND, w:next())
    assert.equal("again past", b:run(SECOND))
    assert.equal("again past", b:run(SECOND + 1))
  end)

  it("keeps a periodic timer on schedule when its callback rearms it", function()
    local b = bench(0)
    local w, beats = b.wheel, 0
    local beat
    beat = b:timer("beat", function()
      beats = beats + 1
      w:set(beat, b.now + 10 * TICK)
    end)
    w:set(beat, 10 * TICK)
    for now = 0, 1000 * TICK, TICK do b:run(now) end
    assert.equal(100, beats)
  end)

  it("leaves nothing behind when a callback arms a timer just past the run", function()
    -- 63 → 64 → 70 → 71: the callback arms into a slot range whose earlier timer still waits a level up.
    local b = bench(0)
    local w = b.wheel
    local late = b:timer "late"
    w:set(b:timer "second", 65 * TICK)
    w:set(b:timer("first", function() w:set(late, 71 * TICK) end), 63 * TICK)
    assert.equal("first second", b:run(70 * TICK))
    assert.equal("late", b:run(71 * TICK))
  end)

  it("jumps over centuries without visiting every tick", function()
    local b = bench(0)
    local w, century = b.wheel, 100 * 365 * 24 * HOUR
    w:set(b:timer "x", century)
    assert.equal("", b:run(century - SECOND))
    assert.equal("x", b:run(century + SECOND))
    w:set(b:timer "y", 5 * century)
    w:set(b:timer "z", 0x7fffffffffffffff)
    assert.equal("y", b:run(90 * century))
    assert.equal("z", b:run(-2)) -- the last microsecond but one of all time
    assert.equal(NEVER, w:next())
  end)

  it("handles deadlines at the very end of time", function()
    local b = bench(0)
    b.wheel:set(b:timer "x", -2) -- KT_TIME_NEVER - 1
    assert.is_true(math.ult(b.wheel:next(), NEVER))
    assert.equal("", b:run(-2 - TICK))
    assert.is_true(math.ult(-2 - TICK, b.wheel:next()))
  end)

  it("crosses the end of its span with near and far timers in order", function()
    local edge = SPAN * TICK
    local b = bench(edge - 10 * TICK)
    local w = b.wheel
    w:set(b:timer "e", 5 * edge)
    w:set(b:timer "d", edge + HOUR)
    w:set(b:timer "b", edge)
    w:set(b:timer "c", edge + 3 * TICK)
    w:set(b:timer "a", edge - TICK)
    assert.equal("a", b:run(edge - TICK))
    assert.equal("b", b:run(edge))
    assert.equal("c", b:run(edge + 3 * TICK))
    assert.equal("", b:run(edge + HOUR - 1))
    assert.equal("d", b:run(edge + HOUR + TICK))
    assert.equal("e", b:run(6 * edge))
  end)

  it("needs few calls for one distant timer", function()
    for _, at in ipairs { 5 * SECOND, HOUR, 24 * HOUR, 400 * 24 * HOUR } do
      local b = bench(777)
      b.wheel:set(b:timer "x", at)
      local calls = 0
      repeat
        local next = b.wheel:next()
        assert.is_true(next > b.now and next <= ceil_tick(at) * TICK)
        calls = calls + 1
      until b:run(next) == "x"
      assert.is_true(calls <= 6, calls)
      assert.equal(ceil_tick(at) * TICK, b.now)
    end
  end)

  it("does not go back when the clock does", function()
    local b = bench(SECOND)
    b.wheel:set(b:timer "x", 2 * SECOND)
    assert.equal("", b:run(2 * SECOND - 1))
    assert.equal("", b:run(0))
    b.wheel:set(b:timer "past", SECOND)
    assert.equal(2 * SECOND - 1, b.wheel:next())
    assert.equal("past", b:run(0))
    assert.equal("x", b:run(2 * SECOND + TICK))
  end)
end)

-- The same timers kept in a plain list that is searched from end to end.
local function model_wheel(now)
  local m = { now = now, seq = 0, timers = {} }

  function m:set(id, at)
    self.seq = self.seq + 1
    self.timers[id] = { id = id, tick = ceil_tick(at), seq = self.seq, past = at <= self.now }
  end

  function m:cancel(id) self.timers[id] = nil end

  local function first(match)
    local best
    for _, t in pairs(m.timers) do
      if match(t) and (not best or t.tick < best.tick or (t.tick == best.tick and t.seq < best.seq)) then best = t end
    end
    return best
  end

  function m:run(at, fire)
    self.now = math.max(self.now, at)
    local before = self.seq
    local past = {}
    for _, t in pairs(self.timers) do
      if t.past then past[#past + 1] = t end
    end
    table.sort(past, function(a, b) return a.seq < b.seq end)
    for _, t in ipairs(past) do
      if self.timers[t.id] == t then
        self.timers[t.id] = nil
        fire(t.id)
      end
    end
    local last = self.now // TICK
    while true do
      local t = first(function(t) return not t.past and t.tick <= last end)
      if not t then break end
      assert(t.seq <= before, "the model fired what a callback set")
      self.timers[t.id] = nil
      fire(t.id)
    end
  end

  function m.earliest()
    local t = first(function() return true end)
    return t and t.tick * TICK
  end

  return m
end

-- luassert is slow where there are a hundred thousand checks.
local function check(ok, seed, ...)
  if not ok then error(("seed %d: %s"):format(seed, table.concat({ ... }, " ")), 2) end
end

describe("wheel against a plain list", function()
  -- How far ahead timers are set: mostly near, now and then at every level and beyond the last.
  local function delay(random)
    local bits = random(0, random(6) == 1 and 48 or 24)
    return random(0, (1 << bits)) - (random(8) == 1 and 3000 or 0)
  end

  local function compare(seed, start, steps)
    math.randomseed(seed)
    local count = 40
    local wheel, model = base.wheel(start), model_wheel(start)
    local timers, fired = {}, {}
    local expected

    -- The action of the n-th firing is drawn from its own generator, the same for both sides.
    local function act(target, set, cancel, id, n)
      local state = (seed * 1000003 + n * 7919 + id) & 0xffffffff
      local function draw(limit)
        state = (state * 1664525 + 1013904223) & 0xffffffff
        return (state >> 8) % limit
      end
      for _ = 1, draw(3) do
        local other = draw(count) + 1
        local kind = draw(5)
        if kind == 0 then
          cancel(target, other)
        elseif kind == 1 then
          set(target, other, target.now_us - draw(5000))
        else
          set(target, other, target.now_us + draw(1 << draw(24)))
        end
      end
    end

    local real = { now_us = start }
    local function real_set(_, id, at) wheel:set(timers[id], math.max(at, 0)) end
    local function real_cancel(_, id) wheel:cancel(timers[id]) end
    local function model_set(_, id, at) model:set(id, math.max(at, 0)) end
    local function model_cancel(_, id) model:cancel(id) end
    for id = 1, count do
      timers[id] = wheel:timer(function()
        fired[#fired + 1] = id
        act(real, real_set, real_cancel, id, #fired)
      end)
    end

    for _ = 1, steps do
      for _ = 1, math.random(0, 6) do
        local id = math.random(count)
        if math.random(5) == 1 then
          real_cancel(nil, id)
          model_cancel(nil, id)
        else
          local at = real.now_us + delay(math.random)
          real_set(nil, id, at)
          model_set(nil, id, at)
        end
      end

      local next, earliest = wheel:next(), model.earliest()
      if earliest then
        check(next >= real.now_us and next <= math.max(earliest, real.now_us), seed, "next", next, earliest)
      else
        check(next == NEVER, seed, "next", next)
      end

      if next ~= NEVER and math.random(3) == 1 then
        real.now_us = next
      else
        real.now_us = real.now_us + math.random(0, 1 << math.random(0, math.random(10) == 1 and 47 or 22))
      end
      fired, expected = {}, {}
      wheel:run(real.now_us)
      model:run(real.now_us, function(id)
        expected[#expected + 1] = id
        act(real, model_set, model_cancel, id, #expected)
      end)
      local want, got = table.concat(expected, " "), table.concat(fired, " ")
      check(want == got, seed, "fired", got, "not", want)
      for id = 1, count do check((model.timers[id] ~= nil) == wheel:armed(timers[id]), seed, "armed", id) end
    end
  end

  it("fires the same timers in the same order", function()
    for seed = 1, 25 do compare(seed, seed * 1000, 200) end
  end)

  it("does so across the end of a span", function()
    for seed = 1, 25 do compare(seed, SPAN * TICK - (1 << (seed + 10)), 100) end
  end)
end)
