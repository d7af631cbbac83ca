/* The functions of os and io that depend on the machine or the process, for scripts on simulated hosts that
 * have them (--unsafe). Clocks are the io's, the time zone is UTC, the locale is C, programs cannot be run,
 * and os.exit ends the script. Files are not simulated: io, os.remove, os.rename and os.tmpname are Lua's
 * own. */
#include <string.h>
#include <time.h>
#include <lauxlib.h>
#include "base/log.h"
#include "io/io.h"
#include "script/sandbox/box.h"

static lua_Integer wall_seconds(lua_State *L)
{
    return (lua_Integer)(kt_io_wall(kt_sandbox_of(L)->opts.io) / 1000000u);
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

/* The world's clock also serves as processor time, which must not depend on the machine. */
static int os_clock(lua_State *L)
{
    lua_pushnumber(L, (double)kt_io_now(kt_sandbox_of(L)->opts.io) / 1e6);
    return 1;
}

static int os_getenv(lua_State *L)
{
    const struct kt_sandbox_host *host = &kt_sandbox_of(L)->opts.host;
    lua_pushstring(L, host->getenv(host->ctx, luaL_checkstring(L, 1)));
    return 1;
}

/* Stops the rest of the slice, so that pcall cannot catch it, just as if the process had ended. */
int kt_lua_os_exit(lua_State *L)
{
    struct kt_sandbox *s = kt_sandbox_of(L);
    const int code = lua_isboolean(L, 1) ? !lua_toboolean(L, 1) : (int)luaL_optinteger(L, 1, 0);
    if (!s->opts.host.exit(s->opts.host.ctx, code & 0xff))
        return luaL_error(L, "os.exit: the script is ending already");
    kt_guard_stop(&s->guard);
    kt_guard_raise(L); /* not reported, as the script is exiting */
}

/* Behaves as Lua does on a machine without a shell. */
static int os_execute(lua_State *L)
{
    const char *command = luaL_optstring(L, 1, NULL);
    if (!command) {
        lua_pushboolean(L, false);
        return 1;
    }
    kt_log(kt_sandbox_of(L)->opts.log, KT_LOG_WARN, "os.execute: simulated hosts have no shell; not run: %s",
        command);
    lua_pushnil(L);
    lua_pushliteral(L, "exit");
    lua_pushinteger(L, 127);
    return 3;
}

static int io_popen(lua_State *L)
{
    return luaL_error(
        L, "io.popen: simulated hosts cannot run programs; not run: %s", luaL_checkstring(L, 1));
}

/* All hosts and the spec share one process, so the locale cannot be changed. */
static int os_setlocale(lua_State *L)
{
    const char *locale = luaL_optstring(L, 1, "C");
    if (locale[0] == '\0' || strcmp(locale, "C") == 0 || strcmp(locale, "POSIX") == 0)
        lua_pushliteral(L, "C");
    else
        lua_pushnil(L);
    return 1;
}

void kt_lua_os(lua_State *L)
{
    static const luaL_Reg functions[] = {{"time", os_time}, {"clock", os_clock}, {"getenv", os_getenv},
        {"exit", kt_lua_os_exit}, {"execute", os_execute}, {"setlocale", os_setlocale}, {NULL, NULL}};
    if (lua_getglobal(L, "os") == LUA_TTABLE) {
        luaL_setfuncs(L, functions, 0);
        lua_getfield(L, -1, "date");
        lua_pushcclosure(L, os_date, 1);
        lua_setfield(L, -2, "date");
    }
    lua_pop(L, 1);
    if (lua_getglobal(L, "io") == LUA_TTABLE) {
        lua_pushcfunction(L, io_popen);
        lua_setfield(L, -2, "popen");
    }
    lua_pop(L, 1);
}
