/* kt.so: kt.sim for specs that run under plain busted, in Lua's own interpreter.
 *
 * Invariant: the interpreter is checked before anything else. Another Lua version lays out its states in another
 * way, and has functions of the same names with other parameters. Symbols are versioned, so our calls would not
 * reach those functions but a Lua 5.4 of our own, which crashes on a foreign state. */
#include <dlfcn.h>
#include <string.h>
#include "script/sim/module.h"

#define REGISTRY_51 (-10000) /* Lua 5.1's and LuaJIT's LUA_REGISTRYINDEX */

int luaopen_kt(lua_State *L);
int luaopen_kt_sim(lua_State *L);
int luaopen_kt_sim_report(lua_State *L);
int luaopen_kt_sim_core(lua_State *L);

/* Looks up the interpreter's own function of this name: the first that was loaded into the process. */
static void find(void *fn, const char *name)
{
    void *found = dlsym(RTLD_DEFAULT, name);
    memcpy(fn, &found, sizeof found); /* C has no cast from an object's address to a function's */
}

/* Raises unless L is Lua 5.4. Calls only functions that exist with the same meaning since Lua 5.1. */
static void need_54(lua_State *L)
{
    int (*type)(lua_State *, int);
    int (*getfield)(lua_State *, int, const char *);
    const char *(*tolstring)(lua_State *, int, size_t *);
    void (*settop)(lua_State *, int);
    int (*error)(lua_State *, const char *, ...);
    find(&type, "lua_type");
    find(&getfield, "lua_getfield");
    find(&tolstring, "lua_tolstring");
    find(&settop, "lua_settop");
    find(&error, "luaL_error");
    if (!type || !getfield || !tolstring || !settop || !error) return; /* the interpreter hides its symbols */
    /* Lua 5.1 takes our registry index for an upvalue that this function does not have; asking for its type is
     * safe. */
    const int registry = type(L, LUA_REGISTRYINDEX) == LUA_TTABLE ? LUA_REGISTRYINDEX : REGISTRY_51;
    getfield(L, registry, "_LOADED");
    getfield(L, -1, "_G");
    getfield(L, -1, "_VERSION");
    const char *version = tolstring(L, -1, NULL);
    if (registry == REGISTRY_51 || !version || strcmp(version, LUA_VERSION) != 0)
        error(L,
            "kt.so is for " LUA_VERSION
            ", but this is %s; run specs with kt test, or with lua5.4 /usr/bin/busted",
            version ? version : "another");
    settop(L, -4);
}

int luaopen_kt(lua_State *L)
{
    need_54(L);
    return kt_lua_sim_module_open(L);
}

int luaopen_kt_sim(lua_State *L)
{
    need_54(L);
    return kt_lua_sim_module_load(L, "kt.sim");
}

/* For busted --helper=kt.sim.report. */
int luaopen_kt_sim_report(lua_State *L)
{
    need_54(L);
    return kt_lua_sim_module_load(L, "kt.sim.report");
}

/* For developers of kt.sim, who load its Lua part from their own files. */
int luaopen_kt_sim_core(lua_State *L)
{
    need_54(L);
    return kt_lua_sim_module_core(L);
}
