/* Splice: two directions, each with a source and a destination. A direction moves what its source shows into
 * its destination until that is full, and continues at the destination's `writable`.
 *
 * Invariant: a splice owns both pipes from kt_splice on, and ends them exactly once: closes both when both
 * directions have ended, resets both when it is cut short. If one breaks, its remaining bytes are first moved
 * to the other, which is then cut. `done` is called from a turn hook, never from inside a pipe event or
 * kt_splice. While a direction waits for its rate, its timer is armed. */
#include "link/splice.h"
#include <stdlib.h>
#include "base/bucket.h"
#include "io/io.h"

struct direction {
    struct kt_splice *splice;
    struct kt_pipe *from, *to;
    uint64_t bytes;
    struct kt_bucket bucket;
    struct kt_timer timer; /* the bucket has refilled */
    bool ended;            /* moves nothing more */
};

struct kt_splice {
    struct kt_io *io;
    struct direction ab, ba;
    struct kt_splice_opts opts;
    struct kt_timer timer; /* idle and linger, checked lazily against `moved`; total */
    struct kt_turn turn;   /* ends the splice */
    uint64_t started, moved;
    bool lingering;         /* one direction has ended and the other side cannot be told */
    struct direction *rest; /* from a side that broke, and not empty yet; NULL: none */
    int broke;              /* ... why it broke; 0: none did */
    bool stuck;             /* ... and its destination accepts nothing */
    bool over;
    int code;
    void (*done)(void *ctx, const struct kt_splice_result *result);
    void *ctx;
};

static void finish(struct kt_splice *s, int code)
{
    if (s->over) return;
    s->over = true;
    s->code = code;
    kt_io_turn(s->io, &s->turn);
}

static uint64_t shorter(uint64_t a, uint64_t b)
{
    return a && a < b ? a : b;
}

/* The time without a moved byte after which the splice ends; 0: never. */
static uint64_t patience(const struct kt_splice *s)
{
    if (s->rest) return shorter(s->opts.idle_us, KT_SPLICE_REST_US);
    if (!s->lingering) return s->opts.idle_us;
    const struct direction *back = s->ab.ended ? &s->ba : &s->ab;
    return back->bytes && s->opts.settle_us < s->opts.linger_us ? s->opts.settle_us : s->opts.linger_us;
}

static void arm(struct kt_splice *s)
{
    const uint64_t quiet = patience(s), total = s->opts.total_us;
    const uint64_t idle_at = quiet ? s->moved + quiet : KT_TIME_NEVER;
    const uint64_t total_at = total ? s->started + total : KT_TIME_NEVER;
    kt_io_timer_set(s->io, &s->timer, idle_at < total_at ? idle_at : total_at);
}

/* The destination does not accept the rest from a side that broke: stop waiting, and tell it of the break. */
static void give_up_rest(struct kt_splice *s)
{
    const bool idle = s->opts.idle_us && s->opts.idle_us < KT_SPLICE_REST_US;
    s->stuck = true;
    finish(s, idle ? KT_EIDLE : s->broke);
}

static void on_timer(void *ctx)
{
    struct kt_splice *s = ctx;
    const uint64_t now = kt_io_now(s->io);
    if (s->opts.total_us && now >= s->started + s->opts.total_us) {
        finish(s, KT_ETOTAL);
        return;
    }
    if (s->lingering) {
        const struct kt_pipe *to = s->ab.ended ? s->ab.to : s->ba.to;
        /* we may only have learnt after shutdown that the peer supports half-close */
        if (kt_pipe_half_close(to)) s->lingering = false;
        if (kt_pipe_young(to)) s->moved = now; /* it cannot have answered yet */
    }
    if (patience(s) == 0 || now < s->moved + patience(s))
        arm(s); /* bytes have moved since; the timer is not rearmed for each */
    else if (s->rest)
        give_up_rest(s);
    else
        finish(s, s->lingering ? 0 : KT_EIDLE);
}

static struct direction *reverse(struct direction *d)
{
    return d == &d->splice->ab ? &d->splice->ba : &d->splice->ab;
}

static void move(struct direction *d);

/* The source has ended: pass that on if possible. */
static void end_direction(struct direction *d)
{
    struct kt_splice *s = d->splice;
    d->ended = true;
    if (reverse(d)->ended || kt_pipe_gone(d->from)) {
        finish(s, 0);
        return;
    }
    if (kt_pipe_gone(d->to)) { /* nobody to tell; the other direction ends by itself */
        move(reverse(d));
        return;
    }
    /* Without half-close it takes effect at close, or when the peer turns out to support it. */
    kt_pipe_shutdown(d->to);
    if (kt_pipe_half_close(d->to)) return;
    if (s->opts.linger_us == 0) {
        finish(s, 0);
    } else {
        s->lingering = true;
        s->moved = kt_io_now(s->io);
        arm(s);
    }
}

/* The destination is gone and nobody gets what is left. Everything it had sent has arrived, so the other
 * direction ends by itself. */
static void give_up(struct direction *d)
{
    d->ended = true;
    if (reverse(d)->ended)
        finish(d->splice, d->splice->broke);
    else
        move(reverse(d));
}

/* The source shows nothing, for now or for good. */
static void run_dry(struct direction *d)
{
    struct kt_splice *s = d->splice;
    if (s->rest)
        finish(s, s->broke);
    else if (kt_pipe_eof(d->from))
        end_direction(d);
    else if (kt_pipe_gone(d->from))
        finish(s, KT_ERESET); /* it broke before anyone listened */
}

/* Bytes that the rate allows now. The rest from a side that broke is not limited. */
static size_t allowance(struct direction *d)
{
    return d->splice->rest ? SIZE_MAX : kt_bucket_room(&d->bucket, kt_io_now(d->splice->io));
}

static void move(struct direction *d)
{
    struct kt_splice *s = d->splice;
    struct kt_iov iov[8];
    while (!d->ended && !s->over) {
        size_t pieces = kt_pipe_peek(d->from, iov, sizeof iov / sizeof iov[0]);
        size_t moved = 0, room = allowance(d);
        bool full = false;
        for (size_t i = 0; i < pieces && !full && moved < room; i++) {
            size_t offered = iov[i].len < room - moved ? iov[i].len : room - moved;
            size_t n = kt_pipe_write(d->to, iov[i].data, offered);
            moved += n;
            full = n < offered;
        }
        if (moved) {
            bool first = d->bytes == 0;
            d->bytes += moved;
            kt_bucket_take(&d->bucket, moved);
            s->moved = kt_io_now(s->io);
            if (first && s->lingering) arm(s); /* settle_us applies now */
            kt_pipe_consume(d->from, moved);
        }
        if (full) {
            if (kt_pipe_gone(d->to)) give_up(d);
            return;
        }
        if (pieces == 0) {
            run_dry(d);
            return;
        }
        if (moved == room) {
            if (!d->timer.armed) kt_io_timer_set(s->io, &d->timer, kt_bucket_ready(&d->bucket));
            return;
        }
    }
}

static void on_rate(void *ctx)
{
    move(ctx);
}

static void on_readable(struct direction *d)
{
    move(d);
    /* if the peer has closed the other direction too, nothing more can come from there */
    if (d->ended && kt_pipe_gone(d->from)) finish(d->splice, d->splice->broke);
}

static void a_readable(void *ctx)
{
    on_readable(&((struct kt_splice *)ctx)->ab);
}

static void b_readable(void *ctx)
{
    on_readable(&((struct kt_splice *)ctx)->ba);
}

static void a_writable(void *ctx)
{
    move(&((struct kt_splice *)ctx)->ba);
}

static void b_writable(void *ctx)
{
    move(&((struct kt_splice *)ctx)->ab);
}

/* The source of d broke: nothing can be written to it, and no more will arrive from it. */
static void break_off(struct direction *d, int code)
{
    struct kt_splice *s = d->splice;
    reverse(d)->ended = true;
    if (s->rest) { /* the other side broke first: the rest has nowhere to go */
        finish(s, s->broke);
        return;
    }
    s->rest = d;
    s->broke = code;
    s->lingering = false;
    s->moved = kt_io_now(s->io);
    arm(s);
    if (d->ended)
        finish(s, code);
    else
        move(d);
}

static void a_closed(void *ctx, int code)
{
    break_off(&((struct kt_splice *)ctx)->ab, code);
}

static void b_closed(void *ctx, int code)
{
    break_off(&((struct kt_splice *)ctx)->ba, code);
}

static const struct kt_pipe_events a_events = {a_readable, a_writable, a_closed};
static const struct kt_pipe_events b_events = {b_readable, b_writable, b_closed};

static void release(struct kt_splice *s)
{
    kt_io_timer_cancel(s->io, &s->timer);
    kt_io_timer_cancel(s->io, &s->ab.timer);
    kt_io_timer_cancel(s->io, &s->ba.timer);
    kt_io_turn_cancel(&s->turn);
    free(s);
}

static void on_turn(void *ctx)
{
    struct kt_splice *s = ctx;
    if (!s->over) { /* the first turn: move what arrived before we listened */
        move(&s->ab);
        move(&s->ba);
        return;
    }
    struct kt_err cause;
    const bool known = s->rest && kt_pipe_why(s->rest->from, &cause);
    if (s->code == 0) {
        kt_pipe_close(s->ab.from);
        kt_pipe_close(s->ab.to);
    } else if (s->rest) {
        const int reason = known ? cause.code : s->code;
        const char *text = known ? cause.text : NULL;
        kt_pipe_reset(s->rest->from, s->code);
        if (s->stuck)
            kt_pipe_abort(s->rest->to, reason, text);
        else
            kt_pipe_cut(s->rest->to, reason, text);
    } else {
        kt_pipe_reset(s->ab.from, s->code);
        kt_pipe_reset(s->ab.to, s->code);
    }
    const struct kt_splice_result result = {
        .a_to_b = s->ab.bytes,
        .b_to_a = s->ba.bytes,
        .duration_us = kt_io_now(s->io) - s->started,
        .code = s->code,
        .cause = known ? &cause : NULL,
    };
    void (*done)(void *, const struct kt_splice_result *) = s->done;
    void *done_ctx = s->ctx;
    release(s);
    done(done_ctx, &result);
}

/* Rearms a pending timer for the new rate. */
static void set_rate(struct direction *d, uint64_t rate)
{
    struct kt_io *io = d->splice->io;
    if (rate == d->bucket.rate) return;
    kt_bucket_set(&d->bucket, rate, 0, kt_io_now(io));
    if (d->timer.armed) kt_io_timer_set(io, &d->timer, kt_bucket_ready(&d->bucket));
}

void kt_splice_set(struct kt_splice *s, const struct kt_splice_opts *opts)
{
    s->opts = *opts;
    set_rate(&s->ab, opts->rate_ab);
    set_rate(&s->ba, opts->rate_ba);
    arm(s);
}

int kt_splice(struct kt_io *io, struct kt_pipe *a, struct kt_pipe *b, const struct kt_splice_opts *opts,
    void (*done)(void *ctx, const struct kt_splice_result *result), void *ctx, struct kt_splice **out)
{
    struct kt_splice *s = calloc(1, sizeof *s);
    if (!s) return KT_ENOMEM;
    s->io = io;
    s->done = done;
    s->ctx = ctx;
    s->ab = (struct direction){.splice = s, .from = a, .to = b};
    s->ba = (struct direction){.splice = s, .from = b, .to = a};
    s->started = s->moved = kt_io_now(io);
    kt_timer_init(&s->timer, on_timer, s);
    kt_timer_init(&s->ab.timer, on_rate, &s->ab);
    kt_timer_init(&s->ba.timer, on_rate, &s->ba);
    kt_turn_init(&s->turn, on_turn, s);
    kt_splice_set(s, opts);
    kt_pipe_listen(a, &a_events, s);
    kt_pipe_listen(b, &b_events, s);
    kt_io_turn(io, &s->turn);
    *out = s;
    return 0;
}

struct kt_pipe *kt_splice_pipe(const struct kt_splice *s, bool b)
{
    return b ? s->ba.from : s->ab.from;
}

void kt_splice_replace(struct kt_splice *s, bool b, struct kt_pipe *by)
{
    if (b)
        s->ba.from = s->ab.to = by;
    else
        s->ab.from = s->ba.to = by;
}

int kt_splice_code(const struct kt_splice *s, bool b)
{
    return s->rest == (b ? &s->ba : &s->ab) ? s->broke : 0;
}

void kt_splice_broke(struct kt_splice *s, bool b, int code)
{
    break_off(b ? &s->ba : &s->ab, code);
}

void kt_splice_cancel(struct kt_splice *s, int reason, const char *text)
{
    struct kt_pipe *a = s->ab.from, *b = s->ab.to;
    release(s);
    kt_pipe_abort(a, reason, text);
    kt_pipe_abort(b, reason, text);
}
