/* Binding of runtime/link/native for the specs: strings in, strings out. Datagrams lie in blocks of exactly their size,
 * so that AddressSanitizer sees a step beyond. An expected failure gives nil and the error's name. */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/crypto.h"
#include "link/native/keys.h"
#include "link/native/packet.h"
#include "block.h"
#include "class.h"
#include "damage.h"
#include "results.h"

#define TX "kt.native_tx"
#define RX "kt.native_rx"

int luaopen_spec_native(lua_State *L);

static enum kt_aead_method method(lua_State *L, int arg)
{
    static const char *const names[] = {"aes-256-gcm", "chacha20-poly1305", NULL};
    return luaL_checkoption(L, arg, NULL, names) == 0 ? KT_AEAD_AES_256_GCM : KT_AEAD_CHACHA20_POLY1305;
}

/* --- keys and headers --- */

/* Header keys are a string for the specs: mask_key (16 bytes), then header_key (32). */
static const struct kt_native_header_keys *keys(lua_State *L, int arg)
{
    return (const struct kt_native_header_keys *)exactly(L, arg, sizeof(struct kt_native_header_keys));
}

static int header_keys(lua_State *L) /* (psk, server_public or nil) -> header keys */
{
    struct kt_native_header_keys out;
    kt_native_header_keys_derive(
        exactly(L, 1, KT_NATIVE_KEY), lua_isnoneornil(L, 2) ? NULL : exactly(L, 2, KT_NATIVE_KEY), &out);
    lua_pushlstring(L, (const char *)&out, sizeof out);
    return 1;
}

static int packet_keys(lua_State *L) /* (secret) -> key, next secret */
{
    uint8_t out[KT_NATIVE_KEY];
    kt_native_packet_key(exactly(L, 1, KT_NATIVE_KEY), out);
    lua_pushlstring(L, (const char *)out, sizeof out);
    kt_native_next_secret(exactly(L, 1, KT_NATIVE_KEY), out);
    lua_pushlstring(L, (const char *)out, sizeof out);
    return 2;
}

static int cid(lua_State *L) /* (keys, first_secret, path) -> cid */
{
    uint8_t out[KT_NATIVE_CID];
    kt_native_cid(keys(L, 1), exactly(L, 2, KT_NATIVE_KEY), (unsigned)luaL_checkinteger(L, 3), out);
    lua_pushlstring(L, (const char *)out, sizeof out);
    return 1;
}

static int cid_check(lua_State *L) /* (keys, cid) -> bool */
{
    lua_pushboolean(L, kt_native_cid_check(keys(L, 1), exactly(L, 2, KT_NATIVE_CID)));
    return 1;
}

static int peek(lua_State *L) /* (keys, datagram) -> {kind, phase, id, number} */
{
    static const char *const kinds[] = {"data", "initiation", "response", "control"};
    size_t n;
    const struct kt_native_header_keys *k = keys(L, 1);
    const char *datagram = luaL_checklstring(L, 2, &n);
    struct kt_native_header h;
    uint8_t *copy = block(L, datagram, n);
    const int rc = kt_native_peek(k, copy, n, &h);
    free(copy);
    if (rc) return fail(L, rc);
    lua_newtable(L);
    lua_pushstring(L, kinds[h.kind]);
    lua_setfield(L, -2, "kind");
    lua_pushboolean(L, h.phase);
    lua_setfield(L, -2, "phase");
    lua_pushlstring(L, (const char *)h.id, sizeof h.id);
    lua_setfield(L, -2, "id");
    lua_pushinteger(L, h.number);
    lua_setfield(L, -2, "number");
    return 1;
}

static int wrap(lua_State *L) /* (keys, kind, id, body) -> datagram */
{
    static const char *const kinds[] = {"data", "initiation", "response", "control", NULL};
    const enum kt_native_kind kind = (enum kt_native_kind)luaL_checkoption(L, 2, NULL, kinds);
    size_t n;
    const char *body = luaL_checklstring(L, 4, &n);
    uint8_t *datagram = block(L, NULL, n + KT_NATIVE_OVERHEAD);
    memcpy(datagram + KT_NATIVE_HEADER, body, n);
    const size_t len = kt_native_wrap(keys(L, 1), kind, exactly(L, 3, KT_NATIVE_CID), datagram, n);
    lua_pushlstring(L, (const char *)datagram, len);
    free(datagram);
    return 1;
}

static int unwrap(lua_State *L) /* (keys, datagram) -> body; nil, error, whether the datagram is unchanged */
{
    size_t n;
    const struct kt_native_header_keys *k = keys(L, 1);
    const char *from = luaL_checklstring(L, 2, &n);
    uint8_t *datagram = block(L, from, n);
    struct kt_native_header h;
    struct kt_native_drops drops = {0};
    int rc = kt_native_peek(k, datagram, n, &h);
    if (rc == 0) rc = h.kind == KT_NATIVE_DATA ? KT_EINVAL : kt_native_unwrap(k, &h, datagram, n, &drops);
    if (rc > 0) {
        lua_pushlstring(L, (const char *)datagram + KT_NATIVE_HEADER, (size_t)rc);
    } else {
        fail(L, rc);
        lua_pushboolean(L, memcmp(datagram, from, n) == 0);
    }
    free(datagram);
    return rc > 0 ? 1 : 3;
}

static int number(lua_State *L) /* (expected, low 32 bits) -> packet number */
{
    lua_pushinteger(L,
        (lua_Integer)kt_native_number((uint64_t)luaL_checkinteger(L, 1), (uint32_t)luaL_checkinteger(L, 2)));
    return 1;
}

/* --- sending --- */

struct tx {
    struct kt_native_header_keys keys;
    struct kt_native_tx tx;
};

static int new_tx(lua_State *L) /* (method, keys, secret) -> sender */
{
    struct tx *t = object(L, TX, sizeof *t);
    t->keys = *keys(L, 2);
    const int rc = kt_native_tx_init(&t->tx, method(L, 1), &t->keys, exactly(L, 3, KT_NATIVE_KEY));
    return rc ? fail(L, rc) : 1;
}

static int tx_gc(lua_State *L)
{
    kt_native_tx_free(&((struct tx *)luaL_checkudata(L, 1, TX))->tx);
    return 0;
}

static int tx_seal(lua_State *L) /* (path, number, frames, now) -> datagram */
{
    struct tx *t = luaL_checkudata(L, 1, TX);
    size_t n;
    const char *frames = luaL_checklstring(L, 4, &n);
    uint8_t *datagram = block(L, NULL, n + KT_NATIVE_OVERHEAD);
    memcpy(datagram + KT_NATIVE_HEADER, frames, n);
    const int rc = kt_native_seal(&t->tx, (unsigned)luaL_checkinteger(L, 2),
        (uint64_t)luaL_checkinteger(L, 3), datagram, n, (uint64_t)luaL_checkinteger(L, 5));
    if (rc > 0) lua_pushlstring(L, (const char *)datagram, (size_t)rc);
    free(datagram);
    return rc < 0 ? fail(L, rc) : 1;
}

static int tx_acked(lua_State *L) /* (path, number, now) */
{
    struct tx *t = luaL_checkudata(L, 1, TX);
    kt_native_tx_acked(&t->tx, (unsigned)luaL_checkinteger(L, 2), (uint64_t)luaL_checkinteger(L, 3),
        (uint64_t)luaL_checkinteger(L, 4));
    return 0;
}

static int tx_epoch(lua_State *L)
{
    lua_pushinteger(L, ((struct tx *)luaL_checkudata(L, 1, TX))->tx.epoch);
    return 1;
}

/* Sets the counts of packets and bytes sealed in this epoch. */
static int tx_wear(lua_State *L) /* (packets, bytes) */
{
    struct tx *t = luaL_checkudata(L, 1, TX);
    t->tx.packets = (uint64_t)luaL_checkinteger(L, 2);
    t->tx.bytes = (uint64_t)luaL_checkinteger(L, 3);
    return 0;
}

/* --- receiving --- */

struct rx {
    struct kt_native_header_keys keys;
    uint8_t first_secret[KT_NATIVE_KEY];
    struct kt_native_rx rx;
    struct kt_replay seen[KT_NATIVE_PATHS];
    struct kt_native_drops drops;
};

static int new_rx(lua_State *L) /* (method, keys, secret) -> receiver */
{
    struct rx *r = object(L, RX, sizeof *r);
    r->keys = *keys(L, 2);
    memcpy(r->first_secret, exactly(L, 3, KT_NATIVE_KEY), KT_NATIVE_KEY);
    const int rc = kt_native_rx_init(&r->rx, method(L, 1), exactly(L, 3, KT_NATIVE_KEY));
    return rc ? fail(L, rc) : 1;
}

static int rx_gc(lua_State *L)
{
    kt_native_rx_free(&((struct rx *)luaL_checkudata(L, 1, RX))->rx);
    return 0;
}

static int rx_open(lua_State *L) /* (path, datagram, now) -> frames, number */
{
    struct rx *r = luaL_checkudata(L, 1, RX);
    const unsigned path = (unsigned)luaL_checkinteger(L, 2);
    size_t n;
    const char *from = luaL_checklstring(L, 3, &n);
    const uint64_t now = (uint64_t)luaL_checkinteger(L, 4);
    luaL_argcheck(L, path < KT_NATIVE_PATHS, 2, "no such path");
    struct kt_native_header h;
    uint64_t packet;
    uint8_t *datagram = block(L, from, n);
    int rc = kt_native_peek(&r->keys, datagram, n, &h);
    if (rc == 0) { /* the caller looks the path up by it */
        uint8_t own[KT_NATIVE_CID];
        kt_native_cid(&r->keys, r->first_secret, path, own);
        if (h.kind != KT_NATIVE_DATA || memcmp(own, h.id, sizeof own) != 0) {
            r->drops.unknown++;
            rc = KT_EAUTH;
        }
    }
    if (rc == 0)
        rc = kt_native_open(&r->rx, &(struct kt_native_rx_path){path, &r->seen[path], &r->drops}, &h,
            datagram, n, now, &packet);
    if (rc >= 0) lua_pushlstring(L, (const char *)datagram + KT_NATIVE_HEADER, (size_t)rc);
    free(datagram);
    if (rc < 0) return fail(L, rc);
    lua_pushinteger(L, (lua_Integer)packet);
    return 2;
}

/* (path, datagram, n, now) -> how many of n datagrams of damage.h opened */
static int rx_storm(lua_State *L)
{
    struct rx *r = luaL_checkudata(L, 1, RX);
    const unsigned path = (unsigned)luaL_checkinteger(L, 2);
    size_t len;
    const uint8_t *in = (const uint8_t *)luaL_checklstring(L, 3, &len);
    const uint64_t n = (uint64_t)luaL_checkinteger(L, 4), now = (uint64_t)luaL_checkinteger(L, 5);
    uint64_t state = 88172645463325252u, number;
    uint8_t datagram[KT_NATIVE_DATAGRAM_MAX], own[KT_NATIVE_CID];
    lua_Integer opened = 0;
    luaL_argcheck(L, path < KT_NATIVE_PATHS, 2, "no such path");
    luaL_argcheck(L, len <= sizeof datagram, 3, "too long");
    kt_native_cid(&r->keys, r->first_secret, path, own);
    for (uint64_t i = 0; i < n; i++) {
        struct kt_native_header h;
        const size_t size = damage(datagram, in, len, i, &state);
        if (kt_native_peek(&r->keys, datagram, size, &h) || h.kind != KT_NATIVE_DATA) continue;
        if (memcmp(own, h.id, sizeof own) != 0) continue;
        opened += kt_native_open(&r->rx, &(struct kt_native_rx_path){path, &r->seen[path], &r->drops}, &h,
                      datagram, size, now, &number) >= 0;
    }
    lua_pushinteger(L, opened);
    return 1;
}

static int rx_epoch(lua_State *L)
{
    lua_pushinteger(L, ((struct rx *)luaL_checkudata(L, 1, RX))->rx.epoch);
    return 1;
}

/* All that it remembers, to see that something changed nothing. */
static int rx_state(lua_State *L)
{
    const struct rx *r = luaL_checkudata(L, 1, RX);
    lua_pushlstring(L, (const char *)&r->rx, sizeof r->rx);
    lua_pushlstring(L, (const char *)r->seen, sizeof r->seen);
    lua_concat(L, 2);
    return 1;
}

static void push_drops(lua_State *L, const struct kt_native_drops *d)
{
    lua_newtable(L);
#define PUSH(name)                                                                                           \
    if (d->name) {                                                                                           \
        lua_pushinteger(L, (lua_Integer)d->name);                                                            \
        lua_setfield(L, -2, #name);                                                                          \
    }
    KT_NATIVE_DROPS(PUSH)
#undef PUSH
}

static int rx_drops(lua_State *L) /* () -> {reason = count}, those that are not 0 */
{
    push_drops(L, &((struct rx *)luaL_checkudata(L, 1, RX))->drops);
    return 1;
}

/* --- statistics --- */

/* ({counts}, text): adds how often each byte comes; counts[1] is that of byte 0. */
static int count(lua_State *L)
{
    uint32_t counts[256] = {0};
    size_t n;
    const char *s = luaL_checklstring(L, 2, &n);
    for (size_t i = 0; i < n; i++) counts[(uint8_t)s[i]]++;
    for (unsigned i = 0; i < 256; i++) {
        if (!counts[i]) continue;
        lua_rawgeti(L, 1, i + 1);
        lua_pushinteger(L, lua_tointeger(L, -1) + counts[i]);
        lua_rawseti(L, 1, i + 1);
        lua_pop(L, 1);
    }
    return 0;
}

int luaopen_spec_native(lua_State *L)
{
    static const luaL_Reg tx[] = {{"seal", tx_seal}, {"acked", tx_acked}, {"epoch", tx_epoch},
        {"wear", tx_wear}, {"__gc", tx_gc}, {NULL, NULL}};
    static const luaL_Reg rx[] = {{"open", rx_open}, {"storm", rx_storm}, {"epoch", rx_epoch},
        {"state", rx_state}, {"drops", rx_drops}, {"__gc", rx_gc}, {NULL, NULL}};
    static const luaL_Reg module[] = {{"header_keys", header_keys}, {"packet_keys", packet_keys},
        {"cid", cid}, {"cid_check", cid_check}, {"peek", peek}, {"wrap", wrap}, {"unwrap", unwrap},
        {"number", number}, {"tx", new_tx}, {"rx", new_rx}, {"count", count}, {NULL, NULL}};
    struct kt_err err;
    if (kt_crypto_init(&err) < 0) return luaL_error(L, "%s", err.text);
    class(L, TX, tx);
    class(L, RX, rx);
    luaL_newlib(L, module);
    return 1;
}
