/* Starts logger, io and supervisor, and ends them in the reverse order. */
#include "cli/start.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "cli/notify.h"
#include "cli/output.h"
#include "cli/pidfile.h"
#include "cli/process.h"
#include "control/control.h"
#include "crypto/crypto.h"
#include "io/uv/uv.h"
#include "script/core/logger.h"
#include "script/api/bindings.h"
#include "script/core/supervisor.h"

struct process {
    const struct kt_start *start;
    struct kt_logger *logger;
    struct kt_control *control; /* NULL: none */
    struct kt_io *io;
    struct kt_notify notify;
    int terminal; /* descriptor of the terminal on which it was started in the foreground; -1: none */
};

/* From here on the process ends by itself. Its signal handlers are removed with the io, so an impatient
 * second signal would kill it before it can return its exit code. */
static void block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

/* Writes to standard error, after the logger's lines; in other formats than text, to the log. */
static int complain(const struct kt_logger *logger, const char *text)
{
    if (logger->format != KT_LOG_TEXT) {
        struct kt_log log = logger->log;
        log.level = KT_LOG_ERROR; /* also if it is quiet */
        kt_log(&log, KT_LOG_ERROR, "%s", text);
        return 1;
    }
    logger->out(logger->ctx, "kt: ", 4);
    logger->out(logger->ctx, text, strlen(text));
    logger->out(logger->ctx, "\n", 1);
    return 1;
}

static int find_terminal(void)
{
    struct sigaction hup;
    if (sigaction(SIGHUP, NULL, &hup) == 0 && hup.sa_handler == SIG_IGN) return -1; /* nohup */
    for (int fd = 0; fd <= 2; fd++)
        if (tcgetpgrp(fd) == getpgrp()) return fd;
    return -1;
}

/* A terminal that is closed also sends SIGHUP. A kt in its foreground then ends; one that was started in the
 * background is a daemon to its user, and stays. */
static bool terminal_gone(void *ctx)
{
    const struct process *p = ctx;
    struct termios t;
    return p->terminal >= 0 && tcgetattr(p->terminal, &t) != 0;
}

static void reloaded(void *ctx, int code, const char *text)
{
    const struct process *p = ctx;
    if (p->start->pid_file) kt_pidfile_result(p->start->pid_file, code, text);
    kt_control_reloaded(p->control, code, text);
    kt_notify_ready(&p->notify);
}

static void reloading(void *ctx)
{
    kt_notify_reloading(&((const struct process *)ctx)->notify);
}

static void ending(void *ctx)
{
    kt_notify_stopping(&((const struct process *)ctx)->notify);
}

/* path: NULL: the default. */
static int open_control(struct process *p, struct kt_supervisor *sv, const char *path, struct kt_err *err)
{
    if (!p->start->serves || (path && strcmp(path, "none") == 0)) return 0;
    return kt_control_open(&(struct kt_control_opts){.io = p->logger->io,
                               .sv = sv,
                               .path = path,
                               .name = p->logger->name,
                               .pid = (long)getpid(),
                               .allow_eval = p->start->allow_eval},
        &p->control, err);
}

/* A path in use must be found before anything listens. This one is the script's, that is, a flag of kt client or kt
 * server. */
static int loaded(void *ctx, struct kt_supervisor *sv, struct kt_err *err)
{
    struct process *p = ctx;
    const char *path = kt_runtime_control(kt_supervisor_runtime(sv));
    return p->start->control || !path ? 0 : open_control(p, sv, path, err);
}

/* Whether a flag says where the control socket is, or that there is none. */
static bool placed(const struct process *p, const struct kt_supervisor *sv)
{
    return p->start->control || kt_runtime_control(kt_supervisor_runtime(sv));
}

static int run(struct process *p, struct kt_supervisor *sv)
{
    int code;
    struct kt_err err = {0};
    if (p->start->control && open_control(p, sv, p->start->control, &err))
        return complain(p->logger, err.text);
    int rc = kt_supervisor_start(sv);
    if (rc || kt_supervisor_exited(sv, &code)) {
        kt_control_close(p->control);
        return rc ? complain(p->logger, kt_supervisor_message(sv)) : code;
    }
    if (p->start->pid_file && kt_pidfile_write(p->start->pid_file, &err)) {
        kt_control_close(p->control);
        return complain(p->logger, err.text);
    }
    if (!placed(p, sv) && open_control(p, sv, NULL, &err)) {
        if (p->start->pid_file) kt_pidfile_remove(p->start->pid_file);
        return complain(p->logger, err.text);
    }
    if (p->start->serves) {
        kt_uv_activated_report(p->io);
        kt_notify_ready(&p->notify);
    }
    code = kt_supervisor_run(sv);
    kt_control_close(p->control);
    if (p->start->pid_file) kt_pidfile_remove(p->start->pid_file);
    return code;
}

/* output: NULL for a command whose output is its result; it waits for its reader. */
static int with_io(const struct kt_start *start, struct kt_logger *logger, struct kt_output *output,
    struct kt_io *io, unsigned long child_fds)
{
    struct kt_err err = {0};
    if (start->log_format == KT_LOG_JOURNAL && start->log_file)
        return complain(logger, "--log: not with --log-format journald; for a file, give --log-format text");
    if (start->http_token && !start->http) return complain(logger, "--http-token: only with --http");
    if (start->control && !start->control[0])
        return complain(logger, "--control: expected the path of a socket, or none");
    if (kt_logger_format(logger, start->log_format, &err)) return complain(logger, err.text);
    if (start->log_file && kt_logger_file(logger, start->log_file, &err)) return complain(logger, err.text);
    struct process process = {.start = start, .logger = logger, .io = io, .terminal = find_terminal()};
    const struct kt_supervisor_opts opts = {
        .runtime = {.io = io,
            .logger = logger,
            .bind = kt_api_bind,
            .unsafe = start->unsafe,
            .path = start->path,
            .allow = {.read = start->allow_read.items,
                .write = start->allow_write.items,
                .env = start->env.items},
            .memory = start->memory,
            .print = output ? kt_output_print : NULL,
            .print_ctx = output,
            .child_fds = child_fds,
            .process = {.pid = (long)getpid(),
                .born_us = kt_io_now(io),
                .http = start->http,
                .http_token = start->http_token}},
        .file = start->file,
        .module = start->module,
        .argc = start->argc,
        .argv = start->argv,
        .loaded = loaded,
        .reloading = reloading,
        .ending = ending,
        .watch = start->watch,
        .reloaded = reloaded,
        .hung_up = terminal_gone,
        .ctx = &process,
    };
    struct kt_supervisor *sv;
    if (kt_supervisor_new(&sv, &opts, &err)) return complain(logger, err.text);
    kt_notify_open(&process.notify, io);
    int code = run(&process, sv);
    block_signals();
    kt_supervisor_free(sv);
    kt_notify_close(&process.notify);
    return code;
}

bool kt_start_parse_memory(const char *text, size_t *out)
{
    static const struct {
        const char *unit;
        double bytes;
    } units[] = {{"KiB", 1024}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}};
    *out = 0;
    if (strcmp(text, "none") == 0) return true;
    const size_t digits = strspn(text, "0123456789.");
    char *end;
    const double n = strtod(text, &end);
    if (digits == 0 || end != text + digits) return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].unit) != 0) continue;
        const double bytes = n * units[i].bytes;
        if (bytes < 1 || bytes > 1e15) return false;
        *out = (size_t)bytes;
        return true;
    }
    return false;
}

int kt_start(const struct kt_start *start)
{
    struct kt_err err = {0};
    struct kt_logger logger;
    struct kt_output output;
    struct kt_io *io;
    kt_logger_init(&logger, start->name);
    kt_logger_set_level(&logger, start->level);
    if (kt_crypto_init(&err)) return complain(&logger, err.text);
    if (start->serves && kt_output_open(&output, &logger, &err)) return complain(&logger, err.text);
    const unsigned long child_fds = kt_process_raise_limit(); /* before the io reads it */
    int code = 1;
    if (kt_uv_new(&io, &logger.log, 0, &err)) {
        complain(&logger, err.text);
    } else {
        kt_logger_set_io(&logger, io);
        if (start->serves) kt_logger_hold(&logger);
        code = with_io(start, &logger, start->serves ? &output : NULL, io, child_fds);
        kt_logger_release(&logger);
        kt_io_free(io); /* closing may still log something */
        kt_logger_set_io(&logger, NULL);
    }
    kt_logger_close(&logger);
    if (start->serves) kt_output_close(&output);
    return code;
}
