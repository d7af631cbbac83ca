/* The two controllers KCP has: none (nc=1), and its own kind of Reno (nc=0). */
#include "kcp/kcp_cc.h"

/* ---- fixed: the send window is all there is ---- */

static uint32_t fixed_window(const struct kt_cc *cc)
{
    return cc->snd_wnd;
}

static const struct kt_cc_ops fixed = {.window = fixed_window};

/* ---- reno, as ikcp does it. Each packet that brings progress opens the window: by one segment up to
 * ssthresh, by 1/cwnd + 1/16 of one above. A loss that later segments reveal leaves half of what is in
 * flight, a timeout leaves one segment. ---- */

#define ONE_X (UINT64_C(1) << 16)
#define SSTHRESH_MIN 2u

static void reno_start(struct kt_cc *cc)
{
    cc->reno.cwnd_x = ONE_X;
    cc->reno.ssthresh = SSTHRESH_MIN;
}

static uint32_t reno_window(const struct kt_cc *cc)
{
    return (uint32_t)(cc->reno.cwnd_x >> 16);
}

static void reno_on_ack(struct kt_cc *cc, const struct kt_cc_ack *ack)
{
    uint32_t cwnd = reno_window(cc);
    if (cwnd >= ack->rmt_wnd) return; /* the peer's window is what limits; growing would only be a promise */
    if (cwnd < cc->reno.ssthresh)
        cc->reno.cwnd_x += ONE_X;
    else
        cc->reno.cwnd_x += ONE_X * ONE_X / cc->reno.cwnd_x + ONE_X / 16;
}

static void reno_on_loss(
    struct kt_cc *cc, enum kt_cc_loss kind, uint32_t inflight, uint32_t window, uint64_t now_us)
{
    (void)now_us;
    uint32_t half = (kind == KT_CC_LOSS_FAST ? inflight : window) / 2;
    cc->reno.ssthresh = half < SSTHRESH_MIN ? SSTHRESH_MIN : half;
    cc->reno.cwnd_x = kind == KT_CC_LOSS_FAST ? (cc->reno.ssthresh + cc->resend) * ONE_X : ONE_X;
}

static const struct kt_cc_ops reno = {
    .start = reno_start,
    .on_ack = reno_on_ack,
    .on_loss = reno_on_loss,
    .window = reno_window,
};

static const struct kt_cc_ops *ops_of(enum kt_kcp_cc kind)
{
    return kind == KT_KCP_CC_RENO ? &reno : &fixed;
}

void kt_cc_init(struct kt_cc *cc, enum kt_kcp_cc kind, uint32_t snd_wnd, uint32_t resend)
{
    *cc = (struct kt_cc){
        .ops = ops_of(kind),
        .snd_wnd = snd_wnd,
        .resend = resend,
    };
    if (cc->ops->start) cc->ops->start(cc);
}

void kt_cc_tune(struct kt_cc *cc, enum kt_kcp_cc kind, uint32_t snd_wnd, uint32_t resend, uint32_t inflight)
{
    if (cc->ops == ops_of(kind)) {
        cc->snd_wnd = snd_wnd;
        cc->resend = resend;
        return;
    }
    kt_cc_init(cc, kind, snd_wnd, resend);
    if (cc->ops == &reno && inflight > SSTHRESH_MIN) {
        cc->reno.ssthresh = inflight;
        cc->reno.cwnd_x = inflight * ONE_X;
    }
}

uint32_t kt_cc_ssthresh(const struct kt_cc *cc)
{
    return cc->ops == &reno ? cc->reno.ssthresh : 0;
}
