/* A token bucket that counts in millionths of a byte, so that rounding loses no time.
 *
 * Invariant: the level never exceeds the burst, which is at most 2^37 bytes. A million times that is below
 * 2^57, so nothing here overflows 64 bits. */
#include "base/bucket.h"

#define SECOND UINT64_C(1000000)
#define BURST_MIN 1024u

static uint64_t burst(const struct kt_bucket *b)
{
    return (b->rate / 8 > BURST_MIN ? b->rate / 8 : BURST_MIN) * SECOND;
}

static void refill(struct kt_bucket *b, uint64_t now_us)
{
    if (now_us <= b->at) return;
    const uint64_t elapsed = now_us - b->at, missing = burst(b) - b->level;
    b->level += elapsed > missing / b->rate ? missing : elapsed * b->rate;
    b->at = now_us;
}

void kt_bucket_set(struct kt_bucket *b, uint64_t rate, uint64_t now_us)
{
    if (rate > KT_BUCKET_RATE_MAX) rate = KT_BUCKET_RATE_MAX;
    const uint64_t before = b->rate;
    if (before) refill(b, now_us);
    b->rate = rate;
    b->at = now_us;
    if (rate && (!before || b->level > burst(b))) b->level = burst(b);
}

size_t kt_bucket_room(struct kt_bucket *b, uint64_t now_us)
{
    if (b->rate == 0) return SIZE_MAX;
    refill(b, now_us);
    return (size_t)(b->level / SECOND);
}

void kt_bucket_take(struct kt_bucket *b, size_t n)
{
    if (b->rate) b->level -= n < b->level / SECOND ? n * SECOND : b->level / SECOND * SECOND;
}

uint64_t kt_bucket_ready(const struct kt_bucket *b)
{
    if (b->rate == 0) return b->at;
    const uint64_t enough = (b->rate / 50 ? b->rate / 50 : 1) * SECOND;
    return b->at + (enough > b->level ? (enough - b->level + b->rate - 1) / b->rate : 0);
}
