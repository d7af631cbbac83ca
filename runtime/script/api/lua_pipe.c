/* The handles of conns and streams. Both wrap a kt_pipe; the bytes stay in C.
 *
 * A splice takes over its pipes: the script may then only read their statistics and set their limits.
 *
 * Invariant: a handle is in its owner's list exactly while it has a pipe. The peer's address and the
 * statistics outlive the pipe, so that a script can print them after a splice. */
#include <stdlib.h>
#include <string.h>
#include "link/link.h"
#include "link/splice.h"
#include "link/stream.h"
#include "script/api/lua_peer.h"
#include "script/api/lua_pipe.h"
#include "script/core/handle.h"
#include "script/core/service.h"
#include "script/api/api.h"

/* Saves the byte counts of the pipe. */
static void keep_figures(struct kt_lua_pipe *h)
{
    h->bytes_in = h->pipe->bytes_in;
    h->bytes_out = h->pipe->bytes_out;
}

static void forget(struct kt_lua_pipe *h, uint64_t now)
{
    kt_list_remove(&h->open);
    h->born = now - h->born;
    h->pipe = NULL;
    h->splice = NULL;
    h->conn = NULL;
    kt_lua_limits_stop(h);
}

struct kt_pipe *kt_lua_pipe_release(struct kt_lua_pipe *h)
{
    struct kt_runtime *rt = kt_task_runtime(h->owned.owner);
    struct kt_pipe *pipe = h->pipe;
    kt_list_remove(&h->owned.node);
    kt_lua_pipe_interrupt(h);
    kt_pipe_listen(pipe, NULL, NULL);
    keep_figures(h);
    forget(h, kt_io_now(kt_runtime_io(rt)));
    kt_runtime_hold_pipes(rt, -1);
    return pipe;
}

static void end(struct kt_lua_pipe *h, int code, const char *text)
{
    kt_list_remove(&h->owned.node);
    if (!h->pipe) return;
    struct kt_pipe *pipe = kt_lua_pipe_release(h);
    if (code == 0)
        kt_pipe_close(pipe);
    else
        kt_pipe_abort(pipe, code, text);
}

void kt_lua_pipe_abort(struct kt_lua_pipe *h, int code, const char *text)
{
    end(h, code, text);
}

static void end_owned(struct kt_owned *o, int code)
{
    end(KT_CONTAINER(o, struct kt_lua_pipe, owned), code, NULL);
}

struct kt_lua_pipe *kt_lua_pipe_push(lua_State *L, const char *kind)
{
    const bool is_stream = strcmp(kind, KT_HANDLE_STREAM) == 0;
    struct kt_lua_pipe *h =
        kt_handle_push(L, kind, sizeof *h, is_stream ? KT_STREAM_USERVALUES : KT_PEER_USERVALUES);
    kt_list_init(&h->owned.node);
    kt_list_init(&h->open);
    h->owned.end = end_owned;
    return h;
}

/* Gives the pipe to the handle on top of the stack, and the handle to the task. */
static void attach(lua_State *L, struct kt_task *t, struct kt_pipe *pipe, struct kt_conn *conn)
{
    struct kt_runtime *rt = kt_task_runtime(t);
    struct kt_lua_pipe *h = lua_touserdata(L, -1);
    lua_getiuservalue(L, -1, KT_PEER_ADDRESS);
    h->peer = lua_tostring(L, -1);
    lua_pop(L, 1);
    kt_list_push(kt_runtime_open_pipes(rt), &h->open);
    h->pipe = pipe;
    h->conn = conn;
    h->born = kt_io_now(kt_runtime_io(rt));
    h->number = kt_runtime_number_pipe(rt);
    kt_task_own(t, &h->owned);
    kt_lua_pipe_attend(h);
}

void kt_lua_pipe_take(lua_State *L, struct kt_task *t)
{
    struct kt_conn *conn = kt_task_conn(t);
    char peer[KT_CONN_NAME];
    if (conn) kt_lua_peer_set(L, kt_conn_peer(conn, peer));
    attach(L, t, kt_task_take_pipe(t), conn);
}

struct kt_lua_pipe *kt_lua_pipe_test(lua_State *L, int idx)
{
    struct kt_lua_pipe *h = kt_handle_test(L, idx, KT_HANDLE_CONN);
    return h ? h : kt_handle_test(L, idx, KT_HANDLE_STREAM);
}

struct kt_lua_pipe *kt_lua_pipe_arg(lua_State *L, int idx, const char *what)
{
    struct kt_lua_pipe *h = kt_lua_pipe_test(L, idx);
    if (!h)
        kt_raise(L, "%s: argument %d: expected a conn or a stream, got %s", what, idx, kt_type_name(L, idx));
    else if (!h->pipe)
        kt_raise(L, "%s: argument %d: this %s was closed, or taken over by a splice", what, idx,
            kt_handle_test(L, idx, KT_HANDLE_CONN) ? "conn" : "stream");
    return h;
}

/* Pushes the peer's address, or nil. */
static void push_peer(lua_State *L, int idx)
{
    lua_getiuservalue(L, idx, KT_PEER_ADDRESS);
}

int kt_lua_pipe_too_many(lua_State *L, const char *what)
{
    return kt_lua_err_return(L, KT_ELIMIT,
        lua_pushfstring(
            L, "%s: limit of %d open conns and streams reached; close some first", what, (int)KT_PIPES_MAX));
}

static void give(
    struct kt_lua_pipe *h, struct kt_lua_pipe *other, struct kt_splice *splice, struct kt_task *t)
{
    kt_list_remove(&h->owned.node);
    keep_figures(h);
    h->pipe = NULL;
    h->splice = splice;
    h->other = other;
    h->splicing = t;
}

void kt_lua_pipe_give(
    struct kt_lua_pipe *a, struct kt_lua_pipe *b, struct kt_splice *splice, struct kt_task *t)
{
    give(a, b, splice, t);
    give(b, a, splice, t);
    b->second = true;
    kt_lua_limits_give(a);
    kt_lua_limits_give(b);
}

void kt_lua_pipe_moved(struct kt_lua_pipe *a, uint64_t a_to_b, uint64_t b_to_a, uint64_t now)
{
    struct kt_lua_pipe *b = a->other;
    a->bytes_in += a_to_b;
    a->bytes_out += b_to_a;
    b->bytes_in += b_to_a;
    b->bytes_out += a_to_b;
    forget(a, now);
    forget(b, now);
}

/* ---- methods ---- */

struct kt_lua_pipe *kt_lua_pipe_self(lua_State *L, const char *method)
{
    struct kt_lua_pipe *h = kt_lua_pipe_test(L, 1);
    if (!h)
        kt_raise(L, "conn:%s, stream:%s: expected self of type conn or stream; call it with a colon", method,
            method);
    return h;
}

static int pipe_close(lua_State *L)
{
    end(kt_lua_pipe_self(L, "close"), 0, NULL);
    return 0;
}

static int pipe_reset(lua_State *L)
{
    struct kt_lua_pipe *h = kt_lua_pipe_self(L, "reset");
    const char *text;
    int code =
        kt_lua_err_arg(L, 2, kt_handle_test(L, 1, KT_HANDLE_CONN) ? "conn:reset" : "stream:reset", &text);
    if (!h->pipe) return 0;
    struct kt_runtime *rt = kt_task_runtime(h->owned.owner);
    push_peer(L, 1);
    if (text &&
        !kt_origin_embedded(kt_task_origin(h->owned.owner)->source)) { /* the verbs log it themselves */
        const char *peer = lua_tostring(L, -1);
        kt_log_with(kt_runtime_log(rt), KT_LOG_INFO,
            (h->conn ? (struct kt_log_fields){.conn = peer} : kt_log_peer(peer)), "%s%s%s: reset: %s",
            h->conn ? "conn" : "stream", peer ? " of " : "", peer ? peer : "", text);
    }
    end(h, code, text);
    return 0;
}

static int pipe_gc(lua_State *L)
{
    struct kt_lua_pipe *h = lua_touserdata(L, 1);
    kt_list_remove(&h->open);
    if (h->pipe) {
        kt_handle_dropped(&h->owned, h->conn ? "conn" : "stream");
        end(h, 0, NULL);
    }
    kt_lua_limits_free(h);
    free(h->look);
    h->look = NULL;
    return 0;
}

static int field_link(lua_State *L)
{
    lua_getiuservalue(L, 1, KT_STREAM_LINK);
    return 1;
}

static int field_local(lua_State *L)
{
    struct kt_lua_pipe *h = lua_touserdata(L, 1);
    const bool alive = kt_lua_pipe_there(h);
    struct kt_stream_facts facts;
    char text[KT_ADDR_TEXT];
    if (alive && h->conn)
        lua_pushstring(L, kt_conn_local(h->conn));
    else if (alive && kt_stream_facts(kt_lua_pipe_anywhere(h), &facts) == 0 &&
             facts.local.sa.sa_family != AF_UNSPEC)
        lua_pushstring(L, kt_addr_text(&facts.local, text));
    else
        lua_pushnil(L);
    return 1;
}

static int pipe_tostring(lua_State *L)
{
    struct kt_lua_pipe *h = kt_lua_pipe_self(L, "tostring");
    const char *kind = kt_handle_test(L, 1, KT_HANDLE_CONN) ? "conn" : "stream";
    push_peer(L, 1);
    const char *peer = lua_tostring(L, -1);
    return kt_handle_text(L, kind, peer, h->pipe ? NULL : "closed");
}

void kt_lua_pipe(lua_State *L)
{
    static const luaL_Reg methods[] = {{"read", kt_lua_pipe_read}, {"read_exactly", kt_lua_pipe_read_exactly},
        {"read_until", kt_lua_pipe_read_until}, {"peek", kt_lua_pipe_peek}, {"write", kt_lua_pipe_write},
        {"shutdown", kt_lua_pipe_shutdown}, {"close", pipe_close}, {"reset", pipe_reset},
        {"set", kt_lua_pipe_set}, {"stats", kt_lua_pipe_stats}, {NULL, NULL}};
    static const luaL_Reg fields[] = {{"peer", kt_lua_peer_address}, {"local_addr", field_local},
        {"original", kt_lua_peer_original}, {NULL, NULL}};
    static const luaL_Reg stream_fields[] = {{"peer", kt_lua_peer_address}, {"local_addr", field_local},
        {"identity", kt_lua_peer_identity}, {"target", kt_lua_peer_target}, {"client", kt_lua_peer_client},
        {"name", kt_lua_peer_name}, {"link", field_link}, {NULL, NULL}};
    struct kt_handle_type type = {
        .name = KT_HANDLE_CONN,
        .methods = methods,
        .fields = fields,
        .close = pipe_close,
        .gc = pipe_gc,
        .tostring = pipe_tostring,
    };
    kt_handle_type(L, &type);
    type.name = KT_HANDLE_STREAM;
    type.fields = stream_fields;
    kt_handle_type(L, &type);
    kt_lua_pipe_io(L);
    kt_lua_pipe_pool(L);
}

/* ---- a task per conn or stream ---- */

/* A pipe that arrived: a conn, or a stream of a peer. */
struct arrival {
    struct kt_pipe *pipe;
    struct kt_conn *conn; /* NULL: a stream */
    const struct kt_peer_info *peer;
    struct kt_task *task; /* for it */
};

static struct kt_log_fields about(const struct arrival *a)
{
    return a->conn ? (struct kt_log_fields){.conn = a->peer->address}
                   : (struct kt_log_fields){.conn = a->peer->client, .peer = a->peer->address};
}

/* make_handle(arrival) → a handle, which has the pipe */
static int make_handle(lua_State *L)
{
    const struct arrival *a = lua_touserdata(L, 1);
    struct kt_lua_pipe *h = kt_lua_pipe_push(L, a->conn ? KT_HANDLE_CONN : KT_HANDLE_STREAM);
    h->accepted = !a->conn;
    kt_lua_peer_keep(L, a->peer);
    attach(L, a->task, a->pipe, a->conn);
    return 1;
}

/* Returns a task with the handler and the handle on its stack, or NULL, and the pipe is still the caller's. */
static struct kt_task *new_served(const struct kt_service *s, struct arrival *a)
{
    struct kt_runtime *rt = kt_service_runtime(s);
    lua_State *L = kt_runtime_state(rt);
    struct kt_task *t = a->task = kt_task_new(rt, L, kt_service_served_at(s));
    if (!t) return NULL;
    lua_pushcfunction(L, make_handle);
    lua_pushlightuserdata(L, a);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
        lua_pop(L, 1);
        kt_task_abandon(t);
        return NULL;
    }
    kt_service_push_handler(kt_task_thread(t), s);
    lua_xmove(L, kt_task_thread(t), 1);
    const struct kt_log_fields fields = about(a);
    kt_task_set_about(t, &fields);
    return t;
}

void kt_lua_pipe_serve(
    const struct kt_service *s, struct kt_pipe *pipe, struct kt_conn *conn, const struct kt_peer_info *peer)
{
    struct kt_runtime *rt = kt_service_runtime(s);
    const bool takes = kt_runtime_attends(rt);
    char name[KT_CONN_NAME];
    struct kt_peer_info client = {0};
    if (conn)
        client =
            (struct kt_peer_info){.address = kt_conn_peer(conn, name), .original = kt_conn_original(conn)};
    struct arrival arrival = {.pipe = pipe, .conn = conn, .peer = conn ? &client : peer};
    struct kt_task *t = takes ? new_served(s, &arrival) : NULL;
    if (!t) {
        kt_log_with(kt_runtime_log(rt), takes ? KT_LOG_WARN : KT_LOG_DEBUG, about(&arrival),
            "%s: refused: %s", arrival.peer->address,
            takes ? "too many tasks, or out of memory" : "shutting down");
        kt_pipe_reset(pipe, takes ? KT_ELIMIT : KT_ECLOSED);
        return;
    }
    kt_runtime_hold_pipes(rt, 1);
    kt_task_start(t, 1);
}
