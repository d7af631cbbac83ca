/* Timer wheel: hierarchical, 64 slots a level, one per runtime.
 *
 * Adding and cancelling are O(1); running costs what fires plus an amortised cascade; finding the next
 * deadline is a bit scan. An idle timer costs nothing. Times are microseconds on the owner's monotonic clock.
 * A timer never fires early; it may fire up to KT_WHEEL_TICK_US late. The wheel's own time is that of its
 * last run (or init), and never goes back. */
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
    uint64_t at; /* deadline, µs; meaningful while armed */
    void (*fn)(void *ctx);
    void *ctx;
    uint8_t level, slot;
    bool armed;
};

struct kt_wheel {
    uint64_t now_us; /* of the last run */
    uint64_t tick;   /* the first tick not yet run; during a run, the one being run */
    uint64_t occupied[KT_WHEEL_LEVELS];
    struct kt_list due; /* deadlines not after now_us when set: for the next run */
    struct kt_list far; /* beyond the top level's span of 2^36 ticks (407 days) */
    struct kt_list slots[KT_WHEEL_LEVELS][64];
};

void kt_wheel_init(struct kt_wheel *w, uint64_t now_us);

/* Prepares a timer: fn(ctx) will be called when it fires. The timer's memory is the caller's. */
void kt_timer_init(struct kt_timer *t, void (*fn)(void *ctx), void *ctx);

/* Arms t for at_us (moves it if armed). A deadline not after the last run's now_us fires on the next run;
 * KT_TIME_NEVER cancels. */
void kt_wheel_set(struct kt_wheel *w, struct kt_timer *t, uint64_t at_us);

/* Disarms t; harmless if it is not armed. */
void kt_wheel_cancel(struct kt_wheel *w, struct kt_timer *t);

/* A time by which kt_wheel_run must be called: never later than the earliest deadline rounded up to a tick
 * (it may be earlier, at a cascade point), except that it is never before the last run's now_us, which stands
 * for "at once". KT_TIME_NEVER if nothing is armed. */
uint64_t kt_wheel_next(const struct kt_wheel *w);

/* Fires all that is due at now_us, in order of deadline tick, and within a tick in the order they were set.
 * Callbacks may set and cancel any timer, also their own; a timer set to a time not after now_us by a
 * callback fires in the next run, not in this one. Not reentrant: callbacks do not run the wheel. */
void kt_wheel_run(struct kt_wheel *w, uint64_t now_us);

#endif
