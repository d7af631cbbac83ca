/* What the files of this room share: the runtime's insides and the small helpers of bindings. */
#ifndef KT_SCRIPT_CORE_SCRIPT_H
#define KT_SCRIPT_CORE_SCRIPT_H

#include <lauxlib.h>
#include <lua.h>
#include <stdatomic.h>
#include <stdio.h>
#include "script/sandbox/blocks.h"
#include "base/list.h"
#include "base/log.h"
#include "io/io.h"
#include "link/counters.h"
#include "link/common/starts.h"
#include "script/core/failure.h"
#include "script/sandbox/guard.h"
#include "script/core/runtime.h"
#include "script/core/task.h"

struct kt_logger;

enum kt_phase { KT_DECLARE, KT_RUN, KT_DRAIN, KT_END };

/* A line of a script: where something was declared or spawned. Interned, so that a task carries a pointer. */
struct kt_origin {
    struct kt_origin *next;
    int line;
    char source[64];
};

/* Units as scripts write them ("5s", "2MiB"). */
enum kt_unit { KT_UNIT_DURATION, KT_UNIT_RATE, KT_UNITS };
struct kt_units {
    int ref_reader; /* registry reference: function(value) → number, from kt.units */
    int ref_seen;   /* … strings seen before → numbers */
    size_t seen;
};

/* A file of rows (lua_rows.c). */
struct kt_rows {
    char *path; /* NULL: none is open */
    struct kt_appender *to;
    atomic_bool failed; /* err says why rows were not written */
    struct kt_err err;
};

struct kt_runtime {
    lua_State *L;
    struct kt_io *io;
    struct kt_logger *logger;
    const struct kt_log *log; /* the logger's */
    struct kt_counters *counters;
    struct kt_counters own_counters; /* if it was given none */
    struct kt_starts *starts;
    struct kt_starts own_starts; /* likewise */
    enum kt_phase phase;
    bool unsafe;
    FILE *streams[2];        /* io.stdout and io.stderr (unsafe.c); NULL without --unsafe */
    unsigned long child_fds; /* soft descriptor limit of programs that the script starts; 0: inherited */
    struct kt_rows rows;
    bool checking; /* `kt check` runs the script: it hears of mistakes in what the log would leave out, too */
    bool repeatable; /* see struct kt_runtime_opts */
    /* garbage (state.c) */
    unsigned slices;      /* since the last collection, if it is repeatable */
    size_t collect_bytes; /* the next begins when there is so much */
    size_t step_bytes;    /* how much there was after its last step */
    bool collecting;      /* a collection is going on */
    const char *(*getenv)(void *ctx, const char *name);
    void *getenv_ctx;
    void (*print)(void *ctx, int fd, const char *text, size_t len);
    void *print_ctx;

    struct kt_guard guard;      /* bounds memory and time */
    uint64_t main_us;           /* how long the main chunk may take */
    size_t lua_bytes, lua_peak; /* memory of the Lua state, counted by its allocator */
    size_t gathered;            /* ... and what calls that read have put by (lua_pipe_io.c) */
    struct kt_blocks blocks;    /* ... which takes it from here, unless it was given another one */
    char warning[256];          /* pieces of a warning of Lua (an error in a __gc, mostly) */

    /* tasks (task.c) */
    struct kt_task main; /* stands for the main chunk: the extra space of the main thread points at it */
    struct kt_list tasks, spare;
    struct kt_list ready, own; /* see task.c */
    unsigned ahead;            /* how many of `ready` went ahead of `own` */
    size_t task_count, ready_count, spare_count;
    size_t spawned;        /* of task_count: by kt.spawn */
    size_t aside;          /* of task_count: do not keep the script alive */
    const char *pure;      /* what is called that must not wait ("a policy"), or NULL */
    struct kt_turn turn;   /* runs what is ready */
    struct kt_timer again; /* ... in the next turn, when too many were ready for this one */
    bool running;          /* tasks run: what they make ready is seen to, or waits for `again` */
    uint64_t visits_at;    /* the turn in which they ran last, by its time */
    unsigned visits;       /* ... and how often the turn came back to them */
    struct kt_failures failures;
    uint64_t instant; /* when tasks ran last, and */
    unsigned at_once; /* ... how many slices of them, if somebody wants to know of a livelock */
    void (*livelock)(void *ctx, const char *text);
    void *livelock_ctx;
    struct kt_origin *origins;
    size_t origin_count;

    /* services: what was declared, in order (service.h) */
    struct kt_list services;
    size_t serving; /* acceptors and listeners that are open */
    size_t pipes;   /* conns and streams that a script or a splice of it holds */

    /* end of life (runtime.c) */
    struct kt_timer drain_tick;
    uint64_t drain_us;    /* how long a drain may last when the process ends */
    uint64_t replaced_us; /* ... and when a reload brings another script; KT_TIME_NEVER: no limit */
    uint64_t drain_until; /* its deadline, once it has begun */
    uint64_t drain_wait;  /* between two looks at how far it is */
    bool cut;             /* it has passed, and what was open was reset */
    uint64_t quiet_since; /* nothing was left to drain from then on; 0: something was */
    bool replaced;        /* another runtime has taken over */
    bool exiting;         /* exit_code is final */
    void (*ended)(void *ctx);
    void *ended_ctx;
    int exit_code;
    char *message;

    /* registry references */
    int ref_loaded;     /* modules by name (state.c) */
    int ref_host_env;   /* environment of embedded modules */
    int ref_finalizers; /* objects with a __gc → sentinels (finalizers.c) */
    int ref_script_dir; /* string: where the script's own modules are */
    int ref_handles;    /* kinds of handles by name (handle.h) */
    int ref_explain;    /* function(what, value) → what is wrong with it, from kt.api */
    struct kt_units units[KT_UNITS];
};

/* Bytes of Lua source that are read at most. */
#define KT_SCRIPT_MAX (8u << 20)
/* Tasks at once: past it, conns and streams are refused. */
#define KT_TASKS_MAX 262144u
/* ... of these by kt.spawn: a script that spawns without end leaves room for the conns it is to serve. */
#define KT_SPAWNED_MAX 65536u
/* Conns and streams that a script may hold when it opens another one. A stream costs no descriptor, and most
 * of it is not Lua's memory: nothing else bounds them. Those that are to be served are taken beyond that. */
#define KT_PIPES_MAX 262144u

static inline struct kt_runtime *kt_runtime_of(lua_State *L)
{
    return kt_task_of(L)->rt;
}

/* Pushes a number, as an integer where it is whole, so that it prints without ".0". */
static inline void kt_push_number(lua_State *L, double v)
{
    if (v > -9e15 && v < 9e15 && (double)(lua_Integer)v == v)
        lua_pushinteger(L, (lua_Integer)v);
    else
        lua_pushnumber(L, v);
}

/* ---- runtime.c ---- */

/* Whether what happens to its links and conns is the script's business: it runs, or was replaced and goes on
 * with what nobody has taken over from it. */
static inline bool kt_runtime_attends(const struct kt_runtime *rt)
{
    return rt->phase == KT_RUN || (rt->phase == KT_DRAIN && rt->replaced);
}
/* Ends the runtime: no task runs any more, and its owner is told. The first code counts. */
void kt_runtime_stop(struct kt_runtime *rt, int code);
/* Ends the runtime if nothing is left that could happen; called when something ended. */
void kt_runtime_settle(struct kt_runtime *rt);

/* Whether anything was declared that a running script would do: something to serve, or a task. */
bool kt_runtime_has_work(const struct kt_runtime *rt);
#define KT_NO_WORK                                                                                           \
    "the script declares nothing to do: no kt.listen, no kt.accept, no kt.spawn at its top level"

/* Raises a message at the script's line, whichever of our own functions lie between (luaL_error would name
 * those). Declared int for `return kt_raise(...)`. Formats as lua_pushfstring does. */
int kt_raise(lua_State *L, const char *fmt, ...) __attribute__((noreturn));

/* ---- state.c ---- */

int kt_state_new(struct kt_runtime *rt);
void kt_state_close(struct kt_runtime *rt);
/* Pushes the main chunk as a function. LUA_OK, or a Lua status with the message pushed. */
int kt_state_load_file(struct kt_runtime *rt, const char *path);
int kt_state_load_module(struct kt_runtime *rt, const char *module);
/* The path of a file that the script names: as it is if absolute, else from the script's folder. Pushes the
 * string and returns it. */
const char *kt_state_path(lua_State *L, const char *path);

/* A slice is over: it may be time to collect garbage, which happens here and nowhere else. */
void kt_state_slice(struct kt_runtime *rt);

/* Pushes a shallow copy of the table at idx; returns 1. */
int kt_state_copy(lua_State *L, int idx);

/* ---- globals.c ---- */

/* Opens the library, as far as scripts and the modules in the binary are to have it, as globals. */
void kt_globals_open(lua_State *L, bool unsafe);
/* Makes of them what a script gets: guarded functions, no undefined reads. */
void kt_globals_guard(lua_State *L);

/* ---- options.c ---- */

enum kt_opt_type {
    KT_OPT_DURATION,
    KT_OPT_STRING,
    KT_OPT_RATE,
    KT_OPT_RATES,
    KT_OPT_INTEGER,
    KT_OPT_SHARE,
    KT_OPT_TABLE
};
struct kt_opt {
    const char *key;
    enum kt_opt_type type;
    /* uint64_t * (µs; bytes a second), const char ** (anchored by the table), double * (0..1), bool * (there
     * is one), or one of those below */
    void *out;
};
struct kt_opt_rates { /* a rate, or a table with one for each way */
    uint64_t a_to_b, b_to_a;
};
struct kt_opt_integer {
    lua_Integer value, min, max;
};

/* Reads an options table of a call that happens per connection; unset keys leave *out alone. Anything wrong
 * goes to the description in kt.api for the sentence and is raised. nil at idx: no options. */
void kt_opts_read(lua_State *L, int idx, const char *what, const struct kt_opt *opts, size_t n);
/* Raises what kt.api says is wrong with the value at idx as the argument of `what`. */
int kt_opts_wrong(lua_State *L, int idx, const char *what);
/* A duration ("5s", seconds) in µs; raises. */
uint64_t kt_opts_duration(lua_State *L, int idx, const char *what);

/* ---- errors.c ---- */

/* Pushes an err object. text NULL: the code's own sentence. */
void kt_err_push(lua_State *L, int code, const char *text);
/* Pushes nil and an err object; returns 2. */
int kt_err_return(lua_State *L, int code, const char *text);
/* The same, put before the `extra` values on top of the stack; returns 2 + extra. */
int kt_err_return_before(lua_State *L, int extra, int code, const char *text);
/* The code of the err object (or string, or nil: KT_ECANCELED) at idx, and its sentence (NULL for nil);
 * raises for anything else, in the name of the method `what`. */
int kt_err_arg(lua_State *L, int idx, const char *what, const char **text);

/* Pushes a sentence for what a script raised, the value at idx: a table or a function has none of its own,
 * and its address says nothing. May run a __tostring of the script's. */
const char *kt_err_raised(lua_State *L, int idx);

/* ---- lua_secret.c ---- */

/* The bytes of a secret handle, or of a string; NULL for anything else. Anchored by the value. */
const char *kt_lua_secret_bytes(lua_State *L, int idx, size_t *len);

/* ---- lua_*.c: each adds its functions to the table on top of the stack, which becomes kt.core ---- */

void kt_lua_core(lua_State *L);
void kt_lua_service(lua_State *L);
void kt_lua_check(lua_State *L);
void kt_lua_lookup(lua_State *L);
void kt_lua_resolve(lua_State *L);
void kt_lua_log(lua_State *L);
void kt_lua_task(lua_State *L);
void kt_lua_clock(lua_State *L);
void kt_lua_aside(lua_State *L);
void kt_lua_kind(lua_State *L);
void kt_lua_err(lua_State *L);
void kt_lua_secret(lua_State *L);
void kt_lua_pipe(lua_State *L);
void kt_lua_connect(lua_State *L);
void kt_lua_splice(lua_State *L);
void kt_lua_udp(lua_State *L);
void kt_lua_listen(lua_State *L);
void kt_lua_link(lua_State *L);
void kt_lua_accept(lua_State *L);

/* ---- these replace functions of Lua's library, in the script's world ---- */

/* In the table on top: coroutine. */
void kt_lua_coroutine(lua_State *L);
/* The globals pairs and next, for a repeatable runtime, whose guard counts their work; or for a spec's own
 * state, without one (NULL). */
void kt_lua_order(lua_State *L, struct kt_guard *guard);
/* In the table on top: table.sort. */
void kt_lua_sort(lua_State *L);
/* In the table on top, table: concat, insert, move, remove, unpack. */
void kt_lua_table(lua_State *L);
/* Over Lua's own, of which no other copy may be left: functions that go through strings; load. */
void kt_lua_bounded(lua_State *L);
/* The time and the environment in os, if there is one, for a repeatable runtime. */
void kt_lua_os(lua_State *L);
/* kt.core.append_row, and the end of its file. */
int kt_lua_append_row(lua_State *L);
void kt_rows_close(struct kt_rows *rows);
/* os.exit: ends the script as the end of the process would; no pcall stops it. */
int kt_lua_os_exit(lua_State *L);
/* The globals io and os for --unsafe; see unsafe.c. The streams are freed by kt_unsafe_close, once the
 * state is closed. */
void kt_lua_unsafe(lua_State *L);
void kt_unsafe_close(struct kt_runtime *rt);
/* The global setmetatable. */
void kt_lua_finalizer(lua_State *L);

#endif
