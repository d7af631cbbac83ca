/* Packets out, and when (docs/wire-kcptun.md, 6.4, 6.5).
 *
 * Timeouts: a segment that has timed out n times is due again rto * (1 + n) after its last transmission, or
 * rto * (1 + n/2) with nodelay. The rto is the current one; kcp-go uses that of the time of sending, but a
 * peer cannot tell. So all segments of one n wait equally long, and the lists of retx_order.h are in order
 * of deadline without sorting; and when a path becomes slower, the first acknowledgement raises the rto
 * before everything sent earlier times out.
 *
 * Fast retransmit: see loss_evidence.h.
 *
 * Early retransmit: at the end of a burst there may never be enough evidence. So if nothing new can be
 * sent, one later arrival is enough, after a quarter of srtt (at least 1 ms, at most an interval), since
 * packets that look lost are often just late. */
#include "kcp/kcp_internal.h"
#include <string.h>

#define EARLY_DELAY_MIN_US 1000u
#define OWED_US 10000000u /* a WASK without an answer after this long gets none */

/* The state of one flush. */
struct flush {
    struct kt_kcp *k;
    struct kt_packet_writer *w;
    uint64_t now_us;
    uint32_t una; /* una and wnd are the same in all its segments */
    uint16_t wnd;
};

/* Pads the packet with WINS, which repeat what its segments say and which every peer accepts. */
static void pad(struct kt_kcp *k, struct kt_packet_writer *w)
{
    const size_t to = kt_min_size(k->cfg.pad, w->room);
    const struct kt_kcp_segment seg = {.conv = k->cfg.conv,
        .cmd = KT_KCP_WINS,
        .wnd = (uint16_t)kt_recv_ring_free(&k->rcv),
        .una = k->rcv.nxt};
    while (w->len + KT_KCP_OVERHEAD <= to) {
        kt_kcp_segment_put(kt_packet_writer_append(w, KT_KCP_OVERHEAD), &seg);
        k->stats.out_segs++;
    }
}

/* Whether the peer may not know the conversation yet. A server starts one on a packet whose first segment
 * is a PUSH, so a WASK would have no effect, and would spoil the packet that it leads. */
static bool first_unheard(const struct kt_kcp *k)
{
    return k->stats.in_segs == 0 && k->snd.una != k->snd.end;
}

/* WASKs that may still be answered. The latest are enough: few are under way at once. */
static uint32_t owed(const struct kt_kcp *k)
{
    uint32_t n = 0;
    while (n < KT_KCP_ASKED && n < k->stats.unanswered && k->now_us - k->asked[n].at_us < OWED_US) n++;
    return n;
}

static void complete(void *kcp, struct kt_packet_writer *w)
{
    struct kt_kcp *k = kcp;
    k->pads = k->pads && k->rcv.nxt == 0;
    if (k->pads) pad(k, w);
    if (!w->again) return;
    struct kt_mtu_hole *hole = kt_kcp_hole(k, (uint32_t)w->len);
    /* Before the peer is heard a probe is a segment sent again, and would be followed by another. */
    if (kt_mtu_hole_resent(hole, (uint32_t)w->len, owed(k), k->now_us) && !first_unheard(k)) k->ask = true;
}

/* Begins a packet with n bytes; returns where they go, or NULL if nothing more may leave now. */
static inline __attribute__((always_inline)) uint8_t *begin(struct flush *f, size_t n)
{
    const struct kt_kcp *k = f->k;
    kt_packet_writer_close(f->w);
    const uint32_t most = kt_mtu_hole_cautious(&k->hole) ? k->hole.limit : k->cfg.mtu;
    uint8_t *p = kt_packet_writer_begin(f->w, n, most);
    if (p) f->w->attend = k->pads;
    return p;
}

/* Writes a header and makes room for len bytes after it; returns where they go, or NULL if nothing more may
 * leave now. Forced inline, as a call would cost as much as the header; see put_bare. */
static inline __attribute__((always_inline)) uint8_t *put(
    struct flush *f, enum kt_kcp_cmd cmd, uint8_t frg, uint32_t sn, uint32_t ts, uint32_t len)
{
    struct kt_kcp *k = f->k;
    const size_t n = KT_KCP_OVERHEAD + len;
    uint8_t *p = kt_packet_writer_fits(f->w, n) ? kt_packet_writer_append(f->w, n) : begin(f, n);
    if (!p) return NULL;
    const struct kt_kcp_segment seg = {
        .conv = k->cfg.conv,
        .cmd = (uint8_t)cmd,
        .frg = frg,
        .wnd = f->wnd,
        .ts = ts,
        .sn = sn,
        .una = f->una,
        .len = len,
    };
    kt_kcp_segment_put(p, &seg);
    k->stats.out_segs++;
    return p + KT_KCP_OVERHEAD;
}

/* Writes a segment without payload, where that is rare enough for a call; false if nothing more may leave now. */
static bool put_bare(struct flush *f, enum kt_kcp_cmd cmd, uint32_t sn, uint32_t ts)
{
    return put(f, cmd, 0, sn, ts, 0) != NULL;
}

/* Sends the latest acknowledgements once more, before the newer ones: those of later segments tell the time. */
static bool repeat_acks(struct flush *f)
{
    struct kt_kcp_acks *acks = &f->k->acks;
    while (acks->sent_count > 0) {
        const struct kt_kcp_ack *a = &acks->sent[acks->sent_count - 1];
        if (kt_sn_diff(a->sn, f->una) >= 0 && !put_bare(f, KT_KCP_ACK, a->sn, a->ts)) return false;
        kt_kcp_acks_drop(acks);
    }
    return true;
}

/* A segment below una needs no ACK of its own (wire-kcptun.md 6.4), except the last, whose ts the peer needs. */
static bool send_acks(struct flush *f)
{
    struct kt_kcp_acks *acks = &f->k->acks;
    if (acks->count > 0 && !repeat_acks(f)) return false;
    while (acks->count > 0) {
        const struct kt_kcp_ack *a = kt_kcp_acks_first(acks);
        if ((acks->count == 1 || kt_sn_diff(a->sn, f->una) >= 0) && !put(f, KT_KCP_ACK, 0, a->sn, a->ts, 0)) {
            f->k->ack_now = true;
            return false;
        }
        if (f->k->repeat > 0) {
            kt_kcp_acks_keep(acks);
            f->k->repeat--;
        }
        kt_kcp_acks_pop(acks);
    }
    f->k->ack_now = false;
    return true;
}

static bool send_push(struct flush *f, uint32_t sn, uint8_t level)
{
    struct kt_send_ring *r = &f->k->snd;
    struct kt_send_slot *s = kt_send_ring_at(r, sn);
    uint8_t *p = put(f, KT_KCP_PUSH, s->frg, sn, f->k->now_ts, s->len);
    if (!p) return false;
    memcpy(p, s->data, s->len);
    const bool again = sn != r->nxt;
    if (again) {
        f->w->attend = true;
        if (sn - r->una < f->k->rmt_wnd) f->w->again = true; /* else the peer may have no room */
    } else {
        kt_send_ring_sent_next(r);
        *kt_send_ring_first(r, sn) = (struct kt_send_first){.una = f->una, .ts = f->k->now_ts};
    }
    kt_retx_sent(&f->k->order, r, s, sn, again, level, f->now_us);
    kt_cc_sent(f->k->cc, kt_send_ring_snapshot(r, sn), KT_KCP_OVERHEAD + s->len, again, f->now_us);
    return true;
}

static bool send_first(struct flush *f)
{
    struct kt_kcp *k = f->k;
    const uint32_t sn = k->snd.una;
    if (!send_push(f, sn, kt_send_ring_at(&k->snd, sn)->level)) return false;
    k->stats.timeout_retrans++;
    return true;
}

static bool send_probes(struct flush *f)
{
    struct kt_kcp *k = f->k;
    if (k->rmt_wnd == 0 && k->snd.nxt != k->snd.end && k->probe_at <= f->now_us) {
        k->ask = true;
        k->probe_wait += k->probe_wait / 2;
        if (k->probe_wait > KT_KCP_PROBE_MAX_US) k->probe_wait = KT_KCP_PROBE_MAX_US;
        k->probe_at = f->now_us + k->probe_wait;
    }
    if (k->ask && first_unheard(k)) {
        if (k->snd.nxt != k->snd.una && !send_first(f)) return false;
    } else if (k->ask) {
        if (!put_bare(f, KT_KCP_WASK, 0, 0)) return false;
        k->stats.unanswered++;
        memmove(k->asked + 1, k->asked, sizeof k->asked - sizeof *k->asked);
        k->asked[0].tx = k->order.tx;
        k->asked[0].at_us = f->now_us;
        kt_mtu_hole_asked(&k->hole);
        kt_mtu_hole_asked(&k->oversize);
        k->stats.asked_us = f->now_us;
    }
    k->ask = false;
    if (k->tell && !put_bare(f, KT_KCP_WINS, 0, 0)) return false;
    k->tell = false;
    return true;
}

/* Time for the queues of the path to drain, and for an acknowledgement. */
static uint64_t alone_pause(const struct kt_kcp *k)
{
    return k->rtt.rto > KT_MTU_HOLE_PAUSE_US ? k->rtt.rto : KT_MTU_HOLE_PAUSE_US;
}

void kt_kcp_suspect_hole(struct kt_kcp *k)
{
    k->alone_at = k->now_us + alone_pause(k);
}

/* How long a segment that has timed out `level` times waits. */
static uint64_t patience(const struct kt_kcp *k, uint32_t level)
{
    uint64_t rto = k->rtt.rto;
    uint64_t wait = rto + level * (k->cfg.nodelay ? rto / 2 : rto);
    return wait < KT_KCP_RTO_MAX_US ? wait : KT_KCP_RTO_MAX_US;
}

/* The head of the list of the lowest level in `levels`, a nonempty bit set. */
static const struct kt_send_slot *head_of(const struct kt_kcp *k, uint32_t levels, uint32_t *level)
{
    *level = (uint32_t)__builtin_ctz(levels);
    return kt_retx_head(&k->order, &k->snd, *level);
}

/* Segments that were lost and have been sent again, by reason. */
struct lost {
    uint32_t packets;
    uint64_t bytes;
};

struct resent {
    struct lost fast, early, timeout;
};

/* Sends again what is lost, overtaken (numbered below `overtaken`) or timed out. A segment sent again moves
 * to a tail with the latest number and time, so the walk through a list stops at the first head that is not
 * due. */
static bool resend(struct flush *f, uint64_t overtaken, struct resent *resent)
{
    struct kt_kcp *k = f->k;
    struct kt_retx_order *o = &k->order;
    const uint64_t lost = k->evidence.lost;
    for (uint32_t level, left = o->levels; left; left &= left - 1) {
        const struct kt_send_slot *s = head_of(k, left, &level);
        uint64_t wait = patience(k, level);
        while (o->levels & 1u << level) {
            uint32_t sn = o->lists[level].first;
            s = kt_send_ring_at(&k->snd, sn);
            const uint64_t tx = kt_retx_tx(o, s);
            struct lost *why = tx < lost ? &resent->fast : tx < overtaken ? &resent->early : NULL;
            uint8_t next = (uint8_t)level;
            if (tx < k->resumed) {
                why = &resent->timeout;
                next = 0;
            } else if (!why) {
                if (f->now_us - s->sent_us < wait) break;
                why = &resent->timeout;
                const struct kt_mtu_hole *hole = kt_kcp_hole(k, KT_KCP_OVERHEAD + s->len);
                if (kt_mtu_hole_cautious(hole) && hole->answers > 0)
                    next = 0; /* the path is not dead */
                else if (level + 1 < KT_RETX_LEVELS)
                    next++;
            }
            if (kt_cc_next(k->cc) > f->now_us || !send_push(f, sn, next)) return false;
            why->packets++;
            why->bytes += KT_KCP_OVERHEAD + s->len;
        }
    }
    return true;
}

/* Queued segments that may leave, apart from pacing. */
static uint32_t sendable(const struct kt_kcp *k)
{
    return k->snd.nxt == k->snd.end ? 0 : kt_min32(kt_send_ring_queued(&k->snd), kt_kcp_open(k));
}

static void send_new(struct flush *f)
{
    struct kt_kcp *k = f->k;
    /* Each takes one packet of what is open. Short ones take less, so look again at the end. */
    for (uint32_t n; (n = sendable(k)) > 0;) {
        for (; n > 0; n--) {
            const uint32_t sn = k->snd.nxt;
            if (kt_cc_next(k->cc) > f->now_us || !send_push(f, sn, 0)) return;
            k->stats.out_push++;
            k->stats.bytes_out += kt_send_ring_at(&k->snd, sn)->len;
        }
    }
}

/* While an MTU black hole is suspected (mtu_hole.h): sends the first segment, alone. */
static void send_alone(struct flush *f)
{
    struct kt_kcp *k = f->k;
    if (k->alone_at <= f->now_us && send_first(f)) k->alone_at = f->now_us + alone_pause(k);
}

static void report_losses(struct kt_kcp *k, const struct resent *resent, uint64_t now_us)
{
    if (!resent->fast.packets && !resent->early.packets && !resent->timeout.packets) return;
    struct kt_cc_loss loss = {.window = kt_kcp_window(k), .reorder = k->cfg.resend, .now_us = now_us};
    k->stats.fast_retrans += resent->fast.packets;
    k->stats.early_retrans += resent->early.packets;
    k->stats.timeout_retrans += resent->timeout.packets;
    loss.kind = KT_CC_LOSS_FAST;
    loss.packets = resent->fast.packets + resent->early.packets;
    loss.bytes = resent->fast.bytes + resent->early.bytes;
    if (loss.packets > 0) kt_cc_lost(k->cc, &loss);
    loss.kind = KT_CC_LOSS_TIMEOUT;
    loss.packets = resent->timeout.packets;
    loss.bytes = resent->timeout.bytes;
    if (loss.packets > 0) kt_cc_lost(k->cc, &loss);
}

static uint64_t early_delay(const struct kt_kcp *k)
{
    uint32_t delay = k->rtt.srtt / 4;
    if (k->rtt.srtt == 0 || delay > k->rtt.interval) delay = k->rtt.interval;
    return delay > EARLY_DELAY_MIN_US ? delay : EARLY_DELAY_MIN_US;
}

void kt_kcp_early_update(struct kt_kcp *k)
{
    const uint64_t overtaken = k->evidence.overtaken;
    for (uint32_t level, left = k->order.levels; left; left &= left - 1) {
        if (kt_retx_tx(&k->order, head_of(k, left, &level)) >= overtaken) continue;
        if (k->early_at == UINT64_MAX) k->early_at = k->now_us + early_delay(k);
        return;
    }
    k->early_at = UINT64_MAX;
}

static void fill(struct kt_kcp *k, struct kt_packet_writer *w, uint64_t now_us)
{
    now_us = kt_kcp_clock(k, now_us);
    struct flush f = {
        .k = k,
        .w = w,
        .now_us = now_us,
        .una = k->rcv.nxt,
        .wnd = (uint16_t)kt_recv_ring_free(&k->rcv),
    };
    uint64_t overtaken = 0;
    if (k->early_at <= now_us) {
        if (kt_kcp_may_send(k))
            k->early_at = now_us + early_delay(k); /* new segments will bring better evidence */
        else
            overtaken = k->evidence.overtaken;
    }
    struct resent resent = {0};
    const uint64_t tx = k->order.tx;
    if (send_acks(&f) && send_probes(&f) && !k->paused) {
        if (kt_kcp_suspects_hole(k))
            send_alone(&f);
        else if (resend(&f, overtaken, &resent))
            send_new(&f);
    }
    if (k->order.tx == tx) return; /* no PUSH has left, so the lists are as they were */
    report_losses(k, &resent, now_us);
    kt_kcp_early_update(k);
}

void kt_kcp_flush(struct kt_kcp *k, uint64_t now_us)
{
    struct kt_packet_writer w;
    kt_packet_writer_init(&w, &k->out, complete, k);
    fill(k, &w, now_us);
    kt_packet_writer_finish(&w);
}

uint64_t kt_kcp_due(const struct kt_kcp *k, uint64_t now_us)
{
    const struct kt_send_ring *r = &k->snd;
    if (k->ask || k->tell) return now_us;
    uint64_t at = UINT64_MAX, push = k->early_at;
    if (k->acks.count > 0) {
        if (k->ack_now) return now_us;
        at = k->ack_at;
    }
    if (k->rmt_wnd == 0 && r->nxt != r->end && k->probe_at < at) at = k->probe_at;
    if (k->paused) return at;
    if (kt_kcp_suspects_hole(k)) return k->alone_at < at ? k->alone_at : at;
    if (kt_kcp_may_send(k)) push = now_us;
    const uint64_t lost = k->evidence.lost > k->resumed ? k->evidence.lost : k->resumed;
    for (uint32_t level, left = k->order.levels; left && push > now_us; left &= left - 1) {
        const struct kt_send_slot *s = head_of(k, left, &level);
        const bool now = kt_retx_tx(&k->order, s) < lost;
        const uint64_t deadline = now ? now_us : s->sent_us + patience(k, level);
        if (deadline < push) push = deadline;
    }
    if (push < at && push < kt_cc_next(k->cc)) push = kt_cc_next(k->cc);
    return push < at ? push : at;
}
