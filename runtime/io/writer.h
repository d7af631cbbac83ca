/* A writer takes text for a descriptor or a file and writes it from a thread of its own, so that a reader who
 * stalls (a stopped terminal, a full pipe, a hung file system) stalls that thread and nothing else.
 *
 * Not O_NONBLOCK: that flag belongs to the open file, which a terminal or a pipe shares with other programs.
 * Not poll before write: POLLOUT promises room for some bytes, not for all, and says nothing about files.
 *
 * Text that finds no room is dropped, and its lines are counted. There is room for KT_WRITER_MAX bytes beside
 * those that are being written. When that is full, a caller waits a moment for a reader who has taken
 * something of late, since the thread may only not have had its turn: KT_WRITER_WAIT_MS, and in vain at most
 * once a second. All functions may be called from any thread. */
#ifndef KT_IO_WRITER_H
#define KT_IO_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "io/io.h"

/* Bytes that wait, at most; one longer text is taken when none wait. The batch that is being written is no
 * longer than that either. */
#define KT_WRITER_MAX ((size_t)512 << 10)
#define KT_WRITER_WAIT_MS 50

struct kt_writer;

/* For a descriptor, which is not closed. *out is freed by kt_writer_close. 0, or KT_ELIMIT or KT_ENOMEM when
 * there can be no thread. events: only `lost` is called; may be NULL. */
int kt_writer_new(struct kt_writer **out, int fd, const struct kt_append_events *events, void *ctx);
/* False when the text, or an earlier one that would have to come first, was dropped. */
bool kt_writer_put(struct kt_writer *w, const char *text, size_t len);
/* Lines dropped so far. */
uint64_t kt_writer_lost(struct kt_writer *w);
/* Waits until everything is written, but no longer than the reader keeps taking something, and a few seconds
 * at most; then frees. What is left then is lost. No event comes afterwards. NULL is harmless. */
void kt_writer_close(struct kt_writer *w);

/* kt_append_open for files of this machine. */
int kt_writer_append_open(struct kt_io *io, const char *path, const char *head,
    const struct kt_append_events *events, void *ctx, struct kt_appender **out, struct kt_err *err);

#endif
