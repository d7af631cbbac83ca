/* The pacer: a schedule of one time, in µs with 32 fraction bits. Its rules are in pacer.h. */
#include "kcp/pacer.h"

void kt_pacer_set(struct kt_pacer *p, uint64_t rate, uint32_t burst)
{
    p->rate = rate < KT_PACER_RATE_MAX ? (uint32_t)rate : KT_PACER_RATE_MAX;
    p->burst = burst;
}

static uint32_t burst(const struct kt_pacer *p)
{
    return p->idle && p->burst > KT_PACER_IDLE_BURST ? KT_PACER_IDLE_BURST : p->burst;
}

uint64_t kt_pacer_allowance(const struct kt_pacer *p, uint64_t now_us)
{
    if (p->rate == 0) return UINT64_MAX;
    const uint64_t next = kt_pacer_next(p);
    if (next > now_us) return 0;
    const uint32_t most = burst(p);
    const uint64_t whole = (uint64_t)most * 1000000 / p->rate;
    return now_us - next < whole ? (now_us - next) * p->rate / 1000000 + 1 : most;
}

void kt_pacer_sent(struct kt_pacer *p, uint32_t bytes, uint64_t now_us)
{
    if (p->rate == 0) return;
    const uint64_t allowance = (uint64_t)burst(p) * 1000000 / p->rate;
    p->idle = false;
    const uint64_t earliest = now_us > allowance ? now_us - allowance : 0;
    if (p->next_us + 1 < earliest) { /* by less than 1 µs: kt_pacer_next was rounded up */
        p->next_us = earliest;
        p->fraction = 0;
    }
    const uint64_t cost = (uint64_t)bytes * 1000000; /* µs times rate */
    const uint64_t fraction = p->fraction + ((cost % p->rate << 32) / p->rate);
    p->next_us += cost / p->rate + (fraction >> 32);
    p->fraction = (uint32_t)fraction;
}
