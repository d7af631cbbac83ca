/* kt.after and kt.every: a function that runs as a task, once or again and again.
 *
 * Until it is due, a timer is a userdata and an entry of the io's timer wheel: no task, no thread.
 *
 * Invariant: the registry anchors a timer, and it keeps the script alive, exactly while it is armed. */
#include "script/core/handle.h"
#include "script/core/handler.h"
#include "script/api/api.h"

#define FN 1 /* uservalue: the function */
#define EVERY_MIN_US 1000u

struct timer {
    struct kt_timer timer;
    struct kt_runtime *rt;
    const struct kt_origin *origin;
    uint64_t every_us; /* 0: it fires once */
    uint64_t due;
    int anchor;             /* registry reference, or LUA_NOREF */
    bool declared;          /* made in the main chunk: it ends when a reload replaces the script */
    struct kt_list running; /* the task that it started (kt_task_list) */
};

static void arm(struct timer *e)
{
    kt_io_timer_set(kt_runtime_io(e->rt), &e->timer, e->due);
}

/* Allocates nothing: the collector may call it. */
static void disarm(struct timer *e)
{
    if (e->anchor == LUA_NOREF) return;
    kt_io_timer_cancel(kt_runtime_io(e->rt), &e->timer);
    luaL_unref(kt_runtime_state(e->rt), LUA_REGISTRYINDEX, e->anchor);
    e->anchor = LUA_NOREF;
    kt_runtime_hold_timers(e->rt, -1);
}

/* prepare(timer) → its function */
static int prepare(lua_State *L)
{
    const struct timer *e = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, e->anchor);
    lua_getiuservalue(L, -1, FN);
    return 1;
}

static void fire(void *ctx)
{
    struct timer *e = ctx;
    struct kt_runtime *rt = e->rt;
    const uint64_t now = kt_io_now(kt_runtime_io(rt));
    if (e->declared && kt_runtime_replaced(rt)) {
        disarm(e);
        return;
    }
    /* A function that takes longer than the interval misses the times in between. */
    struct kt_task *t = kt_list_empty(&e->running) ? kt_task_prepare(rt, e->origin, prepare, e) : NULL;
    if (e->every_us == 0) {
        disarm(e);
        if (!t) kt_runtime_settle(rt);
        return;
    }
    if (t) kt_task_list(t, &e->running);
    e->due += e->every_us;
    if (e->due <= now) e->due = now + e->every_us - (now - e->due) % e->every_us;
    arm(e);
}

/* Stack: the time, the function. */
static int make(lua_State *L, const char *what, bool again)
{
    const uint64_t us = kt_opts_duration(L, 1, what);
    if (again && us < EVERY_MIN_US) return kt_raise(L, "%s: expected an interval of at least 1ms", what);
    if (lua_type(L, 2) != LUA_TFUNCTION)
        return kt_raise(L, "%s: argument 2: expected a function, got %s", what, kt_type_name(L, 2));
    struct kt_runtime *rt = kt_runtime_of(L);
    struct timer *e = kt_handle_push(L, KT_HANDLE_TIMER, sizeof *e, 1);
    e->rt = rt;
    e->origin = kt_origin_here(L);
    e->anchor = LUA_NOREF;
    e->every_us = again ? us : 0;
    const uint64_t now = kt_io_now(kt_runtime_io(rt));
    e->due = us < KT_TIME_NEVER - now ? now + us : KT_TIME_NEVER;
    e->declared = kt_runtime_phase(rt) == KT_DECLARE;
    kt_list_init(&e->running);
    kt_timer_init(&e->timer, fire, e);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, -2, FN);
    lua_pushvalue(L, -1);
    e->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    kt_runtime_hold_timers(rt, 1);
    arm(e);
    return 1;
}

/* kt.after("5s", fn) → timer */
static int after(lua_State *L)
{
    return make(L, "kt.after", false);
}

/* kt.every("5s", fn) → timer */
static int every(lua_State *L)
{
    return make(L, "kt.every", true);
}

static int timer_cancel(lua_State *L)
{
    disarm(kt_handle_self(L, KT_HANDLE_TIMER, "cancel"));
    return 0;
}

static int timer_gc(lua_State *L)
{
    struct timer *e = lua_touserdata(L, 1);
    disarm(e); /* still armed only when the state is closed */
    while (kt_list_pop(&e->running)) {
    }
    return 0;
}

void kt_lua_timer(lua_State *L)
{
    static const luaL_Reg methods[] = {{"cancel", timer_cancel}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"after", after}, {"every", every}, {NULL, NULL}};
    kt_handle_type(
        L, &(struct kt_handle_type){
               .name = KT_HANDLE_TIMER, .methods = methods, .close = timer_cancel, .gc = timer_gc});
    luaL_setfuncs(L, functions, 0);
}
