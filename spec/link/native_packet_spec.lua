-- runtime/link/native/packet and keys: datagrams of kt's own wire (docs/wire.md sections 2 and 3).
local native = require "spec_native"
local crypto = require "spec_noise"
local bytes = require "bytes"
local hex, noise = bytes.hex, bytes.noise

local S, MINUTE = 1000000, 60000000
local LIGHT = os.getenv "KT_SPEC_LIGHT"
local methods = { "aes-256-gcm", "chacha20-poly1305" }
local keys = native.header_keys(noise(32, 1))
local mask_key, header_key = keys:sub(1, 16), keys:sub(17)
local secret = noise(32, 2)

local function ends(method)
  return native.tx(method or methods[1], keys, secret), native.rx(method or methods[1], keys, secret)
end

--- A header, masked for a datagram that ends with this tag.
local function masked(header, tag) return bytes.xor(header, crypto.mask(mask_key, tag)) end

--- A packet as someone makes it who has the header keys and knows a connection id, but no key of packets.
local function forged(first, number)
  local header = first .. native.cid(keys, secret, 0) .. ("<I4"):pack(number)
  local sealed = crypto.aead(methods[1], noise(32, 7)):seal(("<I4I8"):pack(0, number), header, "forged")
  return masked(header, sealed:sub(-16)) .. sealed
end

describe("a million replays, damaged copies and random datagrams", function()
  for _, method in ipairs(methods) do
    it("do not open, and change nothing that a receiver with " .. method .. " remembers", function()
      local tx, rx = ends(method)
      local packet = tx:seal(0, 0, noise(600, 9), 0)
      assert.equal(noise(600, 9), (rx:open(0, packet, 0)))
      local state = rx:state()
      assert.equal(0, rx:storm(0, packet, LIGHT and 10000 or 500000, 1))
      assert.equal(state, rx:state())
      assert.equal(noise(9, 1), (rx:open(0, tx:seal(0, 1, noise(9, 1), 1), 1)))
    end)
  end
end)

describe("a key", function()
  -- H(k, m) is BLAKE2b with 32 bytes, keyed with k.
  local function H(key, m) return crypto.hash(key, m, "") end

  it("of headers is made of the shared key and the server's public key", function()
    for _, server in ipairs { "", noise(32, 3) } do
      assert.equal(hex(H(noise(32, 1), "kt wire 1 mask" .. server):sub(1, 16) .. H(noise(32, 1), "kt wire 1 header" .. server)),
        hex(native.header_keys(noise(32, 1), server ~= "" and server or nil)))
    end
  end)

  it("of packets, and the next secret, are made of the secret of the epoch", function()
    assert.same({ H(secret, "kt wire 1 key"), H(secret, "kt wire 1 next") }, { native.packet_keys(secret) })
  end)

  it("makes a connection id for each path, which the header keys tell from a random one", function()
    for path = 0, 7 do
      local id = native.cid(keys, secret, path)
      local unique = H(secret, "kt wire 1 cid" .. string.char(path)):sub(1, 5)
      assert.equal(unique .. H(header_key, "kt wire 1 cid check" .. unique):sub(1, 3), id)
      assert.is_true(native.cid_check(keys, id))
      assert.is_false(native.cid_check(noise(48), id))
      for bit = 0, 63 do assert.is_false(native.cid_check(keys, bytes.flip(id, bit))) end
    end
  end)
end)

describe("a packet number", function()
  it("is completed to the nearest one to what is expected", function()
    assert.equal(0xa82f9b32, native.number(0xa82f30eb, 0xa82f9b32)) -- RFC 9000 A.3's, with all 32 bits
    local top = 1 << 32
    for _, case in ipairs {
      { 0, 0, 0 }, { 0, top - 1, top - 1 }, { 5, 3, 3 }, { top, 0, top }, { top, top - 1, top - 1 }, { top - 1, 0, top },
      { top + 10, top - 10, top - 10 }, { 3 * top + 7, 9, 3 * top + 9 }, { 3 * top - 2, 5, 3 * top + 5 },
      { top // 2, 0, top }, { top // 2 - 1, 0, 0 }, { top + top // 2, 1, top + 1 },
    } do
      assert.equal(case[3], native.number(case[1], case[2] & 0xffffffff))
    end
  end)
end)

for _, method in ipairs(methods) do
  describe("a data packet with " .. method, function()
    it("opens to the frames that were sealed, of every length", function()
      local tx, rx = ends(method)
      for n = 1, 1471, 7 do
        local frames = noise(n, n)
        local datagram = tx:seal(n % 8, n, frames, 0)
        assert.equal(n + 29, #datagram)
        assert.same({ frames, n }, { rx:open(n % 8, datagram, 0) })
      end
    end)

    it("has the layout of the specification", function()
      local tx = ends(method)
      local number = (5 << 32) + 0x01020304
      local datagram = tx:seal(3, number, "frames", 0)
      local header = "\0" .. native.cid(keys, secret, 3) .. "\4\3\2\1"
      local key = native.packet_keys(secret)
      local sealed = crypto.aead(method, key):seal(("<I4I8"):pack(3, number), header, "frames")
      assert.equal(hex(masked(header, sealed:sub(-16)) .. sealed), hex(datagram))
      assert.same({ kind = "data", phase = false, id = header:sub(2, 9), number = 0x01020304 }, native.peek(keys, datagram))
    end)
  end)
end

describe("a handshake datagram", function()
  it("has the layout of the specification", function()
    for kind, first in pairs { initiation = 0x40, response = 0x80, control = 0xc0 } do
      local header, body = string.char(first) .. noise(8, 4) .. "\0\0\0\0", noise(100, 5)
      local mac1 = crypto.hash(header_key, header, body):sub(1, 16)
      assert.equal(hex(masked(header, mac1) .. crypto.mask_stream(header_key, mac1, body) .. mac1), hex(native.wrap(keys, kind, noise(8, 4), body)))
    end
  end)

  it("is left as it came if a bit of it was changed", function()
    local datagram = native.wrap(keys, "initiation", noise(8, 4), noise(100, 5))
    assert.equal(noise(100, 5), (native.unwrap(keys, datagram)))
    for bit = 13 * 8, 113 * 8 - 1 do
      assert.same({ nil, "auth", true }, { native.unwrap(keys, bytes.flip(datagram, bit)) })
    end
  end)
end)

describe("a datagram", function()
  it("is not looked at below 30 bytes or above 1500", function()
    for n = 0, 29 do assert.same({ nil, "protocol" }, { native.peek(keys, noise(n)) }) end
    assert.same({ nil, "protocol" }, { native.peek(keys, noise(1501)) })
  end)

  it("has no field set that is always 0", function()
    local function datagram(header) return masked(header, noise(16, 9)) .. "x" .. noise(16, 9) end
    local rest = noise(8) .. "\0\0\0\0"
    for first, kind in pairs { [0x00] = "data", [0x20] = "data", [0x40] = "initiation", [0x80] = "response", [0xc0] = "control" } do
      assert.equal(kind, native.peek(keys, datagram(string.char(first) .. rest)).kind)
      for bit = 0, kind == "data" and 4 or 5 do
        assert.is_nil((native.peek(keys, datagram(string.char(first | 1 << bit) .. rest))))
      end
      for bit = 72, kind == "data" and 71 or 103 do
        assert.is_nil((native.peek(keys, bytes.flip(datagram(string.char(first) .. rest), bit))))
      end
    end
  end)

  it("looks like random bytes, header and all: 10 MB of them pass a chi-square test", function()
    local tx = ends()
    local all, fields = {}, {}
    for i = 1, 256 do all[i] = 0 end
    for at = 1, 13 do
      fields[at] = {}
      for i = 1, 256 do fields[at][i] = 0 end
    end
    local size, packets = 1400, LIGHT and 1500 or 7500
    local frames = ("\0"):rep(size - 29)
    for i = 1, packets do
      local datagram = tx:seal(0, i, frames, 0)
      native.count(all, datagram)
      for at = 1, 13 do native.count(fields[at], datagram:sub(at, at)) end
    end
    local function chi_square(counts, n)
      local sum = 0
      for i = 1, 256 do sum = sum + (counts[i] - n / 256) ^ 2 end
      return sum * 256 / n
    end
    -- 255 degrees of freedom: below 190 and above 331 lie 0.1 % of random bytes each. The keys are fixed, so this is not left to chance.
    local function assert_uniform(counts, n)
      local x = chi_square(counts, n)
      assert.is_true(x > 190 and x < 331, x)
    end
    assert_uniform(all, packets * size)
    for at = 1, 13 do assert_uniform(fields[at], packets) end
  end)
end)

describe("a receiver", function()
  it("opens nothing that was damaged in a bit, cut or lengthened, and remembers nothing of it", function()
    local tx, rx = ends()
    assert.truthy(rx:open(0, tx:seal(0, 0, "first", 0), 0))
    local state, tried = rx:state(), 0
    local function refuse(datagram)
      tried = tried + 1
      assert.is_nil((rx:open(0, datagram, 0)))
    end
    for i = 1, LIGHT and 100 or 500 do
      local datagram = tx:seal(0, i, noise(1 + i % 40, i), 0)
      for bit = 0, #datagram * 8 - 1 do
        -- the phase bit asks for the next epoch's key, which is then held ready
        if bit ~= 5 then refuse(bytes.flip(datagram, bit)) end
      end
      for n = 0, #datagram - 1, 5 do refuse(datagram:sub(1, n)) end
      refuse(datagram .. "\0")
    end
    assert.is_true(tried > (LIGHT and 30000 or 150000), tried)
    assert.equal(state, rx:state())
    assert.equal("later", (rx:open(0, tx:seal(0, 1000, "later", 0), 0)))
  end)

  it("opens no packet twice, and none from below its window", function()
    local tx, rx = ends()
    local sent = {}
    for i = 0, 5000 do sent[i] = tx:seal(0, i, "x", 0) end
    local other = tx:seal(1, 0, "y", 0)
    for _, i in ipairs { 0, 1, 5000, 905, 4999 } do assert.truthy(rx:open(0, sent[i], 0)) end
    for _, i in ipairs { 0, 904, 1, 900 } do assert.same({ nil, "auth" }, { rx:open(0, sent[i], 0) }) end
    for _, i in ipairs { 5000, 905, 4999 } do assert.same({ nil, "auth" }, { rx:open(0, sent[i], 0) }) end
    assert.same({ old = 4, replayed = 3 }, rx:drops())
    assert.equal("y", (rx:open(1, other, 0))) -- each path has its own numbers
    assert.same({ nil, "auth" }, { rx:open(2, other, 0) }) -- and what belongs to one opens on no other
  end)

  it("opens each of many packets once, however often it comes again", function()
    local tx, rx = ends()
    local n = LIGHT and 5000 or 50000
    local sent = {}
    for i = 1, n do
      local datagram = tx:seal(0, i, "x", 0)
      assert.truthy(rx:open(0, datagram, 0))
      sent[i % 5000] = datagram
      assert.is_nil((rx:open(0, sent[i * 7 % 5000] or datagram, 0)))
    end
    local drops = rx:drops()
    assert.equal(n, drops.replayed + (drops.old or 0))
  end)

  it("opens nothing sealed with another key", function()
    local _, rx = ends()
    for i = 1, 100 do assert.same({ nil, "auth" }, { rx:open(0, forged("\0", i), 0) }) end
    assert.same({ forged = 100 }, rx:drops())
  end)

  it("opens packets after a gap of more than half of the numbers' 32 bits only if some came between", function()
    local tx, rx = ends()
    for _, number in ipairs { 0, (1 << 31) - 1, (1 << 32) - 3, (1 << 32) + 5, (1 << 32) + 5 + (1 << 31) } do
      assert.same({ "x", number }, { rx:open(0, tx:seal(0, number, "x", 0), 0) })
    end
  end)
end)

describe("rekeying", function()
  --- Moves the sender to its next epoch: acknowledges its last packet and lets ten minutes pass. Returns the time.
  local function age(tx, path, number, now)
    tx:acked(path, number, now)
    return now + 10 * MINUTE
  end

  it("happens ten minutes after the peer acknowledged a packet of the epoch, and not without that", function()
    local tx, rx = ends()
    assert.truthy(rx:open(0, tx:seal(0, 0, "x", 0), 0))
    assert.truthy(rx:open(0, tx:seal(0, 1, "x", 60 * MINUTE), 60 * MINUTE))
    assert.same({ 0, 0 }, { tx:epoch(), rx:epoch() })
    tx:acked(0, 1, 60 * MINUTE)
    assert.truthy(rx:open(0, tx:seal(0, 2, "x", 70 * MINUTE - 1), 70 * MINUTE))
    assert.equal(0, tx:epoch())
    local datagram = tx:seal(0, 3, "x", 70 * MINUTE)
    assert.same({ 1, 0 }, { tx:epoch(), rx:epoch() })
    assert.is_true(native.peek(keys, datagram).phase)
    assert.truthy(rx:open(0, datagram, 70 * MINUTE))
    assert.equal(1, rx:epoch())
    -- A packet of the first epoch does not confirm the second.
    tx:acked(0, 2, 70 * MINUTE)
    tx:seal(0, 4, "x", 90 * MINUTE)
    assert.equal(1, tx:epoch())
  end)

  it("happens after 2^26 packets or 2^36 bytes, ten seconds after the acknowledgement at the soonest", function()
    for _, worn in ipairs { { 1 << 26, 0 }, { 0, 1 << 36 } } do
      local tx = ends()
      tx:seal(0, 0, "x", 0)
      tx:wear(table.unpack(worn))
      tx:seal(0, 1, "x", 0)
      tx:acked(0, 0, 0)
      tx:seal(0, 2, "x", 10 * S - 1)
      assert.equal(0, tx:epoch())
      tx:seal(0, 3, "x", 10 * S)
      assert.equal(1, tx:epoch())
    end
  end)

  it("waits at most until 2^28 packets were sealed with one key; then nothing is sealed", function()
    local tx = ends()
    tx:wear((1 << 28) - 1, 0)
    assert.truthy(tx:seal(0, 0, "x", 0))
    assert.same({ nil, "limit" }, { tx:seal(0, 1, "x", 0) })
  end)

  it("loses no packet that is reordered across it, for three seconds", function()
    for _, method in ipairs(methods) do
      local tx, rx = ends(method)
      local now, number = 0, 0
      for epoch = 0, 5 do
        local before, after = {}, {}
        for i = 1, 20 do
          before[i] = tx:seal(i % 3, number, "before " .. i, now)
          number = number + 1
        end
        assert.truthy(rx:open(2, before[20], now)) -- the receiver is in this epoch
        now = age(tx, 20 % 3, number - 1, now)
        for i = 1, 20 do
          after[i] = tx:seal(i % 3, number, "after " .. i, now)
          number = number + 1
        end
        assert.equal(epoch + 1, tx:epoch())
        for i = 20, 1, -1 do
          assert.equal("after " .. i, (rx:open(i % 3, after[i], now)))
          if i < 20 then assert.equal("before " .. i, (rx:open(i % 3, before[i], now + 3 * S - 1))) end
        end
        assert.equal(epoch + 1, rx:epoch())
      end
      assert.same({}, rx:drops())
    end
  end)

  it("leaves nothing behind that opens the epoch before after three seconds", function()
    local tx, rx = ends()
    local late = tx:seal(0, 0, "late", 0)
    assert.truthy(rx:open(0, tx:seal(0, 1, "x", 0), 0))
    local now = age(tx, 0, 1, 0)
    assert.truthy(rx:open(0, tx:seal(0, 2, "x", now), now))
    assert.same({ nil, "auth" }, { rx:open(0, late, now + 3 * S) })
    assert.equal("y", (rx:open(0, tx:seal(0, 3, "y", now), now + 3 * S)))
  end)

  it("is not brought about by a forged packet of the other phase, nor stopped by one", function()
    local tx, rx = ends()
    assert.truthy(rx:open(0, tx:seal(0, 0, "x", 0), 0))
    for i = 1, 3 do assert.same({ nil, "auth" }, { rx:open(0, forged("\x20", i), 0) }) end
    assert.equal(0, rx:epoch())
    assert.truthy(rx:open(0, tx:seal(0, 1, "x", 0), 0))
    local now = age(tx, 0, 1, 0)
    assert.equal("y", (rx:open(0, tx:seal(0, 2, "y", now), now)))
    assert.equal(1, rx:epoch())
    assert.same({ forged = 3 }, rx:drops())
  end)

  it("moves each direction by itself", function()
    local a_tx, b_rx = ends()
    local b_tx = native.tx(methods[1], keys, noise(32, 3))
    local a_rx = native.rx(methods[1], keys, noise(32, 3))
    local now = 0
    for i = 0, 9 do
      assert.truthy(b_rx:open(0, a_tx:seal(0, i, "x", now), now))
      assert.truthy(a_rx:open(0, b_tx:seal(0, i, "x", now), now))
      if i % 3 == 2 then b_tx:acked(0, i, now) end
      now = age(a_tx, 0, i, now)
    end
    assert.same({ 9, 9, 3, 3 }, { a_tx:epoch(), b_rx:epoch(), b_tx:epoch(), a_rx:epoch() })
  end)
end)
