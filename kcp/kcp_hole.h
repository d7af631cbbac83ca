/* An MTU black hole: packets longer than `limit` are lost on the path without a word, and shorter ones
 * arrive.
 *
 * The evidence: long packets are sent again, several times in a row, none of them is acknowledged meanwhile,
 * and short ones are. The first long one that arrives ends the row. From the second of a row on, the engine
 * keeps short segments out of long packets, asks the peer for an answer to each, and does not back off. The
 * share of questions without an answer says what such a row is worth: on a path that loses much it has to be
 * longer. */
#ifndef KT_KCP_HOLE_H
#define KT_KCP_HOLE_H

#include <stdbool.h>
#include <stdint.h>

#define KT_HOLE_CAUTIOUS 2u   /* of a row */
#define KT_HOLE_CHANCE 10000u /* taken for a hole when chance would do it once in so many times */
#define KT_HOLE_US 500000u

struct kt_hole {
    uint32_t limit; /* bytes of a packet; 0: nothing is watched */
    uint32_t row;   /* flushes that sent long packets again */
    uint32_t asked,
        answers; /* questions since the row was one to be cautious of; short arrivals since then */
    uint64_t since, last_us; /* first and last of the row */
};

static inline void kt_hole_watch(struct kt_hole *h, uint32_t limit)
{
    *h = (struct kt_hole){.limit = limit};
}

static inline bool kt_hole_long(const struct kt_hole *h, uint32_t packet)
{
    return h->limit > 0 && packet > h->limit;
}

/* A packet with a segment that was sent before. */
static inline void kt_hole_resent(struct kt_hole *h, uint32_t packet, uint64_t now_us)
{
    if (!kt_hole_long(h, packet) || (h->row > 0 && h->last_us == now_us)) return;
    if (h->row++ == 0) h->since = now_us;
    h->last_us = now_us;
    if (h->row >= KT_HOLE_CAUTIOUS) h->asked++;
}

/* A long packet, a short one arrived. */
static inline void kt_hole_passed(struct kt_hole *h)
{
    h->row = h->asked = h->answers = 0;
}

static inline void kt_hole_answered(struct kt_hole *h)
{
    if (h->asked > h->answers) h->answers++;
}

static inline bool kt_hole_cautious(const struct kt_hole *h)
{
    return h->row >= KT_HOLE_CAUTIOUS;
}

/* Whether a row as long as this one is unlikely where long packets fare no worse than short ones. */
static inline bool kt_hole_found(const struct kt_hole *h)
{
    if (h->answers == 0 || h->last_us - h->since < KT_HOLE_US) return false;
    const uint64_t lost = h->asked - h->answers + 1, of = h->asked + 2; /* Laplace's estimate */
    uint64_t chance = UINT64_C(1) << 32;
    for (uint32_t i = 0; i < h->row && chance > 0; i++) chance = chance * lost / of;
    return chance < (UINT64_C(1) << 32) / KT_HOLE_CHANCE;
}

#endif
