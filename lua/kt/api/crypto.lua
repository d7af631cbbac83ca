--- Describes kt.crypto, for kt.api.

return function(with)
  local def, method = with.def, with.method

  --- A function of kt.crypto that may be called anywhere, unless f says otherwise.
  local function crypto(name, signature, f)
    f.name, f.context, f.path = "kt.crypto." .. name, f.context or "any", f.argument and "kt.crypto." .. name or nil
    f.signature = "kt.crypto." .. name .. signature
    def(f)
  end

  local function param(name, kind, doc) return { name = name, type = kind, doc = doc } end
  local data = param("data", "string", "The data, at most 16 MiB.")
  local any = param("data", "string | secret", "The data, at most 16 MiB.")
  local function key(bytes, doc) return param("key", "secret | string", ("%s, %s."):format(doc, bytes)) end

  local function size(doc)
    return { name = "size", type = "integer", min = 16, max = 64, default = 32, doc = doc }
  end

  crypto("random", "(n) → string", {
    returns = "string", doc = "Returns n unpredictable bytes, at most 1 MiB, fit for nonces and salts; for a key use kt.crypto.key. On a simulated host they "
      .. "follow from the world's seed.",
    params = { { name = "n", type = "integer", min = 0, max = 1 << 20, doc = "How many." } },
  })
  crypto("key", "([n]) → secret", {
    returns = "secret", doc = "Makes a random key. On a simulated host it follows from the world's seed.",
    params = { { name = "n", type = "integer", min = 16, max = 64, optional = true, doc = "Its bytes; 32 by default." } },
  })
  crypto("equal", "(a, b) → boolean", {
    returns = "boolean", doc = "Compares in constant time: for MACs, tokens and passwords.",
    params = { param("a", "string | secret", "One."), param("b", "string | secret", "The other.") },
    example = "if not kt.crypto.equal(tag, kt.crypto.hmac(\"sha256\", key, message)) then return conn:reset \"denied\" end",
  })

  crypto("hash", '("blake2b" | "sha256" | "sha512" | "sha1", data [, { size = 32, key = … }]) → string | secret', {
    returns = "string", doc = "Returns the hash of the data, as bytes: BLAKE2b (RFC 7693), or SHA-2. With a key, BLAKE2b is a MAC. If the data is a "
      .. "secret, so is the result. For passwords use kt.crypto.argon2id. SHA-1 is not secure (collisions are known); it "
      .. "is for protocols that require it, such as WebSocket.",
    params = { param("name", '"blake2b" | "sha256" | "sha512" | "sha1"', "The hash."), any },
    optional = true,
    argument = { type = "table", keys = {
      size("Bytes of the result. Only BLAKE2b."),
      { name = "key", type = "secret", expected = "a key of 16 to 64 bytes", doc = "A key of 16 to 64 bytes. Only BLAKE2b." },
    } },
    example = 'local id = kt.crypto.hex(kt.crypto.hash("blake2b", text, { size = 16 }))',
  })
  crypto("hmac", '("sha256" | "sha512" | "sha1", key, data) → string | secret', {
    returns = "string", mac = true,
    doc = "Returns the HMAC (RFC 2104) of the data, as bytes. If the data is a secret, so is the result. Compare with kt.crypto.equal. "
      .. "\"sha1\" is for protocols that require it, such as TURN's passwords and one-time passwords (RFC 6238).",
    params = { param("name", '"sha256" | "sha512" | "sha1"', "The hash."), key("of any length", "The key"), any },
  })
  crypto("derive", "(key, label [, { size = 32 }]) → secret", {
    returns = "secret", doc = "Derives a key from another one: BLAKE2b of the label, with the key. Give each use of a key a label of its own.",
    params = { key("16 to 64 bytes", "The key to derive from"), param("label", "string", "What the new key is for.") },
    optional = true, argument = { type = "table", keys = { size "Bytes of the new key." } },
    example = 'local up, down = kt.crypto.derive(key, "client to server"), kt.crypto.derive(key, "server to client")',
  })
  crypto("argon2id", '(password, salt [, { size = 32, passes = 3, memory = "64MiB", timeout = "30s" }]) → secret | nil, err', {
    context = "task", returns = "secret | nil, err",
    doc = "Derives a key from a password, deliberately slowly: Argon2id (RFC 9106), version 1.3, one lane. Runs on another thread, one call at a time; the "
      .. "default takes about 0.1 s. Its memory does not count towards that of the script. With 16 calls in progress, err.code of a further one is "
      .. "\"limit\": limit attempts per client, because calls run one at a time.",
    fails = { "limit", "timeout", "memory" },
    params = {
      param("password", "secret | string", "The password, at most 1024 bytes."),
      param("salt", "string", "16 bytes, random and kept with the result."),
    },
    optional = true,
    argument = { type = "table", keys = {
      size "Bytes of the result.",
      { name = "passes", type = "integer", min = 1, max = 16, default = 3, doc = "Passes over the memory." },
      { name = "memory", type = "size", min = 8192, max = 256 << 20, default = 64 << 20, doc = "The memory that it takes." },
      { name = "timeout", type = "duration", max = 86400, default = 30, doc = "Timeout for the whole call, including the wait for other calls." },
    } },
    example = [[
local salt = kt.crypto.random(16)
local stored = assert(kt.crypto.argon2id(password, salt)):export()
-- later
local again = assert(kt.crypto.argon2id(given, salt))
if not kt.crypto.equal(stored, again) then return conn:reset "denied" end]],
  })

  local SEPARATE = "A 24-byte nonce that you send separately; it is not included in the result."

  local function aead(nonce_doc)
    return { type = "table", keys = {
      { name = "aad", type = "secret", expected = "a string", doc = "Additional data that is authenticated but not encrypted." },
      { name = "nonce", type = "secret", expected = "a nonce of 24 bytes", doc = nonce_doc },
    } }
  end
  crypto("aead_seal", "(key, data [, { aad = …, nonce = … }]) → sealed", {
    returns = "string", doc = "Encrypts and authenticates data: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha). The result begins with a random nonce and "
      .. "is 40 bytes longer than the data. Any number of messages may have the same key. It does not prevent replay: put a number into the data.",
    params = { key("32 bytes", "The key"), data },
    optional = true, argument = aead(SEPARATE .. " Never use one twice with a key."),
    example = [[
local key = kt.crypto.key()
local sealed = kt.crypto.aead_seal(key, "hello", { aad = "greeting" })
local data, err = kt.crypto.aead_open(key, sealed, { aad = "greeting" })]],
  })
  crypto("aead_open", "(key, sealed [, { aad = …, nonce = … }]) → data | nil, err", {
    returns = "string | nil, err", doc = "Opens the result of kt.crypto.aead_seal. err.code is \"auth\" if the data, key or aad does not match.",
    fails = { "auth" },
    params = { key("32 bytes", "The key"), param("sealed", "string", "The sealed data.") },
    optional = true, argument = aead "The 24-byte nonce that was given to kt.crypto.aead_seal, if one was.",
  })

  crypto("sign_keys", "([key]) → secret, public", {
    returns = "secret, string", doc = "Makes a key pair for signatures (Ed25519, RFC 8032): the private key, a secret of 32 bytes, and the public key. With "
      .. "a private key, returns that one and its public key.",
    params = { { name = "key", type = "secret | string", optional = true, doc = "A private key of 32 bytes." } },
    example = [[
local private, public = kt.crypto.sign_keys()
local signature = kt.crypto.sign(private, "text")
assert(kt.crypto.verify(public, "text", signature))]],
  })
  crypto("sign", "(key, data) → signature", {
    returns = "string", doc = "Signs data; the signature has 64 bytes.", params = { key("32 bytes", "The private key"), data },
  })
  crypto("verify", "(public, data, signature) → boolean", {
    returns = "boolean", doc = "True if the signature was made with the matching private key; false for a malformed signature or key.",
    params = { param("public", "string", "The public key."), data, param("signature", "string", "The signature.") },
  })

  local function nonce(nonce_doc)
    return { type = "table", keys = {
      { name = "nonce", type = "secret", expected = "a nonce of 24 bytes", doc = nonce_doc },
    } }
  end
  local peer = param("peer", "string", "The peer's public key.")
  crypto("box_keys", "([key]) → secret, public", {
    returns = "secret, string", doc = "Makes a key pair for boxes (X25519, RFC 7748): the private key, a secret of 32 bytes, and the public key. With a "
      .. "private key, returns that one and its public key.",
    params = { { name = "key", type = "secret | string", optional = true, doc = "A private key of 32 bytes." } },
  })
  crypto("box_seal", "(key, peer, data [, { nonce = … }]) → sealed | nil, err", {
    returns = "string | nil, err", doc = "Encrypts data for the owner of a public key, and proves to them who sent it: NaCl's crypto_box (X25519, "
      .. "XSalsa20-Poly1305). The result begins with a random nonce and is 40 bytes longer than the data.",
    fails = { "invalid" },
    params = { key("32 bytes", "One's own private key"), peer, data },
    optional = true, argument = nonce(SEPARATE .. " Never use one twice with the same two keys."),
    example = [[
local private, public = kt.crypto.box_keys()          -- public goes to the peer, and theirs comes from there
local sealed, err = kt.crypto.box_seal(private, theirs, "hello")]],
  })
  crypto("box_open", "(key, peer, sealed [, { nonce = … }]) → data | nil, err", {
    returns = "string | nil, err", doc = "Opens the result of kt.crypto.box_seal. err.code is \"auth\" if it is not from that peer to this key.",
    fails = { "auth", "invalid" },
    params = { key("32 bytes", "One's own private key"), peer, param("sealed", "string", "The sealed data.") },
    optional = true, argument = nonce "The 24-byte nonce that was given to kt.crypto.box_seal, if one was.",
  })

  local text = param("text", "string | secret", "The text.")
  local kind = { name = "alphabet", type = '"url"', optional = true, doc = 'With "url": `-` and `_` instead of `+` and `/`, and no padding.' }
  crypto("hex", "(data) → text", {
    returns = "string", doc = "Returns the data in lower-case hex; as a secret if the data is one.", params = { any },
  })
  crypto("unhex", "(text) → data | nil, err", {
    returns = "string | nil, err", doc = "Returns the bytes that hex stands for; as a secret if the text is one.", fails = { "invalid" }, params = { text },
  })
  crypto("base64_encode", '(data [, "url"]) → text', {
    returns = "string", doc = "Returns the data in base64 (RFC 4648); as a secret if the data is one.", params = { any, kind },
  })
  crypto("base64_decode", '(text [, "url"]) → data | nil, err', {
    returns = "string | nil, err", doc = "Returns the bytes that base64 stands for; as a secret if the text is one. Accepts one text for each sequence of "
      .. "bytes: no spaces, all of the padding, and zero in unused bits.",
    fails = { "invalid" }, params = { text, kind },
  })

  method("secret", {
    name = "export", context = "any", returns = "string", signature = "export() → string",
    doc = "Returns the secret as a string, to store or send it; the string is no longer protected from printing.",
    example = 'kt.append("/var/lib/tunnel/keys", kt.crypto.base64_encode(key):export() .. "\\n")',
  })
end
