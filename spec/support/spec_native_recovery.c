/* Loss recovery of kt's own wire, for spec/link/native_recovery_spec.lua. Times are in µs.
 *
 *   r = new{window, rate, rtt, ack_delay, most, reno}   window: packets; each with a default; reno: not a fixed window
 *   number = r:sent(now, bytes, {content...} [, "quiet" or "mtu"])   contents are numbers
 *   ok, error = r:ack(now, delay, {{first, last}...})   highest first
 *   {{"acked" or "lost", content}...} = r:fates()       since the last call
 *   time or nil = r:due()   probe = r:timer(now)   n = r:probes()   n = r:open()   time = r:pace()
 *   any = r:hand_over(since, most)
 *   r:heard()   r:give_up()   r:restart(rtt)   r:trim()   us = r:silence(now)   r:close()
 *   seconds = r:flood(n, now)                           n ACKs with random ranges
 *   facts = r:facts()   of its struct, its stats and what its controller was told
 *   rtt{{sample, delay, now}...}   a table of struct kt_native_rtt */
#include <lauxlib.h>
#include <lua.h>
#include <string.h>
#include <time.h>
#include "class.h"
#include "results.h"
#include "link/native/recovery.h"

#define RECOVERY "spec_native_recovery"

int luaopen_spec_native_recovery(lua_State *L);

struct world {
    struct kt_native_recovery r;
    struct kt_cc cc;
    uint32_t window;
    uint64_t rate;
    uint64_t told_sent, told_acked, told_lost, timeouts; /* packets; losses of silence */
    uint64_t packets_acked, packets_lost;                /* by packet events */
    lua_State *L;                                        /* during a call */
    int fates;                                           /* reference in the registry */
};

static struct world *to_world(lua_State *L)
{
    struct world *w = luaL_checkudata(L, 1, RECOVERY);
    w->L = L;
    return w;
}

/* ---- a controller that allows what the spec says ---- */

static struct world *of(const struct kt_cc *cc)
{
    return (struct world *)((char *)(uintptr_t)cc - offsetof(struct world, cc));
}

static void on_sent(struct kt_cc *cc, const struct kt_cc_sent *sent)
{
    of(cc)->told_sent++;
    (void)sent;
}

static void on_ack(struct kt_cc *cc, const struct kt_cc_ack *ack)
{
    of(cc)->told_acked++;
    (void)ack;
}

static void on_packet_lost(struct kt_cc *cc, const struct kt_cc_packet_lost *lost)
{
    of(cc)->told_lost++;
    (void)lost;
}

static void on_progress(struct kt_cc *cc, const struct kt_cc_progress *progress)
{
    (void)cc;
    (void)progress;
}

static void on_loss(struct kt_cc *cc, const struct kt_cc_loss *loss)
{
    if (loss->kind == KT_CC_LOSS_TIMEOUT) of(cc)->timeouts++;
}

static uint32_t window(const struct kt_cc *cc)
{
    return of(cc)->window;
}

static uint64_t rate(const struct kt_cc *cc)
{
    return of(cc)->rate;
}

static const struct kt_cc_ops ops = {
    .samples = true,
    .on_sent = on_sent,
    .on_ack = on_ack,
    .on_packet_lost = on_packet_lost,
    .on_progress = on_progress,
    .on_loss = on_loss,
    .window = window,
    .rate = rate,
};

/* ---- fates ---- */

static void note(struct world *w, const char *fate, const struct kt_native_content *content)
{
    lua_State *L = w->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->fates);
    lua_createtable(L, 2, 0);
    lua_pushstring(L, fate);
    lua_rawseti(L, -2, 1);
    lua_pushinteger(L, (lua_Integer)content->id);
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, luaL_len(L, -2) + 1);
    lua_pop(L, 1);
}

static void acked(void *ctx, const struct kt_native_content *content)
{
    note(ctx, "acked", content);
}

static void lost(void *ctx, const struct kt_native_content *content)
{
    note(ctx, "lost", content);
}

static void packet_acked(void *ctx, uint32_t bytes, uint64_t now_us)
{
    (void)bytes;
    (void)now_us;
    ((struct world *)ctx)->packets_acked++;
}

static void packet_lost(void *ctx, uint32_t bytes, uint64_t now_us)
{
    (void)bytes;
    (void)now_us;
    ((struct world *)ctx)->packets_lost++;
}

static const struct kt_native_recovery_events events = {acked, lost, packet_acked, packet_lost};

static void new_fates(lua_State *L, struct world *w)
{
    lua_newtable(L);
    w->fates = luaL_ref(L, LUA_REGISTRYINDEX);
}

static int fates(lua_State *L)
{
    struct world *w = to_world(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->fates);
    luaL_unref(L, LUA_REGISTRYINDEX, w->fates);
    new_fates(L, w);
    return 1;
}

/* ---- calls ---- */

static uint64_t field(lua_State *L, const char *key, uint64_t otherwise)
{
    lua_getfield(L, 1, key);
    const uint64_t v = (uint64_t)luaL_optinteger(L, -1, (lua_Integer)otherwise);
    lua_pop(L, 1);
    return v;
}

static int new (lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    struct world *w = lua_newuserdatauv(L, sizeof *w, 0);
    *w = (struct world){.window = (uint32_t)field(L, "window", 100), .rate = field(L, "rate", 0)};
    lua_getfield(L, 1, "reno");
    kt_cc_init(&w->cc, lua_toboolean(L, -1) ? &kt_cc_reno : &ops);
    lua_pop(L, 1);
    new_fates(L, w);
    const struct kt_native_recovery_config cfg = {.events = &events,
        .ctx = w,
        .cc = &w->cc,
        .first_rtt_us = (uint32_t)field(L, "rtt", 0),
        .peer_ack_delay_us = (uint32_t)field(L, "ack_delay", 0),
        .most = (uint32_t)field(L, "most", KT_NATIVE_RECOVERY_MOST)};
    kt_native_recovery_init(&w->r, &cfg);
    luaL_setmetatable(L, RECOVERY);
    return 1;
}

static int close_recovery(lua_State *L)
{
    struct world *w = to_world(L);
    kt_native_recovery_free(&w->r);
    if (w->cc.packets != 0 || w->cc.rate.inflight != 0) return luaL_error(L, "left in flight");
    luaL_unref(L, LUA_REGISTRYINDEX, w->fates);
    w->fates = LUA_NOREF;
    return 0;
}

/* A spec that failed did not close it. */
static int collect(lua_State *L)
{
    kt_native_recovery_free(&to_world(L)->r);
    return 0;
}

static int sent(lua_State *L)
{
    struct world *w = to_world(L);
    struct kt_native_content contents[KT_NATIVE_CONTENTS];
    const char *kind = luaL_optstring(L, 5, "");
    struct kt_native_sent s = {.bytes = (uint32_t)luaL_checkinteger(L, 3),
        .eliciting = strcmp(kind, "quiet") != 0,
        .mtu_probe = strcmp(kind, "mtu") == 0,
        .contents = contents};
    for (; lua_istable(L, 4) && lua_rawgeti(L, 4, s.count + 1) != LUA_TNIL; lua_pop(L, 1)) {
        if (s.count == KT_NATIVE_CONTENTS) return luaL_error(L, "too many contents");
        contents[s.count++] = (struct kt_native_content){
            .id = (uint64_t)luaL_checkinteger(L, -1), .type = KT_NATIVE_FRAME_DATA};
    }
    if (!kt_native_recovery_ready(&w->r)) return luaL_error(L, "out of memory");
    lua_pushinteger(L, (lua_Integer)kt_native_recovery_number(&w->r));
    kt_native_recovery_sent(&w->r, &s, (uint64_t)luaL_checkinteger(L, 2));
    return 1;
}

static int ack(lua_State *L)
{
    struct world *w = to_world(L);
    struct kt_native_ack a = {.delay_us = (uint64_t)luaL_checkinteger(L, 3)};
    for (; lua_rawgeti(L, 4, a.count + 1) != LUA_TNIL; lua_pop(L, 1)) {
        if (a.count == KT_NATIVE_ACK_RANGES) return luaL_error(L, "too many ranges");
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        a.ranges[a.count++] =
            (struct kt_native_range){(uint64_t)luaL_checkinteger(L, -2), (uint64_t)luaL_checkinteger(L, -1)};
        lua_pop(L, 2);
    }
    struct kt_err err = {0};
    const int rc = kt_native_recovery_ack(&w->r, &a, (uint64_t)luaL_checkinteger(L, 2), &err);
    lua_pushboolean(L, rc == 0);
    lua_pushstring(L, err.text);
    return 2;
}

/* ACKs as hostile as they can be: as many ranges as possible, at random, over all that was sent. */
static int flood(lua_State *L)
{
    struct world *w = to_world(L);
    const uint64_t next = kt_native_recovery_number(&w->r), now = (uint64_t)luaL_checkinteger(L, 3);
    const uint64_t step = next / KT_NATIVE_ACK_RANGES;
    uint64_t random = 88172645463325252u;
    const clock_t before = clock();
    for (lua_Integer n = luaL_checkinteger(L, 2); n > 0; n--) {
        struct kt_native_ack a = {.count = KT_NATIVE_ACK_RANGES};
        for (uint64_t i = 0; i < KT_NATIVE_ACK_RANGES; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            const uint64_t low = (KT_NATIVE_ACK_RANGES - 1 - i) * step, first = low + random % (step - 1);
            a.ranges[i] = (struct kt_native_range){first, first + (random >> 32) % (low + step - 1 - first)};
        }
        if (kt_native_recovery_ack(&w->r, &a, now, NULL)) return luaL_error(L, "refused");
    }
    lua_pushnumber(L, (lua_Number)(clock() - before) / CLOCKS_PER_SEC);
    return 1;
}

static int due(lua_State *L)
{
    const uint64_t at = kt_native_recovery_due(&to_world(L)->r);
    if (at == UINT64_MAX)
        lua_pushnil(L);
    else
        lua_pushinteger(L, (lua_Integer)at);
    return 1;
}

static int timer(lua_State *L)
{
    lua_pushboolean(L, kt_native_recovery_timer(&to_world(L)->r, (uint64_t)luaL_checkinteger(L, 2)));
    return 1;
}

static int probes(lua_State *L)
{
    lua_pushinteger(L, kt_native_recovery_probes(&to_world(L)->r));
    return 1;
}

static int open(lua_State *L)
{
    lua_pushinteger(L, kt_native_recovery_open(&to_world(L)->r));
    return 1;
}

static int pace(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_native_recovery_pace(&to_world(L)->r));
    return 1;
}

static int heard(lua_State *L)
{
    kt_native_recovery_heard(&to_world(L)->r);
    return 0;
}

static int give_up(lua_State *L)
{
    kt_native_recovery_give_up(&to_world(L)->r);
    return 0;
}

static int hand_over(lua_State *L)
{
    struct world *w = to_world(L);
    const uint64_t since = (uint64_t)luaL_checkinteger(L, 2), most = (uint64_t)luaL_checkinteger(L, 3);
    lua_pushboolean(L, kt_native_recovery_hand_over(&w->r, since, most));
    return 1;
}

static int restart(lua_State *L)
{
    kt_native_recovery_restart(&to_world(L)->r, (uint32_t)luaL_optinteger(L, 2, 0));
    return 0;
}

static int trim(lua_State *L)
{
    kt_native_recovery_trim(&to_world(L)->r);
    return 0;
}

static int silence(lua_State *L)
{
    const uint64_t now = (uint64_t)luaL_checkinteger(L, 2);
    lua_pushinteger(L, (lua_Integer)kt_native_recovery_silence(&to_world(L)->r, now));
    return 1;
}

static int facts(lua_State *L)
{
    const struct world *w = to_world(L);
    const struct kt_native_recovery_stats *s = kt_native_recovery_stats(&w->r);
    lua_newtable(L);
    set(L, "sent", s->sent);
    set(L, "acked", s->acked);
    set(L, "lost", s->lost);
    set(L, "spurious", s->spurious);
    set(L, "timeouts", s->timeouts);
    set(L, "loss", s->loss);
    set(L, "inflight", w->r.inflight);
    set(L, "pto", kt_native_recovery_pto(&w->r));
    set(L, "srtt", w->r.rtt.srtt);
    set(L, "min_rtt", w->r.rtt.min);
    set(L, "reorder", kt_native_recovery_reorder(&w->r));
    set(L, "bytes", kt_native_recovery_bytes(&w->r));
    set(L, "cc_inflight", w->cc.rate.inflight);
    set(L, "cc_packets", w->cc.packets);
    set(L, "cc_window", kt_cc_window(&w->cc));
    set(L, "cc_sent", w->told_sent);
    set(L, "cc_acked", w->told_acked);
    set(L, "cc_lost", w->told_lost);
    set(L, "cc_timeouts", w->timeouts);
    set(L, "packets_acked", w->packets_acked);
    set(L, "packets_lost", w->packets_lost);
    return 1;
}

static int rtt(lua_State *L)
{
    struct kt_native_rtt t;
    kt_native_rtt_init(&t, 0);
    for (lua_Integer i = 1; lua_rawgeti(L, 1, i) != LUA_TNIL; i++, lua_pop(L, 1)) {
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        lua_rawgeti(L, -3, 3);
        kt_native_rtt_sample(&t, (uint64_t)luaL_checkinteger(L, -3), (uint32_t)luaL_checkinteger(L, -2),
            (uint64_t)luaL_checkinteger(L, -1));
        lua_pop(L, 3);
    }
    lua_newtable(L);
    set(L, "srtt", t.srtt);
    set(L, "var", t.var);
    set(L, "min", t.min);
    return 1;
}

int luaopen_spec_native_recovery(lua_State *L)
{
    static const luaL_Reg methods[] = {{"sent", sent}, {"ack", ack}, {"fates", fates}, {"due", due},
        {"timer", timer}, {"probes", probes}, {"open", open}, {"pace", pace}, {"heard", heard},
        {"give_up", give_up}, {"hand_over", hand_over}, {"restart", restart}, {"trim", trim},
        {"silence", silence}, {"facts", facts}, {"flood", flood}, {"close", close_recovery},
        {"__gc", collect}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"new", new}, {"rtt", rtt}, {NULL, NULL}};
    class(L, RECOVERY, methods);
    luaL_newlib(L, functions);
    return 1;
}
