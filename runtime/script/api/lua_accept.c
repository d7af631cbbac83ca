/* kt.accept: accepts links from peers and runs a task for each stream that they open, and, if the script asks
 * for it (acceptor:on), for each link. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "link/tap.h"
#include "script/api/lua_flow.h"
#include "script/api/lua_link.h"
#include "script/api/lua_pipe.h"
#include "script/core/events.h"
#include "script/core/handler.h"
#include "script/core/task.h"
#include "script/sandbox/guard.h"

#define ON "acceptor:on"

/* The acceptor and its current owner. A reload passes it on with its sessions. */
struct door {
    struct kt_acceptor *acceptor;
    struct kt_lua_acceptor *owner;
    struct kt_tap *tap; /* NULL: out of memory */
};

struct kt_lua_acceptor {
    struct kt_service service;   /* first */
    struct door *door;           /* NULL: not open */
    struct kt_link_totals ended; /* of an acceptor that was closed */
    bool drains;                 /* its sessions continue, but bring no new streams */
    struct door *next;           /* during a reload: whose change of settings is prepared */
    const struct kt_wire *wire;
    struct kt_settings *settings; /* the userdata in uservalue 1 */
    int on_link;                  /* registry reference to the function for peers, or LUA_NOREF */
    const struct kt_origin *on_link_at;
    int authorize;         /* likewise, the setting `authorized`, if it is a function */
    bool authorize_failed; /* and the log has it */
    int on_flow;           /* likewise for flows */
    const struct kt_origin *on_flow_at;
    struct kt_turn adopt; /* queued: links of an inherited acceptor are given to it */
};

static void on_stream(void *ctx, struct kt_pipe *stream, const struct kt_peer_info *peer)
{
    const struct door *door = ctx;
    struct kt_service *s = &door->owner->service;
    if (door->owner->drains)
        kt_pipe_reset(stream, KT_ECLOSED);
    else if (!kt_service_has_handler(s)) /* it has :on handlers only, or a task has not called :serve yet */
        kt_pipe_reset(stream, KT_EREFUSED);
    else
        kt_lua_pipe_serve(s, stream, NULL, peer);
}

struct arrival {
    const struct kt_lua_acceptor *a;
    struct kt_link *link;
    const struct kt_peer_info *peer;
    struct kt_lua_link **handle; /* set by prepare_link */
};

/* Protected: → handler, the link's handle */
static int prepare_link(lua_State *L)
{
    const struct arrival *v = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, v->a->on_link);
    *v->handle = kt_lua_link_push(L);
    kt_lua_link_peer(L, *v->handle, v->link, v->peer);
    return 2;
}

static void on_link(void *ctx, struct kt_link *link, const struct kt_peer_info *peer)
{
    const struct kt_lua_acceptor *a = ((const struct door *)ctx)->owner;
    struct kt_runtime *rt = kt_service_runtime(&a->service);
    struct kt_lua_link *handle;
    const struct arrival v = {a, link, peer, &handle};
    if (a->on_link == LUA_NOREF || kt_runtime_phase(rt) != KT_RUN) return;
    struct kt_task *t = kt_task_prepare(rt, a->on_link_at, prepare_link, &v);
    if (t) kt_task_list(t, &handle->greeting);
}

static void push_flow_handler(lua_State *L, const void *of)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, ((const struct kt_lua_acceptor *)of)->on_flow);
}

static void on_flow(void *ctx, struct kt_flow *flow, const struct kt_peer_info *peer)
{
    const struct kt_lua_acceptor *a = ((const struct door *)ctx)->owner;
    const struct kt_lua_flow_arrival arrival = {
        .flow = flow, .peer = peer, .origin = a->on_flow_at, .handler = push_flow_handler, .of = a};
    if (a->drains || a->on_flow == LUA_NOREF)
        kt_flow_close(flow, a->drains ? KT_ECLOSED : KT_EREFUSED);
    else
        kt_lua_flow_serve(kt_service_runtime(&a->service), &arrival);
}

static void on_presence(void *ctx, const struct kt_peer_info *peer, const struct kt_err *why)
{
    const struct kt_lua_acceptor *a = ((const struct door *)ctx)->owner;
    kt_events_emit(kt_runtime_events(kt_service_runtime(&a->service)),
        &(struct kt_event){.type = why ? KT_EVENT_DOWN : KT_EVENT_UP,
            .link = peer->address,
            .text = why ? why->text : "a peer is up"});
}

/* ---- the setting `authorized` as a function ---- */

struct candidate {
    const struct kt_lua_acceptor *a;
    const char *key, *address;
    char *name; /* stays empty if it is refused */
    size_t size;
};

/* Protected. */
static int ask(lua_State *L)
{
    const struct candidate *c = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->a->authorize);
    lua_pushstring(L, c->key);
    lua_createtable(L, 0, 1);
    lua_pushstring(L, c->address);
    lua_setfield(L, -2, "address");
    lua_call(L, 2, 1);
    if (!lua_toboolean(L, -1)) return 0;
    size_t len = 0;
    const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
    if (!name || len == 0 || len >= c->size || strlen(name) < len)
        return luaL_error(L, "expected a name of 1 to %d bytes, or false, got %s", (int)c->size - 1,
            name ? "another string" : luaL_typename(L, -1));
    memcpy(c->name, name, len + 1);
    return 0;
}

/* A function that fails refuses; the log has the first failure of an acceptor. */
static bool on_authorize(void *ctx, const char *key, const char *address, char *name, size_t size)
{
    struct kt_lua_acceptor *a = ((const struct door *)ctx)->owner;
    struct kt_runtime *rt = kt_service_runtime(&a->service);
    lua_State *L = kt_runtime_state(rt);
    struct kt_guard *g = kt_guard_of(L);
    const struct candidate c = {a, key, address, name, size};
    const int top = lua_gettop(L);
    name[0] = '\0';
    if (a->authorize == LUA_NOREF) return false;
    const char *before = kt_task_forbid_waits(rt, "authorized");
    lua_pushcfunction(L, ask);
    lua_pushlightuserdata(L, (void *)&c);
    kt_guard_begin(g, L, KT_SLICE_STOP_US);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        const char *why = kt_guard_stopped(g) ? kt_guard_text(L) : lua_tostring(L, -1);
        name[0] = '\0';
        if (!a->authorize_failed)
            kt_log(kt_runtime_log(rt), KT_LOG_ERROR, "%s: authorized failed; refused the client: %s",
                kt_service_name(&a->service), why ? why : "an error that is not a string");
        a->authorize_failed = true;
    }
    if (kt_guard_end(g, kt_service_origin(&a->service))) kt_guard_unhook(g, L);
    lua_settop(L, top);
    kt_task_forbid_waits(rt, before);
    return name[0];
}

static int open(struct kt_service *s, struct kt_err *err)
{
    static const struct kt_acceptor_events events = {.stream = on_stream,
        .link = on_link,
        .flow = on_flow,
        .presence = on_presence,
        .authorize = on_authorize};
    struct kt_lua_acceptor *a = (struct kt_lua_acceptor *)s;
    struct door *door = calloc(1, sizeof *door);
    if (!door) return kt_err_set(err, KT_ENOMEM, "out of memory");
    door->owner = a;
    struct kt_wire_env env = kt_config_env(kt_service_runtime(s));
    env.tap = door->tap = kt_tap_new();
    int rc = a->wire->accept(a->wire, &env, a->settings, &events, door, &door->acceptor, err);
    if (rc == 0) {
        a->door = door;
        kt_log(
            kt_runtime_log(kt_service_runtime(s)), KT_LOG_INFO, "listening on %s (UDP)", kt_service_name(s));
        kt_config_log(a->wire, a->settings, s, "accepting links on", false);
    } else {
        kt_tap_unref(door->tap);
        free(door);
    }
    kt_config_forget_key(a->settings);
    return rc;
}

static bool quiet(const struct kt_service *s)
{
    struct kt_link_stats stats;
    kt_acceptor_stats(((const struct kt_lua_acceptor *)s)->door->acceptor, &stats);
    return !stats.owing && stats.streams == 0;
}

static void drain(struct kt_service *s)
{
    ((struct kt_lua_acceptor *)s)->drains = true;
}

static struct kt_tap *tap_of(const struct kt_service *s)
{
    return ((const struct kt_lua_acceptor *)s)->door->tap;
}

static void stats_of(const struct kt_service *s, struct kt_link_stats *out)
{
    kt_acceptor_stats(((const struct kt_lua_acceptor *)s)->door->acceptor, out);
}

/* Call before the acceptor is closed or passed on. */
static void keep_totals(struct kt_lua_acceptor *a)
{
    struct kt_link_stats stats;
    stats_of(&a->service, &stats);
    a->ended = stats.total;
}

static void close_acceptor(struct kt_service *s)
{
    struct kt_lua_acceptor *a = (struct kt_lua_acceptor *)s;
    keep_totals(a);
    kt_io_turn_cancel(&a->adopt);
    kt_acceptor_close(a->door->acceptor); /* closes at the end of the turn; no callback until then */
    kt_tap_unref(a->door->tap);
    free(a->door);
    a->door = NULL;
    lua_State *L = kt_runtime_state(kt_service_runtime(s));
    luaL_unref(L, LUA_REGISTRYINDEX, a->on_link);
    a->on_link = LUA_NOREF;
    luaL_unref(L, LUA_REGISTRYINDEX, a->on_flow);
    a->on_flow = LUA_NOREF;
    luaL_unref(L, LUA_REGISTRYINDEX, a->authorize);
    a->authorize = LUA_NOREF;
}

/* ---- reload ---- */

static const struct kt_endpoint *binds(const struct kt_service *s)
{
    return &((const struct kt_lua_acceptor *)s)->settings->at;
}

static bool heir(const struct kt_service *s, const struct kt_service *old)
{
    const struct kt_lua_acceptor *a = (const struct kt_lua_acceptor *)s,
                                 *o = (const struct kt_lua_acceptor *)old;
    return kt_endpoint_equal(&a->settings->at, &o->settings->at);
}

static int prepare(struct kt_service *s, struct kt_service *old, struct kt_err *err)
{
    struct kt_lua_acceptor *a = (struct kt_lua_acceptor *)s, *o = (struct kt_lua_acceptor *)old;
    if (a->wire != o->wire)
        return kt_err_set(err, KT_ECONFIG,
            "a reload cannot change the wire of an acceptor from %s to %s; restart kt, or accept at another port",
            o->wire->name, a->wire->name);
    int rc = kt_acceptor_prepare(o->door->acceptor, a->settings, err);
    if (rc == 0) a->next = o->door;
    return rc;
}

static void forgo(struct kt_service *s)
{
    struct kt_lua_acceptor *a = (struct kt_lua_acceptor *)s;
    kt_acceptor_drop(a->next->acceptor);
    a->next = NULL;
}

static void adopt(void *ctx)
{
    const struct kt_lua_acceptor *a = ctx;
    kt_acceptor_adopt(a->door->acceptor);
}

/* The acceptor of a task gets its links at the end of the turn, as it has no handlers yet. */
static void inherit(struct kt_service *s, struct kt_service *old)
{
    struct kt_lua_acceptor *a = (struct kt_lua_acceptor *)s, *o = (struct kt_lua_acceptor *)old;
    struct kt_acceptor_change change;
    a->door = a->next;
    a->door->owner = a;
    a->next = NULL;
    keep_totals(o);
    kt_io_turn_cancel(&o->adopt);
    o->door = NULL;
    kt_acceptor_apply(a->door->acceptor, &change);
    if (change.changed) kt_config_log(a->wire, a->settings, s, "accepting links on", false);
    if (change.changed && change.sessions)
        kt_log(kt_runtime_log(kt_service_runtime(s)), KT_LOG_INFO,
            "%s: %zu sessions keep their old settings%s", kt_service_name(s), change.sessions,
            change.retired
                ? ", take no new streams because the key has changed, and end with their last stream"
                : "");
    if (kt_service_has_handler(s) || a->on_link != LUA_NOREF)
        adopt(a);
    else
        kt_io_turn(kt_runtime_io(kt_service_runtime(s)), &a->adopt);
    kt_config_forget_key(a->settings);
}

static const struct kt_service_ops ops = {
    .what = "kt.accept",
    .at = "on",
    .serve = "acceptor:serve",
    .brings = "stream",
    .open = open,
    .drain = drain,
    .quiet = quiet,
    .stats = stats_of,
    .tap = tap_of,
    .close = close_acceptor,
    .binds = binds,
    .udp = true,
    .heir = heir,
    .prepare = prepare,
    .forgo = forgo,
    .inherit = inherit,
};

/* core.accept(config) → acceptor | nil, err */
static int accept_on(lua_State *L)
{
    const struct kt_wire *wire;
    struct kt_settings *settings = kt_config_read(L, 1, "accept", false, &wire);
    kt_service_localhost(&settings->at);
    struct kt_lua_acceptor *a = kt_handle_push(L, KT_HANDLE_ACCEPTOR, sizeof *a, 1);
    a->wire = wire;
    a->settings = settings;
    a->on_link = a->on_flow = a->authorize = LUA_NOREF;
    kt_turn_init(&a->adopt, adopt, a);
    if (settings->asks) {
        lua_getfield(L, 1, "authorized");
        a->authorize = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_pushvalue(L, -2);
    lua_setiuservalue(L, -2, 1);
    lua_getfield(L, 1, "on");
    const char *on = lua_tostring(L, -1); /* the config keeps it */
    lua_pop(L, 1);
    return kt_service_enter(L, &a->service, &ops, on);
}

static int serve(lua_State *L)
{
    return kt_service_serve(L, kt_handle_self(L, KT_HANDLE_ACCEPTOR, "serve"));
}

/* acceptor:on("link", function(link) … end), acceptor:on("flow", function(flow) … end) → acceptor */
static int on(lua_State *L)
{
    struct kt_lua_acceptor *a = kt_handle_self(L, KT_HANDLE_ACCEPTOR, "on");
    if (lua_type(L, 2) != LUA_TSTRING)
        return kt_raise(L, ON ": expected an event name, got %s", kt_type_name(L, 2));
    const char *event = lua_tostring(L, 2);
    const bool flows = strcmp(event, "flow") == 0;
    if (!flows && strcmp(event, "link") != 0)
        return kt_raise(L, ON ": unknown event \"%s\"; expected \"link\" or \"flow\"", event);
    int *handler = flows ? &a->on_flow : &a->on_link;
    const struct kt_origin **at = flows ? &a->on_flow_at : &a->on_link_at;
    if (lua_type(L, 3) != LUA_TFUNCTION)
        return kt_raise(L, ON ": expected a function, got %s", kt_type_name(L, 3));
    if (kt_service_is_closed(&a->service)) return kt_raise(L, ON ": the acceptor was closed");
    if (*handler != LUA_NOREF)
        return kt_raise(
            L, ON ": \"%s\" already has a handler, set at %s:%d", event, (*at)->source, (*at)->line);
    *at = kt_origin_here(L);
    lua_settop(L, 3);
    *handler = luaL_ref(L, LUA_REGISTRYINDEX);
    kt_service_attend(&a->service);
    lua_settop(L, 1);
    return 1;
}

static int acceptor_stats(lua_State *L)
{
    const struct kt_lua_acceptor *a = kt_handle_self(L, KT_HANDLE_ACCEPTOR, "stats");
    struct kt_link_stats stats = {.wire = a->wire, .total = a->ended, .since_heard_us = UINT64_MAX};
    if (a->door) kt_acceptor_stats(a->door->acceptor, &stats);
    kt_config_push_stats(L, &stats);
    return 1;
}

static int close_method(lua_State *L)
{
    kt_service_close(kt_handle_self(L, KT_HANDLE_ACCEPTOR, "close"));
    return 0;
}

static int gc(lua_State *L)
{
    return kt_service_gc(L, lua_touserdata(L, 1));
}

static int to_string(lua_State *L)
{
    const struct kt_lua_acceptor *a = kt_handle_self(L, KT_HANDLE_ACCEPTOR, "tostring");
    return kt_handle_text(L, KT_HANDLE_ACCEPTOR, kt_service_name(&a->service),
        kt_service_is_closed(&a->service) ? "closed" : NULL);
}

void kt_lua_accept(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"serve", serve}, {"on", on}, {"stats", acceptor_stats}, {"close", close_method}, {NULL, NULL}};
    kt_handle_type(L, &(struct kt_handle_type){.name = KT_HANDLE_ACCEPTOR,
                          .methods = methods,
                          .close = close_method,
                          .gc = gc,
                          .tostring = to_string});
    lua_pushcfunction(L, accept_on);
    lua_setfield(L, -2, "accept");
}
