/* Shared by the files of runtime/script: struct kt_runtime and the helpers that bindings use. */
#ifndef KT_SCRIPT_CORE_SCRIPT_H
#define KT_SCRIPT_CORE_SCRIPT_H

#include <lauxlib.h>
#include <lua.h>
#include <stdatomic.h>
#include "base/list.h"
#include "base/log.h"
#include "io/io.h"
#include "link/counters.h"
#include "link/common/starts.h"
#include "script/core/failure.h"
#include "script/core/runtime.h"
#include "script/core/task.h"
#include "script/sandbox/origin.h"
#include "script/sandbox/sandbox.h"

struct kt_logger;

enum kt_phase { KT_DECLARE, KT_RUN, KT_DRAIN, KT_END };

/* Units as scripts write them ("5s", "2MiB"). */
enum kt_unit { KT_UNIT_DURATION, KT_UNIT_RATE, KT_UNITS };
struct kt_units {
    int ref_reader; /* registry reference: function(value) → number, from kt.units */
    int ref_seen;   /* registry reference: cache, string → number */
    size_t seen;    /* entries in the cache */
};

/* A file of rows (lua_rows.c). */
struct kt_rows {
    char *path; /* NULL: none is open */
    struct kt_appender *to;
    atomic_bool failed; /* rows were lost; err says why */
    struct kt_err err;
};

struct kt_runtime {
    lua_State *L;
    struct kt_io *io;
    struct kt_logger *logger;
    const struct kt_log *log; /* the logger's */
    struct kt_counters *counters;
    struct kt_counters own_counters; /* used if opts.counters is NULL */
    struct kt_starts *starts;
    struct kt_starts own_starts; /* likewise */
    enum kt_phase phase;
    struct kt_rows rows;
    bool checking;   /* run by `kt check`, which also checks log calls below the log level */
    bool repeatable; /* see struct kt_runtime_opts */
    /* garbage (state.c) */
    unsigned slices;      /* since the last collection, if repeatable */
    size_t collect_bytes; /* bytes of the state at which the next cycle begins */
    size_t step_bytes;    /* the same after the last step */
    bool collecting;      /* within a cycle */
    const char *(*getenv)(void *ctx, const char *name);
    void *getenv_ctx;
    void (*print)(void *ctx, int fd, const char *text, size_t len);
    void *print_ctx;

    struct kt_sandbox sandbox; /* has the state, and bounds its memory and time */
    uint64_t main_us;          /* time limit of the main chunk */
    struct kt_origins origins; /* lines that spawn and declare */
    char warning[256];         /* pieces of a Lua warning, usually an error in a __gc */

    /* tasks (task.c) */
    struct kt_task main; /* stands for the main chunk; the main thread's extra space points at it */
    struct kt_list tasks, spare;
    struct kt_list ready, own; /* see task.c */
    unsigned ahead;            /* slices of `ready` run since the last one of `own` */
    size_t task_count, ready_count, spare_count;
    size_t spawned;        /* of task_count: started by kt.spawn */
    size_t aside;          /* of task_count: do not keep the script alive */
    const char *pure;      /* the running callback that must not wait ("a policy"), or NULL */
    struct kt_turn turn;   /* runs ready tasks */
    struct kt_timer again; /* runs those left over in the next turn */
    bool running;          /* within run_ready: newly ready tasks need no new hook */
    uint64_t visits_at;    /* time of the turn in which tasks last ran */
    unsigned visits;       /* times run_ready was called in that turn */
    struct kt_failures failures;
    uint64_t instant; /* io time at which tasks last ran */
    unsigned at_once; /* slices run at that time; counted only if `livelock` is set */
    void (*livelock)(void *ctx, const char *text);
    void *livelock_ctx;

    struct kt_list services; /* in order of declaration (service.h) */
    size_t serving;          /* open acceptors and listeners */
    size_t pipes;            /* conns and streams held by the script or its splices */

    /* end of life (runtime.c) */
    struct kt_timer drain_tick;
    uint64_t drain_us;    /* drain time at process exit */
    uint64_t replaced_us; /* drain time after a reload; KT_TIME_NEVER: no limit */
    uint64_t drain_until; /* deadline of the current drain */
    uint64_t drain_wait;  /* interval between checks of its progress */
    bool cut;             /* the deadline has passed and open pipes were reset */
    uint64_t quiet_since; /* when nothing was left to drain; 0: something is */
    bool replaced;        /* another runtime has taken over */
    bool exiting;         /* exit_code is final */
    void (*ended)(void *ctx);
    void *ended_ctx;
    int exit_code;
    char *message;

    /* registry references */
    int ref_loaded;     /* modules by name (state.c) */
    int ref_host_env;   /* environment of embedded modules */
    int ref_script_dir; /* string: the folder of the script's own modules */
    int ref_handles;    /* metatables of handles by kind (handle.h) */
    int ref_explain;    /* function(what, value) → error message, from kt.api */
    struct kt_units units[KT_UNITS];
};

/* Largest Lua source file, in bytes. */
#define KT_SCRIPT_MAX (8u << 20)
/* Tasks at a time; beyond it, conns and streams are refused. */
#define KT_TASKS_MAX 262144u
/* Of these, tasks started by kt.spawn: a script that spawns without end still has room to serve conns. */
#define KT_SPAWNED_MAX 65536u
/* Conns and streams that a script may hold before opening another is refused. Nothing else bounds them: a
 * stream uses no descriptor, and most of its memory is not Lua's. Accepted ones are not refused. */
#define KT_PIPES_MAX 262144u

static inline struct kt_runtime *kt_runtime_of(lua_State *L)
{
    return kt_task_of(L)->rt;
}

static inline struct kt_guard *kt_runtime_guard(struct kt_runtime *rt)
{
    return &rt->sandbox.guard;
}

/* The current line of the script. Never NULL. */
static inline const struct kt_origin *kt_origin_here(struct kt_runtime *rt, lua_State *L)
{
    return kt_origin_find(&rt->origins, L);
}

/* Pushes a number, as an integer if it is whole, so that it prints without ".0". */
static inline void kt_push_number(lua_State *L, double v)
{
    if (v > -9e15 && v < 9e15 && (double)(lua_Integer)v == v)
        lua_pushinteger(L, (lua_Integer)v);
    else
        lua_pushnumber(L, v);
}

/* ---- runtime.c ---- */

/* Whether events of links and conns reach the script: it runs, or was replaced and still has conns. */
static inline bool kt_runtime_attends(const struct kt_runtime *rt)
{
    return rt->phase == KT_RUN || (rt->phase == KT_DRAIN && rt->replaced);
}
/* Ends the runtime: no further task runs, and `ended` is called. Only the first code counts. */
void kt_runtime_stop(struct kt_runtime *rt, int code);
/* Ends the runtime if it has nothing left to do; called when a task or service has ended. */
void kt_runtime_settle(struct kt_runtime *rt);

/* Whether the script has something to do: a service with a handler, or a task. */
bool kt_runtime_has_work(const struct kt_runtime *rt);
#define KT_NO_WORK "the script has nothing to do; call kt.listen, kt.accept or kt.spawn at its top level"

/* ---- state.c ---- */

/* Returns 0, KT_ENOMEM, or why the guard could not start. */
int kt_state_new(struct kt_runtime *rt, const struct kt_sandbox_opts *opts);
void kt_state_close(struct kt_runtime *rt);
/* Pushes the main chunk as a function. LUA_OK, or a Lua status with the message pushed. */
int kt_state_load_file(struct kt_runtime *rt, const char *path);
int kt_state_load_module(struct kt_runtime *rt, const char *module);
/* Resolves a path given by the script, relative to the script's folder. Pushes the string and returns it. */
const char *kt_state_path(lua_State *L, const char *path);

/* Call after each slice: collects garbage if it is time to. Garbage is collected nowhere else. */
void kt_state_slice(struct kt_runtime *rt);

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
    /* uint64_t * (µs, or bytes per second), const char ** (anchored by the table), double * (0..1), bool *
     * (present), or one of the structs below */
    void *out;
};
struct kt_opt_rates { /* a rate, or a table with one for each direction */
    uint64_t a_to_b, b_to_a;
};
struct kt_opt_integer {
    lua_Integer value, min, max;
};

/* Reads the options table of a call made once per connection. Missing keys leave *out unchanged; nil at idx
 * means no options. Raises kt.api's message for an invalid table. */
void kt_opts_read(lua_State *L, int idx, const char *what, const struct kt_opt *opts, size_t n);
/* Raises kt.api's message for the value at idx as an invalid argument of `what`. */
int kt_opts_wrong(lua_State *L, int idx, const char *what);
/* A duration ("5s", seconds) in µs; raises. */
uint64_t kt_opts_duration(lua_State *L, int idx, const char *what);

/* ---- errors.c ---- */

/* Pushes an err object. text NULL: the code's own sentence. */
void kt_err_push(lua_State *L, int code, const char *text);
/* Pushes nil and an err object; returns 2. */
int kt_err_return(lua_State *L, int code, const char *text);
/* The same, inserted before the `extra` values on top of the stack; returns 2 + extra. */
int kt_err_return_before(lua_State *L, int extra, int code, const char *text);
/* The code of the err object at idx, and its text. A string or nil has code KT_ECANCELED; the text is NULL
 * for nil. Raises for any other type, as the method `what`. */
int kt_err_arg(lua_State *L, int idx, const char *what, const char **text);

/* Pushes a sentence that describes the raised value at idx. For a table without __tostring it lists the usual
 * fields instead of an address. May run a __tostring of the script. */
const char *kt_err_raised(lua_State *L, int idx);

/* ---- lua_secret.c ---- */

/* The bytes of a secret handle, or of a string; NULL for anything else. Anchored by the value. */
const char *kt_lua_secret_bytes(lua_State *L, int idx, size_t *len);

/* ---- api/lua_*.c: each adds its functions to kt.core, the table on top of the stack ---- */

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

/* kt.core.append_row, and closing its file. */
int kt_lua_append_row(lua_State *L);
void kt_rows_close(struct kt_rows *rows);

#endif
