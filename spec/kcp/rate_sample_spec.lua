-- The delivery-rate sampler: packets over a path made of numbers, in virtual time.
local delivery = require "spec_delivery"

local MS, S = 1000, 1000000
local SIZE = 1000

-- Sends `n` packets, one every `gap`, over a path that delivers one packet every `serve` and acknowledges it `rtt` later
-- at least. Calls each(sample, i) for every acknowledgement. `limited(i)`: whether the sender has no more data after packet i.
local function run(r, n, gap, serve, rtt, each, limited)
  local events, free = {}, 0
  for i = 1, n do
    local at = i * gap
    free = math.max(free, at) + serve
    events[#events + 1] = { at = at, order = 2, packet = i }
    events[#events + 1] = { at = free + rtt, order = 1, packet = i, acked = true }
  end
  table.sort(events, function(a, b)
    if a.at ~= b.at then return a.at < b.at end
    if a.order ~= b.order then return a.order < b.order end
    return a.packet < b.packet
  end)
  local packets = {}
  for _, e in ipairs(events) do
    if e.acked then
      r:acked(packets[e.packet], e.at)
      each(r:sample(), e.packet)
    else
      packets[e.packet] = r:sent(SIZE, e.at)
      if limited and limited(e.packet) then r:app_limited() end
    end
  end
end

describe("the delivery rate", function()
  it("is the path's where the sender is faster", function()
    local last
    run(delivery.rate(), 1000, MS // 10, MS, 50 * MS, function(s) last = s end)
    assert.equal(SIZE * 1000, last.rate) -- one packet a millisecond
  end)

  it("is the sender's where the path is faster", function()
    local last
    run(delivery.rate(), 1000, 2 * MS, MS // 10, 50 * MS, function(s) last = s end)
    assert.equal(SIZE * 500, last.rate)
  end)

  it("never exceeds what the path delivers", function()
    for _, gap in ipairs { 10, 100, 999, 1000, 1001, 5000 } do
      run(delivery.rate(), 500, gap, MS, 20 * MS, function(s)
        assert.is_true(not s or s.rate <= SIZE * 1000, ("%d bytes/s with a packet every %d µs"):format(s and s.rate or 0, gap))
      end)
    end
  end)

  it("of packets acknowledged together is that of the last one sent, with all of them delivered", function()
    local r, packets = delivery.rate(), {}
    for i = 1, 10 do packets[i] = r:sent(SIZE, i * MS) end
    for i = 10, 1, -1 do r:acked(packets[i], 50 * MS) end
    local s = r:sample()
    assert.same({ 10 * SIZE, 10 * SIZE, 49 * MS, 0 }, { s.delivered, s.acked, s.interval, s.prior })
    assert.is_nil(r:sample())
  end)

  it("does not take acknowledgements that were held up and come at once for bandwidth", function()
    local r, packets = delivery.rate(), {}
    r:acked(r:sent(SIZE, 0), 10 * MS)
    r:sample()
    for i = 1, 20 do packets[i] = r:sent(SIZE, 10 * MS + i * MS) end
    for i = 1, 20 do
      r:acked(packets[i], 60 * MS + i) -- a packet every microsecond
      local s = r:sample()
      assert.is_true(not s or s.rate <= SIZE * 1000)
    end
  end)

  it("leaves idle time out", function()
    local r = delivery.rate()
    r:acked(r:sent(SIZE, 0), 10 * MS)
    r:sample()
    local p = r:sent(SIZE, 100 * S)
    r:acked(p, 100 * S + 10 * MS)
    assert.equal(10 * MS, r:sample().interval)
  end)

  it("is not sampled from an interval below the shortest round trip", function()
    local r = delivery.rate()
    r:acked(r:sent(SIZE, 0), 10 * MS)
    assert.is_nil(r:sample(20 * MS))
  end)

  it("is not sampled when the transmission that arrived is unknown, but the packet counts as delivered", function()
    local r = delivery.rate()
    local a, b = r:sent(SIZE, 0), r:sent(SIZE, MS)
    r:acked(a, 20 * MS, true)
    assert.is_nil(r:sample())
    r:acked(b, 21 * MS)
    local s = r:sample()
    assert.same({ 2 * SIZE, SIZE }, { s.delivered, s.acked })
  end)

  it("tells rounds apart by what was delivered when the packet was sent", function()
    local r = delivery.rate()
    local a = r:sent(SIZE, 0)
    r:acked(a, 10 * MS)
    assert.equal(0, r:sample().prior)
    local b = r:sent(SIZE, 10 * MS)
    r:acked(b, 20 * MS)
    assert.equal(SIZE, r:sample().prior)
  end)

  it("is right past 4 GiB delivered", function()
    local r, now = delivery.rate(), 0
    for i = 1, 3000 do
      local p = r:sent(2000000, now) -- as if whole windows were packets
      now = now + 10 * MS
      r:acked(p, now)
      local s = r:sample()
      assert.same({ 2000000, (i - 1) * 2000000 }, { s.delivered, s.prior })
    end
  end)
end)

describe("a sample", function()
  it("is app-limited until what was in flight when the sender ran dry is acknowledged", function()
    local marks = {}
    run(delivery.rate(), 100, MS, MS // 10, 10 * MS, function(s, i) marks[i] = s.app_limited end,
      function(i) return i == 50 end)
    for i = 1, 50 do assert.is_false(marks[i], i) end -- sent before it was
    for i = 51, 60 do assert.is_true(marks[i], i) end
    for i = 63, 100 do assert.is_false(marks[i], i) end -- sent after packet 50 had been acknowledged
  end)

  it("carries what was lost in its interval, and what was in flight at its start", function()
    local r = delivery.rate()
    local a, b, c = r:sent(SIZE, 0), r:sent(500, 1), r:sent(SIZE, 2)
    assert.equal(2500, r:inflight())
    r:lost(b)
    r:acked(a, 10 * MS)
    r:acked(c, 10 * MS)
    local s = r:sample()
    assert.same({ 500, 2500, 0 }, { s.lost, s.inflight, r:inflight() })
  end)

  it("of a packet sent again starts at its last transmission", function()
    local r = delivery.rate()
    local a, b = r:sent(SIZE, 0), r:sent(SIZE, 0)
    r:acked(a, 10 * MS)
    r:sample()
    r:lost(b)
    b = r:sent(SIZE, 100 * MS)
    r:acked(b, 110 * MS)
    assert.equal(10 * MS, r:sample().interval)
    assert.equal(0, r:inflight())
  end)
end)
