/* What a session did over the last seconds: sums that only grow, remembered in steps, so that asking costs a
 * look at a dozen entries, and a session that is idle costs nothing, not even a timer.
 *
 * Invariant: the sums do not move between the last note and now, so the state at any earlier time is that of
 * the step that was the last one then, to within the length of a step. */
#ifndef KT_LINK_KCPTUN_RECENT_H
#define KT_LINK_KCPTUN_RECENT_H

#include <stdint.h>

#define KT_RECENT_US 4000000u     /* how far back "recent" goes */
#define KT_RECENT_STEP_US 500000u /* and how finely */
#define KT_RECENT_STEPS 11u       /* enough for both, and one for where a step straddles */

struct kt_recent_sum {
    uint64_t bytes_in, bytes_out; /* payload */
    uint64_t segs_out, retrans;   /* PUSH first sent; sent again */
    uint64_t segs_in, recovered;  /* PUSH received, among them those that FEC rebuilt */
};

struct kt_recent {
    struct kt_recent_step {
        uint64_t since;           /* µs, of the first note */
        struct kt_recent_sum sum; /* as of the last note */
    } ring[KT_RECENT_STEPS];
    struct kt_recent_sum base; /* before the oldest step */
    uint64_t born;             /* µs */
    unsigned head, count;
};

/* Sums begin at 0; the rest of a new kt_recent is zeroed. */
static inline void kt_recent_start(struct kt_recent *r, uint64_t now_us)
{
    r->born = now_us;
}

/* The sums as they are now; to be called after they moved. */
void kt_recent_note(struct kt_recent *r, const struct kt_recent_sum *sum, uint64_t now_us);

/* By how much they grew lately; returns in how many µs, never 0. */
uint64_t kt_recent_get(const struct kt_recent *r, uint64_t now_us, struct kt_recent_sum *grown);

#endif
