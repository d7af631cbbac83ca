/* Background tasks for modules in the binary: tasks that sleep until needed, tasks that run a script's
 * handler, and calls of a script's functions that must not wait. */
#include <string.h>
#include "script/core/handle.h"
#include "script/core/handler.h"
#include "script/api/api.h"

#define PARK "kt.core.park"
#define ARGS_MAX 16
#define HANDLER "handler"

/* core.need_task(name): raises where waiting is not allowed. */
static int need_task(lua_State *L)
{
    kt_task_need(L, luaL_checkstring(L, 1));
    return 0;
}

/* core.park(seconds): sleeps until the time is over (math.huge: no limit) or until core.unpark. A positive
 * time is at least 1 µs, so that the clock advances for a loop that parks until a deadline. */
static int park(lua_State *L)
{
    struct kt_task *t = kt_task_need(L, PARK);
    const lua_Number seconds = luaL_checknumber(L, 1);
    uint64_t us = KT_TIME_NEVER;
    if (seconds < 1e9) us = seconds > 0 ? (uint64_t)(seconds * 1e6 + 0.5) : 0;
    if (us == 0 && seconds > 0) us = 1;
    return kt_task_wait(L, t, &(struct kt_wait){.what = PARK, .sleep = true, .timeout_us = us});
}

/* core.unpark(task): wakes a parked task. The thread may belong to another task by now, which then wakes
 * spuriously, so callers of park must check why they woke. Never allocates or raises, so that finalizers may
 * call it. */
static int unpark(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    if (!co) return 0;
    struct kt_task *t = kt_task_of(co);
    const char *what = kt_task_thread(t) == co ? kt_task_waits_in(t) : NULL;
    if (what && strcmp(what, PARK) == 0) kt_task_wake(t, 0, NULL);
    return 0;
}

/* Starts a task with the function at index `first`; the values above it are the arguments. */
static struct kt_task *start(lua_State *L, int first, const struct kt_origin *origin)
{
    struct kt_runtime *rt = kt_runtime_of(L);
    const int n = lua_gettop(L) - first + 1;
    luaL_checktype(L, first, LUA_TFUNCTION);
    luaL_argcheck(L, n <= ARGS_MAX, first, "too many arguments");
    luaL_checkstack(L, 4, NULL);
    struct kt_task *t = kt_task_new(rt, L, origin);
    if (!t)
        luaL_error(
            L, kt_runtime_phase(rt) == KT_END ? "the script has ended" : "too many tasks, or out of memory");
    if (!lua_checkstack(kt_task_thread(t), n)) {
        kt_task_abandon(t);
        luaL_error(L, "out of memory");
    }
    lua_xmove(L, kt_task_thread(t), n);
    kt_task_start(t, n - 1);
    return t;
}

/* core.spawn_aside(fn, …): a task that does not keep the script alive. */
static int spawn_aside(lua_State *L)
{
    kt_task_set_aside(start(L, 1, kt_origin_here(L)));
    return 0;
}

/* core.handler() → a handler (handler.h) whose origin is the script's current line */
static int handler(lua_State *L)
{
    struct kt_handler *h = kt_handle_push(L, HANDLER, sizeof *h, 0);
    kt_handler_init(h, kt_origin_here(L), KT_HANDLER_TASKS_MAX);
    return 1;
}

/* core.handle(handler, event, fn, …): runs fn(…) in a task, as if spawned where the handler was set. Does
 * nothing while too many of the handler's tasks run. */
static int handle(lua_State *L)
{
    struct kt_handler *h = luaL_checkudata(L, 1, HANDLER);
    if (!kt_handler_busy(h, kt_runtime_log(kt_runtime_of(L)), luaL_checkstring(L, 2)))
        kt_handler_add(h, start(L, 3, h->origin));
    return 0;
}

static int handler_gc(lua_State *L)
{
    kt_handler_end(luaL_checkudata(L, 1, HANDLER));
    return 0;
}

/* core.pure(what, fn, …) → true, result | false, error. what: "a policy" */
static int pure(lua_State *L)
{
    struct kt_runtime *rt = kt_runtime_of(L);
    const char *before = kt_task_forbid_waits(rt, luaL_checkstring(L, 1)); /* stays on the stack */
    const int status = lua_pcall(L, lua_gettop(L) - 2, 1, 0);
    kt_task_forbid_waits(rt, before);
    if (kt_guard_stopped(kt_guard_of(L))) kt_guard_raise(L);
    lua_pushboolean(L, status == LUA_OK);
    lua_insert(L, -2);
    return 2;
}

void kt_lua_daemon_task(lua_State *L)
{
    static const luaL_Reg functions[] = {{"need_task", need_task}, {"park", park}, {"unpark", unpark},
        {"spawn_aside", spawn_aside}, {"handler", handler}, {"handle", handle}, {"pure", pure}, {NULL, NULL}};
    kt_handle_type(L, &(struct kt_handle_type){.name = HANDLER, .gc = handler_gc, .hidden = true});
    luaL_setfuncs(L, functions, 0);
}
