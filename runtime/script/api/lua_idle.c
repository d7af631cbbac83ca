/* Idle conns: those of kt.http.request that wait for another request to the same address.
 * core.idle_put(conn, at, seconds): takes the conn from its task, unless it has something to read or has ended
 * core.idle_take(at) → the conn that was put last, or nil; it belongs to the calling task
 *
 * An idle conn has no handle and belongs to no task. It does not keep the script running, and a drain does not wait for
 * it.
 *
 * Invariant: an idle conn is alive and has nothing to read, as far as is known here. One that gets something to read,
 * which no request asked for, or ends, is closed at that moment. */
#include <stdlib.h>
#include <string.h>
#include "script/api/lua_pipe.h"
#include "script/core/handle.h"
#include "script/api/api.h"

#define POOL "idleconns"
#define IDLE_MAX 64u

struct pool {
    struct kt_io *io;
    struct kt_list idle; /* in the order in which they were put */
    size_t n;
};

struct idle {
    struct kt_list node;
    struct pool *pool;
    struct kt_pipe *pipe;
    struct kt_conn *conn;
    struct kt_timer timer;
    char at[];
};

/* Takes it out of the pool and frees it; the pipe is the caller's. */
static struct kt_pipe *release(struct idle *i)
{
    struct kt_pipe *pipe = i->pipe;
    kt_io_timer_cancel(i->pool->io, &i->timer);
    kt_list_remove(&i->node);
    i->pool->n--;
    kt_pipe_listen(pipe, NULL, NULL);
    free(i);
    return pipe;
}

static void drop(void *ctx)
{
    kt_pipe_close(release(ctx));
}

/* Whether it is alive and has nothing to read. */
static bool quiet(struct kt_pipe *pipe)
{
    struct kt_iov piece;
    return kt_pipe_peek(pipe, &piece, 1) == 0 && !kt_pipe_ended(pipe) && !kt_pipe_gone(pipe);
}

static void on_readable(void *ctx)
{
    const struct idle *i = ctx;
    if (!quiet(i->pipe)) drop(ctx); /* else it is about what was read before */
}

static void on_writable(void *ctx)
{
    (void)ctx;
}

static void on_closed(void *ctx, int code)
{
    (void)code;
    drop(ctx);
}

static struct pool *pool_of(lua_State *L)
{
    return luaL_checkudata(L, lua_upvalueindex(1), POOL);
}

static int idle_put(lua_State *L)
{
    static const struct kt_pipe_events events = {
        .readable = on_readable, .writable = on_writable, .closed = on_closed};
    struct pool *p = pool_of(L);
    struct kt_lua_pipe *h = kt_handle_test(L, 1, KT_HANDLE_CONN);
    size_t len;
    const char *at = luaL_checklstring(L, 2, &len);
    const lua_Number seconds = luaL_checknumber(L, 3);
    const bool fit = h && h->pipe && h->conn && h->code == 0 && quiet(h->pipe);
    struct idle *i = fit ? malloc(sizeof *i + len + 1) : NULL;
    if (!i) return 0; /* the task closes it */
    if (p->n == IDLE_MAX) drop(KT_CONTAINER(p->idle.next, struct idle, node));
    *i = (struct idle){.pool = p, .conn = h->conn};
    memcpy(i->at, at, len + 1);
    i->pipe = kt_lua_pipe_release(h);
    kt_list_push(&p->idle, &i->node);
    p->n++;
    kt_pipe_listen(i->pipe, &events, i);
    kt_timer_init(&i->timer, drop, i);
    kt_io_timer_set(p->io, &i->timer, kt_io_now(p->io) + (uint64_t)(seconds * 1e6));
    return 0;
}

static int idle_take(lua_State *L)
{
    struct pool *p = pool_of(L);
    struct kt_task *t = kt_task_need(L, "kt.http.request");
    const char *at = luaL_checkstring(L, 1);
    for (struct kt_list *n = p->idle.prev; n != &p->idle; n = n->prev) {
        struct idle *i = KT_CONTAINER(n, struct idle, node);
        if (strcmp(i->at, at) != 0) continue;
        kt_lua_pipe_push(L, KT_HANDLE_CONN);
        struct kt_conn *conn = i->conn;
        kt_task_hold_pipe(t, release(i), conn);
        kt_lua_pipe_take(L, t);
        return 1;
    }
    return 0;
}

static int pool_gc(lua_State *L)
{
    struct pool *p = lua_touserdata(L, 1);
    while (!kt_list_empty(&p->idle)) drop(KT_CONTAINER(p->idle.next, struct idle, node));
    return 0;
}

void kt_lua_idle(lua_State *L)
{
    static const luaL_Reg functions[] = {{"idle_put", idle_put}, {"idle_take", idle_take}, {NULL, NULL}};
    kt_handle_type(L, &(struct kt_handle_type){.name = POOL, .gc = pool_gc, .hidden = true});
    struct pool *p = kt_handle_push(L, POOL, sizeof *p, 0);
    p->io = kt_runtime_io(kt_runtime_of(L));
    kt_list_init(&p->idle);
    luaL_setfuncs(L, functions, 1);
}
