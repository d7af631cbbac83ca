/* Shared by the bindings of a world: arguments, results, and the dispatch of callbacks into Lua.
 *
 * Invariant: callbacks of a world that does not run are dropped, and an error in one ends the run. */
#include "script/sim/core.h"

#define MOST 9e18 /* largest number accepted; fits all integer types used here */

/* ---- arguments and results ---- */

struct kt_lua_world *kt_lua_sim_world_arg(lua_State *L)
{
    struct kt_lua_world *w = luaL_checkudata(L, 1, KT_SIM_WORLD);
    if (!w->sim) luaL_error(L, "the world was closed");
    return w;
}

struct kt_sim_host *kt_lua_sim_host_arg(lua_State *L, struct kt_lua_world *w, int idx)
{
    const char *name = luaL_checkstring(L, idx);
    struct kt_sim_host *h = kt_sim_host_find(w->sim, name);
    if (!h) luaL_error(L, "no host \"%s\"", name);
    return h;
}

void kt_lua_sim_push_slot(lua_State *L, const struct kt_lua_world *w, enum kt_lua_sim_slot slot)
{
    lua_getfield(L, LUA_REGISTRYINDEX, KT_SIM_WORLDS);
    lua_rawgetp(L, -1, w);
    lua_getiuservalue(L, -1, slot);
    lua_replace(L, -3);
    lua_pop(L, 1);
}

int kt_lua_sim_fail_return(lua_State *L, const struct kt_err *err)
{
    lua_pushnil(L);
    lua_pushstring(L, kt_errname(err->code));
    lua_pushstring(L, err->text[0] ? err->text : kt_strerror(err->code));
    return 3;
}

lua_Number kt_lua_sim_number(lua_State *L, int idx, const char *name)
{
    lua_getfield(L, idx, name);
    lua_Number v = luaL_optnumber(L, -1, 0);
    lua_pop(L, 1);
    if (!(v > 0)) return 0; /* NaN too */
    return v < MOST ? v : MOST;
}

void kt_lua_sim_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc)
{
    luaL_newmetatable(L, name);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

/* ---- into Lua ---- */

struct call {
    struct kt_lua_world *w;
    const char *kind;
    lua_Integer id;
    kt_lua_sim_push push;
    void *ctx;
};

static int call_dispatch(lua_State *L)
{
    const struct call *c = lua_touserdata(L, 1);
    kt_lua_sim_push_slot(L, c->w, KT_SIM_SLOT_DISPATCH);
    lua_pushstring(L, c->kind);
    lua_pushinteger(L, c->id);
    int n = c->push ? c->push(L, c->ctx) : 0;
    lua_call(L, n + 2, 0);
    return 0;
}

void kt_lua_sim_keep_error(struct kt_lua_world *w, lua_State *L)
{
    if (w->failed++ == 0)
        w->error = luaL_ref(L, LUA_REGISTRYINDEX);
    else
        lua_pop(L, 1);
}

void kt_lua_sim_dispatch(
    struct kt_lua_world *w, const char *kind, lua_Integer id, kt_lua_sim_push push, void *ctx)
{
    lua_State *L = w->L;
    if (!L) return;
    struct call c = {w, kind, id, push, ctx};
    if (!lua_checkstack(L, 4)) return;
    lua_pushcfunction(L, call_dispatch);
    lua_pushlightuserdata(L, &c);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) kt_lua_sim_keep_error(w, L);
}
