/* The receive ring: segments that have arrived and not been consumed.
 *
 *     read ............ nxt ............ nxt + limit
 *      | in order, unread | out of order, |              a ring indexed by sn
 *      | (at most limit)  | with gaps     |
 *
 * Invariant: every segment in [read, nxt) is held, and the one at `read` is not empty, so a reader always
 * sees a byte if there is one (an empty PUSH stalls kcp-go permanently; here it is skipped). `nxt` stops at
 * read + limit: what a stalled reader leaves behind closes the window, and at most 2 * limit segments are
 * held.
 *
 * Lowering the limit drops nothing: what is held stays, and segments up to `edge`, which the window
 * announced before allows, are still accepted. */
#ifndef KT_KCP_RECV_RING_H
#define KT_KCP_RECV_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/slab.h"

struct kt_recv_slot {
    uint8_t *data; /* slab block; NULL for an empty segment */
    uint16_t len;
    uint8_t frg; /* segments of its message that follow it */
    bool held;
};

struct kt_recv_ring {
    struct kt_slab *slab;
    struct kt_recv_slot *slots;
    uint32_t mask, limit; /* slots allocated, a power of two, less 1; the window */
    uint32_t read, nxt;
    uint32_t edge;  /* not before nxt; beyond nxt + limit only after the limit was lowered */
    uint32_t off;   /* bytes consumed of the segment at `read` */
    uint64_t bytes; /* total received in order */
    uint32_t held;  /* blocks */
    uint32_t reach; /* only segments below read + reach are stored; UINT32_MAX: no limit */
};

enum kt_recv_result {
    KT_RECV_STORED,
    KT_RECV_REPEAT, /* held or consumed before */
    KT_RECV_BEYOND, /* past the window */
    KT_RECV_NOMEM,
};

/* 0 or KT_ENOMEM. The ring starts small and doubles as needed; it shrinks when the limit does. */
int kt_recv_ring_init(struct kt_recv_ring *r, struct kt_slab *slab, uint32_t limit);
void kt_recv_ring_destroy(struct kt_recv_ring *r);

/* Changes the window to `limit` segments. A larger one lets nxt pass over segments that waited beyond the
 * old one. */
void kt_recv_ring_limit(struct kt_recv_ring *r, uint32_t limit);
/* Frees slots that are not in use. Looks at every slot, so call it rarely. */
void kt_recv_ring_trim(struct kt_recv_ring *r);

/* Bytes of its slots. */
static inline size_t kt_recv_ring_slots(const struct kt_recv_ring *r)
{
    return ((size_t)r->mask + 1) * sizeof *r->slots;
}

/* Stores a copy of a segment; len must fit a block. */
enum kt_recv_result kt_recv_ring_put(
    struct kt_recv_ring *r, uint32_t sn, uint8_t frg, const uint8_t *data, uint32_t len);

size_t kt_recv_ring_peek(const struct kt_recv_ring *r, const uint8_t **data);
void kt_recv_ring_consume(struct kt_recv_ring *r, size_t n);
/* Stores only segments below read + n from now on. */
static inline void kt_recv_ring_reach(struct kt_recv_ring *r, uint32_t n)
{
    r->reach = n;
}

/* The unread bytes that are in order, counted up to the segment in which they reach `most`. */
size_t kt_recv_ring_unread(const struct kt_recv_ring *r, size_t most);
/* The bytes of the first message, which is as many segments as the frg of the first says; 0: it is not complete.
 * KT_EPROTO if it is longer than the window, so that it never will be. */
int kt_recv_ring_message(const struct kt_recv_ring *r);

/* Segments that the peer may still send: the `wnd` of our segments. Segments that would not be stored are not
 * announced, because the peer would send them again and again. */
static inline uint32_t kt_recv_ring_free(const struct kt_recv_ring *r)
{
    const uint32_t unread = r->nxt - r->read, most = r->reach < r->limit ? r->reach : r->limit;
    return unread < most ? most - unread : 0;
}

#endif
