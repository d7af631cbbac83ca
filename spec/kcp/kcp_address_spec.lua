-- How the KCP engine finds out where its peer is: challenges, echoes, and what fits a conversation.
local spec_kcp = require "spec_kcp"
local wire = require "kcp_wire"

local MS = 1000
local CONV, TS = 0x11223344, 0xdeadbeef

local function header(packet)
  local s = wire.parse(packet)[1]
  return s.cmd, s.frg, s.sn, s.ts, #s.data
end

--- Two engines between which `text` has passed from a to b, and b's acknowledgement has come back.
local function acquainted(text)
  local a, b = wire.engine(), wire.engine()
  a:write(text)
  for _, packet in ipairs(a:flush(0)) do b:input(packet, 0) end
  b:read()
  for _, packet in ipairs(b:flush(30 * MS)) do a:input(packet, 30 * MS) end
  return a, b
end

describe("a challenge", function()
  it("is the first segment while the peer holds nothing, so that it can be delivered on its own", function()
    local a, b = wire.engine(), wire.engine()
    a:write "hello"
    a:flush(0)
    local cmd, frg, sn, ts, len = header(a:challenge(TS))
    assert.same({ wire.PUSH, 0, 0, TS, 5 }, { cmd, frg, sn, ts, len })
    b:input(a:challenge(TS), 0)
    assert.equal("hello", b:read())
    assert.is_true(spec_kcp.echoes(b:flush(30 * MS)[1], CONV, TS, 0))
  end)

  it("is one byte of a segment that the peer holds, and is echoed without being read", function()
    local a, b = acquainted "hello"
    local packet = a:challenge(TS)
    local cmd, frg, sn, ts, len = header(packet)
    assert.same({ wire.PUSH, 255, 0, TS, 1 }, { cmd, frg, sn, ts, len })
    b:input(packet, 40 * MS)
    assert.equal("", b:read())
    assert.equal(40 * MS, b:due(40 * MS)) -- the answer does not wait
    assert.is_true(spec_kcp.echoes(b:flush(40 * MS)[1], CONV, TS, 0))
  end)

  it("is chosen by the peer's una, if that was sent", function()
    local a = wire.engine()
    a:write "hello"
    a:flush(0)
    assert.equal(255, select(2, header(a:challenge(TS, nil, 1))))
    assert.equal(0, select(2, header(a:challenge(TS, nil, 2))))
  end)

  it("does not look like a restart to the peer", function()
    local a, b = acquainted "hello"
    b:write "answer"
    for _, packet in ipairs(b:flush(40 * MS)) do a:input(packet, 40 * MS) end
    for _, packet in ipairs(a:flush(70 * MS)) do b:input(packet, 70 * MS) end
    b:input(a:challenge(TS), 80 * MS)
    assert.equal(0, b:restart().contradictions)
  end)

  it("does not exist before anything was sent, nor where it does not fit", function()
    local a = wire.engine()
    assert.is_nil(a:challenge(TS))
    a:write "hello"
    assert.is_nil(a:challenge(TS))
    a:flush(0)
    assert.is_nil(a:challenge(TS, 28))
    assert.equal(29, #a:challenge(TS, 29))
  end)
end)

describe("an echo", function()
  it("is an ACK with a ts in the range, which may wrap", function()
    local ack = wire.segment(wire.ACK, { sn = 3, ts = 5 })
    assert.is_true(spec_kcp.echoes(ack, CONV, 5, 0))
    assert.is_true(spec_kcp.echoes(ack, CONV, 0xfffffff0, 100))
    assert.is_false(spec_kcp.echoes(ack, CONV, 6, 100))
    assert.is_false(spec_kcp.echoes(ack, CONV, 0, 4))
    assert.is_false(spec_kcp.echoes(ack, CONV + 1, 5, 0))
    assert.is_false(spec_kcp.echoes(wire.segment(wire.PUSH, { ts = 5, data = "x" }), CONV, 5, 0))
  end)

  it("is found behind other segments, but not behind one with a wrong length", function()
    local ack = wire.segment(wire.ACK, { sn = 3, ts = 5 })
    local push = wire.segment(wire.PUSH, { sn = 0, data = "xyz" })
    assert.is_true(spec_kcp.echoes(push .. ack, CONV, 5, 0))
    assert.is_false(spec_kcp.echoes(push:sub(1, 20) .. ("<I4"):pack(500) .. push:sub(25) .. ack, CONV, 5, 0))
    assert.is_false(spec_kcp.echoes(ack:sub(1, 23), CONV, 5, 0))
  end)
end)

describe("a base for ts", function()
  it("shifts the ts that is sent without changing measured round trips", function()
    local a, b = wire.engine { ts_base = TS }, wire.engine()
    a:write "hello"
    local packets = a:flush(5000 * MS)
    assert.equal((TS + 5000) & 0xffffffff, select(4, header(packets[1])))
    b:input(packets[1], 5020 * MS)
    a:input(b:flush(5050 * MS)[1], 5070 * MS)
    assert.equal(70 * MS, a:stats().srtt_us)
  end)
end)

describe("a packet", function()
  it("fits if it acknowledges segments in flight and carries data within the window", function()
    local a = acquainted "hello"
    a:write "more"
    a:flush(50 * MS)
    for una = 1, 2 do assert.is_true(a:fits { una = una, sn = 0 }, una) end
    for _, una in ipairs { 0, 3, 0xffffffff } do assert.is_false(a:fits { una = una, sn = 0 }, una) end
    assert.is_true(a:fits { una = 1, sn = 511 })
    assert.is_false(a:fits { una = 1, sn = 512 })
    assert.is_true(a:fits { una = 1, sn = 70000, cmd = wire.WASK })
    assert.is_false(a:fits { una = 1, cmd = 80 })
    assert.is_false(a:fits { una = 1, conv = 9 })
  end)

  it("is news if it brings data or an acknowledgement for the first time", function()
    local a = wire.engine()
    a:write "hello"
    a:flush(0)
    local push = wire.segment(wire.PUSH, { sn = 0, data = "x" })
    a:input(push, 10 * MS)
    assert.equal(1, a:news())
    a:input(push, 20 * MS)
    assert.equal(1, a:news())
    local ack = wire.segment(wire.ACK, { sn = 0, ts = 0, una = 1 })
    a:input(ack, 30 * MS)
    assert.equal(2, a:news())
    a:input(ack, 40 * MS)
    a:input(wire.segment(wire.WASK, { una = 1 }), 50 * MS)
    assert.equal(2, a:news())
  end)
end)

describe("another path", function()
  it("gets everything in flight at once, and only once", function()
    local a = wire.engine()
    a:write(("x"):rep(5 * a:mss()))
    assert.equal(5, #wire.segments(a:flush(0)))
    a:path_changed()
    assert.equal(10 * MS, a:due(10 * MS))
    assert.equal(5, #wire.segments(a:flush(10 * MS)))
    assert.equal(0, #wire.segments(a:flush(11 * MS)))
    a:check()
  end)
end)

describe("padding", function()
  it("fills packets up with WINS until the peer sends data, and no further than allowed", function()
    local a, b = wire.engine { pad = 200 }, wire.engine()
    a:write "hello"
    local packets = a:flush(0)
    assert.equal(29 + 7 * 24, #packets[1])
    assert.equal(7, #wire.segments(packets, wire.WINS))
    b:input(packets[1], 0)
    assert.equal("hello", b:read())
    a:write "more"
    a:limit(nil, 60)
    assert.equal(28 + 24, #a:flush(10 * MS)[1])
    a:limit()
    a:input(b:flush(30 * MS)[1], 30 * MS)
    a:write "again"
    assert.equal(29 + 7 * 24, #a:flush(40 * MS)[1])
    b:write "hello"
    a:input(b:flush(50 * MS)[1], 50 * MS)
    a:write "again"
    assert.equal(0, #wire.segments(a:flush(60 * MS), wire.WINS))
  end)

  it("leaves long packets as they are", function()
    local a = wire.engine { pad = 200 }
    a:write(("x"):rep(a:mss()))
    assert.equal(24 + a:mss(), #a:flush(0)[1])
  end)
end)

describe("packets that may be short", function()
  it("stay within the limit; a segment that does not fit waits", function()
    local a = wire.engine()
    a:write "first"
    a:flush(0)
    a:write(("x"):rep(500))
    a:limit(nil, 100)
    a:input(wire.segment(wire.PUSH, { sn = 0, data = "x" }), 10 * MS)
    local packets = a:flush(250 * MS) -- the acknowledgement, and the first segment again
    assert.equal(1, #packets)
    assert.equal(24 + 24 + 5, #packets[1])
    assert.equal(250 * MS, a:due(250 * MS))
    a:limit()
    assert.equal(1, #wire.segments(a:flush(260 * MS), wire.PUSH))
    a:check()
  end)
end)
