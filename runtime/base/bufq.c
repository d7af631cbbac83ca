/* A byte queue in blocks from a slab.
 *
 * Invariant: every block but the tail is full, so finding a byte means only walking blocks, and no space is
 * wasted in the middle. An empty queue holds no block, except one that kt_bufq_space has added and the caller
 * has not committed to yet. */
#include "base/bufq.h"

#include <assert.h>
#include <string.h>
#include "base/bytes.h"
#include "base/slab.h"

struct kt_bufq_block {
    struct kt_bufq_block *next;
    uint32_t start, end; /* the queued bytes are data[start..end) */
    uint8_t data[];
};

static size_t capacity(const struct kt_bufq *q)
{
    size_t n = kt_slab_block_size(q->slab) - sizeof(struct kt_bufq_block);
    return n < UINT32_MAX ? n : UINT32_MAX;
}

void kt_bufq_init(struct kt_bufq *q, struct kt_slab *slab)
{
    assert(kt_slab_block_size(slab) >= 64);
    *q = (struct kt_bufq){.slab = slab};
}

static struct kt_bufq_block *get_block(struct kt_bufq *q)
{
    struct kt_bufq_block *b = kt_slab_get(q->slab);
    if (b && q->bill) ++*q->bill;
    return b;
}

static void put_block(struct kt_bufq *q, struct kt_bufq_block *b)
{
    kt_slab_put(q->slab, b);
    if (q->bill) --*q->bill;
}

void kt_bufq_bill(struct kt_bufq *q, size_t *bill)
{
    for (const struct kt_bufq_block *b = q->head; b; b = b->next) {
        if (q->bill) --*q->bill;
        if (bill) ++*bill;
    }
    q->bill = bill;
}

void kt_bufq_clear(struct kt_bufq *q)
{
    struct kt_bufq_block *b = q->head;
    while (b) {
        struct kt_bufq_block *next = b->next;
        put_block(q, b);
        b = next;
    }
    q->head = q->tail = NULL;
    q->len = 0;
}

/* The last block, or a new one if that is full. NULL: the slab is exhausted. */
static struct kt_bufq_block *open_tail(struct kt_bufq *q, size_t cap)
{
    struct kt_bufq_block *b = q->tail;
    if (b && b->end < cap) return b;
    b = get_block(q);
    if (!b) return NULL;
    b->next = NULL;
    b->start = b->end = 0;
    if (q->tail)
        q->tail->next = b;
    else
        q->head = b;
    q->tail = b;
    return b;
}

size_t kt_bufq_space(struct kt_bufq *q, uint8_t **space)
{
    const size_t cap = capacity(q);
    struct kt_bufq_block *b = open_tail(q, cap);
    *space = b ? b->data + b->end : NULL;
    return b ? cap - b->end : 0;
}

void kt_bufq_commit(struct kt_bufq *q, size_t n)
{
    if (n) {
        assert(q->tail && n <= capacity(q) - q->tail->end);
        q->tail->end += (uint32_t)n;
        q->len += n;
    } else if (q->len == 0) {
        kt_bufq_clear(q); /* nothing arrived: an idle queue keeps no block */
    }
}

size_t kt_bufq_append(struct kt_bufq *q, const void *data, size_t n)
{
    const uint8_t *from = data;
    const size_t cap = capacity(q);
    size_t taken = 0;
    while (taken < n) {
        struct kt_bufq_block *b = open_tail(q, cap);
        if (!b) break;
        const size_t room = kt_min_size(cap - b->end, n - taken);
        memcpy(b->data + b->end, from + taken, room);
        b->end += (uint32_t)room;
        taken += room;
    }
    q->len += taken;
    return taken;
}

size_t kt_bufq_slack(const struct kt_bufq *q)
{
    return q->tail ? capacity(q) - q->tail->end : 0;
}

size_t kt_bufq_peek(const struct kt_bufq *q, size_t offset, struct kt_iov *iov, size_t max)
{
    size_t pieces = 0;
    for (const struct kt_bufq_block *b = q->head; b && pieces < max; b = b->next) {
        size_t held = b->end - b->start;
        if (offset >= held) {
            offset -= held;
            continue;
        }
        iov[pieces].data = b->data + b->start + offset;
        iov[pieces].len = held - offset;
        pieces++;
        offset = 0;
    }
    return pieces;
}

void kt_bufq_consume(struct kt_bufq *q, size_t n)
{
    assert(n <= q->len);
    if (n == 0) return;
    if (n == q->len) {
        kt_bufq_clear(q);
        return;
    }
    q->len -= n;
    while (n) {
        struct kt_bufq_block *b = q->head;
        size_t held = b->end - b->start;
        if (n < held) {
            b->start += (uint32_t)n;
            return;
        }
        q->head = b->next;
        put_block(q, b);
        n -= held;
    }
}
