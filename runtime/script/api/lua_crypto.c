/* kt.crypto, but for argon2id: argument checks around crypto/primitives.h.
 *
 * Invariant: what is made of a secret is a secret or public: no function here copies a secret's bytes, or a key derived
 * from them, into a Lua string. Random bytes come from the io, so that a simulated world repeats. */
#include <string.h>
#include "crypto/hash.h"
#include "crypto/primitives.h"
#include "script/core/handle.h"
#include "script/api/api.h"

#define DATA_MAX ((size_t)16 << 20)
#define RANDOM_MAX ((size_t)1 << 20)
#define CRYPTO "kt.crypto."
#define CALL 1000u /* what a call costs at least, in instructions: 20 µs, a public-key operation */

/* ---- arguments ---- */

/* Counts work on n bytes, which takes about as long as this many instructions. */
static void worked(lua_State *L, size_t n)
{
    if (kt_guard_worked(kt_guard_of(L), n / KT_GUARD_BYTES * 8 + CALL)) kt_guard_raise(L);
}

/* A string, or a secret if `secret` is not NULL, which then says which. */
static struct kt_bytes bytes_arg(lua_State *L, int idx, const char *what, bool *secret)
{
    struct kt_bytes b = {0};
    const bool text = lua_type(L, idx) == LUA_TSTRING;
    if (text || secret) b.data = kt_lua_secret_bytes(L, idx, &b.len);
    if (!b.data)
        kt_raise(L, "%s: argument %d: expected a string%s, got %s", what, idx, secret ? " or a secret" : "",
            kt_type_name(L, idx));
    if (b.len > DATA_MAX)
        kt_raise(L, "%s: argument %d: %I bytes; at most %I are allowed", what, idx, (lua_Integer)b.len,
            (lua_Integer)DATA_MAX);
    if (secret) *secret = !text;
    worked(L, b.len);
    return b;
}

/* A key of `size` bytes, as a secret or a string. */
static const uint8_t *key_arg(lua_State *L, int idx, const char *what, size_t size)
{
    bool secret;
    const struct kt_bytes b = bytes_arg(L, idx, what, &secret);
    if (b.len != size)
        kt_raise(L, "%s: argument %d: expected a key of %d bytes, got %I", what, idx, (int)size,
            (lua_Integer)b.len);
    return b.data;
}

/* The message shows numbers only: text may be a key. */
static lua_Integer integer_arg(lua_State *L, int idx, const char *what, lua_Integer min, lua_Integer max)
{
    int whole = 0;
    const lua_Integer n = lua_type(L, idx) == LUA_TNUMBER ? lua_tointegerx(L, idx, &whole) : 0;
    if (!whole || n < min || n > max)
        kt_raise(L, "%s: argument %d: expected an integer (%I to %I), got %s", what, idx, min, max,
            lua_type(L, idx) == LUA_TNUMBER ? lua_tostring(L, idx) : kt_type_name(L, idx));
    return n;
}

/* The field of the options table at idx, a string or a secret; left on the stack. False if it is not given. */
static bool option(lua_State *L, int idx, const char *what, const char *key, struct kt_bytes *out)
{
    if (!lua_istable(L, idx)) return false;
    lua_pushstring(L, key);
    if (lua_rawget(L, idx) == LUA_TNIL) return false;
    out->data = kt_lua_secret_bytes(L, -1, &out->len);
    if (!out->data)
        kt_raise(L, "%s: %s: expected a string or a secret, got %s", what, key, kt_type_name(L, -1));
    return true;
}

/* ---- results ---- */

/* A string or a secret that is being filled. */
struct result {
    luaL_Buffer buf;
    bool secret;
};

static uint8_t *begin(lua_State *L, struct result *r, size_t n, bool secret)
{
    r->secret = secret;
    return (uint8_t *)(secret ? kt_lua_secret_new(L, n) : luaL_buffinitsize(L, &r->buf, n));
}

/* Pushes it. */
static int finish(struct result *r, size_t n)
{
    if (!r->secret) luaL_pushresultsize(&r->buf, n);
    return 1;
}

static int unauthentic(lua_State *L, const char *what)
{
    return kt_lua_err_return(L, KT_EAUTH, lua_pushfstring(L, "%s: the data does not authenticate", what));
}

/* ---- random bytes ---- */

/* kt.crypto.random(n) → string */
static int crypto_random(lua_State *L)
{
    const size_t n = (size_t)integer_arg(L, 1, CRYPTO "random", 0, (lua_Integer)RANDOM_MAX);
    struct result r;
    worked(L, n);
    kt_io_random(kt_runtime_io(kt_runtime_of(L)), begin(L, &r, n, false), n);
    return finish(&r, n);
}

/* kt.crypto.key([n]) → secret */
static int crypto_key(lua_State *L)
{
    const size_t n = lua_isnoneornil(L, 1) ? KT_XCHACHA_KEY : (size_t)integer_arg(L, 1, CRYPTO "key", 16, 64);
    kt_io_random(kt_runtime_io(kt_runtime_of(L)), kt_lua_secret_new(L, n), n);
    return 1;
}

/* kt.crypto.equal(a, b) → boolean */
static int crypto_equal(lua_State *L)
{
    bool secret;
    const struct kt_bytes a = bytes_arg(L, 1, CRYPTO "equal", &secret),
                          b = bytes_arg(L, 2, CRYPTO "equal", &secret);
    lua_pushboolean(L, a.len == b.len && kt_same_secret(a.data, b.data, a.len));
    return 1;
}

/* ---- hashes and MACs ---- */

/* The SHA-1 or SHA-2 of this name; raises for any other. others: further names that the caller knows, for the
 * message. */
static enum kt_sha sha_arg(lua_State *L, const char *what, const char *others)
{
    const char *name = lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : NULL;
    if (!name) kt_raise(L, "%s: argument 1: expected a name, got %s", what, kt_type_name(L, 1));
    if (strcmp(name, "sha256") == 0) return KT_SHA256;
    if (strcmp(name, "sha512") == 0) return KT_SHA512;
    if (strcmp(name, "sha1") == 0) return KT_SHA1;
    kt_raise(
        L, "%s: unknown name \"%s\"; expected one of %s\"sha256\", \"sha512\", \"sha1\"", what, name, others);
}

/* kt.crypto.hash(name, data [, { size = 32, key = … }]) → string; a secret if data is one */
static int crypto_hash(lua_State *L)
{
    static const char what[] = CRYPTO "hash";
    struct kt_opt_integer size = {.value = KT_HASH, .min = KT_BLAKE2B_MIN, .max = KT_BLAKE2B_MAX};
    bool has_key = false, secret;
    const struct kt_opt opts[] = {{"size", KT_OPT_INTEGER, &size}, {"key", KT_OPT_ANY, &has_key}};
    lua_settop(L, 3);
    const bool blake = lua_type(L, 1) == LUA_TSTRING && strcmp(lua_tostring(L, 1), "blake2b") == 0;
    const enum kt_sha sha = blake ? KT_SHA256 : sha_arg(L, what, "\"blake2b\", ");
    const struct kt_bytes data = bytes_arg(L, 2, what, &secret);
    kt_opts_read(L, 3, what, opts, sizeof opts / sizeof *opts);
    if (!blake && !lua_isnil(L, 3))
        return kt_raise(L, "%s: argument 3: only \"blake2b\" has a size and a key", what);
    struct kt_bytes key = {0};
    if (option(L, 3, what, "key", &key) && (key.len < KT_BLAKE2B_MIN || key.len > KT_BLAKE2B_MAX))
        return kt_raise(L, "%s: key: expected %d to %d bytes, got %I", what, (int)KT_BLAKE2B_MIN,
            (int)KT_BLAKE2B_MAX, (lua_Integer)key.len);
    const size_t n = blake ? (size_t)size.value : kt_sha_size(sha);
    struct result r;
    uint8_t *out = begin(L, &r, n, secret);
    if (blake)
        kt_blake2b(out, n, key, data);
    else
        kt_sha(sha, out, data);
    return finish(&r, n);
}

/* kt.crypto.hmac(name, key, data) → string; a secret if data is one */
static int crypto_hmac(lua_State *L)
{
    static const char what[] = CRYPTO "hmac";
    bool secret;
    const enum kt_sha sha = sha_arg(L, what, "");
    const struct kt_bytes key = bytes_arg(L, 2, what, &secret), data = bytes_arg(L, 3, what, &secret);
    struct result r;
    kt_hmac(sha, begin(L, &r, kt_sha_size(sha), secret), key, data);
    return finish(&r, kt_sha_size(sha));
}

/* kt.crypto.derive(key, label [, { size = 32 }]) → secret */
static int crypto_derive(lua_State *L)
{
    static const char what[] = CRYPTO "derive";
    struct kt_opt_integer size = {.value = KT_HASH, .min = KT_BLAKE2B_MIN, .max = KT_BLAKE2B_MAX};
    const struct kt_opt opts[] = {{"size", KT_OPT_INTEGER, &size}};
    bool secret;
    lua_settop(L, 3);
    const struct kt_bytes key = bytes_arg(L, 1, what, &secret), label = bytes_arg(L, 2, what, NULL);
    if (key.len < KT_BLAKE2B_MIN || key.len > KT_BLAKE2B_MAX)
        return kt_raise(L, "%s: argument 1: expected a key of %d to %d bytes, got %I", what,
            (int)KT_BLAKE2B_MIN, (int)KT_BLAKE2B_MAX, (lua_Integer)key.len);
    kt_opts_read(L, 3, what, opts, sizeof opts / sizeof *opts);
    kt_blake2b((uint8_t *)kt_lua_secret_new(L, (size_t)size.value), (size_t)size.value, key, label);
    return 1;
}

/* ---- the AEAD ---- */

/* The nonce of the options at idx, or NULL: it begins the sealed data. */
static const uint8_t *nonce_option(lua_State *L, int idx, const char *what, size_t size)
{
    struct kt_bytes nonce;
    if (!option(L, idx, what, "nonce", &nonce)) return NULL;
    if (nonce.len != size)
        kt_raise(L, "%s: nonce: expected %d bytes, got %I", what, (int)size, (lua_Integer)nonce.len);
    return nonce.data;
}

/* Begins sealed data of n bytes, after a nonce if none is given. Returns where the data goes; *nonce: its nonce. */
static uint8_t *begin_sealed(
    lua_State *L, struct result *r, size_t n, size_t nonce_size, const uint8_t **nonce)
{
    if (*nonce) return begin(L, r, n, false);
    uint8_t *out = begin(L, r, nonce_size + n, false);
    kt_io_random(kt_runtime_io(kt_runtime_of(L)), out, nonce_size);
    *nonce = out;
    return out + nonce_size;
}

/* Takes the nonce off the sealed data if none is given. False if it is too short. */
static bool take_nonce(struct kt_bytes *sealed, size_t nonce_size, size_t tag_size, const uint8_t **nonce)
{
    const size_t own = *nonce ? 0 : nonce_size;
    if (sealed->len < own + tag_size) return false;
    if (own) *nonce = sealed->data;
    sealed->data = (const uint8_t *)sealed->data + own;
    sealed->len -= own;
    return true;
}

static void aead_options(lua_State *L, const char *what, struct kt_bytes *aad, const uint8_t **nonce)
{
    bool given;
    const struct kt_opt opts[] = {{"aad", KT_OPT_ANY, &given}, {"nonce", KT_OPT_ANY, &given}};
    lua_settop(L, 3);
    kt_opts_read(L, 3, what, opts, sizeof opts / sizeof *opts);
    option(L, 3, what, "aad", aad);
    *nonce = nonce_option(L, 3, what, KT_XCHACHA_NONCE);
}

/* kt.crypto.aead_seal(key, data [, { aad = …, nonce = … }]) → sealed */
static int aead_seal(lua_State *L)
{
    static const char what[] = CRYPTO "aead_seal";
    const uint8_t *key = key_arg(L, 1, what, KT_XCHACHA_KEY), *nonce;
    const struct kt_bytes data = bytes_arg(L, 2, what, NULL);
    struct kt_bytes aad = {0};
    struct result r;
    aead_options(L, what, &aad, &nonce);
    const size_t n = data.len + KT_XCHACHA_TAG + (nonce ? 0 : KT_XCHACHA_NONCE);
    uint8_t *out = begin_sealed(L, &r, data.len + KT_XCHACHA_TAG, KT_XCHACHA_NONCE, &nonce);
    kt_xchacha_seal(out, key, nonce, aad, data);
    return finish(&r, n);
}

/* kt.crypto.aead_open(key, sealed [, { aad = …, nonce = … }]) → data | nil, err */
static int aead_open(lua_State *L)
{
    static const char what[] = CRYPTO "aead_open";
    const uint8_t *key = key_arg(L, 1, what, KT_XCHACHA_KEY), *nonce;
    struct kt_bytes sealed = bytes_arg(L, 2, what, NULL), aad = {0};
    struct result r;
    aead_options(L, what, &aad, &nonce);
    if (!take_nonce(&sealed, KT_XCHACHA_NONCE, KT_XCHACHA_TAG, &nonce)) return unauthentic(L, what);
    const size_t n = sealed.len - KT_XCHACHA_TAG;
    if (kt_xchacha_open(begin(L, &r, n, false), key, nonce, aad, sealed)) return unauthentic(L, what);
    return finish(&r, n);
}

/* ---- key pairs ---- */

/* Pushes the private key: a new one, or that at index 1, as a secret. Returns its bytes. */
static const uint8_t *private_key(lua_State *L, const char *what, size_t size)
{
    lua_settop(L, 1);
    if (lua_isnil(L, 1)) {
        char *fresh = kt_lua_secret_new(L, size);
        kt_io_random(kt_runtime_io(kt_runtime_of(L)), fresh, size);
        return (const uint8_t *)fresh;
    }
    const uint8_t *key = key_arg(L, 1, what, size);
    if (lua_type(L, 1) != LUA_TSTRING) {
        lua_pushvalue(L, 1);
        return key;
    }
    return memcpy(kt_lua_secret_new(L, size), key, size);
}

static int keys(lua_State *L, const char *what, void (*derive)(const uint8_t *key, uint8_t *public_key))
{
    uint8_t public_key[KT_SIGN_KEY];
    worked(L, 0);
    derive(private_key(L, what, sizeof public_key), public_key);
    lua_pushlstring(L, (const char *)public_key, sizeof public_key);
    return 2;
}

/* kt.crypto.sign_keys([key]) → secret, public key */
static int sign_keys(lua_State *L)
{
    return keys(L, CRYPTO "sign_keys", kt_sign_public);
}

/* kt.crypto.box_keys([key]) → secret, public key */
static int box_keys(lua_State *L)
{
    return keys(L, CRYPTO "box_keys", kt_box_public);
}

/* ---- signatures ---- */

/* kt.crypto.sign(key, data) → signature */
static int crypto_sign(lua_State *L)
{
    static const char what[] = CRYPTO "sign";
    const uint8_t *key = key_arg(L, 1, what, KT_SIGN_KEY);
    const struct kt_bytes data = bytes_arg(L, 2, what, NULL);
    uint8_t signature[KT_SIGNATURE];
    kt_sign(signature, key, data);
    lua_pushlstring(L, (const char *)signature, sizeof signature);
    return 1;
}

/* kt.crypto.verify(public key, data, signature) → boolean */
static int crypto_verify(lua_State *L)
{
    static const char what[] = CRYPTO "verify";
    const struct kt_bytes key = bytes_arg(L, 1, what, NULL), data = bytes_arg(L, 2, what, NULL),
                          signature = bytes_arg(L, 3, what, NULL);
    lua_pushboolean(L,
        key.len == KT_SIGN_KEY && signature.len == KT_SIGNATURE && kt_verify(key.data, data, signature.data));
    return 1;
}

/* ---- boxes ---- */

/* Reads the arguments of a box: key, peer's public key, data and options. Returns 0, or pushes nil and an err. */
static int box_args(lua_State *L, const char *what, const uint8_t **key, const uint8_t **peer,
    struct kt_bytes *data, const uint8_t **nonce)
{
    bool given;
    const struct kt_opt opts[] = {{"nonce", KT_OPT_ANY, &given}};
    lua_settop(L, 4);
    *key = key_arg(L, 1, what, KT_BOX_KEY);
    const struct kt_bytes public_key = bytes_arg(L, 2, what, NULL);
    *data = bytes_arg(L, 3, what, NULL);
    kt_opts_read(L, 4, what, opts, sizeof opts / sizeof *opts);
    *nonce = nonce_option(L, 4, what, KT_BOX_NONCE);
    *peer = public_key.data;
    if (public_key.len == KT_BOX_KEY) return 0;
    return kt_lua_err_return(L, KT_EINVAL,
        lua_pushfstring(L, "%s: the peer's public key has %I bytes; expected %d", what,
            (lua_Integer)public_key.len, (int)KT_BOX_KEY));
}

/* kt.crypto.box_seal(key, peer's public key, data [, { nonce = … }]) → sealed | nil, err */
static int box_seal(lua_State *L)
{
    static const char what[] = CRYPTO "box_seal";
    const uint8_t *key, *peer, *nonce;
    struct kt_bytes data;
    struct result r;
    const int failed = box_args(L, what, &key, &peer, &data, &nonce);
    if (failed) return failed;
    const size_t n = data.len + KT_BOX_TAG + (nonce ? 0 : KT_BOX_NONCE);
    uint8_t *out = begin_sealed(L, &r, data.len + KT_BOX_TAG, KT_BOX_NONCE, &nonce);
    if (kt_box_seal(out, key, peer, nonce, data))
        return kt_lua_err_return(
            L, KT_EINVAL, lua_pushfstring(L, "%s: the peer's public key is not valid", what));
    return finish(&r, n);
}

/* kt.crypto.box_open(key, peer's public key, sealed [, { nonce = … }]) → data | nil, err */
static int box_open(lua_State *L)
{
    static const char what[] = CRYPTO "box_open";
    const uint8_t *key, *peer, *nonce;
    struct kt_bytes sealed;
    struct result r;
    const int failed = box_args(L, what, &key, &peer, &sealed, &nonce);
    if (failed) return failed;
    if (!take_nonce(&sealed, KT_BOX_NONCE, KT_BOX_TAG, &nonce)) return unauthentic(L, what);
    const size_t n = sealed.len - KT_BOX_TAG;
    if (kt_box_open(begin(L, &r, n, false), key, peer, nonce, sealed)) return unauthentic(L, what);
    return finish(&r, n);
}

/* ---- texts ---- */

static int encode(lua_State *L, const char *what, enum kt_encoding kind)
{
    bool secret;
    struct result r;
    const struct kt_bytes data = bytes_arg(L, 1, what, &secret);
    const size_t size = kt_encoded_size(kind, data.len);
    kt_encode(
        kind, (char *)begin(L, &r, secret ? size - 1 : size, secret), data); /* a secret has room for a NUL */
    return finish(&r, size - 1);
}

static int decode(lua_State *L, const char *what, enum kt_encoding kind, const char *name)
{
    bool secret;
    struct result r;
    size_t n;
    const struct kt_bytes text = bytes_arg(L, 1, what, &secret);
    uint8_t *out = begin(L, &r, text.len, secret);
    if (kt_decode(kind, out, text, &n))
        return kt_lua_err_return(L, KT_EINVAL, lua_pushfstring(L, "%s: the text is not %s", what, name));
    if (!secret) return finish(&r, n);
    memcpy(kt_lua_secret_new(L, n), out, n);
    return 1;
}

/* kt.crypto.hex(data) → text; a secret if data is one, as for all of these */
static int crypto_hex(lua_State *L)
{
    return encode(L, CRYPTO "hex", KT_ENCODING_HEX);
}

/* kt.crypto.unhex(text) → data | nil, err */
static int crypto_unhex(lua_State *L)
{
    return decode(L, CRYPTO "unhex", KT_ENCODING_HEX, "hex");
}

/* nil or "url" */
static enum kt_encoding alphabet(lua_State *L, const char *what)
{
    if (lua_isnoneornil(L, 2)) return KT_ENCODING_BASE64;
    if (lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "url") == 0) return KT_ENCODING_BASE64URL;
    kt_raise(L, "%s: argument 2: expected \"url\" or nothing", what);
}

/* kt.crypto.base64_encode(data [, "url"]) → text */
static int base64_encode(lua_State *L)
{
    return encode(L, CRYPTO "base64_encode", alphabet(L, CRYPTO "base64_encode"));
}

/* kt.crypto.base64_decode(text [, "url"]) → data | nil, err */
static int base64_decode(lua_State *L)
{
    const enum kt_encoding kind = alphabet(L, CRYPTO "base64_decode");
    return decode(L, CRYPTO "base64_decode", kind, kind == KT_ENCODING_BASE64 ? "base64" : "base64url");
}

void kt_lua_crypto(lua_State *L)
{
    static const luaL_Reg functions[] = {{"random", crypto_random}, {"key", crypto_key},
        {"equal", crypto_equal}, {"hash", crypto_hash}, {"hmac", crypto_hmac}, {"derive", crypto_derive},
        {"aead_seal", aead_seal}, {"aead_open", aead_open}, {"sign_keys", sign_keys}, {"sign", crypto_sign},
        {"verify", crypto_verify}, {"box_keys", box_keys}, {"box_seal", box_seal}, {"box_open", box_open},
        {"hex", crypto_hex}, {"unhex", crypto_unhex}, {"base64_encode", base64_encode},
        {"base64_decode", base64_decode}, {NULL, NULL}};
    luaL_newlib(L, functions);
    kt_lua_argon2id(L);
    lua_setfield(L, -2, "crypto");
}
