/* kt.listen: local conns, each a task. The table that kt.listen was given arrives here checked, as { on = …
 * }. */
#include <stdio.h>
#include <string.h>
#include "script/handle.h"
#include "script/script.h"
#include "script/service.h"

struct kt_lua_listener {
    struct kt_service service; /* first */
    struct kt_endpoint at;
    struct kt_listener *listener;
};

static void on_conn(void *ctx, struct kt_conn *conn)
{
    struct kt_lua_listener *l = ctx;
    struct kt_service *s = &l->service;
    if (s->handler == LUA_NOREF) { /* made in a task, which has not said yet who serves */
        kt_pipe_reset(kt_conn_pipe(conn), KT_ECANCELED);
        return;
    }
    kt_task_serve(s->rt, s->handler, s->served_at, kt_conn_pipe(conn), conn, NULL);
}

static int open(struct kt_service *s, struct kt_err *err)
{
    static const struct kt_listener_events events = {.conn = on_conn};
    struct kt_lua_listener *l = (struct kt_lua_listener *)s;
    int rc = kt_listen(s->rt->io, &l->at, &events, l, &l->listener, err);
    if (rc) return rc;
    kt_log(s->rt->log, KT_LOG_INFO, "listening on %s", kt_listener_local(l->listener));
    return 0;
}

static void close_listener(struct kt_service *s)
{
    struct kt_lua_listener *l = (struct kt_lua_listener *)s;
    if (l->listener) kt_listener_close(l->listener);
    l->listener = NULL;
}

static const struct kt_service_ops ops = {
    .what = "kt.listen",
    .serve = "listener:serve",
    .brings = "conn",
    .open = open,
    .drain = close_listener,
    .close = close_listener,
};

/* core.listen(config) → listener | nil, err */
static int listen_on(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "on");
    struct kt_lua_listener *l = kt_handle_push(L, KT_HANDLE_LISTENER, sizeof *l, 0);
    const char *on = lua_tostring(L, -2);
    struct kt_err err = {0};
    if (!on || kt_endpoint_parse(&l->at, on, KT_ENDPOINT_UNIX | KT_ENDPOINT_ZERO, &err))
        return kt_raise(L, "listen.on: %s", err.text);
    kt_service_localhost(&l->at);
    snprintf(l->service.name, sizeof l->service.name, "%s", on);
    return kt_service_enter(L, &l->service, &ops);
}

static int serve(lua_State *L)
{
    return kt_service_serve(L, kt_handle_self(L, KT_HANDLE_LISTENER, "serve"));
}

static int close_method(lua_State *L)
{
    kt_service_close(kt_handle_self(L, KT_HANDLE_LISTENER, "close"));
    return 0;
}

static int gc(lua_State *L)
{
    return kt_service_gc(L, lua_touserdata(L, 1));
}

static int field_local(lua_State *L)
{
    const struct kt_lua_listener *l = lua_touserdata(L, 1);
    lua_pushstring(L, l->listener ? kt_listener_local(l->listener) : NULL);
    return 1;
}

void kt_lua_listen(lua_State *L)
{
    static const luaL_Reg methods[] = {{"serve", serve}, {"close", close_method}, {NULL, NULL}};
    static const luaL_Reg fields[] = {{"local_addr", field_local}, {NULL, NULL}};
    kt_handle_type(L, &(struct kt_handle_type){.name = KT_HANDLE_LISTENER,
                          .methods = methods,
                          .fields = fields,
                          .close = close_method,
                          .gc = gc});
    lua_pushcfunction(L, listen_on);
    lua_setfield(L, -2, "listen");
}
