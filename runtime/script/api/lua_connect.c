/* kt.connect { to = "host:port" | "unix:/path", timeout = "5s" } → conn | nil, err
 * kt.connect { udp = "host:port", timeout = "5s" } → flow | nil, err (lua_flow.c) */
#include "script/api/lua_flow.h"
#include "script/api/lua_pipe.h"
#include "script/core/handle.h"
#include "script/api/api.h"

#define WHAT "kt.connect"
#define TIMEOUT_US 10000000u

static void connected(void *ctx, struct kt_conn *conn, const struct kt_err *err)
{
    struct kt_task *t = ctx;
    if (conn) {
        kt_task_hold_pipe(t, kt_conn_pipe(conn), conn);
        kt_task_wake(t, 0, NULL);
    } else {
        kt_task_wake(t, err->code, err->text);
    }
}

static void cancel(struct kt_task *t)
{
    kt_connect_cancel(kt_task_op(t));
}

static int finish(lua_State *L, struct kt_task *t)
{
    kt_lua_pipe_take(L, t);
    return 1;
}

static int connect_to(lua_State *L)
{
    struct kt_task *t = kt_task_need(L, WHAT);
    const char *to = NULL, *udp = NULL;
    uint64_t timeout = TIMEOUT_US;
    const struct kt_opt opts[] = {
        {"to", KT_OPT_STRING, &to}, {"udp", KT_OPT_STRING, &udp}, {"timeout", KT_OPT_DURATION, &timeout}};
    kt_opts_read(L, 1, WHAT, opts, 3);
    if (!to == !udp) return kt_opts_wrong(L, 1, WHAT);
    lua_settop(L, 1);
    if (udp) return kt_lua_flow_connect(L, udp, timeout);

    /* A bad address is returned, not raised: it may come from a client. */
    struct kt_err err = {0};
    struct kt_endpoint at;
    int rc = kt_endpoint_parse(&at, to, KT_ENDPOINT_UNIX | KT_ENDPOINT_HOST, &err);
    if (rc) return kt_err_return(L, rc, err.text);
    if (kt_runtime_pipes_full(kt_task_runtime(t))) return kt_lua_pipe_too_many(L, WHAT);
    kt_lua_pipe_push(L, KT_HANDLE_CONN); /* allocate now, so that finish cannot run out of memory */
    struct kt_connect *op;
    rc = kt_connect(kt_runtime_io(kt_task_runtime(t)), &at, connected, t, &op, &err);
    if (rc) return kt_err_return(L, rc, err.text);
    return kt_task_wait(L, t,
        &(struct kt_wait){
            .what = WHAT,
            .cancel = cancel,
            .finish = finish,
            .op = op,
            .timeout_us = timeout,
        });
}

void kt_lua_connect(lua_State *L)
{
    lua_pushcfunction(L, connect_to);
    lua_setfield(L, -2, "connect");
}
