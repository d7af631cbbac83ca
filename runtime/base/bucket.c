/* A token bucket that counts in millionths of a byte, so that rounding loses no time.
 *
 * Invariant: the level never exceeds the burst, which is at most 2^37 bytes, and debt stays below 2^42 bytes. A
 * million times that is below 2^62, so nothing here overflows 64 bits. */
#include "base/bucket.h"

#define SECOND KT_BUCKET_SECOND
#define BURST_MIN 1024u

static int64_t full(const struct kt_bucket *b)
{
    return (int64_t)b->burst * SECOND;
}

static void refill(struct kt_bucket *b, uint64_t now_us)
{
    if (now_us <= b->at) return;
    const uint64_t elapsed = now_us - b->at, missing = (uint64_t)(full(b) - b->level);
    b->level = elapsed > missing / b->rate ? full(b) : b->level + (int64_t)(elapsed * b->rate);
    b->at = now_us;
}

void kt_bucket_set(struct kt_bucket *b, uint64_t rate, uint64_t burst, uint64_t now_us)
{
    if (rate > KT_BUCKET_RATE_MAX) rate = KT_BUCKET_RATE_MAX;
    const uint64_t before = b->rate;
    if (before) refill(b, now_us);
    if (burst == 0) burst = rate / 8 > BURST_MIN ? rate / 8 : BURST_MIN;
    b->rate = rate;
    b->burst = burst;
    b->at = now_us;
    if (rate && (!before || b->level > full(b))) b->level = full(b);
}

size_t kt_bucket_limited_room(struct kt_bucket *b, uint64_t now_us)
{
    refill(b, now_us);
    return b->level > 0 ? (size_t)(b->level / SECOND) : 0;
}

void kt_bucket_give(struct kt_bucket *b, size_t n)
{
    if (b->rate == 0) return;
    b->level += (int64_t)n * SECOND;
    if (b->level > full(b)) b->level = full(b);
}

uint64_t kt_bucket_due(const struct kt_bucket *b, size_t n)
{
    const int64_t missing = (int64_t)n * SECOND - b->level;
    if (b->rate == 0 || missing <= 0) return b->at;
    return b->at + ((uint64_t)missing + b->rate - 1) / b->rate;
}

uint64_t kt_bucket_ready(const struct kt_bucket *b)
{
    const uint64_t worth = b->rate / 50 < b->burst ? b->rate / 50 : b->burst;
    return kt_bucket_due(b, worth ? (size_t)worth : 1);
}
