/* Divides one token bucket among the shares that wait for it, in turn.
 *
 * Invariant: while shares wait, the timer is armed for when the bucket is worth using again. Credit has left the
 * bucket: what all shares have moved and hold never exceeds what the bucket gave. */
#include "link/shared_limit.h"
#include <stdlib.h>
#include "base/bucket.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/list.h"
#include "io/io.h"

#define PART_MIN 1500u /* bytes: the least that a share gets at once, unless the rate or the burst is low */

struct kt_shared_limit {
    struct kt_io *io;
    struct kt_bucket bucket;
    uint64_t burst; /* as set; 0: by the rate */
    struct kt_timer timer;
    struct kt_list waiting; /* of kt_share, the next one first */
    size_t waiting_count;
    size_t refs; /* the maker's, and one for each share */
};

struct kt_share {
    struct kt_shared_limit *limit;
    struct kt_list node; /* in limit->waiting while it waits */
    size_t credit;
    void (*ready)(void *ctx);
    void *ctx;
};

static void release(struct kt_shared_limit *l)
{
    if (--l->refs > 0) return;
    kt_io_timer_cancel(l->io, &l->timer);
    free(l);
}

static void arm(struct kt_shared_limit *l)
{
    if (l->waiting_count == 0)
        kt_io_timer_cancel(l->io, &l->timer);
    else
        kt_io_timer_set(l->io, &l->timer, kt_bucket_ready(&l->bucket));
}

static void remove_waiting(struct kt_share *s)
{
    if (kt_list_empty(&s->node)) return;
    kt_list_remove(&s->node);
    s->limit->waiting_count--;
}

/* The part for each waiting share: the same for all, so that no place in the queue is better. */
static size_t part_of(const struct kt_shared_limit *l, size_t room)
{
    const struct kt_bucket *b = &l->bucket;
    const uint64_t ready = kt_min64(b->burst, b->rate / 50); /* what kt_bucket_ready waits for */
    const size_t least = ready > 0 ? (size_t)kt_min64(PART_MIN, ready) : 1;
    const size_t even = room / l->waiting_count;
    return even > least ? even : least;
}

static void serve_first(struct kt_shared_limit *l, size_t part)
{
    struct kt_share *s = KT_CONTAINER(l->waiting.next, struct kt_share, node);
    remove_waiting(s);
    kt_bucket_take(&l->bucket, part);
    if (l->bucket.rate) s->credit += part;
    s->ready(s->ctx);
}

/* Serves those that wait now; one that wants more joins the queue behind them. */
static void on_timer(void *ctx)
{
    struct kt_shared_limit *l = ctx;
    const uint64_t now = kt_io_now(l->io);
    if (l->waiting_count == 0) return;
    const size_t part = part_of(l, kt_bucket_room(&l->bucket, now));
    l->refs++;
    for (size_t left = l->waiting_count; left > 0 && l->waiting_count > 0; left--) {
        if (kt_bucket_room(&l->bucket, now) < part) break;
        serve_first(l, part);
    }
    arm(l);
    release(l);
}

int kt_shared_limit_new(struct kt_io *io, uint64_t rate, uint64_t burst, struct kt_shared_limit **out)
{
    struct kt_shared_limit *l = calloc(1, sizeof *l);
    if (!l) return KT_ENOMEM;
    l->io = io;
    l->refs = 1;
    l->burst = burst;
    kt_list_init(&l->waiting);
    kt_timer_init(&l->timer, on_timer, l);
    kt_bucket_set(&l->bucket, rate, burst, kt_io_now(io));
    *out = l;
    return 0;
}

void kt_shared_limit_set(struct kt_shared_limit *l, uint64_t rate, uint64_t burst)
{
    l->burst = burst;
    kt_bucket_set(&l->bucket, rate, burst, kt_io_now(l->io));
    arm(l);
}

void kt_shared_limit_terms(const struct kt_shared_limit *l, uint64_t *rate, uint64_t *burst)
{
    *rate = l->bucket.rate;
    *burst = l->burst;
}

void kt_shared_limit_release(struct kt_shared_limit *l)
{
    if (l) release(l);
}

int kt_share_new(struct kt_shared_limit *l, struct kt_share **out)
{
    struct kt_share *s = calloc(1, sizeof *s);
    if (!s) return KT_ENOMEM;
    s->limit = l;
    l->refs++;
    kt_list_init(&s->node);
    *out = s;
    return 0;
}

void kt_share_free(struct kt_share *s)
{
    if (!s) return;
    kt_share_leave(s);
    release(s->limit);
    free(s);
}

struct kt_shared_limit *kt_share_limit(const struct kt_share *s)
{
    return s ? s->limit : NULL;
}

size_t kt_share_room(struct kt_share *s)
{
    if (!s || s->limit->bucket.rate == 0) return SIZE_MAX;
    struct kt_shared_limit *l = s->limit;
    if (l->waiting_count > 0) return s->credit;
    return s->credit + kt_bucket_room(&l->bucket, kt_io_now(l->io));
}

void kt_share_take(struct kt_share *s, size_t n)
{
    if (!s) return;
    const size_t prepaid = kt_min_size(n, s->credit);
    s->credit -= prepaid;
    kt_bucket_take(&s->limit->bucket, n - prepaid);
}

void kt_share_wait(struct kt_share *s, void (*ready)(void *ctx), void *ctx)
{
    if (!s || !kt_list_empty(&s->node)) return;
    struct kt_shared_limit *l = s->limit;
    s->ready = ready;
    s->ctx = ctx;
    kt_list_push(&l->waiting, &s->node);
    l->waiting_count++;
    if (!l->timer.armed) arm(l);
}

bool kt_share_waits(const struct kt_share *s)
{
    return s && !kt_list_empty(&s->node);
}

void kt_share_give_back(struct kt_share *s)
{
    if (!s || s->credit == 0) return;
    kt_bucket_give(&s->limit->bucket, s->credit);
    s->credit = 0;
}

void kt_share_leave(struct kt_share *s)
{
    if (!s) return;
    remove_waiting(s);
    kt_share_give_back(s);
}
