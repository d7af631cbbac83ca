/* The block that a conn reads into, for both backends. Each allocates and frees `data` its own way.
 *
 * Invariant: pos <= len <= KT_CONN_READ; both are 0 without a block. */
#ifndef KT_IO_READ_BLOCK_H
#define KT_IO_READ_BLOCK_H

#include <assert.h>
#include "io/io.h"

struct kt_read_block {
    uint8_t *data;   /* KT_CONN_READ bytes, or NULL */
    size_t pos, len; /* unread: pos..len */
};

/* Bytes that still fit. */
static inline size_t kt_read_block_room(const struct kt_read_block *b)
{
    return KT_CONN_READ - b->len;
}

static inline bool kt_read_block_unread(const struct kt_read_block *b)
{
    return b->pos < b->len;
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
