/* The KCP engine, for spec/kcp_*_spec.lua. Bytes and packets are Lua strings, times are in µs.
 *
 *   e = spec_kcp.new{conv, mtu, snd_wnd, rcv_wnd, nodelay, interval_ms, resend, reno, ack_nodelay, pad, ts_base,
 *                    now, block_size, start_snd, start_rcv, path}   each with a default; nil, error_name
 *   n = e:write(bytes)   n = e:room()   bytes = e:read([at_most])
 *   ok, error_name = e:input(packet, now [, "recovered"])   {packet...} = e:flush(now)
 *   e:limit(packets or nil, bytes or nil)   how much reserve still provides
 *   time or nil = e:due(now)   nil: never
 *   e:probe()   mark = e:mark()   e:covered(mark)   e:unacked()   e:mss()
 *   e:stats()   a table of struct kt_kcp_stats   e:restart()   of struct kt_kcptun_restart
 *   e:fail_after(n or nil)   makes the pool fail   e:blocks()   pool blocks in use
 *   packet or nil = e:challenge(ts, at_most, una)   e:fits{cmd, sn, una}   e:path_changed()   e:news()
 *   e:check()   raises if an invariant is broken   e:close()
 *   p = spec_kcp.path{window, rate}   a controller that engines share   p:facts()
 *   conv, sn = spec_kcp.peek(packet)   spec_kcp.echoes(packet, conv, from, span) */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/slab.h"
#include "kcp_check.h"
#include "link/kcptun/restart.h"

#define ENGINE "spec_kcp.engine"
#define PATH "spec_kcp.path"

int luaopen_spec_kcp(lua_State *L);

/* A controller from outside: a constant window and rate, and a record of the calls. Engines made with `path`
 * share it. */
struct path {
    struct kt_cc cc; /* first, so that a controller finds its path */
    uint32_t window;
    uint64_t rate;
    uint64_t sent, again, acked, sampled, best, advanced, idle;
    uint64_t lost[2]; /* packets, by kind */
};

struct engine {
    struct kt_kcp *kcp;
    struct kt_cc own;
    struct kt_cc *cc; /* its own, or a path's */
    struct kt_slab *pool;
    struct kt_kcptun_restart restart;
    uint32_t mtu;
    uint32_t snd_most, rcv_most; /* the largest windows so far */
    size_t allowed;              /* packets that reserve still provides */
    size_t most;                 /* largest packet that it lets through, in bytes */
    size_t outstanding;          /* reserved and not sent */
    size_t largest;              /* batch */
    lua_State *L;                /* during a flush: its top is the table of packets */
};

static struct engine *to_engine(lua_State *L)
{
    struct engine *e = luaL_checkudata(L, 1, ENGINE);
    luaL_argcheck(L, e->kcp, 1, "closed");
    return e;
}

/* Each buffer is allocated separately with exactly the size that may be filled, so that AddressSanitizer
 * catches accesses past the end. */
static uint8_t *reserve(void *ctx, size_t *len)
{
    struct engine *e = ctx;
    if (e->allowed == 0 || *len > e->most) return NULL;
    *len = e->most < e->mtu ? e->most : e->mtu;
    uint8_t *buf = malloc(*len);
    if (!buf) return NULL;
    e->allowed--;
    e->outstanding++;
    return buf;
}

static void send(void *ctx, const struct kt_packet *pkts, size_t n)
{
    struct engine *e = ctx;
    if (n > e->largest) e->largest = n;
    for (size_t i = 0; i < n; i++) {
        lua_pushlstring(e->L, (const char *)pkts[i].data, pkts[i].len);
        lua_rawseti(e->L, -2, luaL_len(e->L, -2) + 1);
        free(pkts[i].data);
        e->outstanding--;
    }
}

static lua_Integer field(lua_State *L, int idx, const char *key, lua_Integer otherwise)
{
    lua_getfield(L, idx, key);
    lua_Integer v = luaL_optinteger(L, -1, otherwise);
    lua_pop(L, 1);
    return v;
}

static bool flag(lua_State *L, int idx, const char *key)
{
    lua_getfield(L, idx, key);
    bool v = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return v;
}

/* ---- the controller from outside ---- */

static void path_on_sent(struct kt_cc *cc, const struct kt_cc_sent *sent)
{
    (void)sent;
    struct path *p = (void *)cc;
    p->sent++;
}

static void path_on_packet_lost(struct kt_cc *cc, const struct kt_cc_packet_lost *lost)
{
    struct path *p = (void *)cc;
    p->again += lost->snapshot != NULL;
}

static void path_on_ack(struct kt_cc *cc, const struct kt_cc_ack *ack)
{
    struct path *p = (void *)cc;
    p->acked++;
    p->sampled += ack->known;
}

static void path_on_progress(struct kt_cc *cc, const struct kt_cc_progress *progress)
{
    struct path *p = (void *)cc;
    p->advanced += progress->advanced;
    const uint64_t rate = progress->sample ? kt_rate_per_second(progress->sample) : 0;
    if (rate > p->best) p->best = rate;
}

static void path_on_loss(struct kt_cc *cc, const struct kt_cc_loss *loss)
{
    struct path *p = (void *)cc;
    p->lost[loss->kind] += loss->packets;
}

static void path_on_idle(struct kt_cc *cc, uint64_t now_us)
{
    (void)now_us;
    struct path *p = (void *)cc;
    p->idle++;
}

static uint32_t path_window(const struct kt_cc *cc)
{
    const struct path *p = (const void *)cc;
    return p->window;
}

static uint64_t path_rate(const struct kt_cc *cc)
{
    const struct path *p = (const void *)cc;
    return p->rate;
}

static const struct kt_cc_ops path_ops = {
    .samples = true,
    .on_sent = path_on_sent,
    .on_ack = path_on_ack,
    .on_packet_lost = path_on_packet_lost,
    .on_progress = path_on_progress,
    .on_loss = path_on_loss,
    .on_idle = path_on_idle,
    .window = path_window,
    .rate = path_rate,
};

static int path_new(lua_State *L)
{
    struct path *p = lua_newuserdatauv(L, sizeof *p, 0);
    *p = (struct path){
        .window = (uint32_t)field(L, 1, "window", 1 << 20), .rate = (uint64_t)field(L, 1, "rate", 0)};
    kt_cc_init(&p->cc, &path_ops);
    luaL_setmetatable(L, PATH);
    return 1;
}

/* p:facts(): packets by kind of call; packets and bytes in flight; best: the highest rate sampled */
static int path_facts(lua_State *L)
{
    const struct path *p = luaL_checkudata(L, 1, PATH);
    const struct {
        const char *name;
        uint64_t value;
    } facts[] = {{"sent", p->sent}, {"again", p->again}, {"acked", p->acked}, {"sampled", p->sampled},
        {"best", p->best}, {"advanced", p->advanced}, {"idle", p->idle}, {"fast", p->lost[KT_CC_LOSS_FAST]},
        {"timeout", p->lost[KT_CC_LOSS_TIMEOUT]}, {"packets", p->cc.packets}, {"bytes", p->cc.rate.inflight}};
    lua_newtable(L);
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        lua_pushinteger(L, (lua_Integer)facts[i].value);
        lua_setfield(L, -2, facts[i].name);
    }
    return 1;
}

static const struct kt_cc_ops *controller(lua_State *L, int idx)
{
    if (flag(L, idx, "path")) return &path_ops;
    return flag(L, idx, "reno") ? &kt_cc_reno : &kt_cc_fixed;
}

static struct kt_kcp_config settings(lua_State *L, int idx)
{
    luaL_checktype(L, idx, LUA_TTABLE);
    return (struct kt_kcp_config){
        .conv = (uint32_t)field(L, idx, "conv", 0x11223344),
        .mtu = (uint32_t)field(L, idx, "mtu", 1322),
        .snd_wnd = (uint32_t)field(L, idx, "snd_wnd", 128),
        .rcv_wnd = (uint32_t)field(L, idx, "rcv_wnd", 512),
        .nodelay = flag(L, idx, "nodelay"),
        .interval_ms = (uint32_t)field(L, idx, "interval_ms", 30),
        .resend = (uint32_t)field(L, idx, "resend", 2),
        .ack_nodelay = flag(L, idx, "ack_nodelay"),
        .pad = (uint32_t)field(L, idx, "pad", 0),
        .ts_base = (uint32_t)field(L, idx, "ts_base", 0),
    };
}

static int engine_new(lua_State *L)
{
    struct kt_kcp_config cfg = settings(L, 1);
    size_t block = (size_t)field(L, 1, "block_size", (lua_Integer)kt_kcp_block_size(cfg.mtu));
    struct engine *e = lua_newuserdatauv(L, sizeof *e, 1);
    *e = (struct engine){.mtu = cfg.mtu, .allowed = SIZE_MAX, .most = SIZE_MAX};
    luaL_setmetatable(L, ENGINE);
    e->cc = &e->own;
    if (lua_getfield(L, 1, "path") != LUA_TNIL)
        e->cc = &((struct path *)luaL_checkudata(L, -1, PATH))->cc;
    else
        kt_cc_init(e->cc, controller(L, 1));
    lua_setiuservalue(L, -2, 1); /* keeps the path alive as long as the engine */
    cfg.cc = e->cc;
    int rc = kt_slab_new(&e->pool, block, 0);
    struct kt_packet_out out = {.reserve = reserve, .send = send, .ctx = e};
    if (rc == 0) rc = kt_kcp_new(&e->kcp, &cfg, e->pool, &out, (uint64_t)field(L, 1, "now", 0));
    if (rc == 0) {
        e->snd_most = cfg.snd_wnd;
        e->rcv_most = cfg.rcv_wnd;
        kt_kcp_observe(e->kcp, kt_kcptun_restart_note, &e->restart);
        kt_kcp_repeat_acks(e->kcp, flag(L, 1, "repeat_acks"));
        kcp_check_start(e->kcp, (uint32_t)field(L, 1, "start_snd", 0), (uint32_t)field(L, 1, "start_rcv", 0));
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, kt_errname(rc));
    return 2;
}

/* e:tune{…}: all settings, as for new; check then also allows the previous, larger windows */
static int engine_tune(lua_State *L)
{
    struct engine *e = to_engine(L);
    struct kt_kcp_config cfg = settings(L, 2);
    cfg.cc = e->cc;
    kt_cc_switch(e->cc, controller(L, 2));
    int rc = kt_kcp_tune(e->kcp, &cfg);
    if (rc) {
        lua_pushnil(L);
        lua_pushstring(L, kt_errname(rc));
        return 2;
    }
    if (cfg.snd_wnd > e->snd_most) e->snd_most = cfg.snd_wnd;
    if (cfg.rcv_wnd > e->rcv_most) e->rcv_most = cfg.rcv_wnd;
    lua_pushboolean(L, 1);
    return 1;
}

static int engine_close(lua_State *L)
{
    struct engine *e = luaL_checkudata(L, 1, ENGINE);
    kt_kcp_free(e->kcp);
    kt_slab_free(e->pool); /* asserts that all blocks were returned */
    e->kcp = NULL;
    e->pool = NULL;
    return 0;
}

static int engine_write(lua_State *L)
{
    size_t n;
    const char *data = luaL_checklstring(L, 2, &n);
    lua_pushinteger(L, (lua_Integer)kt_kcp_write(to_engine(L)->kcp, data, n));
    return 1;
}

static int engine_room(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_kcp_room(to_engine(L)->kcp));
    return 1;
}

static int engine_read(lua_State *L)
{
    struct kt_kcp *k = to_engine(L)->kcp;
    size_t most = lua_isnoneornil(L, 2) ? SIZE_MAX : (size_t)luaL_checkinteger(L, 2);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    const uint8_t *data;
    for (size_t n; most > 0 && (n = kt_kcp_peek(k, &data)) > 0; most -= n) {
        if (n > most) n = most;
        luaL_addlstring(&b, (const char *)data, n);
        kt_kcp_consume(k, n);
    }
    luaL_pushresult(&b);
    return 1;
}

static int engine_input(lua_State *L)
{
    struct kt_kcp *k = to_engine(L)->kcp;
    size_t n;
    const char *packet = luaL_checklstring(L, 2, &n);
    uint64_t now = (uint64_t)luaL_checkinteger(L, 3);
    enum kt_kcp_origin origin = lua_isnoneornil(L, 4) ? KT_KCP_REGULAR : KT_KCP_RECOVERED;
    /* A copy of exactly this length, so that the sanitizer catches reads past the end. */
    uint8_t *copy = malloc(n > 0 ? n : 1);
    if (!copy) return luaL_error(L, "out of memory");
    memcpy(copy, packet, n);
    int rc = kt_kcp_input(k, copy, n, origin, now);
    free(copy);
    lua_pushboolean(L, rc == 0);
    if (rc == 0) return 1;
    lua_pushstring(L, kt_errname(rc));
    return 2;
}

static int engine_flush(lua_State *L)
{
    struct engine *e = to_engine(L);
    uint64_t now = (uint64_t)luaL_checkinteger(L, 2);
    lua_newtable(L);
    e->L = L;
    kt_kcp_flush(e->kcp, now);
    if (e->outstanding > 0) return luaL_error(L, "a reserved buffer was not sent");
    if (e->largest > KT_PACKET_BATCH) return luaL_error(L, "a batch of %d packets", (int)e->largest);
    return 1;
}

static int engine_limit(lua_State *L)
{
    struct engine *e = to_engine(L);
    e->allowed = lua_isnoneornil(L, 2) ? SIZE_MAX : (size_t)luaL_checkinteger(L, 2);
    e->most = lua_isnoneornil(L, 3) ? SIZE_MAX : (size_t)luaL_checkinteger(L, 3);
    return 0;
}

static int engine_due(lua_State *L)
{
    uint64_t at = kt_kcp_due(to_engine(L)->kcp, (uint64_t)luaL_checkinteger(L, 2));
    if (at == UINT64_MAX) return 0;
    lua_pushinteger(L, (lua_Integer)at);
    return 1;
}

static int engine_probe(lua_State *L)
{
    kt_kcp_probe(to_engine(L)->kcp);
    return 0;
}

static int engine_mark(lua_State *L)
{
    lua_pushinteger(L, kt_kcp_mark(to_engine(L)->kcp));
    return 1;
}

static int engine_covered(lua_State *L)
{
    lua_pushboolean(L, kt_kcp_covered(to_engine(L)->kcp, (uint32_t)luaL_checkinteger(L, 2)));
    return 1;
}

static int engine_unacked(lua_State *L)
{
    lua_pushboolean(L, kt_kcp_unacked(to_engine(L)->kcp));
    return 1;
}

static int engine_mss(lua_State *L)
{
    lua_pushinteger(L, kt_kcp_mss(to_engine(L)->kcp));
    return 1;
}

static int engine_stats(lua_State *L)
{
    struct kt_kcp_stats s;
    kt_kcp_stats(to_engine(L)->kcp, &s);
    lua_newtable(L);
#define NUMBER(name) (lua_pushinteger(L, (lua_Integer)s.name), lua_setfield(L, -2, #name))
    NUMBER(srtt_us);
    NUMBER(rttvar_us);
    NUMBER(rto_us);
    NUMBER(inflight);
    NUMBER(queued);
    NUMBER(rmt_wnd);
    NUMBER(cwnd);
    NUMBER(ssthresh);
    NUMBER(in_segs);
    NUMBER(out_segs);
    NUMBER(in_push);
    NUMBER(out_push);
    NUMBER(fast_retrans);
    NUMBER(early_retrans);
    NUMBER(timeout_retrans);
    NUMBER(repeat);
    NUMBER(beyond);
    NUMBER(dropped);
    NUMBER(bytes_in);
    NUMBER(bytes_out);
    NUMBER(answers);
    NUMBER(unanswered);
#undef NUMBER
    return 1;
}

/* e:restart(): evidence in the peer's packets that it has restarted, from link/kcptun/restart.h */
static int engine_restart(lua_State *L)
{
    const struct kt_kcptun_restart *r = &to_engine(L)->restart;
    lua_newtable(L);
    lua_pushinteger(L, r->behind);
    lua_setfield(L, -2, "behind");
    lua_pushinteger(L, (lua_Integer)r->behind_since);
    lua_setfield(L, -2, "behind_since");
    lua_pushinteger(L, (lua_Integer)r->contradictions);
    lua_setfield(L, -2, "contradictions");
    return 1;
}

static int engine_fail_after(lua_State *L)
{
    kt_slab_fail_after(
        to_engine(L)->pool, lua_isnoneornil(L, 2) ? SIZE_MAX : (size_t)luaL_checkinteger(L, 2));
    return 0;
}

static int engine_blocks(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_slab_in_use(to_engine(L)->pool));
    return 1;
}

static int engine_check(lua_State *L)
{
    struct engine *e = to_engine(L);
    const char *wrong = kcp_check(e->kcp, e->pool, e->snd_most, e->rcv_most);
    return wrong ? luaL_error(L, "broken invariant: %s", wrong) : 0;
}

static int peek(lua_State *L)
{
    size_t n;
    const uint8_t *packet = (const uint8_t *)luaL_checklstring(L, 1, &n);
    luaL_argcheck(L, n >= KT_KCP_OVERHEAD, 1, "too short");
    struct kt_kcp_segment seg = kt_kcp_segment_get(packet);
    lua_pushinteger(L, seg.conv);
    lua_pushinteger(L, seg.sn);
    return 2;
}

static int engine_challenge(lua_State *L)
{
    uint8_t packet[KT_KCP_MTU_MAX];
    const uint32_t ts = (uint32_t)luaL_checkinteger(L, 2);
    const size_t max = (size_t)luaL_optinteger(L, 3, sizeof packet);
    const uint32_t una = (uint32_t)luaL_optinteger(L, 4, 0);
    size_t n = kt_kcp_put_challenge(to_engine(L)->kcp, packet, max, ts, una);
    if (n == 0) return 0;
    lua_pushlstring(L, (const char *)packet, n);
    return 1;
}

static int engine_fits(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TTABLE);
    const struct kt_kcp_head head = {.cmd = (uint8_t)field(L, 2, "cmd", 81),
        .conv = (uint32_t)field(L, 2, "conv", 0x11223344),
        .sn = (uint32_t)field(L, 2, "sn", 0),
        .una = (uint32_t)field(L, 2, "una", 0)};
    lua_pushboolean(L, kt_kcp_fits(to_engine(L)->kcp, &head));
    return 1;
}

static int engine_path_changed(lua_State *L)
{
    kt_kcp_path_changed(to_engine(L)->kcp);
    return 0;
}

static int engine_news(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_kcp_news(to_engine(L)->kcp));
    return 1;
}

static int echoes(lua_State *L)
{
    size_t n;
    const uint8_t *packet = (const uint8_t *)luaL_checklstring(L, 1, &n);
    lua_pushboolean(L, kt_kcp_echoes(packet, n, (uint32_t)luaL_checkinteger(L, 2),
                           (uint32_t)luaL_checkinteger(L, 3), (uint32_t)luaL_checkinteger(L, 4)));
    return 1;
}

int luaopen_spec_kcp(lua_State *L)
{
    static const luaL_Reg methods[] = {{"close", engine_close}, {"tune", engine_tune},
        {"write", engine_write}, {"room", engine_room}, {"read", engine_read}, {"input", engine_input},
        {"flush", engine_flush}, {"limit", engine_limit}, {"due", engine_due}, {"probe", engine_probe},
        {"mark", engine_mark}, {"covered", engine_covered}, {"unacked", engine_unacked}, {"mss", engine_mss},
        {"stats", engine_stats}, {"restart", engine_restart}, {"fail_after", engine_fail_after},
        {"blocks", engine_blocks}, {"challenge", engine_challenge}, {"fits", engine_fits},
        {"path_changed", engine_path_changed}, {"news", engine_news}, {"check", engine_check}, {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"new", engine_new}, {"path", path_new}, {"peek", peek}, {"echoes", echoes}, {NULL, NULL}};
    static const luaL_Reg path[] = {{"facts", path_facts}, {NULL, NULL}};
    luaL_newmetatable(L, PATH);
    luaL_newlib(L, path);
    lua_setfield(L, -2, "__index");
    luaL_newmetatable(L, ENGINE);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, engine_close);
    lua_setfield(L, -2, "__gc");
    luaL_newlib(L, functions);
    return 1;
}
