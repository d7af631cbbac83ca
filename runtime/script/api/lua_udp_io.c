/* socket:receive and socket:send.
 *
 * Invariant: u->receiver is the one task that waits to receive, and is NULL when none does; u->senders are those that
 * wait for room. */
#include <string.h>
#include "script/core/handle.h"
#include "script/api/api.h"
#include "script/api/lua_udp_internal.h"

#define TIMEOUT_US 30000000u

/* ---- receiving ---- */

/* The open socket that a method was called on, and its task. */
static struct kt_lua_udp *begin(lua_State *L, const char *what, struct kt_task **t)
{
    struct kt_lua_udp *u = kt_handle_self(L, KT_HANDLE_SOCKET, what + sizeof "socket:" - 1);
    *t = kt_task_need(L, what);
    if (!u->holder.udp) kt_raise(L, "%s: this socket was closed", what);
    return u;
}

static int closed_meanwhile(lua_State *L, const char *what)
{
    return kt_lua_err_return(L, KT_ECLOSED, lua_pushfstring(L, "%s: " KT_LUA_UDP_CLOSED, what));
}

/* Pushes the oldest datagram and its sender, or nil and a pending error; returns 0 if there is neither. */
static int take(lua_State *L, struct kt_lua_udp *u)
{
    size_t len;
    struct kt_addr from, local;
    if (kt_dgramq_first(&u->queue, &len, &from, &local)) {
        char text[KT_ADDR_TEXT];
        luaL_Buffer b;
        char *to = luaL_buffinitsize(L, &b, len);
        if (!u->holder.udp) return closed_meanwhile(L, KT_LUA_UDP_RECEIVE);
        kt_dgramq_copy(&u->queue, to);
        kt_dgramq_drop(&u->queue);
        if (local.sa.sa_family) kt_lua_udp_locals_note(&u->locals, &from, &local);
        luaL_pushresultsize(&b, len);
        lua_pushstring(L, kt_addr_text(&from, text));
        return 2;
    }
    if (u->error == 0) return 0;
    int code = u->error;
    u->error = 0;
    return kt_lua_err_return(
        L, code, lua_pushfstring(L, KT_LUA_UDP_RECEIVE ": %s: %s", u->peer, kt_strerror(code)));
}

static void cancel_receive(struct kt_task *t)
{
    struct kt_lua_udp *u = kt_task_op(t);
    u->receiver = NULL;
}

/* Stack: the socket, the options, the deadline. */
static int receive_or_wait(lua_State *L, struct kt_task *t)
{
    struct kt_lua_udp *u = lua_touserdata(L, 1);
    if (!u->holder.udp) return closed_meanwhile(L, KT_LUA_UDP_RECEIVE);
    if (u->receiver) {
        const struct kt_origin *o = kt_task_origin(u->receiver);
        return kt_raise(L,
            KT_LUA_UDP_RECEIVE
            ": another task (spawned at %s:%d) is already receiving; only one task may at a time",
            o->source, o->line);
    }
    int n = take(L, u);
    if (n) return n;
    u->receiver = t;
    return kt_task_wait(L, t,
        &(struct kt_wait){
            .what = KT_LUA_UDP_RECEIVE,
            .cancel = cancel_receive,
            .finish = receive_or_wait,
            .missing = "no datagram",
            .op = u,
            .timeout_us = kt_io_left(kt_runtime_io(u->rt), (uint64_t)lua_tointeger(L, 3)),
        });
}

/* socket:receive { timeout = "30s" } → data, from | nil, err */
int kt_lua_udp_receive(lua_State *L)
{
    struct kt_task *t;
    const struct kt_lua_udp *u = begin(L, KT_LUA_UDP_RECEIVE, &t);
    lua_settop(L, 2);
    const uint64_t timeout = kt_opts_timeout(L, 2, KT_LUA_UDP_RECEIVE, TIMEOUT_US);
    lua_pushinteger(L, (lua_Integer)(kt_io_now(kt_runtime_io(u->rt)) + timeout));
    return receive_or_wait(L, t);
}

/* ---- sending ---- */

/* A datagram waiting to be sent: userdata on its task's stack. The bytes are at index 2. */
struct sending {
    struct kt_lua_udp *u;
    struct kt_task *task;
    struct kt_resolve *resolve; /* while its peer is looked up */
    struct kt_addr to;
    bool addressed;
    uint64_t timeout;
};

static int try_send(lua_State *L, struct sending *s, bool kept);

static int finish_send(lua_State *L, struct kt_task *t)
{
    (void)t;
    return try_send(L, lua_touserdata(L, -1), true);
}

static void cancel_send(struct kt_task *t)
{
    const struct sending *s = kt_task_op(t);
    if (s->resolve) kt_resolve_cancel(s->resolve);
}

/* Whether the socket can send to an address of this family. */
static bool same_family(const struct kt_lua_udp *u, const struct kt_addr *to)
{
    struct kt_addr local;
    kt_udp_local(u->holder.udp, &local);
    if (local.sa.sa_family == to->sa.sa_family) return true;
    return local.sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&local.in6.sin6_addr);
}

static int no_way(lua_State *L)
{
    return kt_lua_err_return(L, KT_EUNREACH,
        KT_LUA_UDP_SEND ": the socket is bound to an address of the other family (IPv4, IPv6)");
}

static struct sending *keep(lua_State *L, const struct sending *s)
{
    struct sending *kept = lua_newuserdatauv(L, sizeof *kept, 0);
    *kept = *s;
    return kept;
}

static int try_send(lua_State *L, struct sending *s, bool kept)
{
    struct kt_lua_udp *u = s->u;
    size_t len;
    const char *data = lua_tolstring(L, 2, &len);
    if (!u->holder.udp) return closed_meanwhile(L, KT_LUA_UDP_SEND);
    if (s->addressed && !same_family(u, &s->to)) return no_way(L);
    struct kt_err err;
    if (s->addressed && kt_addr_check_scope(&s->to, &err))
        return kt_lua_err_return(L, err.code, lua_pushfstring(L, KT_LUA_UDP_SEND ": %s", err.text));
    uint8_t *buf = kt_udp_reserve(u->holder.udp);
    if (!buf) {
        if (!kept) s = keep(L, s);
        if (!u->holder.udp) return closed_meanwhile(L, KT_LUA_UDP_SEND);
        return kt_task_wait(L, s->task,
            &(struct kt_wait){
                .what = KT_LUA_UDP_SEND,
                .cancel = cancel_send,
                .finish = finish_send,
                .missing = "no room in the send buffer",
                .op = s,
                .queue = &u->senders,
                .timeout_us = s->timeout,
            });
    }
    if (len) memcpy(buf, data, len);
    const struct kt_addr *to = s->addressed ? &s->to : NULL;
    kt_udp_commit(u->holder.udp, buf, buf, len, to, to ? kt_lua_udp_locals_find(&u->locals, to) : NULL);
    lua_pushboolean(L, 1);
    return 1;
}

static void target_found(void *ctx, const struct kt_addr *addrs, size_t n, const struct kt_err *err)
{
    struct sending *s = ctx;
    s->resolve = NULL;
    if (n == 0) {
        kt_task_wake(s->task, err->code, err->text);
        return;
    }
    s->to = addrs[0];
    for (size_t i = n; s->u->holder.udp && i-- > 0;) /* the first of a usable family */
        if (same_family(s->u, &addrs[i])) s->to = addrs[i];
    kt_task_wake(s->task, 0, NULL);
}

/* socket:send(data [, "host:port"] [, { timeout = "30s" }]) → true | nil, err */
int kt_lua_udp_send(lua_State *L)
{
    struct kt_task *t;
    struct sending s = {.u = begin(L, KT_LUA_UDP_SEND, &t), .task = t, .timeout = TIMEOUT_US};
    struct kt_lua_udp *u = s.u;
    lua_settop(L, 4);
    if (lua_istable(L, 3) && lua_isnil(L, 4)) {
        lua_pushnil(L);
        lua_insert(L, 3);
        lua_settop(L, 4);
    }
    if (lua_type(L, 2) != LUA_TSTRING)
        return kt_raise(L, KT_LUA_UDP_SEND ": argument 1: expected a string, got %s", kt_type_name(L, 2));
    if (!lua_isnil(L, 3) && lua_type(L, 3) != LUA_TSTRING)
        return kt_raise(L,
            KT_LUA_UDP_SEND ": argument 2: expected an address such as \"192.0.2.1:53\", got %s",
            kt_type_name(L, 3));
    s.timeout = kt_opts_timeout(L, 4, KT_LUA_UDP_SEND, s.timeout);
    const char *to = lua_tostring(L, 3);
    if (!to && !u->wants_peer)
        return kt_raise(
            L, KT_LUA_UDP_SEND ": argument 2: missing address; the socket was created without `to`");
    if (to && u->wants_peer)
        return kt_raise(
            L, KT_LUA_UDP_SEND ": argument 2: not allowed; the socket is connected to %s", u->peer);
    if (lua_rawlen(L, 2) > KT_UDP_MAX)
        return kt_lua_err_return(L, KT_ELIMIT,
            lua_pushfstring(L, KT_LUA_UDP_SEND ": %I bytes; a datagram holds at most %d",
                (lua_Integer)lua_rawlen(L, 2), (int)KT_UDP_MAX));
    if (!to) return try_send(L, &s, false);

    struct kt_err err = {0};
    struct kt_endpoint at;
    int rc = kt_endpoint_parse(&at, to, KT_ENDPOINT_HOST, &err);
    if (rc) return kt_lua_err_return(L, rc, err.text);
    s.addressed = true;
    if (kt_addr_from_ip(&s.to, at.host, at.port_min)) return try_send(L, &s, false);
    struct sending *kept = keep(L, &s);
    rc = kt_resolve(kt_runtime_io(u->rt), at.host, at.port_min, target_found, kept, &kept->resolve, &err);
    if (rc) return kt_lua_err_return(L, rc, err.text);
    return kt_task_wait(L, t,
        &(struct kt_wait){
            .what = KT_LUA_UDP_SEND,
            .cancel = cancel_send,
            .finish = finish_send,
            .op = kept,
            .timeout_us = s.timeout,
        });
}
