/* kt.log.debug, info, warn, error (fmt, …), with the formats of string.format. A line below the log level
 * costs only a comparison. */
#include <stdlib.h>
#include <string.h>
#include "script/core/events.h"
#include "script/api/api.h"

/* Rewords an error of string.format ("bad argument #2 to 'string.format' (number expected, got string)") so
 * that it names the function that the script called. */
static int complain(lua_State *L, const char *level)
{
    static const char bad[] = "bad argument #";
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    const char *at = strstr(text, bad), *reason = at ? strchr(at, '(') : NULL;
    if (reason) {
        const int n = atoi(at + sizeof bad - 1);
        lua_pushlstring(L, reason + 1, strlen(reason) - 2); /* without its parentheses */
        return kt_raise(L, "kt.log.%s: argument %d: %s", level, n, lua_tostring(L, -1));
    }
    at = strstr(text, "invalid ");
    if (at) return kt_raise(L, "kt.log.%s: %s", level, at);
    return lua_error(L); /* raised by a __tostring */
}

/* Pushes the line for the arguments on the stack. Upvalues: the level, string.format. */
static void push_line(lua_State *L, enum kt_log_level level)
{
    const char *name = kt_log_level_name(level);
    int n = lua_gettop(L);
    if (n == 0) kt_raise(L, "kt.log.%s: expected a message", name);
    if (n == 1) { /* not a format: a lone message may contain "%" */
        luaL_tolstring(L, 1, NULL);
        return;
    }
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_insert(L, 1);
    const int status = lua_pcall(L, n, 1, 0);
    if (kt_guard_stopped(kt_guard_of(L))) kt_guard_raise(L);
    if (status == LUA_ERRRUN) complain(L, name);
    if (status != LUA_OK) lua_error(L);
}

/* Logs the line on top of the stack. Writes a zero byte, which would end the line, as "\0". */
static void write_line(lua_State *L, const struct kt_log *log, enum kt_log_level level)
{
    size_t len;
    const char *line = lua_tolstring(L, -1, &len);
    if (memchr(line, '\0', len)) {
        luaL_Buffer b;
        luaL_buffinit(L, &b);
        for (size_t i = 0; i < len; i++) {
            if (line[i] == '\0')
                luaL_addstring(&b, "\\0");
            else
                luaL_addchar(&b, line[i]);
        }
        luaL_pushresult(&b);
        line = lua_tostring(L, -1);
    }
    kt_log_with(log, level, kt_task_about(kt_task_of(L)), "%s", line);
}

static int log_line(lua_State *L)
{
    enum kt_log_level level = (enum kt_log_level)lua_tointeger(L, lua_upvalueindex(1));
    const struct kt_log *log = kt_runtime_log(kt_runtime_of(L));
    if (!kt_log_on(log, level) && !kt_runtime_checking(kt_runtime_of(L))) return 0;
    push_line(L, level);
    write_line(L, log, level);
    return 0;
}

/* core.log_about(level, pool, link, text): logs a line about a pool and, unless link is nil, one of its links */
static int log_about(lua_State *L)
{
    enum kt_log_level level;
    luaL_argcheck(L, kt_log_level_parse(luaL_checkstring(L, 1), &level), 1, "unknown log level");
    struct kt_log_fields about = kt_task_about(kt_task_of(L));
    about.pool = luaL_checkstring(L, 2);
    about.link = luaL_optstring(L, 3, NULL);
    kt_log_with(kt_runtime_log(kt_runtime_of(L)), level, about, "%s", luaL_checkstring(L, 4));
    return 0;
}

/* core.happened(type, pool, link, text): tells those who follow the process's events; pool and link may be nil */
static int happened(lua_State *L)
{
    static const char *const names[] = {
#define NAME(type, name, doc) name,
        KT_EVENT_TYPES(NAME)
#undef NAME
            NULL};
    struct kt_event e = {.type = (enum kt_event_type)luaL_checkoption(L, 1, NULL, names),
        .pool = luaL_optstring(L, 2, NULL),
        .link = luaL_optstring(L, 3, NULL),
        .text = luaL_checkstring(L, 4)};
    kt_events_emit(kt_runtime_events(kt_runtime_of(L)), &e);
    return 0;
}

void kt_lua_log(lua_State *L)
{
    lua_pushcfunction(L, happened);
    lua_setfield(L, -2, "happened");
    lua_pushcfunction(L, log_about);
    lua_setfield(L, -2, "log_about");
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
