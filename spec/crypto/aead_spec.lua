-- runtime/crypto/aead and hash: AEADs and the hash of kt's own wire, with vectors of their standards.
local crypto = require "spec_noise"
local bytes = require "bytes"
local hex, unhex, noise = bytes.hex, bytes.unhex, bytes.noise

local methods = { "aes-256-gcm", "chacha20-poly1305" }

local vectors = {
  { -- RFC 8439 section 2.8.2
    method = "chacha20-poly1305",
    key = bytes.hex(bytes.range(0x80, 0x9f)),
    nonce = "070000004041424344454647",
    ad = "50515253c0c1c2c3c4c5c6c7",
    text = hex "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
    sealed = "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e06"
      .. "0b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116"
      .. "1ae10b594f09e26a7e902ecbd0600691",
  },
  { -- McGrew and Viega, "The Galois/Counter Mode of Operation", test case 16
    method = "aes-256-gcm",
    key = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
    nonce = "cafebabefacedbaddecaf888",
    ad = "feedfacedeadbeeffeedfacedeadbeefabaddad2",
    text = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
    sealed = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
      .. "76fc6ece0f4e1768cddf8853bb2d551b",
  },
}

describe("an AEAD", function()
  for _, v in ipairs(vectors) do
    it(v.method .. " seals and opens as its standard says", function()
      local a = crypto.aead(v.method, unhex(v.key))
      local sealed = a:seal(unhex(v.nonce), unhex(v.ad), unhex(v.text))
      assert.equal(v.sealed, hex(sealed))
      assert.equal(v.text, hex(assert(a:open(unhex(v.nonce), unhex(v.ad), sealed))))
    end)
  end

  for _, method in ipairs(methods) do
    it(method .. " opens what it sealed, of every length, and nothing with a bit flipped", function()
      local a, nonce, ad = crypto.aead(method, noise(32)), noise(12, 2), noise(13, 3)
      for n = 0, 300 do
        local text = noise(n, n)
        local sealed = a:seal(nonce, ad, text)
        assert.equal(n + 16, #sealed)
        assert.equal(text, a:open(nonce, ad, sealed))
        assert.same({ nil, "auth" }, { a:open(nonce, ad, bytes.flip(sealed, n * 131 % (#sealed * 8))) })
        assert.same({ nil, "auth" }, { a:open(nonce, bytes.flip(ad, n % 104), sealed) })
        assert.same({ nil, "auth" }, { a:open(bytes.flip(nonce, n % 96), ad, sealed) })
      end
    end)

    it(method .. " follows a change of its key", function()
      local a, b = crypto.aead(method, noise(32)), crypto.aead(method, noise(32, 2))
      local sealed = b:seal(noise(12), "", "text")
      assert.same({ nil, "auth" }, { a:open(noise(12), "", sealed) })
      a:rekey(noise(32, 2))
      assert.equal("text", a:open(noise(12), "", sealed))
    end)
  end

  it("is always to be had in one method", function() assert.equal(2, crypto.methods() & 2) end)
end)

describe("the hash", function()
  it("is BLAKE2b, keyed or not, of two parts as of one", function()
    -- made with Python's hashlib.blake2b
    assert.equal("bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319", hex(crypto.hash(nil, "a", "bc")))
    assert.equal(crypto.hash(nil, "abc", ""), crypto.hash(nil, "", "abc"))
    assert.equal("d63a32d3e44738d7907f964316c241adaba0abfeabc32349677578a15a203f7f", hex(crypto.hash(bytes.range(0, 31), "abc", "")))
  end)
end)
