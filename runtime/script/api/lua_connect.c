/* kt.connect { to = "host:port" | "unix:/path", timeout = "5s", proxy = "v2", client = stream } → conn | nil, err
 * kt.connect { udp = "host:port", timeout = "5s" } → flow | nil, err (lua_flow.c)
 *
 * With `proxy`, the conn is the script's once its PROXY protocol header is written, so nothing can come before that.
 * Invariant: a dial has either its kt_connect or its conn, until the task gets the conn or an error. */
#include <string.h>
#include "link/proxy_header.h"
#include "script/api/lua_flow.h"
#include "script/api/lua_pipe.h"
#include "script/core/handle.h"
#include "script/api/api.h"

#define WHAT "kt.connect"
#define TIMEOUT_US 10000000u

/* The client that a header names: `from` is unset (AF_UNSPEC) if it has no IP address, `to` if it is not known to where
 * it connected. */
struct client {
    struct kt_addr from, to;
};

/* A call with `proxy`; a userdata on the task's stack. */
struct dial {
    struct kt_task *task;
    struct kt_connect *op;
    struct kt_conn *conn; /* while its header is being written */
    unsigned version;
    struct client client;
    uint8_t header[KT_PROXY_HEADER_OUT];
    size_t len, sent;
};

/* ---- without a header ---- */

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

/* ---- with a header ---- */

static void dial_failed(struct dial *d, int code)
{
    struct kt_pipe *p = kt_conn_pipe(d->conn);
    kt_pipe_listen(p, NULL, NULL);
    kt_pipe_reset(p, code);
    d->conn = NULL;
    kt_task_wake(d->task, code, NULL);
}

static void on_writable(void *ctx)
{
    struct dial *d = ctx;
    struct kt_pipe *p = kt_conn_pipe(d->conn);
    d->sent += kt_pipe_write(p, d->header + d->sent, d->len - d->sent);
    if (d->sent < d->len) return;
    kt_pipe_listen(p, NULL, NULL);
    kt_task_hold_pipe(d->task, p, d->conn);
    d->conn = NULL;
    kt_task_wake(d->task, 0, NULL);
}

static void on_readable(void *ctx)
{
    (void)ctx;
}

static void on_closed(void *ctx, int code)
{
    dial_failed(ctx, code);
}

static void dialled(void *ctx, struct kt_conn *conn, const struct kt_err *err)
{
    static const struct kt_pipe_events events = {
        .readable = on_readable, .writable = on_writable, .closed = on_closed};
    struct dial *d = ctx;
    d->op = NULL;
    if (!conn) {
        kt_task_wake(d->task, err->code, err->text);
        return;
    }
    const struct kt_addr *from = d->client.from.sa.sa_family ? &d->client.from : NULL;
    const struct kt_addr *to = &d->client.to;
    if (to->sa.sa_family == AF_UNSPEC) to = kt_conn_peer_addr(conn);
    d->len = kt_proxy_header_write(d->header, d->version, from, to);
    d->conn = conn;
    kt_pipe_listen(kt_conn_pipe(conn), &events, d);
    on_writable(d);
}

static void dial_cancel(struct kt_task *t)
{
    struct dial *d = kt_task_op(t);
    if (d->op) kt_connect_cancel(d->op);
    if (d->conn) kt_pipe_reset(kt_conn_pipe(d->conn), KT_ECANCELED);
    d->op = NULL;
    d->conn = NULL;
}

/* ---- arguments ---- */

static void read_field(lua_State *L, const char *key, struct kt_addr *out)
{
    lua_getfield(L, -1, key);
    const char *text = lua_tostring(L, -1);
    if (!text || !kt_addr_parse(out, text)) memset(out, 0, sizeof *out);
    lua_pop(L, 1);
}

/* Reads `client` of the options: a conn; a stream, whose client the peer may have named; or an address. */
static void read_client(lua_State *L, struct client *out)
{
    memset(out, 0, sizeof *out);
    lua_getfield(L, 1, "client");
    if (kt_handle_test(L, -1, KT_HANDLE_CONN)) {
        read_field(L, "peer", &out->from);
        read_field(L, "local_addr", &out->to);
    } else if (kt_handle_test(L, -1, KT_HANDLE_STREAM)) {
        read_field(L, "client", &out->from);
        if (out->from.sa.sa_family == AF_UNSPEC) read_field(L, "peer", &out->from);
    } else if (lua_type(L, -1) == LUA_TSTRING) { /* "unix:", or what a peer said: not an address */
        if (!kt_addr_parse(&out->from, lua_tostring(L, -1))) memset(out, 0, sizeof *out);
    } else {
        kt_opts_wrong(L, 1, WHAT);
    }
    lua_pop(L, 1);
}

static int connect_to(lua_State *L)
{
    struct kt_task *t = kt_task_need(L, WHAT);
    const char *to = NULL, *udp = NULL, *proxy = NULL;
    bool client_given = false;
    uint64_t timeout = TIMEOUT_US;
    const struct kt_opt opts[] = {{"to", KT_OPT_STRING, &to}, {"udp", KT_OPT_STRING, &udp},
        {"timeout", KT_OPT_DURATION, &timeout}, {"proxy", KT_OPT_STRING, &proxy},
        {"client", KT_OPT_ANY, &client_given}};
    struct client client = {0};
    kt_opts_read(L, 1, WHAT, opts, sizeof opts / sizeof opts[0]);
    if (!to == !udp || (!proxy && client_given) || (udp && proxy)) return kt_opts_wrong(L, 1, WHAT);
    if (proxy && strcmp(proxy, "v1") != 0 && strcmp(proxy, "v2") != 0) return kt_opts_wrong(L, 1, WHAT);
    if (client_given) read_client(L, &client);
    lua_settop(L, 1);
    if (udp) return kt_lua_flow_connect(L, udp, timeout);

    /* A bad address is returned, not raised: it may come from a client. */
    struct kt_err err = {0};
    struct kt_endpoint at;
    int rc = kt_endpoint_parse(&at, to, KT_ENDPOINT_UNIX | KT_ENDPOINT_HOST, &err);
    if (rc) return kt_lua_err_return(L, rc, err.text);
    if (kt_runtime_pipes_full(kt_task_runtime(t))) return kt_lua_pipe_too_many(L, WHAT);
    struct dial *d = proxy ? lua_newuserdatauv(L, sizeof *d, 0) : NULL;
    if (d) *d = (struct dial){.task = t, .version = (unsigned)(proxy[1] - '0'), .client = client};
    kt_lua_pipe_push(L, KT_HANDLE_CONN); /* allocate now, so that finish cannot run out of memory */
    struct kt_connect *op;
    rc = kt_connect(kt_runtime_io(kt_task_runtime(t)), &at, d ? dialled : connected,
        d ? (void *)d : (void *)t, &op, &err);
    if (rc) return kt_lua_err_return(L, rc, err.text);
    if (d) d->op = op;
    return kt_task_wait(L, t,
        &(struct kt_wait){
            .what = WHAT,
            .cancel = d ? dial_cancel : cancel,
            .finish = finish,
            .op = d ? (void *)d : (void *)op,
            .timeout_us = timeout,
        });
}

void kt_lua_connect(lua_State *L)
{
    lua_pushcfunction(L, connect_to);
    lua_setfield(L, -2, "connect");
}
