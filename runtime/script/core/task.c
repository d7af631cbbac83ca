/* The life of a task: it is started, runs until it waits, is woken, and ends. ready.c decides when it runs.
 * Threads of ended tasks are kept for new ones, so that a connection needs no new stack. task_facts.c has the accessors
 * of a task.
 *
 * Invariant: a task is in a ready queue exactly while its state is READY, and has a pending operation or timer
 * exactly while it is WAITING. */
#include "script/core/task.h"
#include <assert.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/list.h"
#include "io/io.h"
#include "link/counters.h"
#include "script/core/errors.h"
#include "script/core/failure.h"
#include "script/core/garbage.h"
#include "script/core/life.h"
#include "script/core/parts.h"
#include "script/core/ready.h"
#include "script/core/setup.h"
#include "script/core/task_internal.h"
#include "script/sandbox/guard.h"
#include "script/sandbox/origin.h"

#define SPARE_MAX 256u /* threads kept; about 1.2 KiB each */

struct kt_tasks {
    struct kt_task main;       /* stands for the main chunk; the main thread's extra space points at it */
    struct kt_list all, spare; /* by their node */
    struct kt_ready *ready;    /* those that are ready */
    size_t count, spare_count;
    size_t spawned;   /* of count: started by kt.spawn */
    size_t aside;     /* of count: do not keep the script alive */
    const char *pure; /* the running callback that must not wait ("a policy"), or NULL */
};

struct kt_task *kt_task_main(const struct kt_runtime *rt)
{
    return &rt->tasks->main;
}

const struct kt_task *kt_task_next(const struct kt_runtime *rt, const struct kt_task *t)
{
    const struct kt_list *n = t ? t->node.next : rt->tasks->all.next;
    return n == &rt->tasks->all ? NULL : KT_CONTAINER(n, const struct kt_task, node);
}

/* ---- misuse ---- */

struct kt_task *kt_task_need(lua_State *L, const char *what)
{
    struct kt_task *t = kt_task_of(L);
    struct kt_runtime *rt = t->rt;
    if (rt->tasks->pure) kt_raise(L, "%s: cannot wait in %s; it must return at once", what, rt->tasks->pure);
    if (t == &rt->tasks->main && L == rt->L) kt_raise(L, KT_TASK_ONLY, what);
    if (t->L != L)
        kt_raise(L,
            "%s: cannot wait in a coroutine created by the script; call it in the task itself or use kt.spawn",
            what);
    if (!lua_isyieldable(L))
        kt_raise(L,
            "%s: cannot wait here, inside a function called from C (a sort or gsub callback, a __close or __gc "
            "metamethod, require); call it before or after",
            what);
    return t;
}

const char *kt_task_forbid_waits(struct kt_runtime *rt, const char *what)
{
    const char *before = rt->tasks->pure;
    rt->tasks->pure = what;
    return before;
}

struct kt_runtime *kt_declare_need(lua_State *L, const char *what)
{
    struct kt_runtime *rt = kt_runtime_of(L);
    if (kt_runtime_phase(rt) != KT_DECLARE) kt_raise(L, KT_DECLARE_ONLY, what);
    return rt;
}

/* own: the script itself made it ready. */
static void make_ready(struct kt_task *t, bool own)
{
    t->state = READY;
    kt_ready_push(t->rt->tasks->ready, &t->queued, own);
}

static void forget_outcome(struct kt_task *t)
{
    if (t->pipe) {
        kt_pipe_reset(t->pipe, KT_ECANCELED);
        kt_runtime_hold_pipes(t->rt, -1);
    }
    t->pipe = NULL;
    t->conn = NULL;
    free(t->text);
    t->text = NULL;
    free(t->brought);
    t->brought = NULL;
    t->code = 0;
}

/* Ends everything in the list. */
static void end_owned(struct kt_list *owned, int code)
{
    while (!kt_list_empty(owned)) {
        struct kt_owned *o = KT_CONTAINER(owned->next, struct kt_owned, node);
        o->end(o, code);
    }
}

void kt_task_own(struct kt_task *t, struct kt_owned *o)
{
    o->owner = t;
    kt_list_remove(&o->node);
    kt_list_push(&t->owned, &o->node);
}

/* The script may still hold the thread (coroutine.running), which then counts as one of its own
 * coroutines. */
static void free_task(struct kt_task *t)
{
    struct kt_runtime *rt = t->rt;
    *(struct kt_task **)lua_getextraspace(t->L) = &rt->tasks->main;
    luaL_unref(rt->L, LUA_REGISTRYINDEX, t->ref); /* frees a slot: cannot fail */
    free(t);
}

/* Tells the watch, as in its ops; returns whether the thread is left to it. */
static bool tell_watch(struct kt_task *t, int code, const char *text, int n)
{
    struct kt_task_watch *w = t->watch;
    if (!w) return false;
    t->watch = NULL;
    w->task = NULL;
    w->ops->ended(w, code, text, t->L, n);
    return n > 0;
}

/* Ends the task and keeps it, with its thread, for another one if `fit`. */
static void recycle(struct kt_task *t, bool fit)
{
    struct kt_runtime *rt = t->rt;
    forget_outcome(t);
    kt_task_forget_about(t);
    kt_list_remove(&t->node);
    kt_list_remove(&t->listed);
    rt->tasks->count--;
    if (t->spawned) rt->tasks->spawned--;
    if (t->aside) rt->tasks->aside--;
    t->spawned = t->aside = t->stopped = false;
    t->nargs = 0;
    t->state = SPARE;
    if (fit && rt->tasks->spare_count < SPARE_MAX && kt_runtime_phase(rt) != KT_END) {
        lua_settop(t->L, 0);
        kt_list_push(&rt->tasks->spare, &t->node);
        rt->tasks->spare_count++;
    } else {
        free_task(t);
    }
}

/* ---- the end of a task ---- */

/* Takes the handles among its n results from it: they are on their way to the task that waits. */
static void hand_over(struct kt_task *t, int n)
{
    for (int i = 1; i <= n; i++) {
        const void *handle = lua_touserdata(t->L, -i);
        for (struct kt_list *o = t->owned.next; handle && o != &t->owned; o = o->next) {
            struct kt_owned *owned = KT_CONTAINER(o, struct kt_owned, node);
            if ((const void *)owned != handle) continue; /* the first member of all handles that have it */
            kt_task_own(&t->rt->tasks->main, owned);
            break;
        }
    }
}

static void returned(struct kt_task *t, int n)
{
    kt_guard_end(t->rt->guard, t->origin);
    if (t->watch) hand_over(t, n);
    end_owned(&t->owned, 0);
    recycle(t, !tell_watch(t, 0, NULL, n));
}

/* Runs within the task's last slice, as its __close metamethods may run here. */
static void fail(struct kt_task *t, int status)
{
    struct kt_runtime *rt = t->rt;
    struct kt_guard *g = rt->guard;
    const struct kt_failed failed = {rt, t->L, t->origin, false};
    const bool theirs = t->watch && t->watch->ops->awaited(t->watch);
    char text[KT_GUARD_TEXT];
    const bool plain = kt_failure_text(&failed, status, text, sizeof text);
    bool told = false, left = false;
    if (!kt_life_exiting(rt) && !theirs) {
        kt_runtime_counters(rt)->TaskErrors++;
        told = kt_failure_tell(&failed, status);
    }
    /* Reset the pipes first; otherwise a `<close>` variable would close them cleanly. */
    end_owned(&t->owned, KT_ECANCELED);
    if (!kt_guard_stopped(g)) left = kt_failure_close(&failed, status, told);
    end_owned(&t->owned, KT_ECANCELED);
    /* The guard cannot stop a thread a second time, so a stopped thread must not run again. */
    bool stopped = kt_guard_end(g, t->origin);
    if (stopped) kt_guard_unhook(g, rt->L);
    const bool kept = tell_watch(t, KT_EFAILED, plain ? text : NULL, left && !plain && !stopped);
    recycle(t, !stopped && !kept);
}

/* Ends a task that kt_task_stop has stopped. */
static void cut_short(struct kt_task *t)
{
    struct kt_runtime *rt = t->rt;
    const struct kt_failed failed = {rt, t->L, t->origin, true};
    kt_guard_begin(rt->guard, t->L, KT_SLICE_STOP_US);
    end_owned(&t->owned, KT_ECANCELED);
    kt_failure_close(&failed, LUA_YIELD, true);
    end_owned(&t->owned, KT_ECANCELED);
    const bool stopped = kt_guard_end(rt->guard, t->origin);
    if (stopped) kt_guard_unhook(rt->guard, rt->L);
    tell_watch(t, KT_ECANCELED, NULL, 0);
    recycle(t, !stopped);
}

void kt_task_set_watch(struct kt_task *t, struct kt_task_watch *w)
{
    t->watch = w;
    w->task = t;
}

/* Cancels what a waiting task waits for. */
static void end_wait(struct kt_task *t)
{
    const kt_task_cancel cancel = t->wait.cancel;
    t->wait.cancel = NULL; /* it may come back here, through tasks that wait for each other */
    if (cancel) cancel(t);
    kt_io_timer_cancel(t->rt->io, &t->timer);
    kt_list_remove(&t->queued);
    t->wait.op = NULL;
}

void kt_task_stop(struct kt_task *t)
{
    if (t->stopped) return;
    t->stopped = true;
    if (t->state != WAITING) return; /* it is in a ready queue, or runs: see kt_task_wait */
    end_wait(t);
    make_ready(t, true);
}

/* ---- running ---- */

static void resume(struct kt_task *t)
{
    struct kt_runtime *rt = t->rt;
    int nargs = t->nargs, nresults = 0;
    t->nargs = 0;
    kt_guard_begin(rt->guard, t->L, KT_SLICE_STOP_US);
    int status = lua_resume(t->L, rt->L, nargs, &nresults);
    if (status == LUA_YIELD && (t->state == WAITING || t->state == READY))
        kt_guard_end(rt->guard, t->origin);
    else if (status == LUA_OK)
        returned(t, nresults);
    else
        fail(t, status);
}

/* ---- what ready.c calls ---- */

static const struct kt_origin *run(struct kt_list *node)
{
    struct kt_task *t = KT_CONTAINER(node, struct kt_task, queued);
    struct kt_runtime *rt = t->rt;
    const struct kt_origin *origin = t->origin;
    t->state = RUNNING;
    if (t->stopped)
        cut_short(t);
    else
        resume(t);
    kt_garbage_slice(rt);
    return origin;
}

/* After an exit the remaining tasks never run; kt_runtime_free ends them. */
static bool over(void *ctx)
{
    return kt_life_exiting(ctx);
}

static void idle(void *ctx)
{
    kt_runtime_settle(ctx);
}

int kt_tasks_new(struct kt_runtime *rt, void (*livelock)(void *ctx, const char *text), void *livelock_ctx)
{
    struct kt_tasks *ts = rt->tasks = calloc(1, sizeof *ts);
    if (!ts) return KT_ENOMEM;
    kt_list_init(&ts->all);
    kt_list_init(&ts->spare);
    ts->main = (struct kt_task){.rt = rt, .ref = LUA_NOREF, .origin = &kt_origin_unknown, .state = RUNNING};
    kt_list_init(&ts->main.owned);
    const struct kt_ready_ops ops = {
        .run = run, .over = over, .idle = idle, .livelock = livelock, .livelock_ctx = livelock_ctx};
    ts->ready = kt_ready_new(rt->io, &ops, rt);
    return ts->ready ? 0 : KT_ENOMEM;
}

void kt_tasks_begin(struct kt_runtime *rt)
{
    rt->tasks->main.L = rt->L;
    *(struct kt_task **)lua_getextraspace(rt->L) = &rt->tasks->main;
}

size_t kt_tasks_count(const struct kt_runtime *rt)
{
    return rt->tasks->count;
}

bool kt_tasks_need_runtime(const struct kt_runtime *rt)
{
    return rt->tasks->count > rt->tasks->aside;
}

void kt_tasks_cut(struct kt_runtime *rt)
{
    bool stopped = false;
    while (!kt_list_empty(&rt->tasks->all)) {
        struct kt_task *t = KT_CONTAINER(rt->tasks->all.next, struct kt_task, node);
        if (t->state == WAITING) end_wait(t);
        if (t->state == READY) kt_ready_remove(rt->tasks->ready, &t->queued);
        end_owned(&t->owned, KT_ECANCELED);
        if (!stopped) { /* one runaway __close is enough: skip those of the remaining tasks */
            kt_guard_begin(rt->guard, t->L, KT_SLICE_STOP_US);
            lua_resetthread(t->L);
            stopped = kt_guard_end(rt->guard, t->origin);
        }
        end_owned(&t->owned, KT_ECANCELED);
        tell_watch(t, KT_ECANCELED, NULL, 0);
        recycle(t, false);
    }
    end_owned(&rt->tasks->main.owned, KT_ECANCELED);
}

void kt_tasks_end(struct kt_runtime *rt)
{
    kt_tasks_cut(rt);
    kt_failures_end(rt);
    for (struct kt_list *n; (n = kt_list_pop(&rt->tasks->spare));)
        free_task(KT_CONTAINER(n, struct kt_task, node));
    rt->tasks->spare_count = 0;
    kt_ready_stop(rt->tasks->ready);
}

void kt_tasks_free(struct kt_runtime *rt)
{
    if (rt->tasks) kt_ready_free(rt->tasks->ready);
    free(rt->tasks);
    rt->tasks = NULL;
}

/* ---- waiting ---- */

static int resumed(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    struct kt_task *t = (struct kt_task *)ctx;
    if (t->code == 0) {
        int n = t->wait.finish ? t->wait.finish(L, t) : 0;
        forget_outcome(t);
        return n;
    }
    int extra = t->wait.failed ? t->wait.failed(L, t) : 0;
    int n = kt_lua_err_return_before(L, extra, t->code, t->text);
    forget_outcome(t);
    return n;
}

static void expired(void *ctx)
{
    struct kt_task *t = ctx;
    const struct kt_wait *w = &t->wait;
    if (w->sleep) {
        kt_task_wake(t, 0, NULL);
        return;
    }
    struct kt_err err;
    const struct kt_err *why = w->why ? w->why(t) : NULL;
    if (why)
        kt_err_set(&err, why->code, "%s: %s", w->what, why->text);
    else
        kt_err_set(&err, KT_ETIMEOUT, "%s: %s within %g s", w->what, w->missing ? w->missing : "no answer",
            (double)w->timeout_us / 1e6);
    if (w->cancel) w->cancel(t);
    kt_task_wake(t, err.code, err.text);
}

int kt_task_wait(lua_State *L, struct kt_task *t, const struct kt_wait *wait)
{
    t->wait = *wait;
    t->state = WAITING;
    if (wait->queue) kt_list_push(wait->queue, &t->queued);
    if (t->stopped) {
        end_wait(t);
        make_ready(t, true);
    } else if (wait->timeout_us != KT_TIME_NEVER)
        kt_io_timer_set(t->rt->io, &t->timer, kt_io_now(t->rt->io) + wait->timeout_us);
    return lua_yieldk(L, 0, (lua_KContext)t, resumed);
}

void *kt_task_op(const struct kt_task *t)
{
    return t->wait.op;
}

void kt_task_wake(struct kt_task *t, int code, const char *text)
{
    if (t->state == READY)
        return; /* canceling its wait has stopped tasks that wait for each other, this one too */
    const bool own = t->wait.sleep || t->wait.by_script;
    kt_io_timer_cancel(t->rt->io, &t->timer);
    kt_list_remove(&t->queued);
    t->wait.op = NULL;
    t->code = code;
    t->text = code && text ? strdup(text) : NULL;
    make_ready(t, own);
}

struct kt_task *kt_task_queued(const struct kt_list *queue)
{
    return kt_list_empty(queue) ? NULL : KT_CONTAINER(queue->next, struct kt_task, queued);
}

void kt_task_wake_all(struct kt_list *queue, int code, const char *text)
{
    for (struct kt_list *n; (n = kt_list_pop(queue));)
        kt_task_wake(KT_CONTAINER(n, struct kt_task, queued), code, text);
}

/* ---- the outcome of a wait ---- */

void kt_task_put(struct kt_task *t, const void *result, size_t n)
{
    assert(n <= sizeof t->result);
    memcpy(t->result, result, n);
}

void kt_task_get(const struct kt_task *t, void *result, size_t n)
{
    assert(n <= sizeof t->result);
    memcpy(result, t->result, n);
}

void kt_task_bring(struct kt_task *t, void *data)
{
    t->brought = data;
}

const void *kt_task_brought(const struct kt_task *t)
{
    return t->brought;
}

void kt_task_hold_pipe(struct kt_task *t, struct kt_pipe *pipe, struct kt_conn *conn)
{
    t->pipe = pipe;
    t->conn = conn;
    kt_runtime_hold_pipes(t->rt, 1);
}

struct kt_conn *kt_task_conn(const struct kt_task *t)
{
    return t->conn;
}

struct kt_pipe *kt_task_take_pipe(struct kt_task *t)
{
    struct kt_pipe *pipe = t->pipe;
    t->pipe = NULL;
    t->conn = NULL;
    return pipe;
}

/* ---- new tasks ---- */

static int make_thread(lua_State *L)
{
    struct kt_task *t = lua_touserdata(L, 1);
    t->L = lua_newthread(L);
    *(struct kt_task **)lua_getextraspace(t->L) = t;
    t->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

struct kt_task *kt_task_new(struct kt_runtime *rt, lua_State *L, const struct kt_origin *origin)
{
    if (rt->tasks->count >= KT_TASKS_MAX || kt_runtime_phase(rt) == KT_END) return NULL;
    struct kt_list *spare = kt_list_pop(&rt->tasks->spare);
    struct kt_task *t = spare ? KT_CONTAINER(spare, struct kt_task, node) : calloc(1, sizeof *t);
    if (!t) return NULL;
    if (spare) {
        rt->tasks->spare_count--;
    } else {
        t->rt = rt;
        kt_list_init(&t->node);
        kt_list_init(&t->owned);
        kt_list_init(&t->queued);
        kt_list_init(&t->listed);
        kt_timer_init(&t->timer, expired, t);
        lua_pushcfunction(L, make_thread);
        lua_pushlightuserdata(L, t);
        if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
            lua_pop(L, 1);
            free(t);
            return NULL;
        }
    }
    t->origin = origin;
    t->born = kt_io_now(rt->io);
    t->about = kt_task_of(L)->about;
    if (t->about) t->about->refs++;
    kt_list_push(&rt->tasks->all, &t->node);
    rt->tasks->count++;
    return t;
}

void kt_task_start(struct kt_task *t, int nargs)
{
    t->nargs = nargs;
    make_ready(t, t->spawned);
}

void kt_task_set_spawned(struct kt_task *t)
{
    t->spawned = true;
    t->rt->tasks->spawned++;
}

bool kt_task_spawned_max(const struct kt_runtime *rt)
{
    return rt->tasks->spawned >= KT_SPAWNED_MAX;
}

void kt_task_set_aside(struct kt_task *t)
{
    t->aside = true;
    t->rt->tasks->aside++;
}

void kt_task_list(struct kt_task *t, struct kt_list *list)
{
    kt_list_push(list, &t->listed);
}

void kt_task_abandon(struct kt_task *t)
{
    recycle(t, true);
}

static void withdraw(struct kt_task *t)
{
    if (t->state != READY || lua_status(t->L) != LUA_OK) return;
    kt_ready_remove(t->rt->tasks->ready, &t->queued);
    recycle(t, true);
}

void kt_task_withdraw_all(struct kt_list *list)
{
    for (struct kt_list *n; (n = kt_list_pop(list));) withdraw(KT_CONTAINER(n, struct kt_task, listed));
}
