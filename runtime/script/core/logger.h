/* Where log lines go: dated, levelled, prefixed with who speaks, to standard error or to a file.
 *
 *     2026-11-22 10:33:58 info  client: listening on 127.0.0.1:12948
 *
 * Owned by whoever owns the io and the runtime, and outlives both. */
#ifndef KT_SCRIPT_CORE_LOGGER_H
#define KT_SCRIPT_CORE_LOGGER_H

#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/log.h"

struct kt_appender;
struct kt_io;

/* A file that takes log lines; all NULL: there is none. */
struct kt_log_file {
    char *path;
    struct kt_appender *to;
};

struct kt_logger {
    struct kt_log log;       /* what the rooms below are given */
    struct kt_io *io;        /* wall clock and files; lines carry no date while it is NULL */
    char name[48];           /* who speaks; "" for nobody in particular */
    struct kt_log_file file; /* none: out */
    uint64_t dated;          /* the second that `date` shows: formatting one costs more than a line */
    char date[24];
    bool undated; /* lines carry no date, whoever takes them has a clock of its own */
    /* Where lines go if there is no file, and those that the file does not take: then from the thread of the
     * file's appender. */
    void (*out)(void *ctx, const char *text, size_t len);
    void *ctx;
};

/* To standard error, level info. name: a script's path or a verb; the prefix is its last part without ".lua".
 */
void kt_logger_init(struct kt_logger *l, const char *name);
/* `out` is standard error again, written at once, as after kt_logger_init. */
void kt_logger_to_stderr(struct kt_logger *l);
/* Waits, for a bounded time, until a file has its last lines. */
void kt_logger_close(struct kt_logger *l);

/* Sends what follows to a file instead (NULL: back to `out`). Creates it; the error says what is wrong with
 * it. */
int kt_logger_file(struct kt_logger *l, const char *path, struct kt_err *err);
/* The same in two steps, for who may want the previous one back: opens a file (none for a NULL path) that can
 * be put into `file`, and closes one that was taken out of it. */
int kt_log_file_open(struct kt_logger *l, const char *path, struct kt_log_file *out, struct kt_err *err);
void kt_log_file_close(struct kt_log_file *file);

/* Writes text that is no log line, such as counters, to where log lines go, whatever the level. */
void kt_logger_text(struct kt_logger *l, const char *text, size_t len);

/* The log line that stands for lines which were dropped: the `lost` of kt_append_events, with the logger as
 * ctx. From any thread. */
size_t kt_logger_lost(void *ctx, uint64_t wall_us, uint64_t lines, char *out, size_t size);

#endif
