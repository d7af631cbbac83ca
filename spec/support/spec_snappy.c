/* Bindings of the snappy framing, for spec/link/snappy_spec.lua.
 *
 *   e = spec_snappy.encoder()
 *   bytes = e:encode(string)                    1..131072 bytes
 *   d = spec_snappy.decoder()
 *   used, error_name, sentence = d:feed(string)
 *   bytes = d:take([most])                      peeks and consumes at most this many bytes
 *   block = spec_snappy.compress(string)        a bare block by libsnappy
 *   number = spec_snappy.crc(string)            masked CRC-32C, computed bit by bit (not by ISA-L) */
#include <lauxlib.h>
#include <lua.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "link/kcptun/snappy_stream.h"
#include "class.h"

#define ENCODER "spec_snappy.encoder"
#define DECODER "spec_snappy.decoder"

int luaopen_spec_snappy(lua_State *L);

static int encoder_new(lua_State *L)
{
    struct kt_snappy_enc **box = lua_newuserdatauv(L, sizeof(struct kt_snappy_enc *), 0);
    *box = NULL;
    luaL_setmetatable(L, ENCODER);
    return kt_snappy_enc_new(box) < 0 ? luaL_error(L, "memory") : 1;
}

static int encoder_gc(lua_State *L)
{
    struct kt_snappy_enc **box = luaL_checkudata(L, 1, ENCODER);
    kt_snappy_enc_free(*box);
    *box = NULL;
    return 0;
}

static int encoder_encode(lua_State *L)
{
    struct kt_snappy_enc **box = luaL_checkudata(L, 1, ENCODER);
    luaL_argcheck(L, *box, 1, "closed");
    size_t n;
    const char *s = luaL_checklstring(L, 2, &n);
    luaL_argcheck(L, n >= 1 && n <= 2 * (size_t)KT_SNAPPY_CHUNK, 2, "1 to 131072 bytes");
    static uint8_t out[KT_SNAPPY_MOST];
    size_t len = kt_snappy_encode(*box, (const uint8_t *)s, n, out);
    lua_pushlstring(L, (const char *)out, len);
    return 1;
}

static int decoder_new(lua_State *L)
{
    struct kt_snappy_dec **box = lua_newuserdatauv(L, sizeof(struct kt_snappy_dec *), 0);
    *box = NULL;
    luaL_setmetatable(L, DECODER);
    return kt_snappy_dec_new(box) < 0 ? luaL_error(L, "memory") : 1;
}

static int decoder_gc(lua_State *L)
{
    struct kt_snappy_dec **box = luaL_checkudata(L, 1, DECODER);
    kt_snappy_dec_free(*box);
    *box = NULL;
    return 0;
}

static struct kt_snappy_dec *to_decoder(lua_State *L)
{
    struct kt_snappy_dec **box = luaL_checkudata(L, 1, DECODER);
    luaL_argcheck(L, *box, 1, "closed");
    return *box;
}

/* Copies the input into a block of exactly its size, so that the sanitizer catches reads past the end. */
static int decoder_feed(lua_State *L)
{
    struct kt_snappy_dec *d = to_decoder(L);
    size_t n, used;
    const char *s = luaL_checklstring(L, 2, &n);
    uint8_t *exact = malloc(n ? n : 1);
    if (!exact) return luaL_error(L, "memory");
    memcpy(exact, s, n);
    struct kt_err err = {0};
    int r = kt_snappy_feed(d, exact, n, &used, &err);
    free(exact);
    lua_pushinteger(L, (lua_Integer)used);
    if (r == 0) return 1;
    lua_pushstring(L, kt_errname(r));
    lua_pushstring(L, err.text);
    return 3;
}

static int decoder_take(lua_State *L)
{
    struct kt_snappy_dec *d = to_decoder(L);
    const uint8_t *data;
    size_t n = kt_snappy_peek(d, &data);
    lua_Integer most = luaL_optinteger(L, 2, (lua_Integer)n);
    if ((size_t)most < n) n = (size_t)most;
    lua_pushlstring(L, n ? (const char *)data : "", n);
    kt_snappy_consume(d, n);
    return 1;
}

static int compress(lua_State *L)
{
    size_t n;
    const char *s = luaL_checklstring(L, 1, &n);
    size_t size = snappy_max_compressed_length(n);
    luaL_Buffer b;
    char *out = luaL_buffinitsize(L, &b, size);
    if (snappy_compress(s, n, out, &size) != SNAPPY_OK) return luaL_error(L, "snappy_compress failed");
    luaL_pushresultsize(&b, size);
    return 1;
}

static int crc(lua_State *L)
{
    size_t n;
    const char *s = luaL_checklstring(L, 1, &n);
    uint32_t c = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        c ^= (unsigned char)s[i];
        for (int bit = 0; bit < 8; bit++) c = c >> 1 ^ (c & 1 ? 0x82f63b78u : 0);
    }
    c = ~c;
    lua_pushinteger(L, (lua_Integer)(uint32_t)((c >> 15 | c << 17) + 0xa282ead8u));
    return 1;
}

int luaopen_spec_snappy(lua_State *L)
{
    static const luaL_Reg encoder[] = {
        {"encode", encoder_encode}, {"close", encoder_gc}, {"__gc", encoder_gc}, {NULL, NULL}};
    static const luaL_Reg decoder[] = {{"feed", decoder_feed}, {"take", decoder_take}, {"close", decoder_gc},
        {"__gc", decoder_gc}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"encoder", encoder_new}, {"decoder", decoder_new},
        {"compress", compress}, {"crc", crc}, {NULL, NULL}};
    class(L, ENCODER, encoder);
    class(L, DECODER, decoder);
    luaL_newlib(L, functions);
    return 1;
}
