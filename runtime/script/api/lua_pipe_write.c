/* Writing to conns and streams in tasks. The pipe takes what fits; the rest waits in the script's string until there is
 * room.
 *
 * Invariant: h->writing is set exactly while a task waits in such a call. */
#include "script/api/lua_pipe_io.h"
#include "script/core/handle.h"
#include "script/api/api.h"

/* A call that writes: userdata on its task's stack. */
struct kt_lua_writing {
    struct kt_lua_pipe *h;
    struct kt_task *task;
    const char *what;
    const char *data; /* anchored by the stack */
    size_t len, done;
};

static int step_writing(struct kt_lua_writing *w)
{
    struct kt_lua_pipe *h = w->h;
    if (w->len == 0 && !h->code && kt_pipe_room(h->pipe) > 0) return 0; /* core.await_room */
    if (w->len > 0) {
        w->done += kt_lua_limits_write(h, w->data + w->done, w->len - w->done);
        if (w->done == w->len) return 0;
    }
    if (h->code) return kt_lua_io_broken(h);
    return kt_pipe_gone(h->pipe) ? KT_ERESET : KT_LUA_IO_WAIT;
}

static void stop_writing(struct kt_lua_writing *w)
{
    w->h->writing = NULL;
}

void kt_lua_write_retry(struct kt_lua_pipe *h)
{
    struct kt_lua_writing *w = h->writing;
    char text[400];
    const int rc = w ? step_writing(w) : KT_LUA_IO_WAIT;
    if (rc == KT_LUA_IO_WAIT) return;
    stop_writing(w);
    kt_lua_io_wake(w->task, w->what, rc, kt_lua_io_sentence(h, rc, text, sizeof text));
}

void kt_lua_write_interrupt(struct kt_lua_pipe *h)
{
    struct kt_lua_writing *w = h->writing;
    if (!w) return;
    stop_writing(w);
    kt_lua_io_wake(w->task, w->what, KT_ECLOSED, KT_LUA_IO_CLOSED);
}

static void cancel_writing(struct kt_task *t)
{
    stop_writing(kt_task_op(t));
}

static int write_failed(lua_State *L, struct kt_task *t)
{
    (void)t;
    lua_pushinteger(L, (lua_Integer)((struct kt_lua_writing *)lua_touserdata(L, -1))->done);
    return 1;
}

static int finish_write(lua_State *L, struct kt_task *t)
{
    return write_failed(L, t); /* the number of bytes written, which is all of them */
}

/* room: wait until there is room, even if there is nothing to write. */
static int write_in_task(lua_State *L, bool room)
{
    const char *what;
    struct kt_task *t;
    struct kt_lua_pipe *h = kt_lua_io_begin(L, KT_LUA_IO_NAMES("write"), &what, &t);
    lua_settop(L, 3);
    struct kt_lua_writing now = {.h = h, .task = t, .what = what};
    now.data = kt_lua_io_string_arg(L, 2, what, &now.len);
    const uint64_t timeout = kt_lua_io_timeout_arg(L, 3, what);
    if (h->shut) return kt_raise(L, "%s: not allowed after :shutdown()", what);
    if (h->writing) kt_lua_io_one_at_a_time(L, what, "writing to it", h->writing->task);

    if (!h->pipe) return kt_lua_io_closed_meanwhile(L, what);

    int rc = now.len || room ? step_writing(&now) : 0;
    if (rc == 0) {
        lua_pushinteger(L, (lua_Integer)now.len);
        return 1;
    }
    struct kt_lua_writing *w = lua_newuserdatauv(L, sizeof *w, 0);
    *w = now;
    if (!h->pipe) rc = KT_ECLOSED;
    if (rc == KT_LUA_IO_WAIT) {
        h->writing = w;
        return kt_task_wait(L, t,
            &(struct kt_wait){
                .what = what,
                .cancel = cancel_writing,
                .finish = finish_write,
                .failed = write_failed,
                .missing = "not all bytes were accepted",
                .op = w,
                .timeout_us = timeout,
            });
    }
    lua_pushinteger(L, (lua_Integer)w->done);
    char buf[400];
    const char *text = lua_pushfstring(
        L, "%s: %s", what, rc == KT_ECLOSED ? KT_LUA_IO_CLOSED : kt_lua_io_sentence(h, rc, buf, sizeof buf));
    lua_insert(L, -2);
    return kt_lua_err_return_before(L, 1, rc, text);
}

/* pipe:write(data [, { timeout = "30s" }]) → #data | nil, err, bytes written */
int kt_lua_pipe_write(lua_State *L)
{
    return write_in_task(L, false);
}

/* core.await_room(pipe, { timeout = seconds }): waits until the pipe would take bytes → 0 | nil, err, 0 */
int kt_lua_pipe_await_room(lua_State *L)
{
    lua_settop(L, 2);
    lua_pushliteral(L, "");
    lua_insert(L, 2);
    return write_in_task(L, true);
}

/* core.write_now(pipe, data): writes data that fits at once, unless a call waits to write → whether it did */
int kt_lua_pipe_write_now(lua_State *L)
{
    struct kt_lua_pipe *h = kt_lua_pipe_test(L, 1);
    size_t len;
    const char *data = luaL_checklstring(L, 2, &len);
    const bool fits = h && h->pipe && !h->code && !h->shut && !h->writing && kt_pipe_room(h->pipe) >= len;
    lua_pushboolean(L, fits && kt_lua_limits_write(h, data, len) == len);
    return 1;
}

/* pipe:shutdown(): ends sending; reading remains possible. A second call does nothing. */
int kt_lua_pipe_shutdown(lua_State *L)
{
    struct kt_lua_pipe *h = kt_lua_pipe_self(L, "shutdown");
    if (!h->pipe || h->shut) return 0;
    const char *what = h->conn ? "conn:shutdown" : "stream:shutdown";
    if (h->writing) kt_lua_io_one_at_a_time(L, what, "writing to it", h->writing->task);
    h->shut = true;
    kt_pipe_shutdown(h->pipe);
    return 0;
}
