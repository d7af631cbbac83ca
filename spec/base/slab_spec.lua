-- runtime/base/slab: equal blocks from slabs.
local base = require "spec_base"

local function take(pool, n)
  local blocks = {}
  for i = 1, n do blocks[i] = assert(pool:get(), "the pool is exhausted") end
  return blocks
end

local function put_all(pool, blocks)
  for _, block in ipairs(blocks) do pool:put(block) end
end

describe("pool", function()
  it("gives blocks that are 32-byte aligned and do not overlap", function()
    for _, size in ipairs { 1, 16, 24, 100, 1500, 70000 } do
      local pool = base.pool(size)
      assert.equal(size, pool:block_size())
      local blocks = take(pool, 100)
      for i, block in ipairs(blocks) do
        assert.equal(0, base.address(block) % 32)
        pool:fill(block, i)
      end
      for i, block in ipairs(blocks) do
        assert.equal(string.char(i):rep(size), pool:read(block))
      end
      put_all(pool, blocks)
      pool:close()
    end
  end)

  it("refuses blocks of no bytes and of absurd size", function()
    assert.same({ n = 2, nil, "invalid" }, table.pack(base.pool(0)))
    assert.same({ n = 2, nil, "invalid" }, table.pack(base.pool(-1)))
  end)

  it("stops at its cap and continues when a block is returned", function()
    for _, cap in ipairs { 1, 3, 40, 100 } do
      local pool = base.pool(2048, cap)
      local blocks = take(pool, cap)
      assert.is_nil(pool:get())
      assert.equal(cap, pool:in_use())
      pool:put(table.remove(blocks, 1))
      blocks[#blocks + 1] = assert(pool:get())
      assert.is_nil(pool:get())
      put_all(pool, blocks)
      assert.equal(0, pool:in_use())
      pool:close()
    end
  end)

  it("holds no slab until the first block is asked for", function()
    local pool = base.pool(2048)
    assert.is_true(pool:bytes() < 1024)
    local block = pool:get()
    assert.is_true(pool:bytes() > 8 * 2048)
    pool:put(block)
    pool:close()
  end)

  it("carves slabs of about 64 KiB with at least eight blocks", function()
    for size, most in pairs { [64] = 66000, [2048] = 66000, [16384] = 9 * 16384 } do
      local pool = base.pool(size)
      local empty = pool:bytes()
      local blocks = take(pool, 8)
      assert.is_true(pool:bytes() - empty <= most)
      assert.is_true(pool:bytes() - empty >= 60000)
      put_all(pool, blocks)
      pool:close()
    end
  end)

  it("reuses returned blocks before it allocates more memory", function()
    local pool = base.pool(2048)
    local blocks = take(pool, 200)
    local held = pool:bytes()
    for _ = 1, 20 do
      for i = 1, 200, 3 do pool:put(blocks[i]) end
      for i = 1, 200, 3 do blocks[i] = pool:get() end
    end
    assert.equal(held, pool:bytes())
    put_all(pool, blocks)
    pool:close()
  end)

  it("frees on trim exactly the slabs that have no block in use", function()
    local pool = base.pool(2048)
    local empty = pool:bytes()
    local keep = pool:get()
    local one = pool:bytes()
    pool:fill(keep, 7)
    local blocks = take(pool, 300)
    assert.is_true(pool:bytes() > 9 * (one - empty))
    put_all(pool, blocks)
    pool:trim()
    assert.equal(one, pool:bytes())
    assert.equal(("\7"):rep(2048), pool:read(keep))
    pool:put(keep)
    pool:trim()
    assert.equal(empty, pool:bytes())
    pool:close()
  end)

  it("keeps its counts straight through random use", function()
    local pool = base.pool(4096, 50)
    local blocks, tags = {}, {}
    math.randomseed(11)
    for step = 1, 6000 do
      local r = math.random(100)
      if r <= 50 then
        local block = pool:get()
        assert.equal(#blocks < 50, block ~= nil)
        if block then
          pool:fill(block, step % 256)
          blocks[#blocks + 1], tags[block] = block, step % 256
        end
      elseif r <= 99 and #blocks > 0 then
        local block = table.remove(blocks, math.random(#blocks))
        assert.equal(string.char(tags[block]), pool:read(block):sub(1, 1))
        assert.equal(string.char(tags[block]), pool:read(block):sub(-1))
        pool:put(block)
      else
        pool:trim()
      end
      assert.equal(#blocks, pool:in_use())
    end
    put_all(pool, blocks)
    pool:close()
  end)

  it("fails from the n-th get onwards when asked to", function()
    local pool = base.pool(64)
    pool:fail_after(0)
    assert.is_nil(pool:get())
    pool:fail_after(2)
    local blocks = take(pool, 2)
    assert.is_nil(pool:get())
    assert.is_nil(pool:get())
    pool:fail_after()
    blocks[3] = assert(pool:get())
    put_all(pool, blocks)
    pool:close()
  end)

  if base.poisoned then -- a sanitized build
    it("poisons free blocks and the gaps between blocks under AddressSanitizer", function()
      local pool = base.pool(100)
      local a, b = pool:get(), pool:get()
      for _, block in ipairs { a, b } do
        assert.is_false(base.poisoned(block, 0))
        assert.is_false(base.poisoned(block, 99))
        assert.is_true(base.poisoned(block, 100))
        assert.is_true(base.poisoned(block, -1))
      end
      pool:put(a)
      assert.is_true(base.poisoned(a, 0))
      assert.is_true(base.poisoned(a, 99))
      assert.is_false(base.poisoned(b, 0))
      assert.equal(a, pool:get())
      assert.is_false(base.poisoned(a, 0))
      put_all(pool, { a, b })
      pool:close()
    end)
  end
end)
