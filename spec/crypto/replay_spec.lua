-- runtime/crypto/replay: the window of packet numbers that were received, beside a model that remembers all.
local crypto = require "spec_noise"

local WINDOW = 4096

describe("the replay window", function()
  it("takes a number once", function()
    local r = crypto.replay()
    for _, number in ipairs { 0, 1, 63, 64, 65, 5, 4000 } do
      assert.equal("new", r:take(number))
      assert.equal("seen", r:take(number))
    end
  end)

  it("reaches 4096 numbers back, counting the highest", function()
    for _, high in ipairs { 4095, 4096, 4097, 10000, 1 << 32, (1 << 62) - 1 } do
      local r = crypto.replay()
      assert.equal("new", r:take(high))
      assert.equal("new", r:take(high - WINDOW + 1))
      assert.equal("seen", r:take(high - WINDOW + 1))
      if high >= WINDOW then assert.equal("old", r:take(high - WINDOW)) end
    end
  end)

  it("forgets nothing in the window when it jumps, and remembers nothing of before", function()
    for _, step in ipairs { 1, 63, 64, 65, 127, 128, 4031, 4032, 4033, 4095, 4096, 4097, 4159, 4160, 4161, 100000 } do
      local r, high = crypto.replay(), 7
      r:take(high)
      for _ = 1, 50 do
        local below = high
        high = high + step
        assert.equal("new", r:take(high))
        assert.equal(step < WINDOW and "seen" or "old", r:take(below))
        if step > 1 then assert.equal("new", r:take(high - 1)) end
      end
    end
  end)

  it("agrees with a memory of everything, in any order", function()
    for seed = 1, 4 do
      math.randomseed(seed)
      local r, seen, high = crypto.replay(), {}, -1
      for _ = 1, 20000 do
        local number = math.max(0, high + math.random(-5000, math.random(0, 1) == 0 and 3 or 200))
        local want = number <= high - WINDOW and "old" or seen[number] and "seen" or "new"
        assert.equal(want, r:take(number))
        seen[number], high = true, math.max(high, number)
      end
    end
  end)
end)
