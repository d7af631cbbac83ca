/* The guard keeps a script's mistakes from taking the tunnel down. It limits the memory of the Lua state and
 * the duration of a slice: the time from when the loop enters Lua until Lua returns.
 *
 * Time: no hook is set in the normal case. The io's watch ticks during a long slice. The first tick past the
 * warning time sets a hook that records the script's line; the first one past the limit stops the slice. From
 * then on every instruction and every call of the slice raises an error, despite any pcall, until it is over.
 * Calls raise as well, because a C function that calls metamethods in a loop may run no instruction at all: they
 * may be C functions as well. Lua runs message handlers and finalizers with hooks off, so xpcall (globals.c)
 * and setmetatable (finalizers.c) are replaced to cover them; so is coroutine.resume (coroutines.c).
 *
 * A repeatable runtime (on a simulated host) has no watch. A hook counts instructions all the time, so that a
 * slice is stopped at the same instruction in every run. C functions that may take long, and the allocator
 * for long strings, add an equivalent number of instructions.
 *
 * Code that runs a script's Lua from the loop (a callback, a policy, the main chunk) calls lua_pcall or
 * lua_resume between kt_guard_begin and kt_guard_end. It reads kt_guard_text before kt_guard_end. After a
 * stop it must not use the thread again, unless everything on it ran inside a lua_pcall that has returned.
 * Slices do not nest: code called from Lua must not begin one, and calls kt_guard_switch when it runs Lua on
 * another thread. C functions that call back into Lua check kt_guard_stopped; those that take long call
 * kt_guard_step or kt_guard_worked.
 *
 * Invariant: `running` is the thread that runs Lua now, and NULL between slices; the watch is on only while
 * it is set. */
#ifndef KT_SCRIPT_SANDBOX_GUARD_H
#define KT_SCRIPT_SANDBOX_GUARD_H

#include <lua.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kt_io;
struct kt_log;
struct kt_origin;
struct kt_watch;

#define KT_SLICE_WARN_US 50000u  /* a longer slice is logged */
#define KT_SLICE_STOP_US 500000u /* a longer slice is stopped */
#define KT_MAIN_STOP_US 5000000u /* for the main chunk, which may build large tables while nothing is open */

/* Longest string, in bytes, if memory is limited; also the limit for all string arguments of a library
 * function together (bounded.c). Lua cannot be stopped while it scans a string, so this bounds the time that
 * takes. */
#define KT_STRING_MAX (64u << 20)

#define KT_GUARD_TEXT 320u /* size of the longest kt_guard_text */

struct kt_guard_opts {
    struct kt_io *io;         /* outlives the guard */
    const struct kt_log *log; /* likewise */
    size_t limit;             /* memory limit of the state, in bytes; 0: none */
    /* Allocates the state's memory, like realloc; size 0 frees. */
    void *(*alloc)(void *ctx, void *ptr, size_t old, size_t size);
    void *alloc_ctx;
    bool wall;   /* also count time blocked in a call: the script has os and io */
    bool counts; /* count instructions instead of time: a repeatable runtime; io and log may then be NULL */
};

/* Zeroed: no guard, but kt_guard_free may be called. */
struct kt_guard {
    struct kt_guard_opts opts;

    /* memory */
    size_t bytes, peak; /* of the state, counted by its allocator */
    size_t reserved;    /* see kt_guard_reserve */
    bool wipes;         /* wipe memory before freeing it, as it may contain keys */
    size_t too_long;    /* size of the string refused last; 0: the last failure had another reason */

    /* time */
    struct kt_watch *watch; /* NULL: the io has none */
    uint64_t stop_us;
    bool in_tasks;        /* the main chunk is over */
    bool paused, resumes; /* kt_guard_pause was called in this slice; kt_guard_resume is to follow */
    uint64_t counted;     /* instructions of this slice, if they are counted */
    size_t steps;         /* steps of C functions not yet counted: see kt_guard_steps */
    _Atomic(lua_State *) running;
    atomic_bool late, stopped; /* set by the tick */
    _Atomic(uint64_t) used_us; /* time counted against the slice, as of the last late tick */
    uint64_t overrun_us;       /* largest overrun of a stopped slice */
    char where[96];            /* "s.lua:7", or "" if not known yet */
    bool text_made;
    bool telling; /* the error message of a stopped slice may allocate */
    uint64_t quiet_until;
    char text[KT_GUARD_TEXT]; /* why it was stopped */
};

/* Returns 0 or KT_ENOMEM. If the io has no watch, slices are not limited. */
int kt_guard_init(struct kt_guard *g, const struct kt_guard_opts *opts);
void kt_guard_free(struct kt_guard *g);

/* The guard of a state created with kt_guard_alloc. */
static inline struct kt_guard *kt_guard_of(lua_State *L)
{
    void *g;
    lua_getallocf(L, &g);
    return g;
}

/* ---- memory ---- */

/* The state's allocator; ud is the guard. */
void *kt_guard_alloc(void *ud, void *ptr, size_t osize, size_t nsize);
/* The error message for running out of memory. */
void kt_guard_memory_text(const struct kt_guard *g, char *out, size_t size);
/* Bytes that the state holds, and the most it has held. */
static inline size_t kt_guard_bytes(const struct kt_guard *g)
{
    return g->bytes;
}
static inline size_t kt_guard_peak(const struct kt_guard *g)
{
    return g->peak;
}
/* Raises the limit, if there is one, by what the state holds. */
void kt_guard_grant(struct kt_guard *g);
/* Counts n bytes that are held outside the state on behalf of the script. Returns false and counts nothing if
 * all of them together would exceed kt_guard_reserve_max: half the limit, or SIZE_MAX. */
size_t kt_guard_reserve_max(const struct kt_guard *g);
bool kt_guard_reserve(struct kt_guard *g, size_t n);
void kt_guard_release(struct kt_guard *g, size_t n);
/* Whether memory is wiped before it is freed, as it may contain keys; initially not. */
void kt_guard_wipe(struct kt_guard *g, bool wipes);
bool kt_guard_wipes(const struct kt_guard *g);

/* ---- time ---- */

/* Call when the main chunk is over: a stopped slice gets another message then, and late ones are logged. */
void kt_guard_in_tasks(struct kt_guard *g);

/* Removes the guard's hooks from L, except for the one that counts instructions. */
void kt_guard_unhook(struct kt_guard *g, lua_State *L);

/* Begins a slice that runs Lua on L. */
void kt_guard_begin(struct kt_guard *g, lua_State *L, uint64_t stop_us);
/* Ends the slice; returns true if it was stopped. Logs a long slice with its line and, if not NULL, where its
 * task was spawned. */
bool kt_guard_end(struct kt_guard *g, const struct kt_origin *spawned);

/* Within a slice or not: what is between the two is kt's own work, and the slice has all of its time again after it.
 * Only the first pair in a slice has an effect, so that a loop of such calls still ends. */
void kt_guard_pause(struct kt_guard *g);
void kt_guard_resume(struct kt_guard *g);

/* Whether a slice is running. */
static inline bool kt_guard_running(const struct kt_guard *g)
{
    return atomic_load_explicit(&g->running, memory_order_relaxed) != NULL;
}

/* Within a slice: call before running Lua on another thread. Returns the previous thread, for switching
 * back. */
static inline lua_State *kt_guard_switch(struct kt_guard *g, lua_State *to)
{
    return atomic_exchange_explicit(&g->running, to, memory_order_relaxed);
}

/* Whether the slice was stopped. C functions that take long or call back into Lua check this, and raise. */
static inline bool kt_guard_stopped(const struct kt_guard *g)
{
    return atomic_load_explicit(&g->stopped, memory_order_relaxed);
}

/* Counts work of a C function that takes as long as this number of instructions (some 20 ns each). Returns
 * true if the slice was stopped. */
bool kt_guard_worked(struct kt_guard *g, uint64_t instructions);
#define KT_GUARD_STEPS 4096u
/* The same for n steps of a loop, each as long as an instruction. Cheap: it adds them up and checks
 * rarely. */
static inline bool kt_guard_steps(struct kt_guard *g, size_t n)
{
    g->steps += n;
    if (g->steps < KT_GUARD_STEPS) return false;
    n = g->steps;
    g->steps = 0;
    return kt_guard_worked(g, n);
}
static inline bool kt_guard_step(struct kt_guard *g)
{
    return kt_guard_steps(g, 1);
}
/* Bytes copied or scanned in the time of an instruction. */
#define KT_GUARD_BYTES 64u

/* Stops the running slice. */
void kt_guard_stop(struct kt_guard *g);
/* For functions that find the slice stopped: raises the reason on L, and makes L raise it from then on. */
int kt_guard_raise(lua_State *L) __attribute__((noreturn));
/* The reason. The script's line in it is taken from L, unless it is known already. */
const char *kt_guard_text(lua_State *L);
/* Whether L ended because it was stopped; it must not run again. */
bool kt_guard_killed(lua_State *L);
/* The time limit of the running slice. */
uint64_t kt_guard_stop_us(const struct kt_guard *g);
/* The largest overrun of a stopped slice, in microseconds. */
uint64_t kt_guard_overrun_us(const struct kt_guard *g);

#endif
