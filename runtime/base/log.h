/* Logging: one line per event, with levels and a sink chosen by the owner of a runtime. A log is passed by
 * pointer, and a NULL log is silent. Never pass a secret to it. */
#ifndef KT_BASE_LOG_H
#define KT_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum kt_log_level { KT_LOG_DEBUG, KT_LOG_INFO, KT_LOG_WARN, KT_LOG_ERROR, KT_LOG_QUIET };

/* The subject of a line, for logs that are read by programs; NULL: none. The text of the line names it too. */
struct kt_log_fields {
    const char *link; /* a link's name: of kt.link its remote, in a line about a pool its name there */
    const char *pool; /* a pool's name */
    const char *conn; /* address of a local client or target, or of the stream's client */
    const char *peer; /* address of a link's other end */
};

struct kt_log {
    enum kt_log_level level; /* lines below it are not formatted */
    /* Receives one line without a newline, control characters already replaced. fields is never NULL; its texts are
     * as the caller gave them. */
    void (*sink)(void *ctx, enum kt_log_level level, const struct kt_log_fields *fields, const char *line);
    void *ctx;
    /* Not NULL: lines go there, and level and sink are not used. Set by kt_log_of_link. */
    const struct kt_log *to;
    const char *link; /* of lines that have none; with `to` only */
};

/* A log whose lines are about one link, and its name, cut to fit. */
struct kt_log_of_link {
    struct kt_log log;
    char link[280];
};

/* Sets up `of`, and returns its log, which passes lines on to `log`; with a link that is NULL, returns `log`. */
const struct kt_log *kt_log_of_link(struct kt_log_of_link *of, const struct kt_log *log, const char *link);

/* Formats one line and passes it to the sink if `level` is enabled. Lines over 1 KiB are cut and end in "...".
 * Bytes from a peer are safe as arguments: control characters are replaced by '?'. */
void kt_log(const struct kt_log *log, enum kt_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for a line about these fields. */
void kt_log_with(const struct kt_log *log, enum kt_log_level level, struct kt_log_fields fields,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* The fields of a line about a link's other end. */
static inline struct kt_log_fields kt_log_peer(const char *address)
{
    return (struct kt_log_fields){.peer = address};
}

static inline bool kt_log_on(const struct kt_log *log, enum kt_log_level level)
{
    if (log && log->to) log = log->to;
    return log && log->sink && level >= log->level;
}

/* "debug", "info", "warn", "error", "quiet". */
const char *kt_log_level_name(enum kt_log_level level);

/* The level for a name; false for an unknown one. */
bool kt_log_level_parse(const char *name, enum kt_log_level *out);

#endif
