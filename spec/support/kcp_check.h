/* Checks the invariants of a kt_kcp, slot by slot (O(window)), and starts one where its numbers wrap. For specs and fuzzing. */
#ifndef KT_SPEC_KCP_CHECK_H
#define KT_SPEC_KCP_CHECK_H

#include "kcp/kcp_internal.h"

/* Makes a new conversation start at other sequence numbers. */
static inline void kcp_check_start(struct kt_kcp *k, uint32_t snd_sn, uint32_t rcv_sn)
{
    k->snd.una = k->snd.nxt = k->snd.end = snd_sn;
    k->rcv.read = k->rcv.nxt = k->rcv.edge = rcv_sn;
}

static inline const char *kcp_check_send(
    const struct kt_send_ring *w, const struct kt_retx_order *o, uint32_t most, size_t *blocks)
{
    uint32_t inflight = 0, listed = 0;
    if (w->end - w->una > most || w->end - w->una > w->mask + 1) return "more segments than the window has";
    if (w->nxt - w->una > w->end - w->una) return "nxt is outside [una, end]";
    for (uint32_t sn = w->una; sn != w->end; sn++) {
        const struct kt_send_slot *s = kt_send_ring_at(w, sn);
        bool sent = sn - w->una < w->nxt - w->una;
        if (s->data) ++*blocks;
        if (sent && s->data) inflight++;
        if (!sent && !s->data) return "a queued segment without data";
        if (s->data && s->len == 0) return "an empty segment";
    }
    for (uint8_t level = 0; level < KT_RETX_LEVELS; level++) {
        const struct kt_retx_list *l = &o->lists[level];
        if ((l->count > 0) != (o->levels >> level & 1)) return "the set of levels is wrong";
        uint32_t sn = l->first;
        const struct kt_send_slot *before = NULL;
        for (uint32_t i = 0; i < l->count; i++) {
            const struct kt_send_slot *s = kt_send_ring_at(w, sn);
            if (sn - w->una >= w->nxt - w->una) return "a list holds what was not sent";
            if (!s->data) return "a list holds what was acknowledged";
            if (s->level != level) return "a segment is in the wrong list";
            if (before && (kt_retx_tx(o, s) <= kt_retx_tx(o, before) || s->sent_us < before->sent_us))
                return "a list is out of order";
            before = s;
            if (i + 1 == l->count && l->last != sn) return "a list ends at the wrong segment";
            sn = s->next;
        }
        listed += l->count;
    }
    return listed == inflight ? NULL : "a segment in flight is in no list";
}

static inline const char *kcp_check_receive(const struct kt_recv_ring *w, uint32_t most, size_t *blocks)
{
    uint32_t ready = w->nxt - w->read;
    if (ready > most) return "more unread segments than the window has";
    for (uint32_t i = 0; i <= w->mask; i++) {
        const struct kt_recv_slot *s = &w->slots[(w->read + i) & w->mask];
        if (s->data) ++*blocks;
        if (i < ready && !s->held) return "a gap among the segments in order";
        if (!s->held && s->data) return "a block in an empty slot";
        if (s->held && (s->data != NULL) != (s->len > 0)) return "length and block do not agree";
        if (i >= ready + most && s->held) return "a segment past the window";
        if (i == ready && ready < w->limit && s->held) return "nxt lags behind";
    }
    if (kt_sn_diff(w->edge, w->nxt) < 0) return "the edge lags behind";
    if (ready > 0) {
        const struct kt_recv_slot *s = &w->slots[w->read & w->mask];
        if (s->len == 0 || w->off >= s->len) return "nothing to read at the head";
    }
    return NULL;
}

/* NULL, or what is wrong. Only this engine may use the pool. snd_most, rcv_most: the largest windows that it
 * has had; 0: the current ones. */
static inline const char *kcp_check(
    const struct kt_kcp *k, const struct kt_slab *pool, uint32_t snd_most, uint32_t rcv_most)
{
    size_t blocks = 0;
    const char *wrong = kcp_check_send(&k->snd, &k->order, snd_most ? snd_most : k->snd.limit, &blocks);
    if (!wrong) wrong = kcp_check_receive(&k->rcv, rcv_most ? rcv_most : k->rcv.limit, &blocks);
    if (!wrong && blocks != kt_slab_in_use(pool)) wrong = "blocks held and blocks handed out differ";
    if (!wrong && k->acks.count > k->acks.cap) wrong = "more acknowledgements than the ring holds";
    return wrong;
}

#endif
