/* The send ring: segments written by the owner, until the peer's una passes them.
 *
 *     una ............ nxt ............ end
 *      | sent: in flight | queued, sn given |      a ring indexed by sn, at most `limit` long
 *      | or acknowledged |                  |
 *
 * Invariant: a slot in [una, nxt) holds a block if it is in flight, and none once it is acknowledged. A slot
 * in [nxt, end) holds a block. No slot outside [una, end) holds one.
 *
 * Payload lives in the slab, apart from the slots, so that handling an acknowledgement touches one small slot
 * whatever the window. The order in which segments in flight are sent again is kept by retx_order.h. */
#ifndef KT_KCP_SEND_RING_H
#define KT_KCP_SEND_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/slab.h"
#include "kcp/rate_sample.h"

/* Half a cache line, which each acknowledgement and each retransmission touches; it holds no more than they need. */
struct kt_send_slot {
    uint8_t *data;       /* slab block; NULL: acknowledged */
    uint64_t sent_us;    /* last transmission: its time, */
    uint32_t tx;         /* and its number, modulo 2^32 (kt_retx_tx) */
    uint32_t prev, next; /* sn of the neighbours in its list (retx_order.h) */
    uint16_t len;
    uint8_t level; /* the list it is in (retx_order.h) */
    uint8_t frg;   /* segments of its message that follow it; 0 in a stream */
};

/* The first transmission of a segment; stays valid after the acknowledgement. */
struct kt_send_first {
    uint32_t una, ts; /* of its header */
};

struct kt_send_ring {
    struct kt_slab *slab;
    struct kt_send_slot *slots;
    struct kt_send_first *firsts; /* by sn, like slots; read when una moves or a segment was sent again */
    struct kt_rate_snapshot *snapshots; /* by sn, like slots; few controllers read them */
    uint32_t mask, limit; /* slots allocated, a power of two, less 1; maximum number of segments */
    uint32_t una, nxt, end;
};

/* 0 or KT_ENOMEM. The ring starts small, doubles as needed, and shrinks when the limit does. */
int kt_send_ring_init(struct kt_send_ring *r, struct kt_slab *slab, uint32_t limit);
void kt_send_ring_destroy(struct kt_send_ring *r);

static inline struct kt_send_slot *kt_send_ring_at(const struct kt_send_ring *r, uint32_t sn)
{
    return &r->slots[sn & r->mask];
}

/* How segment sn was sent first. */
static inline struct kt_send_first *kt_send_ring_first(const struct kt_send_ring *r, uint32_t sn)
{
    return &r->firsts[sn & r->mask];
}

/* The path when segment sn was sent last. */
static inline struct kt_rate_snapshot *kt_send_ring_snapshot(const struct kt_send_ring *r, uint32_t sn)
{
    return &r->snapshots[sn & r->mask];
}

/* Queues bytes, mss to a segment, filling up the last queued segment first. Returns how many were taken. */
size_t kt_send_ring_write(struct kt_send_ring *r, const uint8_t *data, size_t n, uint32_t mss);

/* Queues a message as segments of its own, the first with the highest frg: all of it or nothing. n: 1..256 * mss.
 * False if the limit is reached or memory is short. */
bool kt_send_ring_write_message(struct kt_send_ring *r, const uint8_t *data, size_t n, uint32_t mss);

/* The segment in slot s, in [una, nxt) and not acknowledged yet, has arrived: returns its block to the slab. The
 * segment counts towards the limit until una passes it. */
static inline void kt_send_ring_ack(struct kt_send_ring *r, struct kt_send_slot *s)
{
    kt_slab_put(r->slab, s->data);
    s->data = NULL;
}

/* Accepts up to `limit` segments from now on. If more are held they stay, and nothing is accepted until
 * enough of them are gone. */
void kt_send_ring_limit(struct kt_send_ring *r, uint32_t limit);
/* Frees slots that are not in use. */
void kt_send_ring_trim(struct kt_send_ring *r);

/* Bytes of its slots. */
static inline size_t kt_send_ring_slots(const struct kt_send_ring *r)
{
    return ((size_t)r->mask + 1) * (sizeof *r->slots + sizeof *r->firsts + sizeof *r->snapshots);
}

/* The segment at nxt was sent. */
static inline void kt_send_ring_sent_next(struct kt_send_ring *r)
{
    r->nxt++;
}

/* una passes one segment, which was acknowledged. */
static inline void kt_send_ring_pass(struct kt_send_ring *r)
{
    r->una++;
}

/* How many more segments are accepted. */
static inline uint32_t kt_send_ring_free(const struct kt_send_ring *r)
{
    uint32_t held = r->end - r->una;
    return held < r->limit ? r->limit - held : 0;
}

/* Segments sent and not yet passed by una. Those acknowledged out of order count. */
static inline uint32_t kt_send_ring_sent(const struct kt_send_ring *r)
{
    return r->nxt - r->una;
}

static inline uint32_t kt_send_ring_queued(const struct kt_send_ring *r)
{
    return r->end - r->nxt;
}

#endif
