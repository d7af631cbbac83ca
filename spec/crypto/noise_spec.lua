-- runtime/crypto/noise: handshakes byte for byte as other implementations make them, and what a forged one does.
local crypto = require "spec_noise"
local bytes = require "bytes"
local hex, unhex, noise = bytes.hex, bytes.unhex, bytes.noise

local vectors = dofile "spec/fixtures/noise_vectors.lua"

--- Both ends of a vector's handshake. change: fields of the responder's options to replace.
local function ends(v, change)
  local init = v.init_static and unhex(v.init_static)
  local resp = v.resp_static and unhex(v.resp_static)
  local function new(initiator, own, remote)
    local opts = { pattern = v.pattern, initiator = initiator, prologue = unhex(v.prologue), psk = unhex(v.psk), static = own,
      remote = remote }
    for key, value in pairs(not initiator and change or {}) do opts[key] = value end
    return crypto.noise(opts)
  end
  return new(true, init, resp and crypto.public(resp)), new(false, resp)
end

local function first(v, i) return assert(i:write(unhex(v.init_ephemeral), unhex(v.payload1))) end
local function second(v, r) return assert(r:write(unhex(v.resp_ephemeral), unhex(v.payload2))) end

local ZERO_NONCE = ("\0"):rep(12)

for _, v in ipairs(vectors) do
  describe(("a %s handshake of %s"):format(v.pattern, v.source), function()
    it("is made and read, and leads to the same keys", function()
      local i, r = ends(v)
      local m1 = first(v, i)
      assert.equal(v.message1, hex(m1))
      assert.equal(v.payload1, hex(assert(r:read(m1))))
      if v.init_static then assert.equal(crypto.public(unhex(v.init_static)), r:remote()) end
      local m2 = second(v, r)
      assert.equal(v.message2, hex(m2))
      assert.equal(v.payload2, hex(assert(i:read(m2))))
      local k1, k2, h = i:split()
      assert.same({ k1, k2, h }, { r:split() })
      if v.first then
        assert.same({ v.first, v.second, v.hash }, { hex(k1), hex(k2), hex(h) })
      else
        assert.equal(v.sealed_first, hex(crypto.aead("chacha20-poly1305", k1):seal(ZERO_NONCE, "", unhex(v.text_first))))
        assert.equal(v.sealed_second, hex(crypto.aead("chacha20-poly1305", k2):seal(ZERO_NONCE, "", unhex(v.text_second))))
      end
    end)
  end)
end

for _, v in ipairs { vectors[1], vectors[2] } do
  describe("a damaged message of " .. v.pattern, function()
    it("does not open with any bit flipped, and does not spoil the handshake", function()
      local i, r = ends(v)
      local m1 = first(v, i)
      for bit = 0, #m1 * 8 - 1 do assert.same({ nil, "auth" }, { r:read(bytes.flip(m1, bit)) }) end
      assert.truthy(r:read(m1))
      local m2 = second(v, r)
      for bit = 0, #m2 * 8 - 1 do assert.same({ nil, "auth" }, { i:read(bytes.flip(m2, bit)) }) end
      assert.truthy(i:read(m2))
      assert.same({ i:split() }, { r:split() })
    end)

    it("does not open at any other length", function()
      local i, r = ends(v)
      local m1 = first(v, i)
      for n = 0, #m1 - 1 do assert.same({ nil, "auth" }, { r:read(m1:sub(1, n)) }) end
      assert.same({ nil, "auth" }, { r:read(m1 .. "\0") })
      assert.same({ nil, "auth" }, { r:read(m1 .. noise(2048)) })
    end)
  end)

  describe("the responder of " .. v.pattern, function()
    it("does not open a message for another prologue", function()
      local i, r = ends(v, { prologue = "kt wire 2" })
      assert.same({ nil, "auth" }, { r:read(first(v, i)) })
    end)

    it("is not taken for the true one if its shared key is another", function()
      local i, r = ends(v, { psk = noise(32) })
      local m1 = first(v, i)
      if v.pattern == "NNpsk0" then
        assert.same({ nil, "auth" }, { r:read(m1) })
      else -- the key comes in with the second message
        assert.truthy(r:read(m1))
        assert.same({ nil, "auth" }, { i:read(second(v, r)) })
      end
    end)
  end)
end

describe("a handshake", function()
  -- Points of order 1, 2, 4 and 8 (RFC 7748 section 6.1 asks for the check, curve25519-dalek and libsodium list them).
  local low = { ("00"):rep(32), "01" .. ("00"):rep(31), "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f" }

  it("ends at a key of low order", function()
    local v = vectors[2]
    for _, point in ipairs(low) do
      local i = crypto.noise { pattern = "IKpsk2", initiator = true, prologue = "", psk = unhex(v.psk), static = noise(32),
        remote = unhex(point) }
      assert.same({ nil, "auth" }, { i:write(noise(32, 2), "") })
      -- An initiator in NNpsk0 whose ephemeral key is such a point: the responder's answer fails.
      local nn = vectors[1]
      local _, r = ends(nn)
      local forged = crypto.noise { pattern = "NNpsk0", initiator = true, prologue = unhex(nn.prologue), psk = unhex(nn.psk) }
      assert.truthy(r:read(forged:write(noise(32), "")))
    end
  end)

  it("in IKpsk2 does not open for another server", function()
    local v = vectors[2]
    local i, r = ends(v, { static = noise(32) })
    assert.same({ nil, "auth" }, { r:read(first(v, i)) })
  end)
end)
