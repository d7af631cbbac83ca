-- Loss recovery of kt's own wire (docs/wire.md, 5.2): packet by packet, without a path.
local recovery = require "spec_native_recovery"

local MS, S = 1000, 1000000
local RTT, DELAY = 100 * MS, 25 * MS

local function new(settings)
  local all = { rtt = RTT, ack_delay = DELAY, window = 1000 }
  for k, v in pairs(settings or {}) do all[k] = v end
  return recovery.new(all)
end

-- Sends packets with one content each, numbered as the packets, at these times.
local function send(r, ...)
  for _, at in ipairs { ... } do r:sent(at, 1000, { r:facts().sent }) end
end

-- n packets, one every `gap` from `at` on.
local function send_many(r, n, at, gap)
  for i = 0, n - 1 do send(r, at + i * gap) end
end

local function ack(r, now, ...) return r:ack(now, 0, { ... }) end

describe("a packet in flight", function()
  it("has its contents acknowledged once, with the packets' order", function()
    local r = new()
    r:sent(0, 1000, { 10, 11, 12 })
    r:sent(MS, 1000, { 13 })
    ack(r, RTT, { 0, 1 })
    assert.same({ { "acked", 10 }, { "acked", 11 }, { "acked", 12 }, { "acked", 13 } }, r:fates())
    ack(r, RTT + MS, { 0, 1 })
    assert.same({}, r:fates())
    assert.is_nil(r:due())
    r:close()
  end)

  it("is lost once three later ones are acknowledged, on a path that does not reorder", function()
    local r = new()
    send_many(r, 5, 0, MS)
    ack(r, RTT + MS, { 1, 2 })
    assert.same({ { "acked", 1 }, { "acked", 2 } }, r:fates())
    ack(r, RTT + 3 * MS, { 1, 3 })
    assert.same({ { "acked", 3 }, { "lost", 0 } }, r:fates())
    r:close()
  end)

  it("is lost a quarter of a round trip after it should have come, if a later one did", function()
    local r = new()
    send(r, 0, MS)
    ack(r, RTT + MS, { 1, 1 })
    assert.equal(RTT + RTT // 4, r:due())
    assert.is_false(r:timer(RTT + RTT // 4 - 1))
    assert.same({ { "acked", 1 } }, r:fates())
    assert.is_false(r:timer(RTT + RTT // 4))
    assert.same({ { "lost", 0 } }, r:fates())
    assert.is_nil(r:due())
    r:close()
  end)

  it("without later ones is never lost by the clock alone", function()
    local r = new()
    send(r, 0, 0)
    ack(r, RTT, { 0, 0 })
    r:timer(10 * S)
    assert.equal(1, r:facts().inflight)
    assert.equal(0, r:facts().cc_lost)
    r:close()
  end)

  it("that need not be acknowledged has neither fate nor timer, and does not count as in flight", function()
    local r = new()
    r:sent(0, 50, nil, "quiet")
    assert.is_nil(r:due())
    send(r, MS)
    r:sent(2 * MS, 50, nil, "quiet")
    assert.is_true(ack(r, RTT + MS, { 0, 2 }))
    assert.same({ { "acked", 0 } }, r:fates())
    assert.same({ 1, 1, 0 }, { r:facts().cc_sent, r:facts().cc_acked, r:facts().inflight })
    r:close()
  end)

  it("must have been sent, or the ACK is refused and changes nothing", function()
    local r = new()
    send(r, 0, MS)
    assert.same({ false, "frame ACK (0x02): packet 2 of path 0 was never sent" }, { ack(r, RTT, { 0, 2 }) })
    assert.same({}, r:fates())
    assert.equal(2, r:facts().inflight)
    r:close()
  end)

  it("with an MTU probe is not lost to the controller, nor counted", function()
    local r = new()
    r:sent(0, 1400, { 99 }, "mtu")
    send_many(r, 4, MS, MS)
    ack(r, RTT + 4 * MS, { 1, 4 })
    assert.same({ "lost", 99 }, r:fates()[5])
    local f = r:facts()
    assert.same({ 0, 0, 0, 0, 4 }, { f.cc_lost, f.lost, f.cc_inflight, f.packets_lost, f.packets_acked })
    r:close()
  end)
end)

describe("reordering", function()
  it("widens what a late packet is allowed, to a quarter more than was seen", function()
    local r = new()
    send_many(r, 10, 0, 10 * MS)
    ack(r, RTT + 20 * MS, { 1, 2 }) -- 0 is missing
    ack(r, RTT + 24 * MS, { 0, 2 }) -- 24 ms late: no loss yet
    assert.same({}, (function()
      local lost = {}
      for _, f in ipairs(r:fates()) do if f[1] == "lost" then lost[#lost + 1] = f end end
      return lost
    end)())
    assert.equal(30 * MS, r:facts().reorder)
    assert.equal(0, r:facts().spurious)
    r:close()
  end)

  it("turns off the count of later packets", function()
    local r = new()
    send_many(r, 10, 0, MS)
    ack(r, RTT + 2 * MS, { 1, 1 })
    ack(r, RTT + 2 * MS, { 0, 1 })
    ack(r, RTT + 9 * MS, { 9, 9 }, { 0, 1 })
    for _, f in ipairs(r:fates()) do assert.equal("acked", f[1]) end
    r:close()
  end)

  it("found after a loss was declared gives no second fate, and counts as spurious", function()
    local r = new()
    send_many(r, 8, 0, MS)
    ack(r, RTT + 7 * MS, { 1, 7 })
    r:fates()
    ack(r, RTT + 50 * MS, { 0, 7 })
    assert.same({}, r:fates())
    local f = r:facts()
    assert.equal(1, f.spurious)
    assert.is_true(f.loss < 10000) -- of 125,000 before
    assert.is_true(f.reorder >= 50 * MS and f.reorder <= 65 * MS)
    r:close()
  end)

  it("is never allowed more than a round trip, and is forgotten when it has stopped", function()
    local r = new()
    send_many(r, 8, 0, MS)
    ack(r, RTT + 7 * MS, { 1, 7 })
    ack(r, 3 * RTT, { 0, 7 })
    assert.equal(r:facts().srtt, r:facts().reorder)
    local number = 8
    for i = 1, 35 do
      local at = 3 * RTT + i * RTT
      send(r, at)
      ack(r, at + RTT, { number, number })
      number = number + 1
    end
    assert.equal(RTT // 4, r:facts().reorder)
    r:close()
  end)
end)

describe("a probe timeout", function()
  it("comes after srtt, four variances and the peer's delay, and gives up the oldest contents", function()
    local r = new { window = 1 }
    send(r, 0, MS, 2 * MS)
    local pto = RTT + 4 * RTT // 2 + DELAY
    assert.equal(pto, r:facts().pto)
    assert.equal(2 * MS + pto, r:due())
    assert.is_false(r:timer(r:due() - 1))
    assert.equal(0, r:probes())
    assert.is_true(r:timer(r:due()))
    assert.same({ { "lost", 0 }, { "lost", 1 } }, r:fates())
    assert.equal(2, r:probes())
    assert.equal(2, r:open()) -- the window is full
    assert.equal(0, r:pace())
    r:close()
  end)

  it("tells the controller nothing, and its packets count when they are acknowledged after all", function()
    local r = new()
    send(r, 0)
    r:timer(r:due())
    assert.equal(0, r:facts().cc_lost)
    ack(r, S, { 0, 0 })
    assert.same({ { "lost", 0 } }, r:fates())
    assert.same({ 1, 0, 0 }, { r:facts().cc_acked, r:facts().probes or 0, r:probes() })
    r:close()
  end)

  it("doubles up to one probe a second, for as long as nothing is heard", function()
    local r, at, waits = new(), 0, {}
    for i = 0, 29 do
      send(r, at)
      at = at + RTT
      ack(r, at, { i, i })
    end
    send(r, at)
    for i = 1, 40 do
      waits[i] = r:due() - at
      at = r:due()
      assert.is_true(r:timer(at))
      assert.equal(i == 2 and 2 or 1, r:probes()) -- two, if two are in flight, at first
      for _ = 1, r:probes() do r:sent(at, 100) end
    end
    local pto = r:facts().pto
    assert.is_true(pto < 130 * MS)
    assert.same({ pto, 2 * pto, 4 * pto }, { waits[1], waits[2], waits[3] })
    for i = 4, 40 do assert.equal(S, waits[i]) end
    assert.equal(40, r:facts().timeouts)
    r:close()
  end)

  it("waits a full timeout again, though the owner may not send its probe", function()
    local r = new()
    send(r, 0)
    local first = r:due()
    r:timer(first)
    assert.equal(first + 2 * first, r:due())
    r:close()
  end)

  it("comes sooner once anything was heard, but not sooner than a timeout after the last", function()
    local r, at = new(), 0
    send(r, 0)
    for _ = 1, 5 do
      at = r:due()
      r:timer(at)
    end
    assert.equal(at + S, r:due())
    r:heard()
    assert.equal(at + r:facts().pto, r:due())
    r:timer(r:due())
    r:heard()
    assert.equal(at + 2 * r:facts().pto, r:due())
    r:close()
  end)

  it("ends with the first answer, which also shows what was lost before", function()
    local r = new()
    send(r, 0)
    ack(r, RTT, { 0, 0 })
    send_many(r, 4, RTT, MS)
    r:fates()
    local at
    for _ = 1, 3 do
      at = r:due()
      r:timer(at)
      r:sent(at, 100)
    end
    at = at + RTT
    local newest = r:facts().sent - 1
    assert.is_true(r:silence(at) > 500 * MS)
    ack(r, at, { newest, newest })
    local f = r:facts()
    assert.same({ 0, 0, 6 }, { f.inflight, r:silence(at), f.cc_lost })
    assert.equal(1, f.cc_timeouts) -- a loss of silence
    assert.is_nil(r:due())
    r:close()
  end)
end)

describe("a path that is slower than another", function()
  it("hands over the contents of what left after a time, once, and still expects the packets", function()
    local r = new()
    for i = 0, 5 do r:sent(i * MS, 100, { 10 + i }) end
    r:sent(6 * MS, 1400, { 99 }, "mtu")
    ack(r, RTT, { 0, 0 })
    r:fates()
    assert.is_true(r:hand_over(2 * MS, 200))
    assert.same({ { "lost", 13 }, { "lost", 14 } }, r:fates())
    assert.is_true(r:hand_over(2 * MS, 200))
    assert.same({ { "lost", 15 } }, r:fates())
    assert.is_false(r:hand_over(0, 1000))
    ack(r, RTT + 5 * MS, { 0, 6 })
    assert.same({ { "acked", 11 }, { "acked", 12 }, { "acked", 99 } }, r:fates())
    local f = r:facts()
    assert.same({ 0, 0, 0, 0 }, { f.inflight, f.lost, f.cc_lost, f.spurious })
    r:close()
  end)
end)

describe("a path that moves", function()
  it("gives up what is in flight without a loss for the controller, and starts over", function()
    local r = new()
    send(r, 0, 0, 0)
    ack(r, RTT, { 0, 0 })
    r:fates()
    r:give_up()
    assert.same({ { "lost", 1 }, { "lost", 2 } }, r:fates())
    r:restart(20 * MS)
    local f = r:facts()
    assert.same({ 0, 0, 0, 20 * MS }, { f.inflight, f.cc_lost, f.cc_inflight, f.srtt })
    assert.is_nil(r:due())
    assert.equal(3, r:sent(S, 100, { 5 })) -- numbers go on
    ack(r, S + 20 * MS, { 3, 3 })
    ack(r, S + 30 * MS, { 0, 3 }) -- the old ones arrived after all
    assert.same({ { "acked", 5 } }, r:fates())
    f = r:facts()
    assert.same({ 20 * MS, 5 * MS, 0 }, { f.srtt, f.reorder, f.spurious })
    r:close()
  end)

  it("keeps the controller's window in use under another one", function()
    local r = new { reno = true }
    send(r, 0)
    ack(r, RTT, { 0, 0 })
    assert.equal(2, r:facts().cc_window)
    send_many(r, 5, RTT, 0)
    ack(r, 2 * RTT, { 2, 5 })
    assert.equal(0, r:facts().inflight)
    r:close()
  end)
end)

describe("the memory of recovery", function()
  it("is none before the first packet, and none again on an idle path", function()
    local r = new()
    assert.equal(0, r:facts().bytes)
    send_many(r, 1000, 0, 0)
    assert.is_true(r:facts().bytes > 0)
    r:trim()
    assert.is_true(r:facts().bytes > 0) -- in flight
    ack(r, RTT, { 0, 999 })
    r:trim()
    assert.equal(0, r:facts().bytes)
    send(r, S)
    ack(r, S + RTT, { 1000, 1000 })
    assert.equal(0, r:facts().inflight)
    r:close()
  end)

  it("is bounded: beyond, the window closes, and the oldest packet has to go", function()
    local r = new { most = 64, window = 1000000 }
    assert.equal(56, r:open())
    send_many(r, 64, 0, MS)
    assert.equal(0, r:open())
    local bytes = r:facts().bytes
    assert.same({}, r:fates())
    for i = 1, 1000 do r:sent(i, 50, nil, "quiet") end -- ACKs always leave
    assert.equal(64, #r:fates())
    send_many(r, 1000, S, MS)
    assert.equal(bytes, r:facts().bytes)
    assert.equal(64, r:facts().inflight)
    r:close()
  end)

  it("does not grow with contents once they have their fate", function()
    local r = new()
    for i = 0, 4999 do
      r:sent(i * MS, 1000, { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 })
      ack(r, i * MS + 1, { i, i })
    end
    assert.is_true(r:facts().bytes < 16384)
    r:close()
  end)
end)

describe("an ACK", function()
  it("costs what it newly acknowledges, whatever its ranges and the window", function()
    local function cost(window)
      local best = math.huge
      for _ = 1, 3 do
        local r = new { window = window, most = 65536 }
        send_many(r, window, 0, 1)
        r:ack(RTT, 0, { { window - 1, window - 1 } })
        best = math.min(best, r:flood(10000, RTT + 1))
        r:close()
      end
      return best
    end
    local small, large = cost(512), cost(32768)
    assert.is_true(large < 6 * small + 0.1, ("%.3f s for 512 packets, %.3f s for 32,768"):format(small, large))
  end)
end)

describe("the round-trip time", function()
  it("follows RFC 9002: first sample, then averages, without the peer's delay", function()
    assert.same({ srtt = 100 * MS, var = 50 * MS, min = 100 * MS }, recovery.rtt { { 100 * MS, 0, 0 } })
    assert.same({ srtt = 102500, var = 42500, min = 100 * MS }, recovery.rtt { { 100 * MS, 0, 0 }, { 140 * MS, 20 * MS, 1 } })
    -- a delay that would make it shorter than the shortest is not believed
    assert.same({ srtt = 100625, var = 38750, min = 100 * MS }, recovery.rtt { { 100 * MS, 0, 0 }, { 105 * MS, 20 * MS, 1 } })
  end)

  it("does not include the time for which an ACK was lost, which its delay states", function()
    local r = new()
    send(r, 0)
    ack(r, RTT, { 0, 0 })
    send(r, S)
    r:ack(31 * S + RTT, 30 * S, { { 0, 1 } })
    assert.equal(RTT, r:facts().srtt)
    send(r, 40 * S)
    r:ack(40 * S + 3 * RTT, 50 * MS, { { 2, 2 } }) -- shorter than a probe timeout: only what the peer announced is taken off
    assert.equal((7 * RTT + 3 * RTT - DELAY) // 8, r:facts().srtt)
    r:close()
  end)

  it("forgets the shortest after 10 to 20 s", function()
    local samples = { { 50 * MS, 0, 0 } }
    for i = 1, 9 do samples[#samples + 1] = { 100 * MS, 0, i * S } end
    assert.equal(50 * MS, recovery.rtt(samples).min)
    for i = 10, 21 do samples[#samples + 1] = { 100 * MS, 0, i * S } end
    assert.equal(100 * MS, recovery.rtt(samples).min)
  end)
end)
