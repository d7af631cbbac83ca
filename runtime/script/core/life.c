/* The phases of a runtime, and its end: how a script stops, drains its conns, and is cut off.
 *
 * Invariant: nothing leaves KT_END, and `ended` is called once, for the first exit code. */
#include "script/core/life.h"
#include <stdlib.h>
#include "base/err.h"
#include "base/log.h"
#include "io/io.h"
#include "link/counters.h"
#include "script/core/parts.h"
#include "script/core/service.h"
#include "script/core/setup.h"
#include "script/core/task.h"
#include "script/sandbox/guard.h"
#include "script/sandbox/sandbox.h"

#define DRAIN_US 5000000u
#define DRAIN_TICK_US 20000u
#define DRAIN_TICK_MAX_US 1000000u
#define LINGER_US 1000000u
#define CUT_US 1000000u /* time for resets to reach the peers */

struct kt_life {
    enum kt_phase phase;
    bool replaced;  /* another runtime has taken over */
    bool exiting;   /* exit_code is final */
    bool interrupt; /* the script handles the first SIGINT */
    int exit_code;
    void (*ended)(void *ctx);
    void *ended_ctx;
    size_t pipes; /* conns and streams held by the script or its splices */
    struct kt_list open_pipes;
    size_t flows;  /* likewise */
    size_t timers; /* armed by the script */

    /* the drain */
    uint64_t exit_us;      /* drain time at process exit */
    uint64_t hand_over_us; /* drain time after a reload; KT_TIME_NEVER: no limit */
    struct kt_timer tick;
    uint64_t drain_until; /* deadline */
    uint64_t drain_wait;  /* interval between checks of its progress */
    bool cut;             /* the deadline has passed and open pipes were reset */
    uint64_t quiet_since; /* when nothing was left to drain; 0: something is */
    uint64_t offer_until; /* services with heirs accept until then; 0: they do not any more */
};

static void drain_tick(void *ctx);

int kt_life_new(struct kt_runtime *rt, void (*ended)(void *ctx), void *ended_ctx)
{
    struct kt_life *l = rt->life = calloc(1, sizeof *l);
    if (!l) return KT_ENOMEM;
    l->ended = ended;
    l->ended_ctx = ended_ctx;
    l->exit_us = DRAIN_US;
    l->hand_over_us = KT_TIME_NEVER;
    kt_list_init(&l->open_pipes);
    kt_timer_init(&l->tick, drain_tick, rt);
    return 0;
}

void kt_life_free(struct kt_runtime *rt)
{
    free(rt->life);
    rt->life = NULL;
}

/* ---- phases ---- */

void kt_life_enter(struct kt_runtime *rt, enum kt_phase phase)
{
    rt->life->phase = phase;
    kt_guard_in_tasks(rt->guard);
    if (phase == KT_END) kt_io_timer_cancel(rt->io, &rt->life->tick);
}

enum kt_phase kt_runtime_phase(const struct kt_runtime *rt)
{
    return rt->life->phase;
}

bool kt_life_exiting(const struct kt_runtime *rt)
{
    return rt->life->exiting;
}

bool kt_runtime_replaced(const struct kt_runtime *rt)
{
    return rt->life->replaced;
}

bool kt_runtime_attends(const struct kt_runtime *rt)
{
    const struct kt_life *l = rt->life;
    return l->phase == KT_RUN || (l->phase == KT_DRAIN && l->replaced);
}

bool kt_runtime_has_tasks(const struct kt_runtime *rt)
{
    return kt_tasks_need_runtime(rt) || rt->life->timers > 0;
}

bool kt_runtime_has_work(const struct kt_runtime *rt)
{
    if (kt_runtime_has_tasks(rt)) return true;
    for (const struct kt_service *s = NULL; (s = kt_service_next(rt, s));)
        if (kt_service_serves(s)) return true;
    return false;
}

/* ---- conns and streams ---- */

void kt_runtime_hold_pipes(struct kt_runtime *rt, int change)
{
    rt->life->pipes = (size_t)((ptrdiff_t)rt->life->pipes + change);
}

void kt_runtime_hold_flows(struct kt_runtime *rt, int change)
{
    rt->life->flows = (size_t)((ptrdiff_t)rt->life->flows + change);
}

void kt_runtime_hold_timers(struct kt_runtime *rt, int change)
{
    rt->life->timers = (size_t)((ptrdiff_t)rt->life->timers + change);
}

struct kt_list *kt_runtime_open_pipes(struct kt_runtime *rt)
{
    return &rt->life->open_pipes;
}

size_t kt_runtime_pipes(const struct kt_runtime *rt)
{
    return rt->life->pipes;
}

size_t kt_runtime_holds(const struct kt_runtime *rt)
{
    return rt->life->pipes + rt->life->flows;
}

bool kt_runtime_flows_full(const struct kt_runtime *rt)
{
    return rt->life->flows >= KT_FLOWS_MAX;
}

bool kt_runtime_pipes_full(const struct kt_runtime *rt)
{
    return rt->life->pipes >= KT_PIPES_MAX;
}

/* ---- drain ---- */

void kt_runtime_set_drain(struct kt_runtime *rt, uint64_t us)
{
    rt->life->exit_us = us;
}

uint64_t kt_runtime_drain_us(const struct kt_runtime *rt)
{
    return rt->life->exit_us;
}

void kt_runtime_take_interrupt(struct kt_runtime *rt)
{
    rt->life->interrupt = true;
}

bool kt_runtime_takes_interrupt(const struct kt_runtime *rt)
{
    return rt->life->interrupt;
}

void kt_runtime_set_replaced_drain(struct kt_runtime *rt, uint64_t us)
{
    rt->life->hand_over_us = us;
}

/* Whether the runtime can end without losing a byte. */
static bool drained(const struct kt_runtime *rt)
{
    if (rt->life->pipes > 0 || (rt->life->replaced && rt->life->flows > 0)) return false;
    return kt_services_quiet(rt);
}

/* A replaced runtime keeps its links open for a moment longer, so that the peers' last packets are
 * acknowledged. Otherwise they would retransmit for seconds before giving the session up. */
static bool lingers(struct kt_runtime *rt, uint64_t now)
{
    if (!rt->life->replaced || !kt_services_link(rt)) return false;
    if (rt->life->quiet_since == 0) rt->life->quiet_since = now;
    return now - rt->life->quiet_since < LINGER_US;
}

/* The drain time is over: resets what is still open and gives the resets a moment to reach the peers, which
 * would otherwise notice only when the silent session times out. */
static void cut(struct kt_runtime *rt, uint64_t now)
{
    if (rt->life->pipes > 0)
        kt_log(rt->log, KT_LOG_WARN, "ending with %zu conns and streams%s still open", rt->life->pipes,
            rt->life->replaced ? " of a replaced script" : "");
    rt->life->cut = true;
    rt->life->drain_until = now + CUT_US;
    rt->life->drain_wait = DRAIN_TICK_US;
    kt_tasks_cut(rt);
    kt_io_timer_set(rt->io, &rt->life->tick, now + DRAIN_TICK_US);
}

static void end_offer(struct kt_runtime *rt)
{
    rt->life->offer_until = 0;
    kt_services_drain(rt);
}

static void drain_tick(void *ctx)
{
    struct kt_runtime *rt = ctx;
    uint64_t now = kt_io_now(rt->io);
    if (rt->life->offer_until && now >= rt->life->offer_until) end_offer(rt);
    const bool done = drained(rt), due = now >= rt->life->drain_until;
    if (!done) rt->life->quiet_since = 0;
    if (rt->life->cut ? done || due : done && (due || !lingers(rt, now)) && !rt->life->offer_until) {
        kt_runtime_stop(rt, 0);
    } else if (due) {
        cut(rt, now);
    } else {
        /* Conns of a replaced script may live for days, so poll less often as time passes. */
        uint64_t next = now + rt->life->drain_wait;
        rt->life->drain_wait =
            rt->life->drain_wait * 2 < DRAIN_TICK_MAX_US ? rt->life->drain_wait * 2 : DRAIN_TICK_MAX_US;
        if (next > rt->life->drain_until) next = rt->life->drain_until;
        if (rt->life->offer_until && next > rt->life->offer_until) next = rt->life->offer_until;
        kt_io_timer_set(rt->io, &rt->life->tick, next);
    }
}

void kt_runtime_drain(struct kt_runtime *rt, uint64_t us)
{
    const uint64_t now = kt_io_now(rt->io);
    const uint64_t until = us < KT_TIME_NEVER - now ? now + us : KT_TIME_NEVER;
    if (rt->life->exiting) return;
    if (rt->life->phase != KT_DRAIN) {
        kt_life_enter(rt, KT_DRAIN);
        rt->life->drain_until = until;
        if (rt->life->offer_until == 0) kt_services_drain(rt);
    } else if (rt->life->offer_until) {
        end_offer(rt);
    }
    if (rt->life->cut) return;
    if (until < rt->life->drain_until) rt->life->drain_until = until;
    rt->life->drain_wait = DRAIN_TICK_US;
    if (now < rt->life->drain_until || drained(rt))
        drain_tick(rt);
    else
        kt_io_timer_set(rt->io, &rt->life->tick, now); /* a task may be running now */
}

uint64_t kt_life_hand_over(struct kt_runtime *rt, uint64_t offer_us)
{
    rt->life->replaced = true;
    if (offer_us && kt_services_with_heirs(rt)) rt->life->offer_until = kt_io_now(rt->io) + offer_us;
    kt_runtime_drain(rt, rt->life->hand_over_us);
    return rt->life->hand_over_us;
}

/* ---- end ---- */

bool kt_runtime_exited(const struct kt_runtime *rt, int *code)
{
    *code = rt->life->exit_code;
    return rt->life->exiting;
}

void kt_runtime_stop(struct kt_runtime *rt, int code)
{
    struct kt_life *l = rt->life;
    if (l->exiting) return;
    l->exiting = true;
    l->exit_code = code;
    if (l->phase == KT_DECLARE || l->phase == KT_END) return;
    if (l->ended)
        l->ended(l->ended_ctx);
    else
        kt_io_stop(rt->io);
}

void kt_runtime_settle(struct kt_runtime *rt)
{
    if (rt->life->phase == KT_RUN && !kt_services_serve(rt) && !kt_tasks_need_runtime(rt) &&
        rt->life->timers == 0)
        kt_runtime_stop(rt, kt_runtime_counters(rt)->TaskErrors ? 1 : 0);
}
