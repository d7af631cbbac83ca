/* The receive ring: storage of segments by sn until the owner has read them. O(1) a segment; the invariant
 * is in recv_ring.h. */
#include "kcp/recv_ring.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "kcp/kcp_segment.h"

#define FIRST_CAP 8u

static struct kt_recv_slot *at(const struct kt_recv_ring *r, uint32_t sn)
{
    return &r->slots[sn & r->mask];
}

int kt_recv_ring_init(struct kt_recv_ring *r, struct kt_slab *slab, uint32_t limit)
{
    *r = (struct kt_recv_ring){.slab = slab, .limit = limit, .mask = FIRST_CAP - 1, .reach = UINT32_MAX};
    r->slots = calloc(FIRST_CAP, sizeof *r->slots);
    return r->slots ? 0 : KT_ENOMEM;
}

void kt_recv_ring_destroy(struct kt_recv_ring *r)
{
    for (uint32_t i = 0; r->slots && i <= r->mask; i++) {
        if (r->slots[i].data) kt_slab_put(r->slab, r->slots[i].data);
    }
    free(r->slots);
    r->slots = NULL;
}

/* Moves the slots to a ring of `cap` slots, a power of two that holds them all. */
static bool resize(struct kt_recv_ring *r, uint32_t cap)
{
    struct kt_recv_ring other = {.mask = cap - 1};
    const uint32_t both = kt_min32(cap, r->mask + 1);
    other.slots = calloc(cap, sizeof *other.slots);
    if (!other.slots) return false;
    for (uint32_t i = 0; i < both; i++) *at(&other, r->read + i) = *at(r, r->read + i);
    free(r->slots);
    r->slots = other.slots;
    r->mask = cap - 1;
    return true;
}

/* Makes the ring at least `span` slots long. */
static bool reach(struct kt_recv_ring *r, uint32_t span)
{
    uint32_t cap = r->mask + 1;
    if (span <= cap) return true;
    while (cap < span) cap *= 2;
    return resize(r, cap);
}

/* Whether a segment at or after `read` is held; past the end of a small ring none is. */
static bool held(const struct kt_recv_ring *r, uint32_t sn)
{
    return sn - r->read <= r->mask && at(r, sn)->held;
}

static void drop_first(struct kt_recv_ring *r)
{
    struct kt_recv_slot *s = at(r, r->read);
    if (s->data) {
        kt_slab_put(r->slab, s->data);
        r->held--;
    }
    *s = (struct kt_recv_slot){0};
    r->off = 0;
    r->read++;
}

/* Moves nxt over contiguous segments, as far as the window allows. */
static inline void extend(struct kt_recv_ring *r)
{
    for (; r->nxt - r->read < r->limit && held(r, r->nxt); r->nxt++) r->bytes += at(r, r->nxt)->len;
    if (kt_sn_diff(r->edge, r->nxt) < 0) r->edge = r->nxt;
}

/* Moves read over segments that were consumed or are empty. If the window held nxt back, each lets it move. */
static inline void skip(struct kt_recv_ring *r)
{
    while (r->read != r->nxt && r->off == at(r, r->read)->len) {
        const bool full = r->nxt - r->read >= r->limit;
        drop_first(r);
        if (full) extend(r);
    }
}

void kt_recv_ring_limit(struct kt_recv_ring *r, uint32_t limit)
{
    if (limit < r->limit && kt_sn_diff(r->nxt + r->limit, r->edge) > 0) r->edge = r->nxt + r->limit;
    r->limit = limit;
    extend(r);
    skip(r);
    kt_recv_ring_trim(r);
}

void kt_recv_ring_trim(struct kt_recv_ring *r)
{
    uint32_t span = r->mask + 1, cap = FIRST_CAP;
    while (span > 0 && !at(r, r->read + span - 1)->held) span--;
    while (cap < span) cap *= 2;
    if (cap - 1 < r->mask) resize(r, cap); /* out of memory: keep the larger one */
}

enum kt_recv_result kt_recv_ring_put(
    struct kt_recv_ring *r, uint32_t sn, uint8_t frg, const uint8_t *data, uint32_t len)
{
    int32_t ahead = kt_sn_diff(sn, r->nxt);
    if (ahead < 0) return KT_RECV_REPEAT;
    if ((uint32_t)ahead >= r->limit && kt_sn_diff(sn, r->edge) >= 0) return KT_RECV_BEYOND;
    if (held(r, sn)) return KT_RECV_REPEAT;
    if (sn - r->read >= r->reach) return KT_RECV_NOMEM;
    if (!reach(r, sn - r->read + 1)) return KT_RECV_NOMEM;
    uint8_t *block = NULL;
    if (len > 0) {
        block = kt_slab_get(r->slab);
        if (!block) return KT_RECV_NOMEM;
        memcpy(block, data, len);
        r->held++;
    }
    *at(r, sn) = (struct kt_recv_slot){.data = block, .len = (uint16_t)len, .frg = frg, .held = true};
    if (ahead == 0) {
        extend(r);
        skip(r);
    }
    return KT_RECV_STORED;
}

size_t kt_recv_ring_peek(const struct kt_recv_ring *r, const uint8_t **data)
{
    if (r->read == r->nxt) return 0;
    const struct kt_recv_slot *s = at(r, r->read);
    *data = s->data + r->off;
    return s->len - r->off;
}

void kt_recv_ring_consume(struct kt_recv_ring *r, size_t n)
{
    if (n == 0) return;
    assert(r->read != r->nxt && n <= at(r, r->read)->len - r->off);
    r->off += (uint32_t)n;
    skip(r);
}

size_t kt_recv_ring_unread(const struct kt_recv_ring *r, size_t most)
{
    size_t n = 0;
    for (uint32_t sn = r->read; sn != r->nxt && n < most; sn++)
        n += at(r, sn)->len - (sn == r->read ? r->off : 0);
    return n;
}

int kt_recv_ring_message(const struct kt_recv_ring *r)
{
    if (r->read == r->nxt) return 0;
    const uint32_t count = at(r, r->read)->frg + 1u;
    if (count > r->limit) return KT_EPROTO;
    if (r->nxt - r->read < count) return 0;
    int n = 0;
    for (uint32_t i = 0; i < count; i++) n += at(r, r->read + i)->len;
    return n;
}
