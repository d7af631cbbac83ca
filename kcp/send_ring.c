/* The send ring: storage of segments by sn, from the write to the acknowledgement. O(1) a segment; the
 * invariant is in send_ring.h. */
#include "kcp/send_ring.h"
#include <stdlib.h>
#include <string.h>
#include "base/err.h"

#define FIRST_CAP 8u
#define CACHE_LINE 64u
_Static_assert(CACHE_LINE % sizeof(struct kt_send_slot) == 0, "no slot crosses cache lines");

static void release(struct kt_send_ring *r)
{
    free(r->slots);
    free(r->firsts);
    free(r->snapshots);
    r->slots = NULL;
    r->firsts = NULL;
    r->snapshots = NULL;
}

static bool allocate(struct kt_send_ring *r, uint32_t cap)
{
    r->mask = cap - 1;
    r->slots = aligned_alloc(CACHE_LINE, cap * sizeof *r->slots);
    r->firsts = malloc(cap * sizeof *r->firsts);
    r->snapshots = malloc(cap * sizeof *r->snapshots);
    if (r->slots && r->firsts && r->snapshots) return true;
    release(r);
    return false;
}

int kt_send_ring_init(struct kt_send_ring *r, struct kt_slab *slab, uint32_t limit)
{
    *r = (struct kt_send_ring){.slab = slab, .limit = limit};
    return allocate(r, FIRST_CAP) ? 0 : KT_ENOMEM;
}

void kt_send_ring_destroy(struct kt_send_ring *r)
{
    for (uint32_t sn = r->una; r->slots && sn != r->end; sn++) {
        struct kt_send_slot *s = kt_send_ring_at(r, sn);
        if (s->data) kt_slab_put(r->slab, s->data);
    }
    release(r);
}

/* Moves what is held to a ring of `cap` slots, a power of two that holds it all. Lists link slots by sn, so
 * they survive the move. */
static bool resize(struct kt_send_ring *r, uint32_t cap)
{
    struct kt_send_ring other;
    if (!allocate(&other, cap)) return false;
    for (uint32_t sn = r->una; sn != r->end; sn++) *kt_send_ring_at(&other, sn) = *kt_send_ring_at(r, sn);
    for (uint32_t sn = r->una; sn != r->nxt; sn++) {
        *kt_send_ring_first(&other, sn) = *kt_send_ring_first(r, sn);
        *kt_send_ring_snapshot(&other, sn) = *kt_send_ring_snapshot(r, sn);
    }
    release(r);
    r->slots = other.slots;
    r->firsts = other.firsts;
    r->snapshots = other.snapshots;
    r->mask = cap - 1;
    return true;
}

static void shrink(struct kt_send_ring *r, uint32_t most)
{
    uint32_t cap = FIRST_CAP;
    while (cap < most) cap *= 2;
    if (cap - 1 < r->mask) resize(r, cap); /* out of memory: keep the larger one */
}

void kt_send_ring_limit(struct kt_send_ring *r, uint32_t limit)
{
    r->limit = limit;
    shrink(r, r->end - r->una > limit ? r->end - r->una : limit);
}

void kt_send_ring_trim(struct kt_send_ring *r)
{
    shrink(r, r->end - r->una);
}

static size_t fill(struct kt_send_slot *s, const uint8_t *data, size_t n, uint32_t mss)
{
    size_t room = s->len < mss ? (size_t)mss - s->len : 0; /* mss may have shrunk */
    if (n > room) n = room;
    memcpy(s->data + s->len, data, n);
    s->len = (uint16_t)(s->len + n);
    return n;
}

/* Appends an empty segment, of which up to n bytes will be filled; NULL at the limit or without memory. */
static struct kt_send_slot *append(struct kt_send_ring *r, size_t n)
{
    if (kt_send_ring_free(r) == 0) return NULL;
    if (r->end - r->una > r->mask && !resize(r, (r->mask + 1) * 2)) return NULL;
    uint8_t *block = kt_slab_get(r->slab);
    if (!block) return NULL;
    if (n >= KT_SLAB_FETCHED) kt_slab_fetch(block);
    struct kt_send_slot *s = kt_send_ring_at(r, r->end++);
    *s = (struct kt_send_slot){.data = block};
    return s;
}

bool kt_send_ring_write_message(struct kt_send_ring *r, const uint8_t *data, size_t n, uint32_t mss)
{
    const size_t count = (n + mss - 1) / mss;
    const uint32_t end = r->end;
    if (count > kt_send_ring_free(r)) return false;
    for (size_t i = 0, taken = 0; i < count; i++) {
        struct kt_send_slot *s = append(r, n - taken);
        if (!s) {
            while (r->end != end) kt_slab_put(r->slab, kt_send_ring_at(r, --r->end)->data);
            return false;
        }
        s->frg = (uint8_t)(count - 1 - i);
        taken += fill(s, data + taken, n - taken, mss);
    }
    return true;
}

size_t kt_send_ring_write(struct kt_send_ring *r, const uint8_t *data, size_t n, uint32_t mss)
{
    size_t taken = 0;
    if (n > 0 && r->end != r->nxt) taken = fill(kt_send_ring_at(r, r->end - 1), data, n, mss);
    struct kt_send_slot *s;
    while (taken < n && (s = append(r, n - taken)) != NULL) taken += fill(s, data + taken, n - taken, mss);
    return taken;
}
