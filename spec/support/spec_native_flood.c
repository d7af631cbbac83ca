/* A peer with the key that fills packets of kt's own wire with tiny frames, beside an honest client, in virtual time,
 * for spec/link/native_flood_spec.lua.
 *
 *   { taken, shed, later, echoed } = flood(frame, packets)
 *
 * The peer sends this many packets in one instant, each full of `frame` (its bytes). taken, shed: how many of them the
 * acceptor opened, and dropped for their number of frames; later: whether it took one of the next instant; echoed:
 * bytes that came back to the honest client meanwhile, of 2,000. */
#include <lauxlib.h>
#include <lua.h>
#include "../fuzz/tunnel.h"
#include "crypto/crypto.h"
#include "link/native/frame.h"
#include "link/native/handshake_client.h"
#include "link/native/mtu.h"
#include "link/native/native.h"
#include "link/native/packet.h"

#define KEY "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define BYTES 2000u

int luaopen_spec_native_flood(lua_State *L);

struct peer {
    struct tunnel t;
    struct kt_native_secrets secrets;
    struct kt_native_params params;
    struct kt_native_drops drops;
    struct kt_native_client hello;
    struct kt_native_tx tx;
    bool agreed;
    uint64_t number;
};

static void on_packet(void *ctx, const struct kt_sim_packet *p)
{
    struct peer *a = ctx;
    uint8_t copy[KT_UDP_MAX];
    struct kt_native_header h;
    struct kt_native_agreed agreed;
    if (a->agreed || p->proto != KT_SIM_UDP || p->what != KT_SIM_SENT || strcmp(p->from, "server") != 0)
        return;
    if (!kt_addr_equal(p->dst, &a->t.own[0])) return;
    memcpy(copy, p->data, p->len);
    CHECK(kt_native_peek(a->secrets.header_key, copy, p->len, &h) == 0);
    if (kt_native_client_input(&a->hello, &h, copy, p->len, &agreed, NULL) != KT_NATIVE_CLIENT_AGREED) return;
    a->agreed = true;
    CHECK(kt_native_tx_init(&a->tx, agreed.aead, a->secrets.header_key, agreed.tx_secret) == 0);
}

static void greet(struct peer *a)
{
    static const uint8_t psk[KT_NATIVE_KEY] = {1};
    uint8_t out[KT_NATIVE_INITIATION_MAX];
    kt_native_secrets_shared(&a->secrets, psk);
    a->params = (struct kt_native_params){.present = KT_NATIVE_PARAMS_NEEDED,
        .aead = KT_AEAD_CHACHA20_POLY1305,
        .max_data = 100000,
        .max_stream_data = 50000,
        .min_stream_data = 1000,
        .max_streams = 10,
        .survive_s = 30};
    kt_native_client_init(&a->hello, a->t.near, &a->secrets, &a->params, &a->drops);
    tunnel_inject(&a->t, 0, out, kt_native_client_initiate(&a->hello, 0, out));
    tunnel_advance(&a->t, 1000);
    CHECK(a->agreed);
}

static void fill_and_send(struct peer *a, const char *frame, size_t len)
{
    uint8_t d[KT_NATIVE_DATAGRAM_MAX];
    size_t n = 0;
    for (; n + len <= KT_NATIVE_MTU_BASE - KT_NATIVE_OVERHEAD; n += len)
        memcpy(d + KT_NATIVE_HEADER + n, frame, len);
    const int sealed = kt_native_seal(&a->tx, 0, a->number++, d, n, kt_sim_now(a->t.sim));
    CHECK(sealed > 0);
    tunnel_inject(&a->t, 0, d, (size_t)sealed);
}

static void settings(struct kt_settings *s, bool client)
{
    kt_native_wire.defaults(s, client);
    s->key = KEY;
    s->key_len = strlen(KEY);
}

static void set(lua_State *L, const char *name, uint64_t n)
{
    lua_pushinteger(L, (lua_Integer)n);
    lua_setfield(L, -2, name);
}

static int flood(lua_State *L)
{
    static const struct kt_acceptor_events events = {.stream = tunnel_on_accepted};
    struct kt_native_config far, near;
    size_t len;
    const char *frame = luaL_checklstring(L, 1, &len);
    const lua_Integer packets = luaL_checkinteger(L, 2);
    struct peer *a = lua_newuserdatauv(L, sizeof *a, 0);
    memset(a, 0, sizeof *a);
    settings(&far.common, false);
    settings(&near.common, true);
    tunnel_build(&a->t, &kt_native_wire, &far.common, 1, &events, on_packet, a);
    greet(a);
    tunnel_dial(&a->t, &kt_native_wire, &near.common);
    tunnel_advance(&a->t, S);
    tunnel_write(&a->t, BYTES);
    const struct kt_counters *c = &a->t.far_counters;
    const uint64_t before = c->InPkts;
    for (lua_Integer i = 0; i < packets; i++) fill_and_send(a, frame, len);
    tunnel_advance(&a->t, 1000);
    const uint64_t taken = c->InPkts - before, shed = c->InPktsShed;
    fill_and_send(a, frame, len);
    tunnel_advance(&a->t, 1000);
    const bool later = c->InPkts == before + taken + 1;
    tunnel_advance(&a->t, S);
    const size_t echoed = a->t.echoed;
    tunnel_close(&a->t);
    kt_native_client_end(&a->hello);
    kt_native_tx_free(&a->tx);
    tunnel_free(&a->t);
    lua_createtable(L, 0, 4);
    set(L, "taken", taken);
    set(L, "shed", shed);
    set(L, "echoed", echoed);
    lua_pushboolean(L, later);
    lua_setfield(L, -2, "later");
    return 1;
}

int luaopen_spec_native_flood(lua_State *L)
{
    struct kt_err err;
    if (kt_crypto_init(&err) < 0) return luaL_error(L, "%s", err.text);
    lua_pushcfunction(L, flood);
    return 1;
}
