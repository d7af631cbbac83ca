-- Which RTT samples the KCP engine accepts, and which timestamp it echoes to its peer.
local wire = require "kcp_wire"

local MS = 1000

local ack, sent = wire.ack, wire.sent

describe("the round-trip time", function()
  it("is known to the microsecond when the ACK is for the last transmission", function()
    local e = wire.engine()
    e:write("x")
    e:flush(10300)
    e:input(ack(0, 10300, 1), 60900)
    assert.same({ 50600, 25300, 151800 }, { e:stats().srtt_us, e:stats().rttvar_us, e:stats().rto_us })
  end)

  it("is averaged as RFC 6298 says, with less weight for a sudden drop", function()
    local e = sent(3)
    e:input(ack(0, 0, 1), 100 * MS)
    e:input(ack(1, 0, 2), 180 * MS)
    assert.same({ 110000, 57500, 340000 }, { e:stats().srtt_us, e:stats().rttvar_us, e:stats().rto_us })
    e:write("x")
    e:flush(200 * MS)
    e:input(ack(3, 200 * MS, 2), 210 * MS)
    assert.same({ 97500, 58828, 332812 }, { e:stats().srtt_us, e:stats().rttvar_us, e:stats().rto_us })
  end)

  it("is sampled once a packet, from the newest transmission", function()
    local e = wire.engine()
    for i = 0, 2 do
      e:write("x")
      e:flush(i * 10 * MS)
    end
    e:input(ack(0, 0, 3) .. ack(2, 20 * MS, 3) .. ack(1, 10 * MS, 3), 60 * MS)
    assert.same({ 40 * MS, 20 * MS }, { e:stats().srtt_us, e:stats().rttvar_us })
  end)

  it("gives a timeout within its bounds", function()
    for nodelay, rto in pairs { [true] = 30, [false] = 100 } do
      local e = sent(1, { nodelay = nodelay, interval_ms = 10 })
      e:input(ack(0, 0, 1), 1 * MS)
      assert.equal(rto * MS, e:stats().rto_us)
    end
    local slow = sent(1)
    slow:input(ack(0, 0, 1), 50000 * MS)
    assert.equal(60000 * MS, slow:stats().rto_us)
  end)

  it("ignores an echo of a future time or of one more than a minute ago", function()
    for _, ts in ipairs { 100001, 100000 + 0x7fffffff, 100000 - 60001, 100000 + 0x80000000 } do
      local e = wire.engine()
      e:write("x")
      e:flush(99000 * MS)
      e:input(wire.segment(wire.ACK, { sn = 0, ts = ts, una = 1 }), 100000 * MS)
      assert.equal(0, e:stats().srtt_us)
      assert.is_false(e:unacked())
    end
  end)

  it("and the peer's window are not taken from recovered packets, una and ACKs are", function()
    local e = sent(3)
    e:input(wire.segment(wire.ACK, { sn = 2, una = 1, wnd = 7 }), 80 * MS, "recovered")
    local s = e:stats()
    assert.same({ 0, 32, 2 }, { s.srtt_us, s.rmt_wnd, s.inflight })
    assert.equal(1, e:blocks())
    e:input(wire.segment(wire.ACK, { sn = 1, una = 3, wnd = 7 }), 80 * MS)
    s = e:stats()
    assert.same({ 80 * MS, 7, 0 }, { s.srtt_us, s.rmt_wnd, s.inflight })
  end)

  it("survives the wrap of the wire's clock", function()
    local start = 0xffffffff * MS
    local e = wire.engine { now = start }
    e:write("x")
    e:flush(start)
    e:flush(start + 200 * MS)
    e:input(ack(0, start, 1), start + 240 * MS)
    assert.equal(240 * MS, e:stats().srtt_us)
    e:write("y")
    e:flush(start + 300 * MS)
    e:input(ack(1, start + 300 * MS - 0x100000000 * MS, 2), start + 380 * MS)
    assert.equal(240 * MS - (160 * MS // 8), e:stats().srtt_us)
  end)

  it("is not taken from segments below una", function()
    local e = sent(3)
    e:input(ack(0, 0, 2), 40 * MS)
    local before = e:stats().rto_us
    for _, sn in ipairs { 0, 1 } do e:input(ack(sn, 0, 2), 30000 * MS) end
    assert.equal(before, e:stats().rto_us)
  end)

  it("is not taken from a packet whose una fell back or was never reached", function()
    for _, una in ipairs { 0, 4 } do
      local e = sent(3)
      e:input(ack(0, 0, 1), 40 * MS)
      local before = e:stats().rto_us
      e:input(ack(2, 0, una), 900 * MS)
      assert.equal(before, e:stats().rto_us)
    end
  end)

  it("is not taken from a segment that was acknowledged before", function()
    local e = sent(3)
    e:input(ack(1, 0), 40 * MS)
    local before = e:stats().rto_us
    for now = 1, 20 do e:input(ack(1, 0), now * 1000 * MS) end
    assert.equal(before, e:stats().rto_us)
  end)

  it("is not taken from an echo of a time at which the segment was not sent", function()
    local e = sent(1)
    e:flush(200 * MS)
    e:flush(600 * MS)
    e:input(ack(0, 300 * MS, 1), 650 * MS)
    assert.same({ 0, 0 }, { e:stats().srtt_us, e:stats().inflight })
  end)

  it("is not taken from a transmission that later ones have overtaken", function()
    local e = wire.engine()
    for i = 0, 1 do
      e:write("x")
      e:flush(i * 100 * MS)
    end
    e:input(ack(1, 100 * MS), 150 * MS)
    local before = e:stats().rto_us
    e:input(ack(0, 0, 2), 160 * MS)
    assert.same({ before, 0 }, { e:stats().rto_us, e:stats().inflight })
  end)

  describe("of a segment's first transmission, after it was sent again,", function()
    -- Sends one more segment at `at`, and again after its timeout; its first transmission is acknowledged `rtt` later.
    local function late(e, sn, at, rtt)
      e:write("x")
      e:flush(at)
      e:flush(e:due(at))
      e:input(ack(sn, at, sn + 1), at + rtt)
    end

    it("is accepted while it is the only sample", function()
      local e = wire.engine()
      late(e, 0, 0, 230 * MS)
      assert.equal(230 * MS, e:stats().srtt_us)
    end)

    it("is rejected the first time: FEC may have rebuilt the lost segment", function()
      local e = sent(1)
      e:input(ack(0, 0, 1), 50 * MS)
      for sn = 1, 9, 2 do
        late(e, sn, sn * 1000 * MS, 900 * MS)
        e:write("x")
        e:flush((sn + 1) * 1000 * MS)
        e:input(ack(sn + 1, (sn + 1) * 1000 * MS, sn + 2), (sn + 1) * 1000 * MS + 50 * MS)
        assert.equal(50 * MS, e:stats().srtt_us)
      end
      assert.equal(100 * MS, e:stats().rto_us)
    end)

    it("is accepted the second time in a row: the path has become slower than the timeout", function()
      local e = sent(1)
      e:input(ack(0, 0, 1), 50 * MS)
      for sn = 1, 9 do late(e, sn, sn * 2000 * MS, 700 * MS) end
      e:write("x")
      e:flush(30000 * MS)
      assert.same({}, e:flush(30700 * MS))
    end)
  end)

  it("is not changed by copies of old datagrams", function()
    local e, old = wire.engine(), {}
    for sn = 0, 299 do
      local now = sn * 100 * MS
      e:write("x")
      e:flush(now)
      old[#old + 1] = ack(sn, now, sn + 1)
      e:input(old[#old], now + 50 * MS)
      for age = 1, 250, 7 do
        if old[sn - age] then e:input(old[sn - age], now + 60 * MS) end
      end
      assert.is_true(e:stats().rto_us <= 200 * MS)
    end
    assert.equal(50 * MS, e:stats().srtt_us)
  end)
end)

describe("the time that an acknowledgement echoes", function()
  local function push(sn, ts) return wire.segment(wire.PUSH, { sn = sn, ts = ts, data = "x" }) end

  local function echo(e, now)
    local list = wire.segments(e:flush(now), wire.ACK)
    return list[#list].ts
  end

  -- A PUSH sent at 5000 by the peer's clock has come at 100 ms.
  local function engine()
    local e = wire.engine()
    e:input(push(0, 5000), 100 * MS)
    e:flush(100 * MS)
    return e
  end

  it("is that of a new segment", function()
    local e = engine()
    e:input(push(1, 4000), 400 * MS)
    assert.equal(4000, echo(e, 400 * MS))
  end)

  it("is that of a segment sent now, when FEC rebuilt it: it may have been sent long ago", function()
    local e = engine()
    e:input(push(1, 5010), 450 * MS, "recovered")
    assert.equal(5350, echo(e, 460 * MS))
    e:input(push(3, 5020), 470 * MS, "recovered")
    assert.equal(5370, echo(e, 470 * MS))
  end)

  it("is also that for a duplicate: it may be a copy of an old datagram", function()
    local e = engine()
    e:input(push(0, 5000), 30100 * MS)
    assert.equal(35000, echo(e, 30100 * MS))
  end)

  it("is that of a repeat or a rebuilt segment that was faster", function()
    for origin, sn in pairs { regular = 0, recovered = 1 } do
      local e = engine()
      e:input(push(sn, 5320), 400 * MS, origin)
      assert.equal(5320, echo(e, 400 * MS))
    end
  end)

  it("is that of a rebuilt segment when no other has come", function()
    local e = wire.engine()
    e:input(push(0, 5000), 700 * MS, "recovered")
    assert.equal(5000, echo(e, 700 * MS))
  end)

  it("survives the wrap of the peer's clock", function()
    local e = wire.engine()
    e:input(push(0, 0xfffffff0), 100 * MS)
    e:flush(100 * MS)
    e:input(push(1, 0xfffffff8), 200 * MS, "recovered")
    assert.equal(84, echo(e, 200 * MS))
  end)

  it("is not sent at once for a rebuilt segment that is here already: the sender does not wait for it", function()
    local e = engine()
    e:input(push(0, 5000), 200 * MS, "recovered")
    assert.equal(201 * MS, e:due(200 * MS))
  end)

  it("never delays a sender that samples every echo, as kcp-go does, even when FEC rebuilds segments late", function()
    local random, e = wire.random(3), wire.engine()
    local delay, arrivals = 50, {}
    local function arrives(at, sn, ts, origin)
      arrivals[at] = arrivals[at] or {}
      table.insert(arrivals[at], { push(sn, ts), origin })
    end
    for sn = 0, 299 do -- one every 100 ms; a tenth is lost, sent again after 250 ms, and rebuilt within a second
      local ts = sn * 100
      if random() < 0.1 then
        arrives(ts + 250 + delay, sn, ts + 250)
        arrives(ts + delay + math.floor(random() * 1000), sn, ts, "recovered")
      else
        arrives(ts + delay, sn, ts)
      end
    end
    local longest, samples = 0, 0
    for now = 0, 31000 do
      for _, packet in ipairs(arrivals[now] or {}) do e:input(packet[1], now * MS, packet[2]) end
      local due = e:due(now * MS)
      if due and due <= now * MS then
        local acks = wire.segments(e:flush(now * MS), wire.ACK)
        longest, samples = math.max(longest, now + delay - acks[#acks].ts), samples + 1
      end
    end
    assert.is_true(samples > 250)
    assert.is_true(longest <= 2 * delay + 2, longest .. " ms")
  end)
end)
