/* See meter.h. Invariant: a slot that is older than the newest by KT_METER_SLOTS or more holds nothing. */
#include "base/meter.h"

static uint64_t slot_of(uint64_t now_us)
{
    return now_us / KT_METER_SLOT_US;
}

void kt_meter_add(struct kt_meter *m, uint64_t n, uint64_t now_us)
{
    const uint64_t slot = slot_of(now_us);
    if (slot > m->slot) {
        const uint64_t past = slot - m->slot < KT_METER_SLOTS ? slot - m->slot : KT_METER_SLOTS;
        for (uint64_t i = 0; i < past; i++) m->sums[(slot - i) % KT_METER_SLOTS] = 0;
        m->slot = slot;
    }
    m->sums[m->slot % KT_METER_SLOTS] += n;
}

uint64_t kt_meter_sum(const struct kt_meter *m, uint64_t now_us)
{
    const uint64_t slot = slot_of(now_us);
    uint64_t sum = 0;
    for (uint64_t age = 0; age < KT_METER_SLOTS && age <= slot; age++) {
        const uint64_t s = slot - age;
        if (s <= m->slot && s + KT_METER_SLOTS > m->slot) sum += m->sums[s % KT_METER_SLOTS];
    }
    return sum;
}

uint64_t kt_meter_rate(const struct kt_meter *m, uint64_t since_us, uint64_t now_us)
{
    uint64_t span = (KT_METER_SLOTS - 1) * KT_METER_SLOT_US + now_us % KT_METER_SLOT_US;
    if (now_us - since_us < span) span = now_us - since_us;
    if (span < KT_METER_SLOT_US) span = KT_METER_SLOT_US; /* of the first moments nobody can tell */
    const uint64_t sum = kt_meter_sum(m, now_us);
    return sum > UINT64_MAX / 1000000 ? UINT64_MAX / span : sum * 1000000 / span;
}
