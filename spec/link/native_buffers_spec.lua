-- The two buffers of a stream on kt's own wire: runtime/link/native/{send,recv}_buffer.h. The module checks every byte.
local buffers = require "spec_native_buffers"

local LIGHT = os.getenv("KT_SPEC_LIGHT") == "1"
local ROUNDS = LIGHT and 30 or 100
local HUGE = math.maxinteger
local BLOCK = 8192 -- KT_NATIVE_BLOCK

after_each(function()
  buffers.fail_after(nil)
  collectgarbage()
  assert.equal(0, buffers.blocks())
end)

describe("a send buffer", function()
  local function sent(s, most, limit)
    local offset, len, last = s:next(limit or HUGE, most)
    if offset then s:sent(offset, len, last) end
    return offset, len, last
  end

  it("gives out new bytes in order, up to the limit, and the end with the last of them", function()
    local s = buffers.send()
    s:write(1000)
    assert.same({ 0, 300, false }, { sent(s, 300) })
    assert.same({ 300, 200, false }, { sent(s, 300, 500) })
    assert.is_nil(sent(s, 300, 500))
    s:finish()
    assert.same({ 500, 500, true }, { sent(s, 600) })
    assert.is_nil(sent(s, 600))
  end)

  it("sends the end alone if the last byte has gone", function()
    local s = buffers.send()
    s:write(10)
    sent(s, 10)
    s:finish()
    assert.same({ 10, 0, true }, { sent(s, 10, 0) })
    s:lost(10, 0, true)
    assert.same({ 10, 0, true }, { sent(s, 10) })
    s:acked(10, 0, true)
    assert.is_false(s:facts().complete)
    s:acked(0, 10)
    assert.is_true(s:facts().complete)
  end)

  it("sends lost bytes before new ones, and not those that were acknowledged", function()
    local s = buffers.send()
    s:write(1000)
    for _ = 1, 8 do sent(s, 100) end
    s:lost(100, 100)
    s:lost(200, 100)
    s:lost(500, 100)
    s:acked(150, 100)
    assert.same({ 100, 50, false }, { sent(s, 1000) })
    assert.same({ 250, 50, false }, { sent(s, 1000, 0) })
    assert.same({ 500, 100, false }, { sent(s, 1000) })
    assert.same({ 800, 200, false }, { sent(s, 1000) })
  end)

  it("keeps blocks only for bytes that were not acknowledged", function()
    local s = buffers.send()
    s:write(10 * BLOCK)
    for _ = 1, 10 do sent(s, BLOCK) end
    s:acked(BLOCK, 8 * BLOCK)
    assert.equal(10, buffers.blocks())
    s:acked(0, BLOCK)
    assert.equal(1, buffers.blocks())
    s:acked(9 * BLOCK, BLOCK)
    assert.equal(0, buffers.blocks())
  end)

  it("takes fewer bytes when memory is short", function()
    local s = buffers.send()
    buffers.fail_after(2)
    assert.equal(2 * BLOCK, s:write(20000))
    buffers.fail_after(nil)
    assert.equal(100, s:write(100))
  end)

  it("starts over from its first byte after a rewind", function()
    local s = buffers.send()
    s:write(500)
    s:finish()
    sent(s, 200)
    sent(s, 300)
    s:lost(200, 300, true)
    s:rewind()
    assert.same({ 0, 500, true }, { sent(s, 1000) })
  end)

  it("knows whether a copy of a frame is still of use", function()
    local s = buffers.send()
    s:write(300)
    s:finish()
    sent(s, 300)
    s:acked(0, 100)
    s:acked(150, 100)
    assert.is_false(s:needed(0, 100))
    assert.is_false(s:needed(160, 80))
    assert.is_true(s:needed(90, 100))
    assert.is_true(s:needed(290, 10, true))
  end)

  -- Whatever is lost and acknowledged in whatever order: each byte arrives, with a handful of ranges in memory.
  it("gets every byte through, in bounded memory", function()
    for seed = 1, ROUNDS do
      math.randomseed(seed)
      local s, total, written, flying, got = buffers.send(), math.random(1, 60000), 0, {}, {}
      local ended = false
      local steps = 0
      while not s:facts().complete do
        steps = steps + 1
        assert.is_true(steps < 100000, "no end, seed " .. seed)
        local what = math.random(10)
        if what <= 2 and written < total then
          written = written + s:write(math.min(math.random(5000), total - written))
          if written == total then s:finish() end
        elseif what <= 7 then
          local offset, len, last = sent(s, math.random(1, 1400))
          if offset then flying[#flying + 1] = { offset, len, last } end
        elseif #flying > 0 then
          local c = table.remove(flying, math.random(#flying))
          local fate = math.random()
          if fate < 0.5 then
            s:acked(c[1], c[2], c[3])
            if c[2] > 0 then got[#got + 1] = c end
            ended = ended or c[3]
          else
            s:lost(c[1], c[2], c[3])
            if fate > 0.9 then flying[#flying + 1] = c end -- comes yet, after all
          end
        end
        assert.is_true(s:facts().losses <= 8)
      end
      table.sort(got, function(a, b) return a[1] < b[1] end)
      local to = 0
      for _, c in ipairs(got) do
        assert.is_true(c[1] <= to, "a hole, seed " .. seed)
        to = math.max(to, c[1] + c[2])
      end
      assert.equal(total, to)
      assert.is_true(ended)
    end
  end)
end)

describe("a receive buffer", function()
  it("shows bytes in order, once the gap before them is closed", function()
    local r = buffers.recv()
    r:put(100, 50)
    r:put(200, 100)
    assert.equal(0, r:facts().ready)
    r:put(0, 120)
    assert.equal(150, r:facts().ready)
    r:take(150)
    r:put(140, 70)
    assert.equal(300, r:facts().ready)
    r:take(150)
  end)

  it("says how a frame contradicts the length of the stream", function()
    local r = buffers.recv()
    r:put(0, 100)
    assert.same({ nil, "ends at 90 after bytes up to 100" }, { r:put(80, 10, true) })
    r:put(150, 50, true)
    assert.same({ nil, "bytes up to 201 of a stream that ends at 200" }, { r:put(200, 1) })
    assert.same({ nil, "ends at 190, and at 200 before" }, { r:put(180, 10, true) })
    r:put(100, 50)
    assert.is_true(r:facts().complete)
    r:take(200)
    assert.is_true(r:put(150, 50, true))
  end)

  it("holds blocks for what was touched, whatever the number of gaps", function()
    local r = buffers.recv()
    for offset = 1, 65535, 2 do r:put(offset, 1) end
    assert.equal(65536 // BLOCK, buffers.blocks())
    for offset = 0, 65535, 2 do r:put(offset, 1) end
    assert.equal(65536, r:facts().ready)
    r:take(65536)
    assert.equal(0, buffers.blocks())
    r:put(1000000, 1)
    assert.equal(1, buffers.blocks())
  end)

  it("keeps what it has when memory is short", function()
    local r = buffers.recv()
    r:put(0, 1000)
    buffers.fail_after(0)
    assert.same({ nil, "no memory for bytes of a stream" }, { r:put(1000, BLOCK) })
    assert.equal(1000, r:facts().ready)
    r:take(1000)
  end)

  it("puts any mess of frames in order", function()
    for seed = 1, ROUNDS do
      math.randomseed(seed)
      local r, total = buffers.recv(), math.random(1, 50000)
      local missing, taken = {}, 0
      for from = 0, total - 1, 500 do missing[#missing + 1] = from end
      local left = #missing
      while left > 0 or taken < total do
        if math.random() < 0.5 and left > 0 then
          local i = math.random(left)
          local from = missing[i]
          missing[i], left = missing[left], left - 1
          r:put(from, math.min(500, total - from), from + 500 >= total)
        else
          local from = math.random(0, total - 1)
          local len = math.random(0, 20)
          if from // 500 == (from + len) // 500 and from + len < total then r:put(from, len) end
        end
        local ready = r:facts().ready - taken
        if math.random() < 0.3 and ready > 0 then
          local n = math.random(ready)
          r:take(n)
          taken = taken + n
        end
      end
      assert.is_true(r:facts().complete)
    end
  end)
end)
