-- Congestion control: KCP's own window (nc=0), its absence (nc=1), and controllers that come from outside.
local spec_kcp = require "spec_kcp"
local wire = require "kcp_wire"

local MS = 1000

local function ack(sn, sent, una) return wire.segment(wire.ACK, { sn = sn, ts = sent // MS, una = una, wnd = 512 }) end

local function reno(settings)
  settings = settings or {}
  settings.reno = true
  local e = wire.engine(settings)
  e:write(("x"):rep(100 * e:mss()))
  return e
end

-- Acknowledges one segment a packet until n may be in flight, and sends them. Returns the time, una, and when each
-- segment was sent.
local function open(e, n)
  local una, now, at = 0, 0, {}
  local function flush()
    for _, sn in ipairs(wire.sns(e:flush(now), wire.PUSH)) do at[sn] = now end
  end
  while e:stats().cwnd < n do
    flush()
    now = now + MS
    una = una + 1
    e:input(ack(una - 1, at[una - 1], una), now)
  end
  flush()
  return now, una, at
end

describe("without a congestion window", function()
  it("only the two ends' windows count, regardless of loss", function()
    local e = wire.engine { snd_wnd = 64 }
    e:input(wire.segment(wire.WINS), 0)
    e:write(("x"):rep(64 * e:mss()))
    assert.equal(64, #e:flush(0))
    assert.equal(64, #e:flush(200 * MS))
    assert.equal(64, e:stats().cwnd)
  end)
end)

describe("KCP's congestion window", function()
  it("begins with one segment", function()
    local e = reno()
    assert.equal(1, #e:flush(0))
    assert.same({ 1, 2 }, { e:stats().cwnd, e:stats().ssthresh })
  end)

  it("grows by one up to ssthresh, then by 1/cwnd + 1/16 for each packet that advances una", function()
    local e = reno()
    e:flush(0)
    e:input(ack(0, 0, 1), 10 * MS)
    assert.equal(2, e:stats().cwnd)
    e:flush(10 * MS)
    e:input(ack(1, 10 * MS, 2), 20 * MS) -- 2.56
    assert.equal(2, e:stats().cwnd)
    e:flush(20 * MS)
    e:input(ack(2, 20 * MS, 3), 30 * MS) -- 3.02
    assert.equal(3, e:stats().cwnd)
    e:input(ack(2, 20 * MS, 3), 30 * MS) -- no progress
    assert.equal(3, e:stats().cwnd)
  end)

  it("does not grow beyond the peer's window", function()
    local e = reno()
    local una = 0
    for i = 1, 60 do
      e:flush(i * MS)
      una = una + 1
      e:input(wire.segment(wire.ACK, { sn = una - 1, ts = i, una = una, wnd = 4 }), i * MS)
    end
    assert.equal(4, e:stats().cwnd)
  end)

  it("halves what is in flight when later segments reveal a loss", function()
    local e = reno { resend = 2 }
    local now, una, at = open(e, 10)
    assert.equal(10, e:stats().inflight)
    e:input(ack(una + 1, at[una + 1], una) .. ack(una + 2, at[una + 2], una), now + MS)
    local again = wire.sns(e:flush(now + MS), wire.PUSH)
    assert.equal(una, again[1])
    assert.same({ 5, 7 }, { e:stats().ssthresh, e:stats().cwnd })
  end)

  it("halves the segments in flight, if those were fewer than allowed", function()
    local e = reno { resend = 2 }
    local now, una, at = open(e, 10)
    while e:stats().queued > 0 do
      e:input(ack(una, at[una], una + 1), now)
      una, now = una + 1, now + MS
      for _, sn in ipairs(wire.sns(e:flush(now), wire.PUSH)) do at[sn] = now end
    end
    e:input(ack(una + 2, at[una + 2], una + 3), now)
    una = una + 3
    local inflight = e:stats().inflight
    assert.is_true(inflight >= 4 and inflight < e:stats().cwnd)
    e:input(ack(una + 1, at[una + 1], una) .. ack(una + 2, at[una + 2], una), now)
    assert.equal(una, wire.sns(e:flush(now))[1])
    assert.equal(inflight // 2, e:stats().ssthresh)
  end)

  it("falls to one segment after a timeout", function()
    local e = reno()
    local now = open(e, 10)
    e:flush(now + 1000 * MS)
    assert.is_true(e:stats().timeout_retrans > 0)
    assert.same({ 5, 1 }, { e:stats().ssthresh, e:stats().cwnd })
  end)
end)

describe("a controller given from outside", function()
  local function path(settings) return spec_kcp.path(settings or {}) end

  it("hears of every packet sent and acknowledged, not only of those that move una", function()
    local p = path()
    local e = wire.engine { path = p }
    e:write(("x"):rep(5 * e:mss()))
    e:flush(0)
    local f = p:facts()
    assert.same({ 5, 0, 5, 1 }, { f.sent, f.acked, f.packets, f.idle })
    e:input(ack(2, 0) .. ack(4, 0), 20 * MS)
    f = p:facts()
    assert.same({ 2, 2, 0, 5 }, { f.acked, f.sampled, f.advanced, f.packets })
    e:input(ack(3, 0, 5), 30 * MS)
    f = p:facts()
    assert.same({ 5, 5, 5, 0, 0 }, { f.acked, f.sampled, f.advanced, f.packets, f.bytes })
  end)

  it("counts what is in flight over all conversations of a path", function()
    local p = path { window = 10 }
    local a, b = wire.engine { path = p }, wire.engine { path = p }
    for _, e in ipairs { a, b } do e:write(("x"):rep(8 * e:mss())) end
    assert.equal(8, #a:flush(0))
    assert.equal(2, #b:flush(0))
    assert.is_true(b:due(0) > 0) -- the window of the path is full
    a:input(ack(0, 0, 3), 20 * MS)
    assert.equal(20 * MS, b:due(20 * MS))
    assert.equal(3, #b:flush(20 * MS))
    assert.equal(10, p:facts().packets)
    a:close()
    local f = p:facts()
    assert.equal(5, f.packets)
    assert.equal(5 * (b:mss() + 24), f.bytes)
    b:close()
    f = p:facts()
    assert.same({ 0, 0 }, { f.packets, f.bytes })
  end)

  it("paces what the window allows", function()
    local p = path { rate = 1346000 } -- a full packet a ms
    local e = wire.engine { path = p, mtu = 1346, snd_wnd = 512 }
    e:input(wire.segment(wire.WINS), 0)
    e:write(("x"):rep(200 * e:mss()))
    local now, sent = 1000 * MS, 0
    while sent < 200 do
      local n = #e:flush(now)
      assert.is_true(sent == 0 or n <= 1, n)
      sent = sent + n
      if sent < 200 then
        local due = e:due(now)
        assert.is_true(due > now)
        now = due
      end
    end
    assert.is_true(math.abs(now - 1000 * MS - 197 * MS) <= 1 * MS, now) -- the burst went at once
  end)

  it("does not hold back acknowledgements, however slow it paces", function()
    local p = path { rate = 100 }
    local e = wire.engine { path = p }
    e:write(("x"):rep(3 * e:mss()))
    e:flush(0)
    e:input(wire.segment(wire.PUSH, { sn = 0, data = "y" }), MS)
    assert.is_true(e:due(MS) <= 2 * MS)
    assert.same({ 0 }, wire.sns(e:flush(2 * MS), wire.ACK))
  end)

  it("also paces retransmissions", function()
    local p = path { rate = 1346000 }
    local e = wire.engine { path = p, mtu = 1346, now = 1000 * MS }
    e:write(("x"):rep(20 * e:mss()))
    for now = 1000, 1100 do e:flush(now * MS) end
    assert.equal(20, e:stats().inflight)
    local before, now = 0, 1000 * MS + 300 * MS
    while before < 20 do
      local again = #wire.sns(e:flush(now), wire.PUSH)
      assert.is_true(again <= (before == 0 and 12 or 1), again) -- at most 10 ms late
      before, now = before + again, e:due(now)
    end
    local f = p:facts()
    assert.same({ 20, 20 }, { f.again, f.timeout })
  end)

  it("gets no sample from an acknowledgement of an earlier transmission", function()
    local p = path()
    local e = wire.engine { path = p }
    e:write("x")
    e:flush(0)
    assert.equal(1, #e:flush(200 * MS))
    e:input(ack(0, 0, 1), 210 * MS)
    local f = p:facts()
    assert.same({ 1, 0, 1, 0, 0 }, { f.acked, f.sampled, f.again, f.packets, f.bytes })
  end)

  it("hears of each loss once, with its kind", function()
    local p = path()
    local e = wire.engine { path = p, resend = 2 }
    e:write(("x"):rep(4 * e:mss()))
    e:flush(0)
    e:input(ack(1, 0) .. ack(2, 0), 20 * MS)
    e:flush(20 * MS)
    local f = p:facts()
    assert.same({ 1, 0, 1 }, { f.fast, f.timeout, f.again })
  end)

  it("measures what a slow path delivers", function()
    local p = path()
    local a, b = wire.engine { path = p, snd_wnd = 64, rcv_wnd = 64 }, wire.engine { snd_wnd = 64, rcv_wnd = 64 }
    local queue, free, now = {}, 0, 0
    while now < 500 * MS do
      a:write(("x"):rep(64 * a:mss()))
      for _, packet in ipairs(a:flush(now)) do
        free = math.max(free, now) + MS -- a packet a ms
        queue[#queue + 1] = { at = free + 20 * MS, packet = packet }
      end
      now = now + MS // 2
      while queue[1] and queue[1].at <= now do
        assert(b:input(table.remove(queue, 1).packet, now))
        b:read()
        for _, packet in ipairs(b:flush(now)) do a:input(packet, now) end
      end
    end
    local rate = (a:mss() + 24) * 1000
    assert.is_true(math.abs(p:facts().best - rate) < rate // 20, p:facts().best)
  end)

  it("takes over packets that were sent under one without samples", function()
    local p = path()
    local e = wire.engine { path = p, interval_ms = 10 }
    assert(e:tune { interval_ms = 10 })
    e:write(("x"):rep(3 * e:mss()))
    e:flush(0)
    assert(e:tune { path = p, interval_ms = 10 })
    e:write("y")
    e:flush(10 * MS)
    e:input(ack(1, 0) .. ack(3, 10 * MS), 20 * MS)
    local f = p:facts()
    assert.same({ 2, 1, 4, 2 * (e:mss() + 24) }, { f.acked, f.sampled, f.packets, f.bytes })
    e:input(ack(2, 0, 4), 30 * MS)
    f = p:facts()
    assert.same({ 4, 1, 0, 0 }, { f.acked, f.sampled, f.packets, f.bytes })
  end)

  it("is replaced in flight by KCP's, which starts from what is in flight", function()
    local e = wire.engine { reno = true }
    e:write(("x"):rep(100 * e:mss()))
    local _, una, at = open(e, 10)
    assert(e:tune {})
    assert.equal(128, e:stats().cwnd)
    e:flush(900 * MS)
    assert(e:tune { reno = true })
    local inflight = e:stats().inflight
    assert.same({ inflight, inflight }, { e:stats().cwnd, e:stats().ssthresh })
    e:input(ack(una, at[una], una + 1), 910 * MS)
    e:check()
  end)
end)
