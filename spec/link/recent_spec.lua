-- Traffic of a session over the last 4 s, without a timer.
local spec_recent = require "spec_recent"

local S = 1000000

describe("recent traffic", function()
  it("is zero for an idle session", function()
    assert.same({ 0, 0, 4 * S }, { spec_recent.new(5 * S):get(100 * S) })
  end)

  it("covers the time since the start of a young session, and at least half a second", function()
    local r = spec_recent.new(10 * S)
    r:note(100, 1, 10 * S + 1000)
    assert.same({ 100, 1, S // 2 }, { r:get(10 * S + 2000) })
    r:note(300, 2, 11 * S)
    assert.same({ 300, 2, 2 * S }, { r:get(12 * S) })
  end)

  it("forgets a burst after the window, no matter when it is read", function()
    local r = spec_recent.new(0)
    r:note(1000, 10, 60 * S)
    r:note(2000, 20, 60 * S + 100000) -- within the same step
    assert.same({ 2000, 20, 4 * S }, { r:get(60 * S + 100000) })
    assert.same({ 2000, 20, 4 * S }, { r:get(63 * S) })
    assert.same({ 0, 0, 4 * S }, { r:get(65 * S) })
    assert.same({ 0, 0, 4 * S }, { r:get(3600 * S) })
    r:note(2500, 21, 3600 * S)
    assert.same({ 500, 1, 4 * S }, { r:get(3600 * S) })
  end)

  it("gives the rate of a steady flow to within a step, at any time", function()
    local r = spec_recent.new(0)
    local sum = 0
    for ms = 1, 30000 do
      sum = sum + 7
      r:note(sum, ms, ms * 1000)
      if ms > 1000 then
        local bytes, segs, span = r:get(ms * 1000)
        assert.is_true(math.abs(bytes / span * 1000 - 7) < 0.02, ms .. " ms")
        assert.equal(bytes, segs * 7)
        assert.is_true(span <= 4.5 * S)
      end
    end
  end)
end)
