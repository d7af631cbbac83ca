/* Results of the C modules of specs. */
#ifndef SPEC_RESULTS_H
#define SPEC_RESULTS_H

#include <lua.h>
#include <stdint.h>
#include "base/err.h"

/* nil, and the name of a code: "closed" */
static inline int fail(lua_State *L, int code)
{
    lua_pushnil(L);
    lua_pushstring(L, kt_errname(code));
    return 2;
}

/* Likewise with a sentence. */
static inline int fail_with(lua_State *L, int code, const char *text)
{
    fail(L, code);
    lua_pushstring(L, text);
    return 3;
}

/* Sets a field of the table on top of the stack. */
static inline void set(lua_State *L, const char *key, uint64_t value)
{
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, key);
}

#endif
