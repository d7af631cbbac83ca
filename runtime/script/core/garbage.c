/* Schedules the garbage collector, whose own pace is off (sandbox.c). Slices pay for it. When few of them run, as after
 * many connections have ended, a timer collects the garbage that is left, in small steps.
 *
 * Invariant: it runs on the main thread, so that finalizers have room on the stack. */
#include "script/core/garbage.h"
#include <lua.h>
#include <stdlib.h>
#include "base/err.h"
#include "io/io.h"
#include "script/core/parts.h"
#include "script/sandbox/guard.h"
#include "script/sandbox/sandbox.h"

/* A repeatable runtime runs a full collection after this many slices or newly allocated bytes. */
#define COLLECT_SLICES 1000u
#define COLLECT_BYTES (16u << 20)
/* Other runtimes collect in steps. A cycle begins at twice the memory left by the previous one plus
 * CYCLE_BYTES; within a cycle each slice pays for the memory it has added. */
#define CYCLE_BYTES (256u << 10)
#define STEP_KIB 4u /* smallest step worth taking */
#define STEP_MAX_KIB 1024u
/* The timer starts once enough slices have run since the last cycle to be worth one: IDLE_WORTH, and one more for each
 * IDLE_BYTES_PER_SLICE of the state, as a cycle of a large one costs more. If at most IDLE_SLICES run until it fires, it
 * collects. */
#define IDLE_WORTH 256u
#define IDLE_BYTES_PER_SLICE 32768u
#define IDLE_US 5000000u
#define IDLE_SLICES 2000u
#define IDLE_CYCLES 2u /* an object with a finalizer survives the first */
#define IDLE_STEP_KIB 256u
#define IDLE_STEP_US 5000u

struct kt_garbage {
    bool repeatable;
    unsigned slices;      /* since the last collection, if repeatable */
    size_t collect_bytes; /* bytes of the state at which the next cycle begins; 0: not known yet */
    size_t step_bytes;    /* the same after the last step */
    bool collecting;      /* within a cycle */
    size_t since;         /* slices since the last cycle */
    struct kt_timer idle;
    unsigned recent; /* slices since the timer last collected, or last fired and found too many */
    unsigned cycles; /* left for the timer to complete */
};

static void on_idle(void *ctx);

int kt_garbage_new(struct kt_runtime *rt, bool repeatable)
{
    struct kt_garbage *g = rt->garbage = calloc(1, sizeof *g);
    if (!g) return KT_ENOMEM;
    kt_timer_init(&g->idle, on_idle, rt);
    g->repeatable = repeatable;
    g->collect_bytes = repeatable ? COLLECT_BYTES : 0;
    return 0;
}

void kt_garbage_free(struct kt_runtime *rt)
{
    if (rt->garbage) kt_io_timer_cancel(rt->io, &rt->garbage->idle);
    free(rt->garbage);
    rt->garbage = NULL;
}

static void collect_by_count(struct kt_garbage *g, lua_State *L, const struct kt_guard *guard)
{
    if (++g->slices < COLLECT_SLICES && kt_guard_bytes(guard) < g->collect_bytes) return;
    lua_gc(L, LUA_GCCOLLECT);
    g->slices = 0;
    g->collect_bytes = 2 * kt_guard_bytes(guard) + COLLECT_BYTES;
}

/* One step of a cycle. */
static void step(struct kt_runtime *rt, size_t kib)
{
    struct kt_garbage *g = rt->garbage;
    g->collecting = !lua_gc(rt->L, LUA_GCSTEP, (int)kib);
    g->step_bytes = kt_guard_bytes(rt->guard);
    if (g->collecting) return;
    g->since = 0;
    g->collect_bytes = 2 * g->step_bytes + CYCLE_BYTES;
}

static void arm(struct kt_runtime *rt, uint64_t us)
{
    kt_io_timer_set(rt->io, &rt->garbage->idle, kt_io_now(rt->io) + us);
}

static bool worth_it(const struct kt_runtime *rt)
{
    return rt->garbage->since > IDLE_WORTH + kt_guard_bytes(rt->guard) / IDLE_BYTES_PER_SLICE;
}

static void on_idle(void *ctx)
{
    struct kt_runtime *rt = ctx;
    struct kt_garbage *g = rt->garbage;
    if (!rt->L) return;
    if (g->recent > IDLE_SLICES) { /* slices pay for it, at least until next time */
        g->recent = 0;
        g->cycles = 0;
        if (worth_it(rt)) arm(rt, IDLE_US);
        return;
    }
    if (g->cycles == 0) g->cycles = IDLE_CYCLES + g->collecting;
    step(rt, IDLE_STEP_KIB);
    if (g->collecting || --g->cycles > 0) {
        arm(rt, IDLE_STEP_US);
        return;
    }
    g->recent = 0;
    kt_io_freed(rt->io);
}

void kt_garbage_slice(struct kt_runtime *rt)
{
    struct kt_garbage *g = rt->garbage;
    if (!rt->L) return;
    const struct kt_guard *guard = rt->guard;
    const size_t bytes = kt_guard_bytes(guard);
    if (g->repeatable) {
        collect_by_count(g, rt->L, guard);
        return;
    }
    g->recent++;
    g->since++;
    if (!g->idle.armed && worth_it(rt)) arm(rt, IDLE_US);
    if (g->collect_bytes == 0) g->collect_bytes = 2 * bytes + CYCLE_BYTES; /* the main chunk has returned */
    size_t kib = 0;                                                        /* 0: a basic step */
    if (g->collecting) {
        kib = (bytes > g->step_bytes ? bytes - g->step_bytes : 0) >> 10;
        if (kib < STEP_KIB) return;
        if (kib > STEP_MAX_KIB) kib = STEP_MAX_KIB;
    } else if (bytes < g->collect_bytes) {
        return;
    }
    step(rt, kib);
}
