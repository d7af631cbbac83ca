/* Byte queue in blocks from a pool: append copies in, peek shows pieces in place, consume drops from the
 * front. Memory held is at most one partly filled block more than the bytes queued. */
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
    struct kt_slab *pool; /* block size at least 64 */
    struct kt_bufq_block *head, *tail;
    size_t len;   /* bytes queued */
    size_t *bill; /* counts the blocks held by this queue and others; NULL: nobody does */
};

void kt_bufq_init(struct kt_bufq *q, struct kt_slab *pool);

/* Has its blocks counted there from now on, and no longer where they were. */
void kt_bufq_bill(struct kt_bufq *q, size_t *bill);

/* Drops everything. The queue stays usable. */
void kt_bufq_clear(struct kt_bufq *q);

/* Appends n bytes; all or as many as the pool has blocks for. Returns how many were taken. */
size_t kt_bufq_append(struct kt_bufq *q, const void *data, size_t n);

/* Room to write in place at the tail (adds a block if the tail is full): *space gets the address, the size is
 * returned; 0 if the pool is exhausted. kt_bufq_commit then makes n of those bytes part of the queue; without
 * a commit nothing changes. The address is good until the next change of the queue. kt_bufq_commit of 0 says
 * that nothing came, and gives an empty queue's block back. */
size_t kt_bufq_space(struct kt_bufq *q, uint8_t **space);
void kt_bufq_commit(struct kt_bufq *q, size_t n);

/* Fills iov with up to max pieces starting at byte `offset` of the queue; returns how many. Valid until the
 * next change. */
size_t kt_bufq_peek(const struct kt_bufq *q, size_t offset, struct kt_iov *iov, size_t max);

/* Drops the first n bytes; n must not exceed len. */
void kt_bufq_consume(struct kt_bufq *q, size_t n);

#endif
