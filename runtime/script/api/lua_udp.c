/* kt.udp { on = ":5353" | to = "host:port" }: UDP sockets for scripts.
 *
 * A socket declared in the main chunk is a service: the runtime opens it at startup, and no task owns it. One
 * created in a task opens at once and is owned by the task; if it has a port of its own, it is a service as well,
 * which closes when a reload replaces the script, so that the new one can open it. Received datagrams wait in a
 * bounded queue.
 *
 * lua_udp_io.c receives and sends.
 *
 * No finalizer runs during a call (garbage is collected between slices, state.c), so a socket that is open
 * when a call begins stays open until it waits.
 *
 * A reload passes a declared socket to the new script. Handles of the old script can still send from it, but
 * no longer receive.
 *
 * Invariant: u->receiver and u->senders are exactly the tasks that wait in a call on the socket. */
#include <stdio.h>
#include <string.h>
#include "script/core/handle.h"
#include "script/api/api.h"
#include "script/core/service.h"
#include "script/api/config.h"
#include "script/api/lua_udp_internal.h"

#define OPEN "kt.udp"

static struct kt_lua_udp *of_service(struct kt_service *s)
{
    return KT_CONTAINER(s, struct kt_lua_udp, service);
}

/* ---- events ---- */

static void wake_receiver(struct kt_lua_udp *u, int code, const char *text)
{
    struct kt_task *t = u->receiver;
    u->receiver = NULL;
    if (t) kt_task_wake(t, code, text);
}

static void on_batch(void *ctx, struct kt_dgram *dgrams, size_t n)
{
    struct kt_lua_udp *u = ctx;
    for (size_t i = 0; i < n; i++)
        kt_dgramq_put(&u->queue, dgrams[i].data, dgrams[i].len, dgrams[i].from, dgrams[i].to);
    if (u->queue.count) wake_receiver(u, 0, NULL);
}

static void on_writable(void *ctx)
{
    struct kt_lua_udp *u = ctx;
    kt_task_wake_all(&u->senders, 0, NULL);
}

static void on_error(void *ctx, int code)
{
    struct kt_lua_udp *u = ctx;
    if (!u->wants_peer) return; /* the peer that it concerns is unknown */
    u->error = code;
    wake_receiver(u, 0, NULL);
}

static const struct kt_udp_events events = {on_batch, on_writable, on_error};

/* ---- opening and closing ---- */

static int open_socket(struct kt_lua_udp *u, struct kt_err *err)
{
    return kt_lua_udp_share_open(
        &u->holder, kt_runtime_io(u->rt), &u->on, u->wants_peer ? &u->to : NULL, err);
}

static void close_socket(struct kt_lua_udp *u)
{
    kt_list_remove(&u->owned.node);
    if (!u->holder.udp) return;
    kt_lua_udp_share_leave(&u->holder);
    kt_dgramq_free(&u->queue);
    kt_lua_udp_locals_free(&u->locals);
    wake_receiver(u, KT_ECLOSED, KT_LUA_UDP_RECEIVE ": " KT_LUA_UDP_CLOSED);
    kt_task_wake_all(&u->senders, KT_ECLOSED, KT_LUA_UDP_SEND ": " KT_LUA_UDP_CLOSED);
}

static void end_socket(struct kt_lua_udp *u)
{
    if (kt_service_runtime(&u->service)) kt_service_close(&u->service);
    close_socket(u); /* after a reload, closing the service no longer does it */
}

static void end_owned(struct kt_owned *o, int code)
{
    (void)code; /* UDP has no reset */
    end_socket(KT_CONTAINER(o, struct kt_lua_udp, owned));
}

static int service_open(struct kt_service *s, struct kt_err *err)
{
    struct kt_lua_udp *u = of_service(s);
    int rc = open_socket(u, err);
    if (rc) return rc;
    struct kt_addr local;
    char text[KT_ADDR_TEXT];
    kt_udp_local(u->holder.udp, &local);
    kt_log(kt_runtime_log(u->rt), KT_LOG_INFO, "udp socket on %s%s%s", kt_addr_text(&local, text),
        u->wants_peer ? " to " : "", u->peer);
    return 0;
}

static void service_close(struct kt_service *s)
{
    close_socket(of_service(s));
}

/* A declared socket stays for the conns that send from it. */
static void service_drain(struct kt_service *s)
{
    struct kt_lua_udp *u = of_service(s);
    if (u->listed && kt_runtime_replaced(u->rt)) close_socket(u);
}

static const struct kt_endpoint *binds(const struct kt_service *s)
{
    return &KT_CONTAINER(s, const struct kt_lua_udp, service)->on;
}

static bool heir(const struct kt_service *s, const struct kt_service *old)
{
    const struct kt_lua_udp *u = KT_CONTAINER(s, struct kt_lua_udp, service),
                            *o = KT_CONTAINER(old, struct kt_lua_udp, service);
    return o->holder.udp && kt_endpoint_equal(&u->on, &o->on) && u->wants_peer == o->wants_peer &&
           (!u->wants_peer || kt_addr_equal(&u->to, &o->to));
}

/* Takes over the socket and the queued datagrams. The handle of a declared socket keeps its share, as the old script
 * may still answer datagrams that it has received; that of a task ends, and so does its task's wait for data. */
static void inherit(struct kt_service *s, struct kt_service *old)
{
    struct kt_lua_udp *u = of_service(s), *o = of_service(old);
    uint8_t data[KT_UDP_MAX];
    struct kt_addr from, to;
    size_t len;
    kt_lua_udp_share_join(&u->holder, &o->holder);
    for (; kt_dgramq_first(&o->queue, &len, &from, &to); kt_dgramq_drop(&o->queue)) {
        kt_dgramq_copy(&o->queue, data);
        kt_dgramq_put(&u->queue, data, len, &from, &to);
    }
    if (o->listed)
        close_socket(o);
    else
        kt_dgramq_free(&o->queue);
}

static const struct kt_service_ops ops = {.what = OPEN,
    .at = "on",
    .open = service_open,
    .drain = service_drain,
    .close = service_close,
    .binds = binds,
    .udp = true,
    .heir = heir,
    .inherit = inherit};

/* ---- kt.udp ---- */

static void set_peer(struct kt_lua_udp *u, const struct kt_addr *to)
{
    u->to = *to;
    u->wants_peer = true;
    kt_addr_text(to, u->peer);
}

static bool is_v6(const struct kt_endpoint *at)
{
    return strchr(at->host, ':') != NULL;
}

/* The first address that a socket bound to u->on can reach, or NULL. */
static const struct kt_addr *reachable(const struct kt_lua_udp *u, const struct kt_addr *addrs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!u->on.host[0] || is_v6(&u->on) == (addrs[i].sa.sa_family == AF_INET6)) return &addrs[i];
    return NULL;
}

static void peer_found(void *ctx, const struct kt_addr *addrs, size_t n, const struct kt_err *err)
{
    struct kt_task *t = ctx;
    struct kt_lua_udp *u = kt_task_op(t);
    if (n == 0) {
        kt_task_wake(t, err->code, err->text);
        return;
    }
    const struct kt_addr *to = reachable(u, addrs, n);
    if (!to) {
        kt_task_wake(t, KT_EUNREACH, OPEN ": the peer has no address of the same family as `on`");
        return;
    }
    set_peer(u, to);
    kt_task_wake(t, 0, NULL);
}

static void cancel_lookup(struct kt_task *t)
{
    const struct kt_lua_udp *u = kt_task_op(t);
    kt_resolve_cancel(u->resolve);
}

static const char *string_field(lua_State *L, const char *key)
{
    lua_getfield(L, 1, key);
    const char *s = lua_tostring(L, -1);
    lua_pop(L, 1); /* the table keeps it */
    return s;
}

/* Opens the socket, whose handle is on top of the stack, and which the task owns then. */
static int open_in_task(lua_State *L, struct kt_task *t, struct kt_lua_udp *u)
{
    struct kt_err err = {0};
    int n = 1;
    u->listed = u->on.port_max != 0;
    if (u->listed) {
        n = kt_service_enter(L, &u->service, &ops, string_field(L, "on"));
    } else {
        const int rc = open_socket(u, &err);
        if (rc) return kt_lua_err_return(L, rc, err.text);
    }
    if (n == 1) kt_task_own(t, &u->owned);
    return n;
}

static int finish_open(lua_State *L, struct kt_task *t)
{
    return open_in_task(L, t, lua_touserdata(L, -1));
}

static double number_field(lua_State *L, const char *key, double unset)
{
    lua_getfield(L, 1, key);
    double v = luaL_optnumber(L, -1, unset);
    lua_pop(L, 1);
    return v;
}

static int declare(lua_State *L, struct kt_lua_udp *u, const char *on, const char *to, bool numeric)
{
    if (to && !numeric)
        return kt_raise(L,
            "udp.to: \"%s\": names are not resolved in the main chunk; use an IP address, or call kt.udp in a "
            "task",
            to);
    u->declared = true;
    kt_service_declare(L, &u->service, &ops, to ? to : on);
    return 1;
}

/* core.udp(config): checked, { on, to, timeout, queue } */
static int udp(lua_State *L)
{
    struct kt_runtime *rt = kt_runtime_of(L);
    struct kt_task *t = kt_runtime_phase(rt) == KT_DECLARE ? NULL : kt_task_need(L, OPEN);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    const char *on = string_field(L, "on"), *to = string_field(L, "to");
    uint64_t timeout = (uint64_t)(number_field(L, "timeout", 10) * 1e6);
    struct kt_lua_udp *u = kt_handle_push(L, KT_HANDLE_SOCKET, sizeof *u, 0);
    kt_list_init(&u->owned.node);
    kt_list_init(&u->senders);
    kt_lua_udp_holder_init(&u->holder, &events, u);
    u->owned.end = end_owned;
    u->rt = rt;
    kt_dgramq_init(&u->queue, (size_t)number_field(L, "queue", 65536));

    struct kt_err err = {0};
    struct kt_endpoint at = {0};
    struct kt_addr addr;
    int rc = on ? kt_endpoint_parse(&u->on, on, KT_ENDPOINT_ZERO, &err) : 0;
    if (rc) return kt_raise(L, "udp.on: %s", err.text);
    kt_service_localhost(&u->on);
    if (to) rc = kt_endpoint_parse(&at, to, KT_ENDPOINT_HOST, &err);
    if (rc) return t ? kt_lua_err_return(L, rc, err.text) : kt_raise(L, "udp.to: %s", err.text);
    bool numeric = to && kt_addr_from_ip(&addr, at.host, at.port_min);
    if (numeric) {
        if (!reachable(u, &addr, 1))
            return kt_raise(L, "udp.to: \"%s\" is not of the same address family as on = \"%s\"", to, on);
        set_peer(u, &addr);
    }
    if (!t) return declare(L, u, on, to, numeric);

    if (to && !numeric) {
        rc = kt_resolve(kt_runtime_io(rt), at.host, at.port_min, peer_found, t, &u->resolve, &err);
        if (rc) return kt_lua_err_return(L, rc, err.text);
        return kt_task_wait(L, t,
            &(struct kt_wait){
                .what = OPEN,
                .cancel = cancel_lookup,
                .finish = finish_open,
                .op = u,
                .timeout_us = timeout,
            });
    }
    return open_in_task(L, t, u);
}

/* ---- the rest of the handle ---- */

static int stats(lua_State *L)
{
    const struct kt_lua_udp *u = kt_handle_self(L, KT_HANDLE_SOCKET, "stats");
    const struct kt_udp_stats none = {0}, *s = u->holder.udp ? kt_udp_stats(u->holder.udp) : &none;
    lua_createtable(L, 0, 8);
#define KT_STAT_EACH(row, value) kt_config_set_stat(L, row, value)
#include "link/stat_each.h"
#include "script/api/socket_stats.def"
    return 1;
}

static int close_method(lua_State *L)
{
    end_socket(kt_handle_self(L, KT_HANDLE_SOCKET, "close"));
    return 0;
}

static int gc(lua_State *L)
{
    struct kt_lua_udp *u = lua_touserdata(L, 1);
    if (u->declared) {
        kt_service_gc(L, &u->service);
    } else if (u->holder.udp) {
        kt_handle_dropped(&u->owned, "socket");
    }
    end_socket(u);
    kt_dgramq_free(&u->queue);
    kt_lua_udp_locals_free(&u->locals);
    return 0;
}

static int field_local(lua_State *L)
{
    const struct kt_lua_udp *u = lua_touserdata(L, 1);
    struct kt_addr local;
    char text[KT_ADDR_TEXT];
    if (u->holder.udp) kt_udp_local(u->holder.udp, &local);
    lua_pushstring(L, u->holder.udp ? kt_addr_text(&local, text) : NULL);
    return 1;
}

static int field_peer(lua_State *L)
{
    const struct kt_lua_udp *u = lua_touserdata(L, 1);
    lua_pushstring(L, u->wants_peer ? u->peer : NULL);
    return 1;
}

static int to_string(lua_State *L)
{
    const struct kt_lua_udp *u = kt_handle_self(L, KT_HANDLE_SOCKET, "tostring");
    struct kt_addr local;
    char text[KT_ADDR_TEXT];
    if (!u->holder.udp) return kt_handle_text(L, KT_HANDLE_SOCKET, NULL, "closed");
    kt_udp_local(u->holder.udp, &local);
    return kt_handle_text(L, KT_HANDLE_SOCKET, kt_addr_text(&local, text), NULL);
}

void kt_lua_udp(lua_State *L)
{
    static const luaL_Reg methods[] = {{"receive", kt_lua_udp_receive}, {"send", kt_lua_udp_send},
        {"stats", stats}, {"close", close_method}, {NULL, NULL}};
    static const luaL_Reg fields[] = {{"local_addr", field_local}, {"peer", field_peer}, {NULL, NULL}};
    kt_handle_type(L, &(struct kt_handle_type){.name = KT_HANDLE_SOCKET,
                          .methods = methods,
                          .fields = fields,
                          .close = close_method,
                          .gc = gc,
                          .tostring = to_string});
    lua_pushcfunction(L, udp);
    lua_setfield(L, -2, "udp");
}
