/* Bindings of the FEC encoder and decoder, for spec/kcp/fec_spec.lua. Packets are Lua strings.
 *
 *   e = spec_fec.encoder(data, parity)         raises the error's name
 *   packet, {parity…} = e:data(kcp_packet [, now_us])
 *   e:seek(group)
 *   e:limit(parity packets a group)
 *   d = spec_fec.decoder(data, parity)
 *   {{packet, recovered = bool}…}, error_name = d:input(body)
 *   d:limit(bytes)
 *   bytes = d:held()
 *   d:trim()
 *   d:stats()                                   a table of struct kt_fec_dec_stats
 *   conv, sn = spec_fec.peek(body)              or nothing
 *   rows = spec_fec.parity_rows(data, parity)   one string, row after row */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "kcp/fec.h"
#include "kcp/fec_matrix.h"
#include "class.h"

#define ENCODER "spec_fec.encoder"
#define DECODER "spec_fec.decoder"

int luaopen_spec_fec(lua_State *L);

/* ---- encoder ---- */

static struct kt_fec_enc **to_encoder(lua_State *L)
{
    struct kt_fec_enc **box = luaL_checkudata(L, 1, ENCODER);
    luaL_argcheck(L, *box, 1, "closed");
    return box;
}

static int encoder_new(lua_State *L)
{
    struct kt_fec_enc **box = lua_newuserdatauv(L, sizeof(struct kt_fec_enc *), 0);
    *box = NULL;
    luaL_setmetatable(L, ENCODER);
    int r = kt_fec_enc_new(box, (unsigned)luaL_checkinteger(L, 1), (unsigned)luaL_checkinteger(L, 2));
    return r < 0 ? luaL_error(L, "%s", kt_errname(r)) : 1;
}

static int encoder_gc(lua_State *L)
{
    struct kt_fec_enc **box = luaL_checkudata(L, 1, ENCODER);
    kt_fec_enc_free(*box);
    *box = NULL;
    return 0;
}

static int encoder_data(lua_State *L)
{
    struct kt_fec_enc *e = *to_encoder(L);
    size_t n;
    const char *kcp = luaL_checklstring(L, 2, &n);
    uint64_t now = (uint64_t)luaL_optinteger(L, 3, 0);
    luaL_argcheck(L, n + KT_FEC_HEADER <= KT_FEC_MAX_PACKET, 2, "too long");
    uint8_t pkt[KT_FEC_MAX_PACKET];
    memset(pkt, 0xee, KT_FEC_HEADER); /* shows what the encoder does not fill in */
    memcpy(pkt + KT_FEC_HEADER, kcp, n);
    unsigned parity = kt_fec_enc_data(e, pkt, KT_FEC_HEADER + n, now);
    lua_pushlstring(L, (const char *)pkt, KT_FEC_HEADER + n);
    lua_createtable(L, (int)parity, 0);
    for (unsigned i = 0; i < parity; i++) {
        size_t len = kt_fec_enc_parity(e, i, pkt);
        lua_pushlstring(L, (const char *)pkt, len);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 2;
}

static int encoder_seek(lua_State *L)
{
    kt_fec_enc_seek(*to_encoder(L), (uint32_t)luaL_checkinteger(L, 2));
    return 0;
}

static int encoder_limit(lua_State *L)
{
    kt_fec_enc_limit(*to_encoder(L), (unsigned)luaL_checkinteger(L, 2));
    return 0;
}

/* ---- decoder ---- */

static struct kt_fec_dec **to_decoder(lua_State *L)
{
    struct kt_fec_dec **box = luaL_checkudata(L, 1, DECODER);
    luaL_argcheck(L, *box, 1, "closed");
    return box;
}

static int decoder_new(lua_State *L)
{
    struct kt_fec_dec **box = lua_newuserdatauv(L, sizeof(struct kt_fec_dec *), 0);
    *box = NULL;
    luaL_setmetatable(L, DECODER);
    int r = kt_fec_dec_new(box, (unsigned)luaL_checkinteger(L, 1), (unsigned)luaL_checkinteger(L, 2));
    return r < 0 ? luaL_error(L, "%s", kt_errname(r)) : 1;
}

static int decoder_gc(lua_State *L)
{
    struct kt_fec_dec **box = luaL_checkudata(L, 1, DECODER);
    kt_fec_dec_free(*box);
    *box = NULL;
    return 0;
}

/* Appends to the table on top of the stack. */
static void collect(void *ctx, const uint8_t *packet, size_t len, enum kt_kcp_origin origin)
{
    lua_State *L = ctx;
    lua_createtable(L, 1, 1);
    lua_pushlstring(L, (const char *)packet, len);
    lua_rawseti(L, -2, 1);
    lua_pushboolean(L, origin == KT_KCP_RECOVERED);
    lua_setfield(L, -2, "recovered");
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* Copies the body into a block of exactly its size, so that the sanitizer catches reads past the end. */
static int decoder_input(lua_State *L)
{
    struct kt_fec_dec *d = *to_decoder(L);
    size_t n;
    const char *body = luaL_checklstring(L, 2, &n);
    uint8_t *exact = malloc(n ? n : 1);
    if (!exact) return luaL_error(L, "memory");
    memcpy(exact, body, n);
    lua_settop(L, 2);
    lua_newtable(L);
    int r = kt_fec_dec_input(d, exact, n, collect, L);
    free(exact);
    if (r == 0) return 1;
    lua_pushstring(L, kt_errname(r));
    return 2;
}

static int decoder_limit(lua_State *L)
{
    kt_fec_dec_limit(*to_decoder(L), (size_t)luaL_checkinteger(L, 2));
    return 0;
}

static int decoder_held(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_fec_dec_held(*to_decoder(L)));
    return 1;
}

static int decoder_trim(lua_State *L)
{
    kt_fec_dec_trim(*to_decoder(L));
    return 0;
}

static int decoder_stats(lua_State *L)
{
    struct kt_fec_dec_stats s;
    kt_fec_dec_stats(*to_decoder(L), &s);
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {{"data", s.data}, {"parity", s.parity}, {"oob", s.oob}, {"recovered", s.recovered},
        {"lost_groups", s.lost_groups}, {"errors", s.errors}, {"cur_data", s.cur_data},
        {"cur_parity", s.cur_parity}, {"retuned", s.retuned}};
    lua_newtable(L);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        lua_pushinteger(L, (lua_Integer)fields[i].value);
        lua_setfield(L, -2, fields[i].name);
    }
    return 1;
}

/* ---- the rest ---- */

static int peek(lua_State *L)
{
    size_t n;
    const char *body = luaL_checklstring(L, 1, &n);
    struct kt_kcp_head head;
    if (!kt_fec_peek((const uint8_t *)body, n, &head)) return 0;
    lua_pushinteger(L, head.conv);
    lua_pushinteger(L, head.sn);
    lua_pushinteger(L, head.una);
    return 3;
}

static int parity_rows(lua_State *L)
{
    unsigned data = (unsigned)luaL_checkinteger(L, 1), parity = (unsigned)luaL_checkinteger(L, 2);
    luaL_argcheck(L, data >= 1 && parity >= 1 && data + parity <= KT_FEC_MAX_SHARDS, 2, "out of range");
    luaL_Buffer b;
    uint8_t *rows = (uint8_t *)luaL_buffinitsize(L, &b, (size_t)data * parity);
    kt_fec_parity_rows(data, parity, rows);
    luaL_pushresultsize(&b, (size_t)data * parity);
    return 1;
}

int luaopen_spec_fec(lua_State *L)
{
    static const luaL_Reg encoder[] = {{"data", encoder_data}, {"seek", encoder_seek},
        {"limit", encoder_limit}, {"close", encoder_gc}, {"__gc", encoder_gc}, {NULL, NULL}};
    static const luaL_Reg decoder[] = {{"input", decoder_input}, {"stats", decoder_stats},
        {"limit", decoder_limit}, {"held", decoder_held}, {"trim", decoder_trim}, {"close", decoder_gc},
        {"__gc", decoder_gc}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"encoder", encoder_new}, {"decoder", decoder_new}, {"peek", peek},
        {"parity_rows", parity_rows}, {NULL, NULL}};
    class(L, ENCODER, encoder);
    class(L, DECODER, decoder);
    luaL_newlib(L, functions);
    return 1;
}
