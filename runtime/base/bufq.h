/* A byte queue in blocks from a slab: append copies bytes in, peek shows them in place, consume drops them from
 * the front. It holds at most one partly filled block more than the queued bytes need. */
#ifndef KT_BASE_BUFQ_H
#define KT_BASE_BUFQ_H

#include <stddef.h>
#include <stdint.h>

struct kt_slab;
struct kt_bufq_block;

struct kt_iov {
    const uint8_t *data;
    size_t len;
};

struct kt_bufq {
    struct kt_slab *slab; /* block size at least 64 */
    struct kt_bufq_block *head, *tail;
    size_t len;   /* bytes queued */
    size_t *bill; /* counts the blocks of this queue and others; NULL: not counted */
};

void kt_bufq_init(struct kt_bufq *q, struct kt_slab *slab);

/* From now on counts this queue's blocks in *bill, and no longer where they were counted before. */
void kt_bufq_bill(struct kt_bufq *q, size_t *bill);

/* Drops everything. The queue stays usable. */
void kt_bufq_clear(struct kt_bufq *q);

/* Appends n bytes, or fewer if the slab runs out of blocks. Returns the number appended. */
size_t kt_bufq_append(struct kt_bufq *q, const void *data, size_t n);

/* Bytes that fit without another block. */
size_t kt_bufq_slack(const struct kt_bufq *q);

/* Gives room to write in place at the tail, adding a block if the tail is full: sets *space to the address and
 * returns the size, or 0 if the slab is exhausted. kt_bufq_commit then makes n of those bytes part of the
 * queue; without a commit nothing changes. The address is valid until the queue next changes. A commit of 0
 * means that nothing arrived, and gives an empty queue's block back. */
size_t kt_bufq_space(struct kt_bufq *q, uint8_t **space);
void kt_bufq_commit(struct kt_bufq *q, size_t n);

/* Fills iov with up to max pieces, starting at byte `offset` of the queue; returns the number filled. Valid
 * until the queue next changes. */
size_t kt_bufq_peek(const struct kt_bufq *q, size_t offset, struct kt_iov *iov, size_t max);

/* Drops the first n bytes; n must not exceed len. */
void kt_bufq_consume(struct kt_bufq *q, size_t n);

#endif
