/* Round-trip time of a path (RFC 9002, section 5), in µs.
 *
 * A sample excludes what the peer admits to having waited before it acknowledged, unless that would make it
 * shorter than the shortest: the peer may be wrong. The shortest round trip is that of the last
 * KT_NATIVE_RTT_WINDOW_US to twice that, so that a path which became longer is noticed. */
#ifndef KT_LINK_NATIVE_RTT_H
#define KT_LINK_NATIVE_RTT_H

#include <stdint.h>

#define KT_NATIVE_RTT_FIRST_US 333000u /* before the first sample, if nothing better is known */
#define KT_NATIVE_RTT_WINDOW_US 10000000u
#define KT_NATIVE_RTT_GRAIN_US 1000u /* how precise timers are */
#define KT_NATIVE_RTT_MAX_US 60000000u

struct kt_native_rtt {
    uint32_t srtt, var; /* before the first sample: a guess */
    uint32_t latest;    /* 0: no sample yet */
    uint32_t min;       /* 0: no sample yet; not reduced by the peer's delay */
    uint32_t recent;    /* shortest since since_us */
    uint64_t since_us;
};

/* first_us: what is known of the path, from the handshake or another path; 0: nothing. */
static inline void kt_native_rtt_init(struct kt_native_rtt *t, uint32_t first_us)
{
    if (first_us == 0) first_us = KT_NATIVE_RTT_FIRST_US;
    *t = (struct kt_native_rtt){.srtt = first_us, .var = first_us / 2};
}

/* Takes a sample of `us`. delay_us: how long the peer says it waited, at most what it announced. */
static inline void kt_native_rtt_sample(
    struct kt_native_rtt *t, uint64_t us, uint32_t delay_us, uint64_t now_us)
{
    uint32_t sample = us > KT_NATIVE_RTT_MAX_US ? KT_NATIVE_RTT_MAX_US : us > 0 ? (uint32_t)us : 1;
    const uint32_t before = t->recent;
    if (t->latest == 0 || sample < t->recent) t->recent = sample;
    if (t->latest == 0) {
        t->min = sample;
        t->since_us = now_us;
    } else if (now_us - t->since_us >= KT_NATIVE_RTT_WINDOW_US) {
        t->min = before < sample ? before : sample;
        t->recent = sample;
        t->since_us = now_us;
    } else if (sample < t->min) {
        t->min = sample;
    }
    if (sample >= t->min + delay_us) sample -= delay_us;
    if (t->latest == 0) {
        t->srtt = sample;
        t->var = sample / 2;
    } else {
        const int64_t off = (int64_t)t->srtt - sample;
        t->var = (uint32_t)((3 * (uint64_t)t->var + (uint64_t)(off < 0 ? -off : off)) / 4);
        t->srtt = (uint32_t)((7 * (uint64_t)t->srtt + sample) / 8);
    }
    t->latest = sample;
}

/* The probe timeout without backoff (docs/wire.md, 5.2). */
static inline uint32_t kt_native_rtt_pto(const struct kt_native_rtt *t, uint32_t ack_delay_us)
{
    const uint32_t spread = 4 * t->var;
    return t->srtt + (spread > KT_NATIVE_RTT_GRAIN_US ? spread : KT_NATIVE_RTT_GRAIN_US) + ack_delay_us;
}

#endif
