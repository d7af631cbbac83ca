/* How a log line is written: as text for people, as JSON for programs, or as the journal of systemd takes it.
 *
 *     2026-11-22 10:33:58 info  client: listening on 127.0.0.1:12948
 *     {"time":"2026-11-22T10:33:58.123Z","level":"info","script":"client","msg":"listening on 127.0.0.1:12948"}
 *
 * JSON has the keys time, level, script, link, pool, conn, peer, msg, repeated, in this order; it lacks those that a
 * line does not have. Every line is valid UTF-8 there: other bytes become U+FFFD. The journal's form is its native
 * protocol, one datagram of FIELD=value lines (systemd.io/JOURNAL_NATIVE_PROTOCOL): MESSAGE, PRIORITY,
 * SYSLOG_IDENTIFIER, and KT_SCRIPT, KT_LINK, KT_POOL, KT_CONN, KT_PEER, KT_REPEATED. */
#ifndef KT_BASE_LOG_FORMAT_H
#define KT_BASE_LOG_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/log.h"

enum kt_log_format { KT_LOG_TEXT, KT_LOG_JSON, KT_LOG_JOURNAL };

/* The format for "text", "json" or "journald"; false for another name. */
bool kt_log_format_parse(const char *name, enum kt_log_format *out);

struct kt_log_line {
    const char *date; /* text only: written first; "": none */
    uint64_t wall_us; /* JSON only: since 1970; 0: no time */
    enum kt_log_level level;
    const char *script; /* name of the script or the verb; "": none */
    struct kt_log_fields fields;
    const char *text;  /* a line of kt_log */
    uint64_t repeated; /* how often it was held back (base/log_repeats.h); 0: it stands for itself */
};

/* Room for any line of kt_log. Longer fields are cut at 255 bytes. */
#define KT_LOG_FORMATTED 8192u
/* Returns the length of what is written to out, which ends with a newline. A NUL follows; there is none in it. */
size_t kt_log_write(enum kt_log_format format, const struct kt_log_line *line, char out[KT_LOG_FORMATTED]);

#endif
