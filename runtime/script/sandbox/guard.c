/* Limits the memory and the time of a script.
 *
 * Invariant: the tick and everything it calls are async-signal-safe, as lua_sethook is documented to be. */
#include "script/sandbox/guard.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/log.h"
#include "io/io.h"
#include "script/sandbox/origin.h"

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
    if (g->opts.counts && L && spend(g, instructions) && !kt_guard_stopped(g)) {
        atomic_store_explicit(&g->stopped, true, memory_order_relaxed);
        lua_sethook(L, on_stopped, STOP_MASK, 1); /* for callers that cannot raise: the allocator */
    }
    return kt_guard_stopped(g);
}

/* ---- memory ---- */

/* Like realloc and free, but wipes the old memory. */
static void *wiping_alloc(struct kt_guard *g, void *ptr, size_t osize, size_t nsize)
{
    void *p = nsize ? g->opts.alloc(g->opts.alloc_ctx, NULL, 0, nsize) : NULL;
    if (nsize && !p) return NULL;
    if (ptr && p) memcpy(p, ptr, osize < nsize ? osize : nsize);
    if (ptr) {
        explicit_bzero(ptr, osize);
        g->opts.alloc(g->opts.alloc_ctx, ptr, osize, 0);
    }
    return p;
}

static void *plain_or_wiping(struct kt_guard *g, void *ptr, size_t osize, size_t nsize)
{
    return g->wipes ? wiping_alloc(g, ptr, osize, nsize)
                    : g->opts.alloc(g->opts.alloc_ctx, ptr, osize, nsize);
}

void *kt_guard_alloc(void *ud, void *ptr, size_t osize, size_t nsize)
{
    struct kt_guard *g = ud;
    const bool string = !ptr && osize == LUA_TSTRING;
    if (!ptr) osize = 0; /* for a new object, Lua passes its type */
    if (nsize == 0) {
        if (ptr) plain_or_wiping(g, ptr, osize, 0);
        g->bytes -= osize;
        return NULL;
    }
    if (nsize > osize) {
        g->too_long = string && g->opts.limit && nsize > KT_STRING_MAX + STRING_HEAD ? nsize : 0;
        if (g->too_long || (g->opts.limit && nsize - osize > g->opts.limit - g->bytes)) return NULL;
        /* A library function that was running when the slice was stopped runs no hook, but may allocate. */
        if (kt_guard_stopped(g) && !g->telling) return NULL;
        /* Do not count tables: their growth depends on hashes, which differ between runs. */
        if (string && nsize >= LONG_STRING) kt_guard_worked(g, nsize / KT_GUARD_BYTES);
    }
    void *p = plain_or_wiping(g, ptr, osize, nsize);
    if (!p) return NULL; /* even when shrinking: Lua 5.4 then keeps the old block, or raises */
    g->bytes += nsize - osize;
    if (g->bytes > g->peak) g->peak = g->bytes;
    return p;
}

void kt_guard_memory_text(const struct kt_guard *g, char *out, size_t size)
{
    const double mib = 1 << 20;
    if (g->too_long)
        snprintf(out, size,
            "not enough memory: a string of %.1f MiB exceeds the limit of %u MiB; kt run --memory none lifts it",
            (double)g->too_long / mib, KT_STRING_MAX >> 20);
    else if (g->opts.limit)
        snprintf(out, size,
            "not enough memory: the script holds %.1f of %.1f MiB; kt run --memory sets the limit",
            (double)g->bytes / mib, (double)g->opts.limit / mib);
    else
        snprintf(out, size, "not enough memory: the script holds %.1f MiB", (double)g->bytes / mib);
}

void kt_guard_grant(struct kt_guard *g)
{
    if (g->opts.limit) g->opts.limit += g->bytes;
}

size_t kt_guard_reserve_max(const struct kt_guard *g)
{
    return g->opts.limit ? g->opts.limit / 2 : SIZE_MAX;
}

bool kt_guard_reserve(struct kt_guard *g, size_t n)
{
    if (n > kt_guard_reserve_max(g) - g->reserved) return false;
    g->reserved += n;
    return true;
}

void kt_guard_release(struct kt_guard *g, size_t n)
{
    g->reserved -= n;
}

void kt_guard_wipe(struct kt_guard *g, bool wipes)
{
    g->wipes = wipes;
}

bool kt_guard_wipes(const struct kt_guard *g)
{
    return g->wipes;
}

/* ---- stopping ---- */

/* Writes the innermost line of the script to g->where. L is in a hook or a C function. */
static void find_line(struct kt_guard *g, lua_State *L)
{
    lua_Debug ar;
    if (kt_origin_line(L, &ar)) snprintf(g->where, sizeof g->where, "%s:%d", ar.short_src, ar.currentline);
}

const char *kt_guard_text(lua_State *L)
{
    struct kt_guard *g = kt_guard_of(L);
    if (g->text_made) return g->text;
    g->text_made = true;
    find_line(g, L);
    char ran[48];
    if (g->opts.counts)
        snprintf(ran, sizeof ran, "%llu million instructions", (unsigned long long)(g->counted / COUNT));
    else
        snprintf(ran, sizeof ran, "%g s", (double)g->stop_us / 1e6);
    snprintf(g->text, sizeof g->text, "%s%sstopped after %s%s", g->where, g->where[0] ? ": " : "", ran,
        g->in_tasks ? " without yielding; call kt.sleep(0) in long loops"
                    : " in the main chunk; move long work into a task");
    return g->text;
}

/* Counts instructions. No clock is involved, so a slice is stopped at the same instruction in every run. */
static void on_count(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    struct kt_guard *g = kt_guard_of(L);
    if (!atomic_load_explicit(&g->running, memory_order_relaxed)) return;
    if (!spend(g, COUNT)) return;
    atomic_store_explicit(&g->stopped, true, memory_order_relaxed);
    kt_guard_raise(L);
}

void kt_guard_unhook(struct kt_guard *g, lua_State *L)
{
    if (g->opts.counts)
        lua_sethook(L, on_count, LUA_MASKCOUNT, COUNT);
    else
        lua_sethook(L, NULL, 0, 0);
}

int kt_guard_raise(lua_State *L)
{
    struct kt_guard *g = kt_guard_of(L);
    /* Set the hook only once: lua_sethook walks all frames, and this may be called once for each of them. */
    if (lua_gethook(L) != on_stopped) lua_sethook(L, on_stopped, STOP_MASK, 1);
    const char *text = kt_guard_text(L);
    g->telling = true;
    lua_pushstring(L, text);
    g->telling = false;
    lua_error(L);
    abort(); /* lua_error does not return */
}

/* Hooks: on_stopped runs before each instruction and call of a stopped slice, on_late before the next
 * instruction of a late one. A coroutine may keep its hook beyond the slice; the hook then removes itself. */
static void on_stopped(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    if (kt_guard_stopped(kt_guard_of(L))) kt_guard_raise(L);
    kt_guard_unhook(kt_guard_of(L), L);
}

static void on_late(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    struct kt_guard *g = kt_guard_of(L);
    lua_sethook(L, NULL, 0, 0);
    if (kt_guard_stopped(g)) kt_guard_raise(L);
    if (atomic_load_explicit(&g->late, memory_order_relaxed)) find_line(g, L);
}

void kt_guard_stop(struct kt_guard *g)
{
    atomic_store_explicit(&g->stopped, true, memory_order_relaxed);
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
    const uint64_t used = g->opts.wall ? wall_us : cpu_us + KT_WATCH_TICK_US;
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

int kt_guard_init(struct kt_guard *g, const struct kt_guard_opts *opts)
{
    *g = (struct kt_guard){.opts = *opts};
    if (opts->counts) return 0;
    int rc = kt_watch_new(opts->io, tick, g, &g->watch);
    if (rc == KT_ENOTSUP)
        kt_log(
            opts->log, KT_LOG_DEBUG, "no watchdog on this system: endless loops in scripts are not stopped");
    return rc == KT_ENOTSUP ? 0 : rc;
}

void kt_guard_free(struct kt_guard *g)
{
    kt_watch_free(g->watch);
    g->watch = NULL;
}

void kt_guard_in_tasks(struct kt_guard *g)
{
    g->in_tasks = true;
}

void kt_guard_begin(struct kt_guard *g, lua_State *L, uint64_t stop_us)
{
    g->stop_us = stop_us;
    g->counted = 0;
    g->paused = false;
    kt_guard_switch(g, L);
    if (g->watch) kt_watch_begin(g->watch);
}

void kt_guard_pause(struct kt_guard *g)
{
    if (!g->watch || !kt_guard_running(g) || g->paused) return;
    kt_watch_end(g->watch);
    g->paused = g->resumes = true;
}

void kt_guard_resume(struct kt_guard *g)
{
    if (g->resumes) kt_watch_begin(g->watch);
    g->resumes = false;
}

/* Records by how much a stopped slice has overrun its limit. It ends at its next instruction or call, so a
 * long overrun means that a C function could not be interrupted. */
static void note_overrun(struct kt_guard *g)
{
    const uint64_t used = atomic_load_explicit(&g->used_us, memory_order_relaxed);
    if (!g->watch || used <= g->stop_us) return;
    const uint64_t overrun = used - g->stop_us;
    if (overrun > g->overrun_us) g->overrun_us = overrun;
    if (overrun >= OVERRUN_US)
        kt_log(g->opts.log, KT_LOG_WARN, "%s: this slice ran for %.1f s before it could be stopped",
            g->where[0] ? g->where : "a script", (double)used / 1e6);
}

/* Logs a slice that was late but not stopped. */
static void warn_late(struct kt_guard *g, uint64_t took, const struct kt_origin *spawned)
{
    const uint64_t now = kt_io_now(g->opts.io);
    if (now < g->quiet_until) return;
    char from[128] = "";
    if (spawned) snprintf(from, sizeof from, ", spawned at %s:%d", spawned->source, spawned->line);
    kt_log(g->opts.log, KT_LOG_WARN, "%s: a slice took %d ms%s; call kt.sleep(0) in long loops",
        g->where[0] ? g->where : "a script", (int)(took / 1000), from);
    g->quiet_until = now + WARN_AGAIN_US;
}

bool kt_guard_end(struct kt_guard *g, const struct kt_origin *spawned)
{
    if (!g->watch && !g->opts.counts) {
        kt_guard_switch(g, NULL);
        return false;
    }
    const uint64_t took = g->watch ? kt_watch_end(g->watch) : 0;
    lua_State *L = kt_guard_switch(g, NULL);
    const bool late = atomic_load_explicit(&g->late, memory_order_relaxed), stopped = kt_guard_stopped(g);
    if (!late && !stopped) return false;
    kt_guard_unhook(g, L);
    if (stopped) note_overrun(g);
    if (!stopped && g->in_tasks) warn_late(g, took, spawned);
    atomic_store_explicit(&g->late, false, memory_order_relaxed);
    atomic_store_explicit(&g->stopped, false, memory_order_relaxed);
    g->text_made = false;
    g->where[0] = '\0';
    return stopped;
}

uint64_t kt_guard_stop_us(const struct kt_guard *g)
{
    return g->stop_us;
}

uint64_t kt_guard_overrun_us(const struct kt_guard *g)
{
    return g->overrun_us;
}
