/* Tasks: coroutines that may wait.
 *
 * A task is resumed from the lines of ready ones at the end of a loop turn and from nowhere else, so no Lua
 * ever runs inside a callback of the rooms below. What an operation brings is kept in the task until then; it
 * is turned into Lua values by the binding's `finish`, which runs inside the task, where a Lua error (out of
 * memory, say) is the task's own.
 *
 * A task owns the pipes and sockets made in it. When it ends, what it still owns is closed; when it fails,
 * reset. */
#ifndef KT_SCRIPT_CORE_TASK_H
#define KT_SCRIPT_CORE_TASK_H

#include <lua.h>
#include "base/list.h"
#include "io/io.h"
#include "link/splice.h"

struct kt_runtime;
struct kt_task;
struct kt_origin;

/* Undoes the operation that a task waits for: after it, no callback of it comes. */
typedef void (*kt_task_cancel)(struct kt_task *t);
/* Pushes what a successful wait returns to the script; returns how many values. The stack is as the binding
 * left it when it called kt_task_wait. */
typedef int (*kt_task_finish)(lua_State *L, struct kt_task *t);

enum kt_task_state { KT_TASK_SPARE, KT_TASK_READY, KT_TASK_RUNNING, KT_TASK_WAITING };

struct kt_task {
    struct kt_runtime *rt;
    lua_State *L;
    int ref;      /* keeps the thread alive */
    int nargs;    /* of a task that has not run yet */
    bool spawned; /* by kt.spawn */
    bool aside;   /* does not keep the script alive */
    enum kt_task_state state;
    struct kt_list node;   /* rt->tasks, or rt->spare */
    struct kt_list ready;  /* rt->ready, or rt->own */
    struct kt_list owned;  /* of kt_owned: pipes and sockets */
    struct kt_list wait;   /* for the operation's use: a list of those who wait there */
    struct kt_list fellow; /* for the use of who started it: a list of its tasks, until they end */
    const struct kt_origin *origin;

    /* the wait */
    const char *what; /* "link:open"; static storage */
    kt_task_cancel cancel;
    kt_task_finish finish;
    kt_task_finish failed; /* set before kt_task_wait: pushes what follows nil and err; NULL: nothing does */
    const char *missing;   /* likewise: what did not come in time; static storage; NULL: "no answer" */
    /* Likewise: why nothing came, after which the wait fails with that when its time is up; NULL, or gives
     * NULL: it fails with KT_ETIMEOUT. */
    const struct kt_err *(*why)(struct kt_task *t);
    void *op; /* the binding's */
    struct kt_timer timer;
    uint64_t timeout_us;

    /* its outcome, until the task runs */
    int code;             /* 0 or KT_E… */
    char *text;           /* malloc'd sentence, or NULL */
    struct kt_pipe *pipe; /* a pipe that no handle has yet */
    struct kt_conn *conn; /* ... if it is a conn */
    struct kt_splice_result splice;
    uint64_t value; /* a number, for the finish that knows what it is */
    void *brought;  /* malloc'd: what else there is, for the finish that knows it; freed with the outcome */
};

/* The task whose thread L is; rt->main for the main chunk, and for coroutines that a script made itself. */
static inline struct kt_task *kt_task_of(lua_State *L)
{
    return *(struct kt_task **)lua_getextraspace(L);
}

void kt_tasks_init(struct kt_runtime *rt);
/* Ends every task: waits are canceled, pipes reset. Not from inside a task. */
void kt_tasks_cut(struct kt_runtime *rt);
/* The same for good: no task can be made any more. */
void kt_tasks_end(struct kt_runtime *rt);

/* What is said of a function that was called in the main chunk: a format for its name. */
#define KT_TASK_ONLY                                                                                         \
    "%s: only in a task, and this is the main chunk; call it in a function given to :serve or kt.spawn"

#define KT_DECLARE_ONLY                                                                                      \
    "%s: only in the main chunk, and this is a task; declare it at the top of the script and use it here"

/* The current task, or an error that names the function, the context and the fix. */
struct kt_task *kt_task_need(lua_State *L, const char *what);
/* Raises unless this is the main chunk, before anything was opened. */
struct kt_runtime *kt_declare_need(lua_State *L, const char *what);

/* Waits: `return kt_task_wait(…)` from a C function whose task kt_task_need gave. After timeout_us
 * (KT_TIME_NEVER: none) cancel is called and the script gets nil and a timeout; with no cancel the timeout is
 * a success (sleep). */
int kt_task_wait(lua_State *L, struct kt_task *t, const char *what, kt_task_cancel cancel,
    kt_task_finish finish, uint64_t timeout_us);

/* Ends the wait: the task runs at the end of this turn. code 0: finish makes the results; else the script
 * gets nil and an err object (text NULL: the code's sentence). For callbacks of the operation. */
void kt_task_wake(struct kt_task *t, int code, const char *text);

/* A new task, nothing on its stack; NULL when out of memory or past KT_TASKS_MAX. Push a function and
 * arguments on t->L, then kt_task_start. L: any state at hand with room for two values; may raise nothing. */
struct kt_task *kt_task_new(struct kt_runtime *rt, lua_State *L, const struct kt_origin *origin);
void kt_task_start(struct kt_task *t, int nargs);
/* For callbacks: a task for a handler of the script's. prepare(arg) is called, protected, and returns the
 * handler and its arguments, or nothing: then there is none. No Lua of the script's runs meanwhile. Returns
 * the task, which has not begun to run, or NULL. */
struct kt_task *kt_task_prepare(
    struct kt_runtime *rt, const struct kt_origin *origin, lua_CFunction prepare, const void *arg);
/* Gives up a task that was not started. */
void kt_task_abandon(struct kt_task *t);
/* Runs handler (a registry reference) as a task that owns the pipe; peer NULL for a conn. Resets the pipe if
 * there can be no task. */
void kt_task_serve(struct kt_runtime *rt, int handler, const struct kt_origin *origin, struct kt_pipe *pipe,
    struct kt_conn *conn, const char *peer);

/* The line of the script that is calling. Never NULL. */
const struct kt_origin *kt_origin_here(struct kt_runtime *rt, lua_State *L);
void kt_origins_free(struct kt_runtime *rt);
/* Whether a chunk's name is that of a module in the binary. */
bool kt_origin_embedded(const char *short_src);

#endif
