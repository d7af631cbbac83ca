/* Timer wheel: hierarchical, 64 slots per level, one per runtime.
 *
 * Setting and cancelling are O(1); a run costs what fires plus an amortised cascade; finding the next deadline
 * is a bit scan. Idle timers cost nothing. Times are microseconds on the owner's monotonic clock. A timer never
 * fires early, and fires at most KT_WHEEL_TICK_US late. The wheel's own time is that of its last run (or init)
 * and never goes back. */
#ifndef KT_BASE_WHEEL_H
#define KT_BASE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>
#include "base/list.h"

#define KT_WHEEL_TICK_US 512u
#define KT_WHEEL_LEVELS 6u
#define KT_TIME_NEVER UINT64_MAX

struct kt_timer {
    struct kt_list node;
    uint64_t at; /* deadline, µs; valid while armed */
    void (*fn)(void *ctx);
    void *ctx;
    uint8_t level, slot;
    bool armed;
};

struct kt_wheel {
    uint64_t now_us; /* time of the last run */
    uint64_t tick;   /* the first tick not yet run; during a run, the one being run */
    uint64_t occupied[KT_WHEEL_LEVELS];
    struct kt_list due; /* deadlines not after now_us when set: for the next run */
    struct kt_list far; /* beyond the top level's span of 2^36 ticks (407 days) */
    struct kt_list slots[KT_WHEEL_LEVELS][64];
};

void kt_wheel_init(struct kt_wheel *w, uint64_t now_us);

/* Prepares a timer that calls fn(ctx) when it fires. The caller owns its memory. */
void kt_timer_init(struct kt_timer *t, void (*fn)(void *ctx), void *ctx);

/* Arms t for at_us, moving it if it is already armed. A deadline not later than the last run's now_us fires in
 * the next run; KT_TIME_NEVER cancels. */
void kt_wheel_set(struct kt_wheel *w, struct kt_timer *t, uint64_t at_us);

/* Disarms t; harmless if it is not armed. */
void kt_wheel_cancel(struct kt_wheel *w, struct kt_timer *t);

/* The time by which kt_wheel_run must be called: never later than the earliest deadline rounded up to a tick,
 * possibly earlier (at a cascade point), and never before the last run's now_us, which means "at once".
 * KT_TIME_NEVER if nothing is armed. */
uint64_t kt_wheel_next(const struct kt_wheel *w);

/* Fires everything due at now_us, by deadline tick, and within a tick in the order of setting. Callbacks may set
 * and cancel any timer, including their own; one that a callback sets to now_us or earlier fires in the next
 * run. Not reentrant: callbacks must not run the wheel. */
void kt_wheel_run(struct kt_wheel *w, uint64_t now_us);

#endif
