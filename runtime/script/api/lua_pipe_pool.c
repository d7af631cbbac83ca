/* Functions for kt.pool on the streams that it opened: name their link, wait until the peer knows of them, and give
 * them to another task.
 *
 * Invariant: h->asking is set exactly while a task waits in core.answered. */
#include "script/api/lua_pipe.h"
#include "script/core/handle.h"
#include "script/api/api.h"

#define ANSWERED "pool:race"

static struct kt_lua_pipe *stream_arg(lua_State *L)
{
    struct kt_lua_pipe *h = kt_handle_test(L, 1, KT_HANDLE_STREAM);
    luaL_argcheck(L, h, 1, "expected a stream");
    return h;
}

/* core.name_link(stream, name): what stream.link returns from now on */
static int name_link(lua_State *L)
{
    stream_arg(L);
    lua_settop(L, 2);
    lua_setiuservalue(L, 1, KT_STREAM_LINK);
    return 0;
}

/* core.give(stream, task): makes the stream belong to this parked task; does nothing if the task has ended */
static int give(lua_State *L)
{
    stream_arg(L);
    lua_State *co = lua_tothread(L, 2);
    luaL_argcheck(L, co, 2, "expected a task");
    struct kt_task *to = kt_task_of(co);
    if (kt_task_thread(to) == co && kt_task_waits_in(to)) kt_handle_give(L, 1, kt_task_of(L), to);
    return 0;
}

/* 0: the peer knows of the stream; 1: not yet; a KT_E...: it never will. */
static int step(struct kt_lua_pipe *h)
{
    if (h->code) return h->code;
    return kt_pipe_young(h->pipe) ? 1 : 0;
}

void kt_lua_pipe_answer(struct kt_lua_pipe *h)
{
    struct kt_task *t = h->asking;
    const int rc = t ? step(h) : 1;
    if (rc == 1) return;
    h->asking = NULL;
    kt_task_wake(t, rc, NULL);
}

void kt_lua_pipe_stop_asking(struct kt_lua_pipe *h)
{
    struct kt_task *t = h->asking;
    h->asking = NULL;
    if (t) kt_task_wake(t, KT_ECLOSED, NULL);
}

static void cancel(struct kt_task *t)
{
    struct kt_lua_pipe *h = kt_task_op(t);
    h->asking = NULL;
}

static int finish(lua_State *L, struct kt_task *t)
{
    (void)t;
    lua_pushboolean(L, 1);
    return 1;
}

/* core.answered(stream, seconds) → true, once the peer has acknowledged the stream | nil, err */
static int answered(lua_State *L)
{
    struct kt_task *t = kt_task_need(L, ANSWERED);
    struct kt_lua_pipe *h = stream_arg(L);
    const lua_Number seconds = luaL_checknumber(L, 2);
    if (!h->pipe || h->asking) return kt_lua_err_return(L, KT_ECLOSED, NULL);
    const int rc = step(h);
    if (rc == 0) return finish(L, t);
    if (rc < 0) return kt_lua_err_return(L, rc, NULL);
    h->asking = t;
    return kt_task_wait(L, t,
        &(struct kt_wait){
            .what = ANSWERED,
            .cancel = cancel,
            .finish = finish,
            .op = h,
            .timeout_us = seconds > 0 ? (uint64_t)(seconds * 1e6) : 0,
        });
}

void kt_lua_pipe_pool(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"name_link", name_link}, {"give", give}, {"answered", answered}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
