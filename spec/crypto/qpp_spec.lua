-- runtime/crypto/qpp: kcptun's byte permutation (docs/wire-kcptun.md, sections 10 and 15.8).
local crypto = require "spec_crypto"
local bytes = require "bytes"
local hex, noise = bytes.hex, bytes.noise

local qpp = assert(crypto.qpp("it's a secrect", 61))

-- text through one direction in pieces of the given sizes, the rest in one
local function in_pieces(direction, how, text, pieces)
  local out, at = {}, 1
  for _, n in ipairs(pieces) do
    out[#out + 1] = direction[how](direction, text:sub(at, at + n - 1))
    at = at + n
  end
  out[#out + 1] = direction[how](direction, text:sub(at))
  return table.concat(out)
end

describe("QPP", function()
  local plain = bytes.range(0, 0x27)
  local sealed = "e94f150bd5923394a725f3907d0b58ff0bda58fdb121d5ff7ef7800488a9937aa769e2cf9bff0f7f"

  it("encrypts as kcptun does, in two calls of 5 and 35 bytes", function()
    assert.equal(sealed, hex(in_pieces(qpp:start(), "encrypt", plain, { 5 })))
  end)

  it("decrypts what kcptun encrypts", function()
    assert.equal(hex(plain), hex(qpp:start():decrypt(bytes.unhex(sealed))))
  end)

  it("draws the same random numbers as kcptun, one for every 8 bytes", function()
    local direction = qpp:start()
    assert.equal("262b1192936f4e48", ("%016x"):format(direction:output()))
    direction:encrypt(("x"):rep(7))
    assert.equal("262b1192936f4e48", ("%016x"):format(direction:output()))
    direction:encrypt("x")
    assert.equal("364b2918ca7a75de", ("%016x"):format(direction:output()))
  end)

  it("has kcptun's pad 0", function()
    assert.equal("1a994414e7fa53e93d83d4be16385ac6d7155bdcf712fbab3995a6cf11b3316f027ce5736a3aca501e6866cd1bd00a0e"
      .. "ee49b478b676036907fed5ea22a7f2673f826e9124b82a1cd33e51da939a60fc639f0f8bb50c4ba3378d9045a45f0687bdc86219"
      .. "3b33bcd832eb350db98edd484cc7cebba1d228018faec06b3c478c88107aa9592120c2b208752c7d6c1f2677948134e8dea2cb2f"
      .. "54e3c4172df52ef8e0e2a0c574aaf0188af3bfe42bba5e4dc9d67e9e521d86610064984157295ddbd9c342c189d14aa872659613"
      .. "b0857f705cac9bf1560580f943e125eccc4e7b30586ddf099cb140f427aff671ef9d23ff0b04979279adfd84b746e65536a5ed4f",
      hex(qpp:pad(0)))
  end)

  it("has kcptun's pad 1", function() assert.equal("44427fde6c1530950c03ef10e9131746", hex(qpp:pad(1):sub(1, 16))) end)

  it("is not the six-chunk variant of before 2025-12", function()
    assert.not_equal("277494237392e3be78627c36bcf4583e8ee71474f99b78d44c0a142f164fa4e970b52dd437c333b3",
      hex(qpp:start():encrypt(plain)))
  end)

  it("makes every pad a permutation, and no two the same", function()
    local seen = {}
    for i = 0, 60 do
      local pad, values = qpp:pad(i), {}
      for _, value in ipairs { pad:byte(1, -1) } do values[value] = true end
      for value = 0, 255 do assert.is_true(values[value], "pad " .. i .. " lacks " .. value) end
      assert.is_nil(seen[pad])
      seen[pad] = true
    end
    assert.is_nil(qpp:pad(61))
  end)

  it("gives the same bytes however the stream is split", function()
    local text = noise(100)
    local whole = qpp:start():encrypt(text)
    for a = 0, 33 do
      for b = 0, 17 do
        if in_pieces(qpp:start(), "encrypt", text, { a, b }) ~= whole then error(("encrypt at %d, %d"):format(a, b)) end
        if in_pieces(qpp:start(), "decrypt", whole, { a, b }) ~= text then error(("decrypt at %d, %d"):format(a, b)) end
      end
    end
    local ones = {}
    for i = 1, 100 do ones[i] = 1 end
    assert.equal(hex(whole), hex(in_pieces(qpp:start(), "encrypt", text, ones)))
    assert.equal(hex(text), hex(in_pieces(qpp:start(), "decrypt", whole, ones)))
  end)

  it("undoes itself for any key and number of pads", function()
    local text = noise(5000)
    for _, key in ipairs { "", "k", noise(31), noise(32), noise(33), noise(300), "with\0zero" } do
      for _, pads in ipairs { 1, 2, 61, 64 } do
        local q = assert(crypto.qpp(key, pads))
        local out = q:start():encrypt(text)
        assert.not_equal(text, out)
        assert.is_true(q:start():decrypt(out) == text, ("key of %d bytes, %d pads"):format(#key, pads))
        q:close()
      end
    end
  end)

  it("starts both directions from the same state and keeps them separate", function()
    local a, b = qpp:start(), qpp:start()
    local first = a:encrypt(plain)
    assert.equal(hex(first), hex(b:encrypt(plain)))
    assert.not_equal(hex(first), hex(a:encrypt(plain)))
  end)

  it("uses all of a key of 32 bytes or more", function()
    local long = noise(224) -- as many as seven chunks hold
    local out = crypto.qpp(long, 7):start():encrypt(noise(400))
    for bit = 0, 8 * #long - 1, 149 do
      assert.not_equal(out, crypto.qpp(bytes.flip(long, bit), 7):start():encrypt(noise(400)))
    end
  end)

  it("refuses 0 pads and more than 4096", function()
    for _, pads in ipairs { 0, 4097 } do
      local got, code = crypto.qpp("key", pads)
      assert.is_nil(got)
      assert.equal("invalid", code)
    end
  end)
end)
