/* The part of os that tells of the machine, for repeatable runtimes that have it (--unsafe): the io's clocks,
 * and UTC, as where this machine is must not show. */
#include <string.h>
#include <time.h>
#include "script/script.h"

static lua_Integer wall_seconds(lua_State *L)
{
    return (lua_Integer)(kt_io_wall(kt_runtime_of(L)->io) / 1000000u);
}

static int field(lua_State *L, const char *name, int preset)
{
    lua_getfield(L, 1, name);
    if (lua_isnil(L, -1) && preset < 0) return luaL_error(L, "field '%s' missing in date table", name);
    int isnum, value = (int)lua_tointegerx(L, -1, &isnum);
    if (!lua_isnil(L, -1) && !isnum) return luaL_error(L, "field '%s' is not an integer", name);
    lua_pop(L, 1);
    return isnum ? value : preset;
}

static int os_time(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_pushinteger(L, wall_seconds(L));
        return 1;
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    struct tm tm = {.tm_year = field(L, "year", -1) - 1900,
        .tm_mon = field(L, "month", -1) - 1,
        .tm_mday = field(L, "day", -1),
        .tm_hour = field(L, "hour", 12),
        .tm_min = field(L, "min", 0),
        .tm_sec = field(L, "sec", 0)};
    lua_pushinteger(L, (lua_Integer)timegm(&tm));
    return 1;
}

/* Upvalue: Lua's own. */
static int os_date(lua_State *L)
{
    const char *format = luaL_optstring(L, 1, "%c");
    lua_Integer at = lua_isnoneornil(L, 2) ? wall_seconds(L) : luaL_checkinteger(L, 2);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushfstring(L, "%s%s", format[0] == '!' ? "" : "!", format);
    lua_pushinteger(L, at);
    lua_call(L, 2, 1);
    return 1;
}

/* Processor time stands still while a simulated world's clock does: the world's serves for both. */
static int os_clock(lua_State *L)
{
    lua_pushnumber(L, (double)kt_io_now(kt_runtime_of(L)->io) / 1e6);
    return 1;
}

static int os_getenv(lua_State *L)
{
    const struct kt_runtime *rt = kt_runtime_of(L);
    lua_pushstring(L, rt->getenv(rt->getenv_ctx, luaL_checkstring(L, 1)));
    return 1;
}

void kt_lua_os(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"time", os_time}, {"clock", os_clock}, {"getenv", os_getenv}, {NULL, NULL}};
    if (lua_getglobal(L, "os") == LUA_TTABLE) {
        luaL_setfuncs(L, functions, 0);
        lua_getfield(L, -1, "date");
        lua_pushcclosure(L, os_date, 1);
        lua_setfield(L, -2, "date");
    }
    lua_pop(L, 1);
}
