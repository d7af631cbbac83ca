/* Recent growth of counters, from a ring of snapshots. The invariant is in recent.h. */
#include "link/common/recent.h"
#include <string.h>

static const struct kt_recent_step *step(const struct kt_recent *r, unsigned back)
{
    return &r->ring[(r->head + KT_RECENT_STEPS - back) % KT_RECENT_STEPS];
}

void kt_recent_note(struct kt_recent *r, const struct kt_recent_sum *sum, uint64_t now_us)
{
    struct kt_recent_step *s = &r->ring[r->head];
    const struct kt_recent_sum *last = r->count > 0 ? &s->sum : &r->base;
    if (memcmp(last, sum, sizeof *sum) == 0) return;
    if (r->count == 0 || now_us - s->since >= KT_RECENT_STEP_US) {
        if (r->count > 0) r->head = (r->head + 1) % KT_RECENT_STEPS;
        s = &r->ring[r->head];
        if (r->count == KT_RECENT_STEPS)
            r->base = s->sum;
        else
            r->count++;
        s->since = now_us;
    }
    s->sum = *sum;
}

uint64_t kt_recent_get(const struct kt_recent *r, uint64_t now_us, struct kt_recent_sum *grown)
{
    *grown = (struct kt_recent_sum){0};
    const uint64_t from = now_us > KT_RECENT_US ? now_us - KT_RECENT_US : 0;
    uint64_t began = now_us;
    unsigned back = 0;
    /* A step that ended before `from` holds the counters at `from`. A step that straddles `from` counts in
     * full, and so does its time. */
    for (; back < r->count && step(r, back)->since + KT_RECENT_STEP_US > from; back++)
        began = step(r, back)->since;
    if (back == 0) return KT_RECENT_US;
    const struct kt_recent_sum *a = back < r->count ? &step(r, back)->sum : &r->base, *b = &step(r, 0)->sum;
    *grown = (struct kt_recent_sum){
        .bytes_in = b->bytes_in - a->bytes_in,
        .bytes_out = b->bytes_out - a->bytes_out,
        .segs_out = b->segs_out - a->segs_out,
        .retrans = b->retrans - a->retrans,
        .segs_in = b->segs_in - a->segs_in,
        .recovered = b->recovered - a->recovered,
    };
    /* Include the idle time before those steps, back to `from` or to the start of the session. */
    if (began > from) began = from > r->born ? from : r->born;
    const uint64_t span = now_us - began;
    return span > KT_RECENT_STEP_US ? span : KT_RECENT_STEP_US;
}
