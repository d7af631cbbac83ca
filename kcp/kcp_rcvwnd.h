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
#ifndef KT_KCP_RCVWND_H
#define KT_KCP_RCVWND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/slab.h"

struct kt_rcv_slot {
    uint8_t *data; /* pool block; NULL for an empty segment */
    uint16_t len;
    bool held;
};

struct kt_rcvwnd {
    struct kt_slab *pool;
    struct kt_rcv_slot *ring;
    uint32_t cap, limit;
    uint32_t read, nxt;
    uint32_t edge;  /* never before nxt; beyond nxt + limit only after the limit fell */
    uint32_t off;   /* bytes of the segment at `read` already consumed */
    uint64_t bytes; /* total put in order */
    uint32_t held;  /* blocks */
    uint32_t reach; /* segments from `read` on that are stored; UINT32_MAX: all of the window */
};

enum kt_rcv_result {
    KT_RCV_STORED,
    KT_RCV_REPEAT, /* held or consumed before */
    KT_RCV_BEYOND, /* past the window */
    KT_RCV_NOMEM,
};

/* 0 or KT_ENOMEM. The ring starts small and doubles as needed; it shrinks when the limit does. */
int kt_rcvwnd_init(struct kt_rcvwnd *w, struct kt_slab *pool, uint32_t limit);
void kt_rcvwnd_destroy(struct kt_rcvwnd *w);

/* From now on the window is `limit` segments; one that opens takes in what waited beyond it. */
void kt_rcvwnd_limit(struct kt_rcvwnd *w, uint32_t limit);

/* Takes a copy of a segment; len fits a block. */
enum kt_rcv_result kt_rcvwnd_put(struct kt_rcvwnd *w, uint32_t sn, const uint8_t *data, uint32_t len);

size_t kt_rcvwnd_peek(const struct kt_rcvwnd *w, const uint8_t **data);
void kt_rcvwnd_consume(struct kt_rcvwnd *w, size_t n);

/* Segments the peer may still send, as told in `wnd`. */
static inline uint32_t kt_rcvwnd_free(const struct kt_rcvwnd *w)
{
    uint32_t unread = w->nxt - w->read;
    return unread < w->limit ? w->limit - unread : 0;
}

#endif
