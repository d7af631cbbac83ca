/* The received bytes of a stream, by offset: in any order, with overlaps and duplicates (docs/wire.md, 6.1). The
 * reader sees the bytes in order and in place.
 *
 * The owner limits `highest`, so memory is limited by the credit that it gave (blocks.h). */
#ifndef KT_LINK_NATIVE_RECV_BUFFER_H
#define KT_LINK_NATIVE_RECV_BUFFER_H

#include <stdbool.h>
#include "base/err.h"
#include "link/native/blocks.h"

struct kt_native_recv_buffer {
    struct kt_native_blocks blocks;
    uint64_t taken;   /* bytes that the reader took */
    uint64_t ready;   /* all bytes before it have arrived */
    uint64_t highest; /* no byte from here on has arrived */
    uint64_t final;   /* length of the stream; UINT64_MAX: not known yet */
};

void kt_native_recv_init(struct kt_native_recv_buffer *r, struct kt_slab *slab);
/* Drops what has arrived and gives all blocks back. Nothing may be put any more. */
void kt_native_recv_clear(struct kt_native_recv_buffer *r);

/* Takes n bytes at `offset`; last: the stream ends with them. offset + n is at most 62 bits. 0; KT_EPROTO:
 * they contradict the length of the stream, and nothing was changed; KT_ENOMEM: some of the bytes may be
 * stored, but none counts as arrived. */
int kt_native_recv_put(struct kt_native_recv_buffer *r, uint64_t offset, const void *data, size_t n,
    bool last, struct kt_err *err);

/* Up to max pieces of what is ready; returns their number. Valid until the next call but this. */
static inline size_t kt_native_recv_peek(
    const struct kt_native_recv_buffer *r, struct kt_iov *iov, size_t max)
{
    return kt_native_blocks_peek(&r->blocks, r->taken, r->ready, iov, max);
}
/* Drops n bytes that were ready. */
void kt_native_recv_consume(struct kt_native_recv_buffer *r, size_t n);

/* True if every byte of the stream has arrived. */
static inline bool kt_native_recv_complete(const struct kt_native_recv_buffer *r)
{
    return r->ready == r->final;
}

#endif
