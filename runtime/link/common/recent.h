/* Traffic of a session over the last few seconds, from counters that only grow. The ring keeps one snapshot
 * per step; reading scans a dozen of them, and an idle session needs no timer.
 *
 * Invariant: the counters do not change between the last note and now, so the counters at any earlier time
 * are those of the last step that had begun by then, to within one step. */
#ifndef KT_LINK_COMMON_RECENT_H
#define KT_LINK_COMMON_RECENT_H

#include <stdint.h>

#define KT_RECENT_US 4000000u     /* the window */
#define KT_RECENT_STEP_US 500000u /* its resolution */
#define KT_RECENT_STEPS 11u       /* the window, the current step, and one that straddles */

struct kt_recent_sum {
    uint64_t bytes_in, bytes_out; /* payload */
    uint64_t segs_out, retrans;   /* data segments: first sent, retransmitted */
    uint64_t segs_in, recovered;  /* data segments: received, of them rebuilt by FEC */
};

struct kt_recent {
    struct kt_recent_step {
        uint64_t since;           /* µs: the first note of this step */
        struct kt_recent_sum sum; /* at the last note of this step */
    } ring[KT_RECENT_STEPS];
    struct kt_recent_sum base; /* at the end of the step before the oldest one kept */
    uint64_t born;             /* µs */
    unsigned head, count;
};

/* Start with all counters 0. r is zeroed by the caller. */
static inline void kt_recent_start(struct kt_recent *r, uint64_t now_us)
{
    r->born = now_us;
}

/* Record the counters as they are now. Call it whenever they have changed. */
void kt_recent_note(struct kt_recent *r, const struct kt_recent_sum *sum, uint64_t now_us);

/* Set *grown to the increase within the window. Returns the length of time it covers, in µs, never 0. */
uint64_t kt_recent_get(const struct kt_recent *r, uint64_t now_us, struct kt_recent_sum *grown);

#endif
