/* Handles signals and reloads, and owns the runtimes of the current and the replaced scripts.
 *
 * Invariant: `now` is the running script, old[0..n) the replaced ones that still drain, oldest first. A
 * runtime that has ended is freed at the end of the turn, as its own callbacks may be on the stack until
 * then. */
#include "script/core/supervisor.h"
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "io/io.h"
#include "link/counters.h"
#include "link/common/link_memory.h"
#include "script/core/events.h"
#include "script/sandbox/guard.h"
#include "script/core/logger.h"
#include "script/core/sources.h"

#define RELOAD_GAP_US 200000u

struct kt_supervisor {
    struct kt_supervisor_opts opts;
    struct kt_io *io;
    struct kt_logger *logger;
    struct kt_counters counters;
    struct kt_events events;
    uint64_t pipe_numbers;
    struct kt_sources *sources; /* NULL: not watched */
    struct kt_link_memory link_memory;
    struct kt_runtime *now;
    struct kt_runtime *old[KT_REPLACED_MAX];
    size_t n;
    struct kt_signal *signals[5];
    struct kt_turn turn;    /* frees ended runtimes */
    struct kt_timer reload; /* armed: a SIGHUP is pending */
    uint64_t next_reload;   /* earliest time of the next reload */
    struct kt_err err;      /* of a failed start that is not the script's fault */
    bool interrupted;       /* the first SIGINT was left to the script */
    bool ending;            /* SIGTERM or SIGINT was received */
    bool stopped;           /* the loop is stopping; exit_code is final */
    int exit_code;

    /* log settings before any script changed them */
    enum kt_log_level level;
    char *log_file;
    bool level_set; /* by kt_supervisor_set_log_level: `level` goes before what a script sets */

    /* standard error of a script being loaded; the reason, if it exits */
    bool capturing;
    size_t captured;
    char capture[1024];
};

/* ---- what scripts print ---- */

static void pass_on(const struct kt_supervisor *sv, int fd, const char *text, size_t len)
{
    if (sv->opts.runtime.print)
        sv->opts.runtime.print(sv->opts.runtime.print_ctx, fd, text, len);
    else
        kt_print_to_process(NULL, fd, text, len);
}

static void print(void *ctx, int fd, const char *text, size_t len)
{
    struct kt_supervisor *sv = ctx;
    if (!sv->capturing || fd != 2) {
        pass_on(sv, fd, text, len);
        return;
    }
    const size_t room = sizeof sv->capture - 1 - sv->captured;
    if (len > room) len = room;
    memcpy(sv->capture + sv->captured, text, len);
    sv->captured += len;
    sv->capture[sv->captured] = '\0';
}

/* ---- runtimes ---- */

static void on_ended(void *ctx)
{
    struct kt_supervisor *sv = ctx;
    kt_io_turn(sv->io, &sv->turn);
}

static void stop(struct kt_supervisor *sv, int code)
{
    if (sv->stopped) return;
    sv->stopped = true;
    sv->exit_code = code;
    kt_io_stop(sv->io);
}

static void on_turn(void *ctx)
{
    struct kt_supervisor *sv = ctx;
    int code;
    size_t left = 0;
    for (size_t i = 0; i < sv->n; i++) {
        if (kt_runtime_exited(sv->old[i], &code))
            kt_runtime_free(sv->old[i]);
        else
            sv->old[left++] = sv->old[i];
    }
    if (left < sv->n)
        kt_log(&sv->logger->log, KT_LOG_DEBUG, "%zu replaced scripts ended, %zu still have conns",
            sv->n - left, left);
    sv->n = left;
    /* A script with nothing left to do waits for the replaced ones. */
    if (kt_runtime_exited(sv->now, &code) && sv->n == 0) stop(sv, code);
}

static struct kt_runtime *replaced(void *ctx, size_t i)
{
    return kt_supervisor_replaced(ctx, i);
}

static int make(struct kt_supervisor *sv, struct kt_runtime **out, struct kt_err *err)
{
    struct kt_runtime_opts opts = sv->opts.runtime;
    opts.print = print;
    opts.print_ctx = sv;
    opts.counters = &sv->counters;
    opts.events = &sv->events;
    opts.pipe_numbers = &sv->pipe_numbers;
    opts.source = sv->sources ? kt_sources_read : NULL;
    opts.source_ctx = sv->sources;
    opts.link_memory = &sv->link_memory;
    opts.before = sv->now;
    opts.replaced = replaced;
    opts.replaced_ctx = sv;
    opts.ended = on_ended;
    opts.ended_ctx = sv;
    if (sv->now) opts.main_us = KT_SLICE_STOP_US; /* a reload blocks the running script */
    return kt_runtime_new(out, &opts, err);
}

static int load(struct kt_supervisor *sv, struct kt_runtime *rt)
{
    const struct kt_supervisor_opts *o = &sv->opts;
    return o->file ? kt_runtime_load_file(rt, o->file, o->argc, o->argv)
                   : kt_runtime_load_module(rt, o->module, o->argc, o->argv);
}

/* ---- reload ---- */

static void tell_reloaded(struct kt_supervisor *sv, int code, const char *text)
{
    kt_events_emit(
        &sv->events, &(struct kt_event){.type = KT_EVENT_RELOAD, .text = text, .failed = code != 0});
    if (sv->opts.reloaded) sv->opts.reloaded(sv->opts.ctx, code, text);
}

/* Logs why the reload failed, one log line per line of text. */
static int refuse(struct kt_supervisor *sv, int code, const char *text)
{
    for (const char *line = text; *line;) {
        const size_t len = strcspn(line, "\n");
        if (len)
            kt_log(&sv->logger->log, KT_LOG_ERROR, "%s%.*s",
                line == text ? "reload failed; still running the previous script: " : "", (int)len, line);
        line += len + (line[len] == '\n');
    }
    tell_reloaded(sv, code, text);
    return code;
}

static const char *script_name(const struct kt_supervisor *sv)
{
    return sv->opts.file ? sv->opts.file : sv->logger->name;
}

static void tell(struct kt_supervisor *sv, const struct kt_replaced *r)
{
    char text[512], offered[96] = "", conns[160] = "the old script had no conns";
    if (r->offered)
        snprintf(offered, sizeof offered, ", %zu left to the new script's tasks for %g s", r->offered,
            KT_OFFER_US / 1e6);
    if (r->pipes && r->drain_us == UINT64_MAX)
        snprintf(conns, sizeof conns, "%zu conns and streams of the old script stay open", r->pipes);
    else if (r->pipes)
        snprintf(conns, sizeof conns, "%zu conns and streams of the old script have %g s to finish", r->pipes,
            (double)r->drain_us / 1e6);
    snprintf(text, sizeof text, "reloaded %.200s: %zu address%s kept, %zu opened, %zu closed%s; %s",
        script_name(sv), r->kept, r->kept == 1 ? "" : "es", r->opened, r->closed, offered, conns);
    kt_log(&sv->logger->log, KT_LOG_INFO, "%s", text);
    tell_reloaded(sv, 0, text);
}

/* Creates a runtime and has it take over. On failure returns NULL, changes nothing, and sets *why (or err, if
 * *why is NULL) to the reason. */
static struct kt_runtime *bring(
    struct kt_supervisor *sv, struct kt_replaced *sum, struct kt_err *err, char **why)
{
    struct kt_runtime *rt, *others[1 + KT_REPLACED_MAX];
    int code;
    *why = NULL;
    if (make(sv, &rt, err)) return NULL;
    sv->capturing = true;
    sv->captured = 0;
    int rc = load(sv, rt);
    sv->capturing = false;
    if (rc == 0 && kt_runtime_exited(rt, &code)) {
        while (sv->captured && sv->capture[sv->captured - 1] == '\n') sv->captured--;
        sv->capture[sv->captured] = '\0';
        kt_err_set(err, KT_ECONFIG, "the script ended in its main chunk");
        if (sv->captured) *why = strdup(sv->capture);
        kt_runtime_free(rt);
        return NULL;
    }
    if (sv->captured) pass_on(sv, 2, sv->capture, sv->captured);
    others[0] = sv->now;
    memcpy(others + 1, sv->old, sv->n * sizeof sv->old[0]);
    if (rc == 0) rc = kt_runtime_replace(rt, others, 1 + sv->n, sum);
    if (rc == 0) return rt;
    kt_err_set(err, rc, "%s", kt_strerror(rc));
    *why = strdup(kt_runtime_message(rt));
    kt_runtime_free(rt);
    return NULL;
}

int kt_supervisor_reload(struct kt_supervisor *sv)
{
    struct kt_replaced sum;
    struct kt_err err = {0};
    struct kt_logger_settings before;
    char *why, text[160];
    if (sv->opts.reloading) sv->opts.reloading(sv->opts.ctx);
    if (sv->ending) return refuse(sv, KT_ECLOSED, "the process is shutting down");
    if (sv->n == KT_REPLACED_MAX) {
        snprintf(text, sizeof text,
            "%u replaced scripts still have conns; limit their time with kt.reload { old = \"drain\" }",
            KT_REPLACED_MAX);
        return refuse(sv, KT_ELIMIT, text);
    }
    if (kt_logger_try(sv->logger, sv->level, sv->log_file, &before, &err))
        return refuse(sv, err.code, err.text);
    if (sv->sources) kt_sources_begin(sv->sources);
    struct kt_runtime *rt = bring(sv, &sum, &err, &why);
    if (sv->sources) kt_sources_end(sv->sources, rt != NULL);
    kt_logger_tried(sv->logger, &before, rt != NULL);
    if (rt && sv->level_set) kt_logger_set_level(sv->logger, sv->level);
    if (!rt) {
        refuse(sv, err.code, why ? why : err.text);
        free(why);
        return err.code;
    }
    sv->old[sv->n++] = sv->now;
    sv->now = rt;
    kt_io_turn(sv->io, &sv->turn); /* the old script may have ended already */
    tell(sv, &sum);
    return 0;
}

/* ---- signals ---- */

static void on_reload(void *ctx)
{
    struct kt_supervisor *sv = ctx;
    const uint64_t began = kt_io_clock(sv->io);
    kt_supervisor_reload(sv);
    const uint64_t took = kt_io_clock(sv->io) - began;
    if (took > KT_SLICE_WARN_US)
        kt_log(&sv->logger->log, KT_LOG_WARN, "the reload blocked the loop for %d ms", (int)(took / 1000));
    sv->next_reload = began + took + RELOAD_GAP_US;
}

void kt_supervisor_ask_reload(struct kt_supervisor *sv)
{
    const uint64_t now = kt_io_now(sv->io);
    if (!sv->reload.armed)
        kt_io_timer_set(sv->io, &sv->reload, now > sv->next_reload ? now : sv->next_reload);
}

size_t kt_supervisor_pipes(const struct kt_supervisor *sv)
{
    size_t pipes = kt_runtime_pipes(sv->now);
    for (size_t i = 0; i < sv->n; i++) pipes += kt_runtime_pipes(sv->old[i]);
    return pipes;
}

void kt_supervisor_end(struct kt_supervisor *sv, const char *by)
{
    if (sv->ending) return;
    sv->ending = true;
    if (sv->opts.ending) sv->opts.ending(sv->opts.ctx);
    kt_io_timer_cancel(sv->io, &sv->reload);
    const uint64_t us = kt_runtime_drain_us(sv->now);
    const size_t pipes = kt_supervisor_pipes(sv);
    kt_log(&sv->logger->log, KT_LOG_INFO, "%s: ending; %zu %s %g s to finish", by, pipes,
        pipes == 1 ? "conn or stream has" : "conns and streams have", (double)us / 1e6);
    for (size_t i = 0; i < sv->n; i++) kt_runtime_drain(sv->old[i], us);
    kt_runtime_drain(sv->now, us);
}

static void end_by_signal(struct kt_supervisor *sv, int signum)
{
    if (sv->ending)
        stop(sv, signum == SIGINT ? 130 : 0);
    else
        kt_supervisor_end(sv, signum == SIGINT   ? "SIGINT"
                              : signum == SIGHUP ? "the terminal is gone"
                                                 : "SIGTERM");
}

/* Writes the counters to the log's destination. */
static void write_counters(const struct kt_supervisor *sv)
{
    const struct kt_stat *row;
    char line[96];
    for (size_t i = 0; (row = kt_counter_row(i)); i++) {
        const int len =
            snprintf(line, sizeof line, "%s %" PRIu64 "\n", row->name, kt_counter_value(&sv->counters, i));
        kt_logger_text(sv->logger, line, (size_t)len);
    }
}

/* Log files are opened for each write, so after a rename (logrotate) the next line makes a new file. This is that
 * line. */
static void reopen_log(const struct kt_supervisor *sv)
{
    const char *path = kt_logger_path(sv->logger);
    if (path) kt_log(&sv->logger->log, KT_LOG_INFO, "SIGUSR2: the log continues in %s", path);
}

static void on_signal(void *ctx, int signum)
{
    struct kt_supervisor *sv = ctx;
    if (signum == SIGUSR1)
        write_counters(sv);
    else if (signum == SIGUSR2)
        reopen_log(sv);
    else if (signum == SIGINT && !sv->interrupted && kt_runtime_takes_interrupt(sv->now))
        sv->interrupted = true;
    else if (signum == SIGHUP && !(sv->opts.hung_up && sv->opts.hung_up(sv->opts.ctx)))
        kt_supervisor_ask_reload(sv);
    else
        end_by_signal(sv, signum);
}

/* ---- life ---- */

static void on_source(void *ctx)
{
    struct kt_supervisor *sv = ctx;
    kt_log(&sv->logger->log, KT_LOG_INFO, "the script has changed");
    kt_supervisor_ask_reload(sv);
}

int kt_supervisor_new(struct kt_supervisor **out, const struct kt_supervisor_opts *opts, struct kt_err *err)
{
    uint64_t seed;
    struct kt_supervisor *sv = calloc(1, sizeof *sv);
    if (!sv) return kt_err_set(err, KT_ENOMEM, "%s", kt_strerror(KT_ENOMEM));
    sv->opts = *opts;
    sv->io = opts->runtime.io;
    sv->logger = opts->runtime.logger;
    sv->level = sv->logger->log.level;
    kt_io_random(sv->io, &seed, sizeof seed);
    kt_events_init(&sv->events);
    kt_link_memory_init(&sv->link_memory, seed, opts->phrases);
    kt_turn_init(&sv->turn, on_turn, sv);
    kt_timer_init(&sv->reload, on_reload, sv);
    const char *path = kt_logger_path(sv->logger);
    if (path && !(sv->log_file = strdup(path))) {
        free(sv);
        return kt_err_set(err, KT_ENOMEM, "%s", kt_strerror(KT_ENOMEM));
    }
    if (opts->watch && !(sv->sources = kt_sources_new(sv->io, &sv->logger->log, on_source, sv))) {
        kt_link_memory_end(&sv->link_memory);
        free(sv->log_file);
        free(sv);
        return kt_err_set(err, KT_ENOMEM, "%s", kt_strerror(KT_ENOMEM));
    }
    int rc = make(sv, &sv->now, err);
    if (rc) {
        kt_sources_free(sv->sources);
        kt_link_memory_end(&sv->link_memory);
        free(sv->log_file);
        free(sv);
        return rc;
    }
    *out = sv;
    return 0;
}

static int watch_signals(struct kt_supervisor *sv)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2, SIGUSR1};
    const size_t n = sv->opts.file ? 5 : 4; /* kt client and kt server handle SIGUSR1 themselves */
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = kt_signal_watch(sv->io, numbers[i], on_signal, sv, &sv->signals[i], &sv->err);
    return rc;
}

static void release(void *ctx)
{
    struct kt_supervisor *sv = ctx;
    kt_link_memory_end(&sv->link_memory);
    free(sv->log_file);
    free(sv);
}

int kt_supervisor_start(struct kt_supervisor *sv)
{
    int code, rc = load(sv, sv->now);
    if (rc || kt_runtime_exited(sv->now, &code)) return rc;
    if (sv->opts.loaded) rc = sv->opts.loaded(sv->opts.ctx, sv, &sv->err);
    if (rc == 0) rc = watch_signals(sv);
    return rc ? rc : kt_runtime_open(sv->now);
}

const char *kt_supervisor_message(const struct kt_supervisor *sv)
{
    return sv->err.code ? sv->err.text : kt_runtime_message(sv->now);
}

bool kt_supervisor_exited(const struct kt_supervisor *sv, int *code)
{
    if (!sv->stopped) return kt_runtime_exited(sv->now, code);
    *code = sv->exit_code;
    return true;
}

bool kt_supervisor_ending(const struct kt_supervisor *sv)
{
    return sv->ending;
}

void kt_supervisor_set_log_level(struct kt_supervisor *sv, enum kt_log_level level)
{
    sv->level = level;
    kt_logger_set_level(sv->logger, level);
    sv->level_set = true;
}

struct kt_logger *kt_supervisor_logger(const struct kt_supervisor *sv)
{
    return sv->logger;
}

struct kt_events *kt_supervisor_events(struct kt_supervisor *sv)
{
    return &sv->events;
}

struct kt_runtime *kt_supervisor_runtime(const struct kt_supervisor *sv)
{
    return sv->now;
}

struct kt_runtime *kt_supervisor_replaced(const struct kt_supervisor *sv, size_t i)
{
    return i < sv->n ? sv->old[i] : NULL;
}

int kt_supervisor_run(struct kt_supervisor *sv)
{
    if (!sv->stopped) kt_io_run(sv->io);
    return sv->exit_code;
}

void kt_supervisor_free(struct kt_supervisor *sv)
{
    if (!sv) return;
    for (size_t i = 0; i < sizeof sv->signals / sizeof sv->signals[0]; i++)
        if (sv->signals[i]) kt_signal_close(sv->signals[i]);
    kt_io_timer_cancel(sv->io, &sv->reload);
    for (size_t i = 0; i < sv->n; i++) kt_runtime_free(sv->old[i]);
    kt_runtime_free(sv->now);
    kt_sources_free(sv->sources); /* finalizers may still load modules */
    /* Turn hooks of the runtimes still use the counters. */
    kt_io_turn_cancel(&sv->turn);
    kt_turn_init(&sv->turn, release, sv);
    kt_io_turn(sv->io, &sv->turn);
}
