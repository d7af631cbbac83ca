/* A Lua interpreter to run busted in. It is built like the rest of the project, so a sanitized build loads
 * the sanitizer's runtime before any module. Usage: spec-lua SCRIPT [ARG…] */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>

static int traceback(lua_State *L)
{
    luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: spec-lua SCRIPT [ARG...]\n");
        return 2;
    }
    lua_State *L = luaL_newstate();
    if (!L) return 1;
    luaL_openlibs(L);
    lua_createtable(L, argc, 1);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i - 1);
    }
    lua_setglobal(L, "arg");
    lua_pushcfunction(L, traceback);
    int status = luaL_loadfile(L, argv[1]);
    for (int i = 2; status == LUA_OK && i < argc; i++) lua_pushstring(L, argv[i]);
    if (status == LUA_OK) status = lua_pcall(L, argc - 2, 0, 1);
    if (status != LUA_OK) fprintf(stderr, "spec-lua: %s\n", lua_tostring(L, -1));
    lua_close(L);
    return status == LUA_OK ? 0 : 1;
}
