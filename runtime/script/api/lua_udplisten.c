/* kt.listen { udp = "127.0.0.1:53" }: a UDP socket whose peers are flows; runs a task for each. lua/kt/init.lua has
 * checked the options. */
#include <stdio.h>
#include <stdlib.h>
#include "link/common/udp_flows.h"
#include "link/link.h"
#include "script/api/api.h"
#include "script/api/config.h"
#include "script/api/lua_flow.h"
#include "script/api/lua_listen.h"
#include "script/core/handle.h"
#include "script/core/service.h"

/* The socket and its current owner, which a reload changes. */
struct door {
    struct kt_udp_flows *flows;
    struct kt_lua_udplistener *owner;
};

struct kt_lua_udplistener {
    struct kt_service service; /* first */
    struct kt_endpoint at;
    uint64_t idle_us;
    size_t most;
    struct door *door;             /* NULL: not open */
    struct kt_udp_flows_facts was; /* once it is closed */
};

static void push_handler(lua_State *L, const void *of)
{
    kt_service_push_handler(L, of);
}

static void on_flow(void *ctx, struct kt_flow *flow, const char *peer, const char *original)
{
    const struct kt_service *s = &((const struct door *)ctx)->owner->service;
    const struct kt_peer_info info = {.address = peer, .original = original};
    const struct kt_lua_flow_arrival arrival = {
        .flow = flow, .peer = &info, .origin = kt_service_served_at(s), .handler = push_handler, .of = s};
    if (!kt_service_has_handler(s)) /* created in a task that has not called :serve yet */
        kt_flow_close(flow, KT_ECANCELED);
    else
        kt_lua_flow_serve(kt_service_runtime(s), &arrival);
}

static int open(struct kt_service *s, struct kt_err *err)
{
    static const struct kt_udp_flows_events events = {on_flow};
    struct kt_lua_udplistener *l = (struct kt_lua_udplistener *)s;
    const struct kt_udp_flows_options options = {.at = &l->at,
        .idle_us = l->idle_us,
        .most = l->most,
        .diverted = l->at.diverted == KT_DIVERTED_TPROXY,
        .counters = kt_runtime_counters(kt_service_runtime(s))};
    struct door *door = calloc(1, sizeof *door);
    if (!door) return kt_err_set(err, KT_ENOMEM, "out of memory");
    door->owner = l;
    const int rc =
        kt_udp_flows_open(kt_runtime_io(kt_service_runtime(s)), &options, &events, door, &door->flows, err);
    if (rc) {
        free(door);
        return rc;
    }
    l->door = door;
    struct kt_addr local;
    char text[KT_ADDR_TEXT];
    kt_udp_flows_local(door->flows, &local);
    kt_log(kt_runtime_log(kt_service_runtime(s)), KT_LOG_INFO, "listening on %s (UDP flows)",
        kt_addr_text(&local, text));
    return 0;
}

static void drain(struct kt_service *s)
{
    const struct kt_lua_udplistener *l = (const struct kt_lua_udplistener *)s;
    if (l->door) kt_udp_flows_stop(l->door->flows);
}

static void close_udplistener(struct kt_service *s)
{
    struct kt_lua_udplistener *l = (struct kt_lua_udplistener *)s;
    if (!l->door) return;
    kt_udp_flows_facts(l->door->flows, &l->was);
    l->was.flows = 0;
    kt_udp_flows_close(l->door->flows);
    free(l->door);
    l->door = NULL;
}

static bool heir(const struct kt_service *s, const struct kt_service *old)
{
    const struct kt_lua_udplistener *l = (const struct kt_lua_udplistener *)s,
                                    *o = (const struct kt_lua_udplistener *)old;
    return o->door && kt_endpoint_equal(&l->at, &o->at);
}

static int prepare(struct kt_service *s, struct kt_service *old, struct kt_err *err)
{
    return kt_lua_diverted_alike(
        &((struct kt_lua_udplistener *)s)->at, &((struct kt_lua_udplistener *)old)->at, err);
}

/* The flows of the old script stay with its tasks. */
static void inherit(struct kt_service *s, struct kt_service *old)
{
    struct kt_lua_udplistener *l = (struct kt_lua_udplistener *)s, *o = (struct kt_lua_udplistener *)old;
    l->door = o->door;
    l->door->owner = l;
    o->door = NULL;
    kt_udp_flows_set(l->door->flows, l->idle_us, l->most);
}

static const struct kt_endpoint *binds(const struct kt_service *s)
{
    return &((const struct kt_lua_udplistener *)s)->at;
}

static const struct kt_service_ops ops = {
    .what = "kt.listen",
    .at = "udp",
    .serve = "udplistener:serve",
    .brings = "flow",
    .open = open,
    .drain = drain,
    .close = close_udplistener,
    .binds = binds,
    .udp = true,
    .heir = heir,
    .prepare = prepare,
    .inherit = inherit,
};

/* core.listen_udp(config): checked, { udp, idle, max_flows } → udplistener | nil, err */
static int listen_udp(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_getfield(L, 1, "udp");
    lua_getfield(L, 1, "idle");
    lua_getfield(L, 1, "max_flows");
    const char *at = lua_tostring(L, 2);
    const double idle = lua_tonumber(L, 3);
    const lua_Integer most = lua_tointeger(L, 4);
    struct kt_lua_udplistener *l = kt_handle_push(L, KT_HANDLE_UDPLISTENER, sizeof *l, 0);
    struct kt_err err = {0};
    if (!at || kt_endpoint_parse(&l->at, at, KT_ENDPOINT_ZERO, &err))
        return kt_raise(L, "listen.udp: %s", err.text);
    l->at.diverted = kt_lua_diverted(L);
    kt_service_localhost(&l->at);
    l->idle_us = (uint64_t)(idle * 1e6);
    l->most = (size_t)most;
    return kt_service_enter(L, &l->service, &ops, at);
}

static struct kt_lua_udplistener *self(lua_State *L, const char *method)
{
    return kt_handle_self(L, KT_HANDLE_UDPLISTENER, method);
}

static int serve(lua_State *L)
{
    return kt_service_serve(L, &self(L, "serve")->service);
}

static int stats(lua_State *L)
{
    const struct kt_lua_udplistener *l = self(L, "stats");
    struct kt_udp_flows_facts facts = l->was;
    if (l->door) kt_udp_flows_facts(l->door->flows, &facts);
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, (lua_Integer)facts.flows);
    lua_setfield(L, -2, "flows");
    lua_pushinteger(L, (lua_Integer)facts.opened);
    lua_setfield(L, -2, "opened");
    lua_pushinteger(L, (lua_Integer)facts.evicted);
    lua_setfield(L, -2, "evicted");
    return 1;
}

static int close_method(lua_State *L)
{
    kt_service_close(&self(L, "close")->service);
    return 0;
}

static int gc(lua_State *L)
{
    return kt_service_gc(L, lua_touserdata(L, 1));
}

static const char *local_text(const struct kt_lua_udplistener *l, char text[KT_ADDR_TEXT])
{
    struct kt_addr local;
    if (!l->door) return NULL;
    kt_udp_flows_local(l->door->flows, &local);
    return kt_addr_text(&local, text);
}

static int field_local(lua_State *L)
{
    char text[KT_ADDR_TEXT];
    lua_pushstring(L, local_text(lua_touserdata(L, 1), text));
    return 1;
}

static int to_string(lua_State *L)
{
    const struct kt_lua_udplistener *l = self(L, "tostring");
    char text[KT_ADDR_TEXT];
    const char *at = l->door ? local_text(l, text) : kt_service_name(&l->service);
    return kt_handle_text(L, KT_HANDLE_UDPLISTENER, at, kt_service_is_closed(&l->service) ? "closed" : NULL);
}

void kt_lua_udplisten(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"serve", serve}, {"stats", stats}, {"close", close_method}, {NULL, NULL}};
    static const luaL_Reg fields[] = {{"local_addr", field_local}, {NULL, NULL}};
    kt_handle_type(L, &(struct kt_handle_type){.name = KT_HANDLE_UDPLISTENER,
                          .methods = methods,
                          .fields = fields,
                          .close = close_method,
                          .gc = gc,
                          .tostring = to_string});
    lua_pushcfunction(L, listen_udp);
    lua_setfield(L, -2, "listen_udp");
}
