-- runtime/script/sandbox/allocator: the allocator of a script's state.
local allocator = require "spec_allocator"

describe("the allocator of a script", function()
  it("keeps the contents of blocks while others are allocated, grown, shrunk and freed", function()
    math.randomseed(1)
    local b, held = allocator.new(), {}
    local sizes = { 1, 15, 16, 17, 40, 64, 511, 512, 513, 600, 4096, 70000 }
    for _ = 1, 20000 do
      local slot = math.random(100)
      local own = held[slot] or { size = 0, text = "" }
      local size = math.random(3) == 1 and 0 or sizes[math.random(#sizes)]
      if own.size > 0 then assert.equal(own.text, b:bytes(own.block, own.size)) end
      local block = b:alloc(own.block, own.size, size)
      assert.equal(size == 0, block == nil)
      own.text = own.text:sub(1, size) .. string.char(size & 0xff):rep(size - own.size)
      own.block, own.size = block, size
      held[slot] = size > 0 and own or nil
    end
    for _, own in pairs(held) do
      assert.equal(own.text, b:bytes(own.block, own.size))
      b:alloc(own.block, own.size, 0)
    end
    b:free()
  end)

  it("returns unused memory for any mix of sizes", function()
    local b = allocator.new()
    for size = 16, 512, 16 do
      local held = {}
      for i = 1, (4 << 20) // size do held[i] = b:alloc(nil, 0, size) end
      math.randomseed(size)
      for i = #held, 2, -1 do
        local j = math.random(i)
        held[i], held[j] = held[j], held[i]
      end
      assert.is_true(b:held() < 7 << 20, b:held()) -- 4 MiB, and a slab for each size before it
      for _, block in ipairs(held) do b:alloc(block, size, 0) end
    end
    assert.is_true(b:held() <= 32 * 65536, b:held())
  end)

  it("aligns blocks for anything", function()
    local b, held = allocator.new(), {}
    for size = 1, 600 do
      held[size] = b:alloc(nil, 0, size)
      assert.equal(0, tonumber(tostring(held[size]):match "0x(%x+)", 16) % 16)
    end
    for size, block in ipairs(held) do b:alloc(block, size, 0) end
  end)
end)
