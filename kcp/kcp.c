/* A KCP conversation: creation, settings, bytes in and out, statistics. Packets come in through kcp_input.c
 * and leave through kcp_flush.c; the parts keep their own invariants. */
#include "kcp/kcp.h"
#include <assert.h>
#include <stdlib.h>
#include "base/bytes.h"
#include "kcp/kcp_internal.h"

size_t kt_kcp_block_size(uint32_t mtu)
{
    (void)mtu; /* the peer's mtu may be larger */
    return KT_KCP_MTU_MAX - KT_KCP_OVERHEAD;
}

static bool config_valid(const struct kt_kcp_config *c)
{
    return c->mtu >= KT_KCP_MTU_MIN && c->mtu <= KT_KCP_MTU_MAX && c->snd_wnd >= 1 &&
           c->snd_wnd <= KT_KCP_WND_MAX && c->rcv_wnd >= 1 && c->rcv_wnd <= KT_KCP_WND_MAX &&
           c->interval_ms >= 10 && c->interval_ms <= 5000 && c->cc;
}

/* How many acknowledgements may be owed before they are sent at once: a peer with a small send window would
 * stop. One in 16 costs little, as those in order are sent as a single segment. */
static uint32_t ack_every(const struct kt_kcp_config *c)
{
    uint32_t n = kt_min32(KT_KCP_ACK_EVERY, kt_min32(c->mtu / KT_KCP_OVERHEAD, c->rcv_wnd / 8));
    return n > 0 ? n : 1;
}

static uint32_t min_rto_us(const struct kt_kcp_config *c)
{
    return c->nodelay ? 30000 : 100000;
}

int kt_kcp_new(struct kt_kcp **out, const struct kt_kcp_config *cfg, struct kt_slab *slab,
    const struct kt_packet_out *output, uint64_t now_us)
{
    *out = NULL;
    if (!config_valid(cfg) || kt_slab_block_size(slab) < kt_kcp_block_size(cfg->mtu)) return KT_EINVAL;
    struct kt_kcp *k = calloc(1, sizeof *k);
    if (!k) return KT_ENOMEM;
    k->cfg = *cfg;
    k->cfg.resend = kt_min32(cfg->resend, KT_KCP_RESEND_MAX);
    k->out = *output;
    k->mss = cfg->mtu - KT_KCP_OVERHEAD;
    k->max_len = (uint32_t)kt_kcp_block_size(cfg->mtu);
    k->ack_every = ack_every(cfg);
    k->pads = cfg->pad > 0;
    k->now_us = now_us;
    k->now_ts = kt_kcp_ts(k, now_us);
    k->early_at = UINT64_MAX;
    k->rmt_wnd = KT_KCP_RMT_WND_FIRST;
    k->evidence.want = k->cfg.resend;
    kt_rtt_init(&k->rtt, min_rto_us(cfg), cfg->interval_ms * 1000);
    k->cc = cfg->cc;
    if (kt_send_ring_init(&k->snd, slab, cfg->snd_wnd) || kt_recv_ring_init(&k->rcv, slab, cfg->rcv_wnd) ||
        kt_kcp_acks_init(&k->acks)) {
        kt_kcp_free(k);
        return KT_ENOMEM;
    }
    *out = k;
    return 0;
}

int kt_kcp_tune(struct kt_kcp *k, const struct kt_kcp_config *cfg)
{
    struct kt_kcp_config c = *cfg;
    c.conv = k->cfg.conv;
    c.mtu = k->cfg.mtu;
    c.cc = k->cfg.cc;
    c.ts_base = k->cfg.ts_base;
    c.resend = kt_min32(cfg->resend, KT_KCP_RESEND_MAX);
    if (!config_valid(&c)) return KT_EINVAL;
    if (c.rcv_wnd != k->cfg.rcv_wnd) k->tell = true;
    k->cfg = c;
    k->ack_every = ack_every(&c);
    kt_loss_evidence_tune(&k->evidence, c.resend);
    kt_rtt_tune(&k->rtt, min_rto_us(&c), c.interval_ms * 1000);
    kt_send_ring_limit(&k->snd, c.snd_wnd);
    kt_recv_ring_limit(&k->rcv, c.rcv_wnd);
    if (k->acks.count >= k->ack_every || (c.ack_nodelay && k->acks.count > 0)) k->ack_now = true;
    return 0;
}

/* Takes what is in flight off the controller, as its acknowledgements will not come. */
static void leave_controller(struct kt_kcp *k)
{
    uint64_t bytes = 0;
    for (uint32_t sn = k->snd.una; sn != k->snd.nxt; sn++) {
        const struct kt_send_slot *s = kt_send_ring_at(&k->snd, sn);
        if (s->data) bytes += KT_KCP_OVERHEAD + s->len;
    }
    kt_cc_leave(k->cc, kt_send_ring_sent(&k->snd), bytes);
}

void kt_kcp_free(struct kt_kcp *k)
{
    if (!k) return;
    leave_controller(k);
    kt_send_ring_destroy(&k->snd);
    kt_recv_ring_destroy(&k->rcv);
    kt_kcp_acks_destroy(&k->acks);
    free(k);
}

size_t kt_kcp_held(const struct kt_kcp *k)
{
    return (size_t)(k->snd.end - k->snd.una) + k->rcv.held;
}

size_t kt_kcp_slots(const struct kt_kcp *k)
{
    return kt_send_ring_slots(&k->snd) + kt_recv_ring_slots(&k->rcv) + k->acks.cap * sizeof *k->acks.ring;
}

void kt_kcp_trim(struct kt_kcp *k)
{
    kt_send_ring_trim(&k->snd);
    kt_recv_ring_trim(&k->rcv);
    kt_kcp_acks_trim(&k->acks);
}

void kt_kcp_reach(struct kt_kcp *k, uint32_t n)
{
    const bool was_full = kt_recv_ring_free(&k->rcv) == 0;
    kt_recv_ring_reach(&k->rcv, n);
    if (was_full && kt_recv_ring_free(&k->rcv) > 0) k->tell = true;
}

/* ---- bytes ---- */

size_t kt_kcp_write(struct kt_kcp *k, const void *data, size_t n)
{
    return kt_send_ring_write(&k->snd, data, n, k->mss);
}

bool kt_kcp_write_message(struct kt_kcp *k, const void *data, size_t n)
{
    return kt_send_ring_write_message(&k->snd, data, n, k->mss);
}

size_t kt_kcp_room(const struct kt_kcp *k)
{
    const struct kt_send_ring *w = &k->snd;
    size_t room = (size_t)kt_send_ring_free(w) * k->mss;
    const uint32_t last = w->end != w->nxt ? kt_send_ring_at(w, w->end - 1)->len : k->mss;
    if (last < k->mss) room += k->mss - last;
    return room;
}

void kt_kcp_outlook(const struct kt_kcp *k, struct kt_kcp_outlook *out)
{
    const uint32_t ends = kt_kcp_ends_open(k);
    *out = (struct kt_kcp_outlook){
        .open = kt_min32(ends, kt_cc_open(k->cc)),
        .queued = kt_send_ring_queued(&k->snd),
        .window = kt_kcp_window(k),
        .srtt_us = k->rtt.srtt,
        .full = ends == 0,
        .rate = k->cc->pacer.rate,
        .paced = kt_pacer_allowance(&k->cc->pacer, k->now_us),
    };
}

uint32_t kt_kcp_mss(const struct kt_kcp *k)
{
    return k->mss;
}

size_t kt_kcp_peek(const struct kt_kcp *k, const uint8_t **data)
{
    return kt_recv_ring_peek(&k->rcv, data);
}

size_t kt_kcp_unread(const struct kt_kcp *k, size_t most)
{
    return kt_recv_ring_unread(&k->rcv, most);
}

int kt_kcp_message(const struct kt_kcp *k)
{
    return kt_recv_ring_message(&k->rcv);
}

void kt_kcp_consume(struct kt_kcp *k, size_t n)
{
    bool was_full = kt_recv_ring_free(&k->rcv) == 0;
    kt_recv_ring_consume(&k->rcv, n);
    if (was_full && kt_recv_ring_free(&k->rcv) > 0) k->tell = true;
}

/* ---- control and facts ---- */

void kt_kcp_probe(struct kt_kcp *k)
{
    k->ask = true;
}

void kt_kcp_watch(struct kt_kcp *k, uint32_t limit)
{
    kt_mtu_hole_watch(&k->hole, limit);
}

void kt_kcp_shrink(struct kt_kcp *k, uint32_t mtu)
{
    assert(mtu >= KT_KCP_MTU_MIN && mtu <= k->cfg.mtu);
    k->cfg.mtu = mtu;
    k->mss = mtu - KT_KCP_OVERHEAD;
    kt_mtu_hole_watch(&k->oversize, mtu);
}

void kt_kcp_repeat_acks(struct kt_kcp *k, bool may)
{
    k->repeats = may;
    if (may) return;
    k->repeat = 0;
    kt_kcp_acks_forget(&k->acks);
}

void kt_kcp_pause(struct kt_kcp *k)
{
    k->paused = true;
}

void kt_kcp_resume(struct kt_kcp *k)
{
    k->paused = false;
    kt_mtu_hole_passed(&k->hole); /* everything was lost, not only long packets */
    kt_mtu_hole_passed(&k->oversize);
    k->resumed = k->order.tx + 1;
}

uint32_t kt_kcp_mark(const struct kt_kcp *k)
{
    return k->snd.end;
}

bool kt_kcp_covered(const struct kt_kcp *k, uint32_t mark)
{
    return kt_sn_diff(k->snd.una, mark) >= 0;
}

bool kt_kcp_unacked(const struct kt_kcp *k)
{
    return k->snd.una != k->snd.end;
}

bool kt_kcp_behind(const struct kt_kcp *k)
{
    return k->rcv.held > 0;
}

void kt_kcp_stats(const struct kt_kcp *k, struct kt_kcp_stats *out)
{
    *out = k->stats;
    out->srtt_us = k->rtt.srtt;
    out->rttvar_us = k->rtt.var;
    out->rto_us = k->rtt.rto;
    out->una = k->snd.una;
    out->hole = kt_mtu_hole_found(&k->hole, KT_MTU_HOLE_ALONE);
    out->oversize = kt_mtu_hole_found(&k->oversize, KT_MTU_HOLE_FATAL);
    out->inflight = kt_send_ring_sent(&k->snd);
    out->queued = kt_send_ring_queued(&k->snd);
    out->rmt_wnd = k->rmt_wnd;
    out->cwnd = kt_cc_window(k->cc);
    if (out->cwnd == KT_CC_NO_WINDOW) out->cwnd = k->cfg.snd_wnd;
    out->ssthresh = kt_cc_ssthresh(k->cc);
    out->bytes_in = k->rcv.bytes;
}

void kt_kcp_observe(struct kt_kcp *k, void (*report)(void *ctx, const struct kt_kcp_report *r), void *ctx)
{
    k->report = report;
    k->report_ctx = ctx;
}

void kt_kcp_put_unknown(uint8_t *out, uint32_t conv, uint32_t wnd)
{
    const struct kt_kcp_segment seg = {
        .conv = conv, .cmd = KT_KCP_WINS, .wnd = (uint16_t)wnd, .sn = KT_KCP_UNKNOWN};
    kt_kcp_segment_put(out, &seg);
}
