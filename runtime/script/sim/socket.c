/* Sockets: a spec's own UDP sockets on simulated hosts, and the lookups of the names that they send to. Nothing here
 * waits; lua/kt/sim/socket.lua builds waiting calls on top.
 *
 * Received datagrams are queued until Lua takes them. Datagrams that do not fit are dropped, as in a kernel. */
#include <stdio.h>
#include <string.h>
#include "base/dgramq.h"
#include "script/core/service.h"
#include "script/sim/core.h"

#define QUEUE_BYTES (256u << 10)

struct socket {
    struct kt_lua_sim_held held; /* first */
    struct kt_udp *udp;          /* NULL once closed */
    struct kt_dgramq queue;
    bool connected;
};

struct lookup {
    struct kt_lua_sim_held held; /* first */
    struct kt_resolve *resolve;  /* NULL once it has ended */
};

static void close_socket(struct kt_lua_sim_held *held)
{
    struct socket *s = (struct socket *)held;
    kt_udp_close(s->udp);
    s->udp = NULL;
    kt_dgramq_free(&s->queue);
    kt_list_remove(&held->node);
}

static void close_lookup(struct kt_lua_sim_held *held)
{
    struct lookup *l = (struct lookup *)held;
    if (l->resolve) kt_resolve_cancel(l->resolve);
    l->resolve = NULL;
    kt_list_remove(&held->node);
}

/* ---- events ---- */

static void on_batch(void *ctx, struct kt_dgram *dgrams, size_t n)
{
    struct socket *s = ctx;
    for (size_t i = 0; i < n; i++)
        kt_dgramq_put(&s->queue, dgrams[i].data, dgrams[i].len, dgrams[i].from, dgrams[i].to);
    kt_lua_sim_dispatch(s->held.w, "readable", s->held.id, NULL, NULL);
}

static void on_writable(void *ctx)
{
    const struct socket *s = ctx;
    kt_lua_sim_dispatch(s->held.w, "writable", s->held.id, NULL, NULL);
}

static void on_error(void *ctx, int code)
{
    const struct socket *s = ctx;
    struct kt_err err = {.code = code};
    if (s->connected) kt_lua_sim_dispatch(s->held.w, "broken", s->held.id, kt_lua_sim_push_failure, &err);
}

/* ---- lookups ---- */

static int push_addr(lua_State *L, void *addr)
{
    char text[KT_ADDR_TEXT];
    lua_pushstring(L, kt_addr_text(addr, text));
    return 1;
}

static void on_found(void *ctx, const struct kt_addr *addrs, size_t n, const struct kt_err *err)
{
    struct lookup *l = ctx;
    struct kt_lua_world *w = l->held.w;
    lua_Integer id = l->held.id;
    l->resolve = NULL;
    kt_list_remove(&l->held.node);
    if (n > 0)
        kt_lua_sim_dispatch(w, "found", id, push_addr, (void *)&addrs[0]);
    else
        kt_lua_sim_dispatch(w, "unfound", id, kt_lua_sim_push_failure, (void *)err);
}

/* world:lookup(host, "host:port") → "ip:port", if it is one | lookup, id | nil, code, sentence. A lookup later
 * dispatches "found" with "ip:port", or "unfound" with code and sentence. */
static int world_lookup(lua_State *L)
{
    struct kt_lua_world *w = kt_lua_sim_world_arg(L);
    struct kt_sim_host *h = kt_lua_sim_host_arg(L, w, 2);
    struct kt_err err = {0};
    struct kt_endpoint to;
    if (kt_endpoint_parse(&to, luaL_checkstring(L, 3), KT_ENDPOINT_HOST, &err))
        return kt_lua_sim_fail_return(L, &err);
    struct kt_addr addr;
    if (kt_addr_from_ip(&addr, to.host, to.port_min)) return push_addr(L, &addr);
    struct kt_lua_sim_driver *d = kt_lua_sim_driver(w, h, &err);
    if (!d) return kt_lua_sim_fail_return(L, &err);
    struct lookup *l = (struct lookup *)kt_lua_sim_push_held(L, w, d, sizeof *l, KT_SIM_LOOKUP);
    l->held.close = close_lookup;
    if (kt_resolve(d->io, to.host, to.port_min, on_found, l, &l->resolve, &err))
        return kt_lua_sim_fail_return(L, &err);
    kt_lua_sim_hold(&l->held);
    lua_pushinteger(L, l->held.id);
    return 2;
}

static int lookup_close(lua_State *L)
{
    close_lookup(luaL_checkudata(L, 1, KT_SIM_LOOKUP));
    return 0;
}

/* ---- sockets ---- */

/* An address that Lua got from a lookup or from a datagram, at idx; false if that is nil. */
static bool addr_at(lua_State *L, int idx, struct kt_addr *out)
{
    struct kt_endpoint at;
    if (lua_isnoneornil(L, idx)) return false;
    if (kt_endpoint_parse(&at, luaL_checkstring(L, idx), KT_ENDPOINT_HOST | KT_ENDPOINT_ZERO, NULL) ||
        !kt_addr_from_ip(out, at.host, at.port_min))
        luaL_argerror(L, idx, "an \"ip:port\"");
    return true;
}

static bool is_v4(const struct kt_addr *a)
{
    return a && a->sa.sa_family == AF_INET;
}

/* world:udp(host, on | nil, "ip:port" | nil) → socket, id, local "ip:port" | nil, code, sentence. Dispatches
 * "readable" for datagrams, "writable" after a refused send, and "broken" with code and sentence when the only peer's
 * host says that nobody listens there. */
static int world_udp(lua_State *L)
{
    static const struct kt_udp_events events = {on_batch, on_writable, on_error};
    struct kt_lua_world *w = kt_lua_sim_world_arg(L);
    struct kt_sim_host *h = kt_lua_sim_host_arg(L, w, 2);
    struct kt_err err = {0};
    struct kt_endpoint on = {0};
    struct kt_addr to, local;
    char text[KT_ADDR_TEXT];
    const char *asked = luaL_optstring(L, 3, NULL);
    if (asked && kt_endpoint_parse(&on, asked, KT_ENDPOINT_ZERO, &err))
        return kt_lua_sim_fail_return(L, &err);
    kt_service_localhost(&on);
    struct kt_udp_opts opts = {.remote = addr_at(L, 4, &to) ? &to : NULL};
    if (!on.host[0]) snprintf(on.host, sizeof on.host, "%s", is_v4(opts.remote) ? "0.0.0.0" : "::");
    if (!kt_addr_from_ip(&opts.local, on.host, on.port_min))
        kt_err_set(&err, KT_ECONFIG, "\"%s\": expected an IP address of this host, or :%u for all of them",
            on.host, on.port_min);
    if (err.code) return kt_lua_sim_fail_return(L, &err);
    struct kt_lua_sim_driver *d = kt_lua_sim_driver(w, h, &err);
    if (!d) return kt_lua_sim_fail_return(L, &err);
    struct socket *s = (struct socket *)kt_lua_sim_push_held(L, w, d, sizeof *s, KT_SIM_SOCKET);
    s->held.close = close_socket;
    s->connected = opts.remote != NULL;
    kt_dgramq_init(&s->queue, QUEUE_BYTES);
    if (kt_udp_open(d->io, &opts, &events, s, &s->udp, &err)) return kt_lua_sim_fail_return(L, &err);
    kt_lua_sim_hold(&s->held);
    kt_udp_local(s->udp, &local);
    lua_pushinteger(L, s->held.id);
    lua_pushstring(L, kt_addr_text(&local, text));
    return 3;
}

static struct socket *socket_arg(lua_State *L)
{
    return luaL_checkudata(L, 1, KT_SIM_SOCKET);
}

/* socket:receive() → data, "ip:port" of the sender, "ip:0" that it was sent to or nil; nothing if none is queued */
static int socket_receive(lua_State *L)
{
    struct socket *s = socket_arg(L);
    struct kt_addr from, to;
    char data[KT_UDP_MAX], text[KT_ADDR_TEXT];
    size_t len;
    if (!kt_dgramq_first(&s->queue, &len, &from, &to)) return 0;
    kt_dgramq_copy(&s->queue, data);
    kt_dgramq_drop(&s->queue);
    lua_pushlstring(L, data, len);
    lua_pushstring(L, kt_addr_text(&from, text));
    if (to.sa.sa_family == AF_UNSPEC) return 2;
    lua_pushstring(L, kt_addr_text(&to, text));
    return 3;
}

/* socket:send(data, to | nil, from | nil) → whether there was room; the addresses are as receive returns them */
static int socket_send(lua_State *L)
{
    struct socket *s = socket_arg(L);
    size_t len;
    const char *data = luaL_checklstring(L, 2, &len);
    luaL_argcheck(L, len <= KT_UDP_MAX, 2, "at most 2048 bytes");
    struct kt_addr to, from;
    bool has_to = addr_at(L, 3, &to), has_from = addr_at(L, 4, &from);
    uint8_t *buf = s->udp ? kt_udp_reserve(s->udp) : NULL;
    if (buf) {
        if (len > 0) memcpy(buf, data, len);
        kt_udp_commit(s->udp, buf, buf, len, has_to ? &to : NULL, has_from ? &from : NULL);
    }
    lua_pushboolean(L, buf != NULL);
    return 1;
}

static int socket_close(lua_State *L)
{
    close_socket(&socket_arg(L)->held);
    return 0;
}

void kt_lua_sim_sockets(lua_State *L)
{
    static const luaL_Reg world[] = {{"lookup", world_lookup}, {"udp", world_udp}, {NULL, NULL}};
    static const luaL_Reg lookup[] = {{"close", lookup_close}, {NULL, NULL}};
    static const luaL_Reg socket[] = {
        {"receive", socket_receive}, {"send", socket_send}, {"close", socket_close}, {NULL, NULL}};
    luaL_setfuncs(L, world, 0);
    kt_lua_sim_class(L, KT_SIM_LOOKUP, lookup, lookup_close);
    kt_lua_sim_class(L, KT_SIM_SOCKET, socket, socket_close);
}
