/* Limits the memory and the time of a script.
 *
 * Invariant: the tick and everything it calls are async-signal-safe, as lua_sethook is documented to be. */
#include "script/sandbox/guard.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "script/core/script.h"

#define WARN_AGAIN_US 1000000u /* shortest interval between warnings */
#define COUNT 1000000u         /* instructions between two calls of the counting hook */
#define COUNTS_PER_S 50u       /* calls of it that stand for a second, in a repeatable runtime */

#define LONG_STRING 1024u  /* shorter strings are not counted */
#define STRING_HEAD 64u    /* upper bound for the bytes that Lua adds to a string */
#define OVERRUN_US 500000u /* overruns from here on are logged */

#define STOP_MASK (LUA_MASKCOUNT | LUA_MASKCALL)

static void on_stopped(lua_State *L, lua_Debug *ar);

/* ---- counted work ---- */

/* Counts instructions; true if the slice has reached its limit. */
static bool spend(struct kt_guard *g, uint64_t instructions)
{
    g->counted += instructions;
    return g->counted * 1000000u / COUNT >= g->stop_us * COUNTS_PER_S;
}

bool kt_guard_worked(struct kt_guard *g, uint64_t instructions)
{
    lua_State *L = atomic_load_explicit(&g->running, memory_order_relaxed);
    if (g->counts && L && spend(g, instructions) && !kt_guard_stopped(g)) {
        atomic_store_explicit(&g->stopped, true, memory_order_relaxed);
        lua_sethook(L, on_stopped, STOP_MASK, 1); /* for callers that cannot raise: the allocator */
    }
    return kt_guard_stopped(g);
}

/* ---- memory ---- */

/* Like realloc and free, but wipes the old memory. */
static void *wiping_alloc(struct kt_guard *g, void *ptr, size_t osize, size_t nsize)
{
    void *p = nsize ? g->alloc(g->alloc_ctx, NULL, 0, nsize) : NULL;
    if (nsize && !p) return NULL;
    if (ptr && p) memcpy(p, ptr, osize < nsize ? osize : nsize);
    if (ptr) {
        explicit_bzero(ptr, osize);
        g->alloc(g->alloc_ctx, ptr, osize, 0);
    }
    return p;
}

static void *plain_or_wiping(struct kt_guard *g, void *ptr, size_t osize, size_t nsize)
{
    return g->wipes ? wiping_alloc(g, ptr, osize, nsize) : g->alloc(g->alloc_ctx, ptr, osize, nsize);
}

void *kt_guard_alloc(void *ud, void *ptr, size_t osize, size_t nsize)
{
    struct kt_runtime *rt = ud;
    struct kt_guard *g = &rt->guard;
    const bool string = !ptr && osize == LUA_TSTRING;
    if (!ptr) osize = 0; /* for a new object, Lua passes its type */
    if (nsize == 0) {
        if (ptr) plain_or_wiping(g, ptr, osize, 0);
        rt->lua_bytes -= osize;
        return NULL;
    }
    if (nsize > osize) {
        g->too_long = string && g->limit && nsize > KT_STRING_MAX + STRING_HEAD ? nsize : 0;
        if (g->too_long || (g->limit && nsize - osize > g->limit - rt->lua_bytes)) return NULL;
        /* A library function that was running when the slice was stopped runs no hook, but may allocate. */
        if (kt_guard_stopped(g) && !g->telling) return NULL;
        /* Do not count tables: their growth depends on hashes, which differ between runs. */
        if (string && nsize >= LONG_STRING) kt_guard_worked(g, nsize / KT_GUARD_BYTES);
    }
    void *p = plain_or_wiping(g, ptr, osize, nsize);
    if (!p) return NULL; /* even when shrinking: Lua 5.4 then keeps the old block, or raises */
    rt->lua_bytes += nsize - osize;
    if (rt->lua_bytes > rt->lua_peak) rt->lua_peak = rt->lua_bytes;
    return p;
}

void kt_guard_memory_text(const struct kt_runtime *rt, char *out, size_t size)
{
    const double mib = 1 << 20;
    if (rt->guard.too_long)
        snprintf(out, size,
            "not enough memory: a string of %.1f MiB exceeds the limit of %u MiB; kt run --memory none lifts it",
            (double)rt->guard.too_long / mib, KT_STRING_MAX >> 20);
    else if (rt->guard.limit)
        snprintf(out, size,
            "not enough memory: the script holds %.1f of %.1f MiB; kt run --memory sets the limit",
            (double)rt->lua_bytes / mib, (double)rt->guard.limit / mib);
    else
        snprintf(out, size, "not enough memory: the script holds %.1f MiB", (double)rt->lua_bytes / mib);
}

/* ---- stopping ---- */

/* Writes the innermost line of the script to out. L is in a hook or a C function. */
static void find_line(lua_State *L, char *out, size_t size)
{
    lua_Debug ar;
    for (int level = 0; lua_getstack(L, level, &ar); level++) {
        if (!lua_getinfo(L, "Sl", &ar) || ar.currentline <= 0 || kt_origin_embedded(ar.short_src)) continue;
        snprintf(out, size, "%s:%d", ar.short_src, ar.currentline);
        return;
    }
}

const char *kt_guard_text(lua_State *L)
{
    struct kt_runtime *rt = kt_runtime_of(L);
    struct kt_guard *g = &rt->guard;
    if (g->text_made) return g->text;
    g->text_made = true;
    find_line(L, g->where, sizeof g->where);
    char ran[48];
    if (rt->repeatable)
        snprintf(ran, sizeof ran, "%llu million instructions", (unsigned long long)(g->counted / COUNT));
    else
        snprintf(ran, sizeof ran, "%g s", (double)g->stop_us / 1e6);
    snprintf(g->text, sizeof g->text, "%s%sstopped after %s%s", g->where, g->where[0] ? ": " : "", ran,
        rt->phase == KT_DECLARE ? " in the main chunk; move long work into a task"
                                : " without yielding; call kt.sleep(0) in long loops");
    return g->text;
}

/* Counts instructions. No clock is involved, so a slice is stopped at the same instruction in every run. */
static void on_count(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    struct kt_guard *g = &kt_runtime_of(L)->guard;
    if (!atomic_load_explicit(&g->running, memory_order_relaxed)) return;
    if (!spend(g, COUNT)) return;
    atomic_store_explicit(&g->stopped, true, memory_order_relaxed);
    kt_guard_raise(L);
}

void kt_guard_unhook(struct kt_runtime *rt, lua_State *L)
{
    if (rt->repeatable)
        lua_sethook(L, on_count, LUA_MASKCOUNT, COUNT);
    else
        lua_sethook(L, NULL, 0, 0);
}

int kt_guard_raise(lua_State *L)
{
    struct kt_runtime *rt = kt_runtime_of(L);
    /* Set the hook only once: lua_sethook walks all frames, and this may be called once for each of them. */
    if (lua_gethook(L) != on_stopped) lua_sethook(L, on_stopped, STOP_MASK, 1);
    const char *text = kt_guard_text(L);
    rt->guard.telling = true;
    lua_pushstring(L, text);
    rt->guard.telling = false;
    lua_error(L);
    abort(); /* lua_error does not return */
}

/* Hooks: on_stopped runs before each instruction and call of a stopped slice, on_late before the next
 * instruction of a late one. A coroutine may keep its hook beyond the slice; the hook then removes itself. */
static void on_stopped(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    if (kt_guard_stopped(&kt_runtime_of(L)->guard)) kt_guard_raise(L);
    kt_guard_unhook(kt_runtime_of(L), L);
}

static void on_late(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    struct kt_guard *g = &kt_runtime_of(L)->guard;
    lua_sethook(L, NULL, 0, 0);
    if (kt_guard_stopped(g)) kt_guard_raise(L);
    if (atomic_load_explicit(&g->late, memory_order_relaxed)) find_line(L, g->where, sizeof g->where);
}

bool kt_guard_killed(lua_State *L)
{
    int status = lua_status(L);
    return status != LUA_OK && status != LUA_YIELD && lua_gethook(L) == on_stopped;
}

/* Runs in a signal handler. */
static void tick(void *ctx, uint64_t wall_us, uint64_t cpu_us)
{
    struct kt_guard *g = ctx;
    lua_State *L = atomic_load_explicit(&g->running, memory_order_relaxed);
    if (!L || wall_us < KT_SLICE_WARN_US) return;
    /* Processor time is measured from the first tick on, so one tick is added. Time that the machine spends
     * on other processes does not count against the script, but time blocked in os.execute does. */
    const uint64_t used = g->wall ? wall_us : cpu_us + KT_WATCH_TICK_US;
    atomic_store_explicit(&g->used_us, used, memory_order_relaxed);
    if (wall_us >= g->stop_us && used >= g->stop_us) {
        atomic_store_explicit(&g->stopped, true, memory_order_relaxed);
        /* A thread may have begun since the last tick. Not if it is there: it walks all frames, and of a deep
         * recursion that takes longer than a tick, so that nothing else would ever run. */
        if (lua_gethook(L) != on_stopped) lua_sethook(L, on_stopped, STOP_MASK, 1);
    } else if (used >= KT_SLICE_WARN_US - KT_WATCH_TICK_US / 5 && !kt_guard_stopped(g) &&
               !atomic_exchange_explicit(&g->late, true, memory_order_relaxed)) {
        lua_sethook(L, on_late, LUA_MASKCOUNT, 1);
    }
}

/* ---- slices ---- */

int kt_guard_init(struct kt_runtime *rt)
{
    struct kt_guard *g = &rt->guard;
    g->counts = rt->repeatable;
    if (g->counts) return 0;
    int rc = kt_watch_new(rt->io, tick, g, &g->watch);
    if (rc == KT_ENOTSUP)
        kt_log(rt->log, KT_LOG_DEBUG, "no watchdog on this system: endless loops in scripts are not stopped");
    return rc == KT_ENOTSUP ? 0 : rc;
}

void kt_guard_free(struct kt_runtime *rt)
{
    kt_watch_free(rt->guard.watch);
    rt->guard.watch = NULL;
}

void kt_guard_begin(struct kt_runtime *rt, lua_State *L, uint64_t stop_us)
{
    struct kt_guard *g = &rt->guard;
    g->stop_us = stop_us;
    g->counted = 0;
    kt_guard_switch(g, L);
    if (g->watch) kt_watch_begin(g->watch);
}

/* Records by how much a stopped slice has overrun its limit. It ends at its next instruction or call, so a
 * long overrun means that a C function could not be interrupted. */
static void note_overrun(struct kt_runtime *rt)
{
    struct kt_guard *g = &rt->guard;
    const uint64_t used = atomic_load_explicit(&g->used_us, memory_order_relaxed);
    if (!g->watch || used <= g->stop_us) return;
    const uint64_t overrun = used - g->stop_us;
    if (overrun > g->overrun_us) g->overrun_us = overrun;
    if (overrun >= OVERRUN_US)
        kt_log(rt->log, KT_LOG_WARN, "%s: this slice could not be stopped before %.1f s",
            g->where[0] ? g->where : "a script", (double)used / 1e6);
}

/* Logs a slice that was late but not stopped. */
static void warn_late(struct kt_runtime *rt, uint64_t took, const struct kt_origin *spawned)
{
    struct kt_guard *g = &rt->guard;
    const uint64_t now = kt_io_now(rt->io);
    if (now < g->quiet_until) return;
    char from[128] = "";
    if (spawned) snprintf(from, sizeof from, ", spawned at %s:%d", spawned->source, spawned->line);
    kt_log(rt->log, KT_LOG_WARN, "%s: a slice took %d ms%s; call kt.sleep(0) in long loops",
        g->where[0] ? g->where : "a script", (int)(took / 1000), from);
    g->quiet_until = now + WARN_AGAIN_US;
}

bool kt_guard_end(struct kt_runtime *rt, const struct kt_origin *spawned)
{
    struct kt_guard *g = &rt->guard;
    if (!g->watch && !rt->repeatable) {
        kt_guard_switch(g, NULL);
        return false;
    }
    const uint64_t took = g->watch ? kt_watch_end(g->watch) : 0;
    lua_State *L = kt_guard_switch(g, NULL);
    const bool late = atomic_load_explicit(&g->late, memory_order_relaxed), stopped = kt_guard_stopped(g);
    if (!late && !stopped) return false;
    kt_guard_unhook(rt, L);
    if (stopped) note_overrun(rt);
    if (!stopped && rt->phase != KT_DECLARE) warn_late(rt, took, spawned);
    atomic_store_explicit(&g->late, false, memory_order_relaxed);
    atomic_store_explicit(&g->stopped, false, memory_order_relaxed);
    g->text_made = false;
    g->where[0] = '\0';
    return stopped;
}
