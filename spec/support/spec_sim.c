/* Bindings of simulated worlds for the specs. Hosts and processes are light userdata: spec_io.new(process,
 * world) and spec_link.new(process) take them.
 *
 *   w = spec_sim.new{seed =, tcp_buffer =, stall_turns =}
 *   h = w:host(name, {"10.1.2.3", …}, real_files)    p = w:process(h, name)
 *   w:link(a, b, {delay_us =, loss =, …}, back)      back: the other direction; default: the same
 *   w:set(a, b, {…}) w:cut(a, b) w:hold(a, b) w:heal(a, b) w:stats(a, b)      of the line from a to b
 *   w:run(until_us, fn)      "time", "done", "quiet"; or nil, the error's name, its sentence
 *   w:at(us, fn)             fn is called then, inside the run
 *   w:trace()                starts recording what happens to packets; w:traced() returns it
 *   w:rule(fn)               fn(packet) returns "drop", a number of copies, or nothing
 *
 * A failure returns nil, the error's name and its sentence. run raises what a callback has raised. */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include "results.h"
#include "base/list.h"
#include "io/sim/sim.h"

#define WORLD "kt.spec.sim"

int luaopen_spec_sim(lua_State *L);

struct world {
    struct kt_sim *sim;
    lua_State *L; /* of the run under way */
    int fn, rule; /* registry references */
    bool failed;
    struct kt_list events;
    char *text;
    size_t len, cap;
};

struct event {
    struct kt_list node;
    struct kt_sim_event event;
    struct world *w;
    int fn;
};

static struct world *check_world(lua_State *L)
{
    struct world *w = luaL_checkudata(L, 1, WORLD);
    luaL_argcheck(L, w->sim, 1, "freed");
    return w;
}

static void *check_light(lua_State *L, int arg)
{
    luaL_checktype(L, arg, LUA_TLIGHTUSERDATA);
    return lua_touserdata(L, arg);
}

static lua_Number field(lua_State *L, int index, const char *name)
{
    lua_getfield(L, index, name);
    lua_Number v = luaL_optnumber(L, -1, 0);
    lua_pop(L, 1);
    return v;
}

static struct kt_addr to_addr(lua_State *L, const char *text)
{
    struct kt_addr a;
    if (!kt_addr_from_ip(&a, text, 0)) luaL_error(L, "%s: not an address", text);
    return a;
}

static size_t addrs_at(lua_State *L, int index, struct kt_addr *out, size_t max)
{
    size_t n = 0;
    if (lua_isnoneornil(L, index)) return 0;
    for (; n < max && lua_rawgeti(L, index, (lua_Integer)n + 1) == LUA_TSTRING; n++) {
        out[n] = to_addr(L, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    return n;
}

/* ---- hosts ---- */

static int world_host(lua_State *L)
{
    struct world *w = check_world(L);
    struct kt_addr addrs[16];
    struct kt_err err;
    struct kt_sim_host *h;
    const struct kt_sim_host_opts opts = {.name = luaL_checkstring(L, 2),
        .n_addrs = addrs_at(L, 3, addrs, 16),
        .addrs = addrs,
        .real_files = lua_toboolean(L, 4)};
    int code = kt_sim_host_new(w->sim, &opts, &h, &err);
    if (code) return fail_with(L, code, err.text);
    lua_pushlightuserdata(L, h);
    return 1;
}

static int world_addr(lua_State *L)
{
    check_world(L);
    struct kt_addr a;
    char text[KT_ADDR_TEXT];
    if (!kt_sim_host_addr(check_light(L, 2), (size_t)luaL_optinteger(L, 3, 1) - 1, &a)) return 0;
    kt_addr_text(&a, text);
    *strrchr(text, ':') = '\0';
    lua_pushstring(L, text);
    return 1;
}

static int world_process(lua_State *L)
{
    check_world(L);
    struct kt_err err;
    struct kt_io *io;
    int code = kt_sim_process(check_light(L, 2), luaL_optstring(L, 3, "spec"), NULL, &io, &err);
    if (code) return fail_with(L, code, err.text);
    lua_pushlightuserdata(L, io);
    return 1;
}

static int world_open(lua_State *L)
{
    check_world(L);
    lua_pushinteger(L, (lua_Integer)kt_sim_host_open(check_light(L, 2)));
    return 1;
}

static int world_crash(lua_State *L)
{
    check_world(L);
    kt_sim_host_crash(check_light(L, 2));
    return 0;
}

static int world_restart(lua_State *L)
{
    check_world(L);
    kt_sim_host_restart(check_light(L, 2));
    return 0;
}

static int world_kill(lua_State *L)
{
    check_world(L);
    kt_sim_kill(check_light(L, 2));
    return 0;
}

static int world_signal(lua_State *L)
{
    check_world(L);
    lua_pushinteger(L, (lua_Integer)kt_sim_signal(check_light(L, 2), (int)luaL_checkinteger(L, 3)));
    return 1;
}

static int world_slow(lua_State *L)
{
    check_world(L);
    kt_sim_slow_reader(check_light(L, 2), (uint64_t)luaL_checkinteger(L, 3));
    return 0;
}

static int world_short(lua_State *L)
{
    check_world(L);
    kt_sim_short_io(check_light(L, 2), (size_t)luaL_checkinteger(L, 3));
    return 0;
}

static int world_full(lua_State *L)
{
    check_world(L);
    kt_sim_udp_full(check_light(L, 2), (uint64_t)luaL_checkinteger(L, 3));
    return 0;
}

static int world_jump(lua_State *L)
{
    check_world(L);
    kt_sim_wall_jump(check_light(L, 2), luaL_checkinteger(L, 3));
    return 0;
}

static int world_nat(lua_State *L)
{
    check_world(L);
    struct kt_err err;
    const struct kt_sim_nat_opts opts = {
        .public_addr = to_addr(L, luaL_checkstring(L, 3)), .timeout_us = (uint64_t)luaL_optinteger(L, 4, 0)};
    int code = kt_sim_nat(check_light(L, 2), &opts, &err);
    if (code) return fail_with(L, code, err.text);
    lua_pushboolean(L, 1);
    return 1;
}

static int world_rebind(lua_State *L)
{
    check_world(L);
    kt_sim_nat_rebind(check_light(L, 2));
    return 0;
}

static int world_put(lua_State *L)
{
    check_world(L);
    size_t len;
    const char *data = luaL_checklstring(L, 4, &len);
    lua_pushboolean(L, kt_sim_file_put(check_light(L, 2), luaL_checkstring(L, 3), data, len) == 0);
    return 1;
}

/* name(name, {addresses}, delay_us), or name(name, false, delay_us): lookups fail */
static int world_name(lua_State *L)
{
    struct world *w = check_world(L);
    struct kt_addr addrs[16];
    uint64_t delay = (uint64_t)luaL_optinteger(L, 4, 1000);
    if (lua_isboolean(L, 3))
        kt_sim_name_fail(w->sim, luaL_checkstring(L, 2), delay);
    else
        kt_sim_name_set(w->sim, luaL_checkstring(L, 2), addrs, addrs_at(L, 3, addrs, 16), delay);
    return 0;
}

/* srv(name, { { target =, port =, priority =, weight = }, … }, ttl) */
static int world_srv(lua_State *L)
{
    struct world *w = check_world(L);
    struct kt_record records[KT_QUERY_RECORDS];
    memset(records, 0, sizeof records);
    size_t n = lua_rawlen(L, 3);
    luaL_argcheck(L, n <= KT_QUERY_RECORDS, 3, "too many");
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 3, (lua_Integer)i + 1);
        const int at = lua_gettop(L);
        lua_getfield(L, at, "target");
        snprintf(records[i].target, sizeof records[i].target, "%s", luaL_checkstring(L, -1));
        records[i].port = (uint16_t)field(L, at, "port");
        records[i].priority = (uint16_t)field(L, at, "priority");
        records[i].weight = (uint16_t)field(L, at, "weight");
        lua_settop(L, at - 1);
    }
    kt_sim_srv_set(w->sim, luaL_checkstring(L, 2), records, n, (uint32_t)luaL_checkinteger(L, 4));
    return 0;
}

/* ---- lines ---- */

static struct kt_sim_line_opts line_at(lua_State *L, int index)
{
    struct kt_sim_line_opts o;
    memset(&o, 0, sizeof o);
    if (!lua_istable(L, index)) return o;
#define NUMBER(name) o.name = (__typeof__(o.name))field(L, index, #name)
    NUMBER(delay_us);
    NUMBER(jitter_us);
    NUMBER(loss);
    NUMBER(burst_enter);
    NUMBER(burst_leave);
    NUMBER(burst_loss);
    NUMBER(duplicate);
    NUMBER(reorder);
    NUMBER(reorder_us);
    NUMBER(corrupt);
    NUMBER(rate_bps);
    NUMBER(queue_packets);
    NUMBER(queue_bytes);
    NUMBER(queue_us);
    NUMBER(police_bytes);
    NUMBER(mtu);
#undef NUMBER
    return o;
}

static int world_link(lua_State *L)
{
    check_world(L);
    struct kt_err err;
    const struct kt_sim_line_opts there = line_at(L, 4), back = lua_istable(L, 5) ? line_at(L, 5) : there;
    int code = kt_sim_link(check_light(L, 2), check_light(L, 3), &there, &back, &err);
    if (code) return fail_with(L, code, err.text);
    lua_pushboolean(L, 1);
    return 1;
}

static struct kt_sim_line *check_line(lua_State *L)
{
    check_world(L);
    struct kt_sim_line *l = kt_sim_line(check_light(L, 2), check_light(L, 3));
    luaL_argcheck(L, l, 3, "not linked");
    return l;
}

static int world_set(lua_State *L)
{
    struct kt_err err;
    const struct kt_sim_line_opts opts = line_at(L, 4);
    int code = kt_sim_line_set(check_line(L), &opts, &err);
    if (code) return fail_with(L, code, err.text);
    lua_pushboolean(L, 1);
    return 1;
}

static int world_cut(lua_State *L)
{
    kt_sim_line_cut(check_line(L));
    return 0;
}

static int world_hold(lua_State *L)
{
    kt_sim_line_hold(check_line(L));
    return 0;
}

static int world_heal(lua_State *L)
{
    kt_sim_line_heal(check_line(L));
    return 0;
}

static int world_stats(lua_State *L)
{
    const struct kt_sim_line_stats *s = kt_sim_line_stats(check_line(L));
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {{"sent_pkts", s->sent_pkts}, {"sent_bytes", s->sent_bytes},
        {"delivered_pkts", s->delivered_pkts}, {"delivered_bytes", s->delivered_bytes},
        {"lost_pkts", s->lost_pkts}, {"duplicated", s->duplicated}, {"corrupted", s->corrupted},
        {"reordered", s->reordered}, {"queue_peak_pkts", s->queue_peak_pkts},
        {"queue_peak_bytes", s->queue_peak_bytes}, {"queue_peak_us", s->queue_peak_us}};
    lua_newtable(L);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        lua_pushinteger(L, (lua_Integer)fields[i].value);
        lua_setfield(L, -2, fields[i].name);
    }
    lua_newtable(L);
    for (int cause = 1; cause < KT_SIM_CAUSES; cause++) {
        if (!s->lost[cause]) continue;
        lua_pushinteger(L, (lua_Integer)s->lost[cause]);
        lua_setfield(L, -2, kt_sim_cause_name((enum kt_sim_cause)cause));
    }
    lua_setfield(L, -2, "lost");
    return 1;
}

/* ---- watching ---- */

static void on_packet(void *ctx, const struct kt_sim_packet *p)
{
    static const char *const what[] = {"sent", "delivered", "dropped", "corrupted", "duplicated"};
    struct world *w = ctx;
    char src[KT_ADDR_TEXT], dst[KT_ADDR_TEXT];
    uint64_t sum = 0xcbf29ce484222325u;
    if (w->cap - w->len < 512) {
        w->cap = w->cap ? w->cap * 2 : 65536;
        w->text = realloc(w->text, w->cap);
        if (!w->text) abort();
    }
    for (size_t i = 0; i < p->len; i++) sum = (sum ^ p->data[i]) * 0x100000001b3u;
    int n = snprintf(w->text + w->len, 512, "%llu %llu %s%s%s %s>%s %d %s>%s %zu %zu %s %016llx\n",
        (unsigned long long)p->at, (unsigned long long)p->id, what[p->what], p->cause ? " by " : "",
        p->cause ? kt_sim_cause_name(p->cause) : "", p->from, p->to, (int)p->proto, kt_addr_text(p->src, src),
        kt_addr_text(p->dst, dst), p->len, p->wire_len, p->flags, (unsigned long long)sum);
    w->len += (size_t)n;
}

static int world_trace(lua_State *L)
{
    struct world *w = check_world(L);
    kt_sim_trace_set(w->sim, on_packet, w);
    return 0;
}

static int world_traced(lua_State *L)
{
    const struct world *w = check_world(L);
    lua_pushlstring(L, w->text ? w->text : "", w->len);
    return 1;
}

static void call(struct world *w, int nargs, int nresults)
{
    lua_State *L = w->L;
    if (w->failed || lua_pcall(L, nargs, nresults, 0) != LUA_OK) {
        w->failed = true; /* the error stays on the stack */
        return;
    }
}

static void on_rule(void *ctx, const struct kt_sim_packet *p, struct kt_sim_verdict *out)
{
    struct world *w = ctx;
    lua_State *L = w->L;
    if (w->failed) return;
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->rule);
    lua_pushlstring(L, (const char *)p->data, p->len);
    lua_pushstring(L, p->from);
    call(w, 2, 1);
    if (w->failed) return;
    if (lua_type(L, -1) == LUA_TSTRING) out->drop = true;
    if (lua_type(L, -1) == LUA_TNUMBER) out->copies = (unsigned)lua_tointeger(L, -1);
    lua_pop(L, 1);
}

static int world_rule(lua_State *L)
{
    struct world *w = check_world(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    luaL_unref(L, LUA_REGISTRYINDEX, w->rule);
    w->rule = luaL_ref(L, LUA_REGISTRYINDEX);
    kt_sim_rule_set(w->sim, on_rule, w);
    return 0;
}

/* ---- time ---- */

static int world_now(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_sim_now(check_world(L)->sim));
    return 1;
}

static void on_event(void *ctx)
{
    struct event *e = ctx;
    struct world *w = e->w;
    if (w->failed) return;
    lua_rawgeti(w->L, LUA_REGISTRYINDEX, e->fn);
    luaL_unref(w->L, LUA_REGISTRYINDEX, e->fn);
    kt_list_remove(&e->node);
    free(e);
    call(w, 0, 0);
}

static int world_at(lua_State *L)
{
    struct world *w = check_world(L);
    uint64_t at = (uint64_t)luaL_checkinteger(L, 2);
    luaL_checktype(L, 3, LUA_TFUNCTION);
    lua_settop(L, 3);
    struct event *e = calloc(1, sizeof *e);
    if (!e) abort();
    e->w = w;
    e->fn = luaL_ref(L, LUA_REGISTRYINDEX);
    kt_list_init(&e->node);
    kt_list_push(&w->events, &e->node);
    kt_sim_event_init(&e->event, on_event, e);
    kt_sim_event_set(w->sim, &e->event, at);
    return 0;
}

static bool is_done(void *ctx)
{
    struct world *w = ctx;
    lua_State *L = w->L;
    if (w->failed) return true;
    if (w->fn == LUA_NOREF) return false;
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->fn);
    call(w, 0, 1);
    if (w->failed) return true;
    bool yes = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return yes;
}

static int world_run(lua_State *L)
{
    static const char *const ends[] = {"", "time", "done", "quiet"};
    struct world *w = check_world(L);
    uint64_t until = lua_isnoneornil(L, 2) ? KT_TIME_NEVER : (uint64_t)luaL_checkinteger(L, 2);
    struct kt_err err;
    lua_settop(L, 3);
    lua_State *outer = w->L;
    int outer_fn = w->fn;
    w->L = L;
    w->fn = lua_isnil(L, 3) ? LUA_NOREF : luaL_ref(L, LUA_REGISTRYINDEX);
    int end = kt_sim_run(w->sim, until, is_done, w, &err);
    if (w->fn != LUA_NOREF) luaL_unref(L, LUA_REGISTRYINDEX, w->fn);
    w->fn = outer_fn;
    w->L = outer;
    if (w->failed) {
        w->failed = false;
        return lua_error(L);
    }
    if (end < 0) return fail_with(L, end, err.text);
    lua_pushstring(L, ends[end]);
    return 1;
}

static int world_free(lua_State *L)
{
    struct world *w = luaL_checkudata(L, 1, WORLD);
    struct kt_list *n;
    if (!w->sim) return 0;
    while ((n = kt_list_pop(&w->events)) != NULL) {
        struct event *e = KT_CONTAINER(n, struct event, node);
        kt_sim_event_cancel(w->sim, &e->event);
        luaL_unref(L, LUA_REGISTRYINDEX, e->fn);
        free(e);
    }
    luaL_unref(L, LUA_REGISTRYINDEX, w->rule);
    kt_sim_trace_set(w->sim, NULL, NULL);
    kt_sim_free(w->sim);
    free(w->text);
    w->sim = NULL;
    return 0;
}

static int new_world(lua_State *L)
{
    struct world *w = lua_newuserdatauv(L, sizeof *w, 0);
    struct kt_sim_opts opts = {0};
    memset(w, 0, sizeof *w);
    w->fn = w->rule = LUA_NOREF;
    kt_list_init(&w->events);
    if (lua_istable(L, 1)) {
        opts.seed = (uint64_t)field(L, 1, "seed");
        opts.tcp_buffer = (size_t)field(L, 1, "tcp_buffer");
        opts.stall_turns = (uint64_t)field(L, 1, "stall_turns");
    }
    int code = kt_sim_new(&w->sim, &opts);
    if (code) return luaL_error(L, "%s", kt_strerror(code));
    luaL_setmetatable(L, WORLD);
    return 1;
}

/* random(seed, name, purpose, n): the first n numbers of a stream, in hex */
static int random_stream(lua_State *L)
{
    struct kt_sim_random r;
    luaL_Buffer b;
    char text[20];
    kt_sim_random_init(&r, (uint64_t)luaL_checkinteger(L, 1), luaL_checkstring(L, 2), luaL_checkstring(L, 3));
    luaL_buffinit(L, &b);
    for (lua_Integer n = luaL_checkinteger(L, 4); n > 0; n--) {
        snprintf(text, sizeof text, "%016llx ", (unsigned long long)kt_sim_random_next(&r));
        luaL_addstring(&b, text);
    }
    luaL_pushresult(&b);
    return 1;
}

int luaopen_spec_sim(lua_State *L)
{
    static const luaL_Reg functions[] = {{"new", new_world}, {"random", random_stream}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"host", world_host}, {"addr", world_addr}, {"process", world_process},
        {"open", world_open}, {"crash", world_crash}, {"restart", world_restart}, {"kill", world_kill},
        {"signal", world_signal}, {"slow", world_slow}, {"short", world_short}, {"full", world_full},
        {"jump", world_jump}, {"nat", world_nat}, {"rebind", world_rebind}, {"put", world_put},
        {"name", world_name}, {"srv", world_srv}, {"link", world_link}, {"set", world_set},
        {"cut", world_cut}, {"hold", world_hold}, {"heal", world_heal}, {"stats", world_stats},
        {"trace", world_trace}, {"traced", world_traced}, {"rule", world_rule}, {"now", world_now},
        {"at", world_at}, {"run", world_run}, {"free", world_free}, {"__gc", world_free}, {NULL, NULL}};
    luaL_newmetatable(L, WORLD);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
