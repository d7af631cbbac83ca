/* The handle of a task that kt.spawn started, and the calls that wait for tasks: task:wait and kt.first.
 *
 * Such a call is a race: a userdata on the stack of the task that waits, with one runner for each task that it
 * waits for. A task's results stay on its thread for as long as the handle is held.
 *
 * Most handles are dropped at once. So they have no finalizer, which would keep each for a second cycle of the
 * collector; the registry anchors a handle while its task runs.
 *
 * Invariant: a runner is in its handle's list exactly while the race is on and the handle's task has not ended. */
#include "script/api/lua_await.h"
#include "script/core/handle.h"
#include "script/api/api.h"

#define WAIT "task:wait"
#define FIRST "kt.first"

#define LEFT 1 /* uservalue: its thread; once it has ended with a text: that */

struct kt_lua_task {
    struct kt_task_watch watch; /* first */
    const struct kt_origin *origin;
    struct kt_list runners;
    int anchor; /* registry reference, while the task runs */
    /* once it has ended */
    int code;          /* as in kt_task_watch_ops */
    bool explained;    /* LEFT is a text */
    lua_State *thread; /* has the values; NULL: there are none */
    int n;
};

struct race;

struct runner {
    struct kt_list node;
    struct race *race;
    struct kt_lua_task *task; /* anchored by argument `nth` of the call */
    int nth;
};

struct race {
    struct kt_task *waiter;
    bool first;     /* kt.first: the others are canceled */
    int n, running; /* tasks in all, and those that have not ended */
    int winner;     /* argument; if none has succeeded, the one that ended last; 0: none yet */
    struct runner runners[];
};

/* ---- races ---- */

/* Whether a task that has ended returned anything but nil and false. */
static bool succeeded(const struct kt_lua_task *h)
{
    return h->code == 0 && (h->n == 0 || lua_toboolean(h->thread, -h->n));
}

/* Ends the race; in kt.first, the tasks that still run are canceled. */
static void end_race(struct race *r)
{
    for (int i = 0; i < r->n; i++) {
        kt_list_remove(&r->runners[i].node);
        struct kt_task *t = r->runners[i].task->watch.task;
        if (r->first && t) kt_task_stop(t);
    }
}

static void arrive(struct runner *a)
{
    struct race *r = a->race;
    r->running--;
    r->winner = a->nth;
    if (r->first && r->running > 0 && !succeeded(a->task)) return;
    end_race(r);
    kt_task_wake(r->waiter, 0, NULL);
}

static void cancel_race(struct kt_task *t)
{
    end_race(kt_task_op(t));
}

/* ---- the outcome ---- */

/* Pushes nil and an err for the task whose handle is at idx. */
static int push_failure(lua_State *L, int idx, const struct kt_lua_task *h)
{
    if (h->explained) {
        lua_getiuservalue(L, idx, LEFT);
        return kt_lua_err_return(L, h->code, lua_tostring(L, -1));
    }
    if (h->n == 0)
        return kt_lua_err_return(L, h->code, h->code == KT_ECANCELED ? "the task was canceled" : NULL);
    if (!lua_checkstack(h->thread, 1)) return luaL_error(L, "out of memory");
    lua_pushvalue(h->thread, -1);
    lua_xmove(h->thread, L, 1);
    if (!kt_handle_test(L, -1, KT_HANDLE_ERR)) kt_lua_err_push(L, h->code, kt_lua_err_raised(L, -1));
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

/* Pushes what the task whose handle is at idx returned, true if that was nothing, or nil and an err. Handles go
 * to the task t. */
static int push_outcome(lua_State *L, int idx, struct kt_task *t)
{
    const struct kt_lua_task *h = lua_touserdata(L, idx);
    if (h->code) return push_failure(L, idx, h);
    if (h->n == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    luaL_checkstack(L, h->n + 4, NULL);
    if (!lua_checkstack(h->thread, 1)) return luaL_error(L, "out of memory");
    for (int i = 0; i < h->n; i++) {
        lua_pushvalue(h->thread, i - h->n);
        lua_xmove(h->thread, L, 1);
        kt_handle_give(L, lua_gettop(L), kt_task_main(kt_task_runtime(t)), t);
    }
    return h->n;
}

/* The race is on top of the stack. */
static int finish(lua_State *L, struct kt_task *t)
{
    const struct race *r = lua_touserdata(L, -1);
    return push_outcome(L, r->winner, t);
}

/* Waits for the tasks whose handles are the arguments 1 to n. */
static int race(lua_State *L, struct kt_task *t, bool first, int n, uint64_t timeout_us)
{
    struct race *r = lua_newuserdatauv(L, sizeof *r + (size_t)n * sizeof r->runners[0], 0);
    *r = (struct race){.waiter = t, .first = first, .n = n};
    for (int i = 0; i < n; i++) {
        struct runner *a = &r->runners[i];
        *a = (struct runner){.race = r, .task = lua_touserdata(L, i + 1), .nth = i + 1};
        kt_list_init(&a->node);
    }
    bool won = false;
    for (int i = 0; i < n && !won; i++) {
        const struct kt_lua_task *h = r->runners[i].task;
        if (h->watch.task) {
            r->running++;
            continue;
        }
        won = succeeded(h);
        r->winner = i + 1;
    }
    if (won || r->running == 0) {
        end_race(r);
        return push_outcome(L, r->winner, t);
    }
    for (int i = 0; i < n; i++) {
        struct runner *a = &r->runners[i];
        if (a->task->watch.task) kt_list_push(&a->task->runners, &a->node);
    }
    return kt_task_wait(L, t,
        &(struct kt_wait){.what = first ? FIRST : WAIT,
            .cancel = cancel_race,
            .finish = finish,
            .missing = first ? "no task has succeeded" : "the task did not end",
            .op = r,
            .by_script = true,
            .timeout_us = timeout_us});
}

static void refuse_self(lua_State *L, const struct kt_lua_task *h, const struct kt_task *t, const char *what)
{
    if (h->watch.task == t) kt_raise(L, "%s: a task cannot wait for itself", what);
}

/* ---- the handle ---- */

static struct kt_lua_task *self(lua_State *L, const char *method)
{
    return kt_handle_self(L, KT_HANDLE_TASK, method);
}

/* task:wait { timeout = "5s" } → what it returned | nil, err */
static int task_wait(lua_State *L)
{
    const struct kt_lua_task *h = self(L, "wait");
    struct kt_task *t = kt_task_need(L, WAIT);
    const uint64_t timeout_us = kt_opts_timeout(L, 2, WAIT, KT_TIME_NEVER);
    refuse_self(L, h, t, WAIT);
    lua_settop(L, 1);
    return race(L, t, false, 1, timeout_us);
}

/* kt.first(task, … [, { timeout = "5s" }]) → what the first one to succeed returned | nil, err */
static int first_of(lua_State *L)
{
    struct kt_task *t = kt_task_need(L, FIRST);
    uint64_t timeout_us = KT_TIME_NEVER;
    int n = lua_gettop(L);
    if (n > 0 && lua_type(L, n) == LUA_TTABLE) timeout_us = kt_opts_timeout(L, n--, FIRST, KT_TIME_NEVER);
    if (n == 0) kt_raise(L, FIRST ": expected one or more tasks, from kt.spawn");
    for (int i = 1; i <= n; i++) {
        const struct kt_lua_task *h = kt_handle_test(L, i, KT_HANDLE_TASK);
        if (!h) kt_raise(L, FIRST ": argument %d: expected a task, got %s", i, kt_type_name(L, i));
        refuse_self(L, h, t, FIRST);
    }
    lua_settop(L, n);
    return race(L, t, true, n, timeout_us);
}

static int task_cancel(lua_State *L)
{
    struct kt_task *t = self(L, "cancel")->watch.task;
    if (t) kt_task_stop(t);
    return 0;
}

static const char *state(const struct kt_lua_task *h)
{
    if (h->watch.task) return "running";
    return h->code == 0 ? "returned" : h->code == KT_ECANCELED ? "canceled" : "failed";
}

static int field_state(lua_State *L)
{
    lua_pushstring(L, state(lua_touserdata(L, 1)));
    return 1;
}

static int task_tostring(lua_State *L)
{
    const struct kt_lua_task *h = luaL_checkudata(L, 1, KT_HANDLE_TASK);
    lua_pushfstring(L, "<task spawned at %s:%d, %s>", h->origin->source, h->origin->line, state(h));
    return 1;
}

/* ---- the watch ---- */

static bool awaited(const struct kt_task_watch *w)
{
    return !kt_list_empty(&KT_CONTAINER(w, const struct kt_lua_task, watch)->runners);
}

/* keep_text(handle, text) */
static int keep_text(lua_State *L)
{
    lua_pushstring(L, lua_touserdata(L, 2));
    lua_setiuservalue(L, 1, LEFT);
    return 0;
}

/* Keeps the text in the handle, unless memory is short. */
static void explain(lua_State *L, struct kt_lua_task *h, const char *text)
{
    if (!lua_checkstack(L, 4)) return;
    lua_pushcfunction(L, keep_text);
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->anchor);
    lua_pushlightuserdata(L, (void *)text);
    h->explained = lua_pcall(L, 2, 0, 0) == LUA_OK;
    if (!h->explained) lua_pop(L, 1);
}

static void ended(struct kt_task_watch *w, int code, const char *text, lua_State *thread, int n)
{
    struct kt_lua_task *h = KT_CONTAINER(w, struct kt_lua_task, watch);
    lua_State *L = kt_runtime_state(kt_runtime_of(thread));
    h->code = code;
    h->thread = n > 0 ? thread : NULL;
    h->n = n;
    if (text) explain(L, h, text);
    for (struct kt_list *a; (a = kt_list_pop(&h->runners));) arrive(KT_CONTAINER(a, struct runner, node));
    luaL_unref(L, LUA_REGISTRYINDEX, h->anchor);
}

void kt_lua_task_push(lua_State *L, const struct kt_origin *origin)
{
    static const struct kt_task_watch_ops ops = {.awaited = awaited, .ended = ended};
    struct kt_lua_task *h = kt_handle_push(L, KT_HANDLE_TASK, sizeof *h, 1);
    kt_list_init(&h->runners);
    h->watch.ops = &ops;
    h->origin = origin;
    lua_pushvalue(L, -1);
    h->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
}

void kt_lua_task_drop(lua_State *L)
{
    const struct kt_lua_task *h = lua_touserdata(L, -1);
    luaL_unref(L, LUA_REGISTRYINDEX, h->anchor);
    lua_pop(L, 1);
}

void kt_lua_task_watch(lua_State *L, struct kt_task *t)
{
    struct kt_lua_task *h = lua_touserdata(L, -1);
    lua_State *thread = kt_task_thread(t);
    lua_pushthread(thread);
    lua_xmove(thread, L, 1);
    lua_setiuservalue(L, -2, LEFT);
    kt_task_set_watch(t, &h->watch);
}

void kt_lua_await(lua_State *L)
{
    static const luaL_Reg methods[] = {{"wait", task_wait}, {"cancel", task_cancel}, {NULL, NULL}};
    static const luaL_Reg fields[] = {{"state", field_state}, {NULL, NULL}};
    kt_handle_type(L, &(struct kt_handle_type){.name = KT_HANDLE_TASK,
                          .methods = methods,
                          .fields = fields,
                          .close = task_cancel,
                          .tostring = task_tostring});
    lua_pushcfunction(L, first_of);
    lua_setfield(L, -2, "first");
}
