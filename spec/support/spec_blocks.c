/* Binding of the sandbox's small-block allocator for spec/script/blocks_spec.lua, which keeps track of sizes. */
#include <lauxlib.h>
#include <lua.h>
#include <string.h>
#include "script/sandbox/blocks.h"

int luaopen_spec_blocks(lua_State *L);

static int blocks_new(lua_State *L)
{
    kt_blocks_init(lua_newuserdatauv(L, sizeof(struct kt_blocks), 0));
    luaL_setmetatable(L, "spec.blocks");
    return 1;
}

static int blocks_free(lua_State *L)
{
    kt_blocks_free(luaL_checkudata(L, 1, "spec.blocks"));
    return 0;
}

/* alloc(block or nil, old size, new size): fills the bytes that were added with the low byte of the new size */
static int blocks_alloc(lua_State *L)
{
    const size_t old = (size_t)luaL_checkinteger(L, 3), size = (size_t)luaL_checkinteger(L, 4);
    char *p = kt_blocks_alloc(luaL_checkudata(L, 1, "spec.blocks"), lua_touserdata(L, 2), old, size);
    if (size > old) memset(p + old, (int)(size & 0xff), size - old);
    if (!p) return 0;
    lua_pushlightuserdata(L, p);
    return 1;
}

/* bytes(block, size) */
static int blocks_bytes(lua_State *L)
{
    lua_pushlstring(L, lua_touserdata(L, 2), (size_t)luaL_checkinteger(L, 3));
    return 1;
}

/* Bytes of slabs. */
static int blocks_held(lua_State *L)
{
    const struct kt_blocks *b = luaL_checkudata(L, 1, "spec.blocks");
    lua_pushinteger(L, (lua_Integer)(b->slabs * KT_BLOCKS_SLAB));
    return 1;
}

static const luaL_Reg methods[] = {{"held", blocks_held}, {"alloc", blocks_alloc}, {"bytes", blocks_bytes},
    {"free", blocks_free}, {"__gc", blocks_free}, {NULL, NULL}};

int luaopen_spec_blocks(lua_State *L)
{
    luaL_newmetatable(L, "spec.blocks");
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, blocks_new);
    lua_setfield(L, -2, "new");
    return 1;
}
