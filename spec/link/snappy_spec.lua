-- The snappy framing format as kcptun uses it (docs/wire-kcptun.md, section 8; vectors: 15.7).
local bytes = require "bytes"
local snappy = require "spec_snappy"

local generator, hex, unhex = bytes.generator, bytes.hex, bytes.unhex
local IDENTIFIER = "\xff\6\0\0sNaPpY"
local CHUNK = 65536

local function noise(rng, n)
  local t = {}
  for i = 1, n // 4 + 1 do t[i] = string.pack("<I4", rng(0x7fffffff)) end
  return table.concat(t):sub(1, n)
end

-- Compresses well, but not to nothing.
local function text(rng, n)
  local words, t, len = {"stream", "link", "pool", "window", "segment", "una", " ", "\n"}, {}, 0
  while len < n do
    t[#t + 1] = words[rng(#words)]
    len = len + #t[#t]
  end
  return table.concat(t):sub(1, n)
end

local function chunk(type, body) return string.pack("<BI3", type, #body) .. body end

local function stored(s) return chunk(1, string.pack("<I4", snappy.crc(s)) .. s) end

local function compressed(s, claim) return chunk(0, string.pack("<I4", snappy.crc(s)) .. (claim or snappy.compress(s))) end

-- Decodes all of wire, fed in pieces of the given size; returns the bytes, or nil and the reason.
local function decode(decoder, wire, piece)
  local out, at = {}, 1
  piece = piece or #wire
  while at <= #wire do
    local used, code, sentence = decoder:feed(wire:sub(at, at + piece - 1))
    if code then
      assert.equal("protocol", code)
      return nil, sentence
    end
    at = at + used
    local got = decoder:take()
    assert.is_true(used > 0 or #got > 0, "no progress")
    out[#out + 1] = got
  end
  return table.concat(out)
end

local function refused(wire, pattern)
  for _, piece in ipairs {#wire, 1, 7} do
    local d = snappy.decoder()
    local got, reason = decode(d, wire, piece)
    assert.is_nil(got)
    assert.matches(pattern, reason)
    -- and stays dead
    local used, code = d:feed(IDENTIFIER)
    assert.same({0, "protocol"}, {used, code})
    assert.equal("", d:take())
    d:close()
  end
end

-- The output of the real encoder, write by write, for these smux frames.
local vector = {
  {wire = "ff060000734e61507059 010c00004439ac2f 0100000003000000", frame = "0100000003000000"},
  {wire = "0111000028beb005 010205000300000068656c6c6f", frame = "010205000300000068656c6c6f"},
  {wire = "001100008927a6324814010240000300ee01000901", frame = "0102400003000000" .. ("00"):rep(64)},
  {wire = "010c000042893c77 0101000003000000", frame = "0101000003000000"},
}

describe("the snappy decoder", function()
  it("decodes what the real encoder wrote, wherever it is split", function()
    local wire, frames = {}, {}
    for i, v in ipairs(vector) do wire[i], frames[i] = unhex(v.wire), unhex(v.frame) end
    wire, frames = table.concat(wire), table.concat(frames)
    for piece = 1, #wire do
      assert.equal(hex(frames), hex(decode(snappy.decoder(), wire, piece)))
    end
    for at = 1, #wire - 1 do
      local d = snappy.decoder()
      local both = decode(d, wire:sub(1, at)) .. decode(d, wire:sub(at + 1))
      assert.equal(hex(frames), hex(both))
    end
  end)

  it("decodes a stored chunk of smux v2", function()
    assert.equal("020205000300000068656c6c6f",
      hex(decode(snappy.decoder(), IDENTIFIER .. unhex "01110000945cf694020205000300000068656c6c6f")))
  end)

  it("accepts no more input while decoded bytes wait", function()
    local d = snappy.decoder()
    local wire = IDENTIFIER .. stored "first" .. stored "second"
    local used = d:feed(wire)
    assert.equal(#IDENTIFIER + 8 + 5, used)
    assert.equal(0, (d:feed(wire:sub(used + 1))))
    assert.equal("fir", d:take(3))
    assert.equal(0, (d:feed(wire:sub(used + 1))))
    assert.equal("st", d:take())
    assert.equal(8 + 6, (d:feed(wire:sub(used + 1))))
    assert.equal("second", d:take())
    assert.equal("", d:take())
  end)

  it("takes chunks of the largest size, stored and compressed", function()
    local rng = generator(1)
    local a, b, c = noise(rng, CHUNK), text(rng, CHUNK), noise(rng, CHUNK)
    local wire = IDENTIFIER .. stored(a) .. compressed(b) .. compressed(c)
    assert.is_true(#snappy.compress(c) > CHUNK) -- a block may be longer than what it holds
    assert.is_true(decode(snappy.decoder(), wire, 1400) == a .. b .. c)
  end)

  it("accepts empty chunks and a repeated identifier", function()
    local wire = IDENTIFIER .. stored "" .. IDENTIFIER .. stored "x" .. IDENTIFIER .. IDENTIFIER .. compressed ""
      .. stored "y"
    for piece = 1, 12 do assert.equal("xy", decode(snappy.decoder(), wire, piece)) end
  end)

  it("skips padding and reserved skippable chunks of any length", function()
    for _, type in ipairs {0x80, 0x81, 0xa0, 0xfd, 0xfe} do
      local wire = IDENTIFIER .. chunk(type, "") .. chunk(type, "abc") .. stored "x" .. chunk(type, ("z"):rep(100000))
        .. stored "y"
      for _, piece in ipairs {1400, 97, #wire} do assert.equal("xy", decode(snappy.decoder(), wire, piece)) end
    end
  end)

  it("refuses every reserved unskippable type", function()
    for type = 0x02, 0x7f do refused(IDENTIFIER .. chunk(type, "abcdefgh"), "unknown chunk type 0x") end
  end)

  it("refuses a stream that does not begin with the identifier", function()
    refused(stored "hello", "does not begin with its identifier")
    refused(compressed(("x"):rep(100)), "does not begin with its identifier")
    refused(chunk(0xfe, "abc") .. IDENTIFIER, "does not begin with its identifier")
    refused("\1\0\0\0\3\0\0\0", "does not begin with its identifier") -- smux, bare
  end)

  it("refuses a wrong identifier, at the start and later", function()
    refused("\xff\6\0\0sNaPpy", "wrong stream identifier")
    refused("\xff\5\0\0sNaPp", "identifier of 6 bytes, got 5")
    refused("\xff\7\0\0sNaPpYY", "identifier of 6 bytes, got 7")
    refused("\xff\xff\xff\xff", "identifier of 6 bytes, got 16777215")
    refused(IDENTIFIER .. stored "x" .. "\xff\6\0\0SnApPy", "wrong stream identifier")
  end)

  it("refuses a chunk with a wrong checksum", function()
    for _, make in ipairs {stored, compressed} do
      local good = make(("hello "):rep(20))
      for bit = 0, 31 do
        local at = 5 + bit // 8
        local bad = good:sub(1, at - 1) .. string.char(good:byte(at) ~ 1 << bit % 8) .. good:sub(at + 1)
        refused(IDENTIFIER .. bad, "wrong checksum")
      end
    end
    local good = stored "hello"
    refused(IDENTIFIER .. good:sub(1, -2) .. "O", "wrong checksum")
  end)

  it("refuses lengths no chunk can have, before the body has come", function()
    refused(IDENTIFIER .. "\0\3\0\0", "chunk of 3 bytes")
    refused(IDENTIFIER .. "\1\0\0\0", "chunk of 0 bytes")
    refused(IDENTIFIER .. string.pack("<BI3", 1, 4 + CHUNK + 1), "chunk of 65541 bytes")
    refused(IDENTIFIER .. string.pack("<BI3", 0, 4 + 76490 + 1), "chunk of 76495 bytes")
    refused(IDENTIFIER .. "\0\xff\xff\xff", "chunk of 16777215 bytes")
  end)

  it("refuses a block that claims too much, before decompressing it", function()
    refused(IDENTIFIER .. compressed(("x"):rep(CHUNK + 1)), "claims 65537 bytes")
    refused(IDENTIFIER .. compressed("", "\xff\xff\xff\xff\x0f" .. ("\xfe\1\0"):rep(1000)), "claims 4294967295 bytes")
    refused(IDENTIFIER .. compressed("", unhex "808004"), "corrupt block") -- claims 65536 and holds nothing
  end)

  it("refuses corrupt blocks", function()
    refused(IDENTIFIER .. compressed("", ""), "corrupt block")
    refused(IDENTIFIER .. compressed("", "\xff\xff\xff\xff\xff\xff"), "corrupt block") -- an endless length
    refused(IDENTIFIER .. compressed("", "\5\1\1"), "corrupt block") -- a copy from before the start
    refused(IDENTIFIER .. compressed("", "\5\16ab"), "corrupt block") -- a literal cut short
    refused(IDENTIFIER .. compressed("", snappy.compress(("x"):rep(100)) .. "\0y"), "corrupt block") -- more than claimed
    local block = snappy.compress(("hello world "):rep(100))
    for n = 1, #block - 1 do
      local got = decode(snappy.decoder(), IDENTIFIER .. compressed("", block:sub(1, n)))
      assert.is_nil(got)
    end
  end)

  it("delivers what came before the fault", function()
    local d = snappy.decoder()
    local wire = IDENTIFIER .. stored "good" .. "\x02\0\0\0"
    local used = d:feed(wire)
    assert.equal("good", d:take())
    local _, code = d:feed(wire:sub(used + 1))
    assert.equal("protocol", code)
  end)
end)

describe("the snappy encoder", function()
  it("writes the real encoder's stored chunks byte for byte", function()
    local e = snappy.encoder()
    for i, v in ipairs(vector) do
      local wire = e:encode(unhex(v.frame))
      if i ~= 3 then assert.equal(hex(unhex(v.wire)), hex(wire)) end
    end
  end)

  it("compresses the frame that the real encoder compresses, at least as far", function()
    local wire = snappy.encoder():encode(unhex(vector[3].frame)):sub(#IDENTIFIER + 1)
    assert.equal(0, wire:byte(1))
    assert.is_true(#wire <= #unhex(vector[3].wire))
    assert.equal(vector[3].frame, hex(decode(snappy.decoder(), IDENTIFIER .. wire)))
  end)

  it("sends the identifier once, with the first bytes", function()
    local e = snappy.encoder()
    assert.equal(IDENTIFIER .. stored "a", e:encode "a")
    assert.equal(stored "b", e:encode "b")
  end)

  it("makes one chunk of a write of up to 65536 bytes, and two beyond", function()
    local function types(wire)
      local list, at = {}, 1
      while at <= #wire do
        local type, len = string.unpack("<BI3", wire, at)
        list[#list + 1] = type
        at = at + 4 + len
      end
      return list
    end
    local e = snappy.encoder()
    assert.same({0xff, 0}, types(e:encode(("x"):rep(CHUNK))))
    assert.same({0, 1}, types(e:encode(("x"):rep(CHUNK + 1))))
    assert.same({0, 0}, types(e:encode(("x"):rep(2 * CHUNK))))
  end)

  it("stores what does not compress by an eighth", function()
    local rng = generator(2)
    local e = snappy.encoder()
    e:encode "x"
    local random = noise(rng, 1000)
    assert.equal(stored(random), e:encode(random))
    -- half noise, half zeros: compresses by nearly a half
    assert.equal(0, e:encode(random .. ("\0"):rep(1000)):byte(1))
    -- noise with a tenth of zeros does not save enough
    local little = noise(rng, 900) .. ("\0"):rep(100)
    assert.is_true(#snappy.compress(little) < 1000)
    assert.equal(stored(little), e:encode(little))
  end)

  it("adds no more than its documented overhead to a write that does not compress", function()
    local rng = generator(3)
    for _, n in ipairs {1, 16, 17, 65535, 65536, 65537, 131072} do
      local wire = snappy.encoder():encode(noise(rng, n))
      assert.is_true(#wire <= n + 10 + 2 * 8)
    end
  end)

  it("notices in time that a stream has begun to compress again", function()
    local rng = generator(4)
    local e = snappy.encoder()
    for _ = 1, 100 do e:encode(noise(rng, 500)) end
    local untried = 0
    while e:encode(("x"):rep(500)):byte(1) == 1 do
      untried = untried + 1
      assert.is_true(untried < 16)
    end
    for _ = 1, 20 do assert.equal(0, e:encode(("x"):rep(500)):byte(1)) end
  end)

  it("writes streams that our decoder reads, for any sizes and split anywhere", function()
    for seed = 1, 3 do
      local rng = generator(seed)
      local e, d = snappy.encoder(), snappy.decoder()
      local sent, wire = {}, {}
      for i = 1, 60 do
        local n = rng(10) == 1 and rng(2 * CHUNK) or rng(3000)
        sent[i] = rng(2) == 1 and text(rng, n) or noise(rng, n)
        wire[i] = e:encode(sent[i])
      end
      sent, wire = table.concat(sent), table.concat(wire)
      local got, at = {}, 1
      while at <= #wire do
        local n = rng(5000)
        got[#got + 1] = decode(d, wire:sub(at, at + n - 1), rng(1500))
        at = at + n
      end
      assert.is_true(table.concat(got) == sent)
    end
  end)
end)

describe("the encoder without memory", function()
  -- In a process of its own, whose address space may grow by 2 MiB. Pieces of 100 kB fill that, and one of them is
  -- given back: room for the output, and none for libsnappy.
  local CHILD = [[
    local bytes = require "bytes"
local snappy = require "spec_snappy"
    local encoder, data = snappy.encoder(), ("stream link "):rep(5461)
    local pid = io.open "/proc/self/stat":read "n"
    local pages = io.open("/proc/self/statm"):read "n"
    os.execute(("prlimit --pid %d --as=%d"):format(pid, pages * 4096 + (2 << 20)))
    collectgarbage "stop"
    local kept, ok, piece = {}, true, nil
    while ok do
      ok, piece = pcall(string.rep, "x", 100000)
      kept[#kept + 1] = ok and piece or nil
    end
    piece = nil
    kept[#kept // 2] = false
    collectgarbage()
    local stored = encoder:encode(data)
    kept = nil
    collectgarbage()
    local compressed = encoder:encode(data)
    print(stored:byte(11), stored:sub(-#data) == data, compressed:byte(1), #compressed < #data // 2)]]

  -- The sanitizers need terabytes of address space.
  local run = os.getenv "KT_SPEC_LIGHT" == "1" and pending or it

  run("stores what it cannot compress, and compresses again once it can", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(CHILD)
    file:close()
    local lua = (os.getenv "KT_BUILD" or "build") .. "/spec/spec-lua"
    local pipe = io.popen(("ulimit -c 0; %s %s 2>&1"):format(lua, path))
    local said = pipe:read "a"
    local _, how, code = pipe:close()
    os.remove(path)
    assert.equal("1\ttrue\t0\ttrue\n", said)
    assert.same({ "exit", 0 }, { how, code })
  end)
end)
