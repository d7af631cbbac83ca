/* The guard: what keeps a script's mistakes from taking the tunnel down. It bounds the memory of the Lua
 * state and the time that a slice of Lua may take: from the moment the loop enters Lua until it is back.
 *
 * Time: nothing is hooked while all goes well. The io's watch ticks in the midst of a slice that takes long;
 * the first tick that finds it late has a hook note the script's line, for the warning; the one that finds it
 * far too late condemns it. From then on every instruction of the slice raises, and every call, pcall or no,
 * until the slice is over. Calls count because a C function that calls metamethods in a loop may run no
 * instruction at all: they may be C functions, too. That covers coroutines of the script (their resume is
 * ours, coroutines.c), message handlers (xpcall is ours, globals.c) and finalizers (setmetatable is ours,
 * finalizers.c): Lua runs the latter two with hooks switched off.
 *
 * A repeatable runtime (a simulated host's) has no watch: there a hook counts instructions, all the time, and
 * a slice is stopped at the same one in every run. C functions that may take long count what they do, and so
 * does the allocator the long strings that it makes room for, in what would be instructions.
 *
 * Whoever lets Lua of a script run from the loop (a callback, a policy, the main chunk of a new state) does
 * so within kt_guard_begin and kt_guard_end, by lua_pcall or lua_resume; it reads kt_guard_text before the
 * end, and after a stop does not use that thread again, unless all of it ran in a lua_pcall that has
 * returned. Where Lua runs already, there is a slice already: nested calls need none, and must not begin one;
 * who has Lua go on on another thread tells kt_guard_switch. C functions that call back ask kt_guard_stopped;
 * those that take long, kt_guard_step or kt_guard_worked.
 *
 * Invariant: `running` is the thread that runs Lua now, NULL between slices; only then is the watch on. */
#ifndef KT_SCRIPT_SANDBOX_GUARD_H
#define KT_SCRIPT_SANDBOX_GUARD_H

#include <lua.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kt_origin;
struct kt_runtime;
struct kt_watch;

#define KT_SLICE_WARN_US 50000u  /* a slice that takes longer is warned about */
#define KT_SLICE_STOP_US 500000u /* ... and longer than this is stopped */
#define KT_MAIN_STOP_US 5000000u /* the main chunk may build large tables: nothing is open at the start */

/* Bytes of a string, where memory is limited at all; and of all string arguments together of a library
 * function that goes through them (bounded.c). Nothing can stop Lua while it looks through a string: this
 * bounds how long that takes. */
#define KT_STRING_MAX (64u << 20)

struct kt_guard {
    /* memory */
    size_t limit; /* bytes, 0: none */
    void *(*alloc)(void *ctx, void *ptr, size_t old, size_t size);
    void *alloc_ctx;
    bool wipes;      /* memory is wiped before it is given back: there are keys in it */
    size_t too_long; /* bytes of the string that was refused last; 0: memory ran out after that */

    /* time */
    struct kt_watch *watch; /* NULL: the io has none */
    bool wall;              /* time spent waiting in a call counts: the script has os and io */
    uint64_t stop_us;
    bool counts;      /* a repeatable runtime, which has no watch */
    uint64_t counted; /* ... instructions of this slice */
    size_t steps;     /* of C functions, not counted yet: see kt_guard_steps */
    _Atomic(lua_State *) running;
    atomic_bool late, stopped; /* set by the tick */
    _Atomic(uint64_t) used_us; /* time that counts against the slice, at the last tick that found it late */
    uint64_t overrun_us;       /* the most by which a slice that was stopped had passed its limit */
    char where[96];            /* "s.lua:7", or "" as long as it is not known */
    bool text_made;
    bool telling;       /* what is said of a stopped slice may allocate */
    bool no_finalizers; /* one of them had to be stopped */
    uint64_t quiet_until;
    char text[320]; /* why it was stopped */
};

/* ---- memory ---- */

/* The state's allocator; ud is the runtime. */
void *kt_guard_alloc(void *ud, void *ptr, size_t osize, size_t nsize);
/* What there is to say after "not enough memory". */
void kt_guard_memory_text(const struct kt_runtime *rt, char *out, size_t size);

/* ---- time ---- */

/* 0 or KT_ENOMEM; without a watch the runtime goes on unwatched. */
int kt_guard_init(struct kt_runtime *rt);
void kt_guard_free(struct kt_runtime *rt);

/* Takes the guard's hooks off L, but for the one that counts, if instructions count. */
void kt_guard_unhook(struct kt_runtime *rt, lua_State *L);

/* A slice that runs Lua on L. */
void kt_guard_begin(struct kt_runtime *rt, lua_State *L, uint64_t stop_us);
/* It is over; true if it was stopped. One that took long is warned about, with its line and, if not NULL,
 * where it was spawned. */
bool kt_guard_end(struct kt_runtime *rt, const struct kt_origin *spawned);

/* Whether a slice is under way. */
static inline bool kt_guard_running(const struct kt_guard *g)
{
    return atomic_load_explicit(&g->running, memory_order_relaxed) != NULL;
}

/* Within a slice: Lua goes on on another thread; returns the one it was on, for switching back. */
static inline lua_State *kt_guard_switch(struct kt_guard *g, lua_State *to)
{
    return atomic_exchange_explicit(&g->running, to, memory_order_relaxed);
}

/* True once the slice was stopped: C functions that take long or call back ask, and raise. */
static inline bool kt_guard_stopped(const struct kt_guard *g)
{
    return atomic_load_explicit(&g->stopped, memory_order_relaxed);
}

/* A C function has done, or will now do, what takes as long as so many instructions (some 20 ns each). True
 * once the slice was stopped. */
bool kt_guard_worked(struct kt_guard *g, uint64_t instructions);
#define KT_GUARD_STEPS 4096u
/* The same for the n steps of a loop, each of about an instruction's length: cheap, and not always asking. */
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
/* Bytes that are copied or looked through while an instruction runs. */
#define KT_GUARD_BYTES 64u

/* Raises the reason, on L, and on L for good: for functions that find the slice stopped. */
int kt_guard_raise(lua_State *L) __attribute__((noreturn));
/* The reason; the script's line in it is one of L's, unless it was found already. */
const char *kt_guard_text(lua_State *L);
/* True if L died of it: nothing of it may run any more. */
bool kt_guard_killed(lua_State *L);

#endif
