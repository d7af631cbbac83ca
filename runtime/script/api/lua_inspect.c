/* core.inspect, for kt.inspect and the control socket: what a script does now, as plain data; and two things that only
 * the control socket does to a script: it ends a conn, and it compiles code.
 *
 * Lists of tasks, conns and streams are cut off at a length that the caller gives, and those of services come in pages,
 * so that looking at a busy script does not hold it up. */
#include <string.h>
#include "script/api/config.h"
#include "script/api/lua_link.h"
#include "script/api/lua_pipe.h"
#include "script/core/service.h"
#include "script/api/api.h"
#include "script/core/fields.h"

static void set_seconds(lua_State *L, const char *key, uint64_t us)
{
    lua_pushnumber(L, (double)us / 1e6);
    lua_setfield(L, -2, key);
}

static void set_line(lua_State *L, const char *key, const char *source, int line)
{
    if (line <= 0) return;
    lua_pushfstring(L, "%s:%d", source, line);
    lua_setfield(L, -2, key);
}

static void push_task(lua_State *L, const struct kt_task *t)
{
    static const char *const states[] = {
        [KT_TASK_READY] = "ready", [KT_TASK_RUNNING] = "running", [KT_TASK_WAITING] = "waiting"};
    struct kt_task_look now;
    kt_task_look(t, &now);
    lua_createtable(L, 0, 5);
    kt_field_string(L, "state", states[now.state]);
    if (now.waits_in && strncmp(now.waits_in, "kt.core.", 8) != 0)
        kt_field_string(L, "waits_in", now.waits_in);
    set_line(L, "line", now.source, now.line);
    set_line(L, "spawned", kt_task_origin(t)->source, kt_task_origin(t)->line);
    set_seconds(L, "age", now.age_us);
}

static void push_pipe(lua_State *L, const struct kt_lua_pipe *h, uint64_t now)
{
    const struct kt_pipe *pipe = kt_lua_pipe_anywhere(h);
    lua_createtable(L, 0, 8);
    kt_field_integer(L, "id", h->number);
    kt_field_string(L, "kind", h->conn ? "conn" : "stream");
    kt_field_string(L, "peer", h->peer);
    if (h->splice) {
        lua_pushfstring(L, "%s %s", h->other->conn ? "conn" : "stream", h->other->peer ? h->other->peer : "");
        lua_setfield(L, -2, "spliced");
    } else {
        const struct kt_origin *o = kt_task_origin(h->owned.owner);
        set_line(L, "owner", o->source, o->line);
    }
    set_seconds(L, "age", now - h->born);
    if (!pipe) return;
    kt_field_integer(L, "bytes_in", pipe->bytes_in);
    kt_field_integer(L, "bytes_out", pipe->bytes_out);
}

/* { count = n, sum = seconds, buckets = { n, ... } }, the buckets as core.bounds has them */
static void push_histogram(lua_State *L, const struct kt_histogram *h)
{
    lua_createtable(L, 0, 3);
    kt_field_integer(L, "count", h->count);
    set_seconds(L, "sum", h->sum_us);
    lua_createtable(L, KT_HISTOGRAM_BOUNDS + 1, 0);
    for (size_t i = 0; i <= KT_HISTOGRAM_BOUNDS; i++) {
        lua_pushinteger(L, (lua_Integer)h->buckets[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "buckets");
}

static bool is_link(const struct kt_service *s)
{
    return strcmp(kt_service_what(s), "kt.link") == 0;
}

/* Pushes the list of at most max conns and streams with higher numbers than `after`. The list is in the order in which
 * they were opened, so numbers rise along it. */
static void push_pipes(lua_State *L, lua_Integer max, uint64_t after)
{
    const struct kt_list *all = kt_runtime_open_pipes(kt_runtime_of(L));
    const uint64_t now = kt_io_now(kt_runtime_io(kt_runtime_of(L)));
    lua_Integer n = 0;
    lua_newtable(L);
    for (const struct kt_list *p = all->next; n < max && p != all; p = p->next) {
        const struct kt_lua_pipe *h = KT_CONTAINER(p, const struct kt_lua_pipe, open);
        if (h->number <= after) continue;
        push_pipe(L, h, now);
        lua_rawseti(L, -2, ++n);
    }
}

static void push_service(lua_State *L, const struct kt_service *s)
{
    struct kt_link_stats stats = {.since_heard_us = UINT64_MAX};
    lua_createtable(L, 0, 8);
    kt_field_string(L, "what", kt_service_what(s));
    kt_field_string(L, "name", kt_service_name(s));
    kt_field_boolean(L, "open", kt_service_is_open(s));
    set_line(L, "line", kt_service_origin(s)->source, kt_service_origin(s)->line);
    if (is_link(s)) {
        const struct kt_lua_link *l = (const struct kt_lua_link *)s;
        kt_field_boolean(L, "accepted", l->peer);
        kt_field_boolean(L, "wanted", kt_lua_link_wanted(l));
        push_histogram(L, &l->opens);
        lua_setfield(L, -2, "opens");
    }
    if (!kt_service_stats(s, &stats)) return;
    kt_config_push_stats(L, &stats);
    lua_setfield(L, -2, "stats");
}

/* Appends the service on top of the stack to the list links or listeners of the table at index 2. */
static void add_service(lua_State *L, const char *list)
{
    lua_getfield(L, 2, list);
    lua_insert(L, -2);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
}

static bool is_hidden(const struct kt_service *s)
{
    return strncmp(kt_service_what(s), "kt.core.", 8) == 0;
}

static bool is_peer(const struct kt_service *s)
{
    return is_link(s) && ((const struct kt_lua_link *)s)->peer;
}

/* core.services(max, after, peers) → a list of at most max links and listeners as in core.inspect, of those declared
 * after the one of the number `after`, with or without the links of peers; the number of the last one, or nil: there
 * are no more */
static int services(lua_State *L)
{
    const struct kt_runtime *rt = kt_runtime_of(L);
    const lua_Integer max = luaL_checkinteger(L, 1);
    const uint64_t after = (uint64_t)luaL_checkinteger(L, 2);
    const bool peers = lua_toboolean(L, 3);
    lua_Integer n = 0;
    uint64_t last = 0;
    lua_newtable(L);
    for (const struct kt_service *s = NULL; (s = kt_service_next(rt, s));) {
        if (kt_service_number(s) <= after || is_hidden(s) || (!peers && is_peer(s))) continue;
        if (n == max) {
            lua_pushinteger(L, (lua_Integer)last);
            return 2;
        }
        push_service(L, s);
        lua_rawseti(L, -2, ++n);
        last = kt_service_number(s);
    }
    lua_pushnil(L);
    return 2;
}

/* core.inspect(max, services) → { memory, memory_peak, task_count, tasks, conn_count, conns, links, listeners }; the
 * last two are empty unless `services` */
static int inspect(lua_State *L)
{
    struct kt_runtime *rt = kt_runtime_of(L);
    const lua_Integer max = luaL_checkinteger(L, 1);
    const bool all = lua_toboolean(L, 2);
    struct kt_runtime_usage usage;
    kt_runtime_usage(rt, &usage);
    lua_settop(L, 1);
    lua_createtable(L, 0, 9);
    kt_field_integer(L, "memory", usage.memory);
    kt_field_integer(L, "memory_peak", usage.peak);
    kt_field_integer(L, "task_count", usage.tasks);
    lua_newtable(L);
    lua_Integer n = 0;
    for (const struct kt_task *t = NULL; n < max && (t = kt_task_next(rt, t));) {
        push_task(L, t);
        lua_rawseti(L, -2, ++n);
    }
    lua_setfield(L, 2, "tasks");

    push_pipes(L, max, 0);
    lua_setfield(L, 2, "conns");
    kt_field_integer(L, "conn_count", kt_runtime_pipes(rt));

    lua_newtable(L);
    lua_setfield(L, 2, "links");
    lua_newtable(L);
    lua_setfield(L, 2, "listeners");
    for (const struct kt_service *s = NULL; all && (s = kt_service_next(rt, s));) {
        if (is_hidden(s)) continue;
        push_service(L, s);
        add_service(L, is_link(s) ? "links" : "listeners");
    }
    return 1;
}

/* core.pipes(max, after) → a list as `conns` of core.inspect, of those with an id above `after` */
static int pipes(lua_State *L)
{
    push_pipes(L, luaL_checkinteger(L, 1), (uint64_t)luaL_checkinteger(L, 2));
    return 1;
}

/* ---- samples ---- */

#define COLUMNS_MAX 16

struct sample {
    size_t n;
    const char *columns[COLUMNS_MAX];
    float values[COLUMNS_MAX];
};

static void pick(void *ctx, const struct kt_stat *row, double value)
{
    struct sample *s = ctx;
    for (size_t i = 0; i < s->n; i++)
        if (value < 1e30 && strcmp(row->name, s->columns[i]) == 0) s->values[i] = (float)value;
}

/* core.samples(columns) → { what, name, row, … }: of each link that the script made and each acceptor; a row has the
 * statistics named by `columns` as floats in native order, -1 for what is not known. Much cheaper than core.inspect,
 * for what is taken all the time. */
static int samples(lua_State *L)
{
    const struct kt_runtime *rt = kt_runtime_of(L);
    struct sample s = {.n = lua_rawlen(L, 1)};
    luaL_argcheck(L, s.n <= COLUMNS_MAX, 1, "too many columns");
    luaL_checkstack(L, (int)s.n + 4, NULL);
    for (size_t i = 0; i < s.n; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i + 1);
        s.columns[i] = luaL_checkstring(L, -1); /* stays on the stack */
    }
    lua_newtable(L);
    lua_Integer at = 0;
    for (const struct kt_service *service = NULL; (service = kt_service_next(rt, service));) {
        struct kt_link_stats stats = {.since_heard_us = UINT64_MAX};
        if (is_peer(service)) continue;
        const bool known = kt_service_stats(service, &stats);
        if (!known && !is_link(service)) continue;
        for (size_t i = 0; i < s.n; i++) s.values[i] = -1;
        if (known) kt_link_stats_each(&stats, pick, &s);
        lua_pushstring(L, kt_service_what(service));
        lua_rawseti(L, -2, ++at);
        lua_pushstring(L, kt_service_name(service));
        lua_rawseti(L, -2, ++at);
        lua_pushlstring(L, (const char *)s.values, s.n * sizeof s.values[0]);
        lua_rawseti(L, -2, ++at);
    }
    return 1;
}

/* core.close_pipe(id, text) → whether there was such a conn or stream; its end, and that of what it is spliced with */
static int close_pipe(lua_State *L)
{
    const uint64_t number = (uint64_t)luaL_checkinteger(L, 1);
    const char *text = luaL_checkstring(L, 2);
    const struct kt_list *all = kt_runtime_open_pipes(kt_runtime_of(L));
    for (struct kt_list *p = all->next; p != all; p = p->next) {
        struct kt_lua_pipe *h = KT_CONTAINER(p, struct kt_lua_pipe, open);
        if (h->number != number) continue;
        if (h->splice)
            kt_lua_splice_abort(h, KT_ECANCELED, text);
        else
            kt_lua_pipe_abort(h, KT_ECANCELED, text);
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushboolean(L, 0);
    return 1;
}

/* core.chunk(text, environment) → function | nil, message */
static int chunk(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    luaL_checktype(L, 2, LUA_TTABLE);
    if (luaL_loadbufferx(L, text, len, "=eval", "t") == LUA_OK) {
        lua_pushvalue(L, 2);
        lua_setupvalue(L, -2, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

void kt_lua_inspect(lua_State *L)
{
    static const luaL_Reg functions[] = {{"inspect", inspect}, {"services", services}, {"samples", samples},
        {"pipes", pipes}, {"close_pipe", close_pipe}, {"chunk", chunk}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    lua_createtable(L, KT_HISTOGRAM_BOUNDS, 0); /* core.bounds: of histograms, in seconds */
    for (size_t i = 0; i < KT_HISTOGRAM_BOUNDS; i++) {
        lua_pushnumber(L, kt_histogram_bound(i) / 1e6);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "bounds");
}
