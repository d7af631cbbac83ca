/* Schedules the garbage collector, whose own pace is off (sandbox.c).
 *
 * Invariant: it runs on the main thread, so that finalizers have room on the stack. */
#include "script/core/garbage.h"
#include <lua.h>
#include <stdlib.h>
#include "base/err.h"
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

struct kt_garbage {
    bool repeatable;
    unsigned slices;      /* since the last collection, if repeatable */
    size_t collect_bytes; /* bytes of the state at which the next cycle begins; 0: not known yet */
    size_t step_bytes;    /* the same after the last step */
    bool collecting;      /* within a cycle */
};

int kt_garbage_new(struct kt_runtime *rt, bool repeatable)
{
    struct kt_garbage *g = rt->garbage = calloc(1, sizeof *g);
    if (!g) return KT_ENOMEM;
    g->repeatable = repeatable;
    g->collect_bytes = repeatable ? COLLECT_BYTES : 0;
    return 0;
}

void kt_garbage_free(struct kt_runtime *rt)
{
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
    if (g->collect_bytes == 0) g->collect_bytes = 2 * bytes + CYCLE_BYTES; /* the main chunk has returned */
    size_t kib = 0;                                                        /* 0: a basic step */
    if (g->collecting) {
        kib = (bytes > g->step_bytes ? bytes - g->step_bytes : 0) >> 10;
        if (kib < STEP_KIB) return;
        if (kib > STEP_MAX_KIB) kib = STEP_MAX_KIB;
    } else if (bytes < g->collect_bytes) {
        return;
    }
    g->collecting = !lua_gc(rt->L, LUA_GCSTEP, (int)kib);
    g->step_bytes = kt_guard_bytes(guard);
    if (!g->collecting) g->collect_bytes = 2 * g->step_bytes + CYCLE_BYTES;
}
