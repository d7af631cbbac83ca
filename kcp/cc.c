/* The common part of all controllers: counts packets in flight, samples the delivery rate, sets the pacer. */
#include "kcp/cc.h"

#define BURST_MIN 3000u /* two packets */
#define BURST_US 10000u /* or what the rate allows in the time that a busy machine may be late */

static void pace(struct kt_cc *cc)
{
    if (!cc->ops->samples || !cc->ops->rate) return;
    const uint64_t rate = cc->ops->rate(cc), burst = rate * BURST_US / 1000000;
    kt_pacer_set(&cc->pacer, rate,
        burst < BURST_MIN    ? BURST_MIN
        : burst > UINT32_MAX ? UINT32_MAX
                             : (uint32_t)burst);
}

static void begin(struct kt_cc *cc, const struct kt_cc_ops *ops)
{
    cc->ops = ops;
    kt_rate_restart(&cc->rate);
    cc->pacer = (struct kt_pacer){.idle = true};
    if (ops->start) ops->start(cc);
}

void kt_cc_init(struct kt_cc *cc, const struct kt_cc_ops *ops)
{
    *cc = (struct kt_cc){.limits = {.packet = KT_CC_PACKET}};
    begin(cc, ops);
    pace(cc);
}

void kt_cc_switch(struct kt_cc *cc, const struct kt_cc_ops *ops)
{
    if (cc->ops == ops) return;
    begin(cc, ops);
    if (ops->take_over) ops->take_over(cc);
    pace(cc);
}

void kt_cc_limit(struct kt_cc *cc, const struct kt_cc_limits *limits)
{
    cc->limits = *limits;
    if (cc->limits.packet == 0) cc->limits.packet = KT_CC_PACKET;
    if (cc->ops->on_limits) cc->ops->on_limits(cc);
    pace(cc);
}

/* The snapshot, or NULL if the packet was sent under a controller that takes no samples. */
static const struct kt_rate_snapshot *own(const struct kt_cc *cc, const struct kt_rate_snapshot *snapshot)
{
    return snapshot && kt_rate_took(&cc->rate, snapshot) ? snapshot : NULL;
}

static void lose(struct kt_cc *cc, const struct kt_rate_snapshot *snapshot, uint32_t bytes, uint64_t now_us)
{
    kt_rate_lost(&cc->rate, bytes);
    const struct kt_cc_packet_lost lost = {.bytes = bytes, .snapshot = own(cc, snapshot), .now_us = now_us};
    if (cc->ops->on_packet_lost) cc->ops->on_packet_lost(cc, &lost);
}

void kt_cc_sent_sampled(
    struct kt_cc *cc, struct kt_rate_snapshot *snapshot, uint32_t bytes, bool again, uint64_t now_us)
{
    if (again)
        lose(cc, snapshot, bytes, now_us);
    else if (cc->packets++ == 0 && cc->ops->on_idle)
        cc->ops->on_idle(cc, now_us);
    kt_rate_sent(&cc->rate, snapshot, bytes, now_us);
    kt_pacer_sent(&cc->pacer, bytes, now_us);
    const struct kt_cc_sent sent = {.bytes = bytes, .again = again, .now_us = now_us};
    if (cc->ops->on_sent) cc->ops->on_sent(cc, &sent);
}

void kt_cc_packet_lost(
    struct kt_cc *cc, const struct kt_rate_snapshot *snapshot, uint32_t bytes, uint64_t now_us)
{
    cc->packets--;
    if (cc->ops->samples)
        lose(cc, snapshot, bytes, now_us);
    else
        cc->rate.inflight -= bytes;
}

void kt_cc_acked_sampled(struct kt_cc *cc, const struct kt_rate_snapshot *snapshot, bool known,
    uint64_t sent_us, uint32_t bytes, uint64_t now_us)
{
    snapshot = own(cc, snapshot);
    known = known && snapshot;
    kt_rate_acked(&cc->rate, known ? snapshot : NULL, sent_us, bytes, now_us);
    const uint64_t rtt = known && now_us > sent_us ? now_us - sent_us : 0;
    if (rtt > 0 && rtt <= UINT32_MAX && (cc->rtt_us == 0 || rtt < cc->rtt_us)) cc->rtt_us = (uint32_t)rtt;
    const struct kt_cc_ack ack = {
        .bytes = bytes, .sent_us = sent_us, .snapshot = snapshot, .known = known, .now_us = now_us};
    if (cc->ops->on_ack) cc->ops->on_ack(cc, &ack);
}

void kt_cc_call_progress(
    struct kt_cc *cc, uint32_t advanced, uint32_t peer_window, uint32_t min_rtt_us, uint64_t now_us)
{
    struct kt_rate_sample sample;
    const bool sampled = cc->ops->samples && kt_rate_sample(&cc->rate, min_rtt_us, &sample);
    const struct kt_cc_progress progress = {.advanced = advanced,
        .peer_window = peer_window,
        .rtt_us = cc->rtt_us,
        .sample = sampled ? &sample : NULL,
        .now_us = now_us};
    cc->rtt_us = 0;
    cc->ops->on_progress(cc, &progress);
    pace(cc);
}

void kt_cc_lost(struct kt_cc *cc, const struct kt_cc_loss *loss)
{
    if (!cc->ops->on_loss) return;
    cc->ops->on_loss(cc, loss);
    pace(cc);
}

void kt_cc_leave(struct kt_cc *cc, uint32_t packets, uint64_t bytes)
{
    cc->packets -= packets;
    kt_rate_forget(&cc->rate, bytes);
}
