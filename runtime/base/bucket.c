/* See bucket.h. Invariant: tokens never exceed the burst, so no product below leaves 64 bits: a burst is at
 * most 2^37 bytes, and times a million that is below 2^57. */
#include "base/bucket.h"

#define SECOND UINT64_C(1000000)
#define BURST_MIN 1024u

static uint64_t burst(const struct kt_bucket *b)
{
    return b->rate / 8 > BURST_MIN ? b->rate / 8 : BURST_MIN;
}

static uint64_t time_for(const struct kt_bucket *b, uint64_t bytes)
{
    return (bytes * SECOND + b->rate - 1) / b->rate;
}

static void refill(struct kt_bucket *b, uint64_t now_us)
{
    if (now_us <= b->at) return;
    const uint64_t elapsed = now_us - b->at;
    if (elapsed >= time_for(b, burst(b) - b->tokens)) {
        b->tokens = burst(b);
        b->at = now_us;
        return;
    }
    const uint64_t earned = elapsed * b->rate / SECOND;
    if (earned == 0) return;
    b->tokens += earned;
    b->at += time_for(b, earned); /* the rest of the time counts next time */
}

void kt_bucket_set(struct kt_bucket *b, uint64_t rate, uint64_t now_us)
{
    if (rate > KT_BUCKET_RATE_MAX) rate = KT_BUCKET_RATE_MAX;
    const uint64_t before = b->rate;
    if (before) refill(b, now_us);
    b->rate = rate;
    if (rate == 0) return;
    if (!before || b->tokens > burst(b)) b->tokens = burst(b);
    b->at = now_us;
}

size_t kt_bucket_room(struct kt_bucket *b, uint64_t now_us)
{
    if (b->rate == 0) return SIZE_MAX;
    refill(b, now_us);
    return (size_t)b->tokens;
}

void kt_bucket_take(struct kt_bucket *b, size_t n)
{
    if (b->rate) b->tokens -= n < b->tokens ? n : b->tokens;
}

uint64_t kt_bucket_ready(const struct kt_bucket *b)
{
    if (b->rate == 0) return b->at;
    const uint64_t enough = b->rate / 50 ? b->rate / 50 : 1;
    return b->at + (enough > b->tokens ? time_for(b, enough - b->tokens) : 0);
}
