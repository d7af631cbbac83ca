/* Proof that a peer is reachable at an address: challenges, their echoes, and whether a packet fits a
 * conversation (RFC 9000, 8.2 and 9.3, by means of KCP).
 *
 * Invariant: a challenge does not change the conversation at either end. It is a segment that the peer
 * already has or will receive anyway. */
#include <string.h>
#include "kcp/kcp_internal.h"

size_t kt_kcp_put_challenge(struct kt_kcp *k, uint8_t *out, size_t max, uint32_t ts, uint32_t una)
{
    static const uint8_t filler[1] = {0};
    const struct kt_send_ring *w = &k->snd;
    struct kt_kcp_segment seg = {.conv = k->cfg.conv,
        .cmd = KT_KCP_PUSH,
        .wnd = (uint16_t)kt_recv_ring_free(&k->rcv),
        .ts = ts,
        .una = k->rcv.nxt};
    const uint8_t *payload;
    if (una - w->una > w->nxt - w->una) una = w->una;
    if (k->una_moved || una != w->una) {
        seg.frg = KT_KCP_CHALLENGE;
        seg.sn = una - 1;
        seg.len = sizeof filler;
        payload = filler;
    } else {
        const struct kt_send_slot *s = kt_send_ring_at(w, una);
        if (w->nxt == una || !s->data) return 0;
        seg.sn = una;
        seg.len = s->len;
        payload = s->data;
    }
    if (KT_KCP_OVERHEAD + seg.len > max) return 0;
    kt_kcp_segment_put(out, &seg);
    memcpy(out + KT_KCP_OVERHEAD, payload, seg.len);
    k->stats.out_segs++;
    return KT_KCP_OVERHEAD + seg.len;
}

bool kt_kcp_echoes(const uint8_t *packet, size_t len, uint32_t conv, uint32_t from, uint32_t span)
{
    while (len >= KT_KCP_OVERHEAD) {
        const struct kt_kcp_segment seg = kt_kcp_segment_get(packet);
        packet += KT_KCP_OVERHEAD;
        len -= KT_KCP_OVERHEAD;
        if (seg.conv != conv || seg.len > len) return false;
        if (seg.cmd == KT_KCP_ACK && seg.ts - from <= span) return true;
        packet += seg.len;
        len -= seg.len;
    }
    return false;
}

bool kt_kcp_fits(const struct kt_kcp *k, const struct kt_kcp_head *head)
{
    if (head->conv != k->cfg.conv || head->cmd < KT_KCP_PUSH || head->cmd > KT_KCP_WINS) return false;
    if (head->una - k->snd.una > k->snd.nxt - k->snd.una) return false;
    const int32_t ahead = kt_sn_diff(head->sn, k->rcv.nxt), window = (int32_t)k->cfg.rcv_wnd;
    return head->cmd != KT_KCP_PUSH || (ahead >= -window && ahead < window);
}

void kt_kcp_path_changed(struct kt_kcp *k)
{
    kt_loss_evidence_drop(&k->evidence, k->order.tx);
}

uint64_t kt_kcp_news(const struct kt_kcp *k)
{
    return k->news;
}
