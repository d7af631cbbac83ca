/* The receive window: what has arrived and was not consumed.
 *
 *     read ............ nxt ............ nxt + limit
 *      | in order, unread | out of order, |              a ring indexed by sn
 *      | (at most limit)  | with gaps     |
 *
 * Invariant: all of [read, nxt) is held and the segment at `read` is not empty, so that a reader always sees
 * a byte if there is one (a PUSH without bytes stalls kcp-go for ever; it is stepped over here). `nxt` stops
 * at read + limit: what a stalled reader leaves behind closes the window and is never more than 2 * limit.
 *
 * A limit that becomes smaller takes nothing back: what is held stays, and what the peer was promised room
 * for, up to `edge`, is still taken. */
#ifndef KT_KCP_RECV_RING_H
#define KT_KCP_RECV_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/slab.h"

struct kt_recv_slot {
    uint8_t *data; /* pool block; NULL for an empty segment */
    uint16_t len;
    bool held;
};

struct kt_recv_ring {
    struct kt_slab *pool;
    struct kt_recv_slot *ring;
    uint32_t cap, limit;
    uint32_t read, nxt;
    uint32_t edge;  /* never before nxt; beyond nxt + limit only after the limit fell */
    uint32_t off;   /* bytes of the segment at `read` already consumed */
    uint64_t bytes; /* total put in order */
    uint32_t held;  /* blocks */
    uint32_t reach; /* segments from `read` on that are stored; UINT32_MAX: all of the window */
};

enum kt_recv_result {
    KT_RECV_STORED,
    KT_RECV_REPEAT, /* held or consumed before */
    KT_RECV_BEYOND, /* past the window */
    KT_RECV_NOMEM,
};

/* 0 or KT_ENOMEM. The ring starts small and doubles as needed; it shrinks when the limit does. */
int kt_recv_ring_init(struct kt_recv_ring *w, struct kt_slab *pool, uint32_t limit);
void kt_recv_ring_destroy(struct kt_recv_ring *w);

/* From now on the window is `limit` segments; one that opens takes in what waited beyond it. */
void kt_recv_ring_limit(struct kt_recv_ring *w, uint32_t limit);

/* Takes a copy of a segment; len fits a block. */
enum kt_recv_result kt_recv_ring_put(struct kt_recv_ring *w, uint32_t sn, const uint8_t *data, uint32_t len);

size_t kt_recv_ring_peek(const struct kt_recv_ring *w, const uint8_t **data);
void kt_recv_ring_consume(struct kt_recv_ring *w, size_t n);

/* Segments the peer may still send, as told in `wnd`. */
static inline uint32_t kt_recv_ring_free(const struct kt_recv_ring *w)
{
    uint32_t unread = w->nxt - w->read;
    return unread < w->limit ? w->limit - unread : 0;
}

#endif
