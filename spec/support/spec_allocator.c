/* Binding of the sandbox's small-block allocator for spec/script/allocator_spec.lua, which keeps track of sizes. */
#include <lauxlib.h>
#include <lua.h>
#include <string.h>
#include "script/sandbox/allocator.h"

int luaopen_spec_allocator(lua_State *L);

static int allocator_new(lua_State *L)
{
    kt_allocator_init(lua_newuserdatauv(L, sizeof(struct kt_allocator), 0));
    luaL_setmetatable(L, "spec.allocator");
    return 1;
}

static int allocator_free(lua_State *L)
{
    kt_allocator_free(luaL_checkudata(L, 1, "spec.allocator"));
    return 0;
}

/* alloc(block or nil, old size, new size): fills the bytes that were added with the low byte of the new size */
static int allocator_alloc(lua_State *L)
{
    const size_t old = (size_t)luaL_checkinteger(L, 3), size = (size_t)luaL_checkinteger(L, 4);
    char *p = kt_allocator_alloc(luaL_checkudata(L, 1, "spec.allocator"), lua_touserdata(L, 2), old, size);
    if (size > old) memset(p + old, (int)(size & 0xff), size - old);
    if (!p) return 0;
    lua_pushlightuserdata(L, p);
    return 1;
}

/* bytes(block, size) */
static int allocator_bytes(lua_State *L)
{
    lua_pushlstring(L, lua_touserdata(L, 2), (size_t)luaL_checkinteger(L, 3));
    return 1;
}

/* Bytes of slabs. */
static int allocator_held(lua_State *L)
{
    const struct kt_allocator *b = luaL_checkudata(L, 1, "spec.allocator");
    lua_pushinteger(L, (lua_Integer)(b->slabs * KT_ALLOCATOR_SLAB));
    return 1;
}

static const luaL_Reg methods[] = {{"held", allocator_held}, {"alloc", allocator_alloc},
    {"bytes", allocator_bytes}, {"free", allocator_free}, {"__gc", allocator_free}, {NULL, NULL}};

int luaopen_spec_allocator(lua_State *L)
{
    luaL_newmetatable(L, "spec.allocator");
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, allocator_new);
    lua_setfield(L, -2, "new");
    return 1;
}
