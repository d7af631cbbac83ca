/* Scripts on simulated hosts. Each runs under its own supervisor in a process of its host, as under `kt run`,
 * including signals and reloads.
 *
 * Invariant: a script is in w->scripts exactly while it has a supervisor; a dead one is freed by reap. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "control/control.h"
#include "link/link.h"
#include "script/api/bindings.h"
#include "script/api/config.h"
#include "script/core/fields.h"
#include "script/core/setup.h"
#include "script/core/state.h"
#include "script/sandbox/guard.h"
#include "script/core/service.h"
#include "script/sim/arena.h"
#include "script/sim/core.h"
#include "script/core/supervisor.h"

#define MEMORY_DEFAULT (256u << 20) /* the default of kt run */
#define ALLOW_MAX 32
#define ARGS_MAX 256

struct script {
    struct kt_list node; /* in w->scripts while it has a supervisor */
    struct kt_lua_world *w;
    struct kt_sim_host *host;
    lua_Integer id;
    struct kt_io *io;
    struct kt_logger logger;
    struct kt_supervisor *supervisor; /* NULL: not started, or ended */
    struct kt_control *control;       /* NULL: none */
    char *control_at;      /* as kt run --control; NULL: none, unless kt client or kt server has the flag */
    struct kt_arena arena; /* memory of its Lua states */
    bool dead;             /* killed, or its host has crashed */
    char *env;             /* NUL-terminated "NAME=value" strings, ended by an empty one */
    char *args;            /* its arguments, likewise */
    char *what;            /* path or module */
    char *modules;         /* as kt run --path; NULL: none */
    char *allow[2];        /* as kt run --allow-read and --allow-write, one after the other */
    const char *allowed[2][ALLOW_MAX + 1];
    char *argv[ARGS_MAX + 1]; /* into args */
};

/* ---- output ---- */

struct text {
    const char *data;
    size_t len;
};

static int push_text(lua_State *L, void *ctx)
{
    const struct text *t = ctx;
    lua_pushlstring(L, t->data, t->len);
    return 1;
}

static void on_log(void *ctx, const char *data, size_t len)
{
    struct script *s = ctx;
    struct text t = {data, len > 0 ? len - 1 : 0}; /* without the newline */
    kt_lua_sim_dispatch(s->w, "log", s->id, push_text, &t);
}

static void on_print(void *ctx, int fd, const char *data, size_t len)
{
    (void)fd;
    struct script *s = ctx;
    struct text t = {data, len};
    kt_lua_sim_dispatch(s->w, "print", s->id, push_text, &t);
}

static const char *get_env(void *ctx, const char *name)
{
    const struct script *s = ctx;
    size_t len = strlen(name);
    for (const char *e = s->env; e && *e; e += strlen(e) + 1)
        if (strncmp(e, name, len) == 0 && e[len] == '=') return e + len + 1;
    return NULL;
}

static void on_livelock(void *ctx, const char *text)
{
    const struct script *s = ctx;
    kt_sim_livelock(s->io, text);
}

/* ---- end ---- */

static void free_script(struct script *s)
{
    kt_list_remove(&s->node);
    kt_control_close(s->control);
    s->control = NULL;
    kt_supervisor_free(s->supervisor);
    s->supervisor = NULL;
    if (s->io) kt_io_free(s->io);
    s->io = NULL;
    kt_arena_free(&s->arena);
    kt_logger_set_io(&s->logger, NULL);
    kt_logger_close(&s->logger);
    free(s->env);
    free(s->args);
    free(s->what);
    free(s->modules);
    free(s->control_at);
    for (size_t i = 0; i < 2; i++) {
        free(s->allow[i]);
        s->allow[i] = NULL;
    }
    s->env = s->args = s->what = s->modules = s->control_at = NULL;
}

struct ended {
    int code;
    uint64_t failed; /* failed tasks */
};

static int push_ended(lua_State *L, void *ctx)
{
    const struct ended *e = ctx;
    lua_pushinteger(L, e->code);
    lua_pushinteger(L, (lua_Integer)e->failed);
    return 2;
}

void kt_lua_sim_scripts_reap(struct kt_lua_world *w, bool all)
{
    for (struct kt_list *n = w->scripts.next, *next; n != &w->scripts; n = next) {
        struct script *s = KT_CONTAINER(n, struct script, node);
        next = n->next;
        struct ended e = {0};
        if (!all && !s->dead && !kt_sim_stopped(s->io)) continue;
        bool ended = !s->dead && kt_supervisor_exited(s->supervisor, &e.code);
        if (ended) e.failed = kt_runtime_counters(kt_supervisor_runtime(s->supervisor))->TaskErrors;
        lua_Integer id = s->id;
        free_script(s);
        if (ended) kt_lua_sim_dispatch(w, "ended", id, push_ended, &e);
    }
}

void kt_lua_sim_scripts_crash(struct kt_lua_world *w, const struct kt_sim_host *h)
{
    for (struct kt_list *n = w->scripts.next; n != &w->scripts; n = n->next) {
        struct script *s = KT_CONTAINER(n, struct script, node);
        if (s->host == h) s->dead = true;
    }
}

/* ---- the control socket ---- */

static int on_loaded(void *ctx, struct kt_supervisor *sv, struct kt_err *err)
{
    struct script *s = ctx;
    const char *path = s->control_at ? s->control_at : kt_runtime_control(kt_supervisor_runtime(sv));
    if (!path || strcmp(path, "none") == 0) return 0;
    const struct kt_control_opts opts = {
        .io = s->io, .sv = sv, .path = path, .name = s->logger.name, .pid = (long)s->id};
    return kt_control_open(&opts, &s->control, err);
}

static void on_reloaded(void *ctx, int code, const char *text)
{
    kt_control_reloaded(((const struct script *)ctx)->control, code, text);
}

/* ---- start ---- */

/* Copies the list of strings at idx into one malloc'd block. */
static char *copy_list(lua_State *L, int idx)
{
    size_t len = 1, n = (size_t)lua_rawlen(L, idx);
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(L, idx, (lua_Integer)i);
        len += strlen(luaL_checkstring(L, -1)) + 1;
        lua_pop(L, 1);
    }
    char *out = calloc(1, len), *at = out;
    for (size_t i = 1; out && i <= n; i++) {
        lua_rawgeti(L, idx, (lua_Integer)i);
        at = stpcpy(at, lua_tostring(L, -1)) + 1;
        lua_pop(L, 1);
    }
    return out;
}

/* Returns 0, or a code and sets err. */
static int start(struct script *s, bool is_module, bool unsafe, size_t memory, int argc, struct kt_err *err)
{
    if (!s->env || !s->args || !s->what) return kt_err_set(err, KT_ENOMEM, "out of memory");
    int rc = kt_sim_process(s->host, s->logger.name, &s->logger.log, &s->io, err);
    /* Reserve several times the limit: blocks are rounded up, freed ones are reused only for the same size,
     * and a replaced script may still be there. */
    if (rc == 0) rc = kt_arena_init(&s->arena, 4 * memory);
    if (rc) return kt_err_set(err, rc, "%s", err->text[0] ? err->text : kt_strerror(rc));
    kt_logger_set_io(&s->logger, s->io);
    char *at = s->args;
    for (int i = 0; i < argc; i++, at += strlen(at) + 1) s->argv[i] = at;
    const struct kt_supervisor_opts opts = {
        .runtime = {.io = s->io,
            .logger = &s->logger,
            .bind = kt_api_bind,
            .unsafe = unsafe,
            .path = s->modules,
            .allow = {.read = s->allowed[0], .write = s->allowed[1], .env_all = true},
            .memory = memory,
            .repeatable = true,
            .alloc = kt_arena_alloc,
            .alloc_ctx = &s->arena,
            .getenv = get_env,
            .getenv_ctx = s,
            .livelock = on_livelock,
            .livelock_ctx = s,
            .print = on_print,
            .print_ctx = s},
        .file = is_module ? NULL : s->what,
        .module = is_module ? s->what : NULL,
        .argc = argc,
        .argv = s->argv,
        .loaded = on_loaded,
        .reloaded = on_reloaded,
        .ctx = s,
        .phrases = s->w->phrases};
    rc = kt_supervisor_new(&s->supervisor, &opts, err);
    if (rc == 0) rc = kt_supervisor_start(s->supervisor);
    int code;
    /* If it exited in its main chunk, let it be reaped like any other. */
    if (rc == 0 && kt_supervisor_exited(s->supervisor, &code)) kt_io_stop(s->io);
    return rc;
}

static const char *string_field(lua_State *L, int idx, const char *name)
{
    lua_getfield(L, idx, name);
    const char *s = luaL_optstring(L, -1, NULL);
    lua_pop(L, 1); /* the table keeps it */
    return s;
}

/* The folders in the list `name` of the table at 3. */
static void read_allowed(lua_State *L, struct script *s, size_t which, const char *name)
{
    if (lua_getfield(L, 3, name) == LUA_TTABLE) {
        const size_t n = lua_rawlen(L, -1);
        s->allow[which] = copy_list(L, lua_gettop(L));
        const char *at = s->allow[which];
        for (size_t i = 0; at && i < n && i < ALLOW_MAX; i++, at += strlen(at) + 1) s->allowed[which][i] = at;
    }
    lua_pop(L, 1);
}

/* world:start(host, { name =, path = | module =, modules =, args = {…}, env = { "NAME=value" }, unsafe =, memory =,
 * level =, control = }) → script, id, the exit code if it exited in its main chunk | nil, code, sentence */
static int world_start(lua_State *L)
{
    struct kt_lua_world *w = kt_lua_sim_world_arg(L);
    struct kt_sim_host *h = kt_lua_sim_host_arg(L, w, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    const char *path = string_field(L, 3, "path"), *module = string_field(L, 3, "module");
    const char *level = string_field(L, 3, "level");
    const char *name = string_field(L, 3, "name");
    lua_Number memory = kt_lua_sim_number(L, 3, "memory");
    lua_getfield(L, 3, "unsafe");
    bool unsafe = lua_toboolean(L, -1);
    lua_getfield(L, 3, "args");
    int argc = (int)lua_rawlen(L, -1);
    if (argc > ARGS_MAX) return luaL_error(L, "at most %d arguments", ARGS_MAX);
    lua_getfield(L, 3, "env");

    struct script *s = lua_newuserdatauv(L, sizeof *s, 0);
    *s = (struct script){.w = w, .host = h, .id = ++w->ids};
    kt_list_init(&s->node);
    kt_logger_init(&s->logger, name ? name : path ? path : "");
    kt_logger_simulate(&s->logger);
    kt_logger_to(&s->logger, on_log, s);
    enum kt_log_level least;
    if (level && kt_log_level_parse(level, &least)) kt_logger_set_level(&s->logger, least);
    luaL_setmetatable(L, KT_SIM_SCRIPT);
    s->env = copy_list(L, lua_gettop(L) - 1);
    s->args = copy_list(L, lua_gettop(L) - 2);
    s->what = strdup(path ? path : module ? module : "");
    const char *modules = string_field(L, 3, "modules");
    s->modules = modules ? strdup(modules) : NULL;
    const char *control = string_field(L, 3, "control");
    s->control_at = control ? strdup(control) : NULL;
    read_allowed(L, s, 0, "allow_read");
    read_allowed(L, s, 1, "allow_write");

    lua_State *outer = w->L;
    w->L = L;
    struct kt_err err = {0};
    int rc = start(s, !path, unsafe, memory > 0 ? (size_t)memory : MEMORY_DEFAULT, argc, &err);
    w->L = outer;
    if (rc) { /* the message may be long */
        lua_pushnil(L);
        lua_pushstring(L, kt_errname(rc));
        lua_pushstring(L, err.text[0] || !s->supervisor ? err.text : kt_supervisor_message(s->supervisor));
        free_script(s);
        return 3;
    }
    kt_list_push(&w->scripts, &s->node);
    lua_pushinteger(L, s->id);
    int code;
    if (!kt_supervisor_exited(s->supervisor, &code)) return 2;
    lua_pushinteger(L, code);
    return 3;
}

/* ---- while it runs ---- */

/* world:turns() → a list of { name =, host =, turns = } for the running scripts */
static int world_turns(lua_State *L)
{
    struct kt_lua_world *w = kt_lua_sim_world_arg(L);
    lua_newtable(L);
    lua_Integer i = 0;
    for (const struct kt_list *n = w->scripts.next; n != &w->scripts; n = n->next) {
        const struct script *s = KT_CONTAINER(n, struct script, node);
        lua_createtable(L, 0, 3);
        kt_field_string(L, "name", s->what);
        kt_field_string(L, "host", kt_sim_host_name(s->host));
        kt_field_integer(L, "turns", (lua_Integer)kt_sim_turns(s->io));
        lua_rawseti(L, -2, ++i);
    }
    return 1;
}

static struct script *script_arg(lua_State *L)
{
    return luaL_checkudata(L, 1, KT_SIM_SCRIPT);
}

/* script:kill(): like SIGKILL */
static int script_kill(lua_State *L)
{
    struct script *s = script_arg(L);
    if (!s->supervisor || s->dead) return 0;
    kt_sim_kill(s->io);
    s->dead = true;
    if (!s->w->L) kt_lua_sim_reap(s->w);
    return 0;
}

/* script:signal("TERM") → the number of watchers that got it */
static int script_signal(lua_State *L)
{
    static const char *const names[] = {"TERM", "INT", "HUP", "USR1", "USR2", NULL};
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    struct script *s = script_arg(L);
    int which = luaL_checkoption(L, 2, NULL, names);
    lua_pushinteger(L, s->supervisor && !s->dead ? (lua_Integer)kt_sim_signal(s->io, numbers[which]) : 0);
    return 1;
}

/* Pushes the table of link:stats, with the link's type and name. */
static void push_link(lua_State *L, const struct kt_service *s, const struct kt_link_stats *stats)
{
    kt_config_push_stats(L, stats);
    kt_field_string(L, "what", kt_service_what(s));
    kt_field_string(L, "name", kt_service_name(s));
}

/* Resources held by the current and the replaced scripts of one supervisor. */
struct usage {
    uint64_t memory, peak, tasks, pipes;
};

/* Adds a runtime's resources, and appends its links to the list on top of the stack. */
static void add_usage(lua_State *L, struct usage *u, const struct kt_runtime *rt)
{
    struct kt_runtime_usage usage;
    kt_runtime_usage(rt, &usage);
    u->memory += usage.memory;
    u->peak += usage.peak;
    u->tasks += usage.tasks;
    u->pipes += usage.pipes;
    lua_Integer i = (lua_Integer)lua_rawlen(L, -1);
    for (const struct kt_service *service = NULL; (service = kt_service_next(rt, service));) {
        struct kt_link_stats stats = {.since_heard_us = UINT64_MAX};
        if (!kt_service_stats(service, &stats)) continue;
        push_link(L, service, &stats);
        lua_rawseti(L, -2, ++i);
    }
}

/* script:usage() → { memory =, memory_peak =, tasks =, pipes =, replaced =, counters = { name = n }, links =
 * { … } } | nil. Includes the scripts replaced by reloads that still have conns; `replaced` is their
 * number. */
static int script_usage(lua_State *L)
{
    const struct script *s = script_arg(L);
    if (!s->supervisor) return 0;
    const struct kt_runtime *now = kt_supervisor_runtime(s->supervisor), *old;
    struct usage u = {0};
    lua_createtable(L, 0, 7);
    lua_newtable(L);
    add_usage(L, &u, now);
    size_t replaced = 0;
    for (; (old = kt_supervisor_replaced(s->supervisor, replaced)); replaced++) add_usage(L, &u, old);
    lua_setfield(L, -2, "links");
    kt_field_integer(L, "memory", u.memory);
    kt_field_integer(L, "memory_peak", u.peak);
    kt_field_integer(L, "tasks", u.tasks);
    kt_field_integer(L, "pipes", u.pipes);
    kt_field_integer(L, "replaced", replaced);
    lua_newtable(L);
    const struct kt_stat *row;
    for (size_t i = 0; (row = kt_counter_row(i)); i++)
        kt_field_integer(L, row->name, kt_counter_value(kt_runtime_counters(now), i));
    lua_setfield(L, -2, "counters");
    return 1;
}

/* Runs protected in the script's state: pushes the result of kt.pool.report, or nil if it was never loaded.
 * That is our own code, which builds a new table: nothing of the script is passed on. */
static int collect_pools(lua_State *L)
{
    kt_state_push_module(L, "kt.pool.report");
    if (!lua_istable(L, -1)) return 1;
    lua_getfield(L, -1, "all");
    lua_call(L, 0, 1);
    return 1;
}

/* Pushes onto `to` a copy of the value on top of `from`: plain data in nested tables. */
static void copy_value(lua_State *from, lua_State *to)
{
    size_t len;
    const char *s;
    luaL_checkstack(to, 8, NULL);
    switch (lua_type(from, -1)) {
    case LUA_TBOOLEAN:
        lua_pushboolean(to, lua_toboolean(from, -1));
        return;
    case LUA_TNUMBER:
        if (lua_isinteger(from, -1))
            lua_pushinteger(to, lua_tointeger(from, -1));
        else
            lua_pushnumber(to, lua_tonumber(from, -1));
        return;
    case LUA_TSTRING:
        s = lua_tolstring(from, -1, &len);
        lua_pushlstring(to, s, len);
        return;
    case LUA_TTABLE:
        lua_newtable(to);
        for (lua_pushnil(from); lua_next(from, -2); lua_pop(from, 1)) {
            lua_pushvalue(from, -2);
            copy_value(from, to);
            lua_pop(from, 1);
            copy_value(from, to);
            lua_rawset(to, -3);
        }
        return;
    default:
        lua_pushboolean(to, false);
    }
}

/* script:pools() → the state of its pools | nil */
static int script_pools(lua_State *L)
{
    const struct script *s = script_arg(L);
    if (!s->supervisor || s->dead) return 0;
    struct kt_runtime *rt = kt_supervisor_runtime(s->supervisor);
    lua_State *from = kt_runtime_state(rt);
    struct kt_guard *g = kt_runtime_guard(rt);
    if (!from || !lua_checkstack(from, 16)) return 0;
    /* A spec's task may call this while the script prints; then it is part of the running slice. */
    const bool nested = kt_guard_running(g);
    const int top = lua_gettop(from);
    if (!nested) kt_guard_begin(g, from, KT_MAIN_STOP_US);
    lua_pushcfunction(from, collect_pools);
    int status = lua_pcall(from, 0, 1, 0);
    if (!nested) kt_guard_end(g, NULL);
    if (status == LUA_OK && lua_istable(from, -1))
        copy_value(from, L);
    else
        lua_newtable(L);
    lua_settop(from, top);
    if (status == LUA_OK) return 1;
    return luaL_error(L, "the script has no memory left to report its pools");
}

static int script_gc(lua_State *L)
{
    struct script *s = script_arg(L);
    if (s->supervisor && !s->dead) kt_sim_kill(s->io);
    if (s->supervisor || s->env || s->args) free_script(s);
    return 0;
}

void kt_lua_sim_scripts(lua_State *L)
{
    static const luaL_Reg world[] = {{"start", world_start}, {"turns", world_turns}, {NULL, NULL}};
    static const luaL_Reg script[] = {{"kill", script_kill}, {"signal", script_signal},
        {"usage", script_usage}, {"pools", script_pools}, {NULL, NULL}};
    luaL_setfuncs(L, world, 0);
    kt_lua_sim_class(L, KT_SIM_SCRIPT, script, script_gc);
}
