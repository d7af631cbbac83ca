/* Functions for `kt check` and `kt help` (lua/kt/check, lua/kt/doc): access to the script's chunk and
 * globals, to the handles bound in C, and to the declared services. Nothing here opens anything. */
#include <stdio.h>
#include "script/core/handle.h"
#include "script/api/api.h"
#include "script/core/service.h"

/* core.load_script(path) → the main chunk | nil, message */
static int load_script(lua_State *L)
{
    struct kt_runtime *rt = kt_runtime_of(L);
    kt_runtime_check(rt);
    if (kt_state_load_file(rt, luaL_checkstring(L, 1)) == LUA_OK) return 1;
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

/* core.run_slice(handler, fn, ...) → true | false, error, stopped: xpcall in a slice of its own, with the
 * time limit of a main chunk in `kt run`. The watchdog stops fn without stopping the caller. The error is the
 * result of `handler`, or a text that names the limit reached; stopped is true if that was the time limit. */
static int run_slice(lua_State *L)
{
    struct kt_guard *g = kt_guard_of(L);
    if (kt_guard_stopped(g)) return kt_guard_raise(L);
    kt_guard_end(g, NULL);
    kt_guard_begin(g, L, KT_MAIN_STOP_US);
    const int status = lua_pcall(L, lua_gettop(L) - 2, 0, 1);
    char limit[KT_GUARD_TEXT] = "";
    const bool stopped = kt_guard_stopped(g);
    if (stopped)
        snprintf(limit, sizeof limit, "%s", kt_guard_text(L));
    else if (status == LUA_ERRMEM)
        kt_guard_memory_text(g, limit, sizeof limit);
    kt_guard_end(g, NULL);
    kt_guard_begin(g, L, KT_MAIN_STOP_US);
    if (status == LUA_OK && !limit[0]) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushboolean(L, 0);
    if (limit[0])
        lua_pushstring(L, limit);
    else
        lua_pushvalue(L, -2);
    lua_pushboolean(L, stopped);
    return 3;
}

/* core.module_path() → the folder of --path | nil */
static int module_path(lua_State *L)
{
    lua_pushstring(L, kt_runtime_path(kt_runtime_of(L)));
    return 1;
}

/* core.grant_memory(): raises the memory limit by what the script holds, so that the check itself has
 * room. */
static int grant_memory(lua_State *L)
{
    kt_guard_grant(kt_guard_of(L));
    return 0;
}

/* core.script_world() → the script's globals, their metatable */
static int script_world(lua_State *L)
{
    lua_pushglobaltable(L);
    lua_getmetatable(L, -1);
    return 2;
}

/* Pushes a list of the keys of a table: upvalue n of a handle type's __index. */
static void push_names(lua_State *L, int index, int n)
{
    lua_newtable(L);
    if (!lua_getupvalue(L, index, n)) return;
    lua_Integer i = 0;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_rawseti(L, -4, ++i);
    }
    lua_pop(L, 1);
}

/* core.handles() → { [kind] = { meta = its metatable, methods = { name … }, fields = { name … } } } */
static int handles(lua_State *L)
{
    lua_newtable(L);
    int out = lua_gettop(L);
    kt_handle_push_types(L);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        int meta = lua_gettop(L);
        lua_getfield(L, meta, "__index");
        lua_createtable(L, 0, 3);
        lua_pushvalue(L, meta);
        lua_setfield(L, -2, "meta");
        push_names(L, meta + 1, 1); /* see handle_index in handle.c */
        lua_setfield(L, -2, "methods");
        push_names(L, meta + 1, 2);
        lua_setfield(L, -2, "fields");
        lua_pushvalue(L, meta - 1);
        lua_insert(L, -2);
        lua_rawset(L, out);
        lua_settop(L, meta - 1);
    }
    lua_settop(L, out);
    return 1;
}

static void push_fault(
    lua_State *L, lua_Integer i, const struct kt_origin *at, const char *what, const char *text)
{
    lua_createtable(L, 0, 4);
    if (at && at->line > 0) {
        lua_pushstring(L, at->source);
        lua_setfield(L, -2, "file");
        lua_pushinteger(L, at->line);
        lua_setfield(L, -2, "line");
    }
    lua_pushstring(L, what);
    lua_setfield(L, -2, "path");
    lua_pushstring(L, text);
    lua_setfield(L, -2, "text");
    lua_rawseti(L, -2, i);
}

/* core.unready() → { { file, line, path, text } … }: why declared services cannot be opened; path is nil for
 * the script as a whole */
static int unready(lua_State *L)
{
    const struct kt_runtime *rt = kt_runtime_of(L);
    lua_newtable(L);
    lua_Integer i = 0;
    for (const struct kt_service *s = NULL; (s = kt_service_next(rt, s));) {
        struct kt_err err = {0};
        if (kt_service_ready(s, &err)) push_fault(L, ++i, kt_service_origin(s), kt_service_what(s), err.text);
    }
    if (!kt_runtime_has_work(rt)) push_fault(L, ++i, NULL, NULL, KT_NO_WORK);
    return 1;
}

/* core.task_only(name) → the error for a call in the main chunk of a function that needs a task */
static int task_only(lua_State *L)
{
    lua_pushfstring(L, KT_TASK_ONLY, luaL_checkstring(L, 1));
    return 1;
}

/* core.declare_only(name) → the error for a call in a task of a function of the main chunk */
static int declare_only(lua_State *L)
{
    lua_pushfstring(L, KT_DECLARE_ONLY, luaL_checkstring(L, 1));
    return 1;
}

void kt_lua_check(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"load_script", load_script},
        {"run_slice", run_slice},
        {"module_path", module_path},
        {"grant_memory", grant_memory},
        {"script_world", script_world},
        {"handles", handles},
        {"unready", unready},
        {"task_only", task_only},
        {"declare_only", declare_only},
        {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
}
