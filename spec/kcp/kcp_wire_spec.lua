-- Packets that the KCP engine writes and reads, byte by byte.
local bytes = require "bytes"
local spec_kcp = require "spec_kcp"
local wire = require "kcp_wire"

local MS = 1000

local function cmds(packet)
  local list = {}
  for _, s in ipairs(wire.parse(packet)) do list[#list + 1] = s.cmd end
  return list
end

describe("KCP on the wire", function()
  it("writes the segments that kcp-go writes (REAL, 15.5)", function()
    local e = wire.engine { rcv_wnd = 512 }
    assert.equal(5, e:write("hello"))
    local first = e:flush(20 * MS)
    assert.equal(6, e:write(" world"))
    local second = e:flush(20 * MS)
    assert.same({ bytes.unhex "44332211 51 00 0002 14000000 00000000 00000000 05000000 68656c6c6f" }, first)
    assert.same({ bytes.unhex "44332211 51 00 0002 14000000 01000000 00000000 06000000 20776f726c64" }, second)
  end)

  it("acknowledges, asks for the window and advertises it as kcp-go does (RE, 15.5)", function()
    local e = wire.engine { rcv_wnd = 512 }
    local function push(sn)
      assert.truthy(e:input(wire.segment(wire.PUSH, { sn = sn, ts = 1000, data = "x" }), 0))
      assert.equal("x", e:read())
    end
    push(0)
    assert.same({ bytes.unhex "4433221152000002e8030000000000000100000000000000" }, e:flush(0))
    for sn = 1, 6 do push(sn) end
    e:flush(0)
    e:probe()
    assert.same({ bytes.unhex "443322115300000200000000000000000700000000000000" }, e:flush(0))
    e:input(wire.segment(wire.WASK), 0)
    assert.same({ bytes.unhex "443322115400000200000000000000000700000000000000" }, e:flush(0))
  end)

  it("puts acknowledgements first, then the question, the answer and the data, in one packet", function()
    local e = wire.engine()
    e:input(wire.segment(wire.PUSH, { sn = 0, data = "x" }), 0)
    e:input(wire.segment(wire.WASK), 0)
    e:probe()
    e:write("data")
    local packets = e:flush(0)
    assert.equal(1, #packets)
    assert.same({ wire.ACK, wire.WASK, wire.WINS, wire.PUSH }, cmds(packets[1]))
  end)

  it("packs segments up to the mtu and no further", function()
    for mtu, lengths in pairs { [95] = { 72, 72, 72 }, [96] = { 96, 96, 24 }, [119] = { 96, 96, 24 } } do
      local e = wire.engine { mtu = mtu }
      for sn = 1, 9 do e:input(wire.segment(wire.PUSH, { sn = sn, data = "x" }), 0) end
      local packets = e:flush(0)
      assert.same(lengths, { #packets[1], #packets[2], #packets[3] })
      assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9 }, wire.sns(packets, wire.ACK))
    end
  end)

  it("fills the last unsent segment before it begins another", function()
    local e = wire.engine { mtu = 124 }
    assert.equal(100, e:mss())
    for _ = 1, 25 do assert.equal(7, e:write("1234567")) end
    local segments = wire.segments(e:flush(0))
    assert.same({ 100, 75 }, { #segments[1].data, #segments[2].data })
    assert.equal(("1234567"):rep(25), segments[1].data .. segments[2].data)
  end)

  it("does not add to a segment that was sent", function()
    local e = wire.engine()
    e:write("one")
    e:flush(0)
    e:write("two")
    local segments = wire.segments(e:flush(0))
    assert.same({ 1, "two" }, { segments[1].sn, segments[1].data })
  end)

  it("ignores an empty write and never sends an empty PUSH", function()
    local e = wire.engine()
    assert.equal(0, e:write(""))
    e:write("a")
    assert.equal(0, e:write(""))
    local segments = wire.segments(e:flush(0))
    assert.equal(1, #segments)
    assert.equal("a", segments[1].data)
    assert.equal(0, e:write(""))
    assert.same({}, e:flush(0))
  end)

  it("sends many packets in batches the owner was promised", function()
    local e = wire.engine { snd_wnd = 200, mtu = 50 }
    e:input(wire.segment(wire.WINS, { wnd = 500 }), 0)
    e:write(("x"):rep(200 * e:mss()))
    assert.equal(200, #e:flush(0))
  end)

  it("reads conv and sn off a packet", function()
    assert.same({ 7, 9 }, { spec_kcp.peek(wire.segment(wire.PUSH, { conv = 7, sn = 9, data = "x" })) })
  end)

  it("uses the highest una of a packet, in any order", function()
    local e = wire.engine()
    e:write(("x"):rep(3 * e:mss()))
    e:flush(0)
    e:input(wire.segment(wire.ACK, { sn = 2, una = 1 }) .. wire.segment(wire.WINS, { una = 2 }) ..
      wire.segment(wire.WINS, { una = 1 }), 10 * MS)
    assert.equal(1, e:stats().inflight)
    assert.equal(0, e:blocks())
  end)

  describe("given what no honest peer sends", function()
    local good = wire.segment(wire.PUSH, { sn = 0, data = "good" })
    local bad = {
      ["a foreign conv"] = wire.segment(wire.PUSH, { conv = 1, sn = 1, data = "bad" }),
      ["an unknown command below"] = wire.segment(80, { sn = 1, data = "bad" }),
      ["an unknown command above"] = wire.segment(85, { sn = 1, data = "bad" }),
      ["a length past the end"] = wire.segment(wire.PUSH, { sn = 1, data = "bad", len = 33 }),
      ["a length that is negative as a signed number"] = wire.segment(wire.PUSH, { sn = 1, data = "bad", len = 0xffffffff }),
      ["a payload larger than a block"] = wire.segment(wire.PUSH, { sn = 1, data = ("x"):rep(1477) }),
    }
    for name, segment in pairs(bad) do
      it("refuses " .. name .. " and keeps what came before it", function()
        local e = wire.engine()
        local ok, err = e:input(good .. segment .. wire.segment(wire.PUSH, { sn = 1, data = "after" }), 0) -- 29 bytes
        assert.same({ false, "protocol" }, { ok, err })
        assert.equal("good", e:read())
        assert.equal(1, e:stats().in_segs)
        e:check()
      end)
    end

    it("refuses a packet too short for a header", function()
      local e = wire.engine()
      for n = 0, 23 do assert.is_false((e:input(good:sub(1, n), 0))) end
      assert.equal(0, e:stats().in_segs)
    end)

    it("ignores a few bytes too many at the end, as kcp-go does", function()
      local e = wire.engine()
      assert.is_true((e:input(good .. ("x"):rep(23), 0)))
      assert.equal("good", e:read())
    end)

    it("ignores acknowledgements of what was not sent", function()
      local e = wire.engine()
      e:write("a")
      e:flush(0)
      e:input(wire.segment(wire.ACK, { sn = 1 }), 50 * MS)
      e:input(wire.segment(wire.ACK, { sn = 0x7fffffff }), 50 * MS)
      assert.is_true(e:unacked())
      assert.equal(0, e:stats().srtt_us)
      e:check()
    end)

    it("ignores an una beyond what was sent, and the window advertised with it, but answers", function()
      local e = wire.engine()
      e:write("a")
      e:flush(0)
      e:write("b")
      assert.is_true((e:input(wire.segment(wire.WASK, { una = 2, wnd = 9 }), 0)))
      assert.is_true(e:unacked())
      assert.equal(32, e:stats().rmt_wnd)
      assert.same({ 1 }, { #wire.segments(e:flush(0), wire.WINS) })
      e:check()
    end)

    it("ignores payload in a control segment", function()
      local e = wire.engine()
      assert.is_true((e:input(wire.segment(wire.ACK, { sn = 0, data = "junk" }) .. good, 0)))
      assert.equal("good", e:read())
    end)
  end)

  it("accepts segments longer than its own, as the peer chooses its own mtu", function()
    local e = wire.engine { mtu = 50 }
    e:input(wire.segment(wire.PUSH, { sn = 0, data = ("x"):rep(1476) }), 0)
    assert.equal(1476, #e:read())
  end)

  it("refuses settings out of range", function()
    for key, values in pairs {
      mtu = { 49, 1501 }, snd_wnd = { 0, 65536 }, rcv_wnd = { 0, 65536 }, interval_ms = { 9, 5001 }, block_size = { 1475 },
    } do
      for _, value in ipairs(values) do
        local e, err = spec_kcp.new { [key] = value }
        assert.is_nil(e)
        assert.equal("invalid", err)
      end
    end
  end)
end)
