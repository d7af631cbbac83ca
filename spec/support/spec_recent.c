/* Binding of runtime/link/common/recent.h, recent traffic of a session, for spec/link/recent_spec.lua.
 *
 *   r = spec_recent.new(born_us)
 *   r:note(bytes_in, segs_out, now_us)      the counters at now_us
 *   bytes_in, segs_out, span_us = r:get(now_us) */
#include <lauxlib.h>
#include <lua.h>
#include "link/common/recent.h"

#define RECENT "spec_recent"

int luaopen_spec_recent(lua_State *L);

static int recent_new(lua_State *L)
{
    struct kt_recent *r = lua_newuserdatauv(L, sizeof *r, 0);
    *r = (struct kt_recent){.head = 0};
    kt_recent_start(r, (uint64_t)luaL_checkinteger(L, 1));
    luaL_setmetatable(L, RECENT);
    return 1;
}

static int recent_note(lua_State *L)
{
    const struct kt_recent_sum sum = {
        .bytes_in = (uint64_t)luaL_checkinteger(L, 2), .segs_out = (uint64_t)luaL_checkinteger(L, 3)};
    kt_recent_note(luaL_checkudata(L, 1, RECENT), &sum, (uint64_t)luaL_checkinteger(L, 4));
    return 0;
}

static int recent_get(lua_State *L)
{
    struct kt_recent_sum grown;
    uint64_t span = kt_recent_get(luaL_checkudata(L, 1, RECENT), (uint64_t)luaL_checkinteger(L, 2), &grown);
    lua_pushinteger(L, (lua_Integer)grown.bytes_in);
    lua_pushinteger(L, (lua_Integer)grown.segs_out);
    lua_pushinteger(L, (lua_Integer)span);
    return 3;
}

int luaopen_spec_recent(lua_State *L)
{
    static const luaL_Reg methods[] = {{"note", recent_note}, {"get", recent_get}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"new", recent_new}, {NULL, NULL}};
    luaL_newmetatable(L, RECENT);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
