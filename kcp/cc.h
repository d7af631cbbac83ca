/* Congestion control: how much may be in flight, and how fast it may leave.
 *
 * A controller is a table of functions (struct kt_cc_ops) and a state (struct kt_cc). The owner of a path
 * makes the state and hands it to everything that sends over that path; senders say what happened, and ask
 * what may leave. Packets in flight are counted here, over all senders, so one controller serves a whole
 * path.
 *
 * To add a controller, write cc_NAME.c with a `const struct kt_cc_ops kt_cc_NAME`, declare that below, and
 * add its state to the union. One that lives elsewhere makes struct kt_cc a member of its own state.
 *
 * A sender that numbers segments and one that numbers packets use it alike. The first sends a lost segment
 * again (`again`); the second reports the lost packet (kt_cc_packet_lost) and sends its frames in a new one.
 *
 * Windows are in packets, sizes in bytes, times in µs. */
#ifndef KT_KCP_CC_H
#define KT_KCP_CC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "kcp/cc_auto.h"
#include "kcp/pacer.h"
#include "kcp/rate_sample.h"

struct kt_cc;

/* Limits that the owner of the path knows in advance. All zero: none. */
struct kt_cc_limits {
    uint32_t packet; /* bytes of a full packet; 0: KT_CC_PACKET */
    uint64_t rate;   /* most bytes a second, as counted in kt_cc_sent; 0: no limit */
    uint64_t window; /* most bytes in flight; 0: no limit */
};

#define KT_CC_PACKET 1350u

/* A packet leaves. */
struct kt_cc_sent {
    uint32_t bytes;
    bool again; /* in place of one that was lost */
    uint64_t now_us;
};

/* A packet in flight was taken for lost. `snapshot` is the path when it was sent, or NULL if that is
 * unknown. */
struct kt_cc_packet_lost {
    uint32_t bytes;
    const struct kt_rate_snapshot *snapshot;
    uint64_t now_us;
};

/* A packet was acknowledged. If not `known`, an earlier transmission may be the one that arrived: then neither
 * the round trip nor the delivery rate is. */
struct kt_cc_ack {
    uint32_t bytes;
    uint64_t sent_us;                        /* when it was sent last */
    const struct kt_rate_snapshot *snapshot; /* the path then; NULL: unknown */
    bool known;
    uint64_t now_us;
};

/* Everything that one datagram acknowledged. The sample is that of the packet sent last, as in the draft:
 * those of the others lack what the same datagram acknowledges after them. */
struct kt_cc_progress {
    uint32_t advanced;                   /* packets that left the window in order */
    uint32_t peer_window;                /* what the peer allows the sender, in packets */
    uint32_t rtt_us;                     /* shortest round trip of these packets; 0: not known */
    const struct kt_rate_sample *sample; /* NULL: none */
    uint64_t now_us;
};

enum kt_cc_loss_kind {
    KT_CC_LOSS_FAST,    /* later packets arrived: the path still carries */
    KT_CC_LOSS_TIMEOUT, /* nothing was heard */
};

/* Packets that were taken for lost at one time, after on_packet_lost for each. */
struct kt_cc_loss {
    enum kt_cc_loss_kind kind;
    uint32_t packets;
    uint64_t bytes;
    uint32_t window;  /* packets that the sender was allowed when it found out */
    uint32_t reorder; /* later arrivals that it takes to call a packet lost */
    uint64_t now_us;
};

struct kt_cc_ops {
    /* Wants on_sent, on_ack, on_packet_lost, on_idle, rate samples and pacing. Without it there are none,
     * and they cost nothing. */
    bool samples;
    /* The path carries nothing yet. */
    void (*start)(struct kt_cc *cc);
    /* The path already carries cc->packets, under another controller until now. After start. */
    void (*take_over)(struct kt_cc *cc);
    void (*on_sent)(struct kt_cc *cc, const struct kt_cc_sent *sent);
    /* Once per packet acknowledged, in order or not. */
    void (*on_ack)(struct kt_cc *cc, const struct kt_cc_ack *ack);
    /* Once per packet lost, before what replaces it is sent. */
    void (*on_packet_lost)(struct kt_cc *cc, const struct kt_cc_packet_lost *lost);
    /* Once per datagram that acknowledged something, after on_ack for its packets. */
    void (*on_progress)(struct kt_cc *cc, const struct kt_cc_progress *progress);
    /* Once per kind for all losses found at a time, after on_sent for what was sent instead. */
    void (*on_loss)(struct kt_cc *cc, const struct kt_cc_loss *loss);
    /* cc->limits have changed. */
    void (*on_limits)(struct kt_cc *cc);
    /* A packet is about to leave, and none is in flight. */
    void (*on_idle)(struct kt_cc *cc, uint64_t now_us);
    /* Packets that may be in the window at once; NULL: no limit. */
    uint32_t (*window)(const struct kt_cc *cc);
    /* Bytes that may be in flight at once; NULL: no limit. Unlike the window, this counts no packet that was
     * acknowledged out of order. */
    uint64_t (*inflight)(const struct kt_cc *cc);
    /* Bytes per second; NULL: not paced. */
    uint64_t (*rate)(const struct kt_cc *cc);
    /* Share of packets that the path loses at random, in 1/1024; NULL: not measured. */
    uint32_t (*loss)(const struct kt_cc *cc);
    /* The bandwidth has not been found yet: the rate says little. NULL: it always does. */
    bool (*starting)(const struct kt_cc *cc);
    /* Slow-start threshold in packets, for statistics; NULL: it has none. */
    uint32_t (*ssthresh)(const struct kt_cc *cc);
};

/* kcptun's nc=1: no congestion window, only those of the two ends. */
extern const struct kt_cc_ops kt_cc_fixed;
/* kcptun's nc=0: KCP's own variant of Reno. */
extern const struct kt_cc_ops kt_cc_reno;

/* A model of the path: what it can deliver, and how long that takes. */
extern const struct kt_cc_ops kt_cc_auto;

struct kt_cc_reno {
    uint64_t cwnd_x; /* congestion window, with 16 fraction bits */
    uint32_t ssthresh;
};

struct kt_cc {
    const struct kt_cc_ops *ops;
    struct kt_cc_limits limits;
    uint32_t packets; /* in the window: sent, and not acknowledged in order yet */
    uint32_t rtt_us;  /* shortest round trip since the last progress; 0: none */
    struct kt_rate rate;
    struct kt_pacer pacer;
    union {
        struct kt_cc_reno reno;
        struct kt_cc_auto auto_;
    };
};

#define KT_CC_NO_WINDOW UINT32_MAX

void kt_cc_init(struct kt_cc *cc, const struct kt_cc_ops *ops);

/* Changes the controller of a path in use: the new one starts from what is in flight. If it is the same
 * one, it keeps what it has learnt. */
void kt_cc_switch(struct kt_cc *cc, const struct kt_cc_ops *ops);

/* Changes what is known of the path, at any time. */
void kt_cc_limit(struct kt_cc *cc, const struct kt_cc_limits *limits);

/* ---- for senders. A controller without samples costs no more than these inline functions. ---- */

void kt_cc_sent_sampled(
    struct kt_cc *cc, struct kt_rate_snapshot *snapshot, uint32_t bytes, bool again, uint64_t now_us);
void kt_cc_acked_sampled(struct kt_cc *cc, const struct kt_rate_snapshot *snapshot, bool known,
    uint64_t sent_us, uint32_t bytes, uint64_t now_us);
void kt_cc_call_progress(
    struct kt_cc *cc, uint32_t advanced, uint32_t peer_window, uint32_t min_rtt_us, uint64_t now_us);

/* A packet leaves; fills in the snapshot to be kept with it, if the controller takes samples. */
static inline void kt_cc_sent(
    struct kt_cc *cc, struct kt_rate_snapshot *snapshot, uint32_t bytes, bool again, uint64_t now_us)
{
    if (cc->ops->samples) {
        kt_cc_sent_sampled(cc, snapshot, bytes, again, now_us);
    } else if (!again) { /* if again: one lost, one sent, and as much in flight as before */
        cc->rate.inflight += bytes;
        cc->packets++;
    }
}

/* A packet last sent at sent_us has arrived. It stays in the window until kt_cc_progressed. known: the last
 * transmission is the one that arrived. */
static inline void kt_cc_acked(struct kt_cc *cc, const struct kt_rate_snapshot *snapshot, bool known,
    uint64_t sent_us, uint32_t bytes, uint64_t now_us)
{
    if (cc->ops->samples)
        kt_cc_acked_sampled(cc, snapshot, known, sent_us, bytes, now_us);
    else
        cc->rate.inflight -= bytes;
}

/* After the kt_cc_acked of all packets of a datagram: packets that left the window in order, and what the
 * peer allows the sender. min_rtt_us: the shortest round trip known, 0: none. */
static inline void kt_cc_progressed(
    struct kt_cc *cc, uint32_t advanced, uint32_t peer_window, uint32_t min_rtt_us, uint64_t now_us)
{
    cc->packets -= advanced;
    if (cc->ops->on_progress) kt_cc_call_progress(cc, advanced, peer_window, min_rtt_us, now_us);
}

void kt_cc_lost(struct kt_cc *cc, const struct kt_cc_loss *loss);

/* For a sender of numbered packets: a packet is lost, and leaves the window and the flight. Call kt_cc_lost
 * after all those found lost at a time. */
void kt_cc_packet_lost(
    struct kt_cc *cc, const struct kt_rate_snapshot *snapshot, uint32_t bytes, uint64_t now_us);

/* A sender ends, with this much in the window and in flight. */
void kt_cc_leave(struct kt_cc *cc, uint32_t packets, uint64_t bytes);

/* No sender on the path has anything left to send, though the window is open. For the owner of the path: a
 * sender does not know the others, nor what its own owner holds back. */
static inline void kt_cc_app_limited(struct kt_cc *cc)
{
    kt_rate_app_limited(&cc->rate);
    cc->pacer.idle = true;
}

/* True if nothing waited to be sent lately: since kt_cc_app_limited, no more has arrived than was in flight then. */
static inline bool kt_cc_is_app_limited(const struct kt_cc *cc)
{
    return cc->rate.app_limited > 0;
}

/* True until the bandwidth of the path has been found. */
static inline bool kt_cc_starting(const struct kt_cc *cc)
{
    return cc->ops->starting && cc->ops->starting(cc);
}

/* Packets that may be in flight at once. */
static inline uint32_t kt_cc_window(const struct kt_cc *cc)
{
    uint64_t window = cc->ops->window ? cc->ops->window(cc) : KT_CC_NO_WINDOW;
    if (cc->ops->inflight) {
        const uint64_t packets = cc->ops->inflight(cc) / cc->limits.packet;
        if (packets < window) window = packets > 0 ? packets : 1;
    }
    return (uint32_t)window;
}

/* Packets that the windows let out now. The last of them may exceed the bytes in flight. */
static inline uint32_t kt_cc_open(const struct kt_cc *cc)
{
    const uint32_t window = cc->ops->window ? cc->ops->window(cc) : KT_CC_NO_WINDOW;
    uint64_t open = window > cc->packets ? window - cc->packets : 0;
    if (cc->ops->inflight) {
        const uint64_t most = cc->ops->inflight(cc), used = cc->rate.inflight, packet = cc->limits.packet;
        const uint64_t packets = most > used ? (most - used + packet - 1) / packet : 0;
        if (packets < open) open = packets;
    }
    return (uint32_t)open;
}

/* When pacing lets the next packet out; 0: now. */
static inline uint64_t kt_cc_next(const struct kt_cc *cc)
{
    return kt_pacer_next(&cc->pacer);
}

static inline uint32_t kt_cc_loss(const struct kt_cc *cc)
{
    return cc->ops->loss ? cc->ops->loss(cc) : 0;
}

static inline uint32_t kt_cc_ssthresh(const struct kt_cc *cc)
{
    return cc->ops->ssthresh ? cc->ops->ssthresh(cc) : 0;
}

#endif
