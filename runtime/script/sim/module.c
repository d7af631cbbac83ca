/* Makes kt.sim and its helpers available to plain Lua states, in which no runtime runs.
 *
 * Invariant: modules that need a runtime are never loaded here. */
#include "script/sim/module.h"
#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <string.h>
#include "script/core/embedded.h"
#include "script/sandbox/sandbox.h"
#include "script/sim/core.h"

/* Whether the module works without a runtime. */
static bool is_plain(const char *name)
{
    static const char *const plain[] = {
        "kt.units", "kt.schema", "kt.cli.test", "kt.http.client", "kt.http.body", "kt.http.message"};
    if (strncmp(name, "kt.sim", 6) == 0 && (name[6] == '\0' || name[6] == '.')) return true;
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (strcmp(name, plain[i]) == 0) return true;
    return false;
}

/* Pushes the module's chunk and returns true, or pushes nothing and returns false. */
static bool load(lua_State *L, const char *name)
{
    for (const struct kt_embedded *e = kt_embedded; e->module; e++) {
        if (strcmp(e->module, name) != 0) continue;
        lua_pushfstring(L, "=[%s]", name);
        if (luaL_loadbufferx(L, e->source, e->len, lua_tostring(L, -1), "t") != LUA_OK) lua_error(L);
        return true;
    }
    return false;
}

static int search(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    if (strcmp(name, "kt.sim.core") == 0) {
        lua_pushcfunction(L, kt_lua_sim_core);
        return 1;
    }
    if (is_plain(name) && load(L, name)) {
        lua_pushfstring(L, "[%s]", name);
        return 2;
    }
    lua_pushfstring(L, "no module '%s' in kt", name);
    return 1;
}

void kt_lua_sim_module_install(lua_State *L)
{
    /* Repeat this each time: busted restores the globals before each spec file. */
    kt_lua_order(L, NULL);
    if (!luaL_newmetatable(L, "kt.plain")) { /* already installed in this state */
        lua_pop(L, 1);
        return;
    }
    lua_getglobal(L, LUA_LOADLIBNAME);
    lua_getfield(L, -1, "searchers");
    lua_pushcfunction(L, search);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 3);
}

static int absent(lua_State *L)
{
    return luaL_error(L,
        "kt.%s: a spec has only kt.sim and kt.version; run a script with host:run to use the rest of kt",
        luaL_tolstring(L, 2, NULL));
}

int kt_lua_sim_module_open(lua_State *L)
{
    lua_newtable(L);
    lua_pushstring(L, KT_VERSION);
    lua_setfield(L, -2, "version");
    kt_lua_sim_module_install(L);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "kt.sim");
    lua_call(L, 1, 1);
    lua_setfield(L, -2, "sim");
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, absent);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    return 1;
}

int kt_lua_sim_module_load(lua_State *L, const char *name)
{
    kt_lua_sim_module_install(L);
    if (!load(L, name)) return luaL_error(L, "%s is not in this binary", name);
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
    return 1;
}

int kt_lua_sim_module_core(lua_State *L)
{
    return kt_lua_sim_core(L);
}
