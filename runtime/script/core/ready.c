/* Runs the tasks that are ready, for a bounded time in each turn of the loop.
 *
 * There are two queues, both first in, first out: `ready` for tasks started or woken by an outside event (a
 * conn, an answer), `own` for those that the script itself started or woke (kt.spawn, kt.sleep, an event).
 * `ready` has priority, so that a script that spawns tasks by the ten thousand does not delay its conns;
 * `own` gets one slice in OWN_SHARE. A larger share would let spawned tasks create work for `ready` (by
 * opening streams, say) faster than it is done.
 *
 * Invariant: while a queue is not empty, the turn hook or the timer `again` is set, or `running` is. */
#include "script/core/ready.h"
#include <stdio.h>
#include <stdlib.h>
#include "base/list.h"
#include "io/io.h"
#include "script/sandbox/origin.h"

#define TURN_US 300u    /* time for tasks in one turn of the loop, give or take one slice */
#define TURN_ROUNDS 8   /* rounds in one call of run_ready, as tasks make other tasks ready */
#define TURN_VISITS 16u /* calls of run_ready in one turn of the loop */
#define OWN_SHARE 16u   /* `own` gets one slice in this many */

#define LIVELOCK_SLICES 100000u /* slices run without the clock advancing */

struct kt_ready {
    struct kt_io *io;
    struct kt_ready_ops ops;
    void *ctx;
    struct kt_list ready, own; /* see above */
    size_t count;              /* in both */
    unsigned ahead;            /* slices of `ready` run since the last one of `own` */
    struct kt_turn turn;       /* runs ready tasks */
    struct kt_timer again;     /* runs those left over in the next turn */
    bool running;              /* within run_ready: newly ready tasks need no new hook */
    uint64_t visits_at;        /* time of the turn in which tasks last ran */
    uint64_t until;            /* clock at which no further slice begins in that turn */
    unsigned visits;           /* times run_ready was called in that turn */
    uint64_t instant;          /* io time at which tasks last ran */
    unsigned at_once;          /* slices run at that time; counted only if `livelock` is set */
};

void kt_ready_push(struct kt_ready *r, struct kt_list *node, bool own)
{
    kt_list_push(own ? &r->own : &r->ready, node);
    r->count++;
    if (!r->running) kt_io_turn(r->io, &r->turn);
}

void kt_ready_remove(struct kt_ready *r, struct kt_list *node)
{
    kt_list_remove(node);
    r->count--;
}

/* Takes the next one to run. At least one queue is not empty. */
static struct kt_list *next_ready(struct kt_ready *r)
{
    const bool both = !kt_list_empty(&r->ready) && !kt_list_empty(&r->own);
    r->ahead = both ? (r->ahead + 1) % OWN_SHARE : 0;
    const bool own = both ? r->ahead == 0 : kt_list_empty(&r->ready);
    r->count--;
    return kt_list_pop(own ? &r->own : &r->ready);
}

/* Counts slices run without the clock advancing, and reports a livelock past the limit. o: the origin of the
 * task that ran last. */
static bool livelocked(struct kt_ready *r, const struct kt_origin *o)
{
    if (!r->ops.livelock) return false;
    if (r->instant != kt_io_now(r->io)) r->at_once = 0;
    r->instant = kt_io_now(r->io);
    if (++r->at_once < LIVELOCK_SLICES) return false;
    char text[256];
    snprintf(text, sizeof text,
        "ran %u task slices without the clock advancing, the last in a task spawned at %s:%d; tasks start or "
        "wake each other without waiting",
        r->at_once, o->source, o->line);
    r->ops.livelock(r->ops.livelock_ctx, text);
    return true;
}

/* Runs the tasks that are ready now. Returns false when the time is up. */
static bool run_round(struct kt_ready *r)
{
    for (size_t n = r->count; n > 0 && r->count > 0 && !r->ops.over(r->ctx); n--) {
        const struct kt_origin *origin = r->ops.run(next_ready(r));
        if (kt_io_clock(r->io) >= r->until || livelocked(r, origin)) return false;
    }
    return true;
}

/* Tasks make others ready, or themselves, and those run best at once. But tasks that wake each other
 * endlessly, or spawn others by the thousand, must not block the loop. */
static void run_ready(void *ctx)
{
    struct kt_ready *r = ctx;
    /* Operations may also complete within the turn: a stream of an established session opens at once. */
    const uint64_t now = kt_io_now(r->io), clock = kt_io_clock(r->io);
    if (now != r->visits_at) {
        r->visits = 0;
        r->visits_at = now;
        r->until = clock + TURN_US;
    }
    if (r->visits++ >= TURN_VISITS || clock >= r->until) {
        kt_io_timer_set(r->io, &r->again, now);
        return;
    }
    r->running = true;
    for (int i = 0; i < TURN_ROUNDS && r->count > 0 && !r->ops.over(r->ctx); i++)
        if (!run_round(r)) break;
    r->running = false;
    if (r->ops.over(r->ctx)) return; /* the remaining tasks never run; kt_runtime_free ends them */
    if (r->count == 0)
        r->ops.idle(r->ctx);
    else
        kt_io_timer_set(r->io, &r->again, now);
}

static void run_again(void *ctx)
{
    struct kt_ready *r = ctx;
    r->visits = 0; /* a new turn, even if the clock has not moved (io/sim) */
    kt_io_turn(r->io, &r->turn);
}

struct kt_ready *kt_ready_new(struct kt_io *io, const struct kt_ready_ops *ops, void *ctx)
{
    struct kt_ready *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    *r = (struct kt_ready){.io = io, .ops = *ops, .ctx = ctx};
    kt_list_init(&r->ready);
    kt_list_init(&r->own);
    kt_turn_init(&r->turn, run_ready, r);
    kt_timer_init(&r->again, run_again, r);
    return r;
}

void kt_ready_free(struct kt_ready *r)
{
    free(r);
}

void kt_ready_stop(struct kt_ready *r)
{
    kt_io_turn_cancel(&r->turn);
    kt_io_timer_cancel(r->io, &r->again);
}
