/* Bindings of runtime/crypto for the specs: strings in, strings out. Packets and frames are in blocks of
 * exactly their size, so that AddressSanitizer catches accesses past the end. An expected failure returns nil
 * and the error's name. */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "crypto/crypto.h"
#include "crypto/kcptun/kdf.h"
#include "crypto/kcptun/qpp_internal.h"
#include "crypto/kcptun/seal.h"
#include "crypto/secretstream_internal.h"
#include "block.h"
#include "results.h"

#define SEAL "kt.seal"
#define QPP "kt.qpp"
#define QPP_STATE "kt.qpp_state"
#define SECRET_TX "kt.secret_tx"
#define SECRET_RX "kt.secret_rx"

int luaopen_spec_crypto(lua_State *L);

/* A userdata that holds one pointer, NULL once closed. */
static void **box(lua_State *L, const char *type)
{
    void **b = lua_newuserdatauv(L, sizeof *b, 1);
    *b = NULL;
    luaL_setmetatable(L, type);
    return b;
}

static void *open_box(lua_State *L, const char *type)
{
    void *p = *(void **)luaL_checkudata(L, 1, type);
    luaL_argcheck(L, p, 1, "closed");
    return p;
}

/* --- sealing --- */

static int crypto_pass(lua_State *L) /* (key) -> 32 bytes */
{
    size_t n;
    const char *key = luaL_checklstring(L, 1, &n);
    uint8_t pass[32];
    int rc = kt_kdf_pass(key, n, pass);
    if (rc < 0) return fail_with(L, rc, kt_strerror(rc));
    lua_pushlstring(L, (const char *)pass, sizeof pass);
    return 1;
}

static int crypto_methods(lua_State *L) /* () -> {"aes", …} */
{
    lua_newtable(L);
    const char *name;
    for (lua_Integer i = 0; (name = kt_seal_method_name((size_t)i)); i++) {
        lua_pushstring(L, name);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static int crypto_seal(lua_State *L) /* (method, pass) -> seal */
{
    const char *method = luaL_checkstring(L, 1);
    const uint8_t *pass = exactly(L, 2, 32);
    struct kt_seal **s = (struct kt_seal **)box(L, SEAL);
    struct kt_err err;
    int rc = kt_seal_new(s, method, pass, &err);
    return rc < 0 ? fail_with(L, rc, err.text) : 1;
}

static int seal_close(lua_State *L)
{
    struct kt_seal **s = luaL_checkudata(L, 1, SEAL);
    kt_seal_free(*s);
    *s = NULL;
    return 0;
}

static int seal_sizes(lua_State *L) /* () -> overhead, header, nonce */
{
    struct kt_seal *s = open_box(L, SEAL);
    lua_pushinteger(L, (lua_Integer)kt_seal_overhead(s));
    lua_pushinteger(L, (lua_Integer)kt_seal_header(s));
    lua_pushinteger(L, (lua_Integer)kt_seal_nonce(s));
    return 3;
}

static int seal_seal(lua_State *L) /* (body, nonce) -> datagram */
{
    struct kt_seal *s = open_box(L, SEAL);
    size_t n;
    const char *body = luaL_checklstring(L, 2, &n);
    const uint8_t *nonce = exactly(L, 3, kt_seal_nonce(s));
    uint8_t *pkt = block(L, NULL, n + kt_seal_overhead(s));
    memcpy(pkt + kt_seal_header(s), body, n);
    size_t total = kt_seal_packet(s, pkt, n, nonce);
    push_block(L, pkt, total);
    return 1;
}

static int seal_seal_many(lua_State *L) /* ({body, …}, {nonce, …}) -> {datagram, …} */
{
    struct kt_seal *s = open_box(L, SEAL);
    size_t n = lua_rawlen(L, 2), nonce = kt_seal_nonce(s);
    lua_settop(L, 3);
    struct kt_seal_job *jobs = lua_newuserdatauv(L, n * sizeof *jobs + 1, 0);
    uint8_t *nonces = lua_newuserdatauv(L, n * nonce + 1, 0);
    for (size_t i = 0; i < n; i++) {
        size_t len, nonce_len;
        lua_rawgeti(L, 2, (lua_Integer)i + 1);
        lua_rawgeti(L, 3, (lua_Integer)i + 1);
        const char *body = luaL_checklstring(L, -2, &len), *fresh = luaL_checklstring(L, -1, &nonce_len);
        luaL_argcheck(L, nonce_len == nonce, 3, "wrong length");
        memcpy(nonces + i * nonce, fresh, nonce);
        jobs[i].len = len;
        jobs[i].pkt = block(L, NULL, len + kt_seal_overhead(s));
        memcpy(jobs[i].pkt + kt_seal_header(s), body, len);
        lua_pop(L, 2);
    }
    kt_seal_packets(s, jobs, n, nonces);
    lua_newtable(L);
    for (size_t i = 0; i < n; i++) {
        push_block(L, jobs[i].pkt, jobs[i].len);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int seal_open(lua_State *L) /* (datagram) -> body */
{
    struct kt_seal *s = open_box(L, SEAL);
    size_t n, body_len = 0;
    const char *datagram = luaL_checklstring(L, 2, &n);
    uint8_t *pkt = block(L, NULL, n), *body = NULL;
    memcpy(pkt, datagram, n);
    int rc = kt_seal_open(s, pkt, n, &body, &body_len);
    if (rc == 0) lua_pushlstring(L, (const char *)body, body_len);
    free(pkt);
    return rc < 0 ? fail_with(L, rc, kt_strerror(rc)) : 1;
}

/* --- QPP --- */

static int crypto_qpp(lua_State *L) /* (key, pads) -> qpp */
{
    size_t n;
    const char *key = luaL_checklstring(L, 1, &n);
    unsigned pads = (unsigned)luaL_checkinteger(L, 2);
    struct kt_qpp **q = (struct kt_qpp **)box(L, QPP);
    int rc = kt_qpp_new(q, key, n, pads);
    return rc < 0 ? fail_with(L, rc, kt_strerror(rc)) : 1;
}

static int qpp_close(lua_State *L)
{
    struct kt_qpp **q = luaL_checkudata(L, 1, QPP);
    kt_qpp_free(*q);
    *q = NULL;
    return 0;
}

static int qpp_pad(lua_State *L) /* (i) -> 256 bytes */
{
    const struct kt_qpp *q = open_box(L, QPP);
    const lua_Integer i = luaL_checkinteger(L, 2);
    if (i < 0 || i >= q->pads) return 0;
    lua_pushlstring(L, (const char *)q->forward[i], 256);
    return 1;
}

static int qpp_start(lua_State *L) /* () -> a direction */
{
    struct kt_qpp *q = open_box(L, QPP);
    struct kt_qpp_state *st = lua_newuserdatauv(L, sizeof *st, 1);
    luaL_setmetatable(L, QPP_STATE);
    lua_pushvalue(L, 1); /* the direction keeps its pads alive */
    lua_setiuservalue(L, -2, 1);
    kt_qpp_start(q, st);
    return 1;
}

static int qpp_run(lua_State *L, void (*run)(const struct kt_qpp *, struct kt_qpp_state *, uint8_t *, size_t))
{
    struct kt_qpp_state *st = luaL_checkudata(L, 1, QPP_STATE);
    size_t n;
    const char *in = luaL_checklstring(L, 2, &n);
    lua_getiuservalue(L, 1, 1);
    struct kt_qpp *q = *(struct kt_qpp **)luaL_checkudata(L, -1, QPP);
    luaL_argcheck(L, q, 1, "its pads are closed");
    uint8_t *data = block(L, NULL, n);
    memcpy(data, in, n);
    run(q, st, data, n);
    push_block(L, data, n);
    return 1;
}

static int qpp_encrypt(lua_State *L)
{
    return qpp_run(L, kt_qpp_encrypt);
}

static int qpp_decrypt(lua_State *L)
{
    return qpp_run(L, kt_qpp_decrypt);
}

static int qpp_output(lua_State *L) /* () -> the generator's current output */
{
    struct kt_qpp_state *st = luaL_checkudata(L, 1, QPP_STATE);
    lua_pushinteger(L, (lua_Integer)st->r);
    return 1;
}

/* --- the end-to-end layer --- */

static int crypto_secret_key(lua_State *L) /* (pass, client_to_server) -> 32 bytes */
{
    uint8_t key[KT_SECRETSTREAM_KEY];
    kt_secretstream_key(exactly(L, 1, 32), lua_toboolean(L, 2), key);
    lua_pushlstring(L, (const char *)key, sizeof key);
    return 1;
}

static int crypto_secret_tx(lua_State *L) /* (key) -> sender, header */
{
    const uint8_t *key = exactly(L, 1, KT_SECRETSTREAM_KEY);
    uint8_t header[KT_SECRETSTREAM_HEADER];
    struct kt_secretstream_tx **t = (struct kt_secretstream_tx **)box(L, SECRET_TX);
    if (getrandom(header, sizeof header, 0) != sizeof header) return luaL_error(L, "no random bytes");
    int rc = kt_secretstream_tx_new(t, key, header);
    if (rc < 0) return fail_with(L, rc, kt_strerror(rc));
    lua_pushlstring(L, (const char *)header, sizeof header);
    return 2;
}

static int tx_close(lua_State *L)
{
    struct kt_secretstream_tx **t = luaL_checkudata(L, 1, SECRET_TX);
    kt_secretstream_tx_free(*t);
    *t = NULL;
    return 0;
}

static int tx_seal(lua_State *L) /* (text, final) -> frame; nil if refused */
{
    struct kt_secretstream_tx *t = open_box(L, SECRET_TX);
    size_t n;
    const char *text = luaL_checklstring(L, 2, &n);
    size_t room = 2 + n + 17;
    uint8_t *out = block(L, NULL, room);
    size_t len = kt_secretstream_seal(t, (const uint8_t *)text, n, lua_toboolean(L, 3), out);
    push_block(L, out, len);
    if (len == 0) lua_pushnil(L);
    return 1;
}

static int tx_seal_tagged(lua_State *L) /* (text, tag) -> frame */
{
    struct kt_secretstream_tx *t = open_box(L, SECRET_TX);
    size_t n;
    const char *text = luaL_checklstring(L, 2, &n);
    luaL_argcheck(L, n <= KT_SECRETSTREAM_TEXT_MAX, 2, "too long");
    uint8_t *out = block(L, NULL, 2 + n + 17);
    size_t len =
        kt_secretstream_seal_tagged(t, (const uint8_t *)text, n, (uint8_t)luaL_checkinteger(L, 3), out);
    push_block(L, out, len);
    return 1;
}

static int crypto_secret_rx(lua_State *L) /* (key) -> receiver */
{
    const uint8_t *key = exactly(L, 1, KT_SECRETSTREAM_KEY);
    struct kt_secretstream_rx **r = (struct kt_secretstream_rx **)box(L, SECRET_RX);
    int rc = kt_secretstream_rx_new(r, key);
    return rc < 0 ? fail_with(L, rc, kt_strerror(rc)) : 1;
}

static int rx_close(lua_State *L)
{
    struct kt_secretstream_rx **r = luaL_checkudata(L, 1, SECRET_RX);
    kt_secretstream_rx_free(*r);
    *r = NULL;
    return 0;
}

static int rx_open(lua_State *L) /* (bytes) -> text ("": none yet), bytes used, final */
{
    struct kt_secretstream_rx *r = open_box(L, SECRET_RX);
    size_t n, used;
    const char *in = luaL_checklstring(L, 2, &n);
    uint8_t *data = block(L, NULL, n);
    memcpy(data, in, n);
    const uint8_t *text;
    bool final;
    int rc = kt_secretstream_open(r, data, n, &used, &text, &final);
    free(data);
    if (rc < 0) return fail_with(L, rc, kt_strerror(rc));
    lua_pushlstring(L, rc ? (const char *)text : "", (size_t)rc);
    lua_pushinteger(L, (lua_Integer)used);
    lua_pushboolean(L, final);
    return 3;
}

static void type(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction close)
{
    luaL_newmetatable(L, name);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    if (close) {
        lua_pushcfunction(L, close);
        lua_setfield(L, -2, "close");
        lua_pushcfunction(L, close);
        lua_setfield(L, -3, "__gc");
    }
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

int luaopen_spec_crypto(lua_State *L)
{
    static const luaL_Reg seal[] = {{"sizes", seal_sizes}, {"seal", seal_seal}, {"seal_many", seal_seal_many},
        {"open", seal_open}, {NULL, NULL}};
    static const luaL_Reg qpp[] = {{"pad", qpp_pad}, {"start", qpp_start}, {NULL, NULL}};
    static const luaL_Reg state[] = {
        {"encrypt", qpp_encrypt}, {"decrypt", qpp_decrypt}, {"output", qpp_output}, {NULL, NULL}};
    static const luaL_Reg tx[] = {{"seal", tx_seal}, {"seal_tagged", tx_seal_tagged}, {NULL, NULL}};
    static const luaL_Reg rx[] = {{"open", rx_open}, {NULL, NULL}};
    static const luaL_Reg crypto[] = {{"pass", crypto_pass}, {"methods", crypto_methods},
        {"seal", crypto_seal}, {"qpp", crypto_qpp}, {"secret_key", crypto_secret_key},
        {"secret_tx", crypto_secret_tx}, {"secret_rx", crypto_secret_rx}, {NULL, NULL}};

    struct kt_err err;
    if (kt_crypto_init(&err) < 0) return luaL_error(L, "%s", err.text);
    type(L, SEAL, seal, seal_close);
    type(L, QPP, qpp, qpp_close);
    type(L, QPP_STATE, state, NULL);
    type(L, SECRET_TX, tx, tx_close);
    type(L, SECRET_RX, rx, rx_close);
    luaL_newlib(L, crypto);
    return 1;
}
