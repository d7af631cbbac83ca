/* Splice: two directions, each with a source and a destination. A direction moves what its source shows into
 * its destination until that is full, and continues at the destination's `writable`.
 *
 * It holds no bytes: a conn as source reads no more than the destination takes, and little more than the rates allow.
 *
 * Invariant: a splice owns both pipes from kt_splice on, and ends them exactly once: closes both when both
 * directions have ended, resets both when it is cut short. If one breaks, its remaining bytes are first moved
 * to the other, which is then cut. `done` is called from a turn hook, never from inside a pipe event or
 * kt_splice. The timer is armed for whichever comes first: a time limit, or a direction that may move again. */
#include "link/splice.h"
#include <stdlib.h>
#include "base/bytes.h"
#include "io/io.h"
#include "link/limits.h"
#include "link/tee.h"

struct direction {
    struct kt_splice *splice;
    struct kt_pipe *from, *to;
    struct kt_tee *tee; /* NULL: none */
    uint64_t bytes;
    uint64_t moved_at;      /* when it last moved a byte; at first, when it began */
    uint64_t resume_at;     /* when the rates allow more; KT_TIME_NEVER: it does not wait for them */
    enum kt_limits_way way; /* in the splice's own limits */
    bool shared;            /* it has shares */
    bool limited;           /* it has shares, or a rate of its own or of its pipes */
    bool ended;             /* moves nothing more */
};

struct kt_splice {
    struct kt_io *io;
    struct direction ab, ba;
    struct kt_limits own;         /* its idle_us is `patience` */
    struct kt_limits *of_pipe[2]; /* of a, of b; NULL: none */
    uint64_t idle_us, linger_us, settle_us;
    struct kt_timer timer;  /* time limits and linger, checked lazily against what moved; rates */
    struct kt_turn turn;    /* ends the splice */
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
    if (s->rest) return shorter(s->idle_us, KT_SPLICE_REST_US);
    if (!s->lingering) return s->idle_us;
    const struct direction *back = s->ab.ended ? &s->ba : &s->ab;
    return back->bytes && s->settle_us < s->linger_us ? s->settle_us : s->linger_us;
}

static void arm(struct kt_splice *s)
{
    s->own.idle_us = patience(s);
    const uint64_t of_pipes = kt_min64(kt_limits_deadline(s->of_pipe[0]), kt_limits_deadline(s->of_pipe[1]));
    const uint64_t of_rates = kt_min64(s->ab.resume_at, s->ba.resume_at);
    kt_io_timer_set(s->io, &s->timer, kt_min64(kt_limits_deadline(&s->own), kt_min64(of_pipes, of_rates)));
}

/* The destination does not accept the rest from a side that broke: stop waiting, and tell it of the break. */
static void give_up_rest(struct kt_splice *s)
{
    const bool idle = s->idle_us && s->idle_us < KT_SPLICE_REST_US;
    s->stuck = true;
    finish(s, idle ? KT_EIDLE : s->broke);
}

/* A time limit of d's source is up: what it still holds is not moved. */
static void expire(struct direction *d, int code)
{
    struct kt_splice *s = d->splice;
    if (!s->rest) {
        s->rest = d;
        s->broke = code;
    }
    finish(s, s->broke);
}

/* A time limit of the splice is up, or its patience. */
static void expire_all(struct kt_splice *s, int code)
{
    if (code == KT_EIDLE && s->rest)
        give_up_rest(s);
    else
        finish(s, code == KT_EIDLE && s->lingering ? 0 : code);
}

static void move(struct direction *d);

static void resume(struct direction *d, uint64_t now)
{
    if (now < d->resume_at) return;
    d->resume_at = KT_TIME_NEVER;
    move(d);
}

static void on_timer(void *ctx)
{
    struct kt_splice *s = ctx;
    const uint64_t now = kt_io_now(s->io);
    int code;
    if (s->lingering) {
        const struct kt_pipe *to = s->ab.ended ? s->ab.to : s->ba.to;
        /* we may only have learnt after shutdown that the peer supports half-close */
        if (kt_pipe_half_close(to)) s->lingering = false;
        /* it cannot have answered yet, or its answer may be here */
        if (kt_pipe_young(to) || kt_pipe_behind(to)) s->own.moved = now;
    }
    s->own.idle_us = patience(s);
    if ((code = kt_limits_expired(&s->own, now))) {
        expire_all(s, code);
    } else if ((code = kt_limits_expired(s->of_pipe[0], now))) {
        expire(&s->ab, code);
    } else if ((code = kt_limits_expired(s->of_pipe[1], now))) {
        expire(&s->ba, code);
    } else {
        resume(&s->ab, now);
        resume(&s->ba, now);
        arm(s); /* bytes have moved since; the timer is not rearmed for each */
    }
}

static struct direction *reverse(struct direction *d)
{
    return d == &d->splice->ab ? &d->splice->ba : &d->splice->ab;
}

/* The source has ended: pass that on if possible. */
static void end_direction(struct direction *d)
{
    struct kt_splice *s = d->splice;
    d->ended = true;
    kt_tee_tell(d->tee);
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
    if (s->linger_us == 0) {
        finish(s, 0);
    } else {
        s->lingering = true;
        s->own.moved = kt_io_now(s->io);
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

/* The limits of its pipes. */
static struct kt_limits *from_limits(const struct direction *d)
{
    return d->splice->of_pipe[d == &d->splice->ba];
}

static struct kt_limits *to_limits(const struct direction *d)
{
    return d->splice->of_pipe[d == &d->splice->ab];
}

enum { SHARES = 3 };

/* The shares of a direction, each limit once: that of `to` first, if any; NULL: none. */
struct shares {
    struct kt_share *of[SHARES];
};

static struct shares shares_held(const struct direction *d)
{
    struct shares s = {{NULL, NULL, NULL}};
    if (!d->shared) return s;
    s.of[0] = kt_limits_shared(to_limits(d), KT_LIMITS_OUT);
    s.of[1] = kt_limits_shared(from_limits(d), KT_LIMITS_IN);
    s.of[2] = kt_limits_shared(&d->splice->own, d->way);
    for (size_t i = 1; i < SHARES; i++)
        for (size_t j = 0; j < i; j++)
            if (s.of[j] && kt_share_limit(s.of[j]) == kt_share_limit(s.of[i])) s.of[i] = NULL;
    return s;
}

/* Those that bind it: what is left of a side that broke is bound by its destination's only. */
static struct shares shares_of(const struct direction *d)
{
    struct shares s = shares_held(d);
    if (d->splice->rest) s.of[1] = s.of[2] = NULL;
    return s;
}

/* Bytes that the shared limits allow now. */
static size_t shared_room(const struct direction *d)
{
    const struct shares s = shares_of(d);
    size_t room = SIZE_MAX;
    for (size_t i = 0; i < SHARES; i++) room = kt_min_size(room, kt_share_room(s.of[i]));
    return room;
}

static void take_shares(const struct direction *d, size_t n)
{
    const struct shares s = shares_of(d);
    for (size_t i = 0; i < SHARES; i++) kt_share_take(s.of[i], n);
}

/* Credit is kept only by a direction that waits for another limit. */
static void give_back(const struct direction *d)
{
    const struct shares s = shares_held(d);
    for (size_t i = 0; i < SHARES; i++)
        if (kt_share_waits(s.of[i])) return;
    for (size_t i = 0; i < SHARES; i++) kt_share_give_back(s.of[i]);
}

static void leave_shares(const struct direction *d)
{
    if (!d->shared) return;
    const struct shares s = shares_held(d);
    for (size_t i = 0; i < SHARES; i++) kt_share_leave(s.of[i]);
}

static void on_share(void *ctx)
{
    move(ctx);
}

/* Waits for the first shared limit that allows nothing. */
static void wait_for_share(struct direction *d)
{
    const struct shares s = shares_of(d);
    for (size_t i = 0; i < SHARES; i++) {
        if (kt_share_room(s.of[i]) > 0) continue;
        kt_share_wait(s.of[i], on_share, d);
        return;
    }
}

/* Looks at its limits again after a change; it waits for no shared one. True if it had or has shared ones. */
static bool find_limits(struct direction *d)
{
    const struct kt_limits *own = &d->splice->own, *from = from_limits(d), *to = to_limits(d);
    const bool had = d->shared;
    d->shared = kt_limits_shared(to, KT_LIMITS_OUT) || kt_limits_shared(from, KT_LIMITS_IN) ||
                kt_limits_shared(own, d->way);
    d->limited = d->shared || kt_limits_rated(to, KT_LIMITS_OUT) || kt_limits_rated(from, KT_LIMITS_IN) ||
                 kt_limits_rated(own, d->way);
    return had || d->shared;
}

static size_t limited_allowance(const struct direction *d, uint64_t now)
{
    struct kt_splice *s = d->splice;
    const size_t to = kt_min_size(shared_room(d), kt_limits_room(to_limits(d), KT_LIMITS_OUT, now));
    if (s->rest) return to;
    const size_t from = kt_limits_room(from_limits(d), KT_LIMITS_IN, now);
    return kt_min_size(to, kt_min_size(from, kt_limits_room(&s->own, d->way, now)));
}

/* Bytes that the rates allow now. The rest from a side that broke is bound by its destination's only. */
static inline size_t allowance(const struct direction *d, uint64_t now)
{
    return d->limited ? limited_allowance(d, now) : SIZE_MAX;
}

static void charge(struct direction *d, size_t n, uint64_t now)
{
    kt_limits_moved(&d->splice->own, d->way, n, now);
    kt_limits_moved(from_limits(d), KT_LIMITS_IN, n, now);
    kt_limits_moved(to_limits(d), KT_LIMITS_OUT, n, now);
    if (d->shared) take_shares(d, n);
    d->moved_at = now;
}

/* When the slowest of its rates allows more. */
static uint64_t rates_ready(const struct direction *d)
{
    const struct kt_splice *s = d->splice;
    uint64_t at = kt_limits_ready(to_limits(d), KT_LIMITS_OUT);
    if (s->rest) return at;
    const uint64_t own = kt_limits_ready(&s->own, d->way);
    const uint64_t from = kt_limits_ready(from_limits(d), KT_LIMITS_IN);
    if (own > at) at = own;
    return from > at ? from : at;
}

/* Waits for what allows no more: a shared limit, or rates. */
static void wait_for_rates(struct direction *d)
{
    struct kt_splice *s = d->splice;
    if (shared_room(d) == 0) {
        wait_for_share(d);
        return;
    }
    d->resume_at = rates_ready(d);
    if (!s->timer.armed || d->resume_at < s->timer.at) kt_io_timer_set(s->io, &s->timer, d->resume_at);
}

/* Cuts the pieces down to `room` bytes; returns how many bytes they then are. */
static size_t trim(struct kt_iov *iov, size_t *pieces, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < *pieces && n < room; i++) {
        if (iov[i].len >= room - n) {
            iov[i].len = room - n;
            *pieces = i + 1;
        }
        n += iov[i].len;
    }
    return n;
}

/* For kt_pipe_events.room of the source; after 0, the destination's `writable` leads to the next peek. A source whose
 * rate is used up reads a little ahead, to have bytes when the rate allows more. */
static size_t room(struct direction *d)
{
    if (d->ended || d->splice->over) return 0;
    const size_t most = allowance(d, kt_io_now(d->splice->io));
    return kt_min_size(most > KT_CONN_AHEAD ? most : KT_CONN_AHEAD, kt_pipe_room(d->to));
}

static void move_some(struct direction *d)
{
    struct kt_splice *s = d->splice;
    struct kt_iov iov[KT_PIPE_PIECES];
    while (!d->ended && !s->over) {
        size_t pieces = kt_pipe_peek(d->from, iov, KT_PIPE_PIECES);
        const uint64_t now = kt_io_now(s->io);
        const size_t room = allowance(d, now), offered = trim(iov, &pieces, room);
        const size_t moved = offered ? kt_pipe_writev(d->to, iov, pieces) : 0;
        if (moved) {
            bool first = d->bytes == 0;
            d->bytes += moved;
            kt_tee_moved(d->tee, iov, moved);
            kt_tee_tell(reverse(d)->tee); /* the other side has answered what it saw */
            charge(d, moved, now);
            if (first && s->lingering) arm(s); /* settle_us applies now */
            kt_pipe_consume(d->from, moved);
        }
        if (moved < offered) {
            if (kt_pipe_gone(d->to)) give_up(d);
            return;
        }
        if (pieces == 0) {
            run_dry(d);
            return;
        }
        if (moved == room) {
            if (d->resume_at == KT_TIME_NEVER) wait_for_rates(d);
            return;
        }
    }
}

static void move(struct direction *d)
{
    move_some(d);
    if (d->shared) give_back(d);
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

static size_t a_room(void *ctx)
{
    return room(&((struct kt_splice *)ctx)->ab);
}

static size_t b_room(void *ctx)
{
    return room(&((struct kt_splice *)ctx)->ba);
}

/* Since when the destination of the rest accepts nothing, but late enough to leave KT_SPLICE_REST_LEAST_US. */
static uint64_t stuck_since(const struct direction *d)
{
    const uint64_t now = kt_io_now(d->splice->io), all = patience(d->splice);
    if (all <= KT_SPLICE_REST_LEAST_US || now <= all) return now;
    const uint64_t earliest = now - (all - KT_SPLICE_REST_LEAST_US);
    return d->moved_at > earliest ? d->moved_at : earliest;
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
    s->own.moved = stuck_since(d);
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

static const struct kt_pipe_events a_events = {
    .readable = a_readable, .writable = a_writable, .closed = a_closed, .room = a_room};
static const struct kt_pipe_events b_events = {
    .readable = b_readable, .writable = b_writable, .closed = b_closed, .room = b_room};

static void release(struct kt_splice *s)
{
    kt_io_timer_cancel(s->io, &s->timer);
    kt_io_turn_cancel(&s->turn);
    leave_shares(&s->ab);
    leave_shares(&s->ba);
    kt_limits_end(&s->own);
    free(s);
}

static void end_tees(struct kt_splice *s, bool cut, struct kt_tee_counts *counts)
{
    kt_tee_end(s->ab.tee, cut, counts);
    kt_tee_end(s->ba.tee, cut, counts);
    s->ab.tee = s->ba.tee = NULL;
}

static void on_turn(void *ctx)
{
    struct kt_splice *s = ctx;
    if (!s->over) { /* the first turn: move what arrived before we listened */
        move(&s->ab);
        move(&s->ba);
        return;
    }
    struct kt_tee_counts mirrored = {0};
    end_tees(s, s->code != 0, &mirrored);
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
        .duration_us = kt_io_now(s->io) - s->own.born,
        .mirrored = mirrored.mirrored,
        .mirror_dropped = mirrored.dropped,
        .code = s->code,
        .cause = known ? &cause : NULL,
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
    s->done = done;
    s->ctx = ctx;
    s->ab =
        (struct direction){.splice = s, .from = a, .to = b, .way = KT_LIMITS_IN, .resume_at = KT_TIME_NEVER};
    s->ba =
        (struct direction){.splice = s, .from = b, .to = a, .way = KT_LIMITS_OUT, .resume_at = KT_TIME_NEVER};
    s->ab.tee = opts->tee_ab;
    s->ba.tee = opts->tee_ba;
    s->idle_us = opts->idle_us;
    s->linger_us = opts->linger_us;
    s->settle_us = opts->settle_us;
    const uint64_t now = kt_io_now(io);
    s->ab.moved_at = s->ba.moved_at = now;
    const struct kt_limits_terms terms = {
        .rate = {opts->rate_ab, opts->rate_ba}, .total_us = opts->total_us, .idle_us = opts->idle_us};
    kt_limits_init(&s->own, now, now);
    if (kt_limits_set(&s->own, &terms, now) < 0 ||
        kt_limits_share(&s->own, KT_LIMITS_IN, opts->limit_ab) < 0 ||
        kt_limits_share(&s->own, KT_LIMITS_OUT, opts->limit_ba) < 0) {
        kt_limits_end(&s->own);
        free(s);
        return KT_ENOMEM;
    }
    find_limits(&s->ab);
    find_limits(&s->ba);
    kt_timer_init(&s->timer, on_timer, s);
    kt_turn_init(&s->turn, on_turn, s);
    arm(s);
    kt_pipe_listen(a, &a_events, s);
    kt_pipe_listen(b, &b_events, s);
    kt_io_turn(io, &s->turn);
    *out = s;
    return 0;
}

void kt_splice_limit(struct kt_splice *s, bool b, struct kt_limits *limits)
{
    leave_shares(&s->ab);
    leave_shares(&s->ba);
    s->of_pipe[b] = limits;
    const bool ab = find_limits(&s->ab), ba = find_limits(&s->ba);
    if (ab || ba) kt_io_turn(s->io, &s->turn); /* it may have waited for another limit */
    if (s->ab.resume_at != KT_TIME_NEVER) s->ab.resume_at = rates_ready(&s->ab);
    if (s->ba.resume_at != KT_TIME_NEVER) s->ba.resume_at = rates_ready(&s->ba);
    arm(s);
}

struct kt_pipe *kt_splice_pipe(const struct kt_splice *s, bool b)
{
    return b ? s->ab.to : s->ab.from;
}

void kt_splice_broke(struct kt_splice *s, bool b, int code)
{
    break_off(b ? &s->ba : &s->ab, code);
}

void kt_splice_cancel(struct kt_splice *s, int reason, const char *text)
{
    struct kt_pipe *a = s->ab.from, *b = s->ab.to;
    end_tees(s, true, &(struct kt_tee_counts){0});
    release(s);
    kt_pipe_abort(a, reason, text);
    kt_pipe_abort(b, reason, text);
}
