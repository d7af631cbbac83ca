/* Copies of sparse data: what a thin stream or flow sends is sent again, spaced, before anyone knows whether it
 * was lost (docs/wire.md, 6.3). Lost data costs a round trip or more; a copy costs a small packet.
 *
 * A stream is thin while what it has in flight fits into one small packet. How many copies it gets depends on the
 * path's loss alone: as many as leave less than 0.25 % of all writes without an arrival, so that an echo, which
 * crosses the path twice, is at the path's own round trip in more than 99.5 %. On a clean path there are none.
 *
 *     loss, %          below 0.2   1   5   10   20 and more
 *     copies                   0   1   2    2             4
 *
 * The first copy leaves a sixteenth of min_rtt after the write, and each gap is twice the one before, up to a
 * quarter of min_rtt. An acknowledgement ends it. A copy holds all that the stream has in flight. All copies of a
 * path together take at most an eighth of its rate.
 *
 * Times are in µs. No memory and no timer while nothing is sent. */
#ifndef KT_LINK_NATIVE_COPIES_H
#define KT_LINK_NATIVE_COPIES_H

#include <stdbool.h>
#include <stdint.h>
#include "base/bucket.h"

#define KT_NATIVE_COPIES_THIN 1000u /* bytes in flight of a thin stream */
#define KT_NATIVE_COPIES_MAX 4u
#define KT_NATIVE_COPIES_RATE_MIN 4000u /* bytes a second that a path's copies may always take */

/* Of a stream or flow. All zero: nothing to copy. */
struct kt_native_copies {
    uint64_t next_us;
    uint32_t unit_us; /* the first gap */
    uint8_t left, made;
};

/* The policy's input. */
struct kt_native_copies_facts {
    uint32_t loss;       /* of the path, in millionths (struct kt_native_recovery_stats) */
    uint32_t min_rtt_us; /* 0: unknown, and nothing is copied */
    uint32_t bytes;      /* that the stream has in flight, with what was just sent */
};

/* How many copies such a loss calls for: 0..KT_NATIVE_COPIES_MAX. */
uint32_t kt_native_copies_count(uint32_t loss);

/* Sets a path's allowance for copies. rate: what the path carries, in bytes per second; 0: unknown. */
void kt_native_copies_allow(struct kt_bucket *allowance, uint64_t rate, uint64_t now_us);

/* New data of the stream has left. */
void kt_native_copies_sent(
    struct kt_native_copies *c, const struct kt_native_copies_facts *facts, uint64_t now_us);

/* All that the stream had in flight was acknowledged, or it is no longer thin. */
static inline void kt_native_copies_stop(struct kt_native_copies *c)
{
    c->left = c->made = 0;
}

/* When the next copy is due; UINT64_MAX: none is. */
static inline uint64_t kt_native_copies_due(const struct kt_native_copies *c)
{
    return c->left > 0 ? c->next_us : UINT64_MAX;
}

/* Whether to send a copy now, in a packet of this size. False: too early, none is left, or the path's allowance
 * is used up, which ends this stream's copies until it sends again. */
bool kt_native_copies_take(
    struct kt_native_copies *c, struct kt_bucket *allowance, uint32_t bytes, uint64_t now_us);

#endif
