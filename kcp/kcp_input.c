/* Packets in (docs/wire-kcptun.md, 6.6).
 *
 * ACK segments are handled as they come. una, the same in all segments of a packet, is handled at its end:
 * it usually covers the same segments as the ACKs, and a segment below una no longer has its send time,
 * which gives the RTT to the microsecond.
 *
 * An una outside [snd_una, snd_nxt] is ignored, along with the window and the round trip of its packet; the
 * rest of the packet counts. If it is below, the packet was overtaken on its way. If it is above, it is
 * false, or the peer has outlived our restart; we must answer such a peer's probes for it to notice, so
 * that is not an error. */
#include "kcp/kcp_internal.h"

#define NO_SAMPLE UINT32_MAX

/* The summary of one packet. */
struct news {
    /* For the owner: una is the highest seen. It is regular unless FEC rebuilt it: then it may be late, and its window
     * and times out of date. fits, advanced and known_una are set at the end. */
    struct kt_kcp_report r;
    uint32_t rtt_us; /* of the latest transmission acknowledged, or NO_SAMPLE */
    uint16_t wnd;
    bool ambiguous; /* rtt_us may be that of another transmission */
    bool pushed;    /* it has a PUSH */
    bool wins;      /* it may answer a WASK: a WINS before any PUSH. One after that is padding (kcp.h) */
    bool acked;     /* it has an ACK of a segment that was still held */
    bool fresh;     /* it has data that was not received before */
};

static void ack_owed(struct kt_kcp *k, uint32_t sn, uint32_t ts, uint64_t now_us)
{
    if (k->acks.count == 0) k->ack_at = now_us + KT_KCP_ACK_WAIT_US;
    kt_kcp_acks_push(&k->acks, sn, ts);
    if (k->cfg.ack_nodelay || k->acks.count >= k->ack_every) k->ack_now = true;
}

/* The ts that the ACK of a PUSH echoes. */
static uint32_t echo_of(
    struct kt_kcp *k, const struct kt_kcp_segment *seg, bool repeat, const struct news *news)
{
    if (seg->frg == KT_KCP_CHALLENGE) return seg->ts; /* sent to be echoed */
    if (!news->r.regular || repeat) return kt_echoed_ts_late(&k->echo, seg->ts, news->r.now_us);
    kt_echoed_ts_fresh(&k->echo, seg->ts, news->r.now_us);
    return seg->ts;
}

static void on_push(
    struct kt_kcp *k, const struct kt_kcp_segment *seg, const uint8_t *data, struct news *news)
{
    bool repeat = false;
    k->stats.in_push++;
    switch (kt_recv_ring_put(&k->rcv, seg->sn, seg->frg, data, seg->len)) {
    case KT_RECV_BEYOND:
        k->stats.beyond++;
        return;
    case KT_RECV_NOMEM:
        k->stats.dropped++;
        return;
    case KT_RECV_REPEAT:
        k->stats.repeat++;
        if (k->repeats && news->r.regular) k->repeat = KT_KCP_REPEAT_ACKS;
        repeat = true;
        break;
    case KT_RECV_STORED:
        news->fresh = true;
        break;
    }
    ack_owed(k, seg->sn, echo_of(k, seg, repeat, news), news->r.now_us);
    /* A gap has opened or closed, or a segment came twice: the sender should know soon. A segment that FEC
     * had rebuilt before it arrived is not urgent. */
    k->ack_now |= repeat ? news->r.regular : k->rcv.nxt != seg->sn + 1;
}

/* A challenge repeats an old sn on purpose, which does not mean a restart. */
static void note_push(struct news *news, const struct kt_kcp_segment *seg)
{
    if (seg->frg == KT_KCP_CHALLENGE) return;
    if (!news->r.has_push || kt_sn_diff(seg->sn, news->r.push) < 0) news->r.push = seg->sn;
    news->r.has_push = true;
}

/* Takes an RTT sample from the ACK of a segment that is still held. The ACK must echo the time of the
 * segment's last transmission (`last`), or of its first, which is an ambiguous sample (rtt.h). Times in between are
 * not kept: on a path that has become slower, the first transmission is acknowledged first. As in RFC 9002,
 * section 5.1, a transmission that arrives after later ones gives no sample: it was overtaken or rebuilt by
 * FEC, and its delay is not the path's. */
static void note_rtt(struct kt_kcp *k, const struct kt_send_slot *s, const struct kt_kcp_segment *seg,
    bool last, struct news *news)
{
    if (!last && seg->ts != kt_send_ring_first(&k->snd, seg->sn)->ts) return;
    const uint64_t rtt = last ? news->r.now_us - s->sent_us : (uint64_t)(k->now_ts - seg->ts) * 1000;
    if (rtt > KT_KCP_RTO_MAX_US || news->r.now_us - rtt + 1000 <= k->arrived_us) return;
    news->rtt_us = (uint32_t)rtt;
    news->ambiguous = !last;
}

/* Whether long packets have been sent again without success; otherwise arrivals prove nothing. */
static bool suspect_hole(const struct kt_kcp *k)
{
    return k->hole.row + k->oversize.row > 0;
}

/* A segment has arrived. If it is long, so do packets of its length. */
static void note_arrival(struct kt_kcp *k, const struct kt_send_slot *s)
{
    const uint32_t packet = KT_KCP_OVERHEAD + s->len;
    struct kt_mtu_hole *hole = kt_kcp_hole(k, packet);
    if (kt_mtu_hole_long(hole, packet)) kt_mtu_hole_passed(hole);
}

/* A segment has arrived; its block is free. known: it was its last transmission that arrived. */
static inline void retire(struct kt_kcp *k, struct kt_send_slot *s, uint32_t sn, bool known, uint64_t now_us)
{
    kt_cc_acked(
        k->cc, kt_send_ring_snapshot(&k->snd, sn), known, s->sent_us, KT_KCP_OVERHEAD + s->len, now_us);
    kt_retx_remove(&k->order, &k->snd, s, sn);
    kt_send_ring_ack(&k->snd, s);
}

static void on_ack(struct kt_kcp *k, const struct kt_kcp_segment *seg, struct news *news)
{
    struct kt_send_ring *w = &k->snd;
    if (seg->sn - w->una >= kt_send_ring_sent(w)) return;
    struct kt_send_slot *s = kt_send_ring_at(w, seg->sn);
    if (!s->data) return;
    const bool last = seg->ts == kt_kcp_ts(k, s->sent_us);
    note_rtt(k, s, seg, last, news);
    if (last) {
        kt_loss_evidence_add(&k->evidence, kt_retx_tx(&k->order, s));
        if (s->sent_us > k->arrived_us) k->arrived_us = s->sent_us;
    }
    if (suspect_hole(k)) note_arrival(k, s);
    retire(k, s, seg->sn, last && news->r.regular, news->r.now_us);
    news->acked = true;
}

static void set_rmt_wnd(struct kt_kcp *k, uint32_t wnd, uint64_t now_us)
{
    if (wnd == 0 && k->rmt_wnd != 0) {
        k->probe_wait = KT_KCP_PROBE_FIRST_US;
        k->probe_at = now_us + k->probe_wait;
    }
    k->rmt_wnd = wnd;
    if (wnd > 0) return;
    kt_mtu_hole_passed(&k->hole);
    kt_mtu_hole_passed(&k->oversize);
}

/* A WINS after a WASK answers the latest WASK that was sent at least the shortest round trip ago. If all those
 * kept are younger, it answers one that is not, and says nothing about what was sent since. */
static void on_answer(struct kt_kcp *k, uint64_t now_us)
{
    size_t i = 0;
    while (i + 1 < KT_KCP_ASKED && k->asked[i + 1].at_us > 0 && now_us - k->asked[i].at_us < k->rtt.min) i++;
    k->stats.unanswered--;
    if (i + 1 == KT_KCP_ASKED && now_us - k->asked[i].at_us < k->rtt.min) return;
    kt_loss_evidence_probed(&k->evidence, k->asked[i].tx);
}

/* Segments that una covers without an ACK of their own have also arrived. */
static void note_covered(struct kt_kcp *k, uint32_t una)
{
    for (uint32_t sn = k->snd.una; suspect_hole(k) && sn != una; sn++) {
        const struct kt_send_slot *s = kt_send_ring_at(&k->snd, sn);
        if (s->data) note_arrival(k, s);
    }
}

/* Everything below una has arrived. A segment sent once only arrived by that transmission. */
static void cover(struct kt_kcp *k, const struct news *news)
{
    struct kt_send_ring *r = &k->snd;
    for (; r->una != news->r.una; kt_send_ring_pass(r)) {
        struct kt_send_slot *s = kt_send_ring_at(r, r->una);
        if (!s->data) continue;
        const bool once = k->cc->ops->samples && news->r.regular &&
                          kt_send_ring_first(r, r->una)->ts == kt_kcp_ts(k, s->sent_us);
        retire(k, s, r->una, once, news->r.now_us);
    }
}

static void answered(struct kt_kcp *k, struct kt_mtu_hole *hole)
{
    const struct kt_send_ring *r = &k->snd;
    const uint32_t packet = r->una != r->nxt ? KT_KCP_OVERHEAD + kt_send_ring_at(r, r->una)->len : 0;
    const bool first = packet > 0 && kt_kcp_hole(k, packet) == hole && kt_mtu_hole_long(hole, packet);
    if (kt_mtu_hole_answered(hole, first)) kt_kcp_suspect_hole(k);
}

/* Handles what the packet says as a whole. */
static void finish(struct kt_kcp *k, struct news *news)
{
    struct kt_kcp_report *r = &news->r;
    const uint32_t moved = r->una - k->snd.una;
    r->fits = moved <= kt_send_ring_sent(&k->snd);
    r->advanced = r->fits && moved > 0;
    if (r->fits && r->regular) {
        set_rmt_wnd(k, news->wnd, r->now_us);
        if (news->wins && !r->unknown) {
            k->stats.answers++;
            answered(k, &k->hole);
            answered(k, &k->oversize);
            if (k->stats.unanswered > 0) on_answer(k, r->now_us);
        }
        if (news->rtt_us != NO_SAMPLE) {
            if (news->ambiguous)
                kt_rtt_ambiguous(&k->rtt, news->rtt_us);
            else
                kt_rtt_clear(&k->rtt, news->rtt_us);
        }
    }
    if (r->advanced) {
        r->known_una = kt_send_ring_first(&k->snd, r->una - 1)->una;
        note_covered(k, r->una);
        kt_mtu_hole_advanced(&k->hole);
        kt_mtu_hole_advanced(&k->oversize);
        cover(k, news);
        k->una_moved = true;
    }
    const bool acked = r->advanced || news->acked;
    if (acked || news->fresh) {
        k->news++;
        kt_cc_progressed(k->cc, r->advanced ? moved : 0, k->rmt_wnd, k->rtt.min, r->now_us);
    }
    if (acked || news->wins) kt_kcp_early_update(k);
    if (k->report) k->report(k->report_ctx, r);
}

int kt_kcp_input(
    struct kt_kcp *k, const uint8_t *data, size_t len, enum kt_kcp_origin origin, uint64_t now_us)
{
    now_us = kt_kcp_clock(k, now_us);
    if (len < KT_KCP_OVERHEAD) return KT_EPROTO;
    struct news news = {
        .r = {.now_us = now_us, .regular = origin == KT_KCP_REGULAR, .una = kt_kcp_segment_get(data).una},
        .rtt_us = NO_SAMPLE};
    uint32_t segs = 0;
    int err = 0;
    /* Fewer than 24 bytes at the end are ignored, as in kcp-go. */
    for (; len >= KT_KCP_OVERHEAD; segs++) {
        const struct kt_kcp_segment seg = kt_kcp_segment_get(data);
        data += KT_KCP_OVERHEAD;
        len -= KT_KCP_OVERHEAD;
        if (seg.conv != k->cfg.conv || seg.len > len || seg.len > k->max_len || seg.cmd < KT_KCP_PUSH ||
            seg.cmd > KT_KCP_WINS) {
            err = KT_EPROTO;
            break;
        }
        if (kt_sn_diff(seg.una, news.r.una) > 0) news.r.una = seg.una;
        news.wnd = seg.wnd;
        if (seg.cmd == KT_KCP_PUSH) {
            news.pushed = true;
            on_push(k, &seg, data, &news);
            note_push(&news, &seg);
        } else if (seg.cmd == KT_KCP_ACK)
            on_ack(k, &seg, &news);
        else if (seg.cmd == KT_KCP_WASK)
            k->tell = true;
        else {
            if (!news.pushed) news.wins = true;
            if (seg.sn == KT_KCP_UNKNOWN && seg.una == 0) news.r.unknown = true;
        }
        data += seg.len;
        len -= seg.len;
    }
    k->stats.in_segs += segs;
    if (segs > 0) finish(k, &news);
    return err;
}
