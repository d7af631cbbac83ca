-- How a kcptun peer that has restarted is recognised: by an una that fell back to 0, and by data that the peer we knew cannot send.
local wire = require "kcp_wire"

local MS = 1000

-- An engine that has sent n segments at time 0.
local function sent(n)
  local e = wire.engine {}
  e:write(("x"):rep(n * e:mss()))
  assert(#wire.segments(e:flush(0)) == n)
  return e
end

describe("an una that falls back", function()
  local function told(una) return wire.segment(wire.WINS, { una = una, wnd = 9 }) end

  it("to 0 is counted in a row, with its beginning, until one fits again", function()
    local e = sent(4)
    e:input(told(3), 10 * MS)
    e:input(told(0), 20 * MS)
    e:input(told(0), 30 * MS)
    assert.same({ 2, 20 * MS }, { e:restart().behind, e:restart().behind_since })
    e:input(told(3), 40 * MS)
    assert.same({ 0, 0 }, { e:restart().behind, e:restart().behind_since })
  end)

  it("to any other value is only late, however often, and a restarted peer is still found", function()
    local e = sent(4)
    e:input(told(3), 10 * MS)
    for at = 20, 60, 10 do e:input(told(2), at * MS) end
    assert.equal(0, e:restart().behind)
    e:input(told(0), 70 * MS)
    e:input(told(1), 80 * MS)
    e:input(told(0), 90 * MS)
    assert.same({ 2, 70 * MS }, { e:restart().behind, e:restart().behind_since })
  end)

  it("is not counted from recovered packets, which are late by nature", function()
    local e = sent(4)
    e:input(told(3), 10 * MS)
    e:input(told(0), 20 * MS, "recovered")
    assert.equal(0, e:restart().behind)
  end)

  it("shows a restarted peer even when numbers are past the middle of their range", function()
    local e = wire.engine { start_snd = 0x90000000 }
    e:write("x")
    e:flush(0)
    e:input(told(0x90000001), 10 * MS)
    e:input(told(0), 20 * MS)
    assert.equal(1, e:restart().behind)
  end)

  it("is counted before the peer has acknowledged anything only if it says that it does not know the conversation", function()
    local e = sent(1)
    e:input(told(0), 10 * MS)
    assert.equal(0, e:restart().behind)
    e:input(wire.segment(wire.WINS, { sn = 0x656e6f67 }), 20 * MS)
    e:input(wire.segment(wire.WINS, { sn = 0x656e6f67 }), 30 * MS)
    assert.same({ 2, 20 * MS }, { e:restart().behind, e:restart().behind_since })
    e:input(told(1), 40 * MS)
    assert.equal(0, e:restart().behind)
  end)

  it("is not blamed on a peer that has outlived our own restart", function()
    local e = sent(1)
    e:input(told(5000), 10 * MS)
    assert.equal(0, e:restart().behind)
  end)
end)

describe("a PUSH that the peer cannot have sent", function()
  -- Two segments of the peer's have come; then ours left with una 2, and the peer says that it has it.
  local function knowing()
    local e = wire.engine {}
    e:input(wire.segment(wire.PUSH, { sn = 0, data = "a" }), 0)
    e:input(wire.segment(wire.PUSH, { sn = 1, data = "b" }), 0)
    e:write("x")
    e:flush(10 * MS)
    e:input(wire.segment(wire.WINS, { una = 1 }), 20 * MS)
    return e
  end

  it("shows that it has restarted, though its una fits", function()
    local e = knowing()
    e:input(wire.segment(wire.PUSH, { sn = 0, una = 1, data = "?" }), 30 * MS)
    assert.equal(1, e:restart().contradictions)
    assert.equal(0, e:restart().behind)
  end)

  it("is not one that it sent before it knew", function()
    local e = knowing()
    e:input(wire.segment(wire.PUSH, { sn = 1, una = 0, data = "b" }), 30 * MS)
    assert.equal(0, e:restart().contradictions)
  end)

  it("is not one that FEC rebuilt", function()
    local e = knowing()
    e:input(wire.segment(wire.PUSH, { sn = 0, una = 1, data = "?" }), 30 * MS, "recovered")
    assert.equal(0, e:restart().contradictions)
  end)

  it("is not what comes next", function()
    local e = knowing()
    e:input(wire.segment(wire.PUSH, { sn = 2, una = 1, data = "c" }), 30 * MS)
    assert.equal(0, e:restart().contradictions)
  end)
end)
