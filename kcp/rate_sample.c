/* Delivery rate sampling, after draft-ietf-ccwg-bbr, section 4.1; rate_sample.h explains what is measured.
 * O(1) a packet. */
#include "kcp/rate_sample.h"

static uint32_t ago(uint64_t now_us, uint64_t then_us)
{
    const uint64_t us = now_us - then_us;
    return us < KT_RATE_AGO_MAX ? (uint32_t)us : KT_RATE_AGO_MAX;
}

void kt_rate_restart(struct kt_rate *r)
{
    *r = (struct kt_rate){.inflight = r->inflight, .epoch = r->epoch + 1};
}

void kt_rate_sent(struct kt_rate *r, struct kt_rate_snapshot *s, uint32_t bytes, uint64_t now_us)
{
    if (r->inflight == 0) r->first_sent_us = r->delivered_us = now_us; /* idle time does not count */
    r->inflight += bytes;
    s->delivered = (uint32_t)r->delivered;
    s->lost = (uint32_t)r->lost;
    s->inflight = (uint32_t)r->inflight;
    s->delivered_ago = ago(now_us, r->delivered_us);
    s->first_sent_ago = ago(now_us, r->first_sent_us) & KT_RATE_AGO_MAX;
    s->app_limited = r->app_limited > 0;
    s->epoch = r->epoch;
}

void kt_rate_acked(
    struct kt_rate *r, const struct kt_rate_snapshot *s, uint64_t sent_us, uint32_t bytes, uint64_t now_us)
{
    r->inflight -= bytes;
    r->delivered += bytes;
    r->delivered_us = now_us;
    if (!s || sent_us < r->first_sent_us) return;
    struct kt_rate_sample *out = &r->sample;
    /* The interval of acknowledgements ends now, that of sending at sent_us. */
    const uint64_t acking = now_us - sent_us + s->delivered_ago;
    out->interval_us = acking > s->first_sent_ago ? acking : s->first_sent_ago;
    out->prior_delivered = r->delivered - (uint32_t)((uint32_t)r->delivered - s->delivered);
    out->lost = s->lost;
    out->inflight = s->inflight;
    out->app_limited = s->app_limited;
    r->first_sent_us = sent_us;
}

bool kt_rate_sample(struct kt_rate *r, uint32_t min_rtt_us, struct kt_rate_sample *out)
{
    if (r->app_limited > 0 && r->delivered > r->app_limited) r->app_limited = 0;
    *out = r->sample;
    out->acked = r->delivered - r->sampled;
    r->sampled = r->delivered;
    r->sample.interval_us = 0;
    if (out->interval_us == 0) return false;
    out->delivered = r->delivered - out->prior_delivered;
    out->lost = (uint32_t)r->lost - out->lost;
    if (out->interval_us < min_rtt_us) out->interval_us = 0;
    return out->interval_us > 0;
}

void kt_rate_lost(struct kt_rate *r, uint32_t bytes)
{
    r->inflight -= bytes;
    r->lost += bytes;
}

void kt_rate_forget(struct kt_rate *r, uint64_t bytes)
{
    r->inflight -= bytes;
}

void kt_rate_app_limited(struct kt_rate *r)
{
    const uint64_t until = r->delivered + r->inflight;
    r->app_limited = until > 0 ? until : 1;
}
