/* Detects an MTU black hole: packets longer than `limit` are lost silently while shorter ones arrive.
 *
 * The evidence is a row of long packets that were sent again and not acknowledged while WASKs, which are
 * short, were answered. The first long packet that arrives ends the row. From the second of a row on, the
 * sender keeps short segments out of long packets, sends a WASK with each, and does not back off.
 *
 * A row that chance does not explain is only a suspicion: a full queue or socket buffer can also lose long
 * packets and let short ones pass. So from then on the sender sends a single segment at a time, after a pause
 * for queues to drain. There is a hole if that is lost KT_MTU_HOLE_ALONE times in a row while WASKs sent with
 * it are answered; if the session is to end because of it, KT_MTU_HOLE_FATAL times. A packet that the peer has
 * no room for proves nothing, and a closed window ends the row.
 *
 * A WASK proves something only about what left before it. So answers are matched with WASKs in order, first
 * with those from before the row: each further answer proves that one more long packet was lost. Until then
 * a long packet may only be under way, as the round trip may be longer than the retransmission timeout. The
 * share of WASKs without an answer tells how lossy the path is, and so how many must be lost. */
#ifndef KT_KCP_MTU_HOLE_H
#define KT_KCP_MTU_HOLE_H

#include <stdbool.h>
#include <stdint.h>

#define KT_MTU_HOLE_CAUTIOUS 2u   /* length of a row */
#define KT_MTU_HOLE_CHANCE 10000u /* a hole, if loss alone would cause such a row once in this many times */
#define KT_MTU_HOLE_US 500000u
#define KT_MTU_HOLE_ALONE 4u
#define KT_MTU_HOLE_FATAL 10u
#define KT_MTU_HOLE_PAUSE_US 150000u /* between two of those; at least the retransmission timeout */

struct kt_mtu_hole {
    uint32_t limit;          /* bytes of a packet; 0: not watching */
    bool suspected;          /* long packets are sent alone */
    uint32_t probes, alone;  /* how many were; how many of those are known to be lost */
    uint32_t stale;          /* WASKs from before that may still be answered */
    uint32_t row;            /* flushes that sent long packets again */
    uint32_t owed;           /* WASKs from before the row that may still be answered */
    uint32_t asked;          /* WASKs sent since the row was KT_MTU_HOLE_CAUTIOUS long */
    uint32_t answers;        /* how many of those were answered */
    uint64_t since, last_us; /* time of the first and the last of the row */
};

static inline void kt_mtu_hole_watch(struct kt_mtu_hole *h, uint32_t limit)
{
    *h = (struct kt_mtu_hole){.limit = limit};
}

static inline bool kt_mtu_hole_long(const struct kt_mtu_hole *h, uint32_t packet)
{
    return h->limit > 0 && packet > h->limit;
}

static inline bool kt_mtu_hole_cautious(const struct kt_mtu_hole *h)
{
    return h->row >= KT_MTU_HOLE_CAUTIOUS;
}

/* A packet leaves with a segment that was sent before. owed: WASKs that may still be answered. Returns
 * whether to send a WASK after it. */
static inline bool kt_mtu_hole_resent(struct kt_mtu_hole *h, uint32_t packet, uint32_t owed, uint64_t now_us)
{
    if (!kt_mtu_hole_long(h, packet) || (h->row > 0 && h->last_us == now_us)) return false;
    if (h->row++ == 0) {
        h->since = now_us;
        h->owed = owed;
    }
    h->last_us = now_us;
    if (h->suspected) h->probes++;
    return kt_mtu_hole_cautious(h);
}

static inline void kt_mtu_hole_asked(struct kt_mtu_hole *h)
{
    if (kt_mtu_hole_cautious(h)) h->asked++;
}

/* Whether too many long packets were lost for chance, if they were lost as often as short ones. */
static inline bool kt_mtu_hole_unlikely(const struct kt_mtu_hole *h)
{
    if (h->answers == 0 || h->last_us - h->since < KT_MTU_HOLE_US) return false;
    const uint32_t proven = h->answers + 1 < h->row ? h->answers + 1 : h->row;
    const uint64_t lost = h->asked - h->answers + 1, of = h->asked + 2; /* Laplace's estimate */
    uint64_t chance = UINT64_C(1) << 32;
    for (uint32_t i = 0; i < proven && chance > 0; i++) chance = chance * lost / of;
    return chance < (UINT64_C(1) << 32) / KT_MTU_HOLE_CHANCE;
}

/* Returns whether a hole is suspected from now on. first: the first segment in flight needs a long packet. */
static inline bool kt_mtu_hole_answered(struct kt_mtu_hole *h, bool first)
{
    if (h->owed > 0) {
        h->owed--;
    } else if (h->asked > h->answers) {
        h->answers++;
        if (h->stale > 0)
            h->stale--;
        else if (h->alone < h->probes)
            h->alone++;
    }
    if (h->suspected || !first || !kt_mtu_hole_unlikely(h)) return false;
    h->suspected = true;
    h->stale = h->asked - h->answers;
    return true;
}

/* Another segment is the first. */
static inline void kt_mtu_hole_advanced(struct kt_mtu_hole *h)
{
    h->suspected = false;
    h->probes = h->alone = h->stale = 0;
}

/* A long packet has arrived, or what was lost proves nothing. */
static inline void kt_mtu_hole_passed(struct kt_mtu_hole *h)
{
    *h = (struct kt_mtu_hole){.limit = h->limit};
}

/* alone: how many packets must be lost alone. */
static inline bool kt_mtu_hole_found(const struct kt_mtu_hole *h, uint32_t alone)
{
    return h->suspected && h->alone >= alone && kt_mtu_hole_unlikely(h);
}

#endif
