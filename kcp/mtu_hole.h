/* Detects an MTU black hole: packets longer than `limit` are lost silently while shorter ones arrive.
 *
 * The evidence is a row of long packets that were sent again and not acknowledged while short ones were.
 * The first long packet that arrives ends the row. From the second of a row on, the sender keeps short
 * segments out of long packets, sends a WASK with each, and does not back off. The share of WASKs without
 * an answer tells how lossy the path is, and so how long a row must be. */
#ifndef KT_KCP_MTU_HOLE_H
#define KT_KCP_MTU_HOLE_H

#include <stdbool.h>
#include <stdint.h>

#define KT_MTU_HOLE_CAUTIOUS 2u   /* length of a row */
#define KT_MTU_HOLE_CHANCE 10000u /* a hole, if loss alone would cause such a row once in this many times */
#define KT_MTU_HOLE_US 500000u

struct kt_mtu_hole {
    uint32_t limit;          /* bytes of a packet; 0: not watching */
    uint32_t row;            /* flushes that sent long packets again */
    uint32_t asked;          /* WASKs sent since the row was KT_MTU_HOLE_CAUTIOUS long */
    uint32_t answers;        /* short packets that arrived since then, at most `asked` */
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

/* A packet leaves with a segment that was sent before. */
static inline void kt_mtu_hole_resent(struct kt_mtu_hole *h, uint32_t packet, uint64_t now_us)
{
    if (!kt_mtu_hole_long(h, packet) || (h->row > 0 && h->last_us == now_us)) return;
    if (h->row++ == 0) h->since = now_us;
    h->last_us = now_us;
    if (h->row >= KT_MTU_HOLE_CAUTIOUS) h->asked++;
}

/* A long packet has arrived; a short one has. */
static inline void kt_mtu_hole_passed(struct kt_mtu_hole *h)
{
    h->row = h->asked = h->answers = 0;
}

static inline void kt_mtu_hole_answered(struct kt_mtu_hole *h)
{
    if (h->asked > h->answers) h->answers++;
}

static inline bool kt_mtu_hole_cautious(const struct kt_mtu_hole *h)
{
    return h->row >= KT_MTU_HOLE_CAUTIOUS;
}

/* Whether the row is too long to be chance, if long packets were lost as often as short ones. */
static inline bool kt_mtu_hole_found(const struct kt_mtu_hole *h)
{
    if (h->answers == 0 || h->last_us - h->since < KT_MTU_HOLE_US) return false;
    const uint64_t lost = h->asked - h->answers + 1, of = h->asked + 2; /* Laplace's estimate */
    uint64_t chance = UINT64_C(1) << 32;
    for (uint32_t i = 0; i < h->row && chance > 0; i++) chance = chance * lost / of;
    return chance < (UINT64_C(1) << 32) / KT_MTU_HOLE_CHANCE;
}

#endif
