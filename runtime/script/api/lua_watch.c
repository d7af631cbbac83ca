/* Wakes a task when a file may have changed, for kt.watch (lua/kt/watch.lua), which compares the content. A watch of
 * the main chunk ends when a reload replaces its script, as the new one has its own.
 *
 * Invariant: `task` is set exactly while a task waits for the next change. */
#include "script/core/handle.h"
#include "script/api/api.h"

#define WATCH "filewatch"

struct watch {
    struct kt_file_watch *at; /* NULL: closed */
    struct kt_task *task;
    bool changed;  /* since the last wait ended */
    bool declared; /* in the main chunk */
    struct kt_runtime *rt;
};

static void on_change(void *ctx)
{
    struct watch *w = ctx;
    struct kt_task *t = w->task;
    w->changed = true;
    w->task = NULL;
    if (t) kt_task_wake(t, 0, NULL);
}

/* core.watch_file(path) → watch | nil, err */
static int watch_file(lua_State *L)
{
    struct kt_err err = {0};
    const char *path = kt_state_path(L, luaL_checkstring(L, 1));
    struct watch *w = kt_handle_push(L, WATCH, sizeof *w, 0);
    w->rt = kt_runtime_of(L);
    w->declared = kt_runtime_phase(w->rt) == KT_DECLARE;
    const int rc = kt_file_watch(kt_runtime_io(w->rt), path, on_change, w, &w->at, &err);
    return rc ? kt_lua_err_return(L, rc, lua_pushfstring(L, "kt.watch: %s", err.text)) : 1;
}

static bool is_over(const struct watch *w)
{
    return !w->at || (w->declared && kt_runtime_replaced(w->rt));
}

static void cancel(struct kt_task *t)
{
    ((struct watch *)kt_task_op(t))->task = NULL;
}

static int finish(lua_State *L, struct kt_task *t)
{
    struct watch *w = lua_touserdata(L, 1);
    (void)t;
    w->changed = false;
    lua_pushboolean(L, !is_over(w));
    return 1;
}

/* core.await_change(watch) → true, once the file may have changed; false: the watch is over */
static int await_change(lua_State *L)
{
    struct kt_task *t = kt_task_need(L, "kt.watch");
    struct watch *w = luaL_checkudata(L, 1, WATCH);
    if (w->changed || is_over(w)) return finish(L, t);
    w->task = t;
    return kt_task_wait(L, t,
        &(struct kt_wait){
            .what = "kt.watch", .cancel = cancel, .finish = finish, .op = w, .timeout_us = KT_TIME_NEVER});
}

/* core.watching(watch) → whether it is not over */
static int watching(lua_State *L)
{
    lua_pushboolean(L, !is_over(luaL_checkudata(L, 1, WATCH)));
    return 1;
}

/* core.unwatch(watch): closes it. Never raises, so that finalizers may call it. */
static int unwatch(lua_State *L)
{
    struct watch *w = lua_touserdata(L, 1);
    struct kt_task *t = w->task;
    if (w->at) kt_file_watch_close(w->at);
    w->at = NULL;
    w->task = NULL;
    if (t) kt_task_wake(t, 0, NULL);
    return 0;
}

void kt_lua_watch(lua_State *L)
{
    static const luaL_Reg functions[] = {{"watch_file", watch_file}, {"await_change", await_change},
        {"watching", watching}, {"unwatch", unwatch}, {NULL, NULL}};
    kt_handle_type(L, &(struct kt_handle_type){.name = WATCH, .gc = unwatch, .hidden = true});
    luaL_setfuncs(L, functions, 0);
}
