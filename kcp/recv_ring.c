/* The receive window. Invariants: recv_ring.h. Every function here is O(1) a segment. */
#include "kcp/recv_ring.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "kcp/kcp_segment.h"

#define FIRST_CAP 8u

static struct kt_recv_slot *at(const struct kt_recv_ring *w, uint32_t sn)
{
    return &w->ring[sn & (w->cap - 1)];
}

int kt_recv_ring_init(struct kt_recv_ring *w, struct kt_slab *pool, uint32_t limit)
{
    *w = (struct kt_recv_ring){.pool = pool, .limit = limit, .cap = FIRST_CAP, .reach = UINT32_MAX};
    w->ring = calloc(w->cap, sizeof *w->ring);
    return w->ring ? 0 : KT_ENOMEM;
}

void kt_recv_ring_destroy(struct kt_recv_ring *w)
{
    for (uint32_t i = 0; w->ring && i < w->cap; i++) {
        if (w->ring[i].data) kt_slab_put(w->pool, w->ring[i].data);
    }
    free(w->ring);
    w->ring = NULL;
}

/* Gives the ring another size, a power of two that all that is held fits in. */
static bool resize(struct kt_recv_ring *w, uint32_t cap)
{
    struct kt_recv_ring other = {.cap = cap};
    const uint32_t both = cap < w->cap ? cap : w->cap;
    other.ring = calloc(cap, sizeof *other.ring);
    if (!other.ring) return false;
    for (uint32_t i = 0; i < both; i++) *at(&other, w->read + i) = *at(w, w->read + i);
    free(w->ring);
    w->ring = other.ring;
    w->cap = cap;
    return true;
}

/* Makes the ring reach `span` slots from `read` on. */
static bool reach(struct kt_recv_ring *w, uint32_t span)
{
    uint32_t cap = w->cap;
    while (cap < span) cap *= 2;
    return cap == w->cap || resize(w, cap);
}

/* Whether a segment at or after `read` is held. Past the end of a small ring nothing is. */
static bool held(const struct kt_recv_ring *w, uint32_t sn)
{
    return sn - w->read < w->cap && at(w, sn)->held;
}

static void drop_first(struct kt_recv_ring *w)
{
    struct kt_recv_slot *s = at(w, w->read);
    if (s->data) {
        kt_slab_put(w->pool, s->data);
        w->held--;
    }
    *s = (struct kt_recv_slot){0};
    w->off = 0;
    w->read++;
}

/* Moves nxt over what has become contiguous, as far as the window allows, and read over empty segments. Each
 * of the latter makes room for one more of the former, hence one loop. */
static void advance(struct kt_recv_ring *w)
{
    for (;;) {
        if (w->read != w->nxt && at(w, w->read)->len == 0) {
            drop_first(w);
        } else if (w->nxt - w->read < w->limit && held(w, w->nxt)) {
            w->bytes += at(w, w->nxt)->len;
            w->nxt++;
        } else {
            break;
        }
    }
    if (kt_sn_diff(w->edge, w->nxt) < 0) w->edge = w->nxt;
}

void kt_recv_ring_limit(struct kt_recv_ring *w, uint32_t limit)
{
    if (limit < w->limit && kt_sn_diff(w->nxt + w->limit, w->edge) > 0) w->edge = w->nxt + w->limit;
    w->limit = limit;
    advance(w);
    /* Once in a while, so a look at every slot is no matter. */
    uint32_t span = w->cap, cap = FIRST_CAP;
    while (span > 0 && !at(w, w->read + span - 1)->held) span--;
    while (cap < span) cap *= 2;
    if (cap < w->cap) resize(w, cap); /* without memory for it, the larger one does */
}

enum kt_recv_result kt_recv_ring_put(struct kt_recv_ring *w, uint32_t sn, const uint8_t *data, uint32_t len)
{
    int32_t ahead = kt_sn_diff(sn, w->nxt);
    if (ahead < 0) return KT_RECV_REPEAT;
    if ((uint32_t)ahead >= w->limit && kt_sn_diff(sn, w->edge) >= 0) return KT_RECV_BEYOND;
    if (held(w, sn)) return KT_RECV_REPEAT;
    if (sn - w->read >= w->reach) return KT_RECV_NOMEM;
    if (!reach(w, sn - w->read + 1)) return KT_RECV_NOMEM;
    uint8_t *block = NULL;
    if (len > 0) {
        block = kt_slab_get(w->pool);
        if (!block) return KT_RECV_NOMEM;
        memcpy(block, data, len);
        w->held++;
    }
    *at(w, sn) = (struct kt_recv_slot){.data = block, .len = (uint16_t)len, .held = true};
    if (ahead == 0) advance(w);
    return KT_RECV_STORED;
}

size_t kt_recv_ring_peek(const struct kt_recv_ring *w, const uint8_t **data)
{
    if (w->read == w->nxt) return 0;
    const struct kt_recv_slot *s = at(w, w->read);
    *data = s->data + w->off;
    return s->len - w->off;
}

void kt_recv_ring_consume(struct kt_recv_ring *w, size_t n)
{
    if (n == 0) return;
    assert(w->read != w->nxt && n <= at(w, w->read)->len - w->off);
    w->off += (uint32_t)n;
    if (w->off < at(w, w->read)->len) return;
    drop_first(w);
    advance(w);
}
