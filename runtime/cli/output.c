/* Standard output and error through writers. Invariant: `err` and `out` exist from open to close. */
#include "cli/output.h"
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>
#include "io/writer.h"
#include "script/core/logger.h"

static bool same_place(void)
{
    struct stat out, err;
    return fstat(STDOUT_FILENO, &out) == 0 && fstat(STDERR_FILENO, &err) == 0 && out.st_dev == err.st_dev &&
           out.st_ino == err.st_ino;
}

static void to_stderr(void *ctx, const char *text, size_t len)
{
    const struct kt_output *o = ctx;
    kt_writer_put(o->err, text, len);
}

int kt_output_open(struct kt_output *o, struct kt_logger *logger, struct kt_err *err)
{
    static const struct kt_append_events events = {.lost = kt_logger_lost};
    *o = (struct kt_output){.logger = logger};
    int rc = kt_writer_new(&o->err, STDERR_FILENO, &events, logger);
    if (rc == 0 && same_place())
        o->out = o->err;
    else if (rc == 0)
        rc = kt_writer_new(&o->out, STDOUT_FILENO, NULL, NULL);
    if (rc) {
        kt_writer_close(o->err);
        return kt_err_set(err, rc, "no thread for standard output and error: %s", kt_strerror(rc));
    }
    kt_logger_to(logger, to_stderr, o);
    return 0;
}

static void tell_lost(struct kt_output *o, const char *now)
{
    const uint64_t lost = kt_writer_lost(o->out);
    kt_log(&o->logger->log, KT_LOG_WARN, "standard output%s: %" PRIu64 " line%s lost", now,
        lost - o->lost_logged, lost - o->lost_logged == 1 ? "" : "s");
    o->lost_logged = lost;
}

void kt_output_print(void *ctx, int fd, const char *text, size_t len)
{
    struct kt_output *o = ctx;
    const bool taken = kt_writer_put(fd == STDERR_FILENO ? o->err : o->out, text, len);
    if (fd == STDERR_FILENO || o->out == o->err || taken != o->losing) return;
    o->losing = !taken;
    if (taken)
        tell_lost(o, " is read again");
    else
        kt_log(&o->logger->log, KT_LOG_WARN, "nothing reads standard output; dropping output");
}

void kt_output_close(struct kt_output *o)
{
    struct kt_writer *out = o->out != o->err ? o->out : NULL;
    if (out && kt_writer_lost(out) > o->lost_logged) tell_lost(o, "");
    kt_writer_close(out);
    kt_writer_close(o->err);
    kt_logger_to(o->logger, NULL, NULL);
}
