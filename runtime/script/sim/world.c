/* The life cycle of worlds, their time and events.
 *
 * Invariant: w->L is set exactly while the world runs; callbacks without it are dropped. */
#include <stdlib.h>
#include <string.h>
#include "crypto/crypto.h"
#include "crypto/phrases.h"
#include "script/api/api.h"
#include "script/sim/core.h"

#define PHRASES "kt.sim.phrases" /* registry: a struct kt_phrases */
#define INSTANTS 1024            /* instants between calls of dispatch("busy"), which reports progress */

struct event {
    struct kt_list node; /* w->events */
    struct kt_sim_event event;
    struct kt_lua_world *w;
    lua_Integer id;
};

/* ---- events ---- */

static void free_event(struct event *e)
{
    kt_list_remove(&e->node);
    free(e);
}

static void on_event(void *ctx)
{
    struct event *e = ctx;
    struct kt_lua_world *w = e->w;
    lua_Integer id = e->id;
    free_event(e);
    kt_lua_sim_dispatch(w, "event", id, NULL, NULL);
}

/* world:event(at_us, id) → a key for world:forget; dispatches ("event", id) at that time */
static int world_event(lua_State *L)
{
    struct kt_lua_world *w = kt_lua_sim_world_arg(L);
    lua_Integer at = luaL_checkinteger(L, 2), id = luaL_checkinteger(L, 3);
    struct event *e = calloc(1, sizeof *e);
    if (!e) return luaL_error(L, "out of memory");
    e->w = w;
    e->id = id;
    kt_list_init(&e->node);
    kt_list_push(&w->events, &e->node);
    kt_sim_event_init(&e->event, on_event, e);
    kt_sim_event_set(w->sim, &e->event, at < 0 ? 0 : (uint64_t)at);
    lua_pushlightuserdata(L, e);
    return 1;
}

/* world:forget(key): cancels a pending event */
static int world_forget(lua_State *L)
{
    struct kt_lua_world *w = kt_lua_sim_world_arg(L);
    luaL_checktype(L, 2, LUA_TLIGHTUSERDATA);
    struct event *e = lua_touserdata(L, 2);
    kt_sim_event_cancel(w->sim, &e->event);
    free_event(e);
    return 0;
}

/* ---- time ---- */

void kt_lua_sim_reap(struct kt_lua_world *w)
{
    kt_lua_sim_scripts_reap(w, false);
    kt_lua_sim_drivers_reap(w, false);
}

static bool asked_done(struct kt_lua_world *w)
{
    lua_State *L = w->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->until);
    if (lua_pcall(L, 0, 1, 0) != LUA_OK) {
        kt_lua_sim_keep_error(w, L);
        return true;
    }
    bool yes = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return yes;
}

static bool is_done(void *ctx)
{
    struct kt_lua_world *w = ctx;
    kt_lua_sim_reap(w);
    if (++w->instants % INSTANTS == 0) kt_lua_sim_dispatch(w, "busy", 0, NULL, NULL);
    if (w->failed || w->stop) return true;
    return w->until != LUA_NOREF && asked_done(w);
}

static int raise_error(lua_State *L, struct kt_lua_world *w)
{
    const unsigned others = w->failed - 1;
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->error);
    luaL_unref(L, LUA_REGISTRYINDEX, w->error);
    w->error = LUA_NOREF;
    w->failed = 0;
    if (others > 0 && lua_type(L, -1) == LUA_TSTRING) {
        lua_pushfstring(L, "\n(and %d more at that instant)", (int)others);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

/* world:run(until_us | nil [, fn]) → "time" | "done" | "quiet", or nil, code, sentence; raises the first
 * error of a callback */
static int world_run(lua_State *L)
{
    static const char *const ends[] = {"", "time", "done", "quiet"};
    struct kt_lua_world *w = kt_lua_sim_world_arg(L);
    uint64_t until = lua_isnoneornil(L, 2) ? KT_TIME_NEVER : (uint64_t)luaL_checkinteger(L, 2);
    if (w->L) return luaL_error(L, "the world is already running");
    lua_settop(L, 3);
    w->until = lua_isnil(L, 3) ? LUA_NOREF : luaL_ref(L, LUA_REGISTRYINDEX);
    w->stop = false;
    w->L = L;
    struct kt_err err = {0};
    int end = kt_sim_run(w->sim, until, is_done, w, &err);
    kt_lua_sim_reap(w);
    w->L = NULL;
    luaL_unref(L, LUA_REGISTRYINDEX, w->until);
    w->until = LUA_NOREF;
    if (w->failed) return raise_error(L, w);
    if (end < 0) return kt_lua_sim_fail_return(L, &err);
    lua_pushstring(L, ends[end]);
    return 1;
}

/* world:stop(): the run ends at the end of this instant */
static int world_stop(lua_State *L)
{
    kt_lua_sim_world_arg(L)->stop = true;
    return 0;
}

/* world:fail(error): acts as if a callback had raised it */
static int world_fail(lua_State *L)
{
    struct kt_lua_world *w = kt_lua_sim_world_arg(L);
    lua_settop(L, 2);
    kt_lua_sim_keep_error(w, L);
    return 0;
}

static int world_now(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_sim_now(kt_lua_sim_world_arg(L)->sim));
    return 1;
}

/* world:running() → whether this is inside a run */
static int world_running(lua_State *L)
{
    lua_pushboolean(L, kt_lua_sim_world_arg(L)->L != NULL);
    return 1;
}

/* world:stream(name, purpose) → function() that returns 64 random bits; the sequence depends only on the
 * world's seed and the arguments */
static int next_random(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_sim_random_next(lua_touserdata(L, lua_upvalueindex(1))));
    return 1;
}

static int world_stream(lua_State *L)
{
    const struct kt_lua_world *w = kt_lua_sim_world_arg(L);
    const char *name = luaL_checkstring(L, 2), *purpose = luaL_checkstring(L, 3);
    struct kt_sim_random *r = lua_newuserdatauv(L, sizeof *r, 0);
    kt_sim_stream(w->sim, name, purpose, r);
    lua_pushcclosure(L, next_random, 1);
    return 1;
}

/* ---- life ---- */

static void close_world(struct kt_lua_world *w)
{
    if (!w->sim) return;
    w->L = NULL; /* dispatch nothing from here on */
    kt_sim_rule_set(w->sim, NULL, NULL);
    kt_sim_trace_set(w->sim, NULL, NULL);
    kt_lua_sim_scripts_reap(w, true);
    kt_lua_sim_drivers_reap(w, true);
    while (!kt_list_empty(&w->events)) {
        struct event *e = KT_CONTAINER(w->events.next, struct event, node);
        kt_sim_event_cancel(w->sim, &e->event);
        free_event(e);
    }
    kt_sim_free(w->sim);
    w->sim = NULL;
}

static int world_close(lua_State *L)
{
    struct kt_lua_world *w = luaL_checkudata(L, 1, KT_SIM_WORLD);
    if (w->L) return luaL_error(L, "the world is running and cannot be closed from a callback");
    close_world(w);
    return 0;
}

static int world_gc(lua_State *L)
{
    close_world(lua_touserdata(L, 1));
    return 0;
}

/* core.world({ seed =, wall_us =, stall_turns =, tcp_buffer = }, dispatch) → world */
static int new_world(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    struct kt_lua_world *w = lua_newuserdatauv(L, sizeof *w, KT_SIM_SLOT_RULE);
    *w = (struct kt_lua_world){.until = LUA_NOREF, .error = LUA_NOREF, .print = 0xcbf29ce484222325u};
    kt_list_init(&w->events);
    kt_list_init(&w->scripts);
    kt_list_init(&w->drivers);
    lua_getfield(L, 1, "seed");
    const struct kt_sim_opts opts = {.seed = (uint64_t)luaL_checkinteger(L, -1),
        .wall_us = (uint64_t)kt_lua_sim_number(L, 1, "wall_us"),
        .stall_turns = (uint64_t)kt_lua_sim_number(L, 1, "stall_turns"),
        .tcp_buffer = (size_t)kt_lua_sim_number(L, 1, "tcp_buffer")};
    lua_pop(L, 1);
    struct kt_err err = {0};
    int rc = kt_crypto_init(&err);
    if (rc == 0) rc = kt_sim_new(&w->sim, &opts);
    if (rc) return luaL_error(L, "%s", err.text[0] ? err.text : kt_strerror(rc));
    luaL_setmetatable(L, KT_SIM_WORLD);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, -2, KT_SIM_SLOT_DISPATCH);
    lua_getfield(L, LUA_REGISTRYINDEX, KT_SIM_WORLDS);
    lua_pushvalue(L, -2);
    lua_rawsetp(L, -2, w);
    lua_pop(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, PHRASES);
    w->phrases = lua_touserdata(L, -1);
    lua_pop(L, 1);
    kt_lua_sim_packets_watch(w);
    return 1;
}

static void make_worlds(lua_State *L)
{
    if (luaL_newmetatable(L, KT_SIM_WORLDS)) { /* the table is its own metatable */
        lua_pushliteral(L, "v");
        lua_setfield(L, -2, "__mode");
        lua_pushvalue(L, -1);
        lua_setmetatable(L, -2);
    }
    lua_pop(L, 1);
}

static int phrases_gc(lua_State *L)
{
    kt_phrases_end(lua_touserdata(L, 1));
    return 0;
}

/* Made before any world, so that it is collected after all of them. */
static void make_phrases(lua_State *L)
{
    const bool made = lua_getfield(L, LUA_REGISTRYINDEX, PHRASES) != LUA_TNIL;
    lua_pop(L, 1);
    if (made) return;
    struct kt_phrases *p = lua_newuserdatauv(L, sizeof *p, 0);
    kt_phrases_init(p);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, phrases_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_setfield(L, LUA_REGISTRYINDEX, PHRASES);
}

int kt_lua_sim_core(lua_State *L)
{
    static const luaL_Reg methods[] = {{"event", world_event}, {"forget", world_forget}, {"run", world_run},
        {"stop", world_stop}, {"fail", world_fail}, {"now", world_now}, {"running", world_running},
        {"stream", world_stream}, {"close", world_close}, {NULL, NULL}};
    make_worlds(L);
    make_phrases(L);
    kt_lua_sim_class(L, KT_SIM_WORLD, methods, world_gc);
    luaL_getmetatable(L, KT_SIM_WORLD);
    lua_getfield(L, -1, "__index");
    kt_lua_sim_hosts(L);
    kt_lua_sim_lines(L);
    kt_lua_sim_packets(L);
    kt_lua_sim_apps(L);
    kt_lua_sim_sockets(L);
    kt_lua_sim_scripts(L);
    lua_pop(L, 2);

    lua_newtable(L);
    lua_pushcfunction(L, new_world);
    lua_setfield(L, -2, "world");
    lua_pushstring(L, KT_VERSION);
    lua_setfield(L, -2, "version");
    kt_lua_sim_bytes(L);
    kt_lua_http(L);
    return 1;
}
