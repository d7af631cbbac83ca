/* Retransmission order: which segment in flight is to be sent again first.
 *
 * Every transmission has a number, in order of time. Segments in flight are in one of KT_RETX_LEVELS lists,
 * by how often they have timed out, and each list is in order of last transmission. All segments of a list
 * wait equally long for their acknowledgement (kcp_flush.c), so that is also the order of their deadlines
 * and the order in which later transmissions overtake them: to find what is due, look at the heads of the
 * lists.
 *
 * Invariant: a segment of the send ring is in exactly one list while it is in flight, and in none
 * otherwise. A segment sent again goes to a tail, so no list ever needs sorting. */
#ifndef KT_KCP_RETX_ORDER_H
#define KT_KCP_RETX_ORDER_H

#include "kcp/send_ring.h"

#define KT_RETX_LEVELS 16u

struct kt_retx_list {
    uint32_t first, last; /* sn; meaningless while count is 0 */
    uint32_t count;
};

struct kt_retx_order {
    uint32_t levels; /* bit l is set while lists[l] is not empty */
    uint64_t tx;     /* number of the last transmission; the first is 1 */
    struct kt_retx_list lists[KT_RETX_LEVELS];
};

/* Puts segment sn, whose slot is s, at the tail of `level`. For kt_retx_sent. */
static inline void kt_retx_push(
    struct kt_retx_order *o, struct kt_send_ring *r, struct kt_send_slot *s, uint32_t sn, uint8_t level)
{
    struct kt_retx_list *l = &o->lists[level];
    s->level = level;
    s->prev = l->last;
    if (l->count == 0)
        l->first = sn;
    else
        kt_send_ring_at(r, l->last)->next = sn;
    l->last = sn;
    l->count++;
    o->levels |= 1u << level;
}

/* Segment sn, whose slot is s, was acknowledged: takes it out of its list. */
static inline void kt_retx_remove(
    struct kt_retx_order *o, struct kt_send_ring *r, const struct kt_send_slot *s, uint32_t sn)
{
    struct kt_retx_list *l = &o->lists[s->level];
    if (l->first == sn)
        l->first = s->next;
    else
        kt_send_ring_at(r, s->prev)->next = s->next;
    if (l->last == sn)
        l->last = s->prev;
    else
        kt_send_ring_at(r, s->next)->prev = s->prev;
    if (--l->count == 0) o->levels &= ~(1u << s->level);
}

/* Segment sn, whose slot is s, was transmitted now, for the first time or again: puts it at the tail of `level`,
 * out of the list it was in if `again`. */
static inline void kt_retx_sent(struct kt_retx_order *o, struct kt_send_ring *r, struct kt_send_slot *s,
    uint32_t sn, bool again, uint8_t level, uint64_t now_us)
{
    if (again) kt_retx_remove(o, r, s, sn);
    s->sent_us = now_us;
    s->tx = (uint32_t)++o->tx;
    kt_retx_push(o, r, s, sn, level);
}

/* The number of the last transmission of a segment in flight. Fewer than 2^32 have followed it. */
static inline uint64_t kt_retx_tx(const struct kt_retx_order *o, const struct kt_send_slot *s)
{
    return o->tx - ((uint32_t)o->tx - s->tx);
}

/* The head of a list that is not empty. */
static inline const struct kt_send_slot *kt_retx_head(
    const struct kt_retx_order *o, const struct kt_send_ring *r, uint32_t level)
{
    return kt_send_ring_at(r, o->lists[level].first);
}

#endif
