/* The life cycle of a runtime: load, open or replace, run, drain, end.
 *
 * Invariant: nothing is open before the whole main chunk has run, and a reload that fails changes nothing. */
#include "script/core/runtime.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "script/core/logger.h"
#include "script/core/parts.h"
#include "script/core/service.h"

#define CHECK_TELLS "\n  run kt check to list all mistakes"
#define DRAIN_US 5000000u
#define DRAIN_TICK_US 20000u
#define DRAIN_TICK_MAX_US 1000000u
#define LINGER_US 1000000u
#define CUT_US 1000000u /* time for resets to reach the peers */

void kt_print_to_process(void *ctx, int fd, const char *text, size_t len)
{
    (void)ctx;
    FILE *f = fd == 2 ? stderr : stdout;
    fwrite(text, 1, len, f);
    fflush(f);
}

static const char *process_env(void *ctx, const char *name)
{
    (void)ctx;
    return getenv(name);
}

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
    if (rt->phase == KT_END) return false;
    kt_runtime_stop(rt, code);
    return true;
}

static bool host_owns(lua_State *co)
{
    return kt_task_of(co)->L == co;
}

/* ---- what others read of it ---- */

struct kt_io *kt_runtime_io(const struct kt_runtime *rt)
{
    return rt->io;
}

struct kt_logger *kt_runtime_logger(const struct kt_runtime *rt)
{
    return rt->logger;
}

const struct kt_log *kt_runtime_log(const struct kt_runtime *rt)
{
    return rt->log;
}

struct kt_counters *kt_runtime_counters(const struct kt_runtime *rt)
{
    return rt->counters;
}

struct kt_starts *kt_runtime_starts(const struct kt_runtime *rt)
{
    return rt->starts;
}

bool kt_runtime_repeatable(const struct kt_runtime *rt)
{
    return rt->repeatable;
}

void kt_runtime_print(const struct kt_runtime *rt, int fd, const char *text, size_t len)
{
    rt->print(rt->print_ctx, fd, text, len);
}

const char *kt_runtime_getenv(const struct kt_runtime *rt, const char *name)
{
    return rt->getenv(rt->getenv_ctx, name);
}

lua_State *kt_runtime_state(const struct kt_runtime *rt)
{
    return rt->L;
}

struct kt_guard *kt_runtime_guard(struct kt_runtime *rt)
{
    return &rt->sandbox.guard;
}

bool kt_runtime_checking(const struct kt_runtime *rt)
{
    return rt->checking;
}

void kt_runtime_check(struct kt_runtime *rt)
{
    rt->checking = true;
}

enum kt_phase kt_runtime_phase(const struct kt_runtime *rt)
{
    return rt->phase;
}

bool kt_runtime_replaced(const struct kt_runtime *rt)
{
    return rt->replaced;
}

bool kt_runtime_attends(const struct kt_runtime *rt)
{
    return rt->phase == KT_RUN || (rt->phase == KT_DRAIN && rt->replaced);
}

void kt_runtime_set_drain(struct kt_runtime *rt, uint64_t us)
{
    rt->drain_us = us;
}

void kt_runtime_set_replaced_drain(struct kt_runtime *rt, uint64_t us)
{
    rt->replaced_us = us;
}

void kt_runtime_hold_pipes(struct kt_runtime *rt, int change)
{
    rt->pipes = (size_t)((ptrdiff_t)rt->pipes + change);
}

bool kt_runtime_pipes_full(const struct kt_runtime *rt)
{
    return rt->pipes >= KT_PIPES_MAX;
}

const struct kt_origin *kt_origin_here(struct kt_runtime *rt, lua_State *L)
{
    return kt_origin_find(&rt->origins, L);
}

/* ---- new and free ---- */

static void drain_tick(void *ctx);

int kt_runtime_new(struct kt_runtime **out, const struct kt_runtime_opts *opts, struct kt_err *err)
{
    uint64_t seed;
    struct kt_runtime *rt = calloc(1, sizeof *rt);
    if (!rt) return kt_err_set(err, KT_ENOMEM, "%s", kt_strerror(KT_ENOMEM));
    rt->io = opts->io;
    rt->logger = opts->logger;
    rt->log = &opts->logger->log;
    rt->repeatable = opts->repeatable;
    rt->getenv = opts->getenv ? opts->getenv : process_env;
    rt->getenv_ctx = opts->getenv_ctx;
    rt->print = opts->print ? opts->print : kt_print_to_process;
    rt->print_ctx = opts->print_ctx;
    rt->main_us = opts->main_us ? opts->main_us : KT_MAIN_STOP_US;
    rt->counters = opts->counters ? opts->counters : &rt->own_counters;
    rt->starts = opts->starts ? opts->starts : &rt->own_starts;
    kt_io_random(rt->io, &seed, sizeof seed);
    kt_starts_init(&rt->own_starts, seed);
    rt->ended = opts->ended;
    rt->ended_ctx = opts->ended_ctx;
    rt->drain_us = DRAIN_US;
    rt->replaced_us = KT_TIME_NEVER;
    kt_timer_init(&rt->drain_tick, drain_tick, rt);
    int rc = kt_services_new(rt);
    if (rc == 0) rc = kt_failures_new(rt);
    if (rc == 0) rc = kt_tasks_new(rt, opts->livelock, opts->livelock_ctx);
    if (rc == 0) rc = kt_state_new(rt,
        &(struct kt_sandbox_opts){
            .host =
                {.ctx = rt, .print = host_print, .getenv = host_getenv, .exit = host_exit, .owns = host_owns},
            .io = rt->io,
            .log = rt->log,
            .unsafe = opts->unsafe,
            .repeatable = opts->repeatable,
            .child_fds = opts->child_fds,
            .memory = opts->memory,
            .alloc = opts->alloc,
            .alloc_ctx = opts->alloc_ctx,
        });
    if (rc) {
        kt_runtime_free(rt);
        return kt_err_set(err, rc, "%s%s", kt_strerror(rc),
            opts->memory ? ": the memory limit is too low for a script to start" : "");
    }
    *out = rt;
    return 0;
}

static void set_phase(struct kt_runtime *rt, enum kt_phase phase)
{
    rt->phase = phase;
    kt_guard_in_tasks(kt_runtime_guard(rt));
}

static void release(void *ctx)
{
    struct kt_runtime *rt = ctx;
    kt_tasks_free(rt);
    kt_failures_free(rt);
    kt_services_free(rt);
    kt_starts_free(&rt->own_starts);
    free(rt->message);
    free(rt);
}

void kt_runtime_free(struct kt_runtime *rt)
{
    if (!rt) return;
    set_phase(rt, KT_END);
    if (rt->L) kt_tasks_end(rt);
    kt_services_close(rt);
    kt_io_timer_cancel(rt->io, &rt->drain_tick);
    kt_state_close(rt);
    kt_origins_free(&rt->origins);
    /* Links and acceptors end in turn hooks queued before this one, and still use the counters there. */
    kt_turn_init(&rt->release, release, rt);
    kt_io_turn(rt->io, &rt->release);
}

const char *kt_runtime_message(const struct kt_runtime *rt)
{
    return rt->message ? rt->message : "out of memory";
}

static int set_message(struct kt_runtime *rt, int code, const char *text)
{
    free(rt->message);
    rt->message = text ? strdup(text) : NULL;
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
    if (kt_runtime_of(L)->repeatable) return; /* in a spec, kt check is no help */
    lua_pushliteral(L, CHECK_TELLS);
    lua_concat(L, 2);
}

/* Message handler: the message, the script's callers if any, and a hint at kt check. */
static int explain(lua_State *L)
{
    const bool text = lua_type(L, 1) == LUA_TSTRING;
    kt_err_raised(L, 1);
    if (kt_runtime_of(L)->exiting) return 1;
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

/* Loads the chunk and calls it. Runs protected, as any step may run out of memory. */
static int load_and_call(lua_State *L)
{
    const struct main_chunk *m = lua_touserdata(L, 1);
    struct kt_runtime *rt = kt_runtime_of(L);
    int status = m->path ? kt_state_load_file(rt, m->path) : kt_state_load_module(rt, m->module);
    if (status != LUA_OK) return lua_error(L);
    luaL_checkstack(L, m->argc + 8, "too many arguments");
    for (int i = 0; i < m->argc; i++) lua_pushstring(L, m->argv[i]);
    lua_call(L, m->argc, 0);
    return 0;
}

/* Lua's "not enough memory" names neither the limit nor how to raise it. */
static int set_memory_message(struct kt_runtime *rt)
{
    char text[160];
    kt_guard_memory_text(kt_runtime_guard(rt), text, sizeof text);
    return set_message(rt, KT_ENOMEM, text);
}

static int call_main(struct kt_runtime *rt, struct main_chunk *m)
{
    lua_State *L = rt->L;
    struct kt_guard *g = kt_runtime_guard(rt);
    lua_pushcfunction(L, explain);
    lua_pushcfunction(L, load_and_call);
    lua_pushlightuserdata(L, m);
    kt_guard_begin(g, L, rt->main_us);
    int status = lua_pcall(L, 1, 0, 1);
    int rc = 0;
    if (status != LUA_OK && !rt->exiting) {
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
    if (rc == 0 && !rt->exiting && kt_guard_wipes(kt_runtime_guard(rt))) lua_gc(rt->L, LUA_GCCOLLECT);
    kt_guard_wipe(kt_runtime_guard(rt), false);
    return rc;
}

/* ---- open ---- */

bool kt_runtime_has_work(const struct kt_runtime *rt)
{
    if (kt_tasks_need_runtime(rt)) return true;
    for (const struct kt_service *s = NULL; (s = kt_service_next(rt, s));)
        if (kt_service_serves(s)) return true;
    return false;
}

static int cannot_open(struct kt_runtime *rt, const struct kt_service *s, int rc, const struct kt_err *err)
{
    char text[640];
    if (kt_origin_embedded(s->origin->source))
        snprintf(text, sizeof text, "%s", err->text);
    else
        snprintf(
            text, sizeof text, "%s:%d: %s: %s", s->origin->source, s->origin->line, s->ops->what, err->text);
    return set_message(rt, rc, text);
}

/* Claims a service of the old runtimes that holds the address of s. */
static int claim(
    struct kt_service *s, struct kt_runtime *const *old, size_t n, bool *found, struct kt_err *err)
{
    *found = false;
    if (s->closed) return 0;
    for (size_t i = 0; i < n; i++) {
        for (struct kt_service *o = NULL; (o = kt_service_next(old[i], o));) {
            int rc = kt_service_claim(s, o, found, err);
            if (*found) return rc;
        }
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
        if (s->ops->heir) found ? out->kept++ : out->opened++;
    }
    if (!kt_runtime_has_work(rt)) return set_message(rt, KT_ECONFIG, KT_NO_WORK);
    return 0;
}

int kt_runtime_open(struct kt_runtime *rt)
{
    struct kt_replaced none = {0};
    if (rt->exiting) return 0;
    int rc = open_all(rt, NULL, 0, &none);
    if (rc == 0) set_phase(rt, KT_RUN);
    return rc;
}

/* ---- drain ---- */

/* Whether the runtime can end without losing a byte. */
static bool drained(const struct kt_runtime *rt)
{
    if (rt->pipes > 0) return false;
    for (const struct kt_service *s = NULL; (s = kt_service_next(rt, s));) {
        if (s->open && s->ops->quiet && !s->ops->quiet(s)) return false;
    }
    return true;
}

/* A replaced runtime keeps its links open for a moment longer, so that the peers' last packets are
 * acknowledged. Otherwise they would retransmit for seconds before giving the session up. */
static bool lingers(struct kt_runtime *rt, uint64_t now)
{
    bool links = false;
    for (const struct kt_service *s = NULL; (s = kt_service_next(rt, s));) {
        links = links || (s->open && s->ops->quiet);
    }
    if (!rt->replaced || !links) return false;
    if (rt->quiet_since == 0) rt->quiet_since = now;
    return now - rt->quiet_since < LINGER_US;
}

/* The drain time is over: resets what is still open and gives the resets a moment to reach the peers, which
 * would otherwise notice only when the silent session times out. */
static void cut(struct kt_runtime *rt, uint64_t now)
{
    if (rt->pipes > 0)
        kt_log(rt->log, KT_LOG_WARN, "ending with %zu conns and streams%s still open", rt->pipes,
            rt->replaced ? " of a replaced script" : "");
    rt->cut = true;
    rt->drain_until = now + CUT_US;
    rt->drain_wait = DRAIN_TICK_US;
    kt_tasks_cut(rt);
    kt_io_timer_set(rt->io, &rt->drain_tick, now + DRAIN_TICK_US);
}

static void drain_tick(void *ctx)
{
    struct kt_runtime *rt = ctx;
    uint64_t now = kt_io_now(rt->io);
    const bool done = drained(rt), due = now >= rt->drain_until;
    if (!done) rt->quiet_since = 0;
    if (rt->cut ? done || due : done && (due || !lingers(rt, now))) {
        kt_runtime_stop(rt, 0);
    } else if (due) {
        cut(rt, now);
    } else {
        /* Conns of a replaced script may live for days, so poll less often as time passes. */
        uint64_t next = now + rt->drain_wait;
        rt->drain_wait = rt->drain_wait * 2 < DRAIN_TICK_MAX_US ? rt->drain_wait * 2 : DRAIN_TICK_MAX_US;
        kt_io_timer_set(rt->io, &rt->drain_tick, next < rt->drain_until ? next : rt->drain_until);
    }
}

void kt_runtime_drain(struct kt_runtime *rt, uint64_t us)
{
    const uint64_t now = kt_io_now(rt->io);
    const uint64_t until = us < KT_TIME_NEVER - now ? now + us : KT_TIME_NEVER;
    if (rt->exiting) return;
    if (rt->phase != KT_DRAIN) {
        set_phase(rt, KT_DRAIN);
        rt->drain_until = until;
        for (struct kt_service *s = NULL; (s = kt_service_next(rt, s));) {
            if (s->open && s->ops->drain) s->ops->drain(s);
        }
    }
    if (rt->cut) return;
    if (until < rt->drain_until) rt->drain_until = until;
    rt->drain_wait = DRAIN_TICK_US;
    if (now < rt->drain_until || drained(rt))
        drain_tick(rt);
    else
        kt_io_timer_set(rt->io, &rt->drain_tick, now); /* a task may be running now */
}

size_t kt_runtime_pipes(const struct kt_runtime *rt)
{
    return rt->pipes;
}

void kt_runtime_usage(const struct kt_runtime *rt, struct kt_runtime_usage *out)
{
    *out = (struct kt_runtime_usage){.memory = kt_guard_bytes(&rt->sandbox.guard),
        .peak = kt_guard_peak(&rt->sandbox.guard),
        .tasks = kt_tasks_count(rt),
        .pipes = rt->pipes};
}

uint64_t kt_runtime_drain_us(const struct kt_runtime *rt)
{
    return rt->drain_us;
}

/* ---- reload ---- */

int kt_runtime_replace(
    struct kt_runtime *rt, struct kt_runtime *const *old, size_t n, struct kt_replaced *out)
{
    *out = (struct kt_replaced){0};
    int rc = open_all(rt, old, n, out);
    if (rc) return rc;
    /* From here on nothing fails. */
    set_phase(rt, KT_RUN);
    for (struct kt_service *s = NULL; (s = kt_service_next(rt, s));) {
        if (s->from) kt_service_inherit(s);
    }
    struct kt_runtime *was = old[0];
    for (const struct kt_service *s = NULL; (s = kt_service_next(was, s));) {
        if (s->open && s->ops->heir) out->closed++;
    }
    out->pipes = was->pipes;
    out->drain_us = was->replaced_us;
    was->replaced = true;
    kt_declared_let_go(was);
    kt_runtime_drain(was, was->replaced_us);
    return 0;
}

/* ---- run and end ---- */

int kt_runtime_run(struct kt_runtime *rt)
{
    if (!rt->exiting) kt_io_run(rt->io);
    return rt->exit_code;
}

bool kt_runtime_exited(const struct kt_runtime *rt, int *code)
{
    *code = rt->exit_code;
    return rt->exiting;
}

void kt_runtime_stop(struct kt_runtime *rt, int code)
{
    if (rt->exiting) return;
    rt->exiting = true;
    rt->exit_code = code;
    if (rt->phase == KT_DECLARE || rt->phase == KT_END) return;
    if (rt->ended)
        rt->ended(rt->ended_ctx);
    else
        kt_io_stop(rt->io);
}

void kt_runtime_settle(struct kt_runtime *rt)
{
    if (rt->phase == KT_RUN && !kt_services_serve(rt) && !kt_tasks_need_runtime(rt))
        kt_runtime_stop(rt, rt->counters->TaskErrors ? 1 : 0);
}
