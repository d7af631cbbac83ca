/* Splice: two directions, each a source and a destination. A direction moves what its source shows into its
 * destination until that is full, and goes on at the destination's `writable`.
 *
 * Invariant: a splice owns both pipes from kt_splice until it ends them itself, and it ends them exactly
 * once: both closed when both directions came to their end, both reset when one was cut short. `done` comes
 * from a turn hook, so never from inside a pipe event or kt_splice. */
#include "link/splice.h"
#include <stdlib.h>
#include "io/io.h"

struct direction {
    struct kt_splice *splice;
    struct kt_pipe *from, *to;
    uint64_t bytes;
    bool ended; /* nothing more will be moved */
};

struct kt_splice {
    struct kt_io *io;
    struct direction ab, ba;
    struct kt_splice_opts opts;
    struct kt_timer timer; /* idle and linger: lazily checked against `moved` */
    struct kt_turn turn;   /* ends the splice */
    uint64_t started, moved;
    bool lingering; /* one direction ended and its end cannot be carried over */
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

/* After how long without a byte moved the splice ends; 0: never. */
static uint64_t patience(const struct kt_splice *s)
{
    return s->lingering ? s->opts.linger_us : s->opts.idle_us;
}

static void arm(struct kt_splice *s)
{
    uint64_t quiet = patience(s);
    kt_io_timer_set(s->io, &s->timer, quiet ? s->moved + quiet : KT_TIME_NEVER);
}

static void on_timer(void *ctx)
{
    struct kt_splice *s = ctx;
    /* a peer may be heard, and found able, only after we asked */
    if (s->lingering && kt_pipe_half_close(s->ab.ended ? s->ab.to : s->ba.to)) s->lingering = false;
    if (patience(s) == 0) return;
    if (kt_io_now(s->io) < s->moved + patience(s))
        arm(s); /* bytes moved since: the timer is not touched for each of them */
    else
        finish(s, s->lingering ? 0 : KT_EIDLE);
}

static void end_direction(struct direction *d)
{
    struct kt_splice *s = d->splice;
    struct direction *other = d == &s->ab ? &s->ba : &s->ab;
    d->ended = true;
    if (other->ended || kt_pipe_gone(d->from)) {
        finish(s, 0);
        return;
    }
    kt_pipe_shutdown(
        d->to); /* where it cannot be carried, it is held back until close, or until the peer is found able */
    if (kt_pipe_half_close(d->to)) return;
    if (s->opts.linger_us == 0) {
        finish(s, 0);
    } else {
        s->lingering = true;
        s->moved = kt_io_now(s->io);
        arm(s);
    }
}

static void move(struct direction *d)
{
    struct kt_splice *s = d->splice;
    struct kt_iov iov[8];
    while (!d->ended && !s->over) {
        size_t pieces = kt_pipe_peek(d->from, iov, sizeof iov / sizeof iov[0]);
        size_t moved = 0;
        bool full = false;
        for (size_t i = 0; i < pieces && !full; i++) {
            size_t n = kt_pipe_write(d->to, iov[i].data, iov[i].len);
            moved += n;
            full = n < iov[i].len;
        }
        if (moved) {
            d->bytes += moved;
            s->moved = kt_io_now(s->io);
            kt_pipe_consume(d->from, moved);
        }
        if (full) {
            if (kt_pipe_gone(d->to)) end_direction(d); /* what is left can reach nobody */
            return;
        }
        if (pieces == 0) {
            if (kt_pipe_eof(d->from))
                end_direction(d);
            else if (kt_pipe_gone(d->from))
                finish(s, KT_ERESET); /* it broke before anyone listened */
            return;
        }
    }
}

static void a_readable(void *ctx)
{
    struct kt_splice *s = ctx;
    move(&s->ab);
    /* a peer that closed both directions at once leaves nothing to wait for on the way back */
    if (!s->over && kt_pipe_gone(s->ab.from) && s->ab.ended) finish(s, 0);
}

static void b_readable(void *ctx)
{
    struct kt_splice *s = ctx;
    move(&s->ba);
    if (!s->over && kt_pipe_gone(s->ba.from) && s->ba.ended) finish(s, 0);
}

static void a_writable(void *ctx)
{
    move(&((struct kt_splice *)ctx)->ba);
}

static void b_writable(void *ctx)
{
    move(&((struct kt_splice *)ctx)->ab);
}

/* One side broke. What it had delivered is still written to the other (move takes all there is); what the
 * other cannot take now is lost with it. */
static void a_closed(void *ctx, int code)
{
    struct kt_splice *s = ctx;
    move(&s->ab);
    finish(s, code);
}

static void b_closed(void *ctx, int code)
{
    struct kt_splice *s = ctx;
    move(&s->ba);
    finish(s, code);
}

static const struct kt_pipe_events a_events = {a_readable, a_writable, a_closed};
static const struct kt_pipe_events b_events = {b_readable, b_writable, b_closed};

static void release(struct kt_splice *s)
{
    kt_io_timer_cancel(s->io, &s->timer);
    kt_io_turn_cancel(&s->turn);
    free(s);
}

static void on_turn(void *ctx)
{
    struct kt_splice *s = ctx;
    if (!s->over) { /* the first turn: move what had arrived before anyone listened */
        move(&s->ab);
        move(&s->ba);
        return;
    }
    if (s->code == 0) {
        kt_pipe_close(s->ab.from);
        kt_pipe_close(s->ab.to);
    } else {
        kt_pipe_reset(s->ab.from, s->code);
        kt_pipe_reset(s->ab.to, s->code);
    }
    const struct kt_splice_result result = {
        .a_to_b = s->ab.bytes,
        .b_to_a = s->ba.bytes,
        .duration_us = kt_io_now(s->io) - s->started,
        .code = s->code,
    };
    void (*done)(void *, const struct kt_splice_result *) = s->done;
    void *done_ctx = s->ctx;
    release(s);
    done(done_ctx, &result);
}

int kt_splice(struct kt_io *io, struct kt_pipe *a, struct kt_pipe *b, const struct kt_splice_opts *opts,
    void (*done)(void *ctx, const struct kt_splice_result *result), void *ctx, struct kt_splice **out)
{
    struct kt_splice *s = calloc(1, sizeof *s);
    if (!s) return KT_ENOMEM;
    s->io = io;
    s->opts = *opts;
    s->done = done;
    s->ctx = ctx;
    s->ab = (struct direction){.splice = s, .from = a, .to = b};
    s->ba = (struct direction){.splice = s, .from = b, .to = a};
    s->started = s->moved = kt_io_now(io);
    kt_timer_init(&s->timer, on_timer, s);
    kt_turn_init(&s->turn, on_turn, s);
    kt_pipe_listen(a, &a_events, s);
    kt_pipe_listen(b, &b_events, s);
    arm(s);
    kt_io_turn(io, &s->turn);
    *out = s;
    return 0;
}

void kt_splice_cancel(struct kt_splice *s)
{
    struct kt_pipe *a = s->ab.from, *b = s->ab.to;
    release(s);
    kt_pipe_reset(a, KT_ECANCELED);
    kt_pipe_reset(b, KT_ECANCELED);
}
