/* A histogram of durations, with fixed bounds.
 *
 * Invariant: the buckets add up to `count`; each duration is in the first bucket whose bound is not below it. */
#ifndef KT_BASE_HISTOGRAM_H
#define KT_BASE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define KT_HISTOGRAM_BOUNDS 13u

struct kt_histogram {
    uint64_t count, sum_us;
    uint64_t buckets[KT_HISTOGRAM_BOUNDS + 1]; /* not cumulative; the last one: above all bounds */
};

/* Bound i in microseconds, i < KT_HISTOGRAM_BOUNDS: 1 ms to 10 s. */
static inline uint32_t kt_histogram_bound(size_t i)
{
    static const uint32_t bounds[KT_HISTOGRAM_BOUNDS] = {
        1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000};
    return bounds[i];
}

static inline void kt_histogram_add(struct kt_histogram *h, uint64_t us)
{
    size_t i = 0;
    while (i < KT_HISTOGRAM_BOUNDS && us > kt_histogram_bound(i)) i++;
    h->buckets[i]++;
    h->count++;
    h->sum_us += us;
}

#endif
