-- Replay memory of session starts: what it refuses, what it forgets, and how much memory it takes.
local starts = require "spec_session_starts"

describe("the memory of session starts", function()
  it("recognises a start it has seen, and no other", function()
    local s = starts.new()
    assert.is_false(s:seen(7, 1000))
    s:add(7, 1000)
    assert.is_true(s:seen(7, 1000))
    assert.is_false(s:seen(8, 1000))
    assert.is_true(s:has(7))
    assert.is_false(s:has(8))
  end)

  it("treats a start with a nearby clock as the same, and one with a distant clock as new", function()
    local s = starts.new()
    s:add(7, 1000)
    for _, ts in ipairs { 0, 1001, 60000, starts.SPAN_MS - 10, -5000 & 0xffffffff } do assert.is_true(s:seen(7, ts), ts) end
    for _, ts in ipairs { starts.SPAN_MS + 2000, 0x7fffffff, 0x80000000, -starts.SPAN_MS & 0xffffffff } do
      assert.is_false(s:seen(7, ts), ts)
    end
  end)

  it("keeps two starts with the same id and distant clocks apart", function()
    local s = starts.new()
    s:add(7, 0)
    s:add(7, 0x40000000)
    assert.is_true(s:seen(7, 0))
    assert.is_true(s:seen(7, 0x40000000))
    assert.is_false(s:seen(7, 0x20000000))
  end)

  it("remembers id 0 with clock 0", function()
    local s = starts.new()
    assert.is_false(s:seen(0, 0))
    s:add(0, 0)
    assert.is_true(s:seen(0, 0))
  end)

  it("allocates nothing before the first start, and grows with them", function()
    local s = starts.new()
    assert.equal(0, s:slots())
    for i = 1, 1000 do s:add(i, 0) end
    assert.equal(2048, s:slots())
    for i = 1, 1000 do assert.is_true(s:seen(i, 0)) end
  end)

  it("remembers at least one generation, in at most 8 MiB for any number of starts", function()
    local s, n = starts.new(), 3 * starts.GENERATION
    for i = 1, n do s:add(i, 0) end
    for i = n - starts.GENERATION + 1, n do
      if not s:seen(i, 0) then error("forgot " .. i) end
    end
    assert.is_false(s:seen(1, 0))
    assert.is_true(s:slots() * 8 <= 8 << 20)
  end)
end)
