-- Two engines talk over a path that loses, repeats and reorders: every byte arrives, in order, once.
local bytes = require "bytes"
local wire = require "kcp_wire"

local modes = {
  normal = { nodelay = false, interval_ms = 40, resend = 2 },
  fast = { nodelay = false, interval_ms = 30, resend = 2 },
  fast2 = { nodelay = true, interval_ms = 20, resend = 2 },
  fast3 = { nodelay = true, interval_ms = 10, resend = 2 },
  manual = { nodelay = false, interval_ms = 50, resend = 0, reno = true },
  default = { nodelay = false, interval_ms = 40, resend = 0, reno = true },
}

local function ends(mode, more)
  local function one(start_snd, start_rcv)
    local settings = { snd_wnd = 128, rcv_wnd = 256, start_snd = start_snd, start_rcv = start_rcv }
    for _, t in ipairs { mode, more or {} } do
      for k, v in pairs(t) do settings[k] = v end
    end
    return wire.engine(settings)
  end
  return one(0xfffffff0, 0x7ffffff0), one(0x7ffffff0, 0xfffffff0)
end

local function finished(...)
  for _, e in ipairs { ... } do
    e:check()
    assert.equal(0, e:restart().contradictions) -- in any packet order
    assert.equal(0, e:blocks())
    e:close()
  end
end

describe("a conversation", function()
  local there, back = bytes.noise(1000000, 1), bytes.noise(1000000, 2)

  for name, mode in pairs(modes) do
    it("over a bad path delivers every byte in mode " .. name, function()
      local a, b = ends(mode)
      local got_a, got_b = wire.converse(a, b, there, back,
        { seed = 1, loss = 0.05, dup = 0.02, delay_ms = 20, jitter_ms = 15, limit_ms = 300000 })
      assert.is_true(got_b == there)
      assert.is_true(got_a == back)
      finished(a, b)
    end)

    it("delivers every byte under many seeds in mode " .. name, function()
      local to, from = there:sub(1, 60000), back:sub(1, 30000)
      for seed = 1, 15 do
        local a, b = ends(mode, { mtu = 50 + seed * 70, snd_wnd = 4 * seed, rcv_wnd = 3 * seed })
        local got_a, got_b = wire.converse(a, b, to, from,
          { seed = seed, loss = 0.02 * (seed % 8), dup = 0.05, delay_ms = seed, jitter_ms = 3 * seed, limit_ms = 3000000 })
        assert.is_true(got_b == to and got_a == from, "seed " .. seed)
        finished(a, b)
      end
    end)
  end

  it("survives a third of all packets lost", function()
    local a, b = ends(modes.fast3)
    local to = there:sub(1, 200000)
    local _, got = wire.converse(a, b, to, "", { seed = 3, loss = 0.33, dup = 0, delay_ms = 10, jitter_ms = 5, limit_ms = 600000 })
    assert.is_true(got == to)
    finished(a, b)
  end)

  it("survives a reader that reads a little at a time, and pauses", function()
    local a, b = ends(modes.fast2, { rcv_wnd = 16 })
    local to = there:sub(1, 200000)
    local read = function(now) return now % 3000 < 1500 and now % 10 == 0 and 997 or 0 end
    local _, got = wire.converse(a, b, to, "", { seed = 4, loss = 0.05, dup = 0.01, delay_ms = 10, jitter_ms = 5, limit_ms = 600000, read = read })
    assert.is_true(got == to)
    finished(a, b)
  end)

  it("survives repeated pool failures", function()
    local a, b = ends(modes.fast)
    local to, calls = there:sub(1, 200000), 0
    local read = function()
      calls = calls + 1
      local victim = calls % 2 == 0 and a or b
      victim:fail_after(calls % 3 == 0 and calls % 7 or nil)
    end
    local _, got = wire.converse(a, b, to, "", { seed = 5, loss = 0.02, dup = 0.01, delay_ms = 10, jitter_ms = 5, limit_ms = 600000, read = read })
    assert.is_true(got == to)
    assert.is_true(b:stats().dropped > 0)
    finished(a, b)
  end)

  it("over a clean path resends nothing", function()
    local a, b = ends(modes.fast)
    local got_a, got_b = wire.converse(a, b, there, back, { loss = 0, dup = 0, delay_ms = 30, jitter_ms = 0, limit_ms = 100000 })
    assert.is_true(got_b == there and got_a == back)
    for _, e in ipairs { a, b } do
      local s = e:stats()
      assert.same({ 0, 0, 0, 0 }, { s.fast_retrans, s.early_retrans, s.timeout_retrans, s["repeat"] })
      assert.same({ 1000000, 1000000 }, { s.bytes_in, s.bytes_out })
    end
    finished(a, b)
  end)

  it("fills its window each round trip: acknowledgements do not hold it up", function()
    local a, b = ends(modes.fast)
    local _, _, ms = wire.converse(a, b, there, "", { loss = 0, dup = 0, delay_ms = 49, jitter_ms = 0, limit_ms = 100000 })
    -- 771 segments, 128 (at first 32) to a round trip of 100 ms
    assert.is_true(ms < 900, ms .. " ms")
    finished(a, b)
  end)
end)
