-- runtime/crypto/keyfile: keys as text, and keys from passphrases.
local crypto = require "spec_noise"
local bytes = require "bytes"

local key = bytes.range(0, 31)
local text = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

local function refused(kind, file) return select(2, crypto.key_parse(kind, file)) end

describe("a key file", function()
  it("holds a key in base64", function()
    assert.equal(text, crypto.key_encode(key))
    for _, file in ipairs { text, text .. "\n", "  " .. text .. " \r\n\n", "# of the office\n\n" .. text .. "\n# made in May" } do
      for _, kind in ipairs { "shared", "private", "public" } do assert.equal(key, crypto.key_parse(kind, file)) end
    end
  end)

  it("of another length is refused, with its length", function()
    for n, base64 in pairs { [0] = "=", [31] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==", [33] = text:gsub("=", "g") } do
      local want = n == 0 and "key file psk: not base64; expected a key as kt keygen writes it" or ("key file psk: %d bytes, expected 32"):format(n)
      assert.equal(want, refused("shared", base64))
    end
  end)

  it("that names another kind of key than expected is refused", function()
    for _, kind in ipairs { "shared", "private", "public" } do
      local file = ("# kt %s key\n%s\n"):format(kind, text)
      for _, wanted in ipairs { "shared", "private", "public" } do
        if wanted == kind then
          assert.equal(key, crypto.key_parse(wanted, file))
        else
          assert.equal(("key file psk: holds a %s key, expected a %s one"):format(kind, wanted), refused(wanted, file))
        end
      end
    end
  end)

  it("without one key is refused, and the error shows nothing of what it holds", function()
    assert.equal("key file psk: holds no key; make one with kt keygen", refused("shared", "# nothing\n\n"))
    assert.equal("key file psk: more than one line; expected one key", refused("shared", text .. "\n" .. text))
    assert.equal("key file psk: too long for a key; expected one line", refused("shared", ("A"):rep(4097)))
    for _, wrong in ipairs { "my secret", text .. "!", "!" .. text, (text:gsub("I", "-")), (text:gsub("I", "\xc9")), text:sub(1, -2), (text:gsub("=", "")) } do
      assert.equal("key file psk: not base64; expected a key as kt keygen writes it", refused("shared", wrong))
    end
  end)

  it("is for its owner alone", function()
    for _, mode in ipairs { tonumber("600", 8), tonumber("400", 8), tonumber("100600", 8) } do assert.is_nil(crypto.key_mode(mode)) end
    for _, mode in ipairs { "644", "640", "604", "620", "601" } do
      assert.equal("psk: other users can read this file; run chmod 600 psk", crypto.key_mode(tonumber(mode, 8)))
    end
  end)
end)

describe("a key pair of kt keygen", function()
  it("belongs together", function()
    local name = os.tmpname()
    os.remove(name)
    assert(os.execute(("%s keygen --pair %s >/dev/null"):format(os.getenv "KT_BIN" or "build/kt", name)))
    local keys = {}
    for kind, suffix in pairs { private = ".key", public = ".pub" } do
      local file = assert(io.open(name .. suffix))
      keys[kind] = crypto.key_parse(kind, file:read "a")
      file:close()
      os.remove(name .. suffix)
    end
    assert.equal(keys.public, crypto.public(keys.private))
  end)
end)

describe("a passphrase", function()
  it("becomes a key by Argon2id", function() -- made with OpenSSL's, by python3-cryptography
    assert.equal("e7729cf6f506c58e57f199d220536bdc242df733266164d6dbb429fa38a70278", bytes.hex(crypto.key_phrase "correct horse battery staple"))
  end)
end)
