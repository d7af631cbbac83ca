/* The engine's insides, shared by the kcp_*.c files and by specs that check invariants. Nobody else looks. */
#ifndef KT_KCP_INTERNAL_H
#define KT_KCP_INTERNAL_H

#include "base/bytes.h"
#include "kcp/kcp.h"
#include "kcp/kcp_acks.h"
#include "kcp/kcp_echo.h"
#include "kcp/loss_evidence.h"
#include "kcp/kcp_hole.h"
#include "kcp/recv_ring.h"
#include "kcp/rtt.h"
#include "kcp/kcp_segment.h"
#include "kcp/retx_order.h"

#define KT_KCP_RMT_WND_FIRST 32u /* until the peer has spoken */
#define KT_KCP_PROBE_FIRST_US 500000u
#define KT_KCP_PROBE_MAX_US 120000000u
#define KT_KCP_ASKED 4u
#define KT_KCP_ACK_EVERY 16u
/* How long an acknowledgement waits for data to leave with. An answer from a near target takes less; and
 * kcptun acknowledges an answer at once only if its packet also moves una. */
#define KT_KCP_ACK_WAIT_US 1000u

struct kt_kcp {
    struct kt_kcp_config cfg;
    struct kt_packet_out out;
    uint32_t mss;
    uint32_t max_len;   /* longest payload accepted: what a block holds */
    uint32_t ack_every; /* acknowledgements owed that may not wait */
    uint64_t now_us;    /* latest time told; it never goes back */

    struct kt_send_ring snd;
    struct kt_retx_order order;
    struct kt_rtt rtt;
    struct kt_evidence evidence;
    struct kt_hole hole, oversize; /* of packets of up to mtu bytes; of longer ones, from before it shrank */
    struct kt_cc *cc;
    uint64_t resumed;  /* transmissions below this are lost: see kt_kcp_resume */
    bool paused;       /* no PUSH leaves */
    uint64_t early_at; /* early retransmit of overtaken segments; UINT64_MAX: there are none */

    struct kt_recv_ring rcv;
    struct kt_acks acks;
    uint64_t ack_at; /* deadline of the oldest acknowledgement owed */
    bool ack_now;    /* acknowledgements owed may not wait */

    uint32_t rmt_wnd;
    uint64_t probe_at; /* next WASK while rmt_wnd is 0 */
    uint64_t probe_wait;
    bool ask, tell;                                           /* WASK, WINS to be sent */
    bool una_moved;                                           /* the peer has acknowledged something */
    uint64_t news;                                            /* packets that brought something new */
    void (*report)(void *ctx, const struct kt_kcp_report *r); /* kt_kcp_observe; NULL: none */
    void *report_ctx;

    struct kt_echo echo;
    uint64_t arrived_us; /* when the newest transmission known to have arrived was sent */
    struct {
        uint64_t tx, at_us; /* the last transmission before it, and when it left */
    } asked[KT_KCP_ASKED];  /* the latest WASKs, newest first */

    struct kt_kcp_stats stats; /* the counters; the rest is filled in by kt_kcp_stats */
};

/* Where a packet of this length is evidence. */
static inline struct kt_hole *kt_kcp_hole(struct kt_kcp *k, uint32_t packet)
{
    return packet > k->cfg.mtu ? &k->oversize : &k->hole;
}

/* Segments that the windows of the two ends let go now. */
static inline uint32_t kt_kcp_ends_open(const struct kt_kcp *k)
{
    const uint32_t window = kt_min32(k->cfg.snd_wnd, k->rmt_wnd), sent = kt_send_ring_sent(&k->snd);
    return window > sent ? window - sent : 0;
}

/* The same, and the controller. */
static inline uint32_t kt_kcp_open(const struct kt_kcp *k)
{
    return kt_min32(kt_kcp_ends_open(k), kt_cc_open(k->cc));
}

/* Segments that may be sent and unacknowledged at once. */
static inline uint32_t kt_kcp_window(const struct kt_kcp *k)
{
    return kt_min32(kt_cc_window(k->cc), kt_min32(k->cfg.snd_wnd, k->rmt_wnd));
}

/* Whether a queued segment may leave, once the pacer lets it. */
static inline bool kt_kcp_may_send(const struct kt_kcp *k)
{
    return !k->paused && k->snd.nxt != k->snd.end && kt_kcp_open(k) > 0;
}

/* Starts, moves on or stops the clock of early retransmission (kcp_flush.c). */
void kt_kcp_early_update(struct kt_kcp *k);

/* For specs: puts a fresh engine at other sequence numbers, to see them wrap. */
void kt_kcp_test_start(struct kt_kcp *k, uint32_t snd_sn, uint32_t rcv_sn);

#endif
