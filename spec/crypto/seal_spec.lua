-- runtime/crypto/seal: kcptun's packet sealing, byte for byte (docs/wire-kcptun.md, sections 3, 4, 15.1 - 15.3).
local crypto = require "spec_crypto"
local bytes = require "bytes"
local hex, unhex, noise = bytes.hex, bytes.unhex, bytes.noise

local pass = crypto.pass("it's a secrect")
local methods = crypto.methods()

-- overhead, header and nonce, where they are not 20, 20 and 16
local sizes = { ["aes-128-gcm"] = { 28, 12, 12 }, null = { 0, 0, 0 } }

local function sealer(method, key) return assert(crypto.seal(method, key or pass)) end

-- The nonce 00 01 02 … as long as the method needs it.
local function counting_nonce(seal)
  local _, _, nonce = seal:sizes()
  return bytes.range(0, nonce - 1)
end

describe("key derivation", function()
  for key, want in pairs {
    ["it's a secrect"] = "25d7d7bd51050742d8d791f2b653c6c8b2366b7e25a124cf7a2e12eaf4ffa444",
    ["password"] = "8bf4a5184121da0026a13a08910c4e2ec99c35ba59c1e02b66fe3f9e0c9d0668",
    [""] = "b23383c32eefa3753ab6db6e639a0ddc3b50ec6b6c623c9171a15ba0879945cd",
  } do
    it(("makes kcptun's pass of %q"):format(key), function() assert.equal(want, hex(crypto.pass(key))) end)
  end

  it("takes a key as bytes, zeros and all", function()
    assert.not_equal(hex(crypto.pass("a")), hex(crypto.pass("a\0b")))
    assert.not_equal(hex(crypto.pass("a\0b")), hex(crypto.pass("a\0c")))
  end)

  it("makes kcptun's table for xor", function()
    -- xor's table: the difference between its output and that of none, which leaves the bytes clear.
    local body, nonce = noise(1480), noise(16)
    local table_of_xor = bytes.xor(sealer("xor"):seal(body, nonce), sealer("none"):seal(body, nonce))
    assert.equal(1500, #table_of_xor)
    assert.equal("0ffe8987ad94757154791bc8fa01b62c6bce0106b2954013cd523fbc1f7aac8c", hex(table_of_xor:sub(1, 32)))
    assert.equal("df44607871b19a362f7640db6a160114", hex(table_of_xor:sub(-16)))
    assert.equal("bf59240bdfe4387e7d4925b98fb14b533e7cafd6", bytes.sha1(table_of_xor))
  end)
end)

describe("sealing", function()
  local body = unhex [[00000000f10022004433221151000002e80300000000000000000000080000000100000003000000]]
  local vectors = {
    aes = "86834343335b168ca911bf584a05f99062d84b9738973c8ff7af311219322967535a3c8c48529057b57a76bbf9a117398ce0ee60fe00a2d6bbc7c8c7",
    ["aes-128"] = "ddd7e0a7981ba3e2a7f6d51f2a26631829f5cc09ea18c8d33f44c94010b267ad34a19bffb4e122cd0a55ae08ec6e5f84cd5a9cfe3edb51773db78230",
    ["aes-192"] = "b9db59f7dd1bce4922855fb7f8f8e261c85758406775228ccd9e2e9fb355f64cf6d603fb35b30cedc6ebbc3aa7213d45356979531d283842157fb3bb",
    salsa20 = "00010203040506079aaa6e7faf75365c2c605257186ef253839379043acba9443be920fc622913c16d777caa76ec6a4ab9a21778fdd82d5dd868500b",
    blowfish = "186797305116055ece6531b898c4b2354003616e15dd555d3ea06d0431f25f522b7bd4eba5f3fa7cab45f58d396996f09efa9cea8649ba32fb377cf9",
    twofish = "79a0668add94e7387471af7514bb10656ebe6068c1a874ccc2bf7dd3efda23e60db7c3d23857f67fe9e69794c89b5e68bd458aa1dd8178bbea666371",
    cast5 = "bb8f8d2209e0131c7d027b3e28d6b457e47de3d5c84e33ebf8f5f7ccd206b50287128309307645ebb696b03080194cb82f4c74ba39063b52ae36628b",
    ["3des"] = "5dca5d4fac8f6accf083365ae9eb528a4802a3d2c2cff805cf4640f2b9d23b4834571aef0dad5a36507841bf2affc97015d64f7f7d597d3d586f094b",
    tea = "fc9c4eb4a8e9502bde3d3c8b0679084dfaffe2f2de758d0c1358e52c2a2027151add0afbe6834857569f9d60977f65fa00d69afd925c2d62cc356f69",
    xtea = "09256989438dfb5af0f2a323dfd1ac2cf633658180da95e96b4fd2d63221e1aea84942f24976760205ff6acd91bc24b6df341f0bbdd63821a822052a",
    xor = "0fff8b84a99173765c7011c3f60cb823171b3758b29540133c521dbc5b498e9da1af663daf98134e25a0d0f79e2f3a02e7bfde43f20e20a0fa235cc6",
    sm4 = "0340e44fd923bb2259e375a7ab6ee54d8578842eb83d4fa356c9629122f4b0f04774dff8790acf6d3b140f2f780e9317d6b58f7324ab4410df792838",
    none = "000102030405060708090a0b0c0d0e0f7cd5365e00000000f10022004433221151000002e80300000000000000000000080000000100000003000000",
    ["aes-128-gcm"] = "000102030405060708090a0b538d05c7fb6c67c19323d9ce5c679570f5ec429d403df549caf0738e40b0762ada5f2ea3009db31f19f3ece09d4913528a310d59eccbd496",
    null = hex(body),
  }

  it("knows all fifteen methods, in the spec's order", function()
    assert.equal("aes, aes-192, aes-128, aes-128-gcm, sm4, twofish, blowfish, cast5, 3des, tea, xtea, salsa20, xor, "
      .. "none, null", table.concat(methods, ", "))
  end)

  for _, method in ipairs(methods) do
    it("by " .. method .. " gives kcptun's bytes, and opening gives the body back", function()
      local seal = sealer(method)
      local datagram = seal:seal(body, counting_nonce(seal))
      assert.equal(vectors[method], hex(datagram))
      assert.equal(hex(body), hex(assert(seal:open(unhex(vectors[method])))))
    end)

    it("by " .. method .. " has the sizes of the spec's table", function()
      assert.same(sizes[method] or { 20, 20, 16 }, { sealer(method):sizes() })
    end)
  end

  it("by none shows the CRC-32 of zlib: check value cbf43926", function()
    assert.equal("2639f4cb", hex(sealer("none"):seal("123456789", noise(16)):sub(17, 20)))
  end)

  -- 15.3
  for version, v in pairs {
    ["smux v2"] = {
      body = "00000000f10034004433221151000002e803000000000000000000001a000000ff060000734e61507059010c0000bde37d260200000003000000",
      sealed = "86834343335b168ca911bf584a05f9903865b6a638973c8ff7af27121932296718623cc92599342e8b6af02b72177d818b3a3bbb71cc21c36218580b803395e5d3823df3a9a9a7dc200b4b857252",
    },
    ["smux v1"] = {
      body = "00000000f10034004433221151000002e803000000000000000000001a000000ff060000734e61507059010c00004439ac2f0100000003000000",
      sealed = "86834343335b168ca911bf584a05f9904d549d0038973c8ff7af271219322967c75471e1dea35007891e26657ae22cd23b9e0df63247787fa82e9486b6800b8a4122180972de04331c49754df6df",
    },
  } do
    it("makes the first datagram of a default client, " .. version, function()
      local seal = sealer("aes")
      assert.equal(v.sealed, hex(seal:seal(unhex(v.body), bytes.range(0, 15))))
      assert.equal(v.body, hex(assert(seal:open(unhex(v.sealed)))))
    end)
  end

  -- Made with openssl's des-ede3-cfb: a password whose pass is a weak DES key must work as it does in kcptun.
  it("by 3des works with a weak key", function()
    local seal = sealer("3des", ("\0"):rep(32))
    local datagram = seal:seal(body, bytes.range(0, 15))
    assert.equal("db7b0e21275ff330a8309ca03479c1a67e885acdfacea311fd1c5288976dc78beaf137d946136aec6cbc1c36bb763c45"
      .. "e2f137d947136aec3f5fb8d6", hex(datagram))
    assert.equal(hex(body), hex(assert(seal:open(datagram))))
  end)

  for _, method in ipairs(methods) do
    it("by " .. method .. " comes back at every length from 0 to 1472", function()
      local seal, text = sealer(method), noise(1472)
      local overhead, _, nonce_len = seal:sizes()
      for n = 0, #text do
        local sent = text:sub(1, n)
        local datagram = seal:seal(sent, noise(nonce_len, n))
        assert.equal(n + overhead, #datagram)
        if seal:open(datagram) ~= sent then error("not at length " .. n) end
      end
    end)
  end

  it("leaves no state behind from one packet to the next", function()
    for _, method in ipairs(methods) do
      local seal = sealer(method)
      local nonce = counting_nonce(seal)
      local first = seal:seal(body, nonce)
      local other = seal:seal(noise(777), nonce)
      seal:open(noise(501))
      assert.equal(hex(first), hex(seal:seal(body, nonce)), method)
      assert.equal(hex(noise(777)), hex(assert(seal:open(other))), method)
      assert.equal(hex(body), hex(assert(seal:open(first))), method)
    end
  end)

  for _, method in ipairs(methods) do
    it("of many packets at once by " .. method .. " gives the bytes of one by one", function()
      local seal, text = sealer(method), noise(1472)
      local _, _, nonce_len = seal:sizes()
      -- Counts around a batch and its half, and lengths that end at different times, together, and not at all.
      for _, count in ipairs { 0, 1, 3, 4, 5, 15, 16, 17, 31, 32, 33, 50 } do
        for name, length in pairs {
          alike = function() return 1330 end,
          falling = function(i) return 1330 - 26 * i end,
          mixed = function(i) return i * 7919 % 1473 end,
          tiny = function(i) return i % 3 end,
        } do
          local bodies, nonces = {}, {}
          for i = 1, count do
            bodies[i], nonces[i] = text:sub(1, length(i)), noise(nonce_len, i)
          end
          local datagrams = seal:seal_many(bodies, nonces)
          assert.equal(count, #datagrams)
          for i = 1, count do
            if datagrams[i] ~= seal:seal(bodies[i], nonces[i]) then
              error(("packet %d of %d, %s"):format(i, count, name))
            end
          end
        end
      end
    end)
  end

  it("by xor leaves bytes past 1500 alone", function()
    local body_of_zeros = ("\0"):rep(1600)
    local datagram = sealer("xor"):seal(body_of_zeros, noise(16))
    assert.equal(hex(body_of_zeros:sub(1, 120)), hex(datagram:sub(1501)))
    assert.equal(body_of_zeros, sealer("xor"):open(datagram))
  end)
end)

describe("opening", function()
  local body = noise(61)

  -- The nonce only randomizes the bytes after it; a change that does not propagate to them goes unnoticed.
  -- Bytes (from, to) that a method does not protect; the body comes out unharmed.
  local unseen = {
    blowfish = { 0, 7 }, cast5 = { 0, 7 }, ["3des"] = { 0, 7 }, tea = { 0, 7 }, xtea = { 0, 7 },
    salsa20 = { 8, 15 }, xor = { 0, 15 }, none = { 0, 15 },
  }

  for _, method in ipairs(methods) do
    -- null has no checksum: any bytes are a valid body.
    if method ~= "null" then
      it("by " .. method .. " refuses a packet with any one bit flipped", function()
        local seal = sealer(method)
        local datagram = seal:seal(body, counting_nonce(seal))
        local from, to = table.unpack(unseen[method] or { -1, -1 })
        for bit = 0, 8 * #datagram - 1 do
          local got, code = seal:open(bytes.flip(datagram, bit))
          if bit // 8 >= from and bit // 8 <= to then
            if got ~= body then error("a nonce bit harmed the body: " .. bit) end
          elseif got or code ~= "auth" then
            error("bit " .. bit .. " was let through")
          end
        end
      end)

      it("by " .. method .. " refuses a packet that lost or gained a byte", function()
        local seal = sealer(method)
        local datagram = seal:seal(body, counting_nonce(seal))
        for _, damaged in ipairs { datagram:sub(1, -2), datagram .. "\0", datagram:sub(2) } do
          local got, code = seal:open(damaged)
          assert.is_nil(got)
          assert.equal("auth", code)
        end
      end)

      it("by " .. method .. " refuses packets that are too short, down to 0 bytes", function()
        local seal = sealer(method)
        for n = 0, seal:sizes() - 1 do
          local got, code = seal:open(noise(n))
          assert.is_nil(got)
          assert.equal("auth", code)
        end
      end)

      it("by " .. method .. " refuses noise", function()
        local seal = sealer(method)
        for n = 0, 200 do assert.is_nil((seal:open(noise(n, n)))) end
      end)
    end

    -- none and null have no key to differ in.
    if method ~= "none" and method ~= "null" then
      it("by " .. method .. " refuses a packet sealed with another key", function()
        local datagram = sealer(method, crypto.pass("other")):seal(body, counting_nonce(sealer(method)))
        local got, code = sealer(method):open(datagram)
        assert.is_nil(got)
        assert.equal("auth", code)
      end)
    end
  end

  it("by none accepts a changed packet with a corrected CRC, as anyone can seal", function()
    local forged = sealer("none"):seal("forged", noise(16))
    assert.equal("forged", sealer("none", crypto.pass("other")):open(forged))
  end)

  it("by null accepts any bytes as a body", function()
    for _, n in ipairs { 0, 1, 19, 1472 } do assert.equal(noise(n), sealer("null"):open(noise(n))) end
  end)
end)

describe("an unknown method", function()
  for _, name in ipairs { "aes-256", "AES", "", "aes ", "rot13", ("x"):rep(500) } do
    it(("is refused with the list of names: %q"):format(name:sub(1, 20)), function()
      local got, code, text = crypto.seal(name, pass)
      assert.is_nil(got)
      assert.equal("config", code)
      assert.truthy(text:find(name:sub(1, 40), 1, true))
      assert.truthy(text:find(table.concat(methods, ", "), 1, true))
    end)
  end
end)
