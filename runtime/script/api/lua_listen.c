/* kt.listen: accepts local conns and runs a task for each. lua/kt/init.lua has checked the options. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "script/api/lua_pipe.h"
#include "script/core/handle.h"
#include "script/api/api.h"
#include "script/core/service.h"

/* The socket and its current owner, which a reload changes. */
struct door {
    struct kt_listener *listener;
    struct kt_lua_listener *owner;
};

struct kt_lua_listener {
    struct kt_service service; /* first */
    struct kt_endpoint at;
    struct door *door; /* NULL: not open */
};

static void on_conn(void *ctx, struct kt_conn *conn)
{
    const struct door *door = ctx;
    struct kt_service *s = &door->owner->service;
    if (!kt_service_has_handler(s)) { /* created in a task that has not called :serve yet */
        kt_pipe_reset(kt_conn_pipe(conn), KT_ECANCELED);
        return;
    }
    kt_lua_pipe_serve(s, kt_conn_pipe(conn), conn, NULL);
}

static int open(struct kt_service *s, struct kt_err *err)
{
    static const struct kt_listener_events events = {.conn = on_conn};
    struct kt_lua_listener *l = (struct kt_lua_listener *)s;
    struct door *door = calloc(1, sizeof *door);
    if (!door) return kt_err_set(err, KT_ENOMEM, "out of memory");
    door->owner = l;
    int rc = kt_listen(kt_runtime_io(kt_service_runtime(s)), &l->at, &events, door, &door->listener, err);
    if (rc) {
        free(door);
        return rc;
    }
    l->door = door;
    kt_log(kt_runtime_log(kt_service_runtime(s)), KT_LOG_INFO, "listening on %s",
        kt_listener_local(door->listener));
    return 0;
}

static void close_listener(struct kt_service *s)
{
    struct kt_lua_listener *l = (struct kt_lua_listener *)s;
    if (!l->door) return;
    kt_listener_close(l->door->listener);
    free(l->door);
    l->door = NULL;
}

static bool heir(const struct kt_service *s, const struct kt_service *old)
{
    const struct kt_lua_listener *l = (const struct kt_lua_listener *)s,
                                 *o = (const struct kt_lua_listener *)old;
    return o->door && kt_endpoint_equal(&l->at, &o->at);
}

static void inherit(struct kt_service *s, struct kt_service *old)
{
    struct kt_lua_listener *l = (struct kt_lua_listener *)s, *o = (struct kt_lua_listener *)old;
    l->door = o->door;
    l->door->owner = l;
    o->door = NULL;
}

static const struct kt_endpoint *binds(const struct kt_service *s)
{
    return &((const struct kt_lua_listener *)s)->at;
}

static const struct kt_service_ops ops = {
    .what = "kt.listen",
    .at = "on",
    .serve = "listener:serve",
    .brings = "conn",
    .open = open,
    .drain = close_listener,
    .close = close_listener,
    .binds = binds,
    .heir = heir,
    .inherit = inherit,
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
    return kt_service_enter(L, &l->service, &ops, on);
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
    lua_pushstring(L, l->door ? kt_listener_local(l->door->listener) : NULL);
    return 1;
}

static int to_string(lua_State *L)
{
    const struct kt_lua_listener *l = kt_handle_self(L, KT_HANDLE_LISTENER, "tostring");
    const char *at = l->door ? kt_listener_local(l->door->listener) : kt_service_name(&l->service);
    return kt_handle_text(L, KT_HANDLE_LISTENER, at, kt_service_is_closed(&l->service) ? "closed" : NULL);
}

void kt_lua_listen(lua_State *L)
{
    static const luaL_Reg methods[] = {{"serve", serve}, {"close", close_method}, {NULL, NULL}};
    static const luaL_Reg fields[] = {{"local_addr", field_local}, {NULL, NULL}};
    kt_handle_type(L, &(struct kt_handle_type){.name = KT_HANDLE_LISTENER,
                          .methods = methods,
                          .fields = fields,
                          .close = close_method,
                          .gc = gc,
                          .tostring = to_string});
    lua_pushcfunction(L, listen_on);
    lua_setfield(L, -2, "listen");
}
