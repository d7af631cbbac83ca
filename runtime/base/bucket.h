/* A token bucket: a rate in bytes per second on average, with bursts of limited size.
 *
 * Pure arithmetic on the caller's clock: it has no timer and does no work while nothing moves. A caller that
 * finds the bucket empty sets its own timer for kt_bucket_ready and tries again. */
#ifndef KT_BASE_BUCKET_H
#define KT_BASE_BUCKET_H

#include <stddef.h>
#include <stdint.h>

#define KT_BUCKET_RATE_MAX (UINT64_C(1) << 40) /* bytes per second; higher rates are capped */
#define KT_BUCKET_SECOND INT64_C(1000000)

struct kt_bucket {
    uint64_t rate;  /* bytes per second; 0: no limit */
    uint64_t burst; /* most bytes that may pass at once */
    int64_t level;  /* what may pass as of `at`, in millionths of a byte; negative: debt */
    uint64_t at;    /* µs */
};

/* Sets or changes the rate; 0 removes the limit. burst is at most 2^37; 0 means an eighth of a second's bytes,
 * at least 1 KiB. A new limit starts with a full burst; changing one keeps the current level. A zeroed bucket
 * has no limit. */
void kt_bucket_set(struct kt_bucket *b, uint64_t rate, uint64_t burst, uint64_t now_us);
/* For kt_bucket_room, if there is a limit. */
size_t kt_bucket_limited_room(struct kt_bucket *b, uint64_t now_us);
/* Bytes that may pass now; 0 while in debt; SIZE_MAX without a limit. */
static inline size_t kt_bucket_room(struct kt_bucket *b, uint64_t now_us)
{
    return b->rate > 0 ? kt_bucket_limited_room(b, now_us) : SIZE_MAX;
}
/* Records that n bytes have passed. The excess over the room is a debt, which must stay below 2^42 bytes. */
static inline void kt_bucket_take(struct kt_bucket *b, size_t n)
{
    if (b->rate > 0) b->level -= (int64_t)n * KT_BUCKET_SECOND;
}
/* n bytes that were taken have not passed after all. */
void kt_bucket_give(struct kt_bucket *b, size_t n);
/* When n bytes may pass, as far as is known now; n is at most the burst. */
uint64_t kt_bucket_due(const struct kt_bucket *b, size_t n);
/* When an empty bucket is worth using again: after 20 ms worth of bytes (at most the burst), or one byte if that
 * is more. */
uint64_t kt_bucket_ready(const struct kt_bucket *b);

#endif
