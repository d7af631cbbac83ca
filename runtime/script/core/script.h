/* What the files of runtime/script share, above all what bindings use. struct kt_runtime is opaque here; core/ has it
 * in parts.h. */
#ifndef KT_SCRIPT_CORE_SCRIPT_H
#define KT_SCRIPT_CORE_SCRIPT_H

#include <lauxlib.h>
#include <lua.h>
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

/* ---- runtime.c ---- */

/* What the runtime was made with. */
struct kt_io *kt_runtime_io(const struct kt_runtime *rt);
struct kt_logger *kt_runtime_logger(const struct kt_runtime *rt);
const struct kt_log *kt_runtime_log(const struct kt_runtime *rt);
struct kt_counters *kt_runtime_counters(const struct kt_runtime *rt);
struct kt_starts *kt_runtime_starts(const struct kt_runtime *rt);
bool kt_runtime_repeatable(const struct kt_runtime *rt);
void kt_runtime_print(const struct kt_runtime *rt, int fd, const char *text, size_t len);
const char *kt_runtime_getenv(const struct kt_runtime *rt, const char *name);
/* Adds the script API to kt.core, the table on top of the stack. */
void kt_setup_bind(const struct kt_runtime *rt, lua_State *L);
/* Its main thread; NULL when the state is closed. */
lua_State *kt_runtime_state(const struct kt_runtime *rt);
struct kt_guard *kt_runtime_guard(struct kt_runtime *rt);

/* Whether `kt check` runs the script, and so also checks log calls below the log level. */
bool kt_runtime_checking(const struct kt_runtime *rt);
void kt_runtime_check(struct kt_runtime *rt);

enum kt_phase kt_runtime_phase(const struct kt_runtime *rt);
/* Whether another runtime has taken over. */
bool kt_runtime_replaced(const struct kt_runtime *rt);
/* Whether events of links and conns reach the script: it runs, or was replaced and still has conns. */
bool kt_runtime_attends(const struct kt_runtime *rt);
/* The drain time at process exit, and after a reload (KT_TIME_NEVER: no limit), in microseconds. */
void kt_runtime_set_drain(struct kt_runtime *rt, uint64_t us);
void kt_runtime_set_replaced_drain(struct kt_runtime *rt, uint64_t us);

/* Counts conns and streams that the script or its splices hold: `change` more, or fewer. */
void kt_runtime_hold_pipes(struct kt_runtime *rt, int change);
/* Whether it holds KT_PIPES_MAX of them. */
bool kt_runtime_pipes_full(const struct kt_runtime *rt);

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
/* Closes the state. The rest, which finalizers use, is freed by kt_state_free. */
void kt_state_close(struct kt_runtime *rt);
void kt_state_free(struct kt_runtime *rt);
/* Pushes the main chunk as a function. LUA_OK, or a Lua status with the message pushed. */
int kt_state_load_file(struct kt_runtime *rt, const char *path);
int kt_state_load_module(struct kt_runtime *rt, const char *module);
/* Pushes a module of the binary that the state has loaded, or nil. */
void kt_state_push_module(lua_State *L, const char *module);
/* Resolves a path given by the script, relative to the script's folder. Pushes the string and returns it. */
const char *kt_state_path(lua_State *L, const char *path);

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

/* Returns 0 or KT_ENOMEM. */
int kt_opts_new(struct kt_runtime *rt);
void kt_opts_free(struct kt_runtime *rt);
/* Call once for a new state, protected. */
void kt_opts_init(lua_State *L);
/* core.install(explain, duration, rate): sets the functions of kt.api and kt.units that these call:
 * explain(what, value) → the error message; duration and rate(value) → a number, or nil. */
int kt_opts_install(lua_State *L);
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
/* Adds its functions to kt.core, the table on top of the stack. */
void kt_err_bind(lua_State *L);

#endif
