-- When the KCP engine is due, and what it retransmits.
local wire = require "kcp_wire"

local MS = 1000

local function push(sn) return wire.segment(wire.PUSH, { sn = sn, data = "x" }) end

local ack, sent = wire.ack, wire.sent

describe("an idle engine", function()
  it("is never due", function()
    local e = wire.engine()
    assert.is_nil(e:due(0))
    assert.is_nil(e:due(1000000 * MS))
    assert.same({}, e:flush(1000000 * MS))
  end)

  it("is never due again once all is acknowledged", function()
    local e = sent(3)
    e:input(ack(2, 0, 3), 50 * MS)
    assert.is_nil(e:due(50 * MS))
    e:input(wire.segment(wire.WINS, { una = 3, wnd = 0 }), 60 * MS)
    assert.is_nil(e:due(60 * MS))
  end)
end)

describe("an acknowledgement", function()
  it("waits a millisecond for data to leave with, at any interval", function()
    local e = wire.engine { interval_ms = 100 }
    e:input(push(0), 1000 * MS)
    e:input(push(1), 1000 * MS + 500)
    assert.equal(1001 * MS, e:due(1000 * MS + 500))
    e:flush(1001 * MS)
    assert.is_nil(e:due(1001 * MS))
  end)

  it("does not wait with ack_nodelay", function()
    local e = wire.engine { ack_nodelay = true }
    e:input(push(0), 7 * MS)
    assert.equal(7 * MS, e:due(7 * MS))
  end)

  for what, case in pairs {
    ["the sixteenth"] = { n = 16, settings = {} },
    ["as many as fill a small packet"] = { n = 4, settings = { mtu = 100 } },
    ["an eighth of a small window"] = { n = 3, settings = { rcv_wnd = 24 } },
    ["one of a tiny window"] = { n = 1, settings = { rcv_wnd = 2 } },
  } do
    it("does not wait if it is " .. what, function()
      local e = wire.engine(case.settings)
      for sn = 0, case.n - 2 do e:input(push(sn), 0) end
      if case.n > 1 then assert.equal(1 * MS, e:due(0)) end
      e:input(push(case.n - 1), 0)
      assert.equal(0, e:due(0))
      e:flush(0)
      assert.is_nil(e:due(0))
    end)
  end

  it("does not wait when a gap shows, when it is filled, or when a segment came twice", function()
    local e = wire.engine()
    for _, sn in ipairs { 1, 0, 0 } do
      e:input(push(sn), 0)
      assert.equal(0, e:due(0))
      e:flush(0)
    end
    e:input(push(2), 0)
    assert.equal(1 * MS, e:due(0))
  end)

  it("leaves with data that leaves", function()
    local e = wire.engine()
    e:input(push(0), 0)
    e:write("answer")
    local list = wire.segments(e:flush(500))
    assert.same({ wire.ACK, wire.PUSH }, { list[1].cmd, list[2].cmd })
    assert.is_not_equal(1 * MS, e:due(500))
  end)

  it("is left out if una covers it, but for the last one", function()
    local e = wire.engine()
    for sn = 0, 2 do e:input(push(sn), 0) end
    assert.same({ 2 }, wire.sns(e:flush(0)))
    for _, sn in ipairs { 5, 3, 7 } do e:input(push(sn), 0) end
    assert.same({ 5, 7 }, wire.sns(e:flush(0)))
    for _, sn in ipairs { 9, 4 } do e:input(push(sn), 0) end
    local list = wire.segments(e:flush(0))
    assert.same({ 9, 4, 6 }, { list[1].sn, list[2].sn, list[2].una })
  end)

  it("echoes the time of the segment that it is for", function()
    local e = wire.engine()
    e:input(wire.segment(wire.PUSH, { sn = 1, ts = 0xfffffff0, data = "x" }), 0)
    e:input(wire.segment(wire.PUSH, { sn = 2, ts = 5, data = "x" }), 0)
    local list = wire.segments(e:flush(0))
    assert.same({ 0xfffffff0, 5 }, { list[1].ts, list[2].ts })
  end)

  it("stays bounded while nothing may leave", function()
    local e = wire.engine { rcv_wnd = 65535 }
    e:limit(0)
    for sn = 1, 6000 do e:input(push(sn), 0) end
    e:flush(0)
    e:limit(nil)
    local sns = wire.sns(e:flush(0))
    assert.equal(4096, #sns)
    assert.same({ 1905, 6000 }, { sns[1], sns[#sns] })
    e:check()
  end)
end)

describe("acknowledgements of a conversation that may send them twice", function()
  local function arrive(e, sn, now) e:input(wire.segment(wire.PUSH, { sn = sn, ts = now // MS, data = "x" }), now) end
  local function acks(e, now) return wire.sns(e:flush(now), wire.ACK) end

  it("are sent once until a segment comes again, then once more with the next ones", function()
    local e = wire.engine { repeat_acks = true }
    arrive(e, 1, 10 * MS)
    assert.same({ 1 }, acks(e, 10 * MS))
    arrive(e, 2, 20 * MS)
    assert.same({ 2 }, acks(e, 20 * MS))
    arrive(e, 2, 30 * MS)
    assert.same({ 2 }, acks(e, 30 * MS))
    arrive(e, 3, 40 * MS)
    assert.same({ 2, 3 }, acks(e, 40 * MS))
    arrive(e, 5, 50 * MS)
    assert.same({ 3, 5 }, acks(e, 50 * MS))
    arrive(e, 0, 60 * MS) -- una covers 0 to 3
    assert.same({ 5, 0 }, acks(e, 60 * MS))
    e:check()
  end)

  it("are sent once again after 1,024 without a segment that came again", function()
    local e = wire.engine { repeat_acks = true, rcv_wnd = 4096 }
    arrive(e, 1, 10 * MS)
    arrive(e, 1, 10 * MS)
    e:flush(10 * MS)
    local n = 0
    for sn = 2, 1200 do
      arrive(e, sn, 20 * MS)
      n = n + #acks(e, 20 * MS)
    end
    assert.equal(1199 + 1024, n)
  end)

  it("are never sent twice without leave", function()
    local e = wire.engine {}
    arrive(e, 1, 10 * MS)
    arrive(e, 1, 10 * MS)
    e:flush(10 * MS)
    arrive(e, 2, 20 * MS)
    assert.same({ 2 }, acks(e, 20 * MS))
  end)
end)

describe("a timeout", function()
  for nodelay, waits in pairs { [false] = { 200, 400, 600, 800 }, [true] = { 200, 300, 400, 500 } } do
    it("is longer each time by " .. (nodelay and "half an rto with nodelay" or "an rto without nodelay"), function()
      local e = sent(1, { nodelay = nodelay })
      local at = 0
      for i, wait in ipairs(waits) do
        assert.equal(at + wait * MS, e:due(at))
        assert.same({}, e:flush(at + wait * MS - 1))
        at = at + wait * MS
        local again = wire.segments(e:flush(at), wire.PUSH)
        assert.same({ 1, 0, at // MS }, { #again, again[1].sn, again[1].ts })
        assert.equal(i, e:stats().timeout_retrans)
      end
      e:check()
    end)
  end

  it("stops growing: a peer that comes back is found within 16 rto", function()
    local e = sent(1)
    local at, wait = 0, 0
    for _ = 1, 40 do
      local due = e:due(at)
      wait, at = due - at, due
      assert.equal(1, #e:flush(at))
      e:check()
    end
    assert.equal(16 * 200 * MS, wait)
  end)

  it("is never over a minute", function()
    local e = sent(2)
    e:input(ack(0, 0, 1), 10000 * MS)
    assert.equal(30000 * MS, e:stats().rto_us)
    local at = 10000 * MS
    local waits = {}
    for i = 1, 3 do
      local due = e:due(at)
      waits[i] = (due - (i == 1 and 0 or at)) / MS
      at = due
      e:flush(at)
    end
    assert.same({ 30000, 60000, 60000 }, waits)
  end)

  it("uses the current RTT estimate, not the one from when the segment was sent", function()
    local e = sent(2)
    assert.equal(200 * MS, e:due(0))
    e:input(ack(0, 0, 1), 150 * MS)
    assert.equal(450 * MS, e:due(150 * MS))
    assert.same({}, e:flush(200 * MS))
  end)

  it("sends everything that is due, packed, and nothing else", function()
    local e = wire.engine()
    for i = 0, 4 do
      e:write(tostring(i))
      e:flush(i * 10 * MS)
    end
    local packets = e:flush(220 * MS)
    assert.equal(1, #packets)
    assert.same({ 0, 1, 2 }, wire.sns(packets))
    assert.equal(230 * MS, e:due(220 * MS))
  end)

  it("does not fire for acknowledged segments", function()
    local e = sent(3)
    e:input(ack(1, 0), 150 * MS)
    assert.same({ 0, 2 }, wire.sns(e:flush(60000 * MS), wire.PUSH))
  end)
end)

describe("fast retransmit", function()
  it("comes when `resend` later transmissions have arrived, once", function()
    local e = sent(6, { resend = 2 })
    e:input(ack(1, 0), 40 * MS)
    assert.is_not_equal(40 * MS, e:due(40 * MS))
    e:input(ack(2, 0), 40 * MS)
    assert.equal(40 * MS, e:due(40 * MS))
    assert.same({ 0 }, wire.sns(e:flush(40 * MS)))
    for sn = 3, 5 do e:input(ack(sn, 0), 41 * MS) end
    assert.same({}, e:flush(41 * MS))
    assert.equal(1, e:stats().fast_retrans)
    e:check()
  end)

  it("finds several losses at once and leaves segments that were not overtaken often enough", function()
    local e = sent(8, { resend = 3 })
    for _, sn in ipairs { 2, 4, 5, 6 } do e:input(ack(sn, 0), 40 * MS) end
    assert.same({ 0, 1, 3 }, wire.sns(e:flush(40 * MS)))
  end)

  it("uses the latest arrivals in any order of reporting", function()
    local e = sent(8, { resend = 2 })
    for _, sn in ipairs { 6, 7, 1, 2 } do e:input(ack(sn, 0), 40 * MS) end
    assert.same({ 0, 3, 4, 5 }, wire.sns(e:flush(40 * MS)))
  end)

  it("counts a repeated acknowledgement once", function()
    local e = sent(4, { resend = 2 })
    for _ = 1, 5 do e:input(ack(1, 0), 40 * MS) end
    assert.is_not_equal(40 * MS, e:due(40 * MS))
  end)

  it("finds a lost retransmission by what was sent after it", function()
    local e = sent(3, { resend = 2 })
    e:input(ack(1, 0) .. ack(2, 0), 40 * MS)
    assert.same({ 0 }, wire.sns(e:flush(40 * MS)))
    e:write(("x"):rep(2 * e:mss()))
    e:flush(45 * MS)
    e:input(ack(3, 45 * MS) .. ack(4, 45 * MS), 90 * MS)
    assert.same({ 0 }, wire.sns(e:flush(90 * MS)))
    assert.equal(2, e:stats().fast_retrans)
  end)

  it("is not misled by an ACK of an earlier transmission", function()
    for echo, expect in pairs { [0] = {}, [200 * MS] = { 0 } } do
      local e = sent(2, { resend = 1 })
      e:flush(200 * MS) -- both again
      e:input(ack(1, echo), 210 * MS)
      assert.same(expect, wire.sns(e:flush(210 * MS)))
    end
  end)

  it("keeps the timeout's backoff where it was", function()
    local e = sent(3, { resend = 2 })
    e:input(ack(1, 0) .. ack(2, 0), 40 * MS)
    e:flush(40 * MS)
    assert.equal(40 * MS + e:stats().rto_us, e:due(40 * MS))
  end)

  it("never comes with resend 0", function()
    local e = sent(20, { resend = 0 })
    for sn = 1, 19 do e:input(ack(sn, 0), 40 * MS) end
    assert.equal(e:stats().rto_us, e:due(40 * MS))
    assert.same({}, e:flush(99 * MS))
  end)

  it("takes any number for resend, and treats more than 32 as 32", function()
    local e = sent(32, { resend = 1000 })
    e:write("x")
    e:input(wire.segment(wire.WINS, { wnd = 100 }), 0)
    e:flush(0)
    for sn = 1, 31 do e:input(ack(sn, 0), 1 * MS) end
    assert.is_not_equal(1 * MS, e:due(1 * MS))
    e:input(ack(32, 0), 1 * MS)
    assert.same({ 0 }, wire.sns(e:flush(1 * MS)))
  end)
end)

describe("early retransmit", function()
  it("comes a quarter of srtt after one later arrival, without new data to send", function()
    local e = sent(3, { resend = 2 })
    e:input(ack(1, 0), 40 * MS)
    assert.equal(50 * MS, e:due(40 * MS))
    assert.same({}, e:flush(50 * MS - 1))
    assert.same({ 0 }, wire.sns(e:flush(50 * MS)))
    assert.equal(1, e:stats().early_retrans)
    assert.is_not_equal(50 * MS, e:due(50 * MS))
  end)

  it("waits an interval at most", function()
    local e = sent(3, { resend = 2, interval_ms = 10 })
    e:input(ack(1, 0), 150 * MS)
    assert.equal(160 * MS, e:due(150 * MS))
  end)

  it("does not come if the late segment turns up", function()
    local e = sent(2, { resend = 2 })
    e:input(ack(1, 0), 40 * MS)
    e:input(ack(0, 0, 2), 45 * MS)
    assert.is_nil(e:due(45 * MS))
    assert.same({}, e:flush(60 * MS))
  end)

  it("gives way to new segments, which bring better evidence", function()
    local e = sent(2, { resend = 2 })
    e:input(ack(1, 0), 40 * MS)
    e:write("new")
    assert.same({ 2 }, wire.sns(e:flush(50 * MS)))
    assert.equal(60 * MS, e:due(50 * MS))
    e:input(ack(2, 50 * MS), 55 * MS)
    assert.same({ 0 }, wire.sns(e:flush(55 * MS)))
    assert.same({ 1, 0 }, { e:stats().fast_retrans, e:stats().early_retrans })
  end)

  it("never comes with resend 0", function()
    local e = sent(3, { resend = 0 })
    e:input(ack(1, 0), 40 * MS)
    assert.same({}, e:flush(e:stats().rto_us - 1))
  end)
end)

describe("an una that falls back", function()
  it("does not update the window, which is just as old", function()
    local e = sent(4)
    e:input(wire.segment(wire.WINS, { una = 3, wnd = 9 }), 10 * MS)
    e:input(wire.segment(wire.WINS, { una = 2, wnd = 1 }), 10 * MS)
    assert.equal(9, e:stats().rmt_wnd)
  end)
end)

describe("the time passed in", function()
  it("may go backwards without harm", function()
    local e = wire.engine { now = 1000 * MS }
    e:write("x")
    e:flush(1000 * MS)
    assert.same({}, e:flush(0))
    e:input(push(0), 0)
    assert.equal(1001 * MS, e:due(0))
    e:check()
  end)
end)

describe("a probe before anything was heard", function()
  it("sends the first segment again, which begins the conversation at a server", function()
    local e = sent(3)
    e:probe()
    assert.equal(100 * MS, e:due(100 * MS))
    local again = wire.segments(e:flush(100 * MS))
    assert.equal(1, #again)
    assert.equal(wire.PUSH, again[1].cmd)
    assert.equal(0, again[1].sn)
    e:check()
  end)

  it("adds nothing to the first transmission", function()
    local e = wire.engine()
    e:write "x"
    e:probe()
    local first = wire.segments(e:flush(0))
    assert.equal(1, #first)
    assert.equal(wire.PUSH, first[1].cmd)
    assert.is_true(e:due(0) > 0)
  end)
end)

describe("the answer to a probe", function()
  -- Two segments sent at 10 s; all round trips so far took 3 s, so the timeout is 9 s.
  local function engine(settings)
    local e = wire.engine(settings)
    e:write("x")
    e:flush(0)
    e:input(ack(0, 0, 1), 3000 * MS)
    e:write(("x"):rep(2 * e:mss()))
    assert.same({ 1, 2 }, wire.sns(e:flush(10000 * MS)))
    assert.is_true(e:stats().rto_us > 8000 * MS)
    return e
  end

  local function ask(e, now)
    e:probe()
    assert.equal(1, #wire.segments(e:flush(now), wire.WASK))
  end

  local function answer(e, now) e:input(wire.segment(wire.WINS, { una = 1 }), now) end

  for _, resend in ipairs { 2, 0 } do
    it("shows that what was sent before the probe is lost, with resend " .. resend, function()
      local e = engine { resend = resend }
      ask(e, 11000 * MS)
      assert.same({}, e:flush(14000 * MS - 1))
      answer(e, 14000 * MS)
      local due = e:due(14000 * MS)
      assert.is_true(due <= 14030 * MS)
      assert.same({ 1, 2 }, wire.sns(e:flush(due), wire.PUSH))
      assert.is_true(e:due(due) > 20000 * MS)
      e:check()
    end)
  end

  it("proves nothing about segments sent after the probe", function()
    local e = engine()
    ask(e, 11000 * MS)
    e:write("x")
    e:flush(11001 * MS)
    answer(e, 14000 * MS)
    assert.same({ 1, 2 }, wire.sns(e:flush(e:due(14000 * MS)), wire.PUSH))
  end)

  it("is not taken for that of a probe that left less than the shortest round trip ago", function()
    local e = engine { snd_wnd = 128 }
    ask(e, 11000 * MS)
    e:write("x")
    e:flush(12000 * MS)
    ask(e, 13000 * MS)
    answer(e, 15000 * MS)
    assert.same({ 1, 2 }, wire.sns(e:flush(e:due(15000 * MS)), wire.PUSH))
    answer(e, 16000 * MS)
    assert.same({ 3 }, wire.sns(e:flush(e:due(16000 * MS)), wire.PUSH))
  end)

  it("proves nothing if later probes have pushed out the one it answers", function()
    local e = engine()
    for i = 0, 5 do ask(e, (11000 + i) * MS) end
    e:write("x")
    e:flush(11010 * MS)
    for i = 0, 3 do ask(e, (13000 + i) * MS) end
    answer(e, 14000 * MS)
    assert.is_true(e:due(14000 * MS) > 18000 * MS)
  end)

  it("proves no loss if no probe was sent", function()
    local e = engine()
    answer(e, 14000 * MS)
    assert.is_true(e:due(14000 * MS) > 18000 * MS)
  end)

  it("proves no loss if its una fell back", function()
    local e = engine()
    ask(e, 11000 * MS)
    e:input(wire.segment(wire.WINS, { una = 0 }), 14000 * MS)
    assert.is_true(e:due(14000 * MS) > 18000 * MS)
  end)
end)
