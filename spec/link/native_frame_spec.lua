-- Frames of kt's own wire (docs/wire.md, section 6), byte by byte.
local frame = require "spec_native_frame"

local function v(n) return frame.varint(n) end
local function text(s) return v(#s) .. s end
local HIGHEST = (1 << 62) - 1

-- One of each frame: its bytes, and what they say.
local samples = {
  { "\x00\x00\x00", "PADDING n=3" },
  { "\x01", "PING" },
  { "\x02\x07" .. v(1000) .. v(3) .. v(0) .. v(4), "ACK path=7 delay=24 first=996 last=1000" },
  { "\x02\x00" .. v(20) .. v(0) .. v(2) .. v(0) .. v(0) .. v(3) .. v(5) .. v(7),
    "ACK path=0 delay=0 first=20 last=20 first=15 last=18 first=1 last=8" },
  { "\x03\x01" .. v(32), "ACK_EVERY path=1 packets=32" },
  { "\x04" .. v(5) .. "\x03" .. v(256) .. "\x00" .. text "db:5432" .. text "10.0.0.1:9" .. text "",
    "OPEN id=5 priority=3 weight=256 flags=0 target=db:5432 client=10.0.0.1:9 name=" },
  { "\x08" .. v(1) .. v(16384) .. "hello", "DATA id=1 offset=16384 bytes=hello" },
  { "\x09" .. v(1) .. v(9), "DATA id=1 offset=9 last bytes=" },
  { "\x0a" .. v(1) .. v(0) .. text "hello", "DATA id=1 offset=0 bytes=hello" },
  { "\x0b" .. v(1) .. v(0) .. text "hello", "DATA id=1 offset=0 last bytes=hello" },
  { "\x0c" .. v(3) .. v(100) .. v(5) .. text "why", "RESET id=3 offset=100 code=5 text=why" },
  { "\x0d" .. v(3) .. v(6), "STOP id=3 taken=6" },
  { "\x10" .. v(HIGHEST), "MAX_DATA bytes=" .. HIGHEST },
  { "\x11" .. v(3) .. v(100) .. v(65536), "MAX_STREAM_DATA id=3 taken=100 window=65536" },
  { "\x12" .. v(1024), "MAX_STREAMS streams=1024" },
  { "\x13" .. v(0) .. v(65536), "BLOCKED id=0 offset=65536" },
  { "\x18" .. v(2) .. text "dns:53" .. text "c", "FLOW id=2 target=dns:53 client=c" },
  { "\x19" .. v(2) .. v(8), "FLOW_END id=2 code=8" },
  { "\x1a" .. v(2) .. v(77) .. "", "DATAGRAM id=2 sequence=77 bytes=" },
  { "\x1b" .. v(2) .. v(77) .. text "query", "DATAGRAM id=2 sequence=77 bytes=query" },
  { "\x20" .. v(500) .. v(0x2d) .. "\x02" .. text "shard", "PARITY first=500 members=45 index=2 shard=shard" },
  { "\x2812345678", "PATH_CHALLENGE bytes=12345678" },
  { "\x2912345678", "PATH_RESPONSE bytes=12345678" },
  { "\x30" .. v(9) .. text "replaced", "CLOSE code=9 text=replaced" },
}

local to_the_end = { ["\x08"] = true, ["\x09"] = true, ["\x1a"] = true }

describe("a frame", function()
  for _, sample in ipairs(samples) do
    local bytes, says = sample[1], sample[2]
    it(("is read and written as specified: %s 0x%02x"):format(says:match "^%S+", bytes:byte()), function()
      assert.same({ says, #bytes }, { frame.read(bytes) })
      assert.equal(bytes, frame.again(bytes))
      if not to_the_end[bytes:sub(1, 1)] then assert.equal(#bytes, select(2, frame.read(bytes .. "\x01"))) end
    end)

    it(("is refused wherever it is cut short: %s 0x%02x"):format(says:match "^%S+", bytes:byte()), function()
      for n = 1, #bytes - 1 do
        local read, err = frame.read(bytes:sub(1, n))
        if read then
          assert.is_true(bytes:byte() == 0 or to_the_end[bytes:sub(1, 1)], "accepted " .. read)
        else
          assert.matches("^frame " .. says:match "^%S+", err)
        end
        assert.is_nil(frame.cut(bytes, n))
      end
    end)
  end

  it("is read and written as in the examples of docs/wire.md", function()
    local examples = 0
    for line in io.lines "docs/wire.md" do
      local hex, says = line:match "^| `(%x+)` | (%u+ %l+=.*) |$"
      if hex then
        local bytes = hex:gsub("%x%x", function(x) return string.char(tonumber(x, 16)) end)
        assert.same({ says, #bytes }, { frame.read(bytes) })
        assert.equal(bytes, frame.again(bytes))
        examples = examples + 1
      end
    end
    assert.equal(6, examples)
  end)

  it("of an unknown type is refused", function()
    for type = 0, 255 do
      local read, err = frame.read(string.char(type) .. ("\x01"):rep(100))
      if not read and err:find "unknown" then
        assert.equal(("frame unknown (0x%02x): unknown type"):format(type), err)
      end
    end
    assert.matches("unknown type", select(2, frame.read "\x05"))
    assert.matches("unknown type", select(2, frame.read "\x40\x01")) -- PING, as a longer varint
  end)

  it("must be there", function() assert.same({ nil, "packet without a frame" }, { frame.read "" }) end)

  local broken = {
    { "\x02\x08" .. v(9) .. v(0) .. v(0) .. v(0), "frame ACK (0x02): path above 7" },
    { "\x02\x00" .. v(9) .. v(0) .. v(0) .. v(10), "frame ACK (0x02): range below packet number 0" },
    { "\x02\x00" .. v(9) .. v(0) .. v(1) .. v(0) .. v(8) .. v(0), "frame ACK (0x02): range below packet number 0" },
    { "\x02\x00" .. v(9) .. v(0) .. v(64) .. v(0), "frame ACK (0x02): too many ranges" },
    { "\x03\x00" .. v(0), "frame ACK_EVERY (0x03): packets outside 1..32" },
    { "\x03\x00" .. v(33), "frame ACK_EVERY (0x03): packets outside 1..32" },
    { "\x04" .. v(1) .. "\x08" .. v(16) .. "\x00\x00\x00\x00", "frame OPEN (0x04): priority above 7" },
    { "\x04" .. v(1) .. "\x03" .. v(257) .. "\x00\x00\x00\x00", "frame OPEN (0x04): weight outside 1..256" },
    { "\x04" .. v(1) .. "\x03" .. v(1) .. "\x00" .. text(("x"):rep(256)), "frame OPEN (0x04): text too long" },
    { "\x0a" .. v(1) .. v(0) .. v(0), "frame DATA (0x0a): empty, and not the last" },
    { "\x0a" .. v(1) .. v(HIGHEST) .. text "x", "frame DATA (0x0a): ends above the highest offset" },
    { "\x0a" .. v(1) .. v(0) .. v(HIGHEST) .. "x", "frame DATA (0x0a): cut short" },
    { "\x0c" .. v(1) .. v(0) .. v(0) .. text(("x"):rep(128)), "frame RESET (0x0c): text too long" },
    { "\x11" .. v(1) .. v(1) .. v(HIGHEST), "frame MAX_STREAM_DATA (0x11): ends above the highest offset" },
    { "\x12" .. v(HIGHEST), "frame MAX_STREAMS (0x12): more streams than ids" },
    { "\x20" .. v(0) .. v(2) .. "\x00" .. text "abc", "frame PARITY (0x20): its first packet is not a member" },
    { "\x20" .. v(0) .. v(1) .. "\x10" .. text "abc", "frame PARITY (0x20): more than 16 parity shards" },
    { "\x20" .. v(HIGHEST - 61) .. v(1) .. "\x00" .. text "abc", "frame PARITY (0x20): ends above the highest packet number" },
    { "\x20" .. v(0) .. v(1) .. "\x00" .. text "ab", "frame PARITY (0x20): shard without frames" },
    { "\x30" .. v(0) .. text(("x"):rep(201)), "frame CLOSE (0x30): text too long" },
  }
  for _, case in ipairs(broken) do
    it("is refused with its name and the rule: " .. case[2], function()
      assert.same({ nil, case[2] }, { frame.read(case[1]) })
    end)
  end
end)

describe("an ACK frame", function()
  it("holds up to 64 ranges", function()
    local bytes = "\x02\x00" .. v(1000) .. v(0) .. v(63) .. v(0) .. (v(0) .. v(0)):rep(63)
    assert.matches("first=874 last=874$", (frame.read(bytes)))
    assert.equal(bytes, frame.again(bytes))
    assert.is_nil(frame.cut(bytes, #bytes - 1))
  end)
end)

describe("the header of a DATA frame", function()
  it("fits exactly with the longest payload, whatever the room", function()
    for room = 1, 300 do
      local len = frame.fits(room, 1, 100)
      local function header(n) return frame.header { id = 1, offset = 100, len = n, room = room } end
      if len > 0 then
        assert.is_true(#header(len) + len <= room)
        assert.equal("DATA id=1 offset=100 bytes=" .. ("x"):rep(len), (frame.read(header(len) .. ("x"):rep(len))))
      end
      assert.is_nil(header(len + 1))
    end
  end)
end)

describe("a varint", function()
  it("has the examples of RFC 9000, appendix A.1", function()
    local examples = { ["\xc2\x19\x7c\x5e\xff\x14\xe8\x8c"] = 151288809941952652, ["\x9d\x7f\x3e\x7d"] = 494878333,
      ["\x7b\xbd"] = 15293, ["\x25"] = 37 }
    for bytes, value in pairs(examples) do
      assert.same({ value, #bytes }, { frame.varint(bytes) })
      assert.equal(bytes, frame.varint(value))
      assert.is_nil(frame.varint(bytes:sub(1, -2)))
    end
    assert.same({ 37, 2 }, { frame.varint "\x40\x25" })
  end)
end)
