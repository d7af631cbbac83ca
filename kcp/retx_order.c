/* Retransmission order: doubly linked lists through the slots of the send ring, one per count of timeouts.
 * Everything is O(1); the invariant is in retx_order.h. */
#include "kcp/retx_order.h"

static void push(struct kt_retx_order *o, struct kt_send_ring *r, uint32_t sn, uint8_t level)
{
    struct kt_retx_list *l = &o->lists[level];
    struct kt_send_slot *s = kt_send_ring_at(r, sn);
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

void kt_retx_remove(struct kt_retx_order *o, struct kt_send_ring *r, uint32_t sn)
{
    const struct kt_send_slot *s = kt_send_ring_at(r, sn);
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

void kt_retx_sent(
    struct kt_retx_order *o, struct kt_send_ring *r, uint32_t sn, bool again, uint8_t level, uint64_t now_us)
{
    struct kt_send_slot *s = kt_send_ring_at(r, sn);
    if (again) kt_retx_remove(o, r, sn);
    s->sent_us = now_us;
    s->tx = ++o->tx;
    push(o, r, sn, level);
}
