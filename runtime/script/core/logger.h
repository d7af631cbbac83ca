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
struct kt_logger_file {
    char *path;
    struct kt_appender *to;
};

/* The settings that a script may change. */
struct kt_logger_settings {
    enum kt_log_level level;
    enum kt_log_format format;
    struct kt_logger_file file;
};

/* Its fields belong to logger.c; others read `log` and `name`. */
struct kt_logger {
    struct kt_log log;          /* the interface passed to the rooms below */
    struct kt_io *io;           /* wall clock and files; lines carry no date while it is NULL */
    char name[48];              /* prefix of each line; "" for none */
    struct kt_logger_file file; /* none: lines go to `out` */
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
/* Sets where lines go without a file; NULL: to standard error, unbuffered, as after kt_logger_init. */
void kt_logger_to(struct kt_logger *l, void (*out)(void *ctx, const char *text, size_t len), void *ctx);
/* Sets the io; NULL: none. Freeing the io may still log, so set NULL only after that. */
void kt_logger_set_io(struct kt_logger *l, struct kt_io *io);
/* Of a simulated host: lines carry no date, and there is no journal. */
void kt_logger_simulate(struct kt_logger *l);
void kt_logger_set_level(struct kt_logger *l, enum kt_log_level level);
/* Holds back lines that repeat, from now on, while l->io is there. Without memory it does not. */
void kt_logger_hold(struct kt_logger *l);
/* Before the io is freed: writes what is held back, and no longer holds back any. */
void kt_logger_release(struct kt_logger *l);
/* Waits, for a bounded time, until the last lines are written to the file. */
void kt_logger_close(struct kt_logger *l);

/* Sends further lines to a file, created if missing (NULL: back to `out`). */
int kt_logger_file(struct kt_logger *l, const char *path, struct kt_err *err);

/* Writes further lines in this format. With KT_LOG_JOURNAL they go to the journal, and to no file. 0, or a code and
 * a sentence: there is no journal. */
int kt_logger_format(struct kt_logger *l, enum kt_log_format format, struct kt_err *err);

/* While another script loads: saves the settings in *before, then uses this level and file (NULL: `out`). 0, or a
 * code and a sentence, and nothing changes. kt_logger_tried ends it: it keeps what the script set, or restores
 * *before. */
int kt_logger_try(struct kt_logger *l, enum kt_log_level level, const char *path,
    struct kt_logger_settings *before, struct kt_err *err);
void kt_logger_tried(struct kt_logger *l, struct kt_logger_settings *before, bool keep);
/* The path of the file; NULL: none. */
const char *kt_logger_path(const struct kt_logger *l);

/* Writes lines other than those of kt_log, such as counters, to the same place, regardless of the level. In other
 * formats than text, each becomes a line of level info. */
void kt_logger_text(struct kt_logger *l, const char *text, size_t len);

/* Formats the log line that reports dropped lines: the `lost` of kt_append_events, with the logger as ctx.
 * May be called from any thread. */
size_t kt_logger_lost(void *ctx, uint64_t wall_us, uint64_t lines, char *out, size_t size);

#endif
