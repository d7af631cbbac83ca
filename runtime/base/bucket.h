/* A token bucket: so many bytes a second on average, a burst of an eighth of a second at once.
 *
 * Pure arithmetic on the caller's clock: no timer, and nothing to do while nothing moves. Who found the
 * bucket empty sets a timer for kt_bucket_ready and comes again. */
#ifndef KT_BASE_BUCKET_H
#define KT_BASE_BUCKET_H

#include <stddef.h>
#include <stdint.h>

#define KT_BUCKET_RATE_MAX (UINT64_C(1) << 40) /* bytes a second; what is more is taken for this */

struct kt_bucket {
    uint64_t rate; /* bytes a second; 0: no limit */
    uint64_t
        level;   /* what may pass as of `at`, in millionths of a byte, so that no time is lost to rounding */
    uint64_t at; /* µs */
};

/* Sets or changes the rate; 0: none. A limit that is new begins with a full burst, one that changes goes on
 * with what is there. A zeroed bucket has no limit. */
void kt_bucket_set(struct kt_bucket *b, uint64_t rate, uint64_t now_us);
/* Bytes that may pass now; SIZE_MAX without a limit. */
size_t kt_bucket_room(struct kt_bucket *b, uint64_t now_us);
/* n bytes have passed, no more than there was room for. */
void kt_bucket_take(struct kt_bucket *b, size_t n);
/* When an empty bucket has enough again to be worth a call: what 20 ms bring, but a byte at least. */
uint64_t kt_bucket_ready(const struct kt_bucket *b);

#endif
