/* kt.sleep, kt.spawn and kt.now, which scripts use to run and time their own tasks. */
#include "script/core/handle.h"
#include "script/api/api.h"
#include "script/api/lua_await.h"

#define SPAWN_ARGS_MAX 64

/* kt.sleep "500ms" | seconds */
static int sleep_for(lua_State *L)
{
    struct kt_task *t = kt_task_need(L, "kt.sleep");
    uint64_t us = kt_opts_duration(L, 1, "kt.sleep");
    return kt_task_wait(L, t, &(struct kt_wait){.what = "kt.sleep", .sleep = true, .timeout_us = us});
}

/* kt.spawn(fn, …) → task; the new task takes ownership of conns, streams, flows and sockets among the arguments. */
static int spawn(lua_State *L)
{
    struct kt_task *from = kt_task_of(L);
    struct kt_runtime *rt = kt_runtime_of(L);
    const struct kt_origin *origin = kt_origin_here(L);
    if (lua_type(L, 1) != LUA_TFUNCTION)
        return kt_raise(L, "kt.spawn: expected a function, got %s", kt_type_name(L, 1));
    int n = lua_gettop(L);
    if (n > SPAWN_ARGS_MAX)
        return kt_raise(L, "kt.spawn: more than %d arguments; pass a table", SPAWN_ARGS_MAX);
    if (kt_task_spawned_max(rt))
        return kt_raise(
            L, "kt.spawn: limit of %d spawned tasks reached; wait for some to end", (int)KT_SPAWNED_MAX);
    luaL_checkstack(L, 6, NULL);
    kt_lua_task_push(L, origin);
    struct kt_task *t = kt_task_new(rt, L, origin);
    if (!t || !lua_checkstack(kt_task_thread(t), n + 1)) {
        kt_lua_task_drop(L);
        if (t) kt_task_abandon(t);
        return kt_raise(L, kt_runtime_phase(rt) == KT_END ? "kt.spawn: the script has ended"
                                                          : "kt.spawn: too many tasks, or out of memory");
    }
    lua_insert(L, 1);
    for (int i = 3; i <= n + 1; i++) kt_handle_give(L, i, from, t);
    lua_xmove(L, kt_task_thread(t), n);
    kt_lua_task_watch(L, t);
    kt_task_set_spawned(t);
    kt_task_start(t, n - 1);
    return 1;
}

/* core.need_declare(what): raises unless called from the main chunk. For functions implemented in Lua, before
 * they check their arguments. */
static int need_declare(lua_State *L)
{
    kt_declare_need(L, luaL_checkstring(L, 1));
    return 0;
}

/* kt.now() → seconds of a monotonic clock, which does not advance during a turn of the loop */
static int now(lua_State *L)
{
    lua_pushnumber(L, (double)kt_io_now(kt_runtime_io(kt_runtime_of(L))) / 1e6);
    return 1;
}

void kt_lua_task(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"sleep", sleep_for}, {"spawn", spawn}, {"now", now}, {"need_declare", need_declare}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
