/* Round-trip time, and the retransmission timeout derived from it (docs/wire-kcptun.md, 6.5), in µs. */
#ifndef KT_KCP_RTT_H
#define KT_KCP_RTT_H

#include <stdint.h>

#define KT_KCP_RTO_FIRST_US 200000u
#define KT_KCP_RTO_MAX_US 60000000u

/* This many ambiguous samples in a row count. */
#define KT_KCP_AMBIGUOUS_ROW 2u

struct kt_rtt {
    uint32_t srtt, var; /* srtt 0: no sample yet */
    uint32_t min;       /* shortest sample */
    uint32_t rto;
    uint32_t min_rto, interval;
    uint32_t ambiguous; /* ambiguous samples since the last clear one */
};

static inline void kt_rtt_init(struct kt_rtt *t, uint32_t min_rto_us, uint32_t interval_us)
{
    *t = (struct kt_rtt){.rto = KT_KCP_RTO_FIRST_US, .min_rto = min_rto_us, .interval = interval_us};
}

static inline void kt_rtt_make_rto(struct kt_rtt *t)
{
    uint64_t spread = 4 * (uint64_t)t->var;
    uint64_t rto = t->srtt + (spread > t->interval ? spread : t->interval);
    if (rto < t->min_rto) rto = t->min_rto;
    t->rto = rto < KT_KCP_RTO_MAX_US ? (uint32_t)rto : KT_KCP_RTO_MAX_US;
}

/* Changes the settings; keeps what was measured. */
static inline void kt_rtt_tune(struct kt_rtt *t, uint32_t min_rto_us, uint32_t interval_us)
{
    t->min_rto = min_rto_us;
    t->interval = interval_us;
    if (t->srtt > 0) kt_rtt_make_rto(t);
}

/* r: 0..KT_KCP_RTO_MAX_US, so nothing overflows. A sample well below the average counts less in the
 * variance: there is no need to wait longer because a path became faster. */
static inline void kt_rtt_sample(struct kt_rtt *t, uint32_t r)
{
    if (r == 0) r = 1;
    if (t->min == 0 || r < t->min) t->min = r;
    if (t->srtt == 0) {
        t->srtt = r;
        t->var = r / 2;
    } else {
        int64_t srtt = t->srtt, var = t->var, d = (int64_t)r - srtt, e = d < 0 ? -d : d;
        srtt += d >> 3;
        var += (e - var) >> (r < srtt - var ? 5 : 2);
        t->srtt = srtt > 0 ? (uint32_t)srtt : 1;
        t->var = (uint32_t)var;
    }
    kt_rtt_make_rto(t);
}

/* A clear sample: of the last transmission of a segment. */
static inline void kt_rtt_clear(struct kt_rtt *t, uint32_t r)
{
    t->ambiguous = 0;
    kt_rtt_sample(t, r);
}

/* An ambiguous sample: of the first transmission of a segment that has been sent again since. Either the
 * path is now slower than the timeout, or the datagram was lost and FEC rebuilt it late. On a slower path
 * all samples are ambiguous; a single one among clear samples is the delay of FEC and not of the path. */
static inline void kt_rtt_ambiguous(struct kt_rtt *t, uint32_t r)
{
    if (++t->ambiguous >= KT_KCP_AMBIGUOUS_ROW || t->srtt == 0) kt_rtt_sample(t, r);
}

#endif
