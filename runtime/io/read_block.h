/* Bytes that a conn has read and its consumer has not taken, for both backends. Each allocates and frees `data`
 * its own way.
 *
 * Invariant: pos <= len, at most KT_CONN_READ bytes are unread, and pos and len are 0 without data. */
#ifndef KT_IO_READ_BLOCK_H
#define KT_IO_READ_BLOCK_H

#include <assert.h>
#include "io/io.h"

struct kt_read_block {
    uint8_t *data;   /* or NULL */
    size_t pos, len; /* unread: pos..len */
};

static inline bool kt_read_block_unread(const struct kt_read_block *b)
{
    return b->pos < b->len;
}

/* How many bytes to read now for the listener of this conn; 0: none, until it peeks or consumes again. */
static inline size_t kt_read_block_wanted(const struct kt_read_block *b, const struct kt_pipe *conn)
{
    const struct kt_pipe_events *to = conn->events;
    const size_t unread = b->len - b->pos;
    size_t most = !to ? KT_CONN_AHEAD : to->room ? to->room(conn->ctx) : KT_CONN_READ;
    if (most > KT_CONN_READ) most = KT_CONN_READ;
    return most > unread ? most - unread : 0;
}

/* For kt_pipe_ops.peek. */
static inline size_t kt_read_block_peek(const struct kt_read_block *b, struct kt_iov *iov, size_t max)
{
    if (!kt_read_block_unread(b) || max == 0) return 0;
    iov[0] = (struct kt_iov){.data = b->data + b->pos, .len = b->len - b->pos};
    return 1;
}

/* For kt_pipe_ops.consume. True if nothing is left, so that the caller gives the block back. */
static inline bool kt_read_block_consume(struct kt_read_block *b, size_t n)
{
    assert(n <= b->len - b->pos);
    b->pos += n;
    return b->pos == b->len;
}

#endif
