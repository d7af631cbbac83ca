-- The two windows of the KCP engine: sending, keeping, and stalled readers.
local wire = require "kcp_wire"

local MS = 1000

local function push(sn, data) return wire.segment(wire.PUSH, { sn = sn, data = data or tostring(sn % 10) }) end

-- Hands all of a's packets to b.
local function carry(a, b, now)
  for _, packet in ipairs(a:flush(now)) do assert(b:input(packet, now)) end
end

describe("the send window", function()
  it("limits unsent and unacknowledged segments together", function()
    local e = wire.engine { snd_wnd = 4, mtu = 124 }
    assert.equal(400, e:room())
    assert.equal(400, e:write(("x"):rep(1000)))
    assert.equal(0, e:room())
    e:flush(0)
    assert.equal(0, e:write("x"))
    e:input(wire.segment(wire.ACK, { sn = 0, una = 1 }), 10 * MS)
    assert.equal(100, e:room())
    assert.equal(100, e:write(("x"):rep(1000)))
    e:check()
  end)

  it("counts the rest of the last unsent segment as room", function()
    local e = wire.engine { snd_wnd = 1, mtu = 124 }
    e:write("abc")
    assert.equal(97, e:room())
  end)

  it("allows 32 segments until the peer has advertised its window", function()
    local e = wire.engine { snd_wnd = 128 }
    e:write(("x"):rep(128 * e:mss()))
    assert.equal(32, #wire.segments(e:flush(0)))
    e:input(wire.segment(wire.WINS, { wnd = 40 }), 0)
    assert.equal(8, #wire.segments(e:flush(0)))
    assert.is_not_equal(0, e:due(0))
  end)

  it("keeps an acknowledged segment's place, not its block, until una passes", function()
    local e = wire.engine { snd_wnd = 4, mtu = 124 }
    e:write(("x"):rep(400))
    e:flush(0)
    e:input(wire.segment(wire.ACK, { sn = 1 }) .. wire.segment(wire.ACK, { sn = 2 }), 10 * MS)
    assert.equal(2, e:blocks())
    assert.equal(0, e:room())
    assert.equal(4, e:stats().inflight)
    e:input(wire.segment(wire.ACK, { sn = 0, una = 3 }), 20 * MS)
    assert.equal(300, e:room())
    assert.equal(1, e:blocks())
    e:check()
  end)

  it("reports when everything written before a mark has arrived", function()
    local e = wire.engine()
    local start = e:mark()
    assert.is_true(e:covered(start))
    assert.is_false(e:unacked())
    e:write("abc")
    local mark = e:mark()
    assert.is_false(e:covered(mark))
    e:flush(0)
    e:write("later")
    e:input(wire.segment(wire.ACK, { sn = 0 }), 10 * MS)
    assert.is_false(e:covered(mark))
    e:input(wire.segment(wire.WINS, { una = 1 }), 10 * MS)
    assert.is_true(e:covered(mark))
    assert.is_true(e:unacked())
  end)

  it("sends as much as the owner has buffers for and stays due with the rest", function()
    local e = wire.engine()
    e:write(("x"):rep(3 * e:mss()))
    e:limit(1)
    assert.same({ 0 }, wire.sns(e:flush(5 * MS), wire.PUSH))
    assert.equal(5 * MS, e:due(5 * MS))
    assert.same({}, e:flush(5 * MS))
    e:limit(nil)
    assert.same({ 1, 2 }, wire.sns(e:flush(5 * MS), wire.PUSH))
    e:check()
  end)

  it("stays due with retransmissions, acknowledgements and probes there was no buffer for", function()
    local e = wire.engine()
    e:write("x")
    e:flush(0)
    e:input(push(0), 200 * MS)
    e:probe()
    e:limit(0)
    assert.same({}, e:flush(200 * MS))
    assert.equal(200 * MS, e:due(200 * MS))
    e:limit(nil)
    assert.same({ 0, 0, 0 }, wire.sns(e:flush(200 * MS)))
    e:input(push(1), 300 * MS)
    e:limit(0)
    e:flush(300 * MS)
    assert.equal(300 * MS, e:due(300 * MS))
  end)
end)

describe("the receive window", function()
  it("puts segments in order", function()
    local e = wire.engine()
    for _, sn in ipairs { 3, 1, 4, 0, 5, 2 } do e:input(push(sn), 0) end
    assert.equal("012345", e:read())
    assert.equal(0, e:blocks())
    e:check()
  end)

  it("lets a reader take part of a segment", function()
    local e = wire.engine()
    e:input(push(0, "abcdef"), 0)
    assert.equal("abcd", e:read(4))
    assert.equal("ef", e:read())
  end)

  it("treats a fragment like any other segment", function()
    local e = wire.engine()
    e:input(wire.segment(wire.PUSH, { sn = 0, frg = 1, data = "a" }), 0)
    e:input(wire.segment(wire.PUSH, { sn = 1, frg = 0, data = "b" }), 0)
    assert.equal("ab", e:read())
  end)

  it("skips empty segments", function()
    local e = wire.engine { rcv_wnd = 4 }
    for _, sn in ipairs { 0, 1, 2, 3, 4, 5 } do e:input(push(sn, ""), 0) end
    e:input(push(6, "a"), 0)
    e:input(push(8, ""), 0)
    e:input(push(9, "b"), 0)
    e:input(push(7, ""), 0)
    e:input(push(10, ""), 0)
    assert.equal("a", e:read(1))
    assert.equal("b", e:read())
    e:input(push(11, "c"), 0)
    assert.equal("c", e:read())
    e:check()
  end)

  it("keeps one copy of a repeated segment and acknowledges each", function()
    local e = wire.engine()
    for _ = 1, 3 do e:input(push(1), 0) end
    e:input(push(0), 0)
    e:flush(0)
    e:input(push(0), 0)
    assert.same({ 0 }, wire.sns(e:flush(0), wire.ACK))
    assert.equal("01", e:read())
    assert.equal(3, e:stats()["repeat"])
  end)

  it("ignores segments beyond it, without acknowledging them", function()
    local e = wire.engine { rcv_wnd = 4 }
    e:input(push(4), 0)
    e:input(push(0x7fffffff), 0)
    assert.is_nil(e:due(0))
    assert.same({}, e:flush(0))
    assert.equal(2, e:stats().beyond)
    e:input(push(3), 0)
    assert.same({ 3 }, wire.sns(e:flush(0), wire.ACK))
  end)

  it("closes as a reader stalls, and holds twice its size at most", function()
    local e = wire.engine { rcv_wnd = 4 }
    for sn = 0, 20 do e:input(push(sn), 0) end
    assert.equal(8, e:blocks())
    local acks = wire.segments(e:flush(0), wire.ACK)
    assert.same({ 0, 4 }, { acks[1].wnd, acks[1].una })
    assert.equal("01234567", e:read())
    e:check()
  end)

  it("tells the peer when a reader opens it again, and only then", function()
    local e = wire.engine { rcv_wnd = 4 }
    for sn = 0, 3 do e:input(push(sn, "ab"), 0) end
    e:flush(0)
    e:read(1)
    assert.is_nil(e:due(0))
    e:read(1)
    assert.equal(0, e:due(0))
    local told = wire.segments(e:flush(0))
    assert.equal(1, #told)
    assert.same({ wire.WINS, 1, 4 }, { told[1].cmd, told[1].wnd, told[1].una })
    e:read()
    assert.is_nil(e:due(0))
  end)

  it("drops a segment it has no block for, unacknowledged, and takes it when it comes again", function()
    local e = wire.engine()
    e:fail_after(0)
    assert.is_true((e:input(push(0), 0)))
    assert.is_nil(e:due(0))
    assert.equal(1, e:stats().dropped)
    e:fail_after(nil)
    e:input(push(0), 0)
    assert.equal("0", e:read())
    e:check()
  end)
end)

describe("two windows", function()
  it("stop the writer when the reader stalls and release it when the reader continues", function()
    local a, b = wire.engine { snd_wnd = 8 }, wire.engine { rcv_wnd = 4, ack_nodelay = true }
    -- The peer's window of 32 is a guess; advertise the real one first.
    b:input(wire.segment(wire.WASK), 0)
    carry(b, a, 0)
    a:write(("x"):rep(8 * a:mss()))
    carry(a, b, 0)
    carry(b, a, 10 * MS)
    assert.equal(0, a:stats().rmt_wnd)
    assert.equal(4, a:stats().queued)
    assert.same({}, a:flush(10 * MS))
    assert.equal(4 * a:mss(), a:room())
    assert.equal(4 * a:mss(), #b:read())
    carry(b, a, 20 * MS)
    carry(a, b, 20 * MS)
    assert.equal(4 * a:mss(), #b:read())
  end)

  it("probe a closed one after half a second, then with backoff up to two minutes", function()
    local e = wire.engine()
    e:input(wire.segment(wire.WINS, { wnd = 0 }), 0)
    assert.is_nil(e:due(0))
    e:write("x")
    local at, waits = 0, {}
    for i = 1, 16 do
      local due = e:due(at)
      waits[i] = (due - at) / MS
      assert.same({}, e:flush(due - 1))
      assert.equal(1, #wire.segments(e:flush(due), wire.WASK))
      at = due
    end
    assert.same({ 500, 750, 1125, 1687.5 }, { table.unpack(waits, 1, 4) })
    assert.same({ 120000, 120000 }, { table.unpack(waits, 15, 16) })
    e:input(wire.segment(wire.WINS, { wnd = 1 }), at)
    assert.equal(1, #wire.segments(e:flush(at), wire.PUSH))
  end)

  it("survive the wrap of sequence numbers", function()
    local a = wire.engine { start_snd = 0xfffffffd, snd_wnd = 16 }
    local b = wire.engine { start_rcv = 0xfffffffd, rcv_wnd = 16 }
    local mark
    for i = 1, 8 do
      a:write(tostring(i))
      if i == 5 then mark = a:mark() end
      if i % 3 > 0 then carry(a, b, i * MS) else a:flush(i * MS) end
      a:check()
      b:check()
    end
    assert.is_false(a:covered(mark))
    assert.equal("12", b:read())
    carry(b, a, 20 * MS)
    carry(a, b, 20 * MS)
    carry(a, b, 260 * MS)
    assert.equal("345678", b:read())
    carry(b, a, 300 * MS)
    assert.is_false(a:unacked())
    assert.is_true(a:covered(mark))
    a:check()
    b:check()
  end)

  it("grow with their rings without losing a segment", function()
    local a, b = wire.engine { snd_wnd = 3000, start_snd = 0xffffff00 }, wire.engine { rcv_wnd = 3000, start_rcv = 0xffffff00 }
    b:input(wire.segment(wire.WASK, { wnd = 3000 }), 0)
    carry(b, a, 0)
    local parts = {}
    for i = 1, 3000 do
      parts[i] = ("%06d"):format(i)
      a:write(parts[i])
      local packets = a:flush(0)
      -- every seventh is late; the last of all comes first
      if i % 7 ~= 0 then b:input(packets[1], 0) end
      if i % 500 == 0 then
        a:check()
        b:check()
      end
    end
    carry(b, a, 0)
    carry(a, b, 250 * MS)
    assert.equal(table.concat(parts), b:read())
    a:check()
    b:check()
  end)

  it("hold no more than the pool provides", function()
    local e = wire.engine { mtu = 124 }
    e:fail_after(2)
    assert.equal(200, e:write(("x"):rep(1000)))
    assert.equal(0, e:write("x"))
    e:check()
    e:fail_after(nil)
    assert.equal(100, e:write(("y"):rep(100)))
    assert.equal(3, #wire.segments(e:flush(0)))
  end)
end)
