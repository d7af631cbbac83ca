-- kt.crypto: vectors of the RFCs, what it refuses, and that secrets stay secrets.
local lone_host = require "lone_host"

--- Runs the lines as a task, with `c` as kt.crypto and `x` for hex in the source; returns what it printed.
local function run(text, seed)
  return lone_host.task(text, [[
local c = kt.crypto
local function x(text) return assert(c.unhex((text:gsub("%s", "")))) end]], { seed = seed })
end

describe("kt.crypto", function()
  it("hashes as RFC 7693 (BLAKE2b), FIPS 180-4 (SHA-2, SHA-1), RFC 4231 and RFC 2202 (HMAC) say", function()
    assert.equal(table.concat({
      "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923",
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
      "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
      "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
      "a9993e364706816aba3e25717850c26c9cd0d89d", "b617318655057264e28bc0b6fb378c8ef146be00",
      "aa4ae5e15272d00e95705637ce8a3b55ed402112", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
      "16\ttrue\tfalse\n",
    }, "\n"), run [[
print(c.hex(c.hash("blake2b", "abc", { size = 64 })))
print(c.hex(c.hash("sha256", "abc")))
print(c.hex(c.hash("sha512", "abc")))
local key = x(("0b"):rep(20))
print(c.hex(c.hmac("sha256", key, "Hi There")))
print(c.hex(c.hmac("sha512", kt.secret(key), "Hi There")))
print(c.hex(c.hmac("sha256", ("\xaa"):rep(131), "Test Using Larger Than Block-Size Key - Hash Key First")))
print(c.hex(c.hash("sha1", "abc")))
print(c.hex(c.hmac("sha1", kt.secret(key), "Hi There")))
print(c.hex(c.hmac("sha1", ("\xaa"):rep(80), "Test Using Larger Than Block-Size Key - Hash Key First")))
print(c.base64_encode(c.hash("sha1", "dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))) -- RFC 6455, section 1.3
local keyed = c.hash("blake2b", "abc", { size = 16, key = kt.secret(key) })
print(#keyed, keyed == c.hash("blake2b", "abc", { size = 16, key = key }), keyed == c.hash("blake2b", "abc", { size = 16 }))]])
  end)

  it("seals as draft-irtf-cfrg-xchacha says (A.3.1), and opens only unchanged data", function()
    assert.equal(([[
%s
true
40	true	false	hello
auth	kt.crypto.aead_open: the data does not authenticate
47	47
]]):format("bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e"
      .. "1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c97637da9768812f615c68b13b52ec0875924c1c7"
      .. "987947deafd8780acf49"), run [[
local key, nonce, aad = "", "", x "50515253c0c1c2c3c4c5c6c7"
for i = 0x80, 0x9f do key = key .. string.char(i) end
for i = 0x40, 0x57 do nonce = nonce .. string.char(i) end
local text = "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
local sealed = c.aead_seal(kt.secret(key), text, { aad = aad, nonce = nonce })
print(c.hex(sealed))
print(c.aead_open(key, sealed, { aad = aad, nonce = nonce }) == text)

local key = c.key()
local one, two = c.aead_seal(key, "hello", { aad = "a" }), c.aead_seal(key, "hello", { aad = "a" })
print(#one - #"hello", #one == #two, one == two, c.aead_open(key, one, { aad = "a" }))
print(select(2, c.aead_open(key, one)).code, select(2, c.aead_open(c.key(), one, { aad = "a" })))
local refused, n = 0, 0
for i = 1, #one do
  local byte = string.char(one:byte(i) ~ 1)
  n = n + 1
  if not c.aead_open(key, one:sub(1, i - 1) .. byte .. one:sub(i + 1), { aad = "a" }) then refused = refused + 1 end
end
for i = 0, 1 do
  n = n + 1
  if not c.aead_open(key, one:sub(1, i * 39), { aad = "a" }) then refused = refused + 1 end
end
print(n, refused)]])
  end)

  it("signs as RFC 8032 says (7.1), and verifies only that", function()
    assert.equal([[
d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a
e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b
92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00
true	false	false	false	false
<secret>	true
]], run [[
local key, public = c.sign_keys(x "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
print(c.hex(public))
print(c.hex(c.sign(key, "")))
print(c.hex(c.sign(x "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", x "72")))
local signature = c.sign(key, "text")
print(c.verify(public, "text", signature), c.verify(public, "test", signature), c.verify(public, "text", signature .. "x"),
  c.verify("short", "text", signature), c.verify(("\0"):rep(32), "text", ("\0"):rep(64)))
local made, its = c.sign_keys()
print(made, c.verify(its, "x", c.sign(made, "x")))]])
  end)

  it("has X25519 keys as RFC 7748 says (6.1), and NaCl's boxes", function()
    assert.equal(([[
8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a
de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f
%s
true	hello	auth
invalid	kt.crypto.box_seal: the peer's public key has 5 bytes; expected 32
invalid	kt.crypto.box_seal: the peer's public key is not valid
]]):format("f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b4da7f011"
      .. "ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de"
      .. "56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5"), run [[
local alice, alice_public = c.box_keys(x "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
local bob, bob_public = c.box_keys(x "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
print(c.hex(alice_public))
print(c.hex(bob_public))
local text = x("be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41db66cc"
  .. "e314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f9"
  .. "37763848645e0705")
local nonce = x "69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37"
local sealed = c.box_seal(alice, bob_public, text, { nonce = nonce })
print(c.hex(sealed))
print(c.box_open(bob, alice_public, sealed, { nonce = nonce }) == text,
  c.box_open(bob, alice_public, c.box_seal(alice, bob_public, "hello")), select(2, c.box_open(alice, alice_public, sealed)).code)
local function refused(peer)
  local _, err = c.box_seal(alice, peer, "x")
  print(err.code, err)
end
refused "short"
refused(("\0"):rep(32))]])
  end)

  it("makes keys of passwords by Argon2id, as libgcrypt does, which agrees with RFC 9106 (5.3)", function()
    assert.equal([[
<secret>	30e0b44b7e23423b7282859ea36f02825b5828dde3c25f124d59d42d7235e132
afaa780fc3b2498def53355895ae7ae7a4bcd8ff2ca64ffb
limit	kt.crypto.argon2id: the password has 1025 bytes; at most 1024 are allowed
]], run [[
local key = c.argon2id(kt.secret(("\1"):rep(32)), ("\2"):rep(16), { memory = "32KiB" })
print(key, c.hex(key):export())
print(c.hex(c.argon2id("password", "somesalt16bytes!", { memory = "1MiB", passes = 2, size = 24 })):export())
local _, err = c.argon2id(("x"):rep(1025), ("\2"):rep(16))
print(err.code, err)]])
  end)

  it("writes and reads hex and base64 as RFC 4648 says (10), one text for each sequence of bytes", function()
    assert.equal([[
 Zg== Zm8= Zm9v Zm9vYg== Zm9vYmE= Zm9vYmFy
 Zg Zm8 Zm9v Zm9vYg Zm9vYmE Zm9vYmFy
++/+	--_-	666f6f00ff	foo
0	10
invalid	kt.crypto.unhex: the text is not hex
invalid	kt.crypto.base64_decode: the text is not base64url
]], run [[
local std, url, bad = {}, {}, 0
for i = 0, 6 do
  local data = ("foobar"):sub(1, i)
  std[#std + 1], url[#url + 1] = c.base64_encode(data), c.base64_encode(data, "url")
  if c.base64_decode(std[#std]) ~= data or c.base64_decode(url[#url], "url") ~= data then bad = bad + 1 end
end
print(table.concat(std, " "))
print(table.concat(url, " "))
print(c.base64_encode "\xfb\xef\xfe", c.base64_encode("\xfb\xef\xfe", "url"), c.hex "foo\0\xff", c.unhex "666F6f")
local refused = 0
for _, text in ipairs { "Zg", "Zg=", "Zh==", "Zg==\n", " Zg==", "Z", "Zg==Zg==", "--_-", "Zm9v=", "Zm9\xf6" } do
  if not c.base64_decode(text) then refused = refused + 1 end
end
print(bad, refused)
for _, err in ipairs { select(2, c.unhex "0"), select(2, c.base64_decode("Zg==", "url")) } do print(err.code, err) end]])
  end)

  it("gives a secret for a secret, and its bytes only by export", function()
    assert.equal([[
<secret>	<secret>	<secret>	<secret>	<secret>	<secret>
true	true	false	true
false	true
attempt to concatenate	attempt to get length
]], run [[
local s = kt.secret "foo"
local hex, key = c.hex(s), c.key()
print(hex, c.unhex(hex), c.base64_encode(s), c.hash("sha256", s), c.hmac("sha512", "key", s), c.derive(key, "label"))
print(hex:export() == "666f6f", c.equal(c.derive(key, "a"), c.derive(key, "a")), c.equal(c.derive(key, "a"), c.derive(key, "b")),
  c.equal("foo", s))
print(c.equal("foo", "fooo"), #c.key(16):export() == 16)
print(select(2, pcall(function() return s .. "" end)):match "attempt to %a+", select(2, pcall(function() return #s end)):match "attempt to get length")]])
  end)

  it("holds no more than 4096 secrets, and as many as one likes one after the other", function()
    assert.equal("true\ns.lua:8: the script holds 4096 secrets, which is the limit\n", run [[
for _ = 1, 10000 do c.key() end
print(true)
local held = {}
local ok, err = pcall(function() for i = 1, 5000 do held[i] = c.key() end end)
print(err)]])
  end)

  it("repeats random bytes with the seed of the world, and not within it", function()
    local text = "print(c.hex(c.random(16)), c.hex(c.key()):export()) print(c.hex(c.random(16)), #c.random(0))"
    local one = run(text, 7)
    assert.equal(one, run(text, 7))
    assert.not_equal(one, run(text, 8))
    local first, second = one:match "^(%x+)\t%x+\n(%x+)\t0\n$"
    assert.not_equal(first, second)
  end)

  it("raises for misuse, and shows nothing of a key", function()
    local cases = {
      { 'c.hash("md5", "x")', 'kt.crypto.hash: unknown name "md5"; expected one of "blake2b", "sha256", "sha512", "sha1"' },
      { 'c.hash("sha256", "x", { size = 16 })', 'kt.crypto.hash: argument 3: only "blake2b" has a size and a key' },
      { 'c.hash("blake2b", "x", { key = "passw0rd" })', "kt.crypto.hash: key: expected 16 to 64 bytes, got 8" },
      { 'c.hash("blake2b", "x", { size = 65 })', "kt.crypto.hash.size: expected 16 to 64, got 65" },
      { 'c.hmac("md5", "k", "x")', 'kt.crypto.hmac: unknown name "md5"; expected one of "sha256", "sha512", "sha1"' },
      { 'c.aead_seal("passw0rd", "x")', "kt.crypto.aead_seal: argument 1: expected a key of 32 bytes, got 8" },
      { "c.aead_seal(c.key(), c.key())", "kt.crypto.aead_seal: argument 2: expected a string, got secret" },
      { 'c.aead_seal(c.key(), "x", { nonce = "short" })', "kt.crypto.aead_seal: nonce: expected 24 bytes, got 5" },
      { 'c.aead_seal(c.key(), "x", { add = "a" })', "kt.crypto.aead_seal.add: unknown key; did you mean aad?" },
      { 'c.sign({}, "x")', "kt.crypto.sign: argument 1: expected a string or a secret, got table" },
      { "c.random(-1)", "kt.crypto.random: argument 1: expected an integer (0 to 1048576), got -1" },
      { 'c.random "x"', "kt.crypto.random: argument 1: expected an integer (0 to 1048576), got string" },
      { "c.random(1.5)", "kt.crypto.random: argument 1: expected an integer (0 to 1048576), got 1.5" },
      { "c.key(8)", "kt.crypto.key: argument 1: expected an integer (16 to 64), got 8" },
      { 'c.base64_encode("x", "std")', 'kt.crypto.base64_encode: argument 2: expected "url" or nothing' },
      { 'c.argon2id("x", "salt")', "kt.crypto.argon2id: argument 2: expected a salt of 16 bytes, got 4" },
      { 'c.argon2id("x", ("s"):rep(16), { memory = "1GiB" })', "kt.crypto.argon2id.memory: expected 8KiB to 256MiB, got \"1GiB\"" },
      { 'c.random_bytes(1)', "kt.crypto.random_bytes: no such function; expected one of" },
    }
    local text = {}
    for i, case in ipairs(cases) do text[i] = ("print((select(2, pcall(function() %s end)):gsub('^s.lua:%%d+: ', '')))"):format(case[1]) end
    local i = 0
    for line in run(table.concat(text, "\n")):gmatch "[^\n]+" do
      i = i + 1
      assert.equal(cases[i][2], line:sub(1, #cases[i][2]))
    end
    assert.equal(#cases, i)
  end)
end)
