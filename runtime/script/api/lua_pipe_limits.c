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

size_t kt_lua_limits_peek(struct kt_lua_pipe *h, struct kt_iov *iov, size_t max)
{
    const size_t pieces = kt_pipe_peek(h->pipe, iov, max);
    struct kt_lua_limits *l = h->limits;
    if (!l || pieces == 0 || h->code) return pieces; /* what came before a break is shown at once */
    size_t room = kt_limits_room(&l->value, KT_LIMITS_IN, kt_io_now(l->io)), n = 0;
    for (; n < pieces && room > 0; n++) {
        iov[n].len = kt_min_size(iov[n].len, room);
        room -= iov[n].len;
    }
    if (n == 0) wake_at(l, kt_limits_ready(&l->value, KT_LIMITS_IN));
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
    if (l) kt_limits_moved(&l->value, KT_LIMITS_IN, n, kt_io_now(l->io));
    kt_pipe_consume(h->pipe, n);
}

size_t kt_lua_limits_write(struct kt_lua_pipe *h, const void *data, size_t n)
{
    struct kt_lua_limits *l = h->limits;
    if (!l) return kt_pipe_write(h->pipe, data, n);
    const uint64_t now = kt_io_now(l->io);
    const size_t offered = kt_min_size(n, kt_limits_room(&l->value, KT_LIMITS_OUT, now));
    const size_t done = offered ? kt_pipe_write(h->pipe, data, offered) : 0;
    if (done) kt_limits_moved(&l->value, KT_LIMITS_OUT, done, now);
    if (done == offered && done < n) wake_at(l, kt_limits_ready(&l->value, KT_LIMITS_OUT));
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

int kt_lua_limits_set(struct kt_lua_pipe *h, struct kt_io *io, const struct kt_limits_terms *terms)
{
    const uint64_t now = kt_io_now(io);
    if (!h->limits) {
        if (!any(terms)) return 0;
        struct kt_lua_limits *l = calloc(1, sizeof *l);
        if (!l) return KT_ENOMEM;
        l->io = io;
        kt_limits_init(&l->value, h->born, now);
        kt_timer_init(&l->timer, on_timer, h);
        h->limits = l;
    }
    kt_limits_set(&h->limits->value, terms, now);
    apply(h);
    return 0;
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
    if (h->limits) kt_io_timer_cancel(h->limits->io, &h->limits->timer);
}

void kt_lua_limits_free(struct kt_lua_pipe *h)
{
    free(h->limits);
    h->limits = NULL;
}
