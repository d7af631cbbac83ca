/* kt.splice(a, b [, { idle = "10m", total = "1h", rate = "2MiB", linger = "10s" }]) → { a_to_b, b_to_a,
 * duration, reason, cause } | nil, err
 *
 * The splice takes over both pipes: to the script they are closed from then on, except for :set and :stats.
 * The limits of the splice and of both pipes apply. The task's `op` is the first handle, which knows the
 * splice and the other handle. */
#include <stdlib.h>
#include <string.h>
#include "link/tee.h"
#include "link/splice.h"
#include "script/api/lua_flow.h"
#include "script/api/lua_limit.h"
#include "script/api/lua_pipe.h"
#include "script/core/handle.h"
#include "script/core/handler.h"
#include "script/api/api.h"

#define WHAT "kt.splice"
#define LINGER_US 10000000u
#define SETTLE_US 1000000u
#define FIRST 4096u     /* bytes for a tap */
enum { STACK_TAP = 4 }; /* of the task's stack, while it waits */

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

static void abort_splice(struct kt_task *t, const char *text)
{
    struct kt_lua_pipe *a = kt_task_op(t), *b = a->other;
    struct kt_runtime *rt = kt_task_runtime(t);
    struct kt_splice *splice = a->splice;
    kt_runtime_hold_pipes(rt, -2);
    kt_lua_pipe_moved(a, kt_lua_pipe_anywhere(a)->bytes_in - a->bytes_in,
        kt_lua_pipe_anywhere(b)->bytes_in - b->bytes_in, kt_io_now(kt_runtime_io(rt)));
    kt_splice_cancel(splice, KT_ECANCELED, text);
}

static void cancel(struct kt_task *t)
{
    abort_splice(t, "kt is shutting down"); /* nothing else cancels the wait */
}

void kt_lua_splice_abort(struct kt_lua_pipe *h, int code, const char *text)
{
    struct kt_task *t = h->splicing;
    abort_splice(t, text);
    kt_task_wake(t, code, text);
}

void kt_lua_splice_push(lua_State *L, const struct kt_task *t)
{
    struct kt_splice_result result;
    kt_task_get(t, &result, sizeof result);
    lua_createtable(L, 0, 4); /* most have no more */
    lua_pushinteger(L, (lua_Integer)result.a_to_b);
    lua_setfield(L, -2, "a_to_b");
    lua_pushinteger(L, (lua_Integer)result.b_to_a);
    lua_setfield(L, -2, "b_to_a");
    lua_pushnumber(L, (double)result.duration_us / 1e6);
    lua_setfield(L, -2, "duration");
    lua_pushstring(L, result.code ? kt_errname(result.code) : "end");
    lua_setfield(L, -2, "reason");
    if (result.mirrored == 0 && result.mirror_dropped == 0) return;
    lua_pushinteger(L, (lua_Integer)result.mirrored);
    lua_setfield(L, -2, "mirrored");
    lua_pushinteger(L, (lua_Integer)result.mirror_dropped);
    lua_setfield(L, -2, "mirror_dropped");
}

static int finish(lua_State *L, struct kt_task *t)
{
    const struct kt_err *cause = kt_task_brought(t); /* the result's own is no longer valid */
    kt_lua_splice_push(L, t);
    if (!cause) return 1;
    kt_lua_err_push(L, cause->code, cause->text);
    lua_setfield(L, -2, "cause");
    return 1;
}

static void need_free(lua_State *L, int idx, const struct kt_lua_pipe *h)
{
    if (h->reading || h->writing)
        kt_raise(L, WHAT ": argument %d: another task is %s this %s", idx,
            h->reading ? "reading from" : "writing to", h->conn ? "conn" : "stream");
}

/* ---- the observers of each direction ---- */

/* The tap of a direction: userdata on the task's stack, one for each; the function is at STACK_TAP. */
struct tap {
    struct kt_task *task;
    const struct kt_origin *origin;
    const char *direction;
};

struct seen {
    const struct tap *tap;
    const void *data;
    size_t n;
};

/* Protected: → the tap's function, data, direction */
static int prepare_tap(lua_State *L)
{
    const struct seen *seen = lua_touserdata(L, 1);
    lua_State *T = kt_task_thread(seen->tap->task);
    if (!lua_checkstack(T, 1)) return 0;
    lua_pushvalue(T, STACK_TAP);
    lua_xmove(T, L, 1);
    lua_pushlstring(L, seen->data, seen->n);
    lua_pushstring(L, seen->tap->direction);
    return 3;
}

static void tapped(void *ctx, const void *data, size_t n)
{
    const struct tap *tap = ctx;
    const struct seen seen = {tap, data, n};
    struct kt_runtime *rt = kt_task_runtime(tap->task);
    if (kt_runtime_attends(rt)) kt_task_prepare(rt, tap->origin, prepare_tap, &seen);
}

static int wrong(lua_State *L)
{
    return kt_opts_wrong(L, 3, WHAT);
}

/* The open pipe at idx that a splice of a and b may copy to. */
static struct kt_lua_pipe *mirror_at(
    lua_State *L, int idx, const struct kt_lua_pipe *a, const struct kt_lua_pipe *b)
{
    struct kt_lua_pipe *h = kt_lua_pipe_test(L, idx);
    if (!h) wrong(L);
    if (!h->pipe || h == a || h == b)
        kt_raise(L, WHAT ": mirror: this %s %s", h->conn ? "conn" : "stream",
            h->pipe ? "is an end of the splice" : "was closed, or taken over by a splice");
    if (h->reading || h->writing) kt_raise(L, WHAT ": mirror: another task is using it");
    return h;
}

/* Reads `mirror` of the options: a pipe for what goes from a to b, or a table with one for each direction. */
static void read_mirrors(
    lua_State *L, const struct kt_lua_pipe *a, const struct kt_lua_pipe *b, struct kt_lua_pipe *out[2])
{
    lua_getfield(L, 3, "mirror");
    const int at = lua_gettop(L);
    if (!lua_istable(L, at)) {
        out[0] = mirror_at(L, at, a, b);
        return;
    }
    lua_pushnil(L);
    while (lua_next(L, at)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        const int way = strcmp(key, "a_to_b") == 0 ? 0 : strcmp(key, "b_to_a") == 0 ? 1 : -1;
        if (way < 0) wrong(L);
        out[way] = mirror_at(L, lua_gettop(L), a, b);
        lua_pop(L, 1);
    }
    if (out[0] && out[0] == out[1]) kt_raise(L, WHAT ": mirror: the same one for both directions");
}

/* Makes the observers of each direction. 0, or KT_ENOMEM; then the mirrors have ended. */
static int make_tees(
    struct kt_lua_pipe *const mirrors[2], struct tap *taps, size_t first, struct kt_tee *out[2])
{
    int rc = 0;
    for (size_t way = 0; way < 2; way++) {
        if (!mirrors[way] && !first) continue;
        const struct kt_tee_opts opts = {.mirror = mirrors[way] ? kt_lua_pipe_release(mirrors[way]) : NULL,
            .first = first,
            .tapped = tapped,
            .ctx = &taps[way]};
        const int failed = kt_tee_new(&opts, &out[way]);
        if (failed && opts.mirror) kt_pipe_reset(opts.mirror, failed);
        if (failed) rc = failed;
    }
    return rc;
}

static void end_tees(struct kt_tee *tees[2])
{
    for (size_t way = 0; way < 2; way++) kt_tee_end(tees[way], true, &(struct kt_tee_counts){0});
}

static int splice(lua_State *L)
{
    struct kt_task *t = kt_task_need(L, WHAT);
    struct kt_lua_pipe *a = kt_lua_pipe_test(L, 1), *b = kt_lua_pipe_test(L, 2);
    if ((!a && kt_handle_test(L, 1, KT_HANDLE_FLOW)) || (!b && kt_handle_test(L, 2, KT_HANDLE_FLOW)))
        return kt_lua_flow_splice(L);
    if (!a || !a->pipe) a = kt_lua_pipe_arg(L, 1, WHAT); /* raises */
    if (!b || !b->pipe) b = kt_lua_pipe_arg(L, 2, WHAT);
    if (a == b) return kt_raise(L, WHAT ": both arguments are the same %s", a->conn ? "conn" : "stream");
    need_free(L, 1, a);
    need_free(L, 2, b);
    struct kt_splice_opts how = defaults_for(a, b);
    uint64_t linger = KT_TIME_NEVER;
    struct kt_opt_rates rate = {0, 0};
    struct kt_opt_handles limit = {.kind = KT_HANDLE_LIMIT};
    bool tap = false, mirror = false;
    uint64_t first = FIRST;
    const struct kt_opt opts[] = {{"idle", KT_OPT_DURATION, &how.idle_us},
        {"total", KT_OPT_DURATION, &how.total_us}, {"rate", KT_OPT_RATES, &rate},
        {"limit", KT_OPT_HANDLES, &limit}, {"linger", KT_OPT_DURATION, &linger},
        {"tap", KT_OPT_FUNCTION, &tap}, {"first", KT_OPT_SIZE, &first}, {"mirror", KT_OPT_ANY, &mirror}};
    lua_settop(L, 3);
    kt_opts_read(L, 3, WHAT, opts, sizeof opts / sizeof opts[0]);
    if (first < 1 || first > KT_TAP_MAX) return wrong(L);
    struct tap *taps = NULL;
    if (tap) {
        const struct kt_origin *origin = kt_origin_here(L);
        lua_getfield(L, 3, "tap"); /* STACK_TAP */
        taps = lua_newuserdatauv(L, 2 * sizeof *taps, 0);
        taps[0] = (struct tap){t, origin, "a_to_b"};
        taps[1] = (struct tap){t, origin, "b_to_a"};
    }
    struct kt_lua_pipe *mirrors[2] = {NULL, NULL};
    if (mirror) read_mirrors(L, a, b, mirrors);
    how.rate_ab = rate.a_to_b;
    how.rate_ba = rate.b_to_a;
    how.limit_ab = kt_lua_limit_of(limit.a_to_b);
    how.limit_ba = kt_lua_limit_of(limit.b_to_a);
    if (linger != KT_TIME_NEVER) how.linger_us = how.settle_us = linger;

    int rc = a->heard ? a->code : b->heard ? b->code : 0;
    if (rc) return kt_lua_err_return(L, rc, lua_pushfstring(L, WHAT ": already broken: %s", kt_strerror(rc)));
    struct kt_splice *op;
    struct kt_tee *tees[2] = {NULL, NULL};
    rc = make_tees(mirrors, taps, tap ? (size_t)first : 0, tees);
    how.tee_ab = tees[0];
    how.tee_ba = tees[1];
    if (!rc) rc = kt_splice(kt_runtime_io(kt_task_runtime(t)), a->pipe, b->pipe, &how, done, t, &op);
    if (rc) {
        end_tees(tees);
        return kt_lua_err_return(L, rc, NULL);
    }
    if (a->code) kt_splice_broke(op, false, a->code);
    if (b->code) kt_splice_broke(op, true, b->code);
    /* Nothing may raise from here on: the splice will call back with the task. */
    kt_lua_pipe_give(a, b, op, t);
    if (!tap) lua_settop(L, 2); /* so that the options are not kept while the splice lasts */
    return kt_task_wait(L, t,
        &(struct kt_wait){
            .what = WHAT, .cancel = cancel, .finish = finish, .op = a, .timeout_us = KT_TIME_NEVER});
}

void kt_lua_splice(lua_State *L)
{
    lua_pushcfunction(L, splice);
    lua_setfield(L, -2, "splice");
}
