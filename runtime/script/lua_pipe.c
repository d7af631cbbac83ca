/* Conns and streams as scripts hold them. Both are a kt_pipe; the bytes stay in C.
 *
 * Each is held through a shaper (link/shaper.h), which counts what passes and keeps the limits that the
 * script sets: also while a splice has the pipe.
 *
 * Invariant: a handle with a pipe is in its owner's list; one without is in none. The peer's address outlives
 * the pipe: a script may still print it after a splice. */
#include <string.h>
#include "link/stream.h"
#include "script/handle.h"
#include "script/script.h"

static void end(struct kt_lua_pipe *h, int code)
{
    kt_list_remove(&h->owned.node);
    if (!h->pipe) return;
    struct kt_pipe *pipe = h->pipe;
    kt_pipe_interrupt(h);
    kt_pipe_detach(h);
    h->owned.owner->rt->pipes--;
    if (code == 0)
        kt_pipe_close(pipe);
    else
        kt_pipe_reset(pipe, code);
}

static void end_owned(struct kt_owned *o, int code)
{
    end(KT_CONTAINER(o, struct kt_lua_pipe, owned), code);
}

struct kt_lua_pipe *kt_pipe_push(lua_State *L, const char *kind)
{
    struct kt_lua_pipe *h = kt_handle_push(L, kind, sizeof *h, 1);
    kt_list_init(&h->owned.node);
    h->owned.end = end_owned;
    return h;
}

static void on_end(void *ctx, const struct kt_shaper_figures *last)
{
    struct kt_lua_pipe *h = ctx;
    h->last = *last;
    h->last.rate_in = h->last.rate_out = 0;
    h->shaper = NULL;
}

void kt_pipe_take(lua_State *L, struct kt_task *t)
{
    struct kt_lua_pipe *h = lua_touserdata(L, -1);
    if (t->conn) {
        lua_pushstring(L, kt_conn_peer(t->conn));
        lua_setiuservalue(L, -2, 1);
    }
    if (kt_shaper_new(t->rt->io, t->pipe, on_end, h, &h->shaper)) kt_raise(L, "%s", kt_strerror(KT_ENOMEM));
    h->pipe = kt_shaper_pipe(h->shaper);
    h->conn = t->conn;
    t->pipe = NULL;
    t->conn = NULL;
    h->owned.owner = t;
    kt_list_push(&t->owned, &h->owned.node);
}

static struct kt_lua_pipe *test(lua_State *L, int idx)
{
    struct kt_lua_pipe *h = kt_handle_test(L, idx, KT_HANDLE_CONN);
    return h ? h : kt_handle_test(L, idx, KT_HANDLE_STREAM);
}

struct kt_lua_pipe *kt_pipe_arg(lua_State *L, int idx, const char *what)
{
    struct kt_lua_pipe *h = test(L, idx);
    if (!h)
        kt_raise(L, "%s: argument %d: wanted a conn or a stream, got %s", what, idx, kt_handle_kind(L, idx));
    else if (!h->pipe)
        kt_raise(L, "%s: argument %d: this %s was closed, or taken over by a splice", what, idx,
            kt_handle_test(L, idx, KT_HANDLE_CONN) ? "conn" : "stream");
    return h;
}

/* Pushes the peer's address, or nil. */
static void push_peer(lua_State *L, int idx)
{
    lua_getiuservalue(L, idx, 1);
}

int kt_pipe_too_many(lua_State *L, const char *what)
{
    return kt_err_return(L, KT_ELIMIT,
        lua_pushfstring(L,
            "%s: the script holds %d conns and streams already, and may open no more; close some", what,
            (int)KT_PIPES_MAX));
}

void kt_pipe_detach(struct kt_lua_pipe *h)
{
    kt_list_remove(&h->owned.node);
    h->pipe = NULL;
    h->conn = NULL;
}

/* ---- methods ---- */

struct kt_lua_pipe *kt_pipe_self(lua_State *L, const char *method)
{
    struct kt_lua_pipe *h = test(L, 1);
    if (!h)
        kt_raise(L, "conn:%s, stream:%s: called on something that is neither; write it with a colon", method,
            method);
    return h;
}

static int pipe_close(lua_State *L)
{
    end(kt_pipe_self(L, "close"), 0);
    return 0;
}

static int pipe_reset(lua_State *L)
{
    struct kt_lua_pipe *h = kt_pipe_self(L, "reset");
    const char *text;
    int code = kt_err_arg(L, 2, kt_handle_test(L, 1, KT_HANDLE_CONN) ? "conn:reset" : "stream:reset", &text);
    if (!h->pipe) return 0;
    struct kt_runtime *rt = h->owned.owner->rt;
    push_peer(L, 1);
    if (text && !kt_origin_embedded(h->owned.owner->origin->source)) { /* the verbs tell of it themselves */
        const char *peer = lua_tostring(L, -1);
        kt_log(rt->log, KT_LOG_INFO, "%s%s%s: reset: %s", h->conn ? "conn" : "stream", peer ? " of " : "",
            peer ? peer : "", text);
    }
    end(h, code);
    return 0;
}

static int pipe_gc(lua_State *L)
{
    struct kt_lua_pipe *h = lua_touserdata(L, 1);
    if (h->pipe) {
        kt_log(h->owned.owner->rt->log, KT_LOG_WARN,
            "a %s was dropped without :close(), in the task spawned at %s:%d; closed it",
            h->conn ? "conn" : "stream", h->owned.owner->origin->source, h->owned.owner->origin->line);
        end(h, 0);
    }
    kt_shaper_unwatch(h->shaper);
    return 0;
}

static int field_peer(lua_State *L)
{
    push_peer(L, 1);
    return 1;
}

static int field_local(lua_State *L)
{
    struct kt_lua_pipe *h = lua_touserdata(L, 1);
    const bool alive = h->shaper && kt_shaper_alive(h->shaper);
    struct kt_stream_facts facts;
    char text[KT_ADDR_TEXT];
    if (alive && h->conn)
        lua_pushstring(L, kt_conn_local(h->conn));
    else if (alive && kt_stream_facts(kt_shaper_pipe(h->shaper), &facts) == 0 &&
             facts.local.sa.sa_family != AF_UNSPEC)
        lua_pushstring(L, kt_addr_text(&facts.local, text));
    else
        lua_pushnil(L);
    return 1;
}

static int pipe_tostring(lua_State *L)
{
    struct kt_lua_pipe *h = kt_pipe_self(L, "tostring");
    const char *kind = kt_handle_test(L, 1, KT_HANDLE_CONN) ? "conn" : "stream";
    push_peer(L, 1);
    const char *peer = lua_tostring(L, -1);
    return kt_handle_text(L, kind, peer, h->pipe ? NULL : "closed");
}

void kt_lua_pipe(lua_State *L)
{
    static const luaL_Reg methods[] = {{"read", kt_lua_pipe_read}, {"read_exactly", kt_lua_pipe_read_exactly},
        {"read_until", kt_lua_pipe_read_until}, {"write", kt_lua_pipe_write},
        {"shutdown", kt_lua_pipe_shutdown}, {"close", pipe_close}, {"reset", pipe_reset},
        {"set", kt_lua_pipe_set}, {"stats", kt_lua_pipe_stats}, {NULL, NULL}};
    static const luaL_Reg fields[] = {{"peer", field_peer}, {"local_addr", field_local}, {NULL, NULL}};
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
    kt_handle_type(L, &type);
    kt_lua_pipe_io(L);
}
