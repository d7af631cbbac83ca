/* Limits of a conn or a stream, enforced on a script's reads and writes. While a splice has the pipe, it
 * enforces the same limits (link/splice.h).
 *
 * When a time limit is up, the pipe is reset at once, and a stand-in takes its place in the handle: calls that
 * the script makes later fail with "idle" or "total" until it closes the handle.
 *
 * Invariant: while the handle has a live pipe and limits, the timer is armed for the next time limit or, if a
 * waiting call was held back by a rate, for when that allows more. */
#include <stdlib.h>
#include "base/bytes.h"
#include "link/limits.h"
#include "link/splice.h"
#include "script/api/lua_pipe.h"
#include "script/core/handle.h"
#include "script/api/api.h"

struct kt_lua_limits {
    struct kt_limits value;
    struct kt_timer timer;
    struct kt_io *io;
    struct kt_pipe ended; /* the stand-in */
};

/* ---- the stand-in ---- */

static size_t no_peek(struct kt_pipe *p, struct kt_iov *iov, size_t max)
{
    (void)p;
    (void)iov;
    (void)max;
    return 0;
}

static void no_consume(struct kt_pipe *p, size_t n)
{
    (void)p;
    (void)n;
}

static size_t no_write(struct kt_pipe *p, const void *data, size_t n)
{
    (void)p;
    (void)data;
    (void)n;
    return 0;
}

static bool never(const struct kt_pipe *p)
{
    (void)p;
    return false;
}

static void nothing(struct kt_pipe *p)
{
    (void)p;
}

static void no_reset(struct kt_pipe *p, int reason, const char *text)
{
    (void)p;
    (void)reason;
    (void)text;
}

static const struct kt_pipe_ops ended_ops = {
    .peek = no_peek,
    .consume = no_consume,
    .eof = never,
    .write = no_write,
    .shutdown = nothing,
    .half_close = never,
    .reset = no_reset,
    .close = nothing,
};

/* ---- time ---- */

static void expire(struct kt_lua_pipe *h, int code)
{
    struct kt_pipe *pipe = h->pipe;
    h->limits->ended = *pipe; /* with its byte counts and listener */
    h->limits->ended.ops = &ended_ops;
    h->pipe = &h->limits->ended;
    kt_pipe_reset(pipe, code);
    if (!h->code) h->code = code;
    kt_lua_pipe_retry(h);
}

static void on_timer(void *ctx)
{
    struct kt_lua_pipe *h = ctx;
    struct kt_lua_limits *l = h->limits;
    const int code = kt_limits_expired(&l->value, kt_io_now(l->io));
    if (code) {
        expire(h, code);
    } else {
        kt_io_timer_set(l->io, &l->timer, kt_limits_deadline(&l->value));
        kt_lua_pipe_retry(h);
    }
}

static void wake_at(struct kt_lua_limits *l, uint64_t at)
{
    if (!l->timer.armed || at < l->timer.at) kt_io_timer_set(l->io, &l->timer, at);
}

/* ---- moving bytes ---- */

/* A shared limit allows more: its credit is for the call that waits. */
static void on_share(void *ctx)
{
    struct kt_lua_pipe *h = ctx;
    const struct kt_limits *l = &h->limits->value;
    if (h->reading || h->writing) {
        kt_lua_pipe_retry(h);
        return;
    }
    kt_share_give_back(kt_limits_shared(l, KT_LIMITS_IN));
    kt_share_give_back(kt_limits_shared(l, KT_LIMITS_OUT));
}

/* Bytes that may move now, by its own rate and the shared limit. */
static size_t room_of(struct kt_lua_limits *l, enum kt_limits_way way)
{
    const size_t own = kt_limits_room(&l->value, way, kt_io_now(l->io));
    return kt_min_size(own, kt_share_room(kt_limits_shared(&l->value, way)));
}

/* There is no room: kt_lua_pipe_retry follows once there is. */
static void wait_for_room(struct kt_lua_pipe *h, enum kt_limits_way way)
{
    struct kt_lua_limits *l = h->limits;
    struct kt_share *shared = kt_limits_shared(&l->value, way);
    if (kt_share_room(shared) == 0)
        kt_share_wait(shared, on_share, h);
    else
        wake_at(l, kt_limits_ready(&l->value, way));
}

static void moved(struct kt_lua_limits *l, enum kt_limits_way way, size_t n)
{
    kt_limits_moved(&l->value, way, n, kt_io_now(l->io));
    kt_share_take(kt_limits_shared(&l->value, way), n);
}

size_t kt_lua_limits_peek(struct kt_lua_pipe *h, struct kt_iov *iov, size_t max)
{
    const size_t pieces = kt_pipe_peek(h->pipe, iov, max);
    struct kt_lua_limits *l = h->limits;
    if (!l || pieces == 0 || h->code) return pieces; /* what came before a break is shown at once */
    size_t room = room_of(l, KT_LIMITS_IN), n = 0;
    for (; n < pieces && room > 0; n++) {
        iov[n].len = kt_min_size(iov[n].len, room);
        room -= iov[n].len;
    }
    if (n == 0) wait_for_room(h, KT_LIMITS_IN);
    return n;
}

bool kt_lua_limits_held(const struct kt_lua_pipe *h)
{
    struct kt_iov piece;
    return h->limits && !h->code && kt_pipe_peek(h->pipe, &piece, 1) > 0;
}

void kt_lua_limits_consume(struct kt_lua_pipe *h, size_t n)
{
    struct kt_lua_limits *l = h->limits;
    if (l && !h->code) moved(l, KT_LIMITS_IN, n);
    kt_share_give_back(kt_limits_shared(l ? &l->value : NULL, KT_LIMITS_IN));
    kt_pipe_consume(h->pipe, n);
}

size_t kt_lua_limits_write(struct kt_lua_pipe *h, const void *data, size_t n)
{
    struct kt_lua_limits *l = h->limits;
    if (!l) return kt_pipe_write(h->pipe, data, n);
    const size_t offered = kt_min_size(n, room_of(l, KT_LIMITS_OUT));
    const size_t done = offered ? kt_pipe_write(h->pipe, data, offered) : 0;
    if (done) moved(l, KT_LIMITS_OUT, done);
    kt_share_give_back(kt_limits_shared(&l->value, KT_LIMITS_OUT));
    if (done == offered && done < n) wait_for_room(h, KT_LIMITS_OUT);
    return done;
}

/* ---- setting them ---- */

static bool any(const struct kt_limits_terms *t)
{
    return t->rate[KT_LIMITS_IN] || t->rate[KT_LIMITS_OUT] || t->idle_us || t->total_us;
}

static void apply(struct kt_lua_pipe *h)
{
    struct kt_lua_limits *l = h->limits;
    const bool waits = h->reading || h->writing; /* perhaps for the old rate */
    if (h->splice)
        kt_splice_limit(h->splice, h->second, &l->value);
    else
        kt_io_timer_set(l->io, &l->timer, waits ? kt_io_now(l->io) : kt_limits_deadline(&l->value));
}

/* 0, or KT_ENOMEM: then some of them are set. */
static int share(struct kt_lua_pipe *h, const struct kt_lua_shares *shares)
{
    struct kt_limits *l = &h->limits->value;
    int rc = 0;
    if (h->splice) kt_splice_limit(h->splice, h->second, NULL);
    for (enum kt_limits_way way = KT_LIMITS_IN; way <= KT_LIMITS_OUT && rc == 0; way++)
        if (shares->given[way]) rc = kt_limits_share(l, way, shares->limit[way]);
    return rc;
}

int kt_lua_limits_set(struct kt_lua_pipe *h, struct kt_io *io, const struct kt_limits_terms *terms,
    const struct kt_lua_shares *shares)
{
    const uint64_t now = kt_io_now(io);
    const bool shared = shares->given[0] || shares->given[1];
    if (!h->limits) {
        if (!any(terms) && !shares->limit[0] && !shares->limit[1]) return 0;
        struct kt_lua_limits *l = calloc(1, sizeof *l);
        if (!l) return KT_ENOMEM;
        l->io = io;
        kt_limits_init(&l->value, h->born, now);
        kt_timer_init(&l->timer, on_timer, h);
        h->limits = l;
    }
    int rc = kt_limits_set(&h->limits->value, terms, now);
    if (!rc && shared) rc = share(h, shares);
    apply(h);
    return rc;
}

void kt_lua_limits_terms(const struct kt_lua_pipe *h, struct kt_limits_terms *out)
{
    kt_limits_terms(h->limits ? &h->limits->value : NULL, out);
}

bool kt_lua_limits_ended(const struct kt_lua_pipe *h)
{
    return h->limits && h->limits->ended.ops;
}

void kt_lua_limits_give(struct kt_lua_pipe *h)
{
    kt_lua_limits_stop(h);
    if (h->limits && !kt_lua_limits_ended(h)) apply(h);
}

void kt_lua_limits_stop(struct kt_lua_pipe *h)
{
    if (!h->limits) return;
    kt_io_timer_cancel(h->limits->io, &h->limits->timer);
    kt_limits_calm(&h->limits->value);
}

void kt_lua_limits_free(struct kt_lua_pipe *h)
{
    if (h->limits) kt_limits_end(&h->limits->value);
    free(h->limits);
    h->limits = NULL;
}
