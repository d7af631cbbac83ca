-- KCP's own congestion window (nc=0), and its absence (nc=1).
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

  it("uses the bytes in flight, if those were less than allowed", function()
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
