-- runtime/base/hmap: an intrusive hash map.
local base = require "spec_base"

local function sorted(t)
  table.sort(t)
  return t
end

describe("hmap", function()
  it("starts empty, without allocating memory", function()
    local m = base.hmap()
    assert.equal(0, #m)
    assert.equal(0, m:slots())
    assert.is_false(m:has(1, 1))
    assert.same({}, m:keys())
  end)

  it("finds nodes that were added and none that were removed", function()
    local m = base.hmap()
    m:add(1, 100)
    m:add(2, 200)
    assert.is_true(m:has(1, 100))
    assert.is_false(m:has(1, 200))
    assert.is_true(m:remove(1, 100))
    assert.is_false(m:has(1, 100))
    assert.is_true(m:has(2, 200))
    assert.equal(1, #m)
  end)

  it("tells apart nodes with the same hash", function()
    local m = base.hmap()
    for key = 1, 50 do m:add(key, 7) end
    for key = 1, 50 do assert.is_true(m:has(key, 7)) end
    assert.is_true(m:remove(25, 7))
    assert.is_false(m:has(25, 7))
    assert.is_true(m:has(24, 7) and m:has(26, 7))
    assert.is_false(m:has(1, 7 + 16), "another hash in the same slot")
  end)

  it("doubles when nodes outnumber slots", function()
    local m = base.hmap()
    for key = 1, 1000 do
      m:add(key, base.hash_u64(key, 3))
      assert.is_true(m:slots() >= #m)
      assert.is_true(m:slots() <= math.max(16, 2 * #m))
    end
  end)

  it("walks each node once", function()
    local m = base.hmap()
    local want = {}
    for key = 1, 333 do
      m:add(key, base.hash_u64(key, 3))
      want[key] = key
    end
    assert.same(want, sorted(m:keys()))
  end)

  it("behaves like a table through random use", function()
    local m, model, n = base.hmap(), {}, 0
    math.randomseed(5)
    for _ = 1, 6000 do
      local key = math.random(500)
      local hash = base.hash_u64(key, 9) & 0xff -- few bits, so that chains and equal hashes are common
      if model[key] then
        assert.is_true(m:has(key, hash))
        assert.is_true(m:remove(key, hash))
        model[key], n = nil, n - 1
      else
        assert.is_false(m:has(key, hash))
        m:add(key, hash)
        model[key], n = true, n + 1
      end
      assert.equal(n, #m)
    end
    local keys = {}
    for key in pairs(model) do keys[#keys + 1] = key end
    assert.same(sorted(keys), sorted(m:keys()))
  end)

  it("spreads the hashes of similar numbers, and depends on the seed", function()
    local low, same = {}, 0
    for i = 0, 1023 do
      local h = base.hash_u64(i, 1)
      low[h & 1023] = true
      if h & 1023 == base.hash_u64(i, 2) & 1023 then same = same + 1 end
    end
    local used = 0
    for _ in pairs(low) do used = used + 1 end
    -- 1024 balls in 1024 bins leave about 647 bins used, with a deviation of about 10.
    assert.is_true(used > 580 and used < 720, used)
    assert.is_true(same < 12, same)
  end)
end)
