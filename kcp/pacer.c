/* The pacer: a schedule of one time, in µs with 32 fraction bits. Its rules are in pacer.h. */
#include "kcp/pacer.h"

#include "base/bytes.h"

/* In µs. */
static uint64_t time_of(uint32_t bytes, uint32_t rate)
{
    return rate > 0 ? (uint64_t)bytes * 1000000 / rate : 0;
}

void kt_pacer_set(struct kt_pacer *p, uint64_t rate, uint32_t burst)
{
    p->rate = rate < KT_PACER_RATE_MAX ? (uint32_t)rate : KT_PACER_RATE_MAX;
    if (rate > 0 && rate < KT_PACER_RATE_MIN) p->rate = KT_PACER_RATE_MIN;
    p->byte_time = p->rate > 0 ? (UINT64_C(1000000) << 32) / p->rate : 0;
    const uint32_t quantum = p->rate / (1000000 / KT_PACER_QUANTUM_US);
    p->burst = burst;
    p->quantum = kt_min32(burst, quantum > KT_PACER_QUANTUM_MIN ? quantum : KT_PACER_QUANTUM_MIN);
    p->burst_us = time_of(burst, p->rate);
    p->quantum_us = time_of(p->quantum, p->rate);
}

/* The time by which the schedule may be behind. */
static uint64_t slack(const struct kt_pacer *p)
{
    return p->idle ? p->quantum_us : p->burst_us;
}

uint64_t kt_pacer_allowance(const struct kt_pacer *p, uint64_t now_us)
{
    if (p->rate == 0) return UINT64_MAX;
    if (kt_pacer_next(p) > now_us) return 0;
    const uint64_t behind = now_us - p->next_us - (p->fraction > 0);
    if (behind < slack(p)) return behind * p->rate / 1000000 + 1;
    return p->idle ? p->quantum : p->burst;
}

void kt_pacer_sent(struct kt_pacer *p, uint32_t bytes, uint64_t now_us)
{
    if (p->rate == 0) return;
    const uint64_t most = slack(p), earliest = now_us > most ? now_us - most : 0;
    p->idle = false;
    if (p->next_us + 1 < earliest) { /* by less than 1 µs: kt_pacer_next was rounded up */
        p->next_us = earliest;
        p->fraction = 0;
    }
    const uint64_t time = p->fraction + bytes * p->byte_time;
    p->next_us += time >> 32;
    p->fraction = (uint32_t)time;
    if (kt_pacer_next(p) > now_us && p->quantum > KT_PACER_QUANTUM_MIN)
        p->resumes_us = p->next_us + time_of(p->quantum - KT_PACER_QUANTUM_MIN, p->rate);
}
