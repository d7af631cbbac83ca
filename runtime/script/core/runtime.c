/* Makes a runtime, loads its script, opens its services, or lets them take over from another runtime. life.c
 * ends it.
 *
 * Invariant: nothing is open before the whole main chunk has run, and a reload that fails changes nothing. */
#include "script/core/runtime.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/err.h"
#include "base/log.h"
#include "io/io.h"
#include "script/core/errors.h"
#include "script/core/failure.h"
#include "script/core/garbage.h"
#include "script/core/keep.h"
#include "script/core/life.h"
#include "script/core/logger.h"
#include "script/core/options.h"
#include "script/core/parts.h"
#include "script/core/service.h"
#include "script/core/setup.h"
#include "script/core/state.h"
#include "script/core/task.h"
#include "script/sandbox/guard.h"
#include "script/sandbox/sandbox.h"

#define CHECK_TELLS "\n  run kt check to list all mistakes"

struct kt_begun {
    uint64_t main_us; /* time limit of the main chunk */
    char *message;    /* why load or open failed, or NULL */
    struct kt_turn release;
};

/* ---- what the sandbox asks of the runtime ---- */

static void host_print(void *ctx, int fd, const char *text, size_t len)
{
    struct kt_runtime *rt = ctx;
    kt_runtime_print(rt, fd, text, len);
}

static const char *host_getenv(void *ctx, const char *name)
{
    struct kt_runtime *rt = ctx;
    return kt_runtime_getenv(rt, name);
}

static bool host_exit(void *ctx, int code)
{
    struct kt_runtime *rt = ctx;
    if (kt_runtime_phase(rt) == KT_END) return false;
    kt_runtime_stop(rt, code);
    return true;
}

static bool host_owns(lua_State *co)
{
    return kt_task_thread(kt_task_of(co)) == co;
}

/* ---- new and free ---- */

static int set_up(struct kt_runtime *rt, const struct kt_runtime_opts *opts)
{
    rt->begun = calloc(1, sizeof *rt->begun);
    if (!rt->begun) return KT_ENOMEM;
    rt->begun->main_us = opts->main_us ? opts->main_us : KT_MAIN_STOP_US;
    return kt_setup_new(rt, opts);
}

static int make_parts(struct kt_runtime *rt, const struct kt_runtime_opts *opts)
{
    int rc = set_up(rt, opts);
    if (rc == 0) rc = kt_life_new(rt, opts->ended, opts->ended_ctx);
    if (rc == 0) rc = kt_services_new(rt);
    if (rc == 0) rc = kt_failures_new(rt);
    if (rc == 0) rc = kt_tasks_new(rt, opts->livelock, opts->livelock_ctx);
    if (rc == 0) rc = kt_opts_new(rt);
    if (rc == 0) rc = kt_garbage_new(rt, opts->repeatable);
    if (rc) return rc;
    return kt_state_new(rt, &(struct kt_sandbox_opts){.host = {.ctx = rt,
                                                          .print = host_print,
                                                          .getenv = host_getenv,
                                                          .exit = host_exit,
                                                          .owns = host_owns},
                                .io = rt->io,
                                .log = rt->log,
                                .unsafe = opts->unsafe,
                                .repeatable = opts->repeatable,
                                .child_fds = opts->child_fds,
                                .memory = opts->memory,
                                .alloc = opts->alloc,
                                .alloc_ctx = opts->alloc_ctx});
}

static void free_parts(struct kt_runtime *rt)
{
    kt_state_free(rt);
    kt_garbage_free(rt);
    kt_opts_free(rt);
    kt_tasks_free(rt);
    kt_failures_free(rt);
    kt_services_free(rt);
    kt_life_free(rt);
    kt_setup_free(rt);
    if (rt->begun) free(rt->begun->message);
    free(rt->begun);
    free(rt);
}

int kt_runtime_new(struct kt_runtime **out, const struct kt_runtime_opts *opts, struct kt_err *err)
{
    struct kt_runtime *rt = calloc(1, sizeof *rt);
    int rc = KT_ENOMEM;
    if (rt) {
        rt->io = opts->io;
        rt->log = &opts->logger->log;
        rc = make_parts(rt, opts);
    }
    if (rc == 0) {
        *out = rt;
        return 0;
    }
    if (rt && rt->L)
        kt_runtime_free(rt);
    else if (rt)
        free_parts(rt);
    return kt_err_set(err, rc, "%s%s", kt_strerror(rc),
        opts->memory ? ": the memory limit is too low for a script to start" : "");
}

static void release(void *ctx)
{
    free_parts(ctx);
}

void kt_runtime_free(struct kt_runtime *rt)
{
    if (!rt) return;
    kt_life_enter(rt, KT_END);
    kt_tasks_end(rt);
    kt_services_close(rt);
    kt_state_close(rt);
    /* Links and acceptors end in turn hooks queued before this one, and still use the counters there. */
    kt_turn_init(&rt->begun->release, release, rt);
    kt_io_turn(rt->io, &rt->begun->release);
}

const char *kt_runtime_message(const struct kt_runtime *rt)
{
    return rt->begun->message ? rt->begun->message : "out of memory";
}

static int set_message(struct kt_runtime *rt, int code, const char *text)
{
    free(rt->begun->message);
    rt->begun->message = text ? strdup(text) : NULL;
    return code;
}

/* ---- load ---- */

/* Prefixes the message on top of the stack with its line, unless it has one. */
static void place(lua_State *L, const lua_Debug *ar, bool text)
{
    const size_t len = strlen(ar->short_src);
    if (text && strncmp(lua_tostring(L, -1), ar->short_src, len) != 0) return; /* error(…, 0) */
    if (!text) {
        lua_pushfstring(L, "%s:%d: ", ar->short_src, ar->currentline);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    /* kt check does not help in a spec, and does not know the previous script's kept values. */
    if (kt_runtime_repeatable(kt_runtime_of(L)) || kt_keep_refused(L)) return;
    lua_pushliteral(L, CHECK_TELLS);
    lua_concat(L, 2);
}

/* Message handler: the message, the script's callers if any, and a hint at kt check. */
static int explain(lua_State *L)
{
    const bool text = lua_type(L, 1) == LUA_TSTRING;
    kt_lua_err_raised(L, 1);
    if (kt_life_exiting(kt_runtime_of(L))) return 1;
    lua_Debug ar, first;
    int lines = 0;
    for (int level = 1; lines < 12 && lua_getstack(L, level, &ar); level++) {
        if (!lua_getinfo(L, "Sln", &ar) || ar.currentline <= 0 || kt_origin_embedded(ar.short_src)) continue;
        if (lines++ == 0) {
            first = ar;
            continue;
        }
        lua_pushfstring(L, "\n  called from %s:%d", ar.short_src, ar.currentline);
        lua_concat(L, 2);
    }
    if (lines) place(L, &first, text);
    return 1;
}

struct main_chunk {
    const char *path;   /* either this */
    const char *module; /* or this */
    int argc;
    char **argv;
};

/* kt run --http */
static void serve_status(lua_State *L, const struct kt_process *p)
{
    if (!p->http) return;
    kt_state_require(L, "kt.cli.http");
    lua_pushstring(L, p->http);
    lua_pushstring(L, p->http_token);
    lua_call(L, 2, 0);
}

/* Loads the chunk and calls it. Runs protected, as any step may run out of memory. */
static int load_and_call(lua_State *L)
{
    const struct main_chunk *m = lua_touserdata(L, 1);
    struct kt_runtime *rt = kt_runtime_of(L);
    int status = m->path ? kt_state_load_file(rt, m->path) : kt_state_load_module(rt, m->module);
    if (status != LUA_OK) return lua_error(L);
    luaL_checkstack(L, m->argc + 8, "too many arguments");
    lua_createtable(L, m->argc, 0);
    for (int i = 0; i < m->argc; i++) {
        lua_pushstring(L, m->argv[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, LUA_REGISTRYINDEX, KT_RUNTIME_ARGS);
    for (int i = 0; i < m->argc; i++) lua_pushstring(L, m->argv[i]);
    lua_call(L, m->argc, 0);
    serve_status(L, kt_runtime_process(rt));
    return 0;
}

/* Lua's "not enough memory" names neither the limit nor how to raise it. */
static int set_memory_message(struct kt_runtime *rt)
{
    char text[160];
    kt_guard_memory_text(rt->guard, text, sizeof text);
    return set_message(rt, KT_ENOMEM, text);
}

static int call_main(struct kt_runtime *rt, struct main_chunk *m)
{
    lua_State *L = rt->L;
    struct kt_guard *g = rt->guard;
    lua_pushcfunction(L, explain);
    lua_pushcfunction(L, load_and_call);
    lua_pushlightuserdata(L, m);
    kt_guard_begin(g, L, rt->begun->main_us);
    int status = lua_pcall(L, 1, 0, 1);
    int rc = 0;
    if (status != LUA_OK && !kt_life_exiting(rt)) {
        const char *text = kt_guard_stopped(g) ? kt_guard_text(L) : lua_tostring(L, -1);
        rc = status == LUA_ERRMEM && !kt_guard_stopped(g) ? set_memory_message(rt)
                                                          : set_message(rt, KT_ECONFIG, text);
    }
    kt_guard_end(g, NULL);
    lua_settop(L, 0);
    return rc;
}

int kt_runtime_load_file(struct kt_runtime *rt, const char *path, int argc, char **argv)
{
    return call_main(rt, &(struct main_chunk){.path = path, .argc = argc, .argv = argv});
}

int kt_runtime_load_module(struct kt_runtime *rt, const char *module, int argc, char **argv)
{
    int rc = call_main(rt, &(struct main_chunk){.module = module, .argc = argc, .argv = argv});
    if (rc == 0 && !kt_life_exiting(rt) && kt_guard_wipes(rt->guard)) lua_gc(rt->L, LUA_GCCOLLECT);
    kt_guard_wipe(rt->guard, false);
    return rc;
}

/* ---- open ---- */

static int cannot_open(struct kt_runtime *rt, const struct kt_service *s, int rc, const struct kt_err *err)
{
    char text[640];
    const struct kt_origin *o = kt_service_origin(s);
    if (kt_origin_embedded(o->source))
        snprintf(text, sizeof text, "%s", err->text);
    else
        snprintf(text, sizeof text, "%s:%d: %s: %s", o->source, o->line, kt_service_what(s), err->text);
    return set_message(rt, rc, text);
}

/* Claims a service of the old runtimes that holds the address of s. */
static int claim(
    struct kt_service *s, struct kt_runtime *const *old, size_t n, bool *found, struct kt_err *err)
{
    *found = false;
    if (kt_service_is_closed(s)) return 0;
    for (size_t i = 0; i < n; i++) {
        int rc = kt_service_claim(s, old[i], found, err);
        if (*found) return rc;
    }
    return 0;
}

/* Opens or claims every declared service. Claimed ones are opened later, by kt_service_inherit. */
static int open_all(struct kt_runtime *rt, struct kt_runtime *const *old, size_t n, struct kt_replaced *out)
{
    for (struct kt_service *s = NULL; (s = kt_service_next(rt, s));) {
        struct kt_err err = {0};
        bool found;
        int rc = kt_service_ready(s, &err);
        if (rc == 0) rc = claim(s, old, n, &found, &err);
        if (rc == 0 && !found) rc = kt_service_open(s, &err);
        if (rc) return cannot_open(rt, s, rc, &err);
        if (kt_service_has_heirs(s)) found ? out->kept++ : out->opened++;
    }
    if (!kt_runtime_has_work(rt)) return set_message(rt, KT_ECONFIG, KT_NO_WORK);
    return 0;
}

int kt_runtime_open(struct kt_runtime *rt)
{
    struct kt_replaced none = {0};
    if (kt_life_exiting(rt)) return 0;
    int rc = open_all(rt, NULL, 0, &none);
    if (rc == 0) kt_life_enter(rt, KT_RUN);
    return rc;
}

void kt_runtime_usage(const struct kt_runtime *rt, struct kt_runtime_usage *out)
{
    const struct kt_guard *g = rt->guard;
    *out = (struct kt_runtime_usage){.memory = kt_guard_bytes(g),
        .peak = kt_guard_peak(g),
        .tasks = kt_tasks_count(rt),
        .pipes = kt_runtime_holds(rt)};
}

struct kt_tap *kt_runtime_tap(const struct kt_runtime *rt, const char *name)
{
    return kt_services_tap(rt, name);
}

/* ---- reload ---- */

int kt_runtime_replace(
    struct kt_runtime *rt, struct kt_runtime *const *old, size_t n, struct kt_replaced *out)
{
    *out = (struct kt_replaced){0};
    int rc = open_all(rt, old, n, out);
    if (rc) return rc;
    /* From here on nothing fails. */
    kt_life_enter(rt, KT_RUN);
    for (struct kt_service *s = NULL; (s = kt_service_next(rt, s));) {
        if (kt_service_claims(s)) kt_service_inherit(s);
    }
    struct kt_runtime *was = old[0];
    const bool offers = kt_runtime_has_tasks(rt);
    *(offers ? &out->offered : &out->closed) = kt_services_with_heirs(was);
    out->pipes = kt_runtime_pipes(was);
    kt_declared_let_go(was);
    out->drain_us = kt_life_hand_over(was, offers ? KT_OFFER_US : 0);
    return 0;
}
