/* Bindings of the rate sampler, the pacer and the controller auto, for spec/kcp/{rate_sample,pacer,cc_auto}_spec.lua.
 * Sizes are in bytes, times in µs.
 *
 *   r = spec_delivery.rate()
 *   packet = r:sent(bytes, now)      a table: its snapshot's fields, and what r:acked needs
 *   r:acked(packet, now [, unknown])  unknown: which transmission arrived is not known
 *   r:lost(packet)   r:app_limited()  r:inflight()
 *   sample or nil = r:sample([min_rtt])
 *       {rate, delivered, interval, prior, acked, lost, inflight, app_limited}
 *
 *   p = spec_delivery.pacer(rate, burst)
 *   p:set(rate, burst)   at = p:next()   p:sent(bytes, now)
 *
 *   c = spec_delivery.auto{packet=, rate=, window=}   the controller, as a sender of numbered packets has it
 *   packet = c:sent(bytes, now)   c:acked(packet, now)   c:lost(packet, now)   c:app_limited()
 *   c:progress(now)    after the acked and lost of a datagram
 *   c:limit{...}       as for auto
 *   packets = c:open()   at = c:next()   rate, window, inflight = c:facts()   the last two in bytes */
#include <lauxlib.h>
#include <lua.h>
#include "results.h"
#include "kcp/cc.h"
#include "kcp/pacer.h"
#include "kcp/rate_sample.h"

#define RATE "spec_delivery.rate"
#define PACER "spec_delivery.pacer"
#define PACKET "spec_delivery.packet"
#define AUTO "spec_delivery.auto"

int luaopen_spec_delivery(lua_State *L);

struct packet {
    struct kt_rate_snapshot snapshot;
    uint64_t sent_us;
    uint32_t bytes;
};

static int rate_new(lua_State *L)
{
    struct kt_rate *r = lua_newuserdatauv(L, sizeof *r, 0);
    *r = (struct kt_rate){0};
    luaL_setmetatable(L, RATE);
    return 1;
}

static int rate_sent(lua_State *L)
{
    struct kt_rate *r = luaL_checkudata(L, 1, RATE);
    struct packet *p = lua_newuserdatauv(L, sizeof *p, 0);
    p->bytes = (uint32_t)luaL_checkinteger(L, 2);
    p->sent_us = (uint64_t)luaL_checkinteger(L, 3);
    kt_rate_sent(r, &p->snapshot, p->bytes, p->sent_us);
    luaL_setmetatable(L, PACKET);
    return 1;
}

static int rate_acked(lua_State *L)
{
    const struct packet *p = luaL_checkudata(L, 2, PACKET);
    kt_rate_acked(luaL_checkudata(L, 1, RATE), lua_toboolean(L, 4) ? NULL : &p->snapshot, p->sent_us,
        p->bytes, (uint64_t)luaL_checkinteger(L, 3));
    return 0;
}

static int rate_lost(lua_State *L)
{
    const struct packet *p = luaL_checkudata(L, 2, PACKET);
    kt_rate_lost(luaL_checkudata(L, 1, RATE), p->bytes);
    return 0;
}

static int rate_app_limited(lua_State *L)
{
    kt_rate_app_limited(luaL_checkudata(L, 1, RATE));
    return 0;
}

static int rate_inflight(lua_State *L)
{
    const struct kt_rate *r = luaL_checkudata(L, 1, RATE);
    lua_pushinteger(L, (lua_Integer)r->inflight);
    return 1;
}

static int rate_sample(lua_State *L)
{
    struct kt_rate_sample s;
    if (!kt_rate_sample(luaL_checkudata(L, 1, RATE), (uint32_t)luaL_optinteger(L, 2, 0), &s)) return 0;
    lua_newtable(L);
    set(L, "rate", kt_rate_per_second(&s));
    set(L, "delivered", s.delivered);
    set(L, "interval", s.interval_us);
    set(L, "prior", s.prior_delivered);
    set(L, "acked", s.acked);
    set(L, "lost", s.lost);
    set(L, "inflight", s.inflight);
    lua_pushboolean(L, s.app_limited);
    lua_setfield(L, -2, "app_limited");
    return 1;
}

static int pacer_set(lua_State *L)
{
    kt_pacer_set(
        luaL_checkudata(L, 1, PACER), (uint64_t)luaL_checkinteger(L, 2), (uint32_t)luaL_checkinteger(L, 3));
    return 0;
}

static int pacer_new(lua_State *L)
{
    struct kt_pacer *p = lua_newuserdatauv(L, sizeof *p, 0);
    *p = (struct kt_pacer){0};
    kt_pacer_set(p, (uint64_t)luaL_checkinteger(L, 1), (uint32_t)luaL_checkinteger(L, 2));
    luaL_setmetatable(L, PACER);
    return 1;
}

static int pacer_next(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_pacer_next(luaL_checkudata(L, 1, PACER)));
    return 1;
}

static int pacer_idle(lua_State *L)
{
    ((struct kt_pacer *)luaL_checkudata(L, 1, PACER))->idle = true;
    return 0;
}

static int pacer_sent(lua_State *L)
{
    kt_pacer_sent(
        luaL_checkudata(L, 1, PACER), (uint32_t)luaL_checkinteger(L, 2), (uint64_t)luaL_checkinteger(L, 3));
    return 0;
}

/* ---- the controller ---- */

struct controller {
    struct kt_cc cc;
    uint32_t min_rtt_us;
    struct kt_cc_loss loss; /* since the last progress */
};

static uint64_t field(lua_State *L, int idx, const char *key)
{
    lua_getfield(L, idx, key);
    const uint64_t value = (uint64_t)luaL_optinteger(L, -1, 0);
    lua_pop(L, 1);
    return value;
}

static void limit(lua_State *L, int idx, struct kt_cc *cc)
{
    const struct kt_cc_limits limits = {.packet = (uint32_t)field(L, idx, "packet"),
        .rate = field(L, idx, "rate"),
        .window = field(L, idx, "window")};
    kt_cc_limit(cc, &limits);
}

static int auto_new(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    struct controller *c = lua_newuserdatauv(L, sizeof *c, 0);
    *c = (struct controller){0};
    kt_cc_init(&c->cc, &kt_cc_auto);
    limit(L, 1, &c->cc);
    luaL_setmetatable(L, AUTO);
    return 1;
}

static int auto_limit(lua_State *L)
{
    struct controller *c = luaL_checkudata(L, 1, AUTO);
    limit(L, 2, &c->cc);
    return 0;
}

static int auto_sent(lua_State *L)
{
    struct controller *c = luaL_checkudata(L, 1, AUTO);
    struct packet *p = lua_newuserdatauv(L, sizeof *p, 0);
    p->bytes = (uint32_t)luaL_checkinteger(L, 2);
    p->sent_us = (uint64_t)luaL_checkinteger(L, 3);
    kt_cc_sent(&c->cc, &p->snapshot, p->bytes, false, p->sent_us);
    luaL_setmetatable(L, PACKET);
    return 1;
}

static int auto_acked(lua_State *L)
{
    struct controller *c = luaL_checkudata(L, 1, AUTO);
    const struct packet *p = luaL_checkudata(L, 2, PACKET);
    const uint64_t now = (uint64_t)luaL_checkinteger(L, 3), rtt = now - p->sent_us;
    if (c->min_rtt_us == 0 || rtt < c->min_rtt_us) c->min_rtt_us = (uint32_t)rtt;
    kt_cc_acked(&c->cc, &p->snapshot, true, p->sent_us, p->bytes, now);
    c->cc.packets--;
    return 0;
}

static int auto_lost(lua_State *L)
{
    struct controller *c = luaL_checkudata(L, 1, AUTO);
    const struct packet *p = luaL_checkudata(L, 2, PACKET);
    kt_cc_packet_lost(&c->cc, &p->snapshot, p->bytes, (uint64_t)luaL_checkinteger(L, 3));
    c->loss.packets++;
    c->loss.bytes += p->bytes;
    return 0;
}

static int auto_progress(lua_State *L)
{
    struct controller *c = luaL_checkudata(L, 1, AUTO);
    c->loss.now_us = (uint64_t)luaL_checkinteger(L, 2);
    if (c->loss.packets > 0) kt_cc_lost(&c->cc, &c->loss);
    kt_cc_progressed(&c->cc, 0, UINT32_MAX, c->min_rtt_us, c->loss.now_us);
    c->loss = (struct kt_cc_loss){0};
    return 0;
}

static int auto_app_limited(lua_State *L)
{
    struct controller *c = luaL_checkudata(L, 1, AUTO);
    kt_cc_app_limited(&c->cc);
    return 0;
}

static int auto_open(lua_State *L)
{
    struct controller *c = luaL_checkudata(L, 1, AUTO);
    lua_pushinteger(L, kt_cc_open(&c->cc));
    return 1;
}

static int auto_next(lua_State *L)
{
    struct controller *c = luaL_checkudata(L, 1, AUTO);
    lua_pushinteger(L, (lua_Integer)kt_cc_next(&c->cc));
    return 1;
}

static int auto_facts(lua_State *L)
{
    struct controller *c = luaL_checkudata(L, 1, AUTO);
    lua_pushinteger(L, (lua_Integer)kt_cc_auto.rate(&c->cc));
    lua_pushinteger(L, (lua_Integer)kt_cc_auto.inflight(&c->cc));
    lua_pushinteger(L, (lua_Integer)c->cc.rate.inflight);
    return 3;
}

static void class(lua_State *L, const char *name, const luaL_Reg *methods)
{
    luaL_newmetatable(L, name);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

int luaopen_spec_delivery(lua_State *L)
{
    static const luaL_Reg rate[] = {{"sent", rate_sent}, {"acked", rate_acked}, {"lost", rate_lost},
        {"app_limited", rate_app_limited}, {"inflight", rate_inflight}, {"sample", rate_sample},
        {NULL, NULL}};
    static const luaL_Reg pacer[] = {
        {"set", pacer_set}, {"next", pacer_next}, {"sent", pacer_sent}, {"idle", pacer_idle}, {NULL, NULL}};
    static const luaL_Reg packet[] = {{NULL, NULL}};
    static const luaL_Reg controller[] = {{"sent", auto_sent}, {"acked", auto_acked}, {"lost", auto_lost},
        {"progress", auto_progress}, {"app_limited", auto_app_limited}, {"limit", auto_limit},
        {"open", auto_open}, {"next", auto_next}, {"facts", auto_facts}, {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"rate", rate_new}, {"pacer", pacer_new}, {"auto", auto_new}, {NULL, NULL}};
    class(L, RATE, rate);
    class(L, PACER, pacer);
    class(L, PACKET, packet);
    class(L, AUTO, controller);
    luaL_newlib(L, functions);
    return 1;
}
