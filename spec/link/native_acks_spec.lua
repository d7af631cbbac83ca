-- The receiver's acknowledgements on kt's own wire: which packet numbers it knows, and when it says so.
local acks = require "spec_native_acks"

local MS = 1000
local DELAY = 25 * MS

-- A receiver that got these numbers, one a millisecond.
local function receiver(...)
  local a, now = acks.new(DELAY), 0
  for _, number in ipairs { ... } do
    now = now + MS
    a:received(number, now)
  end
  return a, now
end

local function ranges(a)
  local frame = a:write(0)
  frame.delay, frame.known = nil, nil
  return frame
end

describe("an acknowledgement", function()
  it("is due ack_delay after the first packet that waits", function()
    local a, now = receiver(0)
    assert.equal(now + DELAY, a:due())
    assert.is_true(a:waiting())
  end)

  it("is due at once for the second packet, or as many as the peer asks for", function()
    assert.equal(0, receiver(0, 1):due())
    for _, every in ipairs { 1, 3, 32 } do
      local a = acks.new(DELAY)
      a:every(every)
      for n = 0, every - 2 do a:received(n, MS) end
      assert.equal(every > 1 and MS + DELAY or nil, a:due())
      a:received(every - 1, 2 * MS)
      assert.equal(0, a:due())
    end
  end)

  it("is due at once when numbers are skipped, and when one arrives late", function()
    local a, now = receiver(0, 1)
    a:every(32)
    a:write(now)
    a:received(3, now)
    assert.equal(0, a:due())
    a:write(now)
    a:received(4, now)
    assert.equal(now + DELAY, a:due()) -- 2 is still missing, as the last ACK said
    a:write(now)
    a:received(2, now)
    assert.equal(0, a:due())
  end)

  it("is never due for packets that need none, nor once one was written", function()
    local a = acks.new(DELAY)
    a:received(0, 0, "quiet")
    a:received(5, 0, "quiet")
    assert.is_nil(a:due())
    a:received(6, 0)
    a:write(0)
    assert.is_nil(a:due())
    assert.is_false(a:waiting())
  end)

  it("tells how long ago the highest number arrived, in steps of 8 µs", function()
    local a = acks.new(DELAY)
    a:received(5, 1000)
    a:received(4, 2000)
    assert.equal(4000, a:write(5007).delay)
  end)

  it("is not written while nothing is known", function() assert.is_nil(acks.new(DELAY):write(0)) end)

  it("is asked for four times in a round trip, every 2 to 32 packets", function()
    assert.same({ 2, 2, 4, 25, 32 }, { acks.every(0), acks.every(11), acks.every(16), acks.every(100), acks.every(5000) })
  end)
end)

describe("the known packet numbers", function()
  it("are ranges, the highest first", function()
    assert.same({ { 9, 9 }, { 4, 6 }, { 0, 2 } }, ranges(receiver(0, 1, 2, 4, 5, 6, 9)))
  end)

  it("grow together where a late one fills the gap", function()
    assert.same({ { 0, 4 } }, ranges(receiver(0, 4, 2, 1, 3)))
    assert.same({ { 0, 4 } }, ranges(receiver(4, 3, 2, 1, 0)))
  end)

  it("recognise every duplicate", function()
    local a = receiver(0, 1, 5, 6, 9)
    for _, n in ipairs { 0, 1, 5, 6, 9 } do assert.is_false(a:received(n, 0)) end
    for _, n in ipairs { 2, 4, 7, 8, 10 } do assert.is_true(a:received(n, 0)) end
  end)

  it("are the same set whatever the order of arrival", function()
    math.randomseed(7)
    for _ = 1, 50 do
      local numbers, is_in = {}, {}
      for n = 0, 99 do
        if math.random() < 0.8 then numbers[#numbers + 1] = n; is_in[n] = true end
      end
      for i = #numbers, 2, -1 do
        local j = math.random(i)
        numbers[i], numbers[j] = numbers[j], numbers[i]
      end
      local covered, below = {}, math.huge
      for _, range in ipairs(ranges(receiver(table.unpack(numbers)))) do
        assert.is_true(range[2] + 1 < below)
        below = range[1]
        for n = range[1], range[2] do covered[n] = true end
      end
      assert.same(is_in, covered)
    end
  end)

  it("are at most 64 ranges, of which the lowest go first", function()
    local a = acks.new(DELAY)
    for n = 0, 999, 2 do a:received(n, 0) end
    local known = ranges(a)
    assert.equal(64, #known)
    assert.same({ { 998, 998 }, { 872, 872 } }, { known[1], known[64] })
    assert.is_true(a:received(1, 0)) -- below all of them: not kept
    assert.same(known, ranges(a))
    a:received(875, 0)
    a:received(873, 0)
    assert.same({ 872, 876 }, ranges(a)[62])
  end)

  it("are forgotten once the peer has acknowledged that it knows them", function()
    local a = receiver(0, 1, 3, 5, 6)
    local first = a:write(0).known
    a:received(7, 0)
    a:received(9, 0)
    a:known(first)
    assert.same({ { 9, 9 }, { 7, 7 } }, ranges(a))
    a:known(10)
    assert.is_nil(a:write(0))
    a:every(32)
    a:received(10, MS) -- still in order
    assert.equal(MS + DELAY, a:due())
    assert.same({ { 10, 10 } }, ranges(a))
  end)

  it("make a receiver that sends nothing else ask, in one ACK of 16, while there are many", function()
    local a, asked = acks.new(DELAY), 0
    for n = 0, 319, 2 do
      a:received(n, 0)
      a:write(0)
      if a:ask() then asked = asked + 1 end
    end
    assert.equal(10, asked)
    local calm = acks.new(DELAY)
    for n = 0, 99 do
      calm:received(n, 0)
      calm:write(0)
      assert.is_false(calm:ask())
    end
  end)
end)
