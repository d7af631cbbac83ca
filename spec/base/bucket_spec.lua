-- runtime/base/bucket: a token bucket.
local base = require "spec_base"

local SECOND = 1000000

describe("a token bucket", function()
  it("has no limit until one is set, nor after it is removed", function()
    local b = base.bucket()
    assert.is_nil(b:room(5 * SECOND))
    b:set(1000, 5 * SECOND)
    assert.equal(1024, b:room(5 * SECOND))
    b:set(0, 5 * SECOND)
    assert.is_nil(b:room(5 * SECOND))
  end)

  for _, rate in ipairs { 1, 7, 1000, 12345, 250000, 1 << 30, 1 << 40 } do
    it(("lets %d bytes a second through, however often it is asked"):format(rate), function()
      local b = base.bucket()
      for _, step in ipairs { 1, 333, 20000, 900000 } do
        local now, sum = 0, 0
        b:set(0, 0)
        b:set(rate, 0)
        b:take(b:room(0)) -- use up the burst
        for _ = 1, 3000 do
          now = now + step
          local n = b:room(now)
          b:take(n)
          sum = sum + n
        end
        local want = rate * (now / SECOND)
        assert.is_true(sum <= want + 1, ("%d of %f"):format(sum, want))
        local lost = math.max(rate // 8, 1024) -- a full bucket gains no tokens
        if step / SECOND * rate < lost then assert.is_true(sum >= want - 1, ("%d of %f"):format(sum, want)) end
      end
    end)
  end

  it("gives the time at which enough tokens are available, and no earlier time", function()
    for _, rate in ipairs { 1, 3, 49, 50, 1000, 123456, 1 << 40 } do
      local b = base.bucket()
      b:set(rate, 77)
      b:take(b:room(77))
      local ready = b:ready()
      assert.is_true(ready > 77 and ready <= 77 + SECOND, rate)
      assert.is_true(b:room(ready) >= math.max(rate // 50, 1), rate)
    end
  end)

  it("keeps its tokens when the rate changes, up to the new burst", function()
    local b = base.bucket()
    b:set(80000, 0)
    b:take(9000)
    b:set(800000, 0)
    assert.equal(1000, b:room(0))
    b:room(SECOND)
    b:set(16000, SECOND)
    assert.equal(2000, b:room(SECOND))
  end)

  it("takes a burst of its own, whatever the rate", function()
    local b = base.bucket()
    b:set(10, 0, 96000)
    assert.equal(96000, b:room(0))
    b:set(1 << 30, 0, 96000)
    assert.equal(96000, b:room(SECOND))
  end)

  it("pays off a debt before anything passes", function()
    local b = base.bucket()
    b:set(1000, 0, 5000)
    b:take(8000)
    assert.equal(0, b:room(2 * SECOND))
    assert.equal(3 * SECOND + SECOND // 2, b:due(500))
    assert.equal(499, b:room(3 * SECOND + SECOND // 2 - 1000))
    assert.equal(500, b:room(3 * SECOND + SECOND // 2))
    assert.equal(5000, b:room(60 * SECOND))
  end)

  it("survives a clock that stops and a clock that jumps", function()
    local b = base.bucket()
    b:set(1 << 40, 1)
    b:take(b:room(1))
    assert.equal(0, b:room(1))
    assert.equal((1 << 40) // 8, b:room(1 << 62))
  end)
end)
