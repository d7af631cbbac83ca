/* The time limits of a pipe or a splice, and changes of its limits. Rates are token buckets, see limits.h.
 *
 * Invariant: a deadline is never later than the moment at which kt_limits_expired becomes true. */
#include "link/limits.h"
#include <stdlib.h>
#include "base/bytes.h"

void kt_limits_init(struct kt_limits *l, uint64_t born_us, uint64_t now_us)
{
    *l = (struct kt_limits){.born = born_us, .moved = now_us};
}

/* Makes room for rates and shared limits. */
static int need_rates(struct kt_limits *l)
{
    if (!l->rates) l->rates = calloc(1, sizeof *l->rates);
    return l->rates ? 0 : KT_ENOMEM;
}

int kt_limits_set(struct kt_limits *l, const struct kt_limits_terms *terms, uint64_t now_us)
{
    const bool rated = terms->rate[KT_LIMITS_IN] || terms->rate[KT_LIMITS_OUT];
    if (rated && need_rates(l)) return KT_ENOMEM;
    for (size_t way = 0; way < 2 && l->rates; way++) {
        struct kt_bucket *own = &l->rates->own[way];
        if (terms->rate[way] != own->rate) kt_bucket_set(own, terms->rate[way], 0, now_us);
    }
    l->idle_us = terms->idle_us;
    l->total_us = terms->total_us;
    return 0;
}

void kt_limits_terms(const struct kt_limits *l, struct kt_limits_terms *out)
{
    *out = (struct kt_limits_terms){0};
    if (!l) return;
    for (size_t way = 0; way < 2 && l->rates; way++) out->rate[way] = l->rates->own[way].rate;
    out->idle_us = l->idle_us;
    out->total_us = l->total_us;
}

int kt_limits_share(struct kt_limits *l, enum kt_limits_way way, struct kt_shared_limit *limit)
{
    struct kt_share *share = NULL;
    if (kt_share_limit(kt_limits_shared(l, way)) == limit) return 0;
    if (need_rates(l) || (limit && kt_share_new(limit, &share))) return KT_ENOMEM;
    kt_share_free(l->rates->shared[way]);
    l->rates->shared[way] = share;
    return 0;
}

void kt_limits_calm(struct kt_limits *l)
{
    for (enum kt_limits_way way = KT_LIMITS_IN; way <= KT_LIMITS_OUT; way++)
        kt_share_leave(kt_limits_shared(l, way));
}

void kt_limits_end(struct kt_limits *l)
{
    for (enum kt_limits_way way = KT_LIMITS_IN; way <= KT_LIMITS_OUT; way++)
        kt_share_free(kt_limits_shared(l, way));
    free(l->rates);
    *l = (struct kt_limits){0};
}

static uint64_t idle_at(const struct kt_limits *l)
{
    return l->idle_us ? l->moved + l->idle_us : KT_TIME_NEVER;
}

static uint64_t total_at(const struct kt_limits *l)
{
    return l->total_us ? l->born + l->total_us : KT_TIME_NEVER;
}

int kt_limits_expired(const struct kt_limits *l, uint64_t now_us)
{
    if (!l) return 0;
    if (now_us >= total_at(l)) return KT_ETOTAL;
    return now_us >= idle_at(l) ? KT_EIDLE : 0;
}

uint64_t kt_limits_deadline(const struct kt_limits *l)
{
    if (!l) return KT_TIME_NEVER;
    const uint64_t idle = idle_at(l), total = total_at(l);
    return kt_min64(idle, total);
}
