/* Where log lines go: dated, levelled, prefixed with who speaks, to standard error or to a file.
 *
 *     2026-11-22 10:33:58 info  client: listening on 127.0.0.1:12948
 *
 * Owned by whoever owns the io and the runtime, and outlives both. */
#ifndef KT_SCRIPT_LOGGER_H
#define KT_SCRIPT_LOGGER_H

#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/log.h"

struct kt_io;

struct kt_logger {
    struct kt_log log; /* what the rooms below are given */
    struct kt_io *io;  /* wall clock and files; lines carry no date while it is NULL */
    char name[48];     /* who speaks; "" for nobody in particular */
    char *file;        /* NULL: out */
    uint64_t dated;    /* the second that `date` shows: formatting it anew costs more than a line */
    char date[24];
    bool undated; /* lines carry no date, whoever takes them has a clock of its own */
    void (*out)(void *ctx, const char *text, size_t len);
    void *ctx;
};

/* To standard error, level info. name: a script's path or a verb; the prefix is its last part without ".lua".
 */
void kt_logger_init(struct kt_logger *l, const char *name);
/* Needs the io only if a file was set. */
void kt_logger_close(struct kt_logger *l);

/* Sends what follows to a file instead (NULL: back to `out`). Creates it; the error says what is wrong with
 * it. */
int kt_logger_file(struct kt_logger *l, const char *path, struct kt_err *err);

#endif
