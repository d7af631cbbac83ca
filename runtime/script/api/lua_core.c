/* kt.core: functions for the modules in the binary (lua/kt/) that are not in the public API. A script cannot
 * require kt.core. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "script/core/embedded.h"
#include "script/core/handle.h"
#include "script/core/logger.h"
#include "script/api/api.h"
#include "script/core/service.h"

#define READ_MAX (1u << 20)
#define DATE_MAX ((size_t)1 << 20) /* generous, as the format may contain a file name */

static int getenv_(lua_State *L)
{
    const struct kt_runtime *rt = kt_runtime_of(L);
    lua_pushstring(L, kt_runtime_getenv(rt, luaL_checkstring(L, 1)));
    return 1;
}

/* ---- files ---- */

static int push_data(lua_State *L)
{
    lua_pushlstring(L, lua_touserdata(L, 1), (size_t)lua_tointeger(L, 2));
    return 1;
}

/* core.read_file(path [, max]) → string | nil, err */
static int read_file(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    size_t max = (size_t)luaL_optinteger(L, 2, READ_MAX);
    struct kt_err err = {0};
    char *data;
    size_t len;
    int rc = kt_file_read(kt_runtime_io(kt_runtime_of(L)), path, max, &data, &len, &err);
    if (rc) return kt_lua_err_return(L, rc, err.text);
    lua_pushcfunction(L, push_data);
    lua_pushlightuserdata(L, data);
    lua_pushinteger(L, (lua_Integer)len);
    int status = lua_pcall(L, 2, 1, 0);
    explicit_bzero(data, len); /* a configuration file contains a key */
    free(data);
    return status == LUA_OK ? 1 : lua_error(L);
}

/* core.create_file(path, data) → true | nil, err; does not overwrite an existing file */
static int create_file(lua_State *L)
{
    size_t len;
    const char *path = luaL_checkstring(L, 1);
    const char *data = luaL_checklstring(L, 2, &len);
    struct kt_err err = {0};
    int rc = kt_file_create(kt_runtime_io(kt_runtime_of(L)), path, data, len, &err);
    if (rc) return kt_lua_err_return(L, rc, err.text);
    lua_pushboolean(L, 1);
    return 1;
}

/* core.examples() → { [name] = text }: the files of scripts/examples embedded in the binary */
static int examples(lua_State *L)
{
    static const char folder[] = "examples/";
    lua_newtable(L);
    for (const struct kt_embedded *e = kt_embedded; e->module; e++) {
        if (strncmp(e->module, folder, sizeof folder - 1) != 0) continue;
        lua_pushlstring(L, e->source, e->len);
        lua_setfield(L, -2, e->module + sizeof folder - 1);
    }
    return 1;
}

/* ---- signals ---- */

struct kt_lua_signal {
    struct kt_service service; /* first */
    int signum;
    struct kt_signal *signal;
};

static void on_signal(void *ctx, int signum)
{
    (void)signum;
    const struct kt_service *s = ctx;
    struct kt_runtime *rt = kt_service_runtime(s);
    if (kt_runtime_replaced(rt)) return; /* the current script handles it */
    struct kt_task *t = kt_task_new(rt, kt_runtime_state(rt), kt_service_served_at(s));
    if (!t) return;
    kt_service_push_handler(kt_task_thread(t), s);
    kt_task_start(t, 0);
}

static int signal_open(struct kt_service *s, struct kt_err *err)
{
    struct kt_lua_signal *g = (struct kt_lua_signal *)s;
    return kt_signal_watch(kt_runtime_io(kt_service_runtime(s)), g->signum, on_signal, s, &g->signal, err);
}

static void signal_close(struct kt_service *s)
{
    kt_signal_close(((struct kt_lua_signal *)s)->signal);
}

/* core.on_signal("USR1", fn). The supervisor handles SIGHUP. If "INT" has a handler, the first SIGINT does not begin
 * the drain. */
static int watch_signal(lua_State *L)
{
    static const struct kt_service_ops ops = {
        .what = "kt.core.on_signal", .at = "for", .stays = true, .open = signal_open, .close = signal_close};
    static const char *const names[] = {"USR1", "USR2", "INT", NULL};
    static const int numbers[] = {SIGUSR1, SIGUSR2, SIGINT};
    char name[16];
    kt_declare_need(L, "kt.core.on_signal");
    int which = luaL_checkoption(L, 1, NULL, names);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    struct kt_lua_signal *g = kt_handle_push(L, "signal", sizeof *g, 0);
    g->signum = numbers[which];
    if (g->signum == SIGINT) kt_runtime_take_interrupt(kt_runtime_of(L));
    snprintf(name, sizeof name, "SIG%s", names[which]);
    kt_service_declare(L, &g->service, &ops, name);
    lua_pushvalue(L, 2);
    kt_service_set_handler(L, &g->service);
    return 0;
}

static int signal_gc(lua_State *L)
{
    return kt_service_gc(L, lua_touserdata(L, 1));
}

/* ---- the runtime ---- */

/* core.counters() → { {name, value}, … } in their fixed order */
static int counters(lua_State *L)
{
    struct kt_runtime *rt = kt_runtime_of(L);
    lua_newtable(L);
    const struct kt_stat *row;
    for (size_t i = 0; (row = kt_counter_row(i)); i++) {
        lua_createtable(L, 2, 0);
        lua_pushstring(L, row->name);
        lua_rawseti(L, -2, 1);
        lua_pushinteger(L, (lua_Integer)kt_counter_value(kt_runtime_counters(rt), i));
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* core.args([list]) → the arguments of the main chunk; list: sets them, for `kt check` */
static int args(lua_State *L)
{
    if (lua_istable(L, 1)) {
        lua_settop(L, 1);
        lua_setfield(L, LUA_REGISTRYINDEX, KT_RUNTIME_ARGS);
    }
    lua_getfield(L, LUA_REGISTRYINDEX, KT_RUNTIME_ARGS);
    return 1;
}

/* core.script_name() → as the log has it */
static int script_name(lua_State *L)
{
    lua_pushstring(L, kt_runtime_logger(kt_runtime_of(L))->name);
    return 1;
}

/* core.process() → { name, version, pid, uptime, log_level, ending }; what the control socket says of it, too */
static int process(lua_State *L)
{
    const struct kt_runtime *rt = kt_runtime_of(L);
    const struct kt_process *p = kt_runtime_process(rt);
    lua_createtable(L, 0, 6);
    lua_pushstring(L, kt_runtime_logger(rt)->name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, KT_VERSION);
    lua_setfield(L, -2, "version");
    lua_pushinteger(L, p->pid);
    lua_setfield(L, -2, "pid");
    lua_pushnumber(L, (double)(kt_io_now(kt_runtime_io(rt)) - p->born_us) / 1e6);
    lua_setfield(L, -2, "uptime");
    lua_pushstring(L, kt_log_level_name(kt_runtime_log(rt)->level));
    lua_setfield(L, -2, "log_level");
    lua_pushboolean(L, kt_runtime_phase(rt) > KT_RUN);
    lua_setfield(L, -2, "ending");
    return 1;
}

/* core.udp_limits() → the largest receive and send buffers of a UDP socket, in bytes; nothing if unknown */
static int udp_limits(lua_State *L)
{
    size_t receive, send;
    kt_io_udp_limits(kt_runtime_io(kt_runtime_of(L)), &receive, &send);
    if (receive == 0 || send == 0) return 0;
    lua_pushinteger(L, (lua_Integer)receive);
    lua_pushinteger(L, (lua_Integer)send);
    return 2;
}

/* core.asset(name) → the text of a file of the status page, or nil */
static int asset(lua_State *L)
{
    const char *name = lua_pushfstring(L, "page/%s", luaL_checkstring(L, 1));
    for (const struct kt_embedded *e = kt_embedded; e->module; e++) {
        if (strcmp(e->module, name) != 0) continue;
        lua_pushlstring(L, e->source, e->len);
        return 1;
    }
    return 0;
}

/* core.exit([code]): ends the runtime; does not return. */
static int exit_(lua_State *L)
{
    struct kt_runtime *rt = kt_runtime_of(L);
    int code = lua_isboolean(L, 1) ? !lua_toboolean(L, 1) : (int)luaL_optinteger(L, 1, 0);
    kt_runtime_stop(rt, code & 0xff);
    lua_pushliteral(L, "exit");
    return lua_error(L); /* unwinds the stack; not reported, as the runtime is exiting */
}

static int write_to(lua_State *L, int fd)
{
    struct kt_runtime *rt = kt_runtime_of(L);
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    kt_runtime_print(rt, fd, text, len);
    return 0;
}

static int stdout_(lua_State *L)
{
    return write_to(L, 1);
}

/* core.stdout_failed() → whether a write to the process's standard output has failed, as its reader has gone */
static int stdout_failed(lua_State *L)
{
    lua_pushboolean(L, ferror(stdout));
    return 1;
}

/* core.stderr_terminal() → whether standard error is a terminal. A simulated process has no TERM, and no terminal. */
static int stderr_terminal(lua_State *L)
{
    lua_pushboolean(L, kt_runtime_getenv(kt_runtime_of(L), "TERM") && isatty(2));
    return 1;
}

static int stderr_(lua_State *L)
{
    return write_to(L, 2);
}

/* core.log_text(text): writes text unchanged to the log's destination */
static int log_text(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    kt_logger_text(kt_runtime_logger(kt_runtime_of(L)), text, len);
    return 0;
}

/* core.log_level(name) → true | nil, err */
static int log_level(lua_State *L)
{
    enum kt_log_level level;
    const char *name = luaL_checkstring(L, 1);
    if (!kt_log_level_parse(name, &level))
        return kt_lua_err_return(L, KT_ECONFIG,
            lua_pushfstring(
                L, "unknown log level \"%s\"; expected one of debug, info, warn, error, quiet", name));
    kt_logger_set_level(kt_runtime_logger(kt_runtime_of(L)), level);
    lua_pushboolean(L, 1);
    return 1;
}

/* core.log_format(name) → true | nil, err */
static int log_format(lua_State *L)
{
    enum kt_log_format format;
    struct kt_err err = {0};
    const char *name = luaL_checkstring(L, 1);
    if (!kt_log_format_parse(name, &format))
        return kt_lua_err_return(L, KT_ECONFIG,
            lua_pushfstring(L, "unknown log format \"%s\"; expected one of text, json, journald", name));
    int rc = kt_logger_format(kt_runtime_logger(kt_runtime_of(L)), format, &err);
    if (rc) return kt_lua_err_return(L, rc, err.text);
    lua_pushboolean(L, 1);
    return 1;
}

/* core.log_file(path) → true | nil, err */
static int log_file(lua_State *L)
{
    struct kt_err err = {0};
    int rc = kt_logger_file(kt_runtime_logger(kt_runtime_of(L)), luaL_checkstring(L, 1), &err);
    if (rc) return kt_lua_err_return(L, rc, err.text);
    lua_pushboolean(L, 1);
    return 1;
}

/* core.control(path) → whether it fits: of the control socket, or "none" */
static int control(lua_State *L)
{
    lua_pushboolean(L, kt_runtime_set_control(kt_runtime_of(L), luaL_checkstring(L, 1)));
    return 1;
}

/* core.drain_timeout(duration): how long connections may continue after SIGTERM */
static int drain_timeout(lua_State *L)
{
    kt_runtime_set_drain(kt_runtime_of(L), kt_opts_duration(L, 1, "kt.core.drain_timeout"));
    return 0;
}

/* core.when_replaced(seconds | false): how long conns of this script may continue after a reload; false: no
 * limit */
static int when_replaced(lua_State *L)
{
    struct kt_runtime *rt = kt_declare_need(L, "kt.reload");
    kt_runtime_set_replaced_drain(
        rt, lua_toboolean(L, 1) ? kt_opts_duration(L, 1, "kt.core.when_replaced") : (uint64_t)KT_TIME_NEVER);
    return 0;
}

/* core.replaced() → whether a reload has replaced this script, which now only serves its remaining conns */
static int replaced(lua_State *L)
{
    lua_pushboolean(L, kt_runtime_replaced(kt_runtime_of(L)));
    return 1;
}

/* core.date(format) → the wall clock, formatted by strftime */
static int date(lua_State *L)
{
    time_t now = (time_t)(kt_io_wall(kt_runtime_io(kt_runtime_of(L))) / 1000000u);
    struct tm tm;
    localtime_r(&now, &tm);
    /* strftime returns 0 if the text does not fit, but also for ""; the added space tells these apart. */
    luaL_checkstring(L, 1);
    const char *format = lua_pushfstring(L, "%s ", lua_tostring(L, 1));
    for (size_t size = 512; size <= DATE_MAX; size *= 2) {
        luaL_Buffer b;
        luaL_buffinit(L, &b);
        const size_t len = strftime(luaL_prepbuffsize(&b, size), size, format, &tm);
        luaL_pushresultsize(&b, len ? len - 1 : 0);
        if (len) return 1;
        lua_pop(L, 1);
    }
    return luaL_error(L, "core.date: the text is longer than %d bytes", (int)DATE_MAX);
}

/* core.memory() → bytes held by the Lua state, their peak, number of tasks, number of conns and streams */
static int memory(lua_State *L)
{
    struct kt_runtime_usage usage;
    kt_runtime_usage(kt_runtime_of(L), &usage);
    lua_pushinteger(L, (lua_Integer)usage.memory);
    lua_pushinteger(L, (lua_Integer)usage.peak);
    lua_pushinteger(L, (lua_Integer)usage.tasks);
    lua_pushinteger(L, (lua_Integer)usage.pipes);
    return 4;
}

/* core.where() → "client.lua:3: ", the script's current line; "" if only modules in the binary are running */
static int where(lua_State *L)
{
    const struct kt_origin *o = kt_origin_here(L);
    if (o->line == 0 || kt_origin_embedded(o->source))
        lua_pushliteral(L, "");
    else
        lua_pushfstring(L, "%s:%d: ", o->source, o->line);
    return 1;
}

/* core.endpoint(text, allow) → true | nil, sentence; allow: any of "r" (port range), "u" (unix), "z" (port
 * 0), "h" (host required) */
static int endpoint(lua_State *L)
{
    const char *allow = luaL_optstring(L, 2, "");
    unsigned flags =
        (strchr(allow, 'r') ? KT_ENDPOINT_RANGE : 0) | (strchr(allow, 'u') ? KT_ENDPOINT_UNIX : 0) |
        (strchr(allow, 'z') ? KT_ENDPOINT_ZERO : 0) | (strchr(allow, 'h') ? KT_ENDPOINT_HOST : 0);
    struct kt_endpoint at;
    struct kt_err err = {0};
    if (kt_endpoint_parse(&at, luaL_checkstring(L, 1), flags, &err) == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, err.text);
    return 2;
}

void kt_lua_core(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"getenv", getenv_},
        {"read_file", read_file},
        {"create_file", create_file},
        {"examples", examples},
        {"on_signal", watch_signal},
        {"counters", counters},
        {"exit", exit_},
        {"args", args},
        {"script_name", script_name},
        {"process", process},
        {"udp_limits", udp_limits},
        {"asset", asset},
        {"stdout", stdout_},
        {"stdout_failed", stdout_failed},
        {"stderr", stderr_},
        {"stderr_terminal", stderr_terminal},
        {"log_format", log_format},
        {"log_level", log_level},
        {"log_file", log_file},
        {"log_text", log_text},
        {"control", control},
        {"drain_timeout", drain_timeout},
        {"when_replaced", when_replaced},
        {"replaced", replaced},
        {"date", date},
        {"memory", memory},
        {"where", where},
        {"endpoint", endpoint},
        {"install", kt_opts_install},
        {NULL, NULL},
    };
    kt_handle_type(L, &(struct kt_handle_type){.name = "signal", .gc = signal_gc});
    luaL_setfuncs(L, functions, 0);
    lua_pushstring(L, KT_VERSION);
    lua_setfield(L, -2, "version");
}
