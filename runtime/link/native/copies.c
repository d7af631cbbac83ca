/* The policy for copies of sparse data. copies.h has the rules. */
#include "link/native/copies.h"

#define MILLION 1000000u
#define FAILING 2500u /* millionths of all writes that may be left without an arrival */
#define GAP_LEAST_US 1000u
#define GAP_MOST_US 25000u
#define GAP_GROWTH 2u /* doublings of the gap */
#define SHARE 8u
#define BURST 4000u

uint32_t kt_native_copies_count(uint32_t loss)
{
    /* The loss is an average over some hundred packets; adds a quarter, in case it is higher now. */
    const uint64_t each = loss < MILLION ? loss + (uint64_t)loss / 4 : MILLION;
    uint64_t all = each;
    uint32_t n = 0;
    for (; n < KT_NATIVE_COPIES_MAX && all > FAILING; n++) all = all * each / MILLION;
    return n;
}

void kt_native_copies_allow(struct kt_bucket *allowance, uint64_t rate, uint64_t now_us)
{
    const uint64_t share = rate / SHARE;
    kt_bucket_set(
        allowance, share > KT_NATIVE_COPIES_RATE_MIN ? share : KT_NATIVE_COPIES_RATE_MIN, BURST, now_us);
}

static uint32_t gap(const struct kt_native_copies *c)
{
    return c->unit_us << (c->made < GAP_GROWTH ? c->made : GAP_GROWTH);
}

void kt_native_copies_sent(
    struct kt_native_copies *c, const struct kt_native_copies_facts *facts, uint64_t now_us)
{
    const uint32_t count = facts->min_rtt_us > 0 ? kt_native_copies_count(facts->loss) : 0;
    if (count == 0 || facts->bytes > KT_NATIVE_COPIES_THIN) {
        kt_native_copies_stop(c);
        return;
    }
    const uint32_t unit = facts->min_rtt_us / 16;
    c->unit_us = unit < GAP_LEAST_US ? GAP_LEAST_US : unit > GAP_MOST_US ? GAP_MOST_US : unit;
    if (c->left == 0) { /* else one is due already, which will hold the new data too */
        c->made = 0;
        c->next_us = now_us + gap(c);
    }
    c->left = (uint8_t)count;
}

bool kt_native_copies_take(
    struct kt_native_copies *c, struct kt_bucket *allowance, uint32_t bytes, uint64_t now_us)
{
    if (now_us < kt_native_copies_due(c)) return false;
    if (kt_bucket_room(allowance, now_us) < bytes) {
        kt_native_copies_stop(c);
        return false;
    }
    kt_bucket_take(allowance, bytes);
    c->left--;
    if (c->made < UINT8_MAX) c->made++;
    c->next_us = now_us + gap(c);
    return true;
}
