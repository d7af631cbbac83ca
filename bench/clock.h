/* Clocks of the benchmarks. */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <time.h>

static inline double clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* CPU time of this process, which other load on the machine affects less. */
static inline double cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static inline double cpu_s(void)
{
    return cpu_ns() / 1e9;
}

static inline double wall_s(void)
{
    return clock_ns(CLOCK_MONOTONIC) / 1e9;
}

#endif
