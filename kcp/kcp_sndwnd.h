/* The send window: what was written and the peer has not covered by una yet.
 *
 *     una ............ nxt ............ end
 *      | sent, in flight | queued, sn given |      a ring indexed by sn, at most `limit` long
 *      | or acknowledged |                  |
 *
 * Invariant: a slot in [una, nxt) either holds a block and is in exactly one list, or is acknowledged (no
 * block, no list). A slot in [nxt, end) holds a block and is in no list. Outside [una, end) nothing is held.
 *
 * Segments in flight are in one of KT_KCP_LEVELS lists, by how often they have timed out, each list in order
 * of last transmission. All of a list wait equally long for their acknowledgement (see kcp_flush.c), so the
 * order of transmission is also the order of deadline and the order in which later transmissions overtake
 * them: whoever looks for what is due looks at heads only. A segment sent again goes to a tail, so no list is
 * ever sorted.
 *
 * Slots are apart from payload, and small, so that an acknowledgement touches one cache line whatever the
 * window. The lists link slots by sn, which lets the ring move when it grows. */
#ifndef KT_KCP_SNDWND_H
#define KT_KCP_SNDWND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/slab.h"

#define KT_KCP_LEVELS 16u

struct kt_snd_slot {
    uint8_t *data;       /* pool block; NULL: acknowledged */
    uint64_t sent_us;    /* last transmission: when, */
    uint64_t tx;         /* and its place in the order of all transmissions */
    uint32_t prev, next; /* sn of the neighbours in its list */
    uint32_t told;       /* our una in its first transmission; outlives the acknowledgement */
    uint32_t first_ms;   /* ts of its first transmission */
    uint16_t len;
    uint8_t level; /* which list: timeouts so far, at most KT_KCP_LEVELS - 1 */
};

struct kt_snd_list {
    uint32_t first, last; /* sn; meaningless while count is 0 */
    uint32_t count;
};

struct kt_sndwnd {
    struct kt_slab *pool;
    struct kt_snd_slot *ring;
    uint32_t cap, limit; /* slots there are (a power of two), segments there may be */
    uint32_t una, nxt, end;
    uint32_t levels; /* bit l is set while lists[l] is not empty */
    uint64_t tx;     /* number of the last transmission; the first is 1 */
    struct kt_snd_list lists[KT_KCP_LEVELS];
};

/* 0 or KT_ENOMEM. The ring starts small and doubles as needed; it shrinks when the limit does. */
int kt_sndwnd_init(struct kt_sndwnd *w, struct kt_slab *pool, uint32_t limit);
void kt_sndwnd_destroy(struct kt_sndwnd *w);

static inline struct kt_snd_slot *kt_sndwnd_at(const struct kt_sndwnd *w, uint32_t sn)
{
    return &w->ring[sn & (w->cap - 1)];
}

/* Queues bytes, mss to a segment, the last queued one filled up first. Returns how many were taken. */
size_t kt_sndwnd_write(struct kt_sndwnd *w, const uint8_t *data, size_t n, uint32_t mss);

/* The segment was transmitted now: a queued one (only nxt itself) becomes in flight, one in flight moves to
 * the tail of `level`. */
void kt_sndwnd_sent(struct kt_sndwnd *w, uint32_t sn, uint8_t level, uint64_t now_us);

/* sn in [una, nxt), not acknowledged yet: gives its block back. It counts in the window until una passes. */
void kt_sndwnd_ack(struct kt_sndwnd *w, uint32_t sn);

/* From now on there may be `limit` segments. More that are held stay, and nothing is taken until they have
 * drained. */
void kt_sndwnd_limit(struct kt_sndwnd *w, uint32_t limit);

/* Segments there is room for. */
static inline uint32_t kt_sndwnd_free(const struct kt_sndwnd *w)
{
    uint32_t held = w->end - w->una;
    return held < w->limit ? w->limit - held : 0;
}

/* All below `una` has arrived; una in [w->una, w->nxt]. */
void kt_sndwnd_cover(struct kt_sndwnd *w, uint32_t una);

#endif
