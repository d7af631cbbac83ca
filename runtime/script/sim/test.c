/* `kt test`: creates the Lua state for specs and runs lua/kt/cli/test.lua in it. */
#include "script/sim/test.h"
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include "script/sim/module.h"

static int traceback(lua_State *L)
{
    luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
    return 1;
}

/* Sets the global `arg`, as the stand-alone Lua interpreter does. */
static void set_arg(lua_State *L, int argc, char **argv)
{
    lua_createtable(L, argc, 1);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i);
    }
    lua_setglobal(L, "arg");
}

static int run(lua_State *L)
{
    kt_lua_sim_module_install(L);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "kt.cli.test");
    lua_call(L, 1, 1);
    lua_call(L, 0, 1);
    return 1;
}

int kt_test_run(int argc, char **argv)
{
    lua_State *L = luaL_newstate();
    if (!L) return 1;
    luaL_openlibs(L);
    lua_warning(L, "@on", 0); /* show errors in finalizers */
    set_arg(L, argc, argv);
    lua_pushcfunction(L, traceback);
    lua_pushcfunction(L, run);
    int code = 1;
    if (lua_pcall(L, 0, 1, 1) == LUA_OK)
        code = (int)lua_tointeger(L, -1);
    else
        fprintf(stderr, "kt test: %s\n", lua_tostring(L, -1));
    lua_close(L);
    return code;
}
