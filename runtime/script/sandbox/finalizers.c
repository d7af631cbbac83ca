/* setmetatable for scripts, which makes __gc stoppable. Lua runs finalizers with hooks off, so the guard
 * could not stop them; therefore Lua never sees a script's __gc. Each object with one gets a sentinel
 * instead:
 *
 *   finalizers (weak keys): object → sentinel, whose uservalue is the object
 *
 * An entry of a table with weak keys does not keep its key alive through its value. So once nothing else
 * refers to the object, both are garbage. The sentinel's finalizer then runs the object's __gc on a separate
 * thread, where hooks work. */
#include <lauxlib.h>
#include "base/log.h"
#include "script/sandbox/box.h"

#define SENTINEL "kt.finalizer"

/* Pushes the object's current __gc and the object; returns false if it has no __gc function. */
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
    struct kt_sandbox *s = kt_sandbox_of(L);
    struct kt_guard *g = &s->guard;
    if (s->no_finalizers || kt_guard_stopped(g) || !push_call(L)) return 0;
    lua_State *co = lua_newthread(L);
    lua_insert(L, -3);
    lua_xmove(L, co, 2);

    /* This usually runs within a slice, but also when the loop itself allocates from Lua. */
    lua_State *before = kt_guard_switch(g, co);
    if (!before) kt_guard_begin(g, co, KT_SLICE_STOP_US);
    int n;
    int status = lua_resume(co, L, 1, &n);
    if (kt_guard_stopped(g)) {
        s->no_finalizers = true;
        kt_log(s->opts.log, KT_LOG_ERROR, "__gc: %s; disabled all __gc of this script", kt_guard_text(co));
        kt_guard_end(g, NULL);
        if (before)
            kt_guard_begin(g, before, kt_guard_stop_us(g)); /* the interrupted slice is not to blame */
        return 0;
    }
    if (before)
        kt_guard_switch(g, before);
    else
        kt_guard_end(g, NULL);
    if (status == LUA_OK) return 0;
    if (status == LUA_YIELD) return luaL_error(L, "attempt to yield in a __gc");
    lua_xmove(co, L, 1);
    return lua_error(L); /* Lua turns it into a warning */
}

/* Creates a sentinel for the object at index 1, unless it has one. */
static void watch(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, kt_sandbox_of(L)->ref_finalizers);
    lua_pushvalue(L, 1);
    if (lua_rawget(L, -2) == LUA_TNIL) {
        lua_pushvalue(L, 1);
        lua_newuserdatauv(L, 0, 1);
        luaL_setmetatable(L, SENTINEL);
        lua_pushvalue(L, -1);
        lua_insert(L, -3);
        lua_rawset(L, -5);
        /* Set this last: a sentinel that could not be added is garbage at once and must finalize nothing. */
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
    /* Remove __gc while calling lua_setmetatable, the only place where Lua looks for it. Restoring it cannot
     * fail: nothing in between allocates, so its slot in the table remains. */
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
    luaL_newmetatable(L, SENTINEL);
    lua_pushcfunction(L, finalize);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    kt_sandbox_of(L)->ref_finalizers = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_register(L, "setmetatable", set_metatable);
}
