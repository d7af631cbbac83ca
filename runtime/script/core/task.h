/* Tasks: coroutines that may wait.
 *
 * A task is resumed only from the ready queues, at the end of a loop turn, so no Lua ever runs inside a
 * callback of the rooms below. The result of an operation stays in the task until then. The binding's
 * `finish` turns it into Lua values; it runs inside the task, so that a Lua error (out of memory, say) fails
 * only this task.
 *
 * A task owns the pipes and sockets created in it. Those it still owns when it ends are closed; when it
 * fails or is stopped, they are reset. Between two tasks, on its way from one to the other, a handle belongs to
 * the stand-in for the main chunk. */
#ifndef KT_SCRIPT_CORE_TASK_H
#define KT_SCRIPT_CORE_TASK_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/list.h"
#include "base/log.h"

struct kt_conn;
struct kt_err;
struct kt_origin;
struct kt_pipe;
struct kt_runtime;
struct kt_task;

/* Tasks at a time; beyond it, conns and streams are refused. */
#define KT_TASKS_MAX 262144u
/* Of these, tasks started by kt.spawn: a script that spawns without end still has room to serve conns. */
#define KT_SPAWNED_MAX 65536u

/* Cancels the operation that a task waits for; none of its callbacks is called afterwards. */
typedef void (*kt_task_cancel)(struct kt_task *t);
/* Pushes the results of a successful wait and returns their number. The stack is as the binding left it when
 * it called kt_task_wait. */
typedef int (*kt_task_finish)(lua_State *L, struct kt_task *t);

/* The task of thread L, or the stand-in for the main chunk. */
static inline struct kt_task *kt_task_of(lua_State *L)
{
    return *(struct kt_task **)lua_getextraspace(L);
}

struct kt_runtime *kt_runtime_of(lua_State *L);
/* The stand-in for the main chunk. */
struct kt_task *kt_task_main(const struct kt_runtime *rt);
struct kt_runtime *kt_task_runtime(const struct kt_task *t);
/* Its coroutine. */
lua_State *kt_task_thread(const struct kt_task *t);
/* Where it was spawned, or its handler was set. */
const struct kt_origin *kt_task_origin(const struct kt_task *t);
/* Sets the subject of the task's log lines: the conn or the peer whose handler it is, or that of the task which spawned
 * it. Addresses are copied, and cut at 47 bytes; the link is not kept. */
void kt_task_set_about(struct kt_task *t, const struct kt_log_fields *about);
struct kt_log_fields kt_task_about(const struct kt_task *t);

/* Returns 0 or KT_ENOMEM. livelock: as in kt_runtime_opts. */
int kt_tasks_new(struct kt_runtime *rt, void (*livelock)(void *ctx, const char *text), void *livelock_ctx);
/* Makes the thread of a new state stand for the main chunk. */
void kt_tasks_begin(struct kt_runtime *rt);
/* Once the state is closed, as finalizers use kt_task_of. */
void kt_tasks_free(struct kt_runtime *rt);
size_t kt_tasks_count(const struct kt_runtime *rt);
/* Whether there is a task that keeps the script alive. */
bool kt_tasks_need_runtime(const struct kt_runtime *rt);
/* Ends every task: cancels waits and resets pipes. Not from inside a task. */
void kt_tasks_cut(struct kt_runtime *rt);
/* The same, for the end of the runtime; also frees the spare tasks. */
void kt_tasks_end(struct kt_runtime *rt);

/* The task after t, or the first if t is NULL; NULL: there is none. */
const struct kt_task *kt_task_next(const struct kt_runtime *rt, const struct kt_task *t);
enum kt_task_state { KT_TASK_READY, KT_TASK_RUNNING, KT_TASK_WAITING };
/* The current state of a task. Never raises. */
struct kt_task_look {
    enum kt_task_state state;
    const char *waits_in; /* as kt_task_waits_in */
    uint64_t age_us;      /* since it was made */
    char source[64];      /* of the script's line that it is at; "" if it has not begun */
    int line;
};
void kt_task_look(const struct kt_task *t, struct kt_task_look *out);

/* Error for a function called in the main chunk that needs a task; formats its name. */
#define KT_TASK_ONLY "%s: not allowed in the main chunk; call it in a function passed to :serve or kt.spawn"

#define KT_DECLARE_ONLY "%s: only allowed in the main chunk; call it at the top level of the script"

/* The current task; raises where waiting is not allowed. */
struct kt_task *kt_task_need(lua_State *L, const char *what);
/* Makes kt_task_need raise while a callback runs that must not wait; what: "a policy", or NULL once it has
 * returned. Returns the value before. */
const char *kt_task_forbid_waits(struct kt_runtime *rt, const char *what);
/* Raises unless called from the main chunk. */
struct kt_runtime *kt_declare_need(lua_State *L, const char *what);

/* ---- waiting ---- */

struct kt_wait {
    const char *what;      /* "link:open"; static storage */
    bool sleep;            /* the timeout is a success; used with what and timeout_us only */
    bool by_script;        /* another task of the script ends it; as after a sleep, conns then come first */
    kt_task_cancel cancel; /* NULL: nothing to undo */
    kt_task_finish finish; /* NULL: no results */
    kt_task_finish failed; /* pushes the results that follow nil and err; NULL: none */
    const char *missing;   /* the missing event, for the timeout message; static storage; NULL: "no answer" */
    /* Called at the timeout: returns the underlying error, which the wait then fails with, or NULL for
     * KT_ETIMEOUT. NULL: always KT_ETIMEOUT. */
    const struct kt_err *(*why)(struct kt_task *t);
    void *op;              /* the binding's; see kt_task_op */
    struct kt_list *queue; /* the task is in this list until the wait ends; NULL: in none */
    uint64_t timeout_us;   /* KT_TIME_NEVER: none */
};

/* Suspends the task; call as `return kt_task_wait(…)`, with the task from kt_task_need. At the timeout, cancel
 * is called and the script gets nil and a timeout error. */
int kt_task_wait(lua_State *L, struct kt_task *t, const struct kt_wait *wait);
/* The name of the wait that it is in, or NULL if it is in none. */
const char *kt_task_waits_in(const struct kt_task *t);
/* The operation that it waits for, until it is woken. */
void *kt_task_op(const struct kt_task *t);

/* Ends the wait; for callbacks of the operation. The task runs at the end of this turn. With code 0, `finish`
 * makes the results; otherwise the script gets nil and an err object (text NULL: the code's own sentence). */
void kt_task_wake(struct kt_task *t, int code, const char *text);
/* The same for all tasks in a queue. */
void kt_task_wake_all(struct kt_list *queue, int code, const char *text);
/* The task that has waited longest in a queue, or NULL. */
struct kt_task *kt_task_queued(const struct kt_list *queue);

/* ---- the outcome of a wait: kept from just before kt_task_wake until `finish` has run ---- */

#define KT_TASK_RESULT 56u /* bytes */

/* Copies n bytes, at most KT_TASK_RESULT, to the task, and from it. */
void kt_task_put(struct kt_task *t, const void *result, size_t n);
void kt_task_get(const struct kt_task *t, void *result, size_t n);
/* Data from malloc, which the task frees; NULL if nothing was brought. */
void kt_task_bring(struct kt_task *t, void *data);
const void *kt_task_brought(const struct kt_task *t);
/* Keeps a pipe until a handle takes it; conn: the same if it is a conn, or NULL. The pipe counts in
 * kt_runtime_pipes. If no handle does, it is reset. */
void kt_task_hold_pipe(struct kt_task *t, struct kt_pipe *pipe, struct kt_conn *conn);
/* The conn that it holds, or NULL. */
struct kt_conn *kt_task_conn(const struct kt_task *t);
/* Returns the pipe, which is the caller's from now on and still counts. */
struct kt_pipe *kt_task_take_pipe(struct kt_task *t);

/* ---- what a task owns; embedded in the handle ---- */

struct kt_owned {
    struct kt_task *owner;                     /* valid while node is linked */
    struct kt_list node;                       /* among what the owner owns, or unlinked */
    void (*end)(struct kt_owned *o, int code); /* closes it (code 0) or resets it, and unlinks it */
};

/* Makes the task its owner, instead of the one it had. */
void kt_task_own(struct kt_task *t, struct kt_owned *o);

/* ---- the end of a task ---- */

/* Ends a task early: at once if it waits or has not begun, else at its next wait. Its conns and other handles are
 * reset, and its scopes are left, which runs their __close metamethods. Does not run Lua before the task's next
 * turn. */
void kt_task_stop(struct kt_task *t);

/* Told of a task's end; embedded in the handle that kt.spawn returns. */
struct kt_task_watch {
    struct kt_task *task; /* NULL: it has ended */
    const struct kt_task_watch_ops *ops;
};
struct kt_task_watch_ops {
    /* Whether someone waits for the outcome. A failure is then theirs: it is neither logged nor counted. */
    bool (*awaited)(const struct kt_task_watch *w);
    /* Called once, when all that the task owned has ended. code 0: it returned n values. KT_EFAILED: it raised
     * one, or none if `text` says why it failed. KT_ECANCELED: it was stopped. The values are on top of its
     * thread, which is left to the watch if n > 0; handles among them belong to kt_task_main. */
    void (*ended)(struct kt_task_watch *w, int code, const char *text, lua_State *thread, int n);
};
/* A task has one watch at most, which outlives it. */
void kt_task_set_watch(struct kt_task *t, struct kt_task_watch *w);

/* ---- new tasks ---- */

/* A new task with an empty stack; NULL when out of memory or at KT_TASKS_MAX. Push a function and its
 * arguments on its thread, then call kt_task_start. L: any state with room for two values. Never raises. */
struct kt_task *kt_task_new(struct kt_runtime *rt, lua_State *L, const struct kt_origin *origin);
void kt_task_start(struct kt_task *t, int nargs);
/* Marks a task as started by kt.spawn; kt_task_spawned_max: whether there are KT_SPAWNED_MAX of these. */
void kt_task_set_spawned(struct kt_task *t);
bool kt_task_spawned_max(const struct kt_runtime *rt);
/* Marks a task that does not keep the script alive. */
void kt_task_set_aside(struct kt_task *t);
/* Puts the task in a list, from which it is removed when it ends. */
void kt_task_list(struct kt_task *t, struct kt_list *list);
/* Gives up a task that was not started. */
void kt_task_abandon(struct kt_task *t);
/* Empties a list of kt_task_list. Tasks in it that have not run yet end; the others continue. */
void kt_task_withdraw_all(struct kt_list *list);
#endif
