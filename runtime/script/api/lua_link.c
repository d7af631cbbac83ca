/* kt.link: the handle of a link, and calls that open streams on it. lua/kt/init.lua has checked and flattened
 * the settings. */
#include "script/api/lua_link.h"
#include "script/api/lua_flow.h"
#include "script/api/lua_pipe.h"
#include <stdio.h>
#include <string.h>
#include "link/stream.h"
#include "link/tap.h"

#define OPEN "link:open"
#define PROBE "link:probe"
#define OPEN_US 10000000u
#define PROBE_US 1000000u
#define CLOSED "the link was closed"

/* ---- the service ---- */

static void on_up(void *ctx)
{
    kt_lua_link_up(ctx);
}

static void on_down(void *ctx, const struct kt_err *why)
{
    kt_lua_link_down(ctx, why);
}

static void on_stream(void *ctx, struct kt_pipe *stream, const struct kt_peer_info *peer)
{
    const struct kt_service *s = &((struct kt_lua_link *)ctx)->service;
    kt_lua_pipe_serve(s, stream, NULL, peer);
}

static void on_carries(void *ctx, bool anything)
{
    struct kt_lua_link *l = ctx;
    kt_service_carry(&l->service, anything);
}

static void on_flow(void *ctx, struct kt_flow *flow, const struct kt_peer_info *peer)
{
    const struct kt_lua_link *l = ctx;
    const struct kt_lua_flow_arrival arrival = {.flow = flow,
        .peer = peer,
        .origin = l->on_flow_at,
        .handler = kt_lua_link_push_flow_handler,
        .of = l};
    kt_lua_flow_serve(kt_service_runtime(&l->service), &arrival);
}

static bool has_handler(const struct kt_lua_link *l)
{
    return kt_service_has_handler(&l->service) || l->on_flow_at;
}

static void hear(struct kt_lua_link *l)
{
    l->events = (struct kt_link_events){.up = on_up,
        .down = on_down,
        .stream = kt_service_has_handler(&l->service) ? on_stream : NULL,
        .flow = l->on_flow_at ? on_flow : NULL,
        .carries = on_carries};
    kt_link_listen(l->link, &l->events, l);
}

void kt_lua_link_served(struct kt_lua_link *l)
{
    hear(l);
    kt_link_stay(l->link, NULL);
}

static void served(struct kt_service *s)
{
    kt_lua_link_served((struct kt_lua_link *)s);
}

static int open(struct kt_service *s, struct kt_err *err)
{
    struct kt_lua_link *l = (struct kt_lua_link *)s;
    struct kt_wire_env env = kt_config_env(kt_service_runtime(s));
    env.tap = l->tap = kt_tap_new();
    env.name = kt_service_name(s);
    int rc = l->wire->link(l->wire, &env, l->settings, &l->link, err);
    if (rc == 0) kt_config_log(l->wire, l->settings, s, "link to", true);
    kt_config_forget_key(l->settings);
    if (rc) {
        kt_tap_unref(l->tap);
        l->tap = NULL;
        return rc;
    }
    kt_service_stay(s, l->settings->stay);
    if (has_handler(l))
        kt_lua_link_served(l);
    else
        hear(l);
    kt_lua_link_opened(l);
    return 0;
}

static bool quiet(const struct kt_service *s)
{
    const struct kt_lua_link *l = (const struct kt_lua_link *)s;
    struct kt_link_stats stats;
    if (!l->link || l->peer) return true; /* a peer's link is counted by its acceptor */
    kt_link_stats(l->link, &stats);
    return !stats.owing && stats.streams == 0;
}

bool kt_lua_link_wanted(const struct kt_lua_link *l)
{
    struct kt_link_stats stats;
    if (!l->link) return false;
    if (!kt_list_empty(&l->waiting) || has_handler(l) || (l->settings && l->settings->stay)) return true;
    kt_link_stats(l->link, &stats);
    return stats.streams > 0 || stats.owing;
}

void kt_lua_link_stats(const struct kt_lua_link *l, struct kt_link_stats *out)
{
    *out = (struct kt_link_stats){.wire = l->wire, .total = l->ended, .since_heard_us = UINT64_MAX};
    if (l->link) kt_link_stats(l->link, out);
}

/* Call before the link is closed. */
static void keep_totals(struct kt_lua_link *l)
{
    struct kt_link_stats stats;
    kt_lua_link_stats(l, &stats);
    l->ended = stats.total;
}

static void close_link(struct kt_service *s)
{
    struct kt_lua_link *l = (struct kt_lua_link *)s;
    kt_lua_link_forget(l);
    kt_tap_unref(l->tap);
    l->tap = NULL;
    if (!l->link) return;
    keep_totals(l);
    kt_link_close(l->link);
    l->link = NULL;
    kt_task_wake_all(&l->waiting, KT_ECLOSED, CLOSED);
}

static struct kt_tap *tap_of(const struct kt_service *s)
{
    return ((const struct kt_lua_link *)s)->tap;
}

static void stats_of(const struct kt_service *s, struct kt_link_stats *out)
{
    kt_link_stats(((const struct kt_lua_link *)s)->link, out);
}

static const struct kt_service_ops ops = {
    .what = "kt.link",
    .at = "to",
    .serve = "link:serve",
    .brings = "stream",
    .may_serve = true,
    .served = served,
    .open = open,
    .quiet = quiet,
    .stats = stats_of,
    .tap = tap_of,
    .close = close_link,
};

struct kt_lua_link *kt_lua_link_push(lua_State *L)
{
    struct kt_lua_link *l = kt_handle_push(L, KT_HANDLE_LINK, sizeof *l, KT_LINK_USERVALUES);
    kt_list_init(&l->waiting);
    kt_list_init(&l->watches);
    kt_list_init(&l->greeting);
    return l;
}

/* core.link(config) → link | nil, err */
static int link_to(lua_State *L)
{
    const struct kt_wire *wire;
    struct kt_settings *settings = kt_config_read(L, 1, "link", true, &wire);
    struct kt_lua_link *l = kt_lua_link_push(L);
    l->wire = wire;
    l->settings = settings;
    lua_pushvalue(L, -2);
    lua_setiuservalue(L, -2, KT_LINK_CONFIG);
    lua_getfield(L, 1, "remote");
    const char *remote = lua_tostring(L, -1);
    lua_setiuservalue(L, -2, KT_LINK_REMOTE); /* the peer of its streams */
    return kt_service_enter(L, &l->service, &ops, remote);
}

/* ---- links handed out by an acceptor ---- */

static void on_peer_down(void *ctx, const struct kt_err *why)
{
    struct kt_lua_link *l = ctx;
    keep_totals(l);
    l->link = NULL;                     /* it has ended, and with it all pending calls */
    kt_task_withdraw_all(&l->greeting); /* it would get a link that is closed */
    kt_task_wake_all(&l->waiting, why->code, why->text);
    kt_lua_link_down(l, why);
    kt_service_close(&l->service);
}

void kt_lua_link_peer(
    lua_State *L, struct kt_lua_link *l, struct kt_link *link, const struct kt_peer_info *peer)
{
    static const struct kt_link_events events = {.down = on_peer_down};
    l->peer = true;
    l->wire = peer->wire;
    lua_pushstring(L, peer->address);
    lua_setiuservalue(L, -2, KT_LINK_REMOTE);
    lua_pushstring(L, peer->identity);
    lua_setiuservalue(L, -2, KT_LINK_IDENTITY);
    kt_service_adopt(L, &l->service, &ops, peer->address);
    l->link = link;
    kt_link_listen(link, &events, l);
}

/* ---- link:open ---- */

static void opened(void *ctx, struct kt_pipe *stream, const struct kt_err *err)
{
    struct kt_task *t = ctx;
    if (stream) {
        kt_task_hold_pipe(t, stream, NULL);
        kt_task_wake(t, 0, NULL);
    } else {
        kt_task_wake(t, err->code, err->text);
    }
}

static void cancel(struct kt_task *t)
{
    kt_open_cancel(kt_task_op(t));
}

static const struct kt_err *why_not(struct kt_task *t)
{
    const struct kt_open *op = kt_task_op(t);
    const struct kt_err *why = op->why;
    return why && why->code ? why : NULL;
}

/* what: OPEN or PROBE */
static int wait_for(lua_State *L, struct kt_lua_link *l, struct kt_task *t, const char *what,
    kt_task_finish finish, struct kt_open *op, uint64_t timeout)
{
    return kt_task_wait(L, t,
        &(struct kt_wait){
            .what = what,
            .cancel = cancel,
            .finish = finish,
            .why = why_not,
            .op = op,
            .queue = &l->waiting,
            .timeout_us = timeout,
        });
}

/* The stack: the link, when it was asked, the stream's handle. */
static int take_stream(lua_State *L, struct kt_task *t)
{
    struct kt_lua_link *l = lua_touserdata(L, 1);
    const uint64_t now = kt_io_now(kt_runtime_io(kt_task_runtime(t)));
    kt_histogram_add(&l->opens, now - (uint64_t)lua_tointeger(L, 2));
    kt_lua_pipe_take(L, t);
    return 1;
}

static struct kt_lua_link *self(lua_State *L, const char *method)
{
    return kt_handle_self(L, KT_HANDLE_LINK, method);
}

/* link:open { timeout = "5s", to = "db:5432", client = conn.peer, name = "sql", priority = 3, weight = 16 } →
 * stream | nil, err */
static int link_open(lua_State *L)
{
    struct kt_lua_link *l = self(L, "open");
    struct kt_task *t = kt_task_need(L, OPEN);
    struct kt_runtime *rt = kt_task_runtime(t);
    const char *client = NULL, *to = NULL, *name = NULL;
    uint64_t timeout = OPEN_US;
    struct kt_opt_integer priority = {KT_PRIORITY_DEFAULT, 0, KT_PRIORITIES - 1};
    struct kt_opt_integer weight = {KT_WEIGHT_DEFAULT, 1, KT_WEIGHT_MAX};
    const struct kt_opt opts[] = {{"timeout", KT_OPT_DURATION, &timeout}, {"client", KT_OPT_STRING, &client},
        {"to", KT_OPT_STRING, &to}, {"name", KT_OPT_STRING, &name}, {"priority", KT_OPT_INTEGER, &priority},
        {"weight", KT_OPT_INTEGER, &weight}};
    kt_opts_read(L, 2, OPEN, opts, sizeof opts / sizeof opts[0]);
    if (!l->link) return kt_lua_err_return(L, KT_ECLOSED, CLOSED);
    if (kt_runtime_pipes_full(rt)) return kt_lua_pipe_too_many(L, OPEN);
    if (client)
        kt_log_with(kt_runtime_log(rt), KT_LOG_DEBUG,
            (struct kt_log_fields){.link = kt_service_name(&l->service), .conn = client},
            "a stream to %s for %s", kt_service_name(&l->service), client);

    lua_settop(L, 1);
    lua_pushinteger(L, (lua_Integer)kt_io_now(kt_runtime_io(rt)));
    kt_lua_pipe_push(L, KT_HANDLE_STREAM); /* allocate now, so that finish cannot run out of memory */
    lua_getiuservalue(L, 1, KT_LINK_REMOTE);
    lua_setiuservalue(L, -2, KT_PEER_ADDRESS);
    struct kt_err err = {0};
    struct kt_open *op;
    const struct kt_open_options options = {.target = to,
        .client = client,
        .name = name,
        .policy = {(uint32_t)priority.value, (uint32_t)weight.value}};
    int rc = kt_link_open(l->link, &options, opened, t, &op, &err);
    if (rc) return kt_lua_err_return(L, rc, err.text);
    return wait_for(L, l, t, OPEN, take_stream, op, timeout);
}

/* ---- link:probe ---- */

static void probed(void *ctx, uint64_t rtt_us, const struct kt_err *err)
{
    struct kt_task *t = ctx;
    kt_task_put(t, &rtt_us, sizeof rtt_us);
    kt_task_wake(t, err ? err->code : 0, err ? err->text : NULL);
}

static int push_rtt(lua_State *L, struct kt_task *t)
{
    uint64_t rtt_us;
    kt_task_get(t, &rtt_us, sizeof rtt_us);
    lua_pushnumber(L, (double)rtt_us / 1e6);
    return 1;
}

/* link:probe { timeout = "1s" } → seconds | nil, err */
static int link_probe(lua_State *L)
{
    struct kt_lua_link *l = self(L, "probe");
    struct kt_task *t = kt_task_need(L, PROBE);
    const uint64_t timeout = kt_opts_timeout(L, 2, PROBE, PROBE_US);
    if (!l->link) return kt_lua_err_return(L, KT_ECLOSED, CLOSED);
    struct kt_err err = {0};
    struct kt_open *op;
    int rc = kt_link_probe(l->link, probed, t, &op, &err);
    if (rc) return kt_lua_err_return(L, rc, err.text);
    return wait_for(L, l, t, PROBE, push_rtt, op, timeout);
}

/* ---- link:set ---- */

static const char settings; /* its address names kt.init's reader in the registry */

/* core.install_settings(fn): fn(value, mode now) → a table of what is to change; raises */
static int install_settings(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &settings);
    return 0;
}

/* link:set { rate = "20Mbit" } → true | nil, err: any settings that are LIVE in the wire's table */
static int link_set(lua_State *L)
{
    struct kt_lua_link *l = self(L, "set");
    lua_settop(L, 2);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &settings);
    lua_pushvalue(L, 2);
    lua_pushstring(L, l->peer ? "" : l->settings->mode);
    lua_call(L, 2, 1);
    if (kt_service_is_closed(&l->service)) return kt_lua_err_return(L, KT_ECLOSED, CLOSED);
    const struct kt_settings *changed = l->peer ? NULL : kt_config_change(L, 3, l->wire, l->settings);
    struct kt_err err = {0};
    int rc = l->link ? kt_link_set(l->link, changed, &err) : 0;
    if (rc) return kt_lua_err_return(L, rc, err.text);
    if (changed) memcpy(l->settings, changed, kt_wire_size(l->wire));
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- the rest of the handle ---- */

static int link_serve(lua_State *L)
{
    struct kt_lua_link *l = self(L, "serve");
    if (l->peer)
        return kt_raise(
            L, "link:serve: this link was accepted; acceptor:serve gets the streams that its peer opens");
    return kt_service_serve(L, &l->service);
}

static int link_stats(lua_State *L)
{
    struct kt_link_stats stats;
    kt_lua_link_stats(self(L, "stats"), &stats);
    kt_config_push_stats(L, &stats);
    return 1;
}

static int link_close(lua_State *L)
{
    kt_service_close(&self(L, "close")->service);
    return 0;
}

static int gc(lua_State *L)
{
    struct kt_lua_link *l = lua_touserdata(L, 1);
    kt_service_gc(L, &l->service);
    kt_list_pop(&l->greeting);
    kt_lua_link_forget(l); /* if the link was never opened */
    return 0;
}

static int link_tostring(lua_State *L)
{
    const struct kt_lua_link *l = self(L, "tostring");
    struct kt_link_stats stats = {.up = false};
    if (l->link) kt_link_stats(l->link, &stats);
    return kt_handle_text(L, KT_HANDLE_LINK, kt_service_name(&l->service),
        kt_service_is_closed(&l->service) ? "closed"
        : !l->link                        ? "not open yet"
        : stats.up                        ? "up"
                                          : "down");
}

static int field_remote(lua_State *L)
{
    lua_getiuservalue(L, 1, KT_LINK_REMOTE);
    return 1;
}

static int field_identity(lua_State *L)
{
    lua_getiuservalue(L, 1, KT_LINK_IDENTITY);
    return 1;
}

void kt_lua_link(lua_State *L)
{
    static const luaL_Reg methods[] = {{"open", link_open}, {"probe", link_probe}, {"set", link_set},
        {"flow", kt_lua_link_flow}, {"serve", link_serve}, {"on", kt_lua_link_event}, {"stats", link_stats},
        {"close", link_close}, {NULL, NULL}};
    static const luaL_Reg fields[] = {{"remote", field_remote}, {"identity", field_identity}, {NULL, NULL}};
    kt_handle_type(L, &(struct kt_handle_type){.name = KT_HANDLE_LINK,
                          .methods = methods,
                          .fields = fields,
                          .close = link_close,
                          .gc = gc,
                          .tostring = link_tostring});
    lua_pushcfunction(L, link_to);
    lua_setfield(L, -2, "link");
    lua_pushcfunction(L, install_settings);
    lua_setfield(L, -2, "install_settings");
}
