/* Congestion control: how many segments may be in flight.
 *
 * A controller is a row of functions and a state. The engine tells it what happened; it answers with a
 * window. Windows and counts are in segments, times in µs. What a controller does not care about is NULL, so
 * the fixed one costs nothing. A model-based one adds its state to the union. */
#ifndef KT_KCP_CC_H
#define KT_KCP_CC_H

#include <stdint.h>
#include "kcp/kcp.h"

struct kt_cc;

enum kt_cc_loss {
    KT_CC_LOSS_FAST,    /* later segments arrived: the path still carries */
    KT_CC_LOSS_TIMEOUT, /* nothing was heard */
};

struct kt_cc_ack {
    uint32_t acked;    /* segments that una moved on by, > 0 */
    uint32_t inflight; /* snd_nxt - snd_una after it */
    uint32_t rmt_wnd;
    uint64_t now_us;
};

struct kt_cc_ops {
    void (*start)(struct kt_cc *cc);
    /* Once per packet that advanced una. */
    void (*on_ack)(struct kt_cc *cc, const struct kt_cc_ack *ack);
    void (*on_rtt)(struct kt_cc *cc, uint32_t rtt_us, uint64_t now_us);
    /* Once per flush and kind. inflight: snd_nxt - snd_una; window: what the flush was allowed. */
    void (*on_loss)(
        struct kt_cc *cc, enum kt_cc_loss kind, uint32_t inflight, uint32_t window, uint64_t now_us);
    uint32_t (*window)(const struct kt_cc *cc);
};

struct kt_cc {
    const struct kt_cc_ops *ops;
    uint32_t snd_wnd, resend; /* as configured */
    union {
        struct {
            uint64_t cwnd_x; /* congestion window, 16 fraction bits */
            uint32_t ssthresh;
        } reno;
    };
};

/* kind must be one of the enum's. */
void kt_cc_init(struct kt_cc *cc, enum kt_kcp_cc kind, uint32_t snd_wnd, uint32_t resend);

/* Other settings for a conversation with so much in flight. The same controller keeps what it knows; another
 * one starts from what is in flight, not from nothing. */
void kt_cc_tune(struct kt_cc *cc, enum kt_kcp_cc kind, uint32_t snd_wnd, uint32_t resend, uint32_t inflight);

static inline uint32_t kt_cc_window(const struct kt_cc *cc)
{
    return cc->ops->window(cc);
}

/* 0 where the controller has none. */
uint32_t kt_cc_ssthresh(const struct kt_cc *cc);

#endif
