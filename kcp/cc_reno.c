/* KCP's own variant of Reno (kcptun's nc=0), as in ikcp.c. Each datagram that moves una opens the window:
 * by one packet up to ssthresh, and by 1/cwnd + 1/16 of a packet above. A loss that later packets reveal
 * sets ssthresh to half of what is in flight, a timeout sets the window to one packet.
 *
 * The wire shows all of this, so nothing here may change. */
#include "kcp/cc.h"

#define ONE_X (UINT64_C(1) << 16)
#define SSTHRESH_MIN 2u

static void start(struct kt_cc *cc)
{
    cc->reno.cwnd_x = ONE_X;
    cc->reno.ssthresh = SSTHRESH_MIN;
}

static void take_over(struct kt_cc *cc)
{
    if (cc->packets <= SSTHRESH_MIN) return;
    cc->reno.ssthresh = cc->packets;
    cc->reno.cwnd_x = cc->packets * ONE_X;
}

static uint32_t window(const struct kt_cc *cc)
{
    return (uint32_t)(cc->reno.cwnd_x >> 16);
}

static void on_progress(struct kt_cc *cc, const struct kt_cc_progress *progress)
{
    if (progress->advanced == 0) return;
    const uint32_t cwnd = window(cc);
    if (cwnd >= progress->peer_window) return; /* the peer's window is the limit */
    if (cwnd < cc->reno.ssthresh)
        cc->reno.cwnd_x += ONE_X;
    else
        cc->reno.cwnd_x += ONE_X * ONE_X / cc->reno.cwnd_x + ONE_X / 16;
}

static void on_loss(struct kt_cc *cc, const struct kt_cc_loss *loss)
{
    const bool fast = loss->kind == KT_CC_LOSS_FAST;
    const uint32_t half = (fast ? cc->packets : loss->window) / 2;
    cc->reno.ssthresh = half < SSTHRESH_MIN ? SSTHRESH_MIN : half;
    cc->reno.cwnd_x = fast ? (cc->reno.ssthresh + loss->reorder) * ONE_X : ONE_X;
}

static uint32_t ssthresh(const struct kt_cc *cc)
{
    return cc->reno.ssthresh;
}

const struct kt_cc_ops kt_cc_reno = {
    .start = start,
    .take_over = take_over,
    .on_progress = on_progress,
    .on_loss = on_loss,
    .window = window,
    .ssthresh = ssthresh,
};
