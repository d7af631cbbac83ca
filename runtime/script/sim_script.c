/* Scripts on simulated hosts: each a runtime of its own, on a process of its host's, as `kt run` has it. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "link/link.h"
#include "script/config.h"
#include "script/script.h"
#include "script/service.h"
#include "script/sim_arena.h"
#include "script/sim_core.h"

#define MEMORY_DEFAULT (256u << 20) /* as kt run has it */
#define ARGS_MAX 256

struct script {
    struct kt_list node; /* w->scripts as long as there is a runtime */
    struct kt_lua_world *w;
    struct kt_sim_host *host;
    lua_Integer id;
    struct kt_io *io;
    struct kt_logger logger;
    struct kt_runtime *rt;
    struct kt_arena arena; /* the runtime's state */
    bool dead;             /* killed, or its host has crashed */
    char *env;             /* "NAME=value" after one another, each with its NUL, and one more */
};

/* ---- what it says ---- */

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
    struct text t = {data, len > 0 ? len - 1 : 0}; /* its newline */
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

/* ---- its end ---- */

static void free_script(struct script *s)
{
    kt_list_remove(&s->node);
    kt_runtime_free(s->rt);
    s->rt = NULL;
    if (s->io) kt_io_free(s->io);
    s->io = NULL;
    kt_arena_free(&s->arena);
    s->logger.io = NULL;
    kt_logger_close(&s->logger);
    free(s->env);
    s->env = NULL;
}

static int push_code(lua_State *L, void *ctx)
{
    lua_pushinteger(L, *(const int *)ctx);
    return 1;
}

void kt_lua_sim_scripts_reap(struct kt_lua_world *w, bool all)
{
    for (struct kt_list *n = w->scripts.next, *next; n != &w->scripts; n = next) {
        struct script *s = KT_CONTAINER(n, struct script, node);
        next = n->next;
        int code = 0;
        if (!all && !s->dead && !kt_sim_stopped(s->io)) continue;
        bool ended = !s->dead && kt_runtime_exited(s->rt, &code);
        lua_Integer id = s->id;
        free_script(s);
        if (ended) kt_lua_sim_dispatch(w, "ended", id, push_code, &code);
    }
}

void kt_lua_sim_scripts_crash(struct kt_lua_world *w, const struct kt_sim_host *h)
{
    for (struct kt_list *n = w->scripts.next; n != &w->scripts; n = n->next) {
        struct script *s = KT_CONTAINER(n, struct script, node);
        if (s->host == h) s->dead = true;
    }
}

/* ---- its beginning ---- */

/* The list of "NAME=value" at idx as one malloc'd block. */
static char *copy_env(lua_State *L, int idx)
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

/* 0, or a code with a sentence. */
static int start(struct script *s, const char *path, const char *module, bool unsafe, size_t memory, int argc,
    char **argv, struct kt_err *err)
{
    int rc = kt_sim_process(s->host, s->logger.name, &s->logger.log, &s->io, err);
    /* Twice the limit: blocks are larger than what is asked for, and freed ones wait for their like. */
    if (rc == 0) rc = kt_arena_init(&s->arena, 2 * memory);
    if (rc) return rc;
    s->logger.io = s->io;
    const struct kt_runtime_opts opts = {.io = s->io,
        .logger = &s->logger,
        .unsafe = unsafe,
        .memory = memory,
        .repeatable = true,
        .alloc = kt_arena_alloc,
        .alloc_ctx = &s->arena,
        .getenv = get_env,
        .getenv_ctx = s,
        .print = on_print,
        .print_ctx = s};
    rc = kt_runtime_new(&s->rt, &opts, err);
    if (rc) return rc;
    int code;
    rc = path ? kt_runtime_load_file(s->rt, path, argc, argv)
              : kt_runtime_load_module(s->rt, module, argc, argv);
    if (rc) return rc;
    if (!kt_runtime_exited(s->rt, &code)) return kt_runtime_open(s->rt);
    kt_io_stop(s->io); /* it has ended in its main chunk: to be reaped as any other */
    return 0;
}

static const char *string_field(lua_State *L, int idx, const char *name)
{
    lua_getfield(L, idx, name);
    const char *s = luaL_optstring(L, -1, NULL);
    lua_pop(L, 1); /* the table keeps it */
    return s;
}

/* world:start(host, { name =, path = | module =, args = {…}, env = { "NAME=value" }, unsafe =, memory =,
 * level = }) → script, id | nil, code, sentence, exit code if it ended by itself */
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
    char *argv[ARGS_MAX + 1] = {NULL};
    lua_getfield(L, 3, "args");
    int argc = (int)lua_rawlen(L, -1);
    if (argc > ARGS_MAX) return luaL_error(L, "at most %d arguments", ARGS_MAX);
    for (int i = 0; i < argc; i++) {
        lua_rawgeti(L, -1, i + 1);
        argv[i] = (char *)luaL_checkstring(L, -1);
        lua_pop(L, 1);
    }
    lua_getfield(L, 3, "env");

    struct script *s = lua_newuserdatauv(L, sizeof *s, 0);
    *s = (struct script){.w = w, .host = h, .id = ++w->ids};
    kt_list_init(&s->node);
    kt_logger_init(&s->logger, name ? name : path);
    s->logger.undated = true;
    s->logger.out = on_log;
    s->logger.ctx = s;
    if (level) kt_log_level_parse(level, &s->logger.log.level);
    luaL_setmetatable(L, KT_SIM_SCRIPT);
    s->env = copy_env(L, lua_gettop(L) - 1);

    lua_State *outer = w->L;
    w->L = L;
    struct kt_err err = {0};
    int rc = start(s, path, module, unsafe, memory > 0 ? (size_t)memory : MEMORY_DEFAULT, argc, argv, &err);
    w->L = outer;
    if (rc) { /* the message may be long */
        lua_pushnil(L);
        lua_pushstring(L, kt_errname(rc));
        lua_pushstring(L, err.text[0] || !s->rt ? err.text : kt_runtime_message(s->rt));
        free_script(s);
        return 3;
    }
    kt_list_push(&w->scripts, &s->node);
    lua_pushinteger(L, s->id);
    return 2;
}

/* ---- while it runs ---- */

static struct script *script_arg(lua_State *L)
{
    return luaL_checkudata(L, 1, KT_SIM_SCRIPT);
}

/* script:kill(): as by SIGKILL */
static int script_kill(lua_State *L)
{
    struct script *s = script_arg(L);
    if (!s->rt || s->dead) return 0;
    kt_sim_kill(s->io);
    s->dead = true;
    if (!s->w->L) kt_lua_sim_reap(s->w);
    return 0;
}

/* script:signal("TERM") → how many watch it */
static int script_signal(lua_State *L)
{
    static const char *const names[] = {"TERM", "INT", "HUP", "USR1", "USR2", NULL};
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    struct script *s = script_arg(L);
    int which = luaL_checkoption(L, 2, NULL, names);
    lua_pushinteger(L, s->rt && !s->dead ? (lua_Integer)kt_sim_signal(s->io, numbers[which]) : 0);
    return 1;
}

static void set_integer(lua_State *L, const char *name, uint64_t value)
{
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, name);
}

/* The figures that a script gets from link:stats, and which link it is. */
static void push_link(lua_State *L, const struct kt_service *s)
{
    struct kt_link_stats stats = {.since_heard_us = UINT64_MAX};
    s->ops->stats(s, &stats);
    kt_config_push_stats(L, &stats);
    lua_pushstring(L, s->ops->what);
    lua_setfield(L, -2, "what");
    lua_pushstring(L, s->name);
    lua_setfield(L, -2, "name");
}

/* script:usage() → { memory =, memory_peak =, tasks =, pipes =, counters = { name = n }, links = { … } } |
 * nil */
static int script_usage(lua_State *L)
{
    const struct script *s = script_arg(L);
    const struct kt_runtime *rt = s->rt;
    if (!rt) return 0;
    lua_createtable(L, 0, 6);
    set_integer(L, "memory", rt->lua_bytes);
    set_integer(L, "memory_peak", rt->lua_peak);
    set_integer(L, "tasks", rt->task_count);
    set_integer(L, "pipes", rt->pipes);
    lua_newtable(L);
    const char *name;
    for (size_t i = 0; (name = kt_counter_name(i)); i++)
        set_integer(L, name, kt_counter_value(rt->counters, i));
    lua_setfield(L, -2, "counters");
    lua_newtable(L);
    lua_Integer i = 0;
    for (const struct kt_list *n = rt->services.next; n != &rt->services; n = n->next) {
        const struct kt_service *service = KT_CONTAINER(n, struct kt_service, node);
        if (!service->ops->stats || !service->open) continue;
        push_link(L, service);
        lua_rawseti(L, -2, ++i);
    }
    lua_setfield(L, -2, "links");
    return 1;
}

static int script_gc(lua_State *L)
{
    struct script *s = script_arg(L);
    if (s->rt && !s->dead) kt_sim_kill(s->io);
    if (s->rt || s->env) free_script(s);
    return 0;
}

void kt_lua_sim_scripts(lua_State *L)
{
    static const luaL_Reg world[] = {{"start", world_start}, {NULL, NULL}};
    static const luaL_Reg script[] = {
        {"kill", script_kill}, {"signal", script_signal}, {"usage", script_usage}, {NULL, NULL}};
    luaL_setfuncs(L, world, 0);
    kt_lua_sim_class(L, KT_SIM_SCRIPT, script, script_gc);
}
