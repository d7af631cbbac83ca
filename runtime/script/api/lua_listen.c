/* kt.listen: accepts local conns and runs a task for each; with `proxy`, once its PROXY protocol header has come.
 * lua/kt/init.lua has checked the options. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/prefix.h"
#include "link/proxy_accept.h"
#include "script/api/lua_listen.h"
#include "script/api/lua_pipe.h"
#include "script/core/handle.h"
#include "script/api/api.h"
#include "script/core/service.h"

#define LOG_EVERY_US 1000000u

/* Why a conn is refused. Each reason is logged and counted apart from the others. */
enum reason { MALFORMED, LATE, TOO_MANY, NOT_TRUSTED, NO_MEMORY, REASONS };

/* The socket and its current owner, which a reload changes. */
struct door {
    struct kt_listener *listener;
    struct kt_lua_listener *owner;
    struct kt_proxy_accept *proxy; /* NULL: no conn has had to wait for a header yet */
    struct refused {
        uint64_t logged_at, unlogged; /* last log line, µs; how many since without one */
    } refused[REASONS];
};

struct kt_lua_listener {
    struct kt_service service; /* first */
    struct kt_endpoint at;
    struct door *door;               /* NULL: not open */
    bool proxy;                      /* conns begin with a PROXY protocol header */
    const struct kt_prefix *trusted; /* those that may send one, anchored by the handle; NULL: all */
    size_t trusted_count;
    struct kt_list waiting; /* tasks in core.await_stop */
};

enum { TRUSTED = 1, USERVALUES = TRUSTED };

/* ---- conns ---- */

static void serve_conn(void *ctx, struct kt_conn *conn)
{
    const struct door *door = ctx;
    struct kt_service *s = &door->owner->service;
    if (!kt_service_has_handler(s)) { /* created in a task that has not called :serve yet */
        kt_pipe_reset(kt_conn_pipe(conn), KT_ECANCELED);
        return;
    }
    kt_lua_pipe_serve(s, kt_conn_pipe(conn), conn, NULL);
}

static const char *const reasons[REASONS] = {
    [MALFORMED] = "its first bytes are not a PROXY protocol header",
    [LATE] = "no PROXY protocol header came in time",
    [TOO_MANY] = "too many conns wait for their PROXY protocol header",
    [NOT_TRUSTED] = "its address is not in proxy_from",
    [NO_MEMORY] = "out of memory",
};

/* Counts a conn that is refused for its header. REASONS: it ended by itself, as health checks do. */
static void note_refused(struct door *door, struct kt_conn *conn, enum reason why)
{
    struct kt_runtime *rt = kt_service_runtime(&door->owner->service);
    const uint64_t now = kt_io_now(kt_runtime_io(rt));
    kt_runtime_counters(rt)->ProxyRefused++;
    if (why == REASONS) return;
    struct refused *r = &door->refused[why];
    if (r->logged_at && now - r->logged_at < LOG_EVERY_US) {
        r->unlogged++;
        return;
    }
    char more[64] = "", peer[KT_CONN_NAME];
    if (r->unlogged) snprintf(more, sizeof more, "; so were %llu more", (unsigned long long)r->unlogged);
    *r = (struct refused){.logged_at = now};
    kt_conn_peer(conn, peer);
    kt_log_with(kt_runtime_log(rt), KT_LOG_WARN, (struct kt_log_fields){.conn = peer},
        "%s: conn of %s reset: %s%s", kt_listener_local(door->listener), peer, reasons[why], more);
}

static void header_refused(void *ctx, struct kt_conn *conn, int code)
{
    enum reason why = REASONS;
    if (code == KT_EPROTO)
        why = MALFORMED;
    else if (code == KT_ETIMEOUT)
        why = LATE;
    else if (code == KT_ELIMIT || code == KT_ENOMEM)
        why = TOO_MANY;
    note_refused(ctx, conn, why);
}

/* Conns of a unix socket have no address; its clients are trusted, as they may open its file. */
static bool trusts(const struct kt_lua_listener *l, const struct kt_conn *conn)
{
    const struct kt_addr *peer = kt_conn_peer_addr(conn);
    if (!l->trusted || l->at.is_unix) return true;
    return peer && kt_prefixes_have(l->trusted, l->trusted_count, peer);
}

static void on_conn(void *ctx, struct kt_conn *conn)
{
    static const struct kt_proxy_accept_events events = {.ready = serve_conn, .refused = header_refused};
    struct door *door = ctx;
    const struct kt_lua_listener *l = door->owner;
    if (!l->proxy) {
        serve_conn(door, conn);
        return;
    }
    if (!door->proxy)
        door->proxy = kt_proxy_accept_new(kt_runtime_io(kt_service_runtime(&l->service)), &events, door);
    if (door->proxy && trusts(l, conn)) {
        kt_proxy_accept_add(door->proxy, conn);
        return;
    }
    note_refused(door, conn, door->proxy ? NOT_TRUSTED : NO_MEMORY);
    kt_pipe_reset(kt_conn_pipe(conn), KT_EACCES);
}

/* ---- the service ---- */

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
    kt_task_wake_all(&l->waiting, 0, NULL);
    if (!l->door) return;
    kt_listener_close(l->door->listener);
    kt_proxy_accept_free(l->door->proxy);
    free(l->door);
    l->door = NULL;
}

static bool heir(const struct kt_service *s, const struct kt_service *old)
{
    const struct kt_lua_listener *l = (const struct kt_lua_listener *)s,
                                 *o = (const struct kt_lua_listener *)old;
    return o->door && kt_endpoint_equal(&l->at, &o->at);
}

static int prepare(struct kt_service *s, struct kt_service *old, struct kt_err *err)
{
    return kt_lua_diverted_alike(
        &((struct kt_lua_listener *)s)->at, &((struct kt_lua_listener *)old)->at, err);
}

static void inherit(struct kt_service *s, struct kt_service *old)
{
    struct kt_lua_listener *l = (struct kt_lua_listener *)s, *o = (struct kt_lua_listener *)old;
    l->door = o->door;
    l->door->owner = l;
    o->door = NULL;
    kt_task_wake_all(&o->waiting, 0, NULL);
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
    .prepare = prepare,
    .inherit = inherit,
};

/* ---- the handle ---- */

/* Reads config.proxy_from, a list of networks, into a block that the handle on top of the stack anchors. */
static void read_trusted(lua_State *L, struct kt_lua_listener *l)
{
    if (lua_getfield(L, 1, "proxy_from") == LUA_TTABLE) {
        const size_t n = lua_rawlen(L, -1);
        struct kt_prefix *trusted = lua_newuserdatauv(L, (n ? n : 1) * sizeof *trusted, 0);
        for (size_t i = 0; i < n; i++) {
            struct kt_err err = {0};
            lua_rawgeti(L, -2, (lua_Integer)i + 1);
            if (kt_prefix_parse(&trusted[i], lua_tostring(L, -1), &err))
                kt_raise(L, "listen.proxy_from: %s", err.text);
            lua_pop(L, 1);
        }
        l->trusted = trusted;
        l->trusted_count = kt_prefixes_sort(trusted, n);
        lua_setiuservalue(L, -3, TRUSTED);
    }
    lua_pop(L, 1);
}

int kt_lua_diverted_alike(const struct kt_endpoint *at, const struct kt_endpoint *old, struct kt_err *err)
{
    if (at->diverted == old->diverted) return 0;
    return kt_err_set(err, KT_EINUSE, "a reload cannot change `transparent` of a listener; restart kt");
}

enum kt_diverted kt_lua_diverted(lua_State *L)
{
    lua_getfield(L, 1, "transparent");
    const char *how = lua_tostring(L, -1);
    lua_pop(L, 1);
    if (!how) return KT_DIVERTED_NOT;
    return strcmp(how, "tproxy") == 0 ? KT_DIVERTED_TPROXY : KT_DIVERTED_REDIRECT;
}

/* core.listen(config) → listener | nil, err */
static int listen_on(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "on");
    struct kt_lua_listener *l = kt_handle_push(L, KT_HANDLE_LISTENER, sizeof *l, USERVALUES);
    kt_list_init(&l->waiting);
    const char *on = lua_tostring(L, -2);
    struct kt_err err = {0};
    if (!on || kt_endpoint_parse(&l->at, on, KT_ENDPOINT_UNIX | KT_ENDPOINT_ZERO, &err))
        return kt_raise(L, "listen.on: %s", err.text);
    kt_service_localhost(&l->at);
    l->at.diverted = kt_lua_diverted(L);
    lua_getfield(L, 1, "proxy");
    l->proxy = lua_toboolean(L, -1);
    lua_pop(L, 1);
    read_trusted(L, l);
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

/* core.await_stop(listener): waits until it accepts no more: it was closed, or the script drains. */
static int await_stop(lua_State *L)
{
    struct kt_task *t = kt_task_need(L, "kt.listen");
    struct kt_lua_listener *l = luaL_checkudata(L, 1, KT_HANDLE_LISTENER);
    if (!kt_service_is_open(&l->service)) return 0;
    return kt_task_wait(
        L, t, &(struct kt_wait){.what = "kt.listen", .queue = &l->waiting, .timeout_us = KT_TIME_NEVER});
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
    static const luaL_Reg functions[] = {{"listen", listen_on}, {"await_stop", await_stop}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
