/* Packets out, and when (docs/wire-kcptun.md, 6.4, 6.5).
 *
 * Timeouts. A segment that has timed out n times is due again rto * (1 + n) after its last transmission, or
 * rto * (1 + n/2) with nodelay, with the rto of *now*; kcp-go freezes the rto at the time of sending. Nothing
 * of that shows on the wire. It makes all segments of one n wait equally long, so the lists of the send
 * window are in order of deadline by themselves; and a path that has just become slower, which the first
 * acknowledgement tells, does not time out everything that was sent when it was fast.
 *
 * Fast retransmit: see loss_evidence.h. Early retransmit: at the end of a burst there may never be enough
 * evidence, so one later arrival is enough when nothing new can be sent; but only after a quarter of srtt
 * (1 ms to an interval), since what looks lost is often just late. */
#include "kcp/kcp_internal.h"
#include <string.h>

#define EARLY_DELAY_MIN_US 1000u

/* One flush: the packet being filled, and those filled but not handed out. */
struct flush {
    struct kt_kcp *k;
    uint64_t now_us;
    uint16_t wnd; /* sampled once, like una */
    uint32_t una;
    uint8_t *buf; /* the packet being filled, NULL: none */
    bool again;   /* it has a segment that was sent before */
    size_t len;
    size_t room; /* bytes that it may have */
    size_t n;
    struct kt_kcp_packet batch[KT_KCP_BATCH];
};

static void hand_out(struct flush *f)
{
    if (f->n > 0) f->k->out.send(f->k->out.ctx, f->batch, f->n);
    f->n = 0;
}

/* Fills the packet up with segments that say what all its segments say, which any peer takes. */
static void pad(struct flush *f)
{
    struct kt_kcp *k = f->k;
    const size_t to = k->cfg.pad < f->room ? k->cfg.pad : f->room;
    const struct kt_kcp_segment seg = {.conv = k->cfg.conv, .cmd = KT_KCP_WINS, .wnd = f->wnd, .una = f->una};
    for (; f->len + KT_KCP_OVERHEAD <= to; f->len += KT_KCP_OVERHEAD) {
        kt_kcp_segment_put(f->buf + f->len, &seg);
        k->stats.out_segs++;
    }
}

static void close_packet(struct flush *f)
{
    if (!f->buf) return;
    if (f->una == 0) pad(f);
    if (f->again) {
        struct kt_hole *hole = kt_kcp_hole(f->k, (uint32_t)f->len);
        kt_hole_resent(hole, (uint32_t)f->len, f->now_us);
        if (kt_hole_cautious(hole)) f->k->ask = true;
    }
    f->again = false;
    f->batch[f->n++] = (struct kt_kcp_packet){.data = f->buf, .len = f->len};
    f->buf = NULL;
    if (f->n == KT_KCP_BATCH) hand_out(f);
}

/* Writes a header and makes room for len bytes behind it; returns where they go. NULL: nothing more may leave
 * now. A buffer is reserved only when something goes into it. */
static uint8_t *put(struct flush *f, enum kt_kcp_cmd cmd, uint32_t sn, uint32_t ts, uint32_t len)
{
    struct kt_kcp *k = f->k;
    if (f->buf && f->len + KT_KCP_OVERHEAD + len > f->room) close_packet(f);
    if (!f->buf) {
        f->room = KT_KCP_OVERHEAD + len;
        f->buf = k->out.reserve(k->out.ctx, &f->room);
        f->len = 0;
        if (!f->buf) return NULL;
        const uint32_t most = kt_hole_cautious(&k->hole) ? k->hole.limit : k->cfg.mtu;
        if (f->room > most) f->room = most;
    }
    uint8_t *p = f->buf + f->len;
    struct kt_kcp_segment seg = {
        .conv = k->cfg.conv,
        .cmd = (uint8_t)cmd,
        .wnd = f->wnd,
        .ts = ts,
        .sn = sn,
        .una = f->una,
        .len = len,
    };
    kt_kcp_segment_put(p, &seg);
    f->len += KT_KCP_OVERHEAD + len;
    k->stats.out_segs++;
    return p + KT_KCP_OVERHEAD;
}

/* Thinned (spec 6.4): what is below una needs no ACK of its own. The last one goes out in any case, for its
 * ts. */
static bool send_acks(struct flush *f)
{
    struct kt_acks *acks = &f->k->acks;
    while (acks->count > 0) {
        const struct kt_ack *a = kt_acks_first(acks);
        if ((acks->count == 1 || kt_sn_diff(a->sn, f->una) >= 0) && !put(f, KT_KCP_ACK, a->sn, a->ts, 0)) {
            f->k->ack_now = true;
            return false;
        }
        kt_acks_pop(acks);
    }
    f->k->ack_now = false;
    return true;
}

static bool send_push(struct flush *f, uint32_t sn, uint8_t level)
{
    struct kt_send_ring *r = &f->k->snd;
    struct kt_send_slot *s = kt_send_ring_at(r, sn);
    uint8_t *p = put(f, KT_KCP_PUSH, sn, kt_ts(f->now_us) + f->k->cfg.ts_base, s->len);
    if (!p) return false;
    memcpy(p, s->data, s->len);
    const bool again = sn != r->nxt;
    if (again) {
        f->again = true;
    } else {
        r->nxt++;
        s->told = f->una;
        s->first_ms = kt_ts(f->now_us);
    }
    kt_retx_sent(&f->k->order, r, sn, again, level, f->now_us);
    return true;
}

/* True while the peer may not know the conversation. A server begins one with a packet whose first segment is
 * a PUSH, so a WASK would be in vain, and would spoil the packet that it leads. */
static bool first_unheard(const struct kt_kcp *k)
{
    return k->stats.in_segs == 0 && k->snd.una != k->snd.end;
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
        if (!put(f, KT_KCP_WASK, 0, 0, 0)) return false;
        k->stats.unanswered++;
        memmove(k->asked + 1, k->asked, sizeof k->asked - sizeof *k->asked);
        k->asked[0].tx = k->order.tx;
        k->asked[0].at_us = f->now_us;
        k->stats.asked_us = f->now_us;
    }
    k->ask = false;
    if (k->tell && !put(f, KT_KCP_WINS, 0, 0, 0)) return false;
    k->tell = false;
    return true;
}

/* How long a segment that has timed out `level` times waits. */
static uint64_t patience(const struct kt_kcp *k, uint32_t level)
{
    uint64_t rto = k->rtt.rto;
    uint64_t wait = rto + level * (k->cfg.nodelay ? rto / 2 : rto);
    return wait < KT_KCP_RTO_MAX_US ? wait : KT_KCP_RTO_MAX_US;
}

/* Head of the list of the lowest level in `levels`, a set of bits that is not empty. */
static const struct kt_send_slot *head_of(const struct kt_kcp *k, uint32_t levels, uint32_t *level)
{
    *level = (uint32_t)__builtin_ctz(levels);
    return kt_retx_head(&k->order, &k->snd, *level);
}

struct resent {
    uint32_t fast, early, timeout;
};

/* Sends again what is lost, overtaken (below `overtaken`) or has timed out. What is sent goes to a tail with
 * the latest number and time, so each list ends at a head that is not due. */
static bool resend(struct flush *f, uint64_t overtaken, struct resent *count)
{
    struct kt_kcp *k = f->k;
    struct kt_retx_order *o = &k->order;
    uint64_t lost = kt_evidence_lost(&k->evidence);
    for (uint32_t level, left = o->levels; left; left &= left - 1) {
        const struct kt_send_slot *s = head_of(k, left, &level);
        uint64_t wait = patience(k, level);
        while (o->levels & 1u << level) {
            uint32_t sn = o->lists[level].first;
            s = kt_send_ring_at(&k->snd, sn);
            uint32_t *counter = s->tx < lost ? &count->fast : s->tx < overtaken ? &count->early : NULL;
            uint8_t next = (uint8_t)level;
            if (s->tx < k->resumed) {
                counter = &count->timeout;
                next = 0;
            } else if (!counter) {
                if (f->now_us - s->sent_us < wait) break;
                counter = &count->timeout;
                const struct kt_hole *hole = kt_kcp_hole(k, KT_KCP_OVERHEAD + s->len);
                if (kt_hole_cautious(hole) && hole->answers > 0)
                    next = 0; /* the path is not dead */
                else if (level + 1 < KT_RETX_LEVELS)
                    next++;
            }
            if (!send_push(f, sn, next)) return false;
            ++*counter;
        }
    }
    return true;
}

static void send_new(struct flush *f)
{
    struct kt_kcp *k = f->k;
    while (kt_kcp_may_send(k)) {
        uint32_t sn = k->snd.nxt;
        if (!send_push(f, sn, 0)) return;
        k->stats.out_push++;
        k->stats.bytes_out += kt_send_ring_at(&k->snd, sn)->len;
    }
}

static void tell_losses(struct kt_kcp *k, const struct resent *count, uint32_t window, uint64_t now_us)
{
    uint32_t inflight = kt_send_ring_sent(&k->snd);
    k->stats.fast_retrans += count->fast;
    k->stats.early_retrans += count->early;
    k->stats.timeout_retrans += count->timeout;
    if (!k->cc.ops->on_loss) return;
    if (count->fast + count->early > 0) k->cc.ops->on_loss(&k->cc, KT_CC_LOSS_FAST, inflight, window, now_us);
    if (count->timeout > 0) k->cc.ops->on_loss(&k->cc, KT_CC_LOSS_TIMEOUT, inflight, window, now_us);
}

static uint64_t early_delay(const struct kt_kcp *k)
{
    uint32_t delay = k->rtt.srtt / 4;
    if (k->rtt.srtt == 0 || delay > k->rtt.interval) delay = k->rtt.interval;
    return delay > EARLY_DELAY_MIN_US ? delay : EARLY_DELAY_MIN_US;
}

void kt_kcp_early_update(struct kt_kcp *k)
{
    uint64_t overtaken = kt_evidence_overtaken(&k->evidence);
    for (uint32_t level, left = k->order.levels; left; left &= left - 1) {
        if (head_of(k, left, &level)->tx >= overtaken) continue;
        if (k->early_at == UINT64_MAX) k->early_at = k->now_us + early_delay(k);
        return;
    }
    k->early_at = UINT64_MAX;
}

void kt_kcp_flush(struct kt_kcp *k, uint64_t now_us)
{
    if (now_us < k->now_us) now_us = k->now_us;
    k->now_us = now_us;
    struct flush f; /* the batch is large and need not be cleared */
    f.k = k;
    f.now_us = now_us;
    f.wnd = (uint16_t)kt_recv_ring_free(&k->rcv);
    f.una = k->rcv.nxt;
    f.buf = NULL;
    f.again = false;
    f.len = f.n = f.room = 0;

    uint64_t overtaken = 0;
    if (k->early_at <= now_us) {
        if (kt_kcp_may_send(k))
            k->early_at = now_us + early_delay(k); /* new segments will bring better evidence */
        else
            overtaken = kt_evidence_overtaken(&k->evidence);
    }
    uint32_t window = kt_kcp_window(k);
    struct resent count = {0};
    if (send_acks(&f) && send_probes(&f) && !k->paused && resend(&f, overtaken, &count)) send_new(&f);
    close_packet(&f);
    hand_out(&f);
    tell_losses(k, &count, window, now_us);
    kt_kcp_early_update(k);
}

uint64_t kt_kcp_due(const struct kt_kcp *k, uint64_t now_us)
{
    const struct kt_send_ring *w = &k->snd;
    if (k->ask || k->tell || kt_kcp_may_send(k)) return now_us;
    uint64_t at = k->paused ? UINT64_MAX : k->early_at;
    if (k->acks.count > 0) {
        if (k->ack_now) return now_us;
        if (k->ack_at < at) at = k->ack_at;
    }
    if (k->rmt_wnd == 0 && w->nxt != w->end && k->probe_at < at) at = k->probe_at;
    if (k->paused) return at;
    uint64_t lost = kt_evidence_lost(&k->evidence);
    for (uint32_t level, left = k->order.levels; left; left &= left - 1) {
        const struct kt_send_slot *s = head_of(k, left, &level);
        if (s->tx < lost || s->tx < k->resumed) return now_us;
        uint64_t deadline = s->sent_us + patience(k, level);
        if (deadline < at) at = deadline;
    }
    return at;
}
