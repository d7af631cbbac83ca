/* Delivery rate: how fast the path delivers, measured per packet (draft-ietf-ccwg-bbr, section 4.1).
 *
 * Each packet carries a snapshot of the path's totals at the time it was sent. Once it is acknowledged, the
 * bytes delivered since then, divided by the time that took, are the delivery rate; the time is the longer
 * of two, in which those bytes were sent and in which they were acknowledged, so that neither a burst nor
 * compressed acknowledgements look like bandwidth. A sample taken while the sender had nothing to send is
 * marked app-limited: it says what the sender wrote, not what the path carries.
 *
 * One struct kt_rate serves one path and all its senders. Sizes are in bytes, times in µs; the clock must
 * not go back. Invariant: `inflight` is the size of all packets sent and not yet acknowledged, lost or
 * forgotten. */
#ifndef KT_KCP_RATE_SAMPLE_H
#define KT_KCP_RATE_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

/* The path when a packet was sent. Kept with the packet, hence small: totals are modulo 2^32, and times are
 * how long ago something was, at most KT_RATE_AGO_MAX. */
struct kt_rate_snapshot {
    uint32_t delivered, lost, inflight; /* inflight: with the packet itself */
    uint32_t delivered_ago;             /* since `delivered` had grown last */
    uint32_t first_sent_ago : 31;       /* since the start of the interval in which packets were sent */
    uint32_t app_limited : 1;
    uint32_t epoch; /* of the sampler that took it; 0: none */
};

#define KT_RATE_AGO_MAX 0x7fffffffu /* 35 minutes */

struct kt_rate_sample {
    uint64_t delivered;       /* bytes delivered between the sending of a packet and its acknowledgement */
    uint64_t interval_us;     /* how long that took; 0: no sample */
    uint64_t prior_delivered; /* total delivered when that packet was sent; tells rounds apart */
    uint64_t acked;           /* bytes acknowledged since the sample before this one */
    uint32_t lost;            /* bytes lost in the interval */
    uint32_t inflight;        /* bytes in flight when the packet was sent, with itself */
    bool app_limited;
};

struct kt_rate {
    uint64_t delivered, lost, inflight;
    uint64_t delivered_us;  /* when `delivered` grew last */
    uint64_t first_sent_us; /* when the packet sent last of those that arrived was sent */
    uint64_t app_limited;   /* packets sent are app-limited until `delivered` passes this; 0: they are not */
    uint32_t epoch;         /* snapshots of another epoch are not its own */
    uint64_t sampled;       /* `delivered` at the last sample */
    struct kt_rate_sample sample; /* of the packets acknowledged since the last one */
};

/* A zeroed struct is a path that has carried nothing. kt_rate_restart starts measuring afresh on a path
 * that may have packets in flight; snapshots taken earlier no longer count. */
void kt_rate_restart(struct kt_rate *r);

/* A packet leaves: takes its snapshot. Before a packet is sent again, call kt_rate_lost. */
void kt_rate_sent(struct kt_rate *r, struct kt_rate_snapshot *s, uint32_t bytes, uint64_t now_us);

/* Whether a snapshot was taken since the last restart. */
static inline bool kt_rate_took(const struct kt_rate *r, const struct kt_rate_snapshot *s)
{
    return s->epoch == r->epoch;
}

/* A packet sent at sent_us has arrived. s is its snapshot, or NULL if there is none or if another
 * transmission of it may have arrived; then it counts as delivered but gives no sample. */
void kt_rate_acked(
    struct kt_rate *r, const struct kt_rate_snapshot *s, uint64_t sent_us, uint32_t bytes, uint64_t now_us);

/* Takes the sample of all packets acknowledged since the last call, which is that of the packet sent last.
 * Call it once for everything that one datagram acknowledges. An interval shorter than min_rtt_us is
 * dropped, as another transmission must have been acknowledged. False if there is no sample; `acked` is set
 * in any case. */
bool kt_rate_sample(struct kt_rate *r, uint32_t min_rtt_us, struct kt_rate_sample *out);

/* A packet in flight is lost; bytes in flight will not be acknowledged, but are not lost either. */
void kt_rate_lost(struct kt_rate *r, uint32_t bytes);
void kt_rate_forget(struct kt_rate *r, uint64_t bytes);

/* Everything has been sent, though more could have been: samples are app-limited until what is in flight
 * has arrived. */
void kt_rate_app_limited(struct kt_rate *r);

/* Bytes per second; 0 if there is no sample. */
static inline uint64_t kt_rate_per_second(const struct kt_rate_sample *s)
{
    return s->interval_us > 0 ? s->delivered * 1000000 / s->interval_us : 0;
}

#endif
