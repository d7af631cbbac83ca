/* Limits: a rate in each direction, an idle time and a total time; and, in each direction, a share of a limit that
 * others share (shared_limit.h).
 *
 * A plain value that belongs to a conn's or a stream's handle, to a splice, or to a relay. It has no timer and costs
 * nothing while nothing moves. Code that moves bytes (a splice, a read or write of a script) asks kt_limits_room
 * first, reports what moved to kt_limits_moved, and sets its own timer, for kt_limits_ready after the room was used
 * up and for kt_limits_deadline in any case.
 *
 * In all functions that take one, l may be NULL: no limits. */
#ifndef KT_LINK_LIMITS_H
#define KT_LINK_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/bucket.h"
#include "base/err.h"
#include "base/wheel.h"
#include "link/shared_limit.h"

/* IN: bytes read from the pipe; of a splice, those from a to b. OUT: the other way. */
enum kt_limits_way { KT_LIMITS_IN, KT_LIMITS_OUT };

struct kt_limits_terms {
    uint64_t rate[2];  /* bytes per second, by kt_limits_way; 0: no limit */
    uint64_t idle_us;  /* end after this long without a byte in either direction; 0: never */
    uint64_t total_us; /* end this long after the beginning; 0: never */
};

/* By kt_limits_way. */
struct kt_limits_rates {
    struct kt_bucket own[2];
    struct kt_share *shared[2]; /* NULL: none */
};

struct kt_limits {
    struct kt_limits_rates *rates; /* NULL: no rate and no shared limit was ever set */
    uint64_t idle_us, total_us;
    uint64_t born;  /* the total counts from here */
    uint64_t moved; /* when a byte last moved; at first, when the limits were made */
};

/* Begins without a limit. */
void kt_limits_init(struct kt_limits *l, uint64_t born_us, uint64_t now_us);
/* Takes effect now; rates keep what their buckets hold. 0, or KT_ENOMEM and nothing changes. */
int kt_limits_set(struct kt_limits *l, const struct kt_limits_terms *terms, uint64_t now_us);
void kt_limits_terms(const struct kt_limits *l, struct kt_limits_terms *out);
/* Uses a shared limit in one direction, instead of the one before; NULL: none. 0, or KT_ENOMEM and nothing changes. */
int kt_limits_share(struct kt_limits *l, enum kt_limits_way way, struct kt_shared_limit *limit);
/* Its shares wait no more, and give back their credit. */
void kt_limits_calm(struct kt_limits *l);
/* Ends the use of shared limits, and frees what the rates took. No limit is left. */
void kt_limits_end(struct kt_limits *l);

/* KT_ETOTAL or KT_EIDLE once that time is up, else 0. */
int kt_limits_expired(const struct kt_limits *l, uint64_t now_us);
/* When to ask kt_limits_expired next. Bytes that move before then put an idle time off, so ask again there. */
uint64_t kt_limits_deadline(const struct kt_limits *l);

/* Bytes that may move now by its own rate; SIZE_MAX: no limit. Shared limits are handled by the caller. */
static inline size_t kt_limits_room(struct kt_limits *l, enum kt_limits_way way, uint64_t now_us)
{
    return l && l->rates ? kt_bucket_room(&l->rates->own[way], now_us) : SIZE_MAX;
}

/* Whether it has a rate of its own. */
static inline bool kt_limits_rated(const struct kt_limits *l, enum kt_limits_way way)
{
    return l && l->rates && l->rates->own[way].rate > 0;
}

static inline void kt_limits_moved(struct kt_limits *l, enum kt_limits_way way, size_t n, uint64_t now_us)
{
    if (!l) return;
    if (l->rates) kt_bucket_take(&l->rates->own[way], n);
    l->moved = now_us;
}

static inline struct kt_share *kt_limits_shared(const struct kt_limits *l, enum kt_limits_way way)
{
    return l && l->rates ? l->rates->shared[way] : NULL;
}

/* After the room was used up: when it is worth asking again (kt_bucket_ready). */
static inline uint64_t kt_limits_ready(const struct kt_limits *l, enum kt_limits_way way)
{
    return l && l->rates ? kt_bucket_ready(&l->rates->own[way]) : 0;
}

#endif
