/* A writer takes text for a descriptor or a file and writes it from its own thread, so that a stalled reader (a
 * stopped terminal, a full pipe, a hung file system) blocks only that thread.
 *
 * It does not use O_NONBLOCK, because that flag belongs to the open file, which a terminal or pipe shares with
 * other programs. It does not poll before writing, because POLLOUT promises room only for some bytes and says
 * nothing about files.
 *
 * Text that does not fit is dropped, and its lines are counted. The buffer holds KT_WRITER_MAX bytes besides
 * those being written. When it is full, a caller waits for up to KT_WRITER_WAIT_MS if the reader has recently
 * taken something, since the thread may just not have run yet; useless waits happen at most once a second. All
 * functions may be called from any thread. */
#ifndef KT_IO_WRITER_H
#define KT_IO_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "io/io.h"

/* Most bytes that wait; a single longer text is taken if none wait. This also limits the batch being written. */
#define KT_WRITER_MAX ((size_t)512 << 10)
#define KT_WRITER_WAIT_MS 50

struct kt_writer;

/* A writer for a descriptor, which stays open. Free *out with kt_writer_close. 0, KT_ENOMEM, or KT_ELIMIT if no
 * thread can be started. events: only `lost` is called; may be NULL. */
int kt_writer_new(struct kt_writer **out, int fd, const struct kt_append_events *events, void *ctx);
/* The same for records: texts that end with a NUL, which is not passed on. Each is handed to record(fd, …) by itself,
 * on the thread, where it may wait. Takes fd over, also on failure. Lost lines are lost records; what `lost` writes is
 * one. */
int kt_writer_new_records(struct kt_writer **out, int fd,
    void (*record)(int fd, const char *data, size_t len), const struct kt_append_events *events, void *ctx);
/* False if the text, or an earlier one that would have to come first, was dropped. */
bool kt_writer_put(struct kt_writer *w, const char *text, size_t len);
/* Lines dropped so far. */
uint64_t kt_writer_lost(struct kt_writer *w);
/* Waits until everything is written, as long as the reader keeps taking something and for a few seconds at most;
 * then frees. The rest is lost. No event follows. NULL is harmless. */
void kt_writer_close(struct kt_writer *w);

/* kt_append_open for files of this machine. */
int kt_writer_append_open(
    struct kt_io *io, const struct kt_append_options *options, struct kt_appender **out, struct kt_err *err);

#endif
