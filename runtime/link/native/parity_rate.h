/* How much parity a path needs (docs/wire.md, 6.4): the policy of parity_out.h.
 *
 * Loss and its burstiness are averaged over the last 1,000 to 2,000 packets: a Gilbert model, whose bad state loses
 * every packet. A group gets the fewest parity packets that leave less than KT_NATIVE_PARITY_FAILING of all groups with
 * a packet that cannot be rebuilt; losses hit parity packets too.
 *
 *     loss, %                        0.5   1   2   5  10
 *     parity for a packet by itself    1   1   1   2   2
 *     parity for 10 packets            1   2   2   4   5
 *     parity for 62 packets            3   4   5  10  16
 *
 * Parity begins at 0.4 % and ends below 0.15 %, and needs three losses to begin, so neither a clean path nor a chance
 * loss has any. */
#ifndef KT_LINK_NATIVE_PARITY_RATE_H
#define KT_LINK_NATIVE_PARITY_RATE_H

#include <stdbool.h>
#include <stdint.h>
#include "link/native/recovery.h"

#define KT_NATIVE_PARITY_FAILING 2500u /* millionths */

/* Losses of a path. All zero: none. */
struct kt_native_parity_loss {
    uint64_t seen_lost, seen_all, seen_bursts; /* recovery's totals, as counted so far */
    uint32_t lost, all, bursts;                /* older ones count less */
    bool on;                                   /* it loses enough for parity to be worth it */
};

/* Looks at recovery's counts, once in 64 packets. True if that changed anything. */
bool kt_native_parity_loss_note(
    struct kt_native_parity_loss *l, const struct kt_native_recovery_stats *stats);

/* The parity that a group of this many packets needs, at most `most`, 1..KT_NATIVE_PARITY_SHARDS. loss: share of
 * packets; burst: mean number of packets lost in a row, 0: as by chance. If `most` is not enough, it is either most, if
 * that leaves less than a third of the failures, or none. */
struct kt_native_parity_need {
    unsigned count;
    bool enough;
};
struct kt_native_parity_need kt_native_parity_need(
    unsigned packets, double loss, double burst, unsigned most);

static inline double kt_native_parity_share(const struct kt_native_parity_loss *l)
{
    return l->all > 0 ? (double)l->lost / l->all : 0;
}

static inline double kt_native_parity_burst(const struct kt_native_parity_loss *l)
{
    return l->bursts > 0 ? (double)l->lost / l->bursts : 0;
}

#endif
