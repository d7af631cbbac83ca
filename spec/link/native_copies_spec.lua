-- Copies of sparse data on kt's own wire (docs/wire.md, 6.3): how many, when, and what they bring.
local channel = require "native_channel"
local path = require "spec_native_path"

local MS, S = 1000, 1000000
local RTT = 100 * MS
local TEN_PERCENT = 100000

describe("copies", function()
  it("are as many as the loss calls for, and none on a clean path", function()
    local counts = {}
    for i, loss in ipairs { 0, 0.001, 0.002, 0.01, 0.05, 0.1, 0.15, 0.2, 0.5, 1 } do
      counts[i] = path.count(math.floor(loss * 1000000))
    end
    assert.same({ 0, 0, 0, 1, 2, 2, 3, 4, 4, 4 }, counts)
  end)

  it("are spaced: the first soon, each gap twice the one before, up to a quarter of the round trip", function()
    local c, now, gaps = path.copies(1000000), 0, {}
    c:sent(0, 500000, RTT, 64)
    while c:due() do
      gaps[#gaps + 1] = c:due() - now
      now = c:due()
      assert.is_false(c:take(now - 1, 100))
      assert.is_true(c:take(now, 100))
    end
    assert.same({ RTT // 16, RTT // 8, RTT // 4, RTT // 4 }, gaps)
  end)

  it("end with an acknowledgement, and when the stream is thin no longer", function()
    local c = path.copies(1000000)
    c:sent(0, TEN_PERCENT, RTT, 64)
    c:stop()
    assert.is_nil(c:due())
    c:sent(0, TEN_PERCENT, RTT, 64)
    c:sent(MS, TEN_PERCENT, RTT, 1001)
    assert.is_nil(c:due())
  end)

  it("are not put off by further writes", function()
    local c = path.copies(1000000)
    for i = 0, 5 do c:sent(i * MS, TEN_PERCENT, RTT, 64 * (i + 1)) end
    assert.equal(RTT // 16, c:due())
  end)

  it("need a known round trip", function()
    local c = path.copies(1000000)
    c:sent(0, TEN_PERCENT, 0, 64)
    assert.is_nil(c:due())
  end)

  it("take at most an eighth of the path's rate, or 4,000 bytes a second", function()
    for _, case in ipairs { { 0, 4000 }, { 8000, 4000 }, { 800000, 100000 } } do
      local c, bytes = path.copies(case[1]), 0
      for now = 0, 10 * S, MS do
        c:sent(now, 500000, 16 * MS, 1000)
        if c:take(now, 1000) then bytes = bytes + 1000 end
      end
      assert.is_true(bytes <= 10 * case[2] + 4000, ("%d bytes in 10 s"):format(bytes))
      assert.is_true(bytes >= 9 * case[2])
    end
  end)
end)

-- The chance that an echo takes no longer than `time`, if both ways lose this share at random: enumerates when each
-- way's first arrival is, with the gaps that the policy makes.
local function echo_quantile(loss, quantile)
  local c, at, times = path.copies(1000000), 0, {}
  c:sent(0, math.floor(loss * 1000000), RTT, 64)
  local left = 1
  while true do
    times[#times + 1] = { at, left * (1 - loss) }
    left = left * loss
    if not c:due() then break end
    at = c:due()
    c:take(at, 100)
  end
  local sums = {}
  for _, a in ipairs(times) do
    for _, b in ipairs(times) do sums[#sums + 1] = { a[1] + b[1], a[2] * b[2] } end
  end
  table.sort(sums, function(x, y) return x[1] < y[1] end)
  local total = 0
  for _, s in ipairs(sums) do
    total = total + s[2]
    if total >= quantile then return RTT + s[1] end
  end
end

describe("an echo of 64 bytes over a path of 100 ms", function()
  it("has its p99 within a fifth of the round trip, computed", function()
    assert.equal(RTT + RTT // 16, echo_quantile(0.01, 0.99))
    assert.is_true(echo_quantile(0.1, 0.99) <= 1.19 * RTT)
    assert.is_true(echo_quantile(0.2, 0.99) <= 1.45 * RTT)
  end)

  -- One way in virtual time, with recovery's own measure of the loss; two ways are added at random.
  local function latencies(loss, copies, seed)
    local r = channel.run { seed = seed, count = 2500, gap = 3 * RTT, loss = loss, copies = copies, limit = 10000 * S }
    local list = {}
    for m = 301, 2500 do list[#list + 1] = r.arrived[m] - (m - 1) * 3 * RTT end -- once the loss is known
    return list, r
  end

  local function p99(loss, copies)
    local there, back = latencies(loss, copies, 1), latencies(loss, copies, 2)
    local echoes = {}
    for i = 1, #there do echoes[i] = there[i] + back[i] end
    return channel.percentile(echoes, 0.99)
  end

  for _, case in ipairs { { 0.01, 110 }, { 0.1, 130 } } do
    local loss, most = case[1], case[2]
    it(("has its p99 within %d ms at %d %% loss both ways"):format(most, loss * 100), function()
      local reached = p99(loss, true) / MS
      assert.is_true(reached <= most, ("%.1f ms"):format(reached))
    end)
  end

  it("takes two round trips or more without copies", function() assert.is_true(p99(0.1, false) >= 2 * RTT) end)

  it("costs no packet more on a clean path", function()
    local _, r = latencies(0, true, 1)
    assert.equal(2500, r.packets)
  end)
end)
