/* Classes of userdata for the C modules of specs. */
#ifndef SPEC_CLASS_H
#define SPEC_CLASS_H

#include <lauxlib.h>
#include <lua.h>

/* Makes a metatable with these methods; `__gc` and `__len` among them work, as they are in the metatable. */
static inline void class(lua_State *L, const char *name, const luaL_Reg *methods)
{
    luaL_newmetatable(L, name);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

#endif
