/* Binding of runtime/link/common/session_starts.h, replay memory of session starts, for
 * spec/link/session_starts_spec.lua.
 *
 *   s = spec_session_starts.new()
 *   s:add(conv, ts)   s:seen(conv, ts)   s:has(conv)   s:slots()   the size of both sets, in slots of 8 bytes
 *   spec_session_starts.GENERATION, SPAN_MS */
#include <lauxlib.h>
#include <lua.h>
#include "link/common/session_starts.h"

#define STARTS "spec_session_starts"

int luaopen_spec_session_starts(lua_State *L);

static struct kt_session_starts *check(lua_State *L)
{
    return luaL_checkudata(L, 1, STARTS);
}

static int starts_new(lua_State *L)
{
    struct kt_session_starts *s = lua_newuserdatauv(L, sizeof *s, 0);
    kt_session_starts_init(s, 42);
    luaL_setmetatable(L, STARTS);
    return 1;
}

static int starts_add(lua_State *L)
{
    kt_session_starts_add(check(L), (uint32_t)luaL_checkinteger(L, 2), (uint32_t)luaL_checkinteger(L, 3));
    return 0;
}

static int starts_seen(lua_State *L)
{
    lua_pushboolean(L, kt_session_starts_seen(
                           check(L), (uint32_t)luaL_checkinteger(L, 2), (uint32_t)luaL_checkinteger(L, 3)));
    return 1;
}

static int starts_has(lua_State *L)
{
    lua_pushboolean(L, kt_session_starts_has(check(L), (uint32_t)luaL_checkinteger(L, 2)));
    return 1;
}

static size_t slots_of(const struct kt_session_starts_set *set)
{
    return set->slots ? set->mask + 1 : 0;
}

static int starts_slots(lua_State *L)
{
    const struct kt_session_starts *s = check(L);
    lua_pushinteger(L, (lua_Integer)(slots_of(&s->young) + slots_of(&s->old)));
    return 1;
}

static int starts_free(lua_State *L)
{
    kt_session_starts_free(check(L));
    return 0;
}

int luaopen_spec_session_starts(lua_State *L)
{
    static const luaL_Reg methods[] = {{"add", starts_add}, {"seen", starts_seen}, {"has", starts_has},
        {"slots", starts_slots}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"new", starts_new}, {NULL, NULL}};
    luaL_newmetatable(L, STARTS);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, starts_free);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    lua_pushinteger(L, KT_SESSION_STARTS_GENERATION);
    lua_setfield(L, -2, "GENERATION");
    lua_pushinteger(L, KT_SESSION_STARTS_SPAN_MS);
    lua_setfield(L, -2, "SPAN_MS");
    return 1;
}
