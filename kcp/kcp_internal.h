/* struct kt_kcp, only for the kcp*.c files and for specs that check invariants. */
#ifndef KT_KCP_INTERNAL_H
#define KT_KCP_INTERNAL_H

#include "base/bytes.h"
#include "kcp/kcp.h"
#include "kcp/kcp_acks.h"
#include "kcp/echoed_ts.h"
#include "kcp/loss_evidence.h"
#include "kcp/mtu_hole.h"
#include "kcp/recv_ring.h"
#include "kcp/rtt.h"
#include "kcp/kcp_segment.h"
#include "kcp/retx_order.h"

#define KT_KCP_RMT_WND_FIRST 32u /* until the peer is heard */
#define KT_KCP_PROBE_FIRST_US 500000u
#define KT_KCP_PROBE_MAX_US 120000000u
#define KT_KCP_ASKED 4u
/* A segment that comes again shows that its acknowledgement was lost; then this many are sent twice. */
#define KT_KCP_REPEAT_ACKS 1024u
#define KT_KCP_ACK_EVERY 16u
/* How long an acknowledgement waits for data to travel with. A nearby target answers within this time; and
 * kcptun acknowledges that answer at once only if its packet also moves una. */
#define KT_KCP_ACK_WAIT_US 1000u

struct kt_kcp {
    struct kt_kcp_config cfg;
    struct kt_packet_out out;
    uint32_t mss;
    uint32_t max_len;   /* longest payload accepted: the size of a block */
    uint32_t ack_every; /* this many acknowledgements owed may not wait */
    uint64_t now_us;    /* latest time passed in; never goes back */
    uint32_t now_ts;    /* the ts of a PUSH sent at now_us (kt_kcp_ts) */
    bool pads;          /* packets may need padding: the peer has sent no data */

    struct kt_send_ring snd;
    struct kt_retx_order order;
    struct kt_rtt rtt;
    struct kt_loss_evidence evidence;
    struct kt_mtu_hole hole, oversize; /* for packets up to mtu; for longer ones from before it shrank */
    uint64_t alone_at;                 /* while either suspects a hole: when the next segment leaves */
    struct kt_cc *cc;
    uint64_t resumed;  /* transmissions below this are lost (kt_kcp_resume) */
    bool paused;       /* no PUSH leaves */
    uint64_t early_at; /* early retransmit of overtaken segments; UINT64_MAX: none */

    struct kt_recv_ring rcv;
    struct kt_kcp_acks acks;
    uint64_t ack_at; /* when the oldest acknowledgement owed is due */
    bool ack_now;    /* acknowledgements owed may not wait */
    bool repeats;    /* the peer takes acknowledgements twice */
    uint32_t repeat; /* the next acknowledgements to send twice, as a count */

    uint32_t rmt_wnd;
    uint64_t probe_at; /* next WASK while rmt_wnd is 0 */
    uint64_t probe_wait;
    bool ask, tell;                                           /* WASK, WINS to be sent */
    bool una_moved;                                           /* the peer has acknowledged something */
    uint64_t news;                                            /* packets that brought something new */
    void (*report)(void *ctx, const struct kt_kcp_report *r); /* kt_kcp_observe; NULL: none */
    void *report_ctx;

    struct kt_echoed_ts echo;
    uint64_t arrived_us; /* send time of the latest transmission known to have arrived */
    struct {
        uint64_t tx, at_us; /* the last transmission before it; its send time */
    } asked[KT_KCP_ASKED];  /* the latest WASKs, newest first */

    struct kt_kcp_stats stats; /* counters; kt_kcp_stats fills in the rest */
};

/* The ts of a PUSH sent at that time. */
static inline uint32_t kt_kcp_ts(const struct kt_kcp *k, uint64_t at_us)
{
    return kt_ts(at_us) + k->cfg.ts_base;
}

/* Takes the time from a caller. Returns now_us. */
static inline uint64_t kt_kcp_clock(struct kt_kcp *k, uint64_t now_us)
{
    if (now_us > k->now_us) {
        k->now_us = now_us;
        k->now_ts = kt_kcp_ts(k, now_us);
    }
    return k->now_us;
}

/* The watch that a packet of this length is evidence for. */
static inline struct kt_mtu_hole *kt_kcp_hole(struct kt_kcp *k, uint32_t packet)
{
    return packet > k->cfg.mtu ? &k->oversize : &k->hole;
}

static inline bool kt_kcp_suspects_hole(const struct kt_kcp *k)
{
    return k->hole.suspected || k->oversize.suspected;
}

/* Segments that the windows of the two ends let out now. */
static inline uint32_t kt_kcp_ends_open(const struct kt_kcp *k)
{
    const uint32_t window = kt_min32(k->cfg.snd_wnd, k->rmt_wnd), sent = kt_send_ring_sent(&k->snd);
    return window > sent ? window - sent : 0;
}

/* Segments that those and the controller let out now. */
static inline uint32_t kt_kcp_open(const struct kt_kcp *k)
{
    return kt_min32(kt_kcp_ends_open(k), kt_cc_open(k->cc));
}

/* Segments that may be in flight at once. */
static inline uint32_t kt_kcp_window(const struct kt_kcp *k)
{
    return kt_min32(kt_cc_window(k->cc), kt_min32(k->cfg.snd_wnd, k->rmt_wnd));
}

/* Whether a queued segment may leave, apart from pacing. */
static inline bool kt_kcp_may_send(const struct kt_kcp *k)
{
    return !k->paused && k->snd.nxt != k->snd.end && kt_kcp_open(k) > 0;
}

/* An MTU black hole is suspected from now on (kcp_flush.c). */
void kt_kcp_suspect_hole(struct kt_kcp *k);

/* Starts or stops the timer of early retransmission (kcp_flush.c). */
void kt_kcp_early_update(struct kt_kcp *k);

#endif
