/* Sets a field of the table on top of the stack. */
#ifndef KT_SCRIPT_CORE_FIELDS_H
#define KT_SCRIPT_CORE_FIELDS_H

#include <lua.h>
#include <stdbool.h>

static inline void kt_field_integer(lua_State *L, const char *key, lua_Integer value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, key);
}

static inline void kt_field_number(lua_State *L, const char *key, double value)
{
    lua_pushnumber(L, value);
    lua_setfield(L, -2, key);
}

/* NULL: nil. */
static inline void kt_field_string(lua_State *L, const char *key, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, key);
}

static inline void kt_field_boolean(lua_State *L, const char *key, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, key);
}

#endif
