/* Sends log lines to the journal of systemd, over its native protocol.
 *
 * Not libsystemd: its sd_journal_sendv keeps its socket in a global, and the library brings compression libraries into
 * a process that holds keys. All that kt needs is a datagram. */
#ifndef KT_IO_JOURNAL_H
#define KT_IO_JOURNAL_H

#include "base/err.h"

struct kt_append_events;
struct kt_writer;

/* Makes a writer whose records (kt_writer_new_records) are datagrams as kt_log_write makes them. events and ctx as for
 * kt_writer_new. 0, or a code and a sentence: no journal listens. */
int kt_journal_open(
    struct kt_writer **out, const struct kt_append_events *events, void *ctx, struct kt_err *err);

#endif
