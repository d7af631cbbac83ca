/* Classes of userdata for the C modules of specs. */
#ifndef SPEC_CLASS_H
#define SPEC_CLASS_H

#include <lauxlib.h>
#include <lua.h>
#include <string.h>

/* Makes a metatable with these methods; `__gc` and `__len` among them work, as they are in the metatable. */
static inline void class(lua_State *L, const char *name, const luaL_Reg *methods)
{
    luaL_newmetatable(L, name);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

/* Pushes a userdata of the class, all zero, without user values. */
static inline void *object(lua_State *L, const char *name, size_t size)
{
    void *o = lua_newuserdatauv(L, size, 0);
    memset(o, 0, size);
    luaL_setmetatable(L, name);
    return o;
}

#endif
