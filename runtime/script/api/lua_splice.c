/* kt.splice(a, b [, { idle = "10m", total = "1h", rate = "2MiB", linger = "10s" }]) → { a_to_b, b_to_a,
 * duration, reason, cause } | nil, err
 *
 * The splice takes over both pipes: to the script they are closed from then on, except for :set and :stats.
 * The limits of the splice and of both pipes apply. The task's `op` is the first handle, which knows the
 * splice and the other handle. */
#include <stdlib.h>
#include "link/splice.h"
#include "script/api/lua_flow.h"
#include "script/api/lua_limit.h"
#include "script/api/lua_pipe.h"
#include "script/core/handle.h"
#include "script/api/api.h"

#define WHAT "kt.splice"
#define LINGER_US 10000000u
#define SETTLE_US 1000000u

/* A peer without half-close takes FIN as the end of both directions. Sent to the side that opened the stream,
 * FIN says that the answer is complete, so it goes out at once. Sent by that side, it would cut off the
 * answer still to come, so it is delayed; but not for long, as an application that has closed looks just like
 * one that has only finished sending. */
static struct kt_splice_opts defaults_for(const struct kt_lua_pipe *a, const struct kt_lua_pipe *b)
{
    if (a->accepted || b->accepted) return (struct kt_splice_opts){0};
    return (struct kt_splice_opts){.linger_us = LINGER_US, .settle_us = SETTLE_US};
}

static void done(void *ctx, const struct kt_splice_result *result)
{
    struct kt_task *t = ctx;
    struct kt_runtime *rt = kt_task_runtime(t);
    struct kt_err *cause = result->cause ? malloc(sizeof *cause) : NULL;
    if (cause) *cause = *result->cause;
    kt_task_put(t, result, sizeof *result);
    kt_task_bring(t, cause);
    kt_runtime_hold_pipes(rt, -2);
    kt_lua_pipe_moved(kt_task_op(t), result->a_to_b, result->b_to_a, kt_io_now(kt_runtime_io(rt)));
    kt_task_wake(t, 0, NULL);
}

static void cancel(struct kt_task *t)
{
    struct kt_lua_pipe *a = kt_task_op(t), *b = a->other;
    struct kt_runtime *rt = kt_task_runtime(t);
    struct kt_splice *splice = a->splice;
    kt_runtime_hold_pipes(rt, -2);
    kt_lua_pipe_moved(a, kt_lua_pipe_anywhere(a)->bytes_in - a->bytes_in,
        kt_lua_pipe_anywhere(b)->bytes_in - b->bytes_in, kt_io_now(kt_runtime_io(rt)));
    kt_splice_cancel(splice, KT_ECANCELED, "kt is shutting down"); /* nothing else cancels a splice */
}

void kt_lua_splice_push(lua_State *L, const struct kt_task *t)
{
    struct kt_splice_result result;
    kt_task_get(t, &result, sizeof result);
    lua_createtable(L, 0, 5);
    lua_pushinteger(L, (lua_Integer)result.a_to_b);
    lua_setfield(L, -2, "a_to_b");
    lua_pushinteger(L, (lua_Integer)result.b_to_a);
    lua_setfield(L, -2, "b_to_a");
    lua_pushnumber(L, (double)result.duration_us / 1e6);
    lua_setfield(L, -2, "duration");
    lua_pushstring(L, result.code ? kt_errname(result.code) : "end");
    lua_setfield(L, -2, "reason");
}

static int finish(lua_State *L, struct kt_task *t)
{
    const struct kt_err *cause = kt_task_brought(t); /* the result's own is no longer valid */
    kt_lua_splice_push(L, t);
    if (!cause) return 1;
    kt_err_push(L, cause->code, cause->text);
    lua_setfield(L, -2, "cause");
    return 1;
}

static void need_free(lua_State *L, int idx, const struct kt_lua_pipe *h)
{
    if (h->reading || h->writing)
        kt_raise(L, WHAT ": argument %d: another task is %s this %s", idx,
            h->reading ? "reading from" : "writing to", h->conn ? "conn" : "stream");
}

static int splice(lua_State *L)
{
    struct kt_task *t = kt_task_need(L, WHAT);
    if (kt_handle_test(L, 1, KT_HANDLE_FLOW) || kt_handle_test(L, 2, KT_HANDLE_FLOW))
        return kt_lua_flow_splice(L);
    struct kt_lua_pipe *a = kt_lua_pipe_arg(L, 1, WHAT);
    struct kt_lua_pipe *b = kt_lua_pipe_arg(L, 2, WHAT);
    if (a == b) return kt_raise(L, WHAT ": both arguments are the same %s", a->conn ? "conn" : "stream");
    need_free(L, 1, a);
    need_free(L, 2, b);
    struct kt_splice_opts how = defaults_for(a, b);
    uint64_t linger = KT_TIME_NEVER;
    struct kt_opt_rates rate = {0, 0};
    struct kt_opt_handles limit = {.kind = KT_HANDLE_LIMIT};
    const struct kt_opt opts[] = {{"idle", KT_OPT_DURATION, &how.idle_us},
        {"total", KT_OPT_DURATION, &how.total_us}, {"rate", KT_OPT_RATES, &rate},
        {"limit", KT_OPT_HANDLES, &limit}, {"linger", KT_OPT_DURATION, &linger}};
    kt_opts_read(L, 3, WHAT, opts, sizeof opts / sizeof opts[0]);
    how.rate_ab = rate.a_to_b;
    how.rate_ba = rate.b_to_a;
    how.limit_ab = kt_lua_limit_of(limit.a_to_b);
    how.limit_ba = kt_lua_limit_of(limit.b_to_a);
    if (linger != KT_TIME_NEVER) how.linger_us = how.settle_us = linger;

    int rc = a->heard ? a->code : b->heard ? b->code : 0;
    if (rc) return kt_err_return(L, rc, lua_pushfstring(L, WHAT ": already broken: %s", kt_strerror(rc)));
    struct kt_splice *op;
    rc = kt_splice(kt_runtime_io(kt_task_runtime(t)), a->pipe, b->pipe, &how, done, t, &op);
    if (rc) return kt_err_return(L, rc, NULL);
    if (a->code) kt_splice_broke(op, false, a->code);
    if (b->code) kt_splice_broke(op, true, b->code);
    kt_lua_pipe_give(a, b, op); /* nothing may raise from here on: the splice will call back with the task */
    return kt_task_wait(L, t,
        &(struct kt_wait){
            .what = WHAT, .cancel = cancel, .finish = finish, .op = a, .timeout_us = KT_TIME_NEVER});
}

void kt_lua_splice(lua_State *L)
{
    lua_pushcfunction(L, splice);
    lua_setfield(L, -2, "splice");
}
