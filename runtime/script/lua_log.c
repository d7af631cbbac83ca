/* kt.log.debug, info, warn, error (fmt, …): string.format's formats; a line below the level costs a
 * comparison. */
#include "script/script.h"

/* Upvalues: the level, string.format. */
static int log_line(lua_State *L)
{
    enum kt_log_level level = (enum kt_log_level)lua_tointeger(L, lua_upvalueindex(1));
    const struct kt_log *log = kt_runtime_of(L)->log;
    if (!kt_log_on(log, level)) return 0;
    int n = lua_gettop(L);
    if (n == 0) return kt_raise(L, "kt.log.%s: wanted a message", kt_log_level_name(level));
    if (n == 1) { /* as it is: a lone message may hold a % */
        luaL_tolstring(L, 1, NULL);
    } else {
        lua_pushvalue(L, lua_upvalueindex(2));
        lua_insert(L, 1);
        lua_call(L, n, 1);
    }
    kt_log(log, level, "%s", lua_tostring(L, -1));
    return 0;
}

void kt_lua_log(lua_State *L)
{
    static const struct {
        const char *name;
        enum kt_log_level level;
    } levels[] = {
        {"debug", KT_LOG_DEBUG}, {"info", KT_LOG_INFO}, {"warn", KT_LOG_WARN}, {"error", KT_LOG_ERROR}};
    lua_createtable(L, 0, 4);
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        lua_pushinteger(L, levels[i].level);
        lua_getglobal(L, "string");
        lua_getfield(L, -1, "format");
        lua_remove(L, -2);
        lua_pushcclosure(L, log_line, 2);
        lua_setfield(L, -2, levels[i].name);
    }
    lua_setfield(L, -2, "log");
}
