/* kt.kcp: a KCP conversation whose packets a script carries.
 *
 * Packets that the engine makes go to the script's output function, in a task that lives until they are sent. That
 * function may wait, for a socket with room, say: then the engine waits too, once KT_CONVERSATION_PACKETS have piled
 * up.
 *
 * All conversations of a state share one pool of packets, which counts towards the script's memory.
 *
 * Invariant: `talk` is NULL once the conversation is closed, and `why` says how. `sender` is linked while a task sends
 * packets. */
#include <math.h>
#include "link/conversation.h"
#include "script/api/config.h"
#include "script/core/handle.h"
#include "script/core/handler.h"
#include "script/api/api.h"

#define SEND "kcp:send"
#define RECV "kcp:recv"
#define FLUSH "kcp:flush"
#define INPUT "kcp:input"
#define CLOSED "the conversation was closed"
#define TIMEOUT_US 30000000u
#define READ_MAX 65536u /* most bytes that recv returns of a stream */
#define TALKS_MAX 4096u /* conversations of a state */
#define POOL_MAX ((size_t)64 << 20)
#define OUTPUT 1 /* uservalue: the function */
#define ROOM "kcp room"

static const char
    handles_key; /* its address names the table of open handles in the registry, weak, by their pointer */
static const char room_key; /* that of the state's room */

/* Shared by the conversations of a state. It is made before them, so lua_close finalizes it after them. */
struct room {
    struct kt_slab *pool;
    size_t counted; /* bytes of the pool that the guard counts */
    unsigned talks;
};

struct kt_lua_kcp {
    struct kt_owned owned; /* first */
    struct kt_owned sender;
    struct kt_list sending; /* the same task (kt_task_list) */
    struct kt_conversation *talk;
    struct kt_runtime *rt;
    struct room *room;
    const struct kt_origin *origin;
    struct kt_task *receiver;
    struct kt_list senders, flushers; /* tasks that wait */
    struct kt_err why;
};

/* ---- the room ---- */

static int room_gc(lua_State *L)
{
    struct room *r = lua_touserdata(L, 1);
    kt_guard_release(kt_guard_of(L), r->counted);
    kt_slab_free(r->pool);
    r->pool = NULL;
    return 0;
}

/* Makes the guard count what the pool holds. If the script has no more memory, the pool's own limit bounds it. */
static void account(const struct kt_lua_kcp *c)
{
    struct kt_guard *g = kt_runtime_guard(c->rt);
    struct room *r = c->room;
    const size_t held = kt_slab_bytes(r->pool);
    if (held < r->counted)
        kt_guard_release(g, r->counted - held);
    else if (!kt_guard_reserve(g, held - r->counted))
        return;
    r->counted = held;
}

/* ---- closing ---- */

static int closed(lua_State *L, const struct kt_lua_kcp *c, const char *what)
{
    return kt_lua_err_return(L, c->why.code, lua_pushfstring(L, "%s: %s", what, c->why.text));
}

static void wake_receiver(struct kt_lua_kcp *c)
{
    struct kt_task *t = c->receiver;
    c->receiver = NULL;
    if (t) kt_task_wake(t, 0, NULL);
}

/* Ends the conversation. Allocates nothing. */
static void end(struct kt_lua_kcp *c, int code, const char *why)
{
    kt_list_remove(&c->owned.node);
    kt_list_remove(&c->sender.node);
    if (!c->talk) return;
    kt_err_set(&c->why, code, "%s", why);
    kt_conversation_free(c->talk);
    c->talk = NULL;
    kt_slab_trim(c->room->pool);
    account(c);
    c->room->talks--;
    wake_receiver(c); /* these see that it has ended */
    kt_task_wake_all(&c->senders, 0, NULL);
    kt_task_wake_all(&c->flushers, 0, NULL);
}

static void end_owned(struct kt_owned *o, int code)
{
    (void)code; /* KCP has no reset */
    end(KT_CONTAINER(o, struct kt_lua_kcp, owned), KT_ECLOSED, CLOSED);
}

/* ---- packets out ---- */

/* The output function raised, or was stopped: its task has ended before all packets were sent. */
static void end_sender(struct kt_owned *o, int code)
{
    struct kt_lua_kcp *c = KT_CONTAINER(o, struct kt_lua_kcp, sender);
    (void)code;
    end(c, KT_EFAILED, "the output function failed");
}

/* Stack: the handle. Calls the output function for each packet. */
static int send_packets(lua_State *L, int status, lua_KContext ctx)
{
    struct kt_lua_kcp *c = lua_touserdata(L, 1);
    const uint8_t *packet;
    size_t len;
    (void)status, (void)ctx;
    while (c->talk && (packet = kt_conversation_packet(c->talk, &len)) != NULL) {
        lua_settop(L, 1);
        lua_getiuservalue(L, 1, OUTPUT);
        lua_pushlstring(L, (const char *)packet, len);
        if (!c->talk) break; /* a finalizer has closed it */
        kt_conversation_sent(c->talk);
        lua_callk(L, 1, 0, 0, send_packets);
    }
    kt_list_remove(&c->sender.node);
    return 0;
}

static int send_task(lua_State *L)
{
    struct kt_lua_kcp *c = lua_touserdata(L, 1);
    if (!c->talk) return 0;
    kt_task_own(kt_task_of(L), &c->sender);
    return send_packets(L, LUA_OK, 0);
}

/* prepare(kcp) → send_task, the handle; nothing if it is being collected */
static int prepare(lua_State *L)
{
    const struct kt_lua_kcp *c = lua_touserdata(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &handles_key);
    lua_pushcfunction(L, send_task);
    if (lua_rawgetp(L, -2, c) == LUA_TNIL) return 0;
    return 2;
}

static void on_packets(void *ctx)
{
    struct kt_lua_kcp *c = ctx;
    size_t len;
    account(c);
    if (!kt_list_empty(&c->sending)) return;
    struct kt_task *t = kt_task_prepare(c->rt, c->origin, prepare, c);
    if (t) {
        kt_task_list(t, &c->sending);
        return;
    }
    while (kt_conversation_packet(c->talk, &len)) kt_conversation_sent(c->talk); /* lost, as on a network */
}

/* ---- arrivals ---- */

static void on_readable(void *ctx)
{
    struct kt_lua_kcp *c = ctx;
    account(c);
    if (c->receiver && kt_conversation_unread(c->talk, 1) != 0) wake_receiver(c);
}

static void on_writable(void *ctx)
{
    struct kt_lua_kcp *c = ctx;
    kt_task_wake_all(&c->senders, 0, NULL);
    if (kt_conversation_acknowledged(c->talk)) kt_task_wake_all(&c->flushers, 0, NULL);
}

static const struct kt_conversation_events events = {on_packets, on_readable, on_writable};

/* ---- making one ---- */

static uint32_t number(lua_State *L, const char *key)
{
    lua_getfield(L, 1, key);
    const uint32_t n = (uint32_t)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return n;
}

static bool flag(lua_State *L, const char *key)
{
    lua_getfield(L, 1, key);
    const bool on = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return on;
}

/* core.kcp(config) → kcp | nil, err; the config is checked */
static int kcp(lua_State *L)
{
    struct kt_task *t = kt_task_need(L, "kt.kcp");
    struct kt_runtime *rt = kt_task_runtime(t);
    const struct kt_conversation_config cfg = {
        .conv = number(L, "conv"),
        .mtu = number(L, "mtu"),
        .snd_wnd = number(L, "snd_wnd"),
        .rcv_wnd = number(L, "rcv_wnd"),
        .nodelay = flag(L, "nodelay"),
        .interval_ms = number(L, "interval"),
        .resend = number(L, "resend"),
        .nc = flag(L, "nc"),
        .stream = flag(L, "stream"),
    };
    lua_settop(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &room_key);
    struct room *room = lua_touserdata(L, -1);
    if (room->talks == TALKS_MAX)
        return kt_lua_err_return(L, KT_ELIMIT,
            lua_pushfstring(L, "kt.kcp: limit of %d conversations per script reached", (int)TALKS_MAX));
    struct kt_lua_kcp *c = kt_handle_push(L, KT_HANDLE_KCP, sizeof *c, 1);
    kt_list_init(&c->owned.node);
    kt_list_init(&c->sender.node);
    kt_list_init(&c->sending);
    kt_list_init(&c->senders);
    kt_list_init(&c->flushers);
    c->owned.end = end_owned;
    c->sender.end = end_sender;
    c->rt = rt;
    c->room = room;
    c->origin = kt_origin_here(L);
    lua_getfield(L, 1, "output");
    lua_setiuservalue(L, -2, OUTPUT);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &handles_key);
    lua_pushvalue(L, -2);
    lua_rawsetp(L, -2, c);
    lua_pop(L, 1);
    const int rc = kt_conversation_new(&c->talk, &cfg, kt_runtime_io(rt), room->pool, &events, c);
    if (rc) return kt_lua_err_return(L, rc, NULL);
    room->talks++;
    kt_task_own(t, &c->owned);
    return 1;
}

/* ---- sending ---- */

/* The handle that a method was called on, and its task; raises if the script has closed it. */
static struct kt_lua_kcp *begin(lua_State *L, const char *what, struct kt_task **t)
{
    struct kt_lua_kcp *c = kt_handle_self(L, KT_HANDLE_KCP, what + sizeof "kcp:" - 1);
    *t = kt_task_need(L, what);
    if (!c->talk && c->why.code == KT_ECLOSED) kt_raise(L, "%s: this conversation was closed", what);
    return c;
}

/* Stack: the handle, the data, the options, the deadline, the number of bytes taken so far. */
static int send_or_wait(lua_State *L, struct kt_task *t)
{
    struct kt_lua_kcp *c = lua_touserdata(L, 1);
    size_t len, taken;
    const char *data = lua_tolstring(L, 2, &len);
    const size_t from = (size_t)lua_tointeger(L, 5);
    if (!c->talk) return closed(L, c, SEND);
    const int rc = kt_conversation_send(c->talk, (const uint8_t *)data + from, len - from, &taken);
    account(c);
    if (rc == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    if (rc == KT_ELIMIT)
        return kt_lua_err_return(L, rc,
            lua_pushfstring(L, SEND ": a message of %I bytes; at most %I are allowed", (lua_Integer)len,
                (lua_Integer)kt_conversation_message_max(c->talk)));
    if (rc != KT_EAGAIN) return kt_lua_err_return(L, rc, SEND ": out of memory for packets");
    lua_pushinteger(L, (lua_Integer)(from + taken));
    lua_replace(L, 5);
    return kt_task_wait(L, t,
        &(struct kt_wait){
            .what = SEND,
            .finish = send_or_wait,
            .missing = "no room in the send window",
            .op = c,
            .queue = &c->senders,
            .timeout_us = kt_io_left(kt_runtime_io(c->rt), (uint64_t)lua_tointeger(L, 4)),
        });
}

static void push_deadline(lua_State *L, const struct kt_lua_kcp *c, uint64_t timeout)
{
    lua_pushinteger(L, (lua_Integer)(kt_io_now(kt_runtime_io(c->rt)) + timeout));
}

/* kcp:send(data [, { timeout = "30s" }]) → true | nil, err */
static int kcp_send(lua_State *L)
{
    struct kt_task *t;
    const struct kt_lua_kcp *c = begin(L, SEND, &t);
    lua_settop(L, 3);
    if (lua_type(L, 2) != LUA_TSTRING)
        return kt_raise(L, SEND ": argument 1: expected a string, got %s", kt_type_name(L, 2));
    push_deadline(L, c, kt_opts_timeout(L, 3, SEND, TIMEOUT_US));
    lua_pushinteger(L, 0);
    if (lua_rawlen(L, 2) == 0)
        return kt_raise(L, SEND ": argument 1: is empty; KCP carries no empty messages");
    return send_or_wait(L, t);
}

static int flushed(lua_State *L, struct kt_task *t)
{
    const struct kt_lua_kcp *c = lua_touserdata(L, 1);
    (void)t;
    if (!c->talk) return closed(L, c, FLUSH);
    lua_pushboolean(L, 1);
    return 1;
}

/* kcp:flush { timeout = "30s" } → true | nil, err */
static int kcp_flush(lua_State *L)
{
    struct kt_task *t;
    struct kt_lua_kcp *c = begin(L, FLUSH, &t);
    lua_settop(L, 2);
    const uint64_t timeout = kt_opts_timeout(L, 2, FLUSH, TIMEOUT_US);
    if (!c->talk || kt_conversation_acknowledged(c->talk)) return flushed(L, t);
    return kt_task_wait(L, t,
        &(struct kt_wait){
            .what = FLUSH,
            .finish = flushed,
            .missing = "no acknowledgement of all that was sent",
            .op = c,
            .queue = &c->flushers,
            .timeout_us = timeout,
        });
}

/* ---- receiving ---- */

/* kcp:input(packet) → true | nil, err */
static int kcp_input(lua_State *L)
{
    struct kt_lua_kcp *c = kt_handle_self(L, KT_HANDLE_KCP, "input");
    size_t len;
    if (lua_type(L, 2) != LUA_TSTRING)
        return kt_raise(L, INPUT ": argument 1: expected a string, got %s", kt_type_name(L, 2));
    const char *packet = lua_tolstring(L, 2, &len);
    if (!c->talk) return closed(L, c, INPUT); /* not raised: packets come at any time */
    if (kt_conversation_input(c->talk, (const uint8_t *)packet, len))
        return kt_lua_err_return(L, KT_EPROTO, INPUT ": not a packet of this conversation");
    lua_pushboolean(L, 1);
    return 1;
}

static void cancel_recv(struct kt_task *t)
{
    struct kt_lua_kcp *c = kt_task_op(t);
    c->receiver = NULL;
}

/* Stack: the handle, the options, the deadline. */
static int recv_or_wait(lua_State *L, struct kt_task *t)
{
    struct kt_lua_kcp *c = lua_touserdata(L, 1);
    if (!c->talk) return closed(L, c, RECV);
    if (c->receiver) {
        const struct kt_origin *o = kt_task_origin(c->receiver);
        return kt_raise(L,
            RECV ": another task (spawned at %s:%d) is already receiving; only one task may at a time",
            o->source, o->line);
    }
    const int n = kt_conversation_unread(c->talk, READ_MAX);
    if (n < 0) {
        end(c, n, "a message that does not fit the receive window");
        return closed(L, c, RECV);
    }
    if (n > 0) {
        luaL_Buffer b;
        uint8_t *to = (uint8_t *)luaL_buffinitsize(L, &b, (size_t)n);
        if (!c->talk) return closed(L, c, RECV); /* a finalizer has closed it */
        kt_conversation_read(c->talk, to, (size_t)n);
        luaL_pushresultsize(&b, (size_t)n);
        return 1;
    }
    c->receiver = t;
    return kt_task_wait(L, t,
        &(struct kt_wait){
            .what = RECV,
            .cancel = cancel_recv,
            .finish = recv_or_wait,
            .missing = "no data",
            .op = c,
            .timeout_us = kt_io_left(kt_runtime_io(c->rt), (uint64_t)lua_tointeger(L, 3)),
        });
}

/* kcp:recv { timeout = "30s" } → data | nil, err */
static int kcp_recv(lua_State *L)
{
    struct kt_task *t;
    const struct kt_lua_kcp *c = begin(L, RECV, &t);
    lua_settop(L, 2);
    push_deadline(L, c, kt_opts_timeout(L, 2, RECV, TIMEOUT_US));
    return recv_or_wait(L, t);
}

/* ---- the rest of the handle ---- */

static int kcp_stats(lua_State *L)
{
    const struct kt_lua_kcp *c = kt_handle_self(L, KT_HANDLE_KCP, "stats");
    const uint64_t now = kt_io_now(kt_runtime_io(c->rt));
    struct kt_conversation_facts facts = {0};
    const struct kt_conversation_facts *f = &facts;
    const struct kt_kcp_stats *s = &facts.kcp;
    if (c->talk) kt_conversation_facts(c->talk, &facts);
    lua_createtable(L, 0, 16);
#define KT_STAT_EACH(row, value) kt_config_set_stat(L, row, value)
#include "link/stat_each.h"
#include "script/api/kcp_stats.def"
    return 1;
}

static int kcp_close(lua_State *L)
{
    end(kt_handle_self(L, KT_HANDLE_KCP, "close"), KT_ECLOSED, CLOSED);
    return 0;
}

static int kcp_gc(lua_State *L)
{
    struct kt_lua_kcp *c = lua_touserdata(L, 1);
    if (c->talk) kt_handle_dropped(&c->owned, "kcp");
    end(c, KT_ECLOSED, CLOSED);
    while (kt_list_pop(&c->sending)) continue;
    return 0;
}

static int to_string(lua_State *L)
{
    const struct kt_lua_kcp *c = kt_handle_self(L, KT_HANDLE_KCP, "tostring");
    return kt_handle_text(L, KT_HANDLE_KCP, NULL, c->talk ? NULL : "closed");
}

void kt_lua_kcp(lua_State *L)
{
    static const luaL_Reg methods[] = {{"input", kcp_input}, {"send", kcp_send}, {"recv", kcp_recv},
        {"flush", kcp_flush}, {"stats", kcp_stats}, {"close", kcp_close}, {NULL, NULL}};
    kt_handle_type(L, &(struct kt_handle_type){.name = KT_HANDLE_KCP,
                          .methods = methods,
                          .close = kcp_close,
                          .gc = kcp_gc,
                          .tostring = to_string});
    kt_handle_type(L, &(struct kt_handle_type){.name = ROOM, .gc = room_gc, .hidden = true});
    struct room *room = kt_handle_push(L, ROOM, sizeof *room, 0);
    size_t most = kt_guard_reserve_max(kt_guard_of(L)) / 2;
    if (most > POOL_MAX) most = POOL_MAX;
    if (kt_slab_new(&room->pool, KT_CONVERSATION_BLOCK, most / KT_CONVERSATION_BLOCK + 1))
        luaL_error(L, "not enough memory");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &room_key);
    lua_newtable(L);
    lua_newtable(L);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &handles_key);
    lua_pushcfunction(L, kcp);
    lua_setfield(L, -2, "kcp");
}
