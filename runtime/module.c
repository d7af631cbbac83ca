/* kt.so: kt.sim for specs that run under plain busted, with Lua's own interpreter.
 *
 * Which interpreter that is must be looked at before all else: one of another Lua lays out its states in
 * another way, and has functions of the same names that take other arguments. Symbols have versions, so our
 * calls would not even reach those, but a Lua 5.4 of our own: with a foreign state, which ends in a crash. */
#include <dlfcn.h>
#include <string.h>
#include "script/sim/module.h"

#define REGISTRY_51 (-10000) /* Lua 5.1's and LuaJIT's LUA_REGISTRYINDEX */

int luaopen_kt(lua_State *L);
int luaopen_kt_sim(lua_State *L);
int luaopen_kt_sim_report(lua_State *L);
int luaopen_kt_sim_core(lua_State *L);

/* What the interpreter has under this name, whichever it is: what came into the process first. */
static void find(void *fn, const char *name)
{
    void *found = dlsym(RTLD_DEFAULT, name);
    memcpy(fn, &found, sizeof found); /* C has no cast from an object's address to a function's */
}

/* Raises if L is not of Lua 5.4. Calls only what is there, and means the same, from Lua 5.1 on. */
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
    if (!type || !getfield || !tolstring || !settop || !error) return; /* an interpreter that hides its own */
    /* To Lua 5.1 our registry is an upvalue that this function does not have: it may be asked for its type.
     */
    const int registry = type(L, LUA_REGISTRYINDEX) == LUA_TTABLE ? LUA_REGISTRYINDEX : REGISTRY_51;
    getfield(L, registry, "_LOADED");
    getfield(L, -1, "_G");
    getfield(L, -1, "_VERSION");
    const char *version = tolstring(L, -1, NULL);
    if (registry == REGISTRY_51 || !version || strcmp(version, LUA_VERSION) != 0)
        error(L,
            "kt.so is for " LUA_VERSION
            ", and this is %s; run specs by kt test, or by lua5.4 /usr/bin/busted",
            version ? version : "another");
    settop(L, -4);
}

int luaopen_kt(lua_State *L)
{
    need_54(L);
    return kt_plain_open(L);
}

int luaopen_kt_sim(lua_State *L)
{
    need_54(L);
    return kt_plain_module(L, "kt.sim");
}

/* busted --helper=kt.sim.report */
int luaopen_kt_sim_report(lua_State *L)
{
    need_54(L);
    return kt_plain_module(L, "kt.sim.report");
}

/* For those who work on kt.sim itself, and have its Lua part from their own files. */
int luaopen_kt_sim_core(lua_State *L)
{
    need_54(L);
    return kt_plain_core(L);
}
