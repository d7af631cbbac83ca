/* Writes log lines, with a date, a level and a name, to standard error, a file, or the journal of systemd.
 *
 * See base/log_format.h for their forms. Belongs to the owner of the io and the runtime, and outlives both. */
#ifndef KT_SCRIPT_CORE_LOGGER_H
#define KT_SCRIPT_CORE_LOGGER_H

#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/log_format.h"
#include "base/wheel.h"

struct kt_appender;
struct kt_io;
struct kt_log_repeats;
struct kt_writer;

/* A log file; all NULL: none. */
struct kt_log_file {
    char *path;
    struct kt_appender *to;
};

struct kt_logger {
    struct kt_log log;       /* the interface passed to the rooms below */
    struct kt_io *io;        /* wall clock and files; lines carry no date while it is NULL */
    char name[48];           /* prefix of each line; "" for none */
    struct kt_log_file file; /* none: lines go to `out` */
    uint64_t dated; /* the second that `date` shows; cached, as formatting it costs more than a line */
    char date[24];
    enum kt_log_format format;
    struct kt_writer *journal;      /* with KT_LOG_JOURNAL, takes all lines; NULL: not needed yet */
    struct kt_log_repeats *repeats; /* NULL: every line is written */
    struct kt_timer held;           /* when to write what was held back */
    bool simulated;                 /* lines carry no date, and there is no journal */
    /* Receives lines if there is no file, and lines that the file could not take; the latter on the thread of
     * the file's appender. */
    void (*out)(void *ctx, const char *text, size_t len);
    void *ctx;
};

/* To standard error, level info. name: a script's path or a verb; the prefix is its last part without ".lua". */
void kt_logger_init(struct kt_logger *l, const char *name);
/* Sends `out` to standard error, unbuffered, as after kt_logger_init. */
void kt_logger_to_stderr(struct kt_logger *l);
/* Holds back lines that repeat, from now on, while l->io is there. Without memory it does not. */
void kt_logger_hold(struct kt_logger *l);
/* Before the io is freed: writes what is held back, and no longer holds back any. */
void kt_logger_release(struct kt_logger *l);
/* Waits, for a bounded time, until the last lines are written to the file. */
void kt_logger_close(struct kt_logger *l);

/* Sends further lines to a file, created if missing (NULL: back to `out`). */
int kt_logger_file(struct kt_logger *l, const char *path, struct kt_err *err);
/* The same in two steps, for callers that may restore the previous file: opens a file (none for a NULL path)
 * to be stored in l->file, and closes one taken out of it. */
int kt_log_file_open(struct kt_logger *l, const char *path, struct kt_log_file *out, struct kt_err *err);
void kt_log_file_close(struct kt_log_file *file);

/* Writes further lines in this format. With KT_LOG_JOURNAL they go to the journal, and to no file. 0, or a code and
 * a sentence: there is no journal. */
int kt_logger_format(struct kt_logger *l, enum kt_log_format format, struct kt_err *err);

/* Writes lines other than those of kt_log, such as counters, to the same place, regardless of the level. In other
 * formats than text, each becomes a line of level info. */
void kt_logger_text(struct kt_logger *l, const char *text, size_t len);

/* Formats the log line that reports dropped lines: the `lost` of kt_append_events, with the logger as ctx.
 * May be called from any thread. */
size_t kt_logger_lost(void *ctx, uint64_t wall_us, uint64_t lines, char *out, size_t size);

#endif
