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
#include "results.h"
#include "../fuzz/native_peer.h"
#include "crypto/crypto.h"
#include "link/native/frame.h"
#include "link/native/mtu.h"

#define BYTES 2000u

int luaopen_spec_native_flood(lua_State *L);

struct world {
    struct tunnel t;
    struct native_peer peer;
};

static void on_packet(void *ctx, const struct kt_sim_packet *p)
{
    struct world *w = ctx;
    uint8_t copy[KT_UDP_MAX];
    struct kt_native_header h;
    struct kt_native_agreed agreed;
    if (w->peer.agreed || p->proto != KT_SIM_UDP || p->what != KT_SIM_SENT || strcmp(p->from, "server") != 0)
        return;
    if (!kt_addr_equal(p->dst, &w->t.own[0])) return;
    memcpy(copy, p->data, p->len);
    CHECK(kt_native_peek(&w->peer.secrets.header_keys, copy, p->len, &h) == 0);
    native_peer_take(&w->peer, &h, copy, p->len, &agreed);
}

static void fill_and_send(struct world *w, const char *frame, size_t len)
{
    uint8_t d[KT_NATIVE_DATAGRAM_MAX];
    size_t n = 0;
    for (; n + len <= KT_NATIVE_MTU_BASE - KT_NATIVE_OVERHEAD; n += len)
        memcpy(d + KT_NATIVE_HEADER + n, frame, len);
    tunnel_inject(&w->t, 0, d, native_peer_seal(&w->peer, &w->t, d, n));
}

static int flood(lua_State *L)
{
    static const struct kt_acceptor_events events = {.stream = tunnel_on_accepted};
    struct kt_native_config near = native_peer_settings(true), far = native_peer_settings(false);
    size_t len;
    const char *frame = luaL_checklstring(L, 1, &len);
    const lua_Integer packets = luaL_checkinteger(L, 2);
    struct world *w = lua_newuserdatauv(L, sizeof *w, 0);
    memset(w, 0, sizeof *w);
    tunnel_build(&w->t, &kt_native_wire, &far.common, 1, &events, on_packet, w);
    native_peer_greet(&w->peer, &w->t);
    tunnel_dial(&w->t, &kt_native_wire, &near.common);
    tunnel_advance(&w->t, S);
    tunnel_write(&w->t, BYTES);
    const struct kt_counters *c = &w->t.far_counters;
    const uint64_t before = c->InPkts;
    for (lua_Integer i = 0; i < packets; i++) fill_and_send(w, frame, len);
    tunnel_advance(&w->t, 1000);
    const uint64_t taken = c->InPkts - before, shed = c->InPktsShed;
    fill_and_send(w, frame, len);
    tunnel_advance(&w->t, 1000);
    const bool later = c->InPkts == before + taken + 1;
    tunnel_advance(&w->t, S);
    const size_t echoed = w->t.echoed;
    tunnel_close(&w->t);
    native_peer_end(&w->peer);
    tunnel_free(&w->t);
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
