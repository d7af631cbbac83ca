/* Shared by reading from and writing to conns and streams: the events of a pipe, arguments, and errors.
 *
 * Any event may end either wait: if the peer closes both directions, only `readable` is called. The handle always
 * listens to the pipe, so that it knows why a pipe broke even if no call was waiting. */
#include "script/api/lua_pipe_io.h"
#include <stdio.h>
#include "script/core/handle.h"
#include "script/api/api.h"

#define TIMEOUT_US 30000000u

/* ---- arguments ---- */

struct kt_lua_pipe *kt_lua_io_begin(
    lua_State *L, const char *of_conn, const char *of_stream, const char **what, struct kt_task **t)
{
    struct kt_lua_pipe *h = kt_lua_pipe_self(L, of_conn + sizeof "conn:" - 1);
    bool is_conn = kt_handle_test(L, 1, KT_HANDLE_CONN) != NULL;
    *what = is_conn ? of_conn : of_stream;
    *t = kt_task_need(L, *what);
    if (!h->pipe)
        kt_raise(L, "%s: this %s was closed, or taken over by a splice", *what, is_conn ? "conn" : "stream");
    return h;
}

void kt_lua_io_one_at_a_time(lua_State *L, const char *what, const char *does, const struct kt_task *other)
{
    const struct kt_origin *o = kt_task_origin(other);
    kt_raise(L, "%s: another task (spawned at %s:%d) is already %s; only one task may at a time", what,
        o->source, o->line, does);
}

const char *kt_lua_io_string_arg(lua_State *L, int idx, const char *what, size_t *len)
{
    if (lua_type(L, idx) != LUA_TSTRING)
        kt_raise(L, "%s: argument %d: expected a string, got %s", what, idx - 1, kt_type_name(L, idx));
    return lua_tolstring(L, idx, len);
}

uint64_t kt_lua_io_timeout_arg(lua_State *L, int idx, const char *what)
{
    return kt_opts_timeout(L, idx, what, TIMEOUT_US);
}

/* ---- errors ---- */

int kt_lua_io_broken(struct kt_lua_pipe *h)
{
    h->heard = h->code != 0;
    return h->code;
}

const char *kt_lua_io_sentence(const struct kt_lua_pipe *h, int code, char *out, size_t size)
{
    struct kt_err why;
    if (code != KT_ERESET || !h->pipe || !kt_pipe_why(h->pipe, &why) || why.code == KT_ERESET)
        return kt_strerror(code);
    snprintf(out, size, "%s: %s", kt_strerror(code), why.text);
    return out;
}

int kt_lua_io_closed_meanwhile(lua_State *L, const char *what)
{
    return kt_lua_err_return(L, KT_ECLOSED, lua_pushfstring(L, "%s: %s", what, KT_LUA_IO_CLOSED));
}

/* ---- events ---- */

void kt_lua_io_wake(struct kt_task *t, const char *what, int code, const char *text)
{
    char sentence[512];
    if (code) snprintf(sentence, sizeof sentence, "%s: %s", what, text);
    kt_task_wake(t, code, code ? sentence : NULL);
}

void kt_lua_pipe_retry(struct kt_lua_pipe *h)
{
    kt_lua_read_retry(h);
    kt_lua_write_retry(h);
    kt_lua_pipe_answer(h);
}

static void on_event(void *ctx)
{
    kt_lua_pipe_retry(ctx);
}

static void on_closed(void *ctx, int code)
{
    struct kt_lua_pipe *h = ctx;
    h->code = code;
    struct kt_task *t = h->served_by;
    const bool elsewhere = t && !h->reading && !h->writing && kt_task_waits_in(t);
    kt_lua_pipe_retry(h);
    if (elsewhere) kt_task_stop(t);
}

/* core.is_gone(pipe) → whether it broke, or was closed */
int kt_lua_pipe_is_gone(lua_State *L)
{
    const struct kt_lua_pipe *h = kt_lua_pipe_test(L, 1);
    lua_pushboolean(L, !h || !h->pipe || h->code || kt_pipe_gone(h->pipe));
    return 1;
}

/* core.stop_if_gone(pipe, on): whether the calling task, which owns the pipe, is stopped when that breaks while the
 * task waits for something else. */
int kt_lua_pipe_stop_if_gone(lua_State *L)
{
    struct kt_lua_pipe *h = kt_lua_pipe_test(L, 1);
    if (h) h->served_by = lua_toboolean(L, 2) ? kt_task_of(L) : NULL;
    return 0;
}

/* A little even if no call is reading: often that is all there is to read. */
static size_t room(void *ctx)
{
    const size_t wanted = kt_lua_read_wanted(ctx);
    return wanted > KT_CONN_AHEAD ? wanted : KT_CONN_AHEAD;
}

void kt_lua_pipe_attend(struct kt_lua_pipe *h)
{
    static const struct kt_pipe_events events = {
        .readable = on_event, .writable = on_event, .closed = on_closed, .known = on_event, .room = room};
    kt_pipe_listen(h->pipe, &events, h);
}

void kt_lua_pipe_interrupt(struct kt_lua_pipe *h)
{
    kt_lua_read_interrupt(h);
    kt_lua_write_interrupt(h);
    kt_lua_pipe_stop_asking(h);
}
