/* Apps: a spec's own conns on simulated hosts, both those that it opens and those that its servers accept.
 * Nothing here waits; lua/kt/sim/app.lua builds blocking reads and writes on top. */
#include "script/core/service.h"
#include "script/sim/core.h"

struct app {
    struct kt_lua_sim_held held;   /* first; held while it is open or connecting */
    struct kt_connect *connecting; /* NULL once connected */
    struct kt_pipe *pipe;          /* NULL until then */
    struct kt_conn *conn;          /* the pipe's */
};

struct listener {
    struct kt_lua_sim_held held; /* first */
    struct kt_listener *listener;
};

static void close_app(struct kt_lua_sim_held *held)
{
    struct app *a = (struct app *)held;
    if (a->connecting) kt_connect_cancel(a->connecting);
    if (a->pipe) kt_pipe_close(a->pipe);
    a->connecting = NULL;
    a->pipe = NULL;
    a->conn = NULL;
    kt_list_remove(&held->node);
}

static void close_listener(struct kt_lua_sim_held *held)
{
    struct listener *l = (struct listener *)held;
    if (l->listener) kt_listener_close(l->listener);
    l->listener = NULL;
    kt_list_remove(&held->node);
}

/* ---- conns ---- */

static void on_readable(void *ctx)
{
    struct app *a = ctx;
    kt_lua_sim_dispatch(a->held.w, "readable", a->held.id, NULL, NULL);
}

static void on_writable(void *ctx)
{
    struct app *a = ctx;
    kt_lua_sim_dispatch(a->held.w, "writable", a->held.id, NULL, NULL);
}

static void on_closed(void *ctx, int code)
{
    struct app *a = ctx;
    struct kt_err err = {.code = code};
    kt_lua_sim_dispatch(a->held.w, "broken", a->held.id, kt_lua_sim_push_failure, &err);
}

static void take(struct app *a, struct kt_conn *conn)
{
    static const struct kt_pipe_events events = {
        .readable = on_readable, .writable = on_writable, .closed = on_closed};
    a->conn = conn;
    a->pipe = kt_conn_pipe(conn);
    kt_conn_set_user_timeout(conn, 0); /* the default of most programs */
    kt_pipe_listen(a->pipe, &events, a);
}

static struct app *push_app(lua_State *L, struct kt_lua_world *w, struct kt_lua_sim_driver *d)
{
    struct app *a = (struct app *)kt_lua_sim_push_held(L, w, d, sizeof *a, KT_SIM_APP);
    a->held.close = close_app;
    return a;
}

static void on_connected(void *ctx, struct kt_conn *conn, const struct kt_err *err)
{
    struct app *a = ctx;
    a->connecting = NULL;
    if (conn) {
        take(a, conn);
        kt_lua_sim_dispatch(a->held.w, "connected", a->held.id, NULL, NULL);
    } else {
        kt_list_remove(&a->held.node);
        kt_lua_sim_dispatch(a->held.w, "unconnected", a->held.id, kt_lua_sim_push_failure, (void *)err);
    }
}

/* world:connect(host, "host:port") → app, id | nil, code, sentence. Later dispatches "connected", or
 * "unconnected" with code and sentence. */
static int world_connect(lua_State *L)
{
    struct kt_lua_world *w = kt_lua_sim_world_arg(L);
    struct kt_sim_host *h = kt_lua_sim_host_arg(L, w, 2);
    struct kt_err err = {0};
    struct kt_endpoint to;
    if (kt_endpoint_parse(&to, luaL_checkstring(L, 3), KT_ENDPOINT_HOST | KT_ENDPOINT_UNIX, &err))
        return kt_lua_sim_fail_return(L, &err);
    struct kt_lua_sim_driver *d = kt_lua_sim_driver(w, h, &err);
    if (!d) return kt_lua_sim_fail_return(L, &err);
    struct app *a = push_app(L, w, d);
    if (kt_connect(d->io, &to, on_connected, a, &a->connecting, &err)) return kt_lua_sim_fail_return(L, &err);
    kt_lua_sim_hold(&a->held);
    lua_pushinteger(L, a->held.id);
    return 2;
}

static struct app *app_arg(lua_State *L)
{
    return luaL_checkudata(L, 1, KT_SIM_APP);
}

/* app:read() → the buffered bytes, maybe "", and whether the end was reached */
static int app_read(lua_State *L)
{
    struct app *a = app_arg(L);
    struct kt_iov iov[8];
    size_t pieces = a->pipe ? kt_pipe_peek(a->pipe, iov, 8) : 0, n = 0;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < pieces; i++) {
        luaL_addlstring(&b, (const char *)iov[i].data, iov[i].len);
        n += iov[i].len;
    }
    luaL_pushresult(&b);
    if (n > 0) kt_pipe_consume(a->pipe, n);
    lua_pushboolean(L, a->pipe && kt_pipe_eof(a->pipe));
    return 2;
}

/* app:write(data, from) → the number of bytes accepted, starting at offset `from` */
static int app_write(lua_State *L)
{
    struct app *a = app_arg(L);
    size_t len;
    const char *data = luaL_checklstring(L, 2, &len);
    size_t from = (size_t)luaL_optinteger(L, 3, 0);
    lua_pushinteger(
        L, a->pipe && from < len ? (lua_Integer)kt_pipe_write(a->pipe, data + from, len - from) : 0);
    return 1;
}

static int app_shutdown(lua_State *L)
{
    struct app *a = app_arg(L);
    if (a->pipe) kt_pipe_shutdown(a->pipe);
    return 0;
}

static int app_reset(lua_State *L)
{
    struct app *a = app_arg(L);
    if (a->pipe) kt_pipe_reset(a->pipe, KT_ECANCELED);
    a->pipe = NULL;
    close_app(&a->held);
    return 0;
}

static int app_close(lua_State *L)
{
    close_app(&app_arg(L)->held);
    return 0;
}

/* app:names() → "peer:port", "local:port"; nothing if not connected */
static int app_names(lua_State *L)
{
    const struct app *a = app_arg(L);
    char peer[KT_CONN_NAME];
    if (!a->conn) return 0;
    lua_pushstring(L, kt_conn_peer(a->conn, peer));
    lua_pushstring(L, kt_conn_local(a->conn));
    return 2;
}

/* ---- servers ---- */

struct accepted {
    struct listener *l;
    struct kt_conn *conn;
};

static int push_accepted(lua_State *L, void *ctx)
{
    struct accepted *c = ctx;
    struct app *a = push_app(L, c->l->held.w, c->l->held.driver);
    take(a, c->conn);
    c->conn = NULL;
    kt_lua_sim_hold(&a->held);
    lua_pushinteger(L, a->held.id);
    return 2;
}

static void on_conn(void *ctx, struct kt_conn *conn)
{
    struct listener *l = ctx;
    struct accepted c = {l, conn};
    kt_lua_sim_dispatch(l->held.w, "accepted", l->held.id, push_accepted, &c);
    if (c.conn) kt_pipe_reset(kt_conn_pipe(c.conn), KT_ENOMEM);
}

/* world:listen(host, "ip:port") → listener, id, "ip:port" | nil, code, sentence. Dispatches "accepted" with
 * the app and its id for each conn. */
static int world_listen(lua_State *L)
{
    static const struct kt_listener_events events = {on_conn};
    struct kt_lua_world *w = kt_lua_sim_world_arg(L);
    struct kt_sim_host *h = kt_lua_sim_host_arg(L, w, 2);
    struct kt_err err = {0};
    struct kt_endpoint at;
    if (kt_endpoint_parse(&at, luaL_checkstring(L, 3), KT_ENDPOINT_ZERO | KT_ENDPOINT_UNIX, &err))
        return kt_lua_sim_fail_return(L, &err);
    kt_service_localhost(&at);
    struct kt_lua_sim_driver *d = kt_lua_sim_driver(w, h, &err);
    if (!d) return kt_lua_sim_fail_return(L, &err);
    struct listener *l = (struct listener *)kt_lua_sim_push_held(L, w, d, sizeof *l, KT_SIM_LISTENER);
    l->held.close = close_listener;
    if (kt_listen(d->io, &at, &events, l, &l->listener, &err)) return kt_lua_sim_fail_return(L, &err);
    kt_lua_sim_hold(&l->held);
    lua_pushinteger(L, l->held.id);
    lua_pushstring(L, kt_listener_local(l->listener));
    return 3;
}

static int listener_close(lua_State *L)
{
    close_listener(luaL_checkudata(L, 1, KT_SIM_LISTENER));
    return 0;
}

void kt_lua_sim_apps(lua_State *L)
{
    static const luaL_Reg world[] = {{"connect", world_connect}, {"listen", world_listen}, {NULL, NULL}};
    static const luaL_Reg app[] = {{"read", app_read}, {"write", app_write}, {"shutdown", app_shutdown},
        {"reset", app_reset}, {"close", app_close}, {"names", app_names}, {NULL, NULL}};
    static const luaL_Reg listener[] = {{"close", listener_close}, {NULL, NULL}};
    luaL_setfuncs(L, world, 0);
    kt_lua_sim_class(L, KT_SIM_APP, app, app_close);
    kt_lua_sim_class(L, KT_SIM_LISTENER, listener, listener_close);
}
