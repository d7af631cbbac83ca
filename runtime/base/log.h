/* Logging: one line per event, with levels and a sink chosen by the owner of a runtime. A log is passed by
 * pointer, and a NULL log is silent. Never pass a secret to it. */
#ifndef KT_BASE_LOG_H
#define KT_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum kt_log_level { KT_LOG_DEBUG, KT_LOG_INFO, KT_LOG_WARN, KT_LOG_ERROR, KT_LOG_QUIET };

struct kt_log {
    enum kt_log_level level; /* lines below it are not formatted */
    /* Receives one line without a newline, control characters already replaced. */
    void (*sink)(void *ctx, enum kt_log_level level, const char *line);
    void *ctx;
};

/* Formats one line and passes it to the sink if `level` is enabled. Lines over 1 KiB are cut and end in "...".
 * Bytes from a peer are safe as arguments: control characters are replaced by '?'. */
void kt_log(const struct kt_log *log, enum kt_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static inline bool kt_log_on(const struct kt_log *log, enum kt_log_level level)
{
    return log && log->sink && level >= log->level;
}

/* "debug", "info", "warn", "error", "quiet". */
const char *kt_log_level_name(enum kt_log_level level);

/* The level for a name; false for an unknown one. */
bool kt_log_level_parse(const char *name, enum kt_log_level *out);

#endif
