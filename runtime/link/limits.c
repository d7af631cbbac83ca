/* The time limits of a pipe or a splice, and changes of its limits. Rates are token buckets, see limits.h.
 *
 * Invariant: a deadline is never later than the moment at which kt_limits_expired becomes true. */
#include "link/limits.h"

void kt_limits_init(struct kt_limits *l, uint64_t born_us, uint64_t now_us)
{
    *l = (struct kt_limits){.born = born_us, .moved = now_us};
}

void kt_limits_set(struct kt_limits *l, const struct kt_limits_terms *terms, uint64_t now_us)
{
    for (size_t way = 0; way < 2; way++)
        if (terms->rate[way] != l->rate[way].rate) kt_bucket_set(&l->rate[way], terms->rate[way], 0, now_us);
    l->idle_us = terms->idle_us;
    l->total_us = terms->total_us;
}

void kt_limits_terms(const struct kt_limits *l, struct kt_limits_terms *out)
{
    *out = (struct kt_limits_terms){0};
    if (!l) return;
    for (size_t way = 0; way < 2; way++) out->rate[way] = l->rate[way].rate;
    out->idle_us = l->idle_us;
    out->total_us = l->total_us;
}

int kt_limits_share(struct kt_limits *l, enum kt_limits_way way, struct kt_shared_limit *limit)
{
    struct kt_share *share = NULL;
    if (kt_share_limit(l->share[way]) == limit) return 0;
    const int rc = limit ? kt_share_new(limit, &share) : 0;
    if (rc) return rc;
    kt_share_free(l->share[way]);
    l->share[way] = share;
    return 0;
}

void kt_limits_calm(struct kt_limits *l)
{
    for (size_t way = 0; way < 2; way++) kt_share_leave(l->share[way]);
}

void kt_limits_end(struct kt_limits *l)
{
    for (size_t way = 0; way < 2; way++) {
        kt_share_free(l->share[way]);
        l->share[way] = NULL;
    }
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
    return idle < total ? idle : total;
}
