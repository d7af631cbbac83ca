/* Binding of what kt's own wire takes from runtime/crypto: Noise, AEADs, masks, replay windows, hashes. Strings in,
 * strings out. Data is in blocks of exactly its size, so that AddressSanitizer catches accesses past the end.
 * An expected failure returns nil and the error's name. */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/aead.h"
#include "crypto/crypto.h"
#include "crypto/hash.h"
#include "crypto/keyfile.h"
#include "crypto/mask.h"
#include "crypto/noise.h"
#include "crypto/replay.h"
#include "block.h"
#include "class.h"
#include "results.h"

#define NOISE "kt.noise"
#define AEAD "kt.aead"
#define REPLAY "kt.replay"

int luaopen_spec_noise(lua_State *L);

/* --- Noise --- */

static const uint8_t *key_field(lua_State *L, const char *name)
{
    size_t n = 0;
    lua_getfield(L, 1, name);
    const char *s = lua_tolstring(L, -1, &n);
    luaL_argcheck(L, !s || n == KT_NOISE_KEY, 1, name);
    return (const uint8_t *)s; /* the table keeps it */
}

static int new_noise(lua_State *L) /* {pattern, initiator, prologue, psk, static, remote} -> handshake */
{
    static const char *const patterns[] = {"NNpsk0", "IKpsk2", NULL};
    uint8_t static_public[KT_NOISE_KEY];
    lua_getfield(L, 1, "pattern");
    struct kt_noise_opts opts = {.pattern = (enum kt_noise_pattern)luaL_checkoption(L, -1, NULL, patterns)};
    lua_getfield(L, 1, "initiator");
    opts.initiator = lua_toboolean(L, -1);
    lua_getfield(L, 1, "prologue");
    opts.prologue = luaL_checklstring(L, -1, &opts.prologue_len);
    opts.psk = key_field(L, "psk");
    opts.static_private = key_field(L, "static");
    opts.remote_static = key_field(L, "remote");
    if (opts.static_private) kt_noise_public(opts.static_private, static_public);
    opts.static_public = static_public;
    struct kt_noise *n = lua_newuserdatauv(L, sizeof *n, 0);
    luaL_setmetatable(L, NOISE);
    kt_noise_init(n, &opts);
    return 1;
}

static int noise_write(lua_State *L) /* (ephemeral, payload) -> message */
{
    struct kt_noise *n = luaL_checkudata(L, 1, NOISE);
    size_t len;
    const uint8_t *e = exactly(L, 2, KT_NOISE_KEY);
    const char *payload = luaL_checklstring(L, 3, &len);
    const size_t size = len + kt_noise_overhead(n->pattern, n->initiator ? 1 : 2);
    uint8_t *out = block(L, NULL, size);
    const int rc = kt_noise_write(n, e, payload, len, out);
    if (rc < 0) free(out);
    return rc < 0 ? fail(L, rc) : push_block(L, out, (size_t)rc);
}

static int noise_read(lua_State *L) /* (message) -> payload */
{
    struct kt_noise *n = luaL_checkudata(L, 1, NOISE);
    size_t len;
    const char *message = luaL_checklstring(L, 2, &len);
    uint8_t *data = block(L, message, len), *payload = block(L, NULL, len);
    const int rc = kt_noise_read(n, data, len, payload);
    free(data);
    if (rc < 0) free(payload);
    return rc < 0 ? fail(L, rc) : push_block(L, payload, (size_t)rc);
}

static int noise_split(lua_State *L) /* () -> first key, second key, handshake hash */
{
    const struct kt_noise *n = luaL_checkudata(L, 1, NOISE);
    uint8_t first[KT_NOISE_KEY], second[KT_NOISE_KEY];
    kt_noise_split(n, first, second);
    lua_pushlstring(L, (const char *)first, sizeof first);
    lua_pushlstring(L, (const char *)second, sizeof second);
    lua_pushlstring(L, (const char *)n->h, sizeof n->h);
    return 3;
}

static int noise_remote(lua_State *L) /* () -> the peer's static key */
{
    const struct kt_noise *n = luaL_checkudata(L, 1, NOISE);
    lua_pushlstring(L, (const char *)n->rs, sizeof n->rs);
    return 1;
}

static int noise_public(lua_State *L) /* (private) -> public */
{
    uint8_t out[KT_NOISE_KEY];
    kt_noise_public(exactly(L, 1, KT_NOISE_KEY), out);
    lua_pushlstring(L, (const char *)out, sizeof out);
    return 1;
}

static int noise_gc(lua_State *L)
{
    kt_noise_wipe(luaL_checkudata(L, 1, NOISE));
    return 0;
}

/* --- AEADs, masks, hashes --- */

static int new_aead(lua_State *L) /* (method, key) -> aead */
{
    static const char *const names[] = {"aes-256-gcm", "chacha20-poly1305", NULL};
    static const enum kt_aead_method methods[] = {KT_AEAD_AES_256_GCM, KT_AEAD_CHACHA20_POLY1305};
    const enum kt_aead_method method = methods[luaL_checkoption(L, 1, NULL, names)];
    const uint8_t *key = exactly(L, 2, KT_AEAD_KEY);
    struct kt_aead **a = lua_newuserdatauv(L, sizeof *a, 0);
    *a = NULL;
    luaL_setmetatable(L, AEAD);
    const int rc = kt_aead_new(a, method, key);
    return rc < 0 ? fail(L, rc) : 1;
}

static struct kt_aead *aead(lua_State *L)
{
    return *(struct kt_aead **)luaL_checkudata(L, 1, AEAD);
}

static int aead_gc(lua_State *L)
{
    kt_aead_free(aead(L));
    return 0;
}

static int aead_rekey(lua_State *L) /* (key) */
{
    kt_aead_rekey(aead(L), exactly(L, 2, KT_AEAD_KEY));
    return 0;
}

static int aead_seal(lua_State *L) /* (nonce, ad, text) -> sealed */
{
    size_t ad_len, n;
    const uint8_t *nonce = exactly(L, 2, KT_AEAD_NONCE);
    const char *ad = luaL_checklstring(L, 3, &ad_len), *text = luaL_checklstring(L, 4, &n);
    uint8_t *data = block(L, NULL, n + KT_AEAD_TAG);
    memcpy(data, text, n);
    kt_aead_seal(aead(L), nonce, (const uint8_t *)ad, ad_len, data, n);
    return push_block(L, data, n + KT_AEAD_TAG);
}

static int aead_open(lua_State *L) /* (nonce, ad, sealed) -> text */
{
    size_t ad_len, n;
    const uint8_t *nonce = exactly(L, 2, KT_AEAD_NONCE);
    const char *ad = luaL_checklstring(L, 3, &ad_len), *sealed = luaL_checklstring(L, 4, &n);
    luaL_argcheck(L, n >= KT_AEAD_TAG, 4, "too short");
    uint8_t *data = block(L, sealed, n);
    const int rc = kt_aead_open(aead(L), nonce, (const uint8_t *)ad, ad_len, data, n - KT_AEAD_TAG);
    if (rc < 0) free(data);
    return rc < 0 ? fail(L, rc) : push_block(L, data, n - KT_AEAD_TAG);
}

static int methods(lua_State *L) /* () -> bits */
{
    lua_pushinteger(L, kt_aead_methods());
    return 1;
}

static int mask(lua_State *L) /* (key, sample) -> mask */
{
    uint8_t out[KT_MASK];
    kt_mask(exactly(L, 1, KT_MASK_KEY), exactly(L, 2, KT_MASK_SAMPLE), out);
    lua_pushlstring(L, (const char *)out, sizeof out);
    return 1;
}

static int mask_stream(lua_State *L) /* (key, sample, data) -> masked */
{
    size_t n;
    const uint8_t *key = exactly(L, 1, KT_MASK_STREAM_KEY), *sample = exactly(L, 2, KT_MASK_SAMPLE);
    const char *from = luaL_checklstring(L, 3, &n);
    uint8_t *data = block(L, from, n);
    kt_mask_stream(key, sample, data, n);
    return push_block(L, data, n);
}

static int hash(lua_State *L) /* (key or nil, a, b) -> 32 bytes */
{
    size_t a_len, b_len;
    const uint8_t *key = lua_isnil(L, 1) ? NULL : exactly(L, 1, KT_HASH);
    const char *a = luaL_checklstring(L, 2, &a_len), *b = luaL_checklstring(L, 3, &b_len);
    uint8_t out[KT_HASH];
    kt_hash(out, key, a, a_len, b, b_len);
    lua_pushlstring(L, (const char *)out, sizeof out);
    return 1;
}

/* --- keys --- */

static int key_parse(lua_State *L) /* (kind, text) -> key; nil, error */
{
    static const char *const kinds[] = {"shared", "private", "public", NULL};
    const enum kt_key_kind kind = (enum kt_key_kind)luaL_checkoption(L, 1, NULL, kinds);
    size_t n;
    const char *from = luaL_checklstring(L, 2, &n);
    char *text = (char *)block(L, from, n);
    uint8_t key[KT_KEY];
    struct kt_err err;
    const int rc = kt_key_parse(kind, text, n, "key file psk", key, &err);
    free(text);
    lua_pushlstring(L, rc ? err.text : (const char *)key, rc ? strlen(err.text) : sizeof key);
    if (rc == 0) return 1;
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

static int key_encode(lua_State *L) /* (key) -> base64 */
{
    char text[KT_KEY_TEXT];
    kt_key_encode(exactly(L, 1, KT_KEY), text);
    lua_pushstring(L, text);
    return 1;
}

static int key_mode(lua_State *L) /* (mode) -> nil, or what is wrong with it */
{
    struct kt_err err;
    if (kt_key_mode_check("psk", (unsigned)luaL_checkinteger(L, 1), &err) == 0) return 0;
    lua_pushstring(L, err.text);
    return 1;
}

static int key_phrase(lua_State *L) /* (passphrase) -> key */
{
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    uint8_t key[KT_KEY];
    const int rc = kt_key_from_passphrase(text, n, key);
    if (rc) return fail(L, rc);
    lua_pushlstring(L, (const char *)key, sizeof key);
    return 1;
}

/* --- replay windows --- */

static int new_replay(lua_State *L)
{
    object(L, REPLAY, sizeof(struct kt_replay));
    return 1;
}

/* (number) -> "new" and adds it, "seen" or "old" */
static int replay_take(lua_State *L)
{
    static const char *const verdicts[] = {"new", "seen", "old"};
    struct kt_replay *r = luaL_checkudata(L, 1, REPLAY);
    const uint64_t number = (uint64_t)luaL_checkinteger(L, 2);
    const enum kt_replay_verdict v = kt_replay_check(r, number);
    if (v == KT_REPLAY_NEW) kt_replay_add(r, number);
    lua_pushstring(L, verdicts[v]);
    return 1;
}

int luaopen_spec_noise(lua_State *L)
{
    static const luaL_Reg noise[] = {{"write", noise_write}, {"read", noise_read}, {"split", noise_split},
        {"remote", noise_remote}, {"__gc", noise_gc}, {NULL, NULL}};
    static const luaL_Reg aeads[] = {
        {"seal", aead_seal}, {"open", aead_open}, {"rekey", aead_rekey}, {"__gc", aead_gc}, {NULL, NULL}};
    static const luaL_Reg replay[] = {{"take", replay_take}, {NULL, NULL}};
    static const luaL_Reg module[] = {{"noise", new_noise}, {"public", noise_public}, {"aead", new_aead},
        {"methods", methods}, {"mask", mask}, {"mask_stream", mask_stream}, {"hash", hash},
        {"replay", new_replay}, {"key_parse", key_parse}, {"key_encode", key_encode}, {"key_mode", key_mode},
        {"key_phrase", key_phrase}, {NULL, NULL}};
    struct kt_err err;
    if (kt_crypto_init(&err) < 0) return luaL_error(L, "%s", err.text);
    class(L, NOISE, noise);
    class(L, AEAD, aeads);
    class(L, REPLAY, replay);
    luaL_newlib(L, module);
    return 1;
}
