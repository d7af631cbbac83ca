/* Puts the rooms together: logger, io, runtime; takes them apart in the reverse order. */
#include "cli/start.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/seal.h"
#include "io/uv.h"
#include "script/logger.h"
#include "script/runtime.h"

/* From here on the process ends by itself. The handlers go with the io, and an impatient second signal would
 * else end it otherwise than by its exit code. */
static void block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

static int complain(const char *text)
{
    fprintf(stderr, "kt: %s\n", text);
    return 1;
}

static int run(const struct kt_start *start, struct kt_runtime *rt)
{
    int code;
    int rc = start->file ? kt_runtime_load_file(rt, start->file, start->argc, start->argv)
                         : kt_runtime_load_module(rt, start->module, start->argc, start->argv);
    if (kt_runtime_exited(rt, &code)) return code;
    if (rc == 0) rc = kt_runtime_open(rt);
    if (rc) return complain(kt_runtime_message(rt));
    return kt_runtime_run(rt);
}

static int with_io(const struct kt_start *start, struct kt_logger *logger, struct kt_io *io)
{
    struct kt_err err = {0};
    if (start->log_file && kt_logger_file(logger, start->log_file, &err)) return complain(err.text);
    const struct kt_runtime_opts opts = {
        .io = io, .logger = logger, .unsafe = start->unsafe, .memory = start->memory};
    struct kt_runtime *rt;
    if (kt_runtime_new(&rt, &opts, &err)) return complain(err.text);
    int code = run(start, rt);
    block_signals();
    kt_runtime_free(rt);
    return code;
}

bool kt_memory_parse(const char *text, size_t *out)
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
    if (kt_crypto_init(&err)) return complain(err.text);
    struct kt_logger logger;
    kt_logger_init(&logger, start->name);
    logger.log.level = start->level;
    struct kt_io *io;
    int rc = kt_uv_new(&io, &logger.log, 0);
    if (rc) return complain(kt_strerror(rc));
    logger.io = io;
    int code = with_io(start, &logger, io);
    kt_io_free(io); /* what closes in there may still have something to say */
    logger.io = NULL;
    kt_logger_close(&logger);
    return code;
}
