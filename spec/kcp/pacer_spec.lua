-- The pacer: when packets may leave, in virtual time.
local pacer = require("spec_delivery").pacer

local MS, S = 1000, 1000000

-- Sends packets of `size` as soon as they may leave, until `stop`. Returns the bytes sent.
local function send(p, size, start, stop)
  local now, sent = start, 0
  while now < stop do
    p:sent(size, now)
    sent = sent + size
    now = math.max(now, p:next())
  end
  return sent
end

-- Packets of `size` that may leave at a time, which it sends.
local function batch(p, size, now)
  local packets = 0
  while p:next() <= now do
    p:sent(size, now)
    packets = packets + 1
  end
  return packets
end

describe("a pacer", function()
  it("without a rate lets everything through", function()
    local p = pacer(0, 0)
    p:sent(1000000, 5 * S)
    assert.equal(0, p:next())
  end)

  it("spreads packets at its rate", function()
    local p = pacer(1000000, 0) -- a byte a µs
    local now = 10 * S
    for _ = 1, 5 do
      p:sent(1200, now)
      assert.equal(now + 1200, p:next())
      now = now + 1200
    end
  end)

  it("keeps its rate to the packet, over a minute, where a packet takes a fractional number of microseconds", function()
    for _, rate in ipairs { 999983, 1234567, 7654321 } do
      local sent = send(pacer(rate, 0), 1322, 0, 60 * S)
      assert.is_true(math.abs(sent - rate * 60) <= 1322, ("%d at %d bytes/s"):format(sent, rate))
    end
  end)

  it("has no error in its schedule beyond a microsecond, after a million packets", function()
    local p = pacer(1234567, 0)
    for _ = 1, 1000000 do p:sent(1322, 0) end
    local exact = 1000000 * 1322 * 1000000 // 1234567
    assert.is_true(p:next() - exact >= 0 and p:next() - exact <= 1, p:next() - exact)
  end)

  it("lets a sender that is late catch up by a burst, and by no more", function()
    local p = pacer(1000000, 5000)
    p:sent(1000, 10 * S)
    local now = 20 * S
    assert.equal(6, batch(p, 1000, now)) -- the burst, and the one that is due
    assert.equal(now + MS, p:next())
  end)

  it("on a fast path lets a sender that has to wait send a quantum at a time, at the same rate", function()
    local p, now, sent = pacer(125000000, 1250000), 10 * S, 0 -- 1 Gbit/s: 62,500 bytes in 500 µs
    batch(p, 1250, now)
    for _ = 1, 1000 do
      assert.is_true(p:next() - now > 400 and p:next() - now <= 500, p:next() - now)
      now = p:next()
      local packets = batch(p, 1250, now)
      assert.is_true(packets >= 48 and packets <= 52, packets)
      sent = sent + packets * 1250
    end
    assert.is_true(math.abs(sent - (now - 10 * S) * 125) <= 62500, sent)
  end)

  it("lets a sender that had nothing to send begin with a quantum, of two packets at least", function()
    for rate, packets in pairs { [125000000] = 51, [1000000] = 3 } do -- and the one that is due
      local p = pacer(rate, rate // 100)
      p:sent(1250, 10 * S)
      p:idle()
      assert.equal(packets, batch(p, 1250, 20 * S))
    end
  end)

  it("does not lose the time that a coarse timer takes", function()
    local p, now, sent = pacer(10000000, 20000), 0, 0
    while now < 10 * S do
      while p:next() <= now do
        p:sent(1250, now)
        sent = sent + 1250
      end
      now = math.max(now, p:next()) // MS * MS + MS -- wakes at whole milliseconds only
    end
    assert.is_true(math.abs(sent - 100000000) <= 25000, sent)
  end)

  it("applies a new rate at once and keeps its debt", function()
    local p = pacer(1000000, 0)
    p:sent(1000, 10 * S)
    p:set(500000, 0)
    assert.equal(10 * S + 1000, p:next())
    p:sent(1000, 10 * S + 1000)
    assert.equal(10 * S + 3000, p:next())
  end)

  it("makes up for packets that could not wait", function()
    local p = pacer(1000000, 0)
    for _ = 1, 3 do p:sent(1000, 10 * S) end
    assert.equal(10 * S + 3 * MS, p:next())
  end)

  it("paces no slower beyond 34 Gbit/s, and no slower than 16 bytes a second", function()
    for rate, us in pairs { [1 << 40] = 16, [1] = 65535 * S // 16 } do
      local p = pacer(rate, 0)
      p:sent(65535, 0)
      assert.equal(us, p:next())
    end
  end)
end)
