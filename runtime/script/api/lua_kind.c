/* Handles implemented in Lua, for modules in the binary that offer objects to scripts (a pool). They print,
 * close, report errors and are checked by `kt check` like handles implemented in C. The handle is a userdata
 * whose uservalue is the module's table, out of the script's reach. */
#include <string.h>
#include "script/core/handle.h"
#include "script/api/api.h"
#include "script/core/service.h"

#define METHODS_MAX 32
#define FIELDS_MAX 16

/* Upvalue 1: the kind. inside(handle, method) → the module's table */
static int inside(lua_State *L)
{
    kt_handle_self(L, lua_tostring(L, lua_upvalueindex(1)), luaL_checkstring(L, 2));
    lua_getiuservalue(L, 1, 1);
    return 1;
}

/* Upvalue 1: the kind. make(table) → handle; one created in the main chunk lives as long as the script */
static int make(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    kt_handle_push(L, lua_tostring(L, lua_upvalueindex(1)), 0, 1);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    kt_declared_hold(L);
    return 1;
}

/* Upvalue 1: the function to call with the module's table, unless the state is closing. */
static int gc(lua_State *L)
{
    if (kt_runtime_phase(kt_runtime_of(L)) == KT_END) return 0;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_getiuservalue(L, 1, 1);
    lua_call(L, 1, 0);
    return 0;
}

/* Upvalue: a name. The value of that name in the module's table; of a function, what it returns for the table. */
static int field(lua_State *L)
{
    lua_getiuservalue(L, 1, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    if (lua_rawget(L, -2) == LUA_TFUNCTION) {
        lua_insert(L, -2);
        lua_call(L, 1, 1);
    }
    return 1;
}

/* core.kind(name, { { method, function }, … }, forgotten [, { field, … }]) → make, inside. The method "close" is also
 * the __close metamethod. forgotten(table) is called when a handle is collected, and must not wait; false: nothing is.
 * A field is that of the module's table. */
static int kind(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checkany(L, 3);
    lua_settop(L, 4);
    luaL_Reg fields[FIELDS_MAX + 1] = {{NULL, NULL}};
    const size_t m = lua_istable(L, 4) ? lua_rawlen(L, 4) : 0;
    luaL_argcheck(L, m <= FIELDS_MAX, 4, "too many fields");
    for (size_t i = 0; i < m; i++) {
        lua_rawgeti(L, 4, (lua_Integer)i + 1);
        fields[i] = (luaL_Reg){lua_tostring(L, -1), NULL}; /* likewise */
        lua_pop(L, 1);
    }
    luaL_Reg methods[METHODS_MAX + 1] = {{NULL, NULL}};
    const size_t n = lua_rawlen(L, 2);
    luaL_argcheck(L, n <= METHODS_MAX, 2, "too many methods");
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 2, (lua_Integer)i + 1);
        lua_rawgeti(L, -1, 1);
        methods[i] = (luaL_Reg){lua_tostring(L, -1), NULL}; /* a placeholder; the table anchors its name */
        lua_pop(L, 2);
    }
    kt_handle_type(L, &(struct kt_handle_type){.name = name, .methods = methods, .fields = fields});

    luaL_getmetatable(L, name); /* 5 */
    lua_getfield(L, -1, "__index");
    lua_getupvalue(L, -1, 2); /* its fields, see handle.c */
    for (size_t i = 0; i < m; i++) {
        lua_pushstring(L, fields[i].name);
        lua_pushstring(L, fields[i].name);
        lua_pushcclosure(L, field, 1);
        lua_rawset(L, -3);
    }
    lua_pop(L, 1);
    lua_getupvalue(L, -1, 1); /* its methods */
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(L, 2, (lua_Integer)i);
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        luaL_checktype(L, -1, LUA_TFUNCTION);
        lua_rawset(L, -4);
        lua_pop(L, 1);
    }
    lua_getfield(L, -1, "close");
    lua_setfield(L, 5, "__close");
    if (lua_isfunction(L, 3)) {
        lua_pushvalue(L, 3);
        lua_pushcclosure(L, gc, 1);
        lua_setfield(L, 5, "__gc");
    }

    lua_pushvalue(L, 1);
    lua_pushcclosure(L, make, 1);
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, inside, 1);
    return 2;
}

/* core.kind_of(value) → the kind of a handle ("link"), or nil for any other value */
static int kind_of(lua_State *L)
{
    luaL_checkany(L, 1);
    if (lua_type(L, 1) != LUA_TUSERDATA || luaL_getmetafield(L, 1, "__name") != LUA_TSTRING) lua_pushnil(L);
    return 1;
}

/* core.opaque(metatable) → a userdata with this metatable and no content. Unlike a table, it cannot be
 * modified by rawset or by library functions that work on lists. */
static int opaque(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_newuserdatauv(L, 0, 0);
    lua_pushvalue(L, 1);
    lua_setmetatable(L, -2);
    return 1;
}

void kt_lua_kind(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"kind", kind}, {"kind_of", kind_of}, {"opaque", opaque}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
