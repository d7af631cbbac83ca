-- runtime/base/bufq: a byte queue in pool blocks.
local base = require "spec_base"

local pool
local function queue() return base.bufq(pool) end
local function content(q) return table.concat(q:peek()) end

describe("bufq", function()
  before_each(function() pool = base.pool(64) end)

  after_each(function()
    collectgarbage()
    assert.equal(0, pool:in_use())
    pool:close()
  end)

  it("gives back what was appended, in order", function()
    local q = queue()
    assert.equal(5, q:append "hello")
    assert.equal(7, q:append ", world")
    assert.equal(12, #q)
    assert.equal("hello, world", content(q))
    q:consume(7)
    assert.equal("world", content(q))
    q:consume(5)
    assert.equal(0, #q)
    assert.same({}, q:peek())
  end)

  it("holds no block when it is empty", function()
    local q = queue()
    assert.equal(0, q:append "")
    assert.equal(0, pool:in_use())
    q:append(("x"):rep(500))
    q:consume(500)
    assert.equal(0, pool:in_use())
    q:append(("x"):rep(500))
    q:clear()
    assert.equal(0, #q)
    assert.equal(0, pool:in_use())
    q:append "usable again"
    assert.equal("usable again", content(q))
    q:clear()
  end)

  it("gives blocks back as they are consumed", function()
    local q = queue()
    local room = q:space()
    q:append(("x"):rep(4 * room))
    assert.equal(4, pool:in_use())
    q:consume(room - 1)
    assert.equal(4, pool:in_use())
    q:consume(1)
    assert.equal(3, pool:in_use())
    q:consume(room)
    assert.equal(2, pool:in_use())
    q:clear()
  end)

  it("accepts as much as the pool has blocks for", function()
    local small = base.pool(64, 2)
    local q = base.bufq(small)
    local taken = q:append(("x"):rep(1000))
    assert.is_true(taken > 0 and taken <= 128)
    assert.equal(taken, #q)
    assert.equal(0, q:append "y")
    assert.equal(0, q:space())
    q:consume(taken - 1)
    assert.equal(1, q:append "y")
    assert.equal("xy", content(q))
    q:clear()
    small:close()
  end)

  it("changes nothing when space is not committed", function()
    local q = queue()
    local room = q:space()
    assert.is_true(room > 0)
    assert.equal(room, q:space())
    assert.equal(0, #q)
    assert.same({}, q:peek())
    q:append "abc"
    assert.equal("abc", content(q))
    q:space()
    assert.equal("abc", content(q))
    q:clear()
  end)

  it("gives the block back when nothing is committed to an empty queue", function()
    local q = queue()
    q:space()
    assert.equal(1, pool:in_use())
    assert.equal(0, q:write "")
    assert.equal(0, pool:in_use())
  end)

  it("writes in place up to the end of a block and continues in the next", function()
    local q = queue()
    local room = q:space()
    assert.equal(room, q:write(("a"):rep(1000)))
    assert.equal(room, q:write(("b"):rep(1000)))
    assert.same({ ("a"):rep(room), ("b"):rep(room) }, q:peek())
    q:clear()
  end)

  it("peeks from an offset and returns at most the requested number of pieces", function()
    local q = queue()
    local room = q:space()
    q:append(("a"):rep(room) .. ("b"):rep(room) .. "cc")
    assert.same({ ("a"):rep(room) }, q:peek(0, 1))
    assert.same({}, q:peek(0, 0))
    assert.same({ "a", ("b"):rep(room) }, q:peek(room - 1, 2))
    assert.same({ ("b"):rep(room), "cc" }, q:peek(room))
    assert.same({ "c" }, q:peek(2 * room + 1))
    assert.same({}, q:peek(2 * room + 2))
    assert.same({}, q:peek(2 * room + 1000))
    q:clear()
  end)

  it("behaves like a string through random use", function()
    for seed = 1, 20 do
      math.randomseed(seed)
      local tight = base.pool(64 + 16 * (seed % 3), 12)
      local q, model, byte = base.bufq(tight), "", 0
      local block = q:space()
      q:write ""
      local function fresh(n)
        local t = {}
        for i = 1, n do
          byte = (byte + 1) % 251
          t[i] = string.char(byte)
        end
        return table.concat(t)
      end
      for step = 1, 1000 do
        local function check(ok, what)
          if not ok then error(("seed %d, step %d: %s"):format(seed, step, what), 2) end
        end
        local r = math.random(6)
        if r <= 2 then
          local s = fresh(math.random(0, 150))
          local taken = q:append(s)
          check(taken == #s or tight:in_use() == 12, "short append")
          model = model .. s:sub(1, taken)
        elseif r == 3 then
          local s = fresh(math.random(0, 80))
          model = model .. s:sub(1, q:write(s))
        elseif r == 4 then
          local n = math.random(0, #model)
          q:consume(n)
          model = model:sub(n + 1)
        elseif r == 5 then
          local offset, max = math.random(0, #model), math.random(0, 16)
          local pieces = q:peek(offset, max)
          local seen = table.concat(pieces)
          check(#pieces <= max, "too many pieces")
          check(model:sub(offset + 1, offset + #seen) == seen, "pieces")
          for _, piece in ipairs(pieces) do check(#piece > 0, "empty piece") end
          if max == 16 then check(#model - offset == #seen, "pieces missing") end
        else
          q:space()
        end
        check(#model == #q, "length")
        check(model == content(q), "content")
        -- One partly filled block at each end, and one that space may have added.
        check(tight:in_use() <= #model // block + 3, "blocks held")
      end
      q:clear()
      tight:close()
    end
  end)
end)
