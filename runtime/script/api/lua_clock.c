/* The wall clock for scripts: kt.wall, and core.calendar for kt.date. */
#include <time.h>
#include "script/core/handle.h"
#include "script/api/api.h"
#include "script/core/fields.h"

/* kt.wall() → seconds since 1970-01-01 UTC */
static int wall(lua_State *L)
{
    lua_pushnumber(L, (double)kt_io_wall(kt_runtime_io(kt_runtime_of(L))) / 1e6);
    return 1;
}

/* core.calendar(utc) → { year, month, day, hour, minute, second, weekday }
 *
 * A repeatable runtime always uses UTC, so that the machine's time zone does not matter. */
static int calendar(lua_State *L)
{
    const struct kt_runtime *rt = kt_runtime_of(L);
    time_t now = (time_t)(kt_io_wall(kt_runtime_io(rt)) / 1000000u);
    const bool utc = kt_runtime_repeatable(rt) || lua_toboolean(L, 1);
    struct tm tm;
    if (!(utc ? gmtime_r(&now, &tm) : localtime_r(&now, &tm)))
        return kt_raise(L, "kt.date: the year of the clock is out of range");
    lua_createtable(L, 0, 7);
    kt_field_integer(L, "year", tm.tm_year + 1900);
    kt_field_integer(L, "month", tm.tm_mon + 1);
    kt_field_integer(L, "day", tm.tm_mday);
    kt_field_integer(L, "hour", tm.tm_hour);
    kt_field_integer(L, "minute", tm.tm_min);
    kt_field_integer(L, "second", tm.tm_sec);
    kt_field_integer(L, "weekday", tm.tm_wday == 0 ? 7 : tm.tm_wday);
    return 1;
}

void kt_lua_clock(lua_State *L)
{
    static const luaL_Reg functions[] = {{"wall", wall}, {"calendar", calendar}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
