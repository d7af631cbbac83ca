/* Enforces rates and time limits on a pipe by wrapping it.
 *
 * Invariant: while an empty bucket holds bytes back (held: arrivals; short_write: a writer), the timer of
 * that direction is armed and will raise its event. An event may close the pipe; its memory is freed at the
 * end of the turn. */
#include "link/shaper.h"
#include <stdlib.h>
#include "base/bytes.h"
#include "base/bucket.h"
#include "io/io.h"
#include "link/stream.h"

struct flow {
    struct kt_bucket bucket;
    struct kt_timer timer; /* the bucket has refilled */
};

struct kt_shaper {
    struct kt_pipe pipe;
    struct kt_pipe *inner; /* NULL: ended */
    struct kt_io *io;
    struct flow in, out;
    uint64_t idle_us, total_us;
    uint64_t born, moved;
    struct kt_timer clock; /* idle and total: checked when due, not for each byte */
    struct kt_turn turn;   /* reports a break; frees after close */
    int code;              /* why it broke, 0: it did not */
    bool told;             /* ... and the user was told */
    bool closed;           /* by the user */
    bool held;             /* the bucket holds back bytes that have arrived */
    bool short_write;
};

static struct kt_shaper *of(const struct kt_pipe *p)
{
    return KT_CONTAINER(p, struct kt_shaper, pipe);
}

static void stop(struct kt_shaper *s)
{
    kt_io_timer_cancel(s->io, &s->in.timer);
    kt_io_timer_cancel(s->io, &s->out.timer);
    kt_io_timer_cancel(s->io, &s->clock);
    s->inner = NULL;
}

/* ---- breaking ---- */

static void on_turn(void *ctx)
{
    struct kt_shaper *s = ctx;
    if (s->closed) {
        free(s);
        return;
    }
    if (s->told || !s->pipe.events) return; /* a later listener is told at its first peek or write */
    s->told = true;
    s->pipe.events->closed(s->pipe.ctx, s->code);
}

static void tell_late(struct kt_shaper *s)
{
    if (s->code && !s->told) kt_io_turn(s->io, &s->turn);
}

static void break_off(struct kt_shaper *s, int code)
{
    if (s->code) return;
    s->code = code;
    kt_io_turn(s->io, &s->turn);
}

/* ---- time limits ---- */

static uint64_t deadline(const struct kt_shaper *s)
{
    const uint64_t idle = s->idle_us ? s->moved + s->idle_us : KT_TIME_NEVER;
    const uint64_t total = s->total_us ? s->born + s->total_us : KT_TIME_NEVER;
    return idle < total ? idle : total;
}

static void on_clock(void *ctx)
{
    struct kt_shaper *s = ctx;
    const uint64_t now = kt_io_now(s->io);
    if (now < deadline(s)) {
        kt_io_timer_set(s->io, &s->clock, deadline(s));
        return;
    }
    const int code = s->total_us && now >= s->born + s->total_us ? KT_ETOTAL : KT_EIDLE;
    struct kt_pipe *inner = s->inner;
    stop(s);
    kt_pipe_reset(inner, code);
    break_off(s, code);
}

/* ---- as a pipe ---- */

static void passed(struct kt_shaper *s, struct flow *f, size_t n)
{
    kt_bucket_take(&f->bucket, n);
    s->moved = kt_io_now(s->io);
}

static void wait_for(struct kt_shaper *s, struct flow *f)
{
    if (!f->timer.armed) kt_io_timer_set(s->io, &f->timer, kt_bucket_ready(&f->bucket));
}

static size_t on_peek(struct kt_pipe *p, struct kt_iov *iov, size_t max)
{
    struct kt_shaper *s = of(p);
    tell_late(s);
    s->held = false;
    if (!s->inner) return 0;
    const size_t pieces = kt_pipe_peek(s->inner, iov, max);
    if (pieces == 0 || s->code) return pieces;
    size_t room = kt_bucket_room(&s->in.bucket, kt_io_now(s->io));
    for (size_t i = 0; i < pieces; i++) {
        if (room == 0) {
            s->held = i == 0;
            wait_for(s, &s->in);
            return i;
        }
        iov[i].len = kt_min_size(iov[i].len, room);
        room -= iov[i].len;
    }
    return pieces;
}

static void on_consume(struct kt_pipe *p, size_t n)
{
    struct kt_shaper *s = of(p);
    passed(s, &s->in, n);
    kt_pipe_consume(s->inner, n);
}

static bool on_eof(const struct kt_pipe *p)
{
    return of(p)->inner && kt_pipe_eof(of(p)->inner);
}

static size_t on_write(struct kt_pipe *p, const void *data, size_t n)
{
    struct kt_shaper *s = of(p);
    tell_late(s);
    if (!s->inner || s->code) return 0;
    const size_t room = kt_bucket_room(&s->out.bucket, kt_io_now(s->io));
    const size_t offered = kt_min_size(n, room);
    const size_t done = offered ? kt_pipe_write(s->inner, data, offered) : 0;
    if (done) passed(s, &s->out, done);
    s->short_write = done == offered && done < n; /* otherwise the inner pipe reports room */
    if (s->short_write) wait_for(s, &s->out);
    return done;
}

static void on_shutdown(struct kt_pipe *p)
{
    if (of(p)->inner) kt_pipe_shutdown(of(p)->inner);
}

static bool on_half_close(const struct kt_pipe *p)
{
    return of(p)->inner && kt_pipe_half_close(of(p)->inner);
}

/* To a reader, a pipe that is gone and shows nothing has broken unnoticed. So it is not gone while bytes are
 * held back. */
static bool on_gone(const struct kt_pipe *p)
{
    const struct kt_shaper *s = of(p);
    return s->inner && !s->code && !s->held && kt_pipe_gone(s->inner);
}

/* The user lets go of the shaper. Returns the inner pipe, or NULL. */
static struct kt_pipe *let_go(struct kt_shaper *s)
{
    struct kt_pipe *inner = s->inner;
    s->closed = true;
    s->pipe.events = NULL;
    if (inner) stop(s);
    kt_io_turn(s->io, &s->turn);
    return inner;
}

static void on_reset(struct kt_pipe *p, int reason, const char *text)
{
    struct kt_pipe *inner = let_go(of(p));
    if (inner) kt_pipe_abort(inner, reason, text);
}

static void on_close(struct kt_pipe *p)
{
    struct kt_pipe *inner = let_go(of(p));
    if (inner) kt_pipe_close(inner);
}

static void on_cut(struct kt_pipe *p, int reason, const char *text)
{
    struct kt_pipe *inner = let_go(of(p));
    if (inner) kt_pipe_cut(inner, reason, text);
}

static bool on_young(const struct kt_pipe *p)
{
    return of(p)->inner && kt_pipe_young(of(p)->inner);
}

static bool on_why(const struct kt_pipe *p, struct kt_err *out)
{
    return of(p)->inner && kt_pipe_why(of(p)->inner, out);
}

static void on_stream_set(struct kt_pipe *p, const struct kt_stream_policy *policy)
{
    if (of(p)->inner) kt_stream_set(of(p)->inner, policy);
}

static void on_stream_facts(const struct kt_pipe *p, struct kt_stream_facts *out)
{
    if (of(p)->inner) kt_stream_facts(of(p)->inner, out);
}

static const struct kt_stream_ops stream_ops = {on_stream_set, on_stream_facts};

#define PIPE_OPS                                                                                             \
    .peek = on_peek, .consume = on_consume, .eof = on_eof, .write = on_write, .shutdown = on_shutdown,       \
    .half_close = on_half_close, .reset = on_reset, .close = on_close, .gone = on_gone, .cut = on_cut,       \
    .young = on_young, .why = on_why

static const struct kt_pipe_ops conn_ops = {PIPE_OPS};
static const struct kt_pipe_ops pipe_ops = {PIPE_OPS, .stream = &stream_ops};

/* ---- the inner pipe's events ---- */

static void inner_readable(void *ctx)
{
    struct kt_shaper *s = ctx;
    if (s->pipe.events) s->pipe.events->readable(s->pipe.ctx);
}

static void inner_writable(void *ctx)
{
    struct kt_shaper *s = ctx;
    if (s->pipe.events) s->pipe.events->writable(s->pipe.ctx);
}

static void inner_closed(void *ctx, int code)
{
    break_off(ctx, code);
}

static const struct kt_pipe_events inner_events = {inner_readable, inner_writable, inner_closed};

/* Wakes a writer too: its peer may have gone while on_gone could not say so. */
static void on_in(void *ctx)
{
    struct kt_shaper *s = ctx;
    const bool ask = kt_pipe_gone(s->inner);
    s->held = false;
    if (s->pipe.events) s->pipe.events->readable(s->pipe.ctx);
    if (ask && s->pipe.events) s->pipe.events->writable(s->pipe.ctx);
}

static void on_out(void *ctx)
{
    struct kt_shaper *s = ctx;
    if (!s->short_write) return;
    s->short_write = false;
    if (s->pipe.events) s->pipe.events->writable(s->pipe.ctx);
}

/* ---- the maker's side ---- */

int kt_shaper_new(struct kt_io *io, struct kt_pipe *inner, uint64_t born_us, int code, struct kt_shaper **out)
{
    struct kt_shaper *s = calloc(1, sizeof *s);
    if (!s) return KT_ENOMEM;
    s->pipe = *inner; /* with its listener and byte counts */
    s->pipe.ops = inner->ops->stream ? &pipe_ops : &conn_ops;
    s->inner = inner;
    s->io = io;
    s->born = born_us;
    s->code = code;
    s->told = code != 0;
    s->moved = kt_io_now(io);
    kt_timer_init(&s->in.timer, on_in, s);
    kt_timer_init(&s->out.timer, on_out, s);
    kt_timer_init(&s->clock, on_clock, s);
    kt_turn_init(&s->turn, on_turn, s);
    kt_pipe_listen(inner, &inner_events, s);
    *out = s;
    return 0;
}

struct kt_pipe *kt_shaper_pipe(struct kt_shaper *s)
{
    return &s->pipe;
}

bool kt_shaper_alive(const struct kt_shaper *s)
{
    return s->inner != NULL;
}

void kt_shaper_limits(const struct kt_shaper *s, struct kt_shaper_limits *out)
{
    *out = (struct kt_shaper_limits){.rate_in = s->in.bucket.rate,
        .rate_out = s->out.bucket.rate,
        .idle_us = s->idle_us,
        .total_us = s->total_us};
}

/* Rearms a pending timer for the new rate; with no rate it fires at once. */
static void set_rate(struct kt_shaper *s, struct flow *f, uint64_t rate)
{
    kt_bucket_set(&f->bucket, rate, 0, kt_io_now(s->io));
    if (f->timer.armed) kt_io_timer_set(s->io, &f->timer, kt_bucket_ready(&f->bucket));
}

void kt_shaper_set(struct kt_shaper *s, const struct kt_shaper_limits *limits)
{
    if (!s->inner) return;
    if (limits->rate_in != s->in.bucket.rate) set_rate(s, &s->in, limits->rate_in);
    if (limits->rate_out != s->out.bucket.rate) set_rate(s, &s->out, limits->rate_out);
    s->idle_us = limits->idle_us;
    s->total_us = limits->total_us;
    kt_io_timer_set(s->io, &s->clock, deadline(s));
}
