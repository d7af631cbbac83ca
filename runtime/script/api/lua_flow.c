/* Flows: their handles, link:flow, kt.connect { udp = … } and kt.splice of two flows. The datagrams stay in C.
 *
 * Until a flow is spliced, its arrivals wait in a bounded queue; the splice passes them on first.
 *
 * Invariant: a handle is in its owner's list exactly while it has a flow. While a splice has the flow, the splice's
 * task is the one that waits in it, and nothing else ends the splice. */
#include "script/api/lua_flow.h"
#include <stdlib.h>
#include "base/dgramq.h"
#include "link/common/udp_flows.h"
#include "link/relay.h"
#include "link/splice.h"
#include "script/api/api.h"
#include "script/api/config.h"
#include "script/api/lua_link.h"
#include "script/api/lua_peer.h"
#include "script/api/lua_pipe.h"
#include "script/core/handle.h"
#include "script/core/handler.h"

#define OPEN "link:flow"
#define CONNECT "kt.connect"
#define SPLICE "kt.splice"
#define CLOSED "the link was closed"
#define WAITING 16384u /* bytes of datagrams that wait for the splice, with 60 bytes for each */

struct kt_lua_flow {
    struct kt_owned owned; /* first */
    struct kt_runtime *rt;
    struct kt_flow *flow;    /* NULL: closed, or taken over by a splice */
    struct kt_flow *spliced; /* ... while the splice has it */
    struct kt_lua_flow *other;
    struct kt_relay *relay;
    struct kt_dgramq waiting;
    int code;                   /* why it ended; 0: it has not, or the script closed it */
    struct kt_flow_facts facts; /* once it has ended */
    uint64_t born;              /* µs; once it has ended: its lifetime */
    struct kt_resolve *resolve; /* while kt.connect looks its target up */
    uint16_t port;
};

/* Uservalues beyond those of lua_peer.h: the link, which lives as long as its flows. */
enum { LINK = KT_PEER_USERVALUES + 1, USERVALUES = LINK };

/* ---- the flow ---- */

static void on_datagram(void *ctx, const uint8_t *data, size_t len)
{
    static const struct kt_addr nobody;
    struct kt_lua_flow *h = ctx;
    kt_dgramq_put(&h->waiting, data, len, &nobody, NULL);
}

static void on_ended(void *ctx, int code)
{
    struct kt_lua_flow *h = ctx;
    h->code = code;
    kt_dgramq_free(&h->waiting); /* its task may run much later, after a flood of others */
}

static void attach(struct kt_lua_flow *h, struct kt_flow *flow, struct kt_task *t)
{
    static const struct kt_flow_events events = {on_datagram, on_ended};
    h->flow = flow;
    h->born = kt_io_now(kt_runtime_io(h->rt));
    kt_task_own(t, &h->owned);
    kt_runtime_hold_flows(h->rt, 1);
    kt_flow_listen(flow, &events, h);
}

static void forget(struct kt_lua_flow *h)
{
    h->born = kt_io_now(kt_runtime_io(h->rt)) - h->born;
    h->flow = h->spliced = NULL;
    h->relay = NULL;
    h->other = NULL;
    kt_runtime_hold_flows(h->rt, -1);
}

static void end(struct kt_lua_flow *h, int code)
{
    kt_list_remove(&h->owned.node);
    kt_dgramq_free(&h->waiting);
    if (!h->flow) return;
    kt_flow_facts(h->flow, &h->facts);
    kt_flow_close(h->flow, code ? code : KT_ECLOSED);
    forget(h);
}

static void end_owned(struct kt_owned *o, int code)
{
    end(KT_CONTAINER(o, struct kt_lua_flow, owned), code);
}

static struct kt_lua_flow *push(lua_State *L)
{
    struct kt_lua_flow *h = kt_handle_push(L, KT_HANDLE_FLOW, sizeof *h, USERVALUES);
    kt_list_init(&h->owned.node);
    h->owned.end = end_owned;
    h->rt = kt_runtime_of(L);
    kt_dgramq_init(&h->waiting, WAITING);
    return h;
}

static int too_many(lua_State *L, const char *what)
{
    return kt_lua_err_return(L, KT_ELIMIT,
        lua_pushfstring(L, "%s: limit of %d open flows reached; close some first", what, (int)KT_FLOWS_MAX));
}

/* ---- a task per flow ---- */

struct serving {
    const struct kt_lua_flow_arrival *arrival;
    struct kt_lua_flow *handle;
};

/* Protected: → handler, the flow's handle */
static int prepare(lua_State *L)
{
    struct serving *s = lua_touserdata(L, 1);
    const int top = lua_gettop(L);
    s->arrival->handler(L, s->arrival->of);
    if (lua_gettop(L) == top) return 0;
    s->handle = push(L);
    kt_lua_peer_keep(L, s->arrival->peer);
    return 2;
}

void kt_lua_flow_serve(struct kt_runtime *rt, const struct kt_lua_flow_arrival *arrival)
{
    const bool takes = kt_runtime_attends(rt), full = kt_runtime_flows_full(rt);
    struct serving s = {.arrival = arrival};
    struct kt_task *t = takes && !full ? kt_task_prepare(rt, arrival->origin, prepare, &s) : NULL;
    if (t) {
        attach(s.handle, arrival->flow, t);
        return;
    }
    kt_log_with(kt_runtime_log(rt), takes ? KT_LOG_WARN : KT_LOG_DEBUG, kt_log_peer(arrival->peer->address),
        "%s: flow refused: %s", arrival->peer->address,
        !takes ? "shutting down"
        : full ? "too many flows"
               : "too many tasks, or out of memory");
    kt_flow_close(arrival->flow, takes ? KT_ELIMIT : KT_ECLOSED);
}

/* ---- link:flow ---- */

/* link:flow { to = "8.8.8.8:53", client = flow.peer, copies = 2, fec = true } → flow | nil, err */
int kt_lua_link_flow(lua_State *L)
{
    struct kt_lua_link *l = kt_handle_self(L, KT_HANDLE_LINK, "flow");
    struct kt_task *t = kt_task_need(L, OPEN);
    const char *to = NULL, *client = NULL;
    struct kt_opt_integer copies = {0, 0, KT_FLOW_COPIES};
    struct kt_opt_boolean fec = {false, false};
    const struct kt_opt opts[] = {{"to", KT_OPT_STRING, &to}, {"client", KT_OPT_STRING, &client},
        {"copies", KT_OPT_INTEGER, &copies}, {"fec", KT_OPT_BOOLEAN, &fec}};
    kt_opts_read(L, 2, OPEN, opts, sizeof opts / sizeof opts[0]);
    if (!l->link) return kt_lua_err_return(L, KT_ECLOSED, CLOSED);
    if (kt_runtime_flows_full(kt_task_runtime(t))) return too_many(L, OPEN);
    lua_settop(L, 2);
    struct kt_lua_flow *h = push(L);
    lua_getiuservalue(L, 1, KT_LINK_REMOTE);
    lua_setiuservalue(L, -2, KT_PEER_ADDRESS);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, LINK);
    const struct kt_flow_options options = {
        .target = to, .client = client, .copies = (unsigned)copies.value, .fec = fec.value};
    struct kt_flow *flow;
    struct kt_err err = {0};
    const int rc = kt_link_flow(l->link, &options, &flow, &err);
    if (rc) return kt_lua_err_return(L, rc, lua_pushfstring(L, OPEN ": %s", err.text));
    attach(h, flow, t);
    return 1;
}

/* ---- kt.connect ---- */

static int connect_to(struct kt_lua_flow *h, struct kt_task *t, const struct kt_addr *to, struct kt_err *err)
{
    struct kt_flow *flow;
    int rc = kt_addr_check_scope(to, err);
    if (!rc) rc = kt_udp_flow_connect(kt_runtime_io(h->rt), kt_runtime_counters(h->rt), to, &flow, err);
    if (!rc) attach(h, flow, t);
    return rc;
}

static void found(void *ctx, const struct kt_addr *addrs, size_t n, const struct kt_err *err)
{
    struct kt_task *t = ctx;
    struct kt_lua_flow *h = kt_task_op(t);
    struct kt_err why = {0};
    int rc = KT_ENAME;
    h->resolve = NULL;
    if (n == 0) {
        kt_task_wake(t, err->code, err->text);
        return;
    }
    for (size_t i = 0; i < n && rc; i++)
        rc = connect_to(h, t, &addrs[i], &why); /* this host may have no IPv6 */
    kt_task_wake(t, rc, why.text);
}

static void cancel_lookup(struct kt_task *t)
{
    const struct kt_lua_flow *h = kt_task_op(t);
    kt_resolve_cancel(h->resolve);
}

static int finish_connect(lua_State *L, struct kt_task *t)
{
    (void)L;
    (void)t;
    return 1; /* the handle is on top */
}

int kt_lua_flow_connect(lua_State *L, const char *to, uint64_t timeout)
{
    struct kt_task *t = kt_task_need(L, CONNECT);
    struct kt_err err = {0};
    struct kt_endpoint at;
    struct kt_addr addr;
    int rc = kt_endpoint_parse(&at, to, KT_ENDPOINT_HOST, &err);
    if (rc) return kt_lua_err_return(L, rc, err.text); /* not raised: it may come from a client */
    if (kt_runtime_flows_full(kt_task_runtime(t))) return too_many(L, CONNECT);
    struct kt_lua_flow *h = push(L);
    kt_lua_peer_set(L, to);
    if (kt_addr_from_ip(&addr, at.host, at.port_min)) {
        rc = connect_to(h, t, &addr, &err);
        return rc ? kt_lua_err_return(L, rc, err.text) : 1;
    }
    rc = kt_resolve(kt_runtime_io(kt_task_runtime(t)), at.host, at.port_min, found, t, &h->resolve, &err);
    if (rc) return kt_lua_err_return(L, rc, err.text);
    return kt_task_wait(L, t,
        &(struct kt_wait){
            .what = CONNECT,
            .cancel = cancel_lookup,
            .finish = finish_connect,
            .op = h,
            .timeout_us = timeout,
        });
}

/* ---- kt.splice ---- */

static void done(void *ctx, const struct kt_relay_result *result)
{
    struct kt_task *t = ctx;
    struct kt_lua_flow *a = kt_task_op(t), *b = a->other;
    a->facts = result->a;
    b->facts = result->b;
    forget(a);
    forget(b);
    const struct kt_splice_result moved = {.a_to_b = result->a_to_b,
        .b_to_a = result->b_to_a,
        .duration_us = result->duration_us,
        .code = result->code};
    kt_task_put(t, &moved, sizeof moved);
    kt_task_wake(t, 0, NULL);
}

static void cancel_splice(struct kt_task *t)
{
    struct kt_lua_flow *a = kt_task_op(t), *b = a->other;
    struct kt_relay *relay = a->relay;
    kt_flow_facts(a->spliced, &a->facts);
    kt_flow_facts(b->spliced, &b->facts);
    forget(a);
    forget(b);
    kt_relay_cancel(relay, KT_ECANCELED); /* kt is shutting down; nothing else cancels it */
}

static int finish_splice(lua_State *L, struct kt_task *t)
{
    kt_lua_splice_push(L, t);
    return 1;
}

static struct kt_lua_flow *flow_arg(lua_State *L, int idx)
{
    struct kt_lua_flow *h = kt_handle_test(L, idx, KT_HANDLE_FLOW);
    if (!h)
        kt_raise(L, SPLICE ": argument %d: expected a flow, like the other argument, got %s", idx,
            kt_type_name(L, idx));
    else if (!h->flow)
        kt_raise(L, SPLICE ": argument %d: this flow was closed, or taken over by a splice", idx);
    return h;
}

static void give(struct kt_lua_flow *h, struct kt_lua_flow *other, struct kt_relay *relay)
{
    kt_list_remove(&h->owned.node);
    h->spliced = h->flow;
    h->flow = NULL;
    h->relay = relay;
    h->other = other;
}

static void pass_waiting(struct kt_lua_flow *h, bool is_b)
{
    uint8_t data[KT_UDP_MAX];
    struct kt_addr from, to;
    size_t len;
    for (; kt_dgramq_first(&h->waiting, &len, &from, &to); kt_dgramq_drop(&h->waiting)) {
        kt_dgramq_copy(&h->waiting, data);
        kt_relay_pass(h->relay, is_b, data, len);
    }
    kt_dgramq_free(&h->waiting);
}

int kt_lua_flow_splice(lua_State *L)
{
    struct kt_task *t = kt_task_need(L, SPLICE);
    struct kt_lua_flow *a = flow_arg(L, 1), *b = flow_arg(L, 2);
    struct kt_relay_options how = {.idle_us = KT_FLOW_IDLE_US};
    uint64_t linger = KT_TIME_NEVER;
    struct kt_opt_rates rate = {0, 0};
    const struct kt_opt opts[] = {{"idle", KT_OPT_DURATION, &how.idle_us},
        {"total", KT_OPT_DURATION, &how.total_us}, {"rate", KT_OPT_RATES, &rate},
        {"linger", KT_OPT_DURATION, &linger}};
    if (a == b) return kt_raise(L, SPLICE ": both arguments are the same flow");
    kt_opts_read(L, 3, SPLICE, opts, sizeof opts / sizeof opts[0]);
    if (rate.a_to_b || rate.b_to_a || linger != KT_TIME_NEVER)
        return kt_raise(L, SPLICE ": rate and linger are for conns and streams; flows take idle and total");
    const int code = a->code ? a->code : b->code;
    if (code)
        return kt_lua_err_return(
            L, code, lua_pushfstring(L, SPLICE ": the flow has ended: %s", kt_strerror(code)));
    struct kt_relay *relay;
    const int rc = kt_relay(kt_runtime_io(kt_task_runtime(t)), a->flow, b->flow, &how, done, t, &relay);
    if (rc) return kt_lua_err_return(L, rc, NULL);
    give(a, b, relay);
    give(b, a, relay);
    pass_waiting(a, false);
    pass_waiting(b, true);
    /* Nothing may raise from here on: the relay will call back with the task. */
    return kt_task_wait(L, t,
        &(struct kt_wait){
            .what = SPLICE,
            .cancel = cancel_splice,
            .finish = finish_splice,
            .op = a,
            .timeout_us = KT_TIME_NEVER,
        });
}

/* ---- the handle ---- */

static int flow_close(lua_State *L)
{
    end(kt_handle_self(L, KT_HANDLE_FLOW, "close"), 0);
    return 0;
}

/* flow:set { copies = 2, fec = true } → true | nil, err */
static int flow_set(lua_State *L)
{
    const struct kt_lua_flow *h = kt_handle_self(L, KT_HANDLE_FLOW, "set");
    struct kt_opt_integer copies = {-1, 0, KT_FLOW_COPIES};
    struct kt_opt_boolean fec = {false, false};
    const struct kt_opt opts[] = {{"copies", KT_OPT_INTEGER, &copies}, {"fec", KT_OPT_BOOLEAN, &fec}};
    kt_opts_read(L, 2, "flow:set", opts, 2);
    struct kt_flow *flow = h->flow ? h->flow : h->spliced;
    if (!flow) return kt_lua_err_return(L, KT_ECLOSED, "flow:set: the flow was closed");
    if (copies.value >= 0 && kt_flow_copies(flow, (unsigned)copies.value))
        return kt_lua_err_return(L, KT_ENOTSUP, "flow:set: copies are only for flows of a link");
    if (fec.given && kt_flow_fec(flow, fec.value))
        return kt_lua_err_return(L, KT_ENOTSUP, "flow:set: fec is only for flows of a link");
    lua_pushboolean(L, 1);
    return 1;
}

static int flow_stats(lua_State *L)
{
    const struct kt_lua_flow *h = kt_handle_self(L, KT_HANDLE_FLOW, "stats");
    const struct kt_flow *flow = h->flow ? h->flow : h->spliced;
    const uint64_t now = kt_io_now(kt_runtime_io(h->rt));
    struct kt_flow_facts facts = h->facts, *f = &facts;
    if (flow) kt_flow_facts(flow, &facts);
    lua_createtable(L, 0, 7);
#define KT_STAT_EACH(row, value) kt_config_set_stat(L, row, value)
#include "link/stat_each.h"
#include "script/api/flow_stats.def"
    return 1;
}

static int gc(lua_State *L)
{
    struct kt_lua_flow *h = lua_touserdata(L, 1);
    if (h->flow) kt_handle_dropped(&h->owned, "flow");
    end(h, 0);
    return 0;
}

static int to_string(lua_State *L)
{
    const struct kt_lua_flow *h = kt_handle_self(L, KT_HANDLE_FLOW, "tostring");
    lua_getiuservalue(L, 1, KT_PEER_ADDRESS);
    return kt_handle_text(L, KT_HANDLE_FLOW, lua_tostring(L, -1), h->flow ? NULL : "closed");
}

void kt_lua_flow(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"set", flow_set}, {"stats", flow_stats}, {"close", flow_close}, {NULL, NULL}};
    static const luaL_Reg fields[] = {{"peer", kt_lua_peer_address}, {"identity", kt_lua_peer_identity},
        {"target", kt_lua_peer_target}, {"client", kt_lua_peer_client}, {"original", kt_lua_peer_original},
        {NULL, NULL}};
    kt_handle_type(L, &(struct kt_handle_type){.name = KT_HANDLE_FLOW,
                          .methods = methods,
                          .fields = fields,
                          .close = flow_close,
                          .gc = gc,
                          .tostring = to_string});
}
