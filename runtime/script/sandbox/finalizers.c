/* setmetatable as scripts get it, for the sake of __gc. Lua runs finalizers with hooks switched off, where
 * nothing could stop them; so Lua is not told of a script's __gc. A sentinel stands in for each object that
 * has one:
 *
 *   finalizers (weak keys): object → sentinel, whose uservalue is the object
 *
 * An entry of a table with weak keys does not keep its key alive through its value. So when nothing else
 * holds the object, sentinel and object are garbage; the sentinel's own finalizer gets hold of both once
 * more, and runs the object's __gc on a thread of its own, where hooks work. */
#include "script/core/handle.h"
#include "script/core/script.h"

#define SENTINEL "finalizer"

/* Pushes object and its __gc as it is now, function first; false if there is none to call. */
static bool push_call(lua_State *L)
{
    lua_getiuservalue(L, 1, 1);
    if (!lua_getmetatable(L, -1)) return false;
    lua_pushliteral(L, "__gc");
    lua_rawget(L, -2);
    lua_replace(L, -2);
    lua_insert(L, -2);
    return lua_isfunction(L, -2);
}

static int finalize(lua_State *L)
{
    struct kt_runtime *rt = kt_runtime_of(L);
    struct kt_guard *g = &rt->guard;
    if (g->no_finalizers || kt_guard_stopped(g) || !push_call(L)) return 0;
    lua_State *co = lua_newthread(L);
    lua_insert(L, -3);
    lua_xmove(L, co, 2);

    /* Usually in the midst of a task's slice; or when the loop made something for which Lua needed room. */
    lua_State *before = kt_guard_switch(g, co);
    if (!before) kt_guard_begin(rt, co, KT_SLICE_STOP_US);
    int n;
    int status = lua_resume(co, L, 1, &n);
    if (kt_guard_stopped(g)) {
        g->no_finalizers = true;
        kt_log(rt->log, KT_LOG_ERROR, "__gc: %s; no __gc of this script runs any more", kt_guard_text(co));
        kt_guard_end(rt, NULL);
        if (before) kt_guard_begin(rt, before, g->stop_us); /* not the fault of who happened to run */
        return 0;
    }
    if (before)
        kt_guard_switch(g, before);
    else
        kt_guard_end(rt, NULL);
    if (status == LUA_OK) return 0;
    if (status == LUA_YIELD) return luaL_error(L, "attempt to yield in a __gc");
    lua_xmove(co, L, 1);
    return lua_error(L); /* which Lua makes a warning of */
}

/* Gives the object at 1 a sentinel, if it has none. */
static void watch(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, kt_runtime_of(L)->ref_finalizers);
    lua_pushvalue(L, 1);
    if (lua_rawget(L, -2) == LUA_TNIL) {
        lua_pushvalue(L, 1);
        kt_handle_push(L, SENTINEL, 0, 1);
        lua_pushvalue(L, -1);
        lua_insert(L, -3);
        lua_rawset(L, -5);
        /* Last: a sentinel that could not be entered is garbage at once, and must have nothing to finalize.
         */
        lua_pushvalue(L, 1);
        lua_setiuservalue(L, -2, 1);
        lua_pop(L, 1);
    }
    lua_pop(L, 2);
}

static int set_metatable(lua_State *L)
{
    int type = lua_type(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    lua_settop(L, 2);
    lua_pushliteral(L, "__gc");
    if (type == LUA_TNIL || (lua_pushvalue(L, -1), lua_rawget(L, 2) == LUA_TNIL)) {
        lua_settop(L, 2);
        lua_setmetatable(L, 1);
        return 1;
    }
    watch(L);
    /* Lua looks for __gc in lua_setmetatable and only there. Nothing in between allocates, so __gc comes back
     * for certain: its slot in the table stays. */
    lua_pushvalue(L, 3);
    lua_pushnil(L);
    lua_pushvalue(L, 2); /* key, value; key, nil, metatable */
    lua_insert(L, -3);
    lua_rawset(L, 2);
    lua_setmetatable(L, 1);
    lua_rawset(L, 2);
    lua_settop(L, 1);
    return 1;
}

void kt_lua_finalizer(lua_State *L)
{
    kt_handle_type(L, &(struct kt_handle_type){.name = SENTINEL, .gc = finalize, .hidden = true});
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    kt_runtime_of(L)->ref_finalizers = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_register(L, "setmetatable", set_metatable);
}
