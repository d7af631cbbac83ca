/* Reading from and writing to conns and streams in tasks.
 *
 * Bytes leave the pipe only for the call that returns them. `read` takes what is buffered; `read_exactly` and
 * `read_until` gather bytes in a buffer of at most the requested size, and never read past what they return.
 * So bytes that the script did not ask for stay in the pipe for a splice, and back-pressure works. Peers fill
 * these buffers, so their total size is bounded by the memory limit, but counted apart from the script's
 * memory: a peer must not be able to starve the script.
 *
 * No finalizer runs during a call (garbage is collected between slices, state.c), so a pipe that is open when
 * a call begins stays open until it waits.
 *
 * Invariant: h->reading and h->writing are set exactly while a task waits in such a call; a pipe without
 * either can be spliced. The handle always listens to the pipe, so that it knows why a pipe broke even if no
 * call was waiting. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "script/api/lua_pipe.h"
#include "script/core/handle.h"
#include "script/api/api.h"

#define TIMEOUT_US 30000000u
#define READ_DEFAULT (16u * 1024)
#define READ_MAX (1u << 20) /* bytes per call */
#define PEEK_MAX (16u * 1024)
#define DELIMITER_MAX 256u
#define BUFFER_MIN 512u
#define READING "kt.reading"
#define CLOSED "closed during the call"

#define WAIT 1 /* result of the steps below: not done yet; 0 is done, negative is a KT_E… */

/* A call that reads: userdata on its task's stack. */
struct kt_lua_reading {
    struct kt_runtime *rt;
    struct kt_lua_pipe *h;
    struct kt_task *task;
    const char *what;
    uint64_t deadline;
    size_t want;           /* bytes to read; for read and read_until the maximum */
    const char *delimiter; /* read_until; anchored by the stack */
    size_t delimiter_len;
    bool gathers; /* into buf; otherwise bytes stay in the pipe until the task runs */
    bool peeks;   /* ... and after that */
    char *buf;
    size_t len, cap;
};

struct kt_lua_writing {
    struct kt_lua_pipe *h;
    struct kt_task *task;
    const char *what;
    const char *data; /* anchored by the stack */
    size_t len, done;
};

/* ---- arguments ---- */

#define NAMES(method) "conn:" method, "stream:" method

/* The handle and the task of a call that waits; raises if either is missing or the pipe is closed. */
static struct kt_lua_pipe *begin(
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

static void one_at_a_time(lua_State *L, const char *what, const char *does, const struct kt_task *other)
{
    const struct kt_origin *o = kt_task_origin(other);
    kt_raise(L, "%s: another task (spawned at %s:%d) is already %s; only one task may at a time", what,
        o->source, o->line, does);
}

static size_t count_arg(lua_State *L, int idx, const char *what, lua_Integer min, lua_Integer max)
{
    int whole = 0;
    const bool number = lua_type(L, idx) == LUA_TNUMBER;
    lua_Integer n = number ? lua_tointegerx(L, idx, &whole) : 0;
    if (!whole || n < min || n > max)
        kt_raise(L, "%s: argument %d: expected a number of bytes from %I to %I, got %s", what, idx - 1, min,
            max,
            number && isnan(lua_tonumber(L, idx)) ? "NaN"
            : number                              ? lua_tostring(L, idx)
                                                  : kt_type_name(L, idx));
    return (size_t)n;
}

static const char *string_arg(lua_State *L, int idx, const char *what, size_t *len)
{
    if (lua_type(L, idx) != LUA_TSTRING)
        kt_raise(L, "%s: argument %d: expected a string, got %s", what, idx - 1, kt_type_name(L, idx));
    return lua_tolstring(L, idx, len);
}

static uint64_t timeout_arg(lua_State *L, int idx, const char *what)
{
    uint64_t timeout = TIMEOUT_US;
    const struct kt_opt opts[] = {{"timeout", KT_OPT_DURATION, &timeout}};
    kt_opts_read(L, idx, what, opts, 1);
    return timeout;
}

/* ---- steps, which do what is possible without waiting ---- */

/* The error that broke the pipe, or 0. Notes that the script will see it. */
static int broken(struct kt_lua_pipe *h)
{
    h->heard = h->code != 0;
    return h->code;
}

/* Why the pipe has no bytes. */
static int nothing(struct kt_lua_pipe *h)
{
    if (kt_pipe_eof(h->pipe)) return KT_EEOF;
    if (kt_lua_limits_held(h)) return WAIT;
    if (h->code) return broken(h);
    return kt_pipe_gone(h->pipe) ? KT_ERESET : WAIT; /* it broke before the handle listened */
}

static bool make_room(struct kt_lua_reading *r, size_t n)
{
    struct kt_guard *g = kt_runtime_guard(r->rt);
    if (n <= r->cap - r->len) return true;
    size_t cap = r->cap ? r->cap : BUFFER_MIN;
    while (cap - r->len < n) cap *= 2;
    cap = kt_min_size(cap, r->want);
    if (!kt_guard_reserve(g, cap - r->cap)) return false;
    char *buf = realloc(r->buf, cap);
    if (!buf) {
        kt_guard_release(g, cap - r->cap);
        return false;
    }
    r->buf = buf;
    r->cap = cap;
    return true;
}

static void give_back(struct kt_lua_reading *r)
{
    free(r->buf);
    kt_guard_release(kt_runtime_guard(r->rt), r->cap);
    r->buf = NULL;
    r->cap = 0;
}

/* Looks for the delimiter after n bytes were appended to buf. Returns how many of them belong to the result,
 * up to the end of the delimiter, or 0 if it was not found. */
static size_t find_delimiter(const struct kt_lua_reading *r, size_t n)
{
    size_t from = r->len - kt_min_size(r->len, r->delimiter_len - 1); /* it may start earlier */
    const char *found = memmem(r->buf + from, r->len + n - from, r->delimiter, r->delimiter_len);
    return found ? (size_t)(found - r->buf) + r->delimiter_len - r->len : 0;
}

static int gather(struct kt_lua_reading *r)
{
    while (r->len < r->want) {
        struct kt_iov piece;
        if (kt_lua_limits_peek(r->h, &piece, 1) == 0) return nothing(r->h);
        size_t n = kt_min_size(piece.len, r->want - r->len);
        if (!make_room(r, n)) return KT_ENOMEM;
        memcpy(r->buf + r->len, piece.data, n);
        size_t end = r->delimiter ? find_delimiter(r, n) : 0;
        if (end) n = end;
        r->len += n;
        kt_lua_limits_consume(r->h, n);
        if (end) return 0;
    }
    return r->delimiter ? KT_ELIMIT : 0;
}

/* Copies at most `most` bytes that have arrived to `to`, unless it is NULL, and leaves them in the pipe; returns their
 * number. Rates do not apply: nothing moves. */
static size_t look(struct kt_lua_pipe *h, char *to, size_t most)
{
    struct kt_iov pieces[16];
    const size_t count = kt_pipe_peek(h->pipe, pieces, sizeof pieces / sizeof pieces[0]);
    size_t n = 0;
    for (size_t i = 0; i < count && n < most; i++) {
        const size_t len = kt_min_size(pieces[i].len, most - n);
        if (to) memcpy(to + n, pieces[i].data, len);
        n += len;
    }
    return n;
}

static int step_peeking(struct kt_lua_reading *r)
{
    struct kt_lua_pipe *h = r->h;
    if (look(h, NULL, r->want) == r->want) return 0;
    if (kt_pipe_ended(h->pipe)) return KT_EEOF;
    if (h->code) return broken(h);
    return kt_pipe_gone(h->pipe) ? KT_ERESET : WAIT;
}

static int step_reading(struct kt_lua_reading *r)
{
    struct kt_iov piece;
    if (r->peeks) return step_peeking(r);
    if (r->gathers) return gather(r);
    return kt_lua_limits_peek(r->h, &piece, 1) ? 0 : nothing(r->h);
}

static int step_writing(struct kt_lua_writing *w)
{
    struct kt_lua_pipe *h = w->h;
    w->done += kt_lua_limits_write(h, w->data + w->done, w->len - w->done);
    if (w->done == w->len) return 0;
    if (h->code) return broken(h);
    return kt_pipe_gone(h->pipe) ? KT_ERESET : WAIT;
}

/* The text for a pipe's error code, with the reason given by the peer, if any. */
static const char *pipe_sentence(const struct kt_lua_pipe *h, int code, char *out, size_t size)
{
    struct kt_err why;
    if (code != KT_ERESET || !h->pipe || !kt_pipe_why(h->pipe, &why) || why.code == KT_ERESET)
        return kt_strerror(code);
    snprintf(out, size, "%s: %s", kt_strerror(code), why.text);
    return out;
}

/* The same, for a call that reads. */
static const char *reading_sentence(const struct kt_lua_reading *r, int code, char *out, size_t size)
{
    const size_t max = kt_guard_reserve_max(kt_runtime_guard(r->rt));
    if (code == KT_ECLOSED)
        return CLOSED;
    else if (code == KT_ELIMIT)
        snprintf(out, size, "no delimiter within %zu bytes", r->want);
    else if (code == KT_ENOMEM && max != SIZE_MAX)
        snprintf(out, size,
            "out of memory: read_exactly and read_until may buffer %.1f MiB, half of kt run --memory",
            (double)max / (1 << 20));
    else
        return pipe_sentence(r->h, code, out, size);
    return out;
}

/* ---- waiting ---- */

static void stop_reading(struct kt_lua_reading *r)
{
    r->h->reading = NULL;
}

static void stop_writing(struct kt_lua_writing *w)
{
    w->h->writing = NULL;
}

static void wake(struct kt_task *t, const char *what, int code, const char *text)
{
    char sentence[512];
    if (code) snprintf(sentence, sizeof sentence, "%s: %s", what, text);
    kt_task_wake(t, code, code ? sentence : NULL);
}

/* Any event may end either wait: if the peer closes both directions, only `readable` is called. */
void kt_lua_pipe_retry(struct kt_lua_pipe *h)
{
    struct kt_lua_reading *r = h->reading;
    struct kt_lua_writing *w = h->writing;
    char text[400];
    int rc;
    if (r && (rc = step_reading(r)) != WAIT) {
        stop_reading(r);
        wake(r->task, r->what, rc, reading_sentence(r, rc, text, sizeof text));
    }
    if (w && (rc = step_writing(w)) != WAIT) {
        stop_writing(w);
        wake(w->task, w->what, rc, pipe_sentence(h, rc, text, sizeof text));
    }
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
    kt_lua_pipe_retry(h);
}

/* A little even if no call is reading: often that is all there is to read. */
static size_t room(void *ctx)
{
    const struct kt_lua_pipe *h = ctx;
    const struct kt_lua_reading *r = h->reading;
    const size_t wanted = r ? r->want - r->len : 0;
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
    struct kt_lua_reading *r = h->reading;
    struct kt_lua_writing *w = h->writing;
    if (r) {
        stop_reading(r);
        wake(r->task, r->what, KT_ECLOSED, CLOSED);
    }
    if (w) {
        stop_writing(w);
        wake(w->task, w->what, KT_ECLOSED, CLOSED);
    }
    kt_lua_pipe_stop_asking(h);
}

/* ---- reading ---- */

static int reading_gc(lua_State *L)
{
    give_back(lua_touserdata(L, 1));
    return 0;
}

static void cancel_reading(struct kt_task *t)
{
    stop_reading(kt_task_op(t));
}

/* Pushes the gathered bytes. */
static int push_gathered(lua_State *L, struct kt_lua_reading *r)
{
    lua_pushlstring(L, r->buf ? r->buf : "", r->len);
    give_back(r);
    return 1;
}

/* Copies at most `most` buffered bytes to `to`, unless it is NULL; returns their number. */
static size_t copy_from(struct kt_lua_pipe *h, char *to, size_t most)
{
    struct kt_iov pieces[16];
    size_t count = kt_lua_limits_peek(h, pieces, sizeof pieces / sizeof pieces[0]), n = 0;
    for (size_t i = 0; i < count; i++) {
        size_t len = kt_min_size(pieces[i].len, most - n);
        if (to) memcpy(to + n, pieces[i].data, len);
        n += len;
    }
    return n;
}

/* Takes at most `most` buffered bytes and pushes them; false if there are none. */
static bool take(lua_State *L, struct kt_lua_pipe *h, size_t most)
{
    size_t n = copy_from(h, NULL, most);
    if (n == 0) return false;
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, n);
    if (!h->pipe) {
        luaL_pushresultsize(&b, 0);
        lua_pop(L, 1);
        return false;
    }
    n = copy_from(h, to, n);
    kt_lua_limits_consume(h, n);
    luaL_pushresultsize(&b, n);
    return true;
}

static int closed_meanwhile(lua_State *L, const char *what)
{
    return kt_err_return(L, KT_ECLOSED, lua_pushfstring(L, "%s: %s", what, CLOSED));
}

/* Pushes what a call that peeks sees. */
static int push_seen(lua_State *L, const struct kt_lua_reading *r)
{
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, r->want);
    luaL_pushresultsize(&b, r->h->pipe ? look(r->h, to, r->want) : 0);
    return 1;
}

/* The bytes that a failed call got. */
static int push_came(lua_State *L, struct kt_lua_reading *r)
{
    return r->peeks ? push_seen(L, r) : push_gathered(L, r);
}

static int read_failed(lua_State *L, struct kt_task *t)
{
    (void)t;
    return push_came(L, lua_touserdata(L, -1));
}

static int finish_read(lua_State *L, struct kt_task *t);

/* The reading is on top of the stack. */
static int attempt(lua_State *L, struct kt_task *t, struct kt_lua_reading *r)
{
    struct kt_lua_pipe *h = r->h;
    if (!h->pipe) return closed_meanwhile(L, r->what);
    if (h->reading) one_at_a_time(L, r->what, "reading from it", h->reading->task);
    h->reading = r;
    int rc = step_reading(r);
    if (rc == WAIT) {
        const uint64_t now = kt_io_now(kt_runtime_io(r->rt));
        return kt_task_wait(L, t,
            &(struct kt_wait){
                .what = r->what,
                .cancel = cancel_reading,
                .finish = finish_read,
                .failed = r->gathers || r->peeks ? read_failed : NULL,
                .missing = r->delimiter             ? "no delimiter"
                           : r->gathers || r->peeks ? "not all bytes arrived"
                                                    : "no data",
                .op = r,
                .timeout_us = r->deadline > now ? r->deadline - now : 0,
            });
    }
    stop_reading(r);
    if (rc == 0) return finish_read(L, t);
    int extra = r->gathers || r->peeks ? push_came(L, r) : 0;
    char buf[400];
    const char *text = lua_pushfstring(L, "%s: %s", r->what, reading_sentence(r, rc, buf, sizeof buf));
    lua_insert(L, -1 - extra); /* keeps it alive, below the results */
    return kt_err_return_before(L, extra, rc, text);
}

static int read_some(lua_State *L, struct kt_task *t, struct kt_lua_reading *r)
{
    struct kt_lua_pipe *h = r->h;
    if (h->pipe && !h->reading && take(L, h, r->want)) return 1;
    return attempt(L, t, r);
}

static int finish_read(lua_State *L, struct kt_task *t)
{
    struct kt_lua_reading *r = lua_touserdata(L, -1);
    /* Another task that ran first may have taken the bytes; then wait again. */
    if (r->peeks && r->h->pipe && look(r->h, NULL, r->want) == r->want) return push_seen(L, r);
    if (r->peeks) return attempt(L, t, r);
    return r->gathers ? push_gathered(L, r) : read_some(L, t, r);
}

static struct kt_lua_reading *new_reading(
    lua_State *L, struct kt_lua_pipe *h, struct kt_task *t, const char *what, uint64_t timeout)
{
    struct kt_lua_reading *r = kt_handle_push(L, READING, sizeof *r, 0);
    r->rt = kt_task_runtime(t);
    r->h = h;
    r->task = t;
    r->what = what;
    r->deadline = kt_io_now(kt_runtime_io(r->rt)) + timeout;
    return r;
}

/* pipe:read([n] [, { timeout = "30s" }]) → data | nil, err */
int kt_lua_pipe_read(lua_State *L)
{
    const char *what;
    struct kt_task *t;
    struct kt_lua_pipe *h = begin(L, NAMES("read"), &what, &t);
    lua_settop(L, 3);
    if (lua_istable(L, 2) && lua_isnil(L, 3)) {
        lua_pushnil(L);
        lua_insert(L, 2);
    }
    size_t n = lua_isnil(L, 2) ? READ_DEFAULT : count_arg(L, 2, what, 1, READ_MAX);
    uint64_t timeout = timeout_arg(L, 3, what);
    struct kt_lua_reading *r = new_reading(L, h, t, what, timeout);
    r->want = n;
    return read_some(L, t, r);
}

/* pipe:read_exactly(n [, { timeout = "30s" }]) → data | nil, err, partial data */
int kt_lua_pipe_read_exactly(lua_State *L)
{
    const char *what;
    struct kt_task *t;
    struct kt_lua_pipe *h = begin(L, NAMES("read_exactly"), &what, &t);
    lua_settop(L, 3);
    size_t n = count_arg(L, 2, what, 0, READ_MAX);
    struct kt_lua_reading *r = new_reading(L, h, t, what, timeout_arg(L, 3, what));
    r->gathers = true;
    r->want = n;
    return attempt(L, t, r);
}

/* pipe:peek(n [, { timeout = "30s" }]) → data | nil, err, what has arrived */
int kt_lua_pipe_peek(lua_State *L)
{
    const char *what;
    struct kt_task *t;
    struct kt_lua_pipe *h = begin(L, NAMES("peek"), &what, &t);
    lua_settop(L, 3);
    const size_t n = count_arg(L, 2, what, 1, PEEK_MAX);
    const uint64_t timeout = timeout_arg(L, 3, what);
    if (h->pipe->ops->single)
        return kt_err_return(
            L, KT_ENOTSUP, lua_pushfstring(L, "%s: not on a link with tuncrypt; read instead", what));
    struct kt_lua_reading *r = new_reading(L, h, t, what, timeout);
    r->peeks = true;
    r->want = n;
    return attempt(L, t, r);
}

/* pipe:read_until(delimiter, max [, { timeout = "30s" }]) → data with the delimiter | nil, err, partial
 * data */
int kt_lua_pipe_read_until(lua_State *L)
{
    const char *what;
    struct kt_task *t;
    struct kt_lua_pipe *h = begin(L, NAMES("read_until"), &what, &t);
    size_t len;
    lua_settop(L, 4);
    const char *delimiter = string_arg(L, 2, what, &len);
    if (len == 0 || len > DELIMITER_MAX)
        return kt_raise(L, "%s: argument 1: expected a delimiter of 1 to %d bytes, got %I", what,
            (int)DELIMITER_MAX, (lua_Integer)len);
    size_t most = count_arg(L, 3, what, (lua_Integer)len, READ_MAX);
    struct kt_lua_reading *r = new_reading(L, h, t, what, timeout_arg(L, 4, what));
    r->gathers = true;
    r->want = most;
    r->delimiter = delimiter;
    r->delimiter_len = len;
    return attempt(L, t, r);
}

/* ---- writing ---- */

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

/* pipe:write(data [, { timeout = "30s" }]) → #data | nil, err, bytes written */
int kt_lua_pipe_write(lua_State *L)
{
    const char *what;
    struct kt_task *t;
    struct kt_lua_pipe *h = begin(L, NAMES("write"), &what, &t);
    lua_settop(L, 3);
    struct kt_lua_writing now = {.h = h, .task = t, .what = what};
    now.data = string_arg(L, 2, what, &now.len);
    uint64_t timeout = timeout_arg(L, 3, what);
    if (h->shut) return kt_raise(L, "%s: not allowed after :shutdown()", what);
    if (h->writing) one_at_a_time(L, what, "writing to it", h->writing->task);

    if (!h->pipe) return closed_meanwhile(L, what);

    int rc = now.len ? step_writing(&now) : 0;
    if (rc == 0) {
        lua_pushinteger(L, (lua_Integer)now.len);
        return 1;
    }
    struct kt_lua_writing *w = lua_newuserdatauv(L, sizeof *w, 0);
    *w = now;
    if (!h->pipe) rc = KT_ECLOSED;
    if (rc == WAIT) {
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
    const char *text =
        lua_pushfstring(L, "%s: %s", what, rc == KT_ECLOSED ? CLOSED : pipe_sentence(h, rc, buf, sizeof buf));
    lua_insert(L, -2);
    return kt_err_return_before(L, 1, rc, text);
}

/* pipe:shutdown(): ends sending; reading remains possible. A second call does nothing. */
int kt_lua_pipe_shutdown(lua_State *L)
{
    struct kt_lua_pipe *h = kt_lua_pipe_self(L, "shutdown");
    if (!h->pipe || h->shut) return 0;
    const char *what = h->conn ? "conn:shutdown" : "stream:shutdown";
    if (h->writing) one_at_a_time(L, what, "writing to it", h->writing->task);
    h->shut = true;
    kt_pipe_shutdown(h->pipe);
    return 0;
}

void kt_lua_pipe_io(lua_State *L)
{
    kt_handle_type(L, &(struct kt_handle_type){.name = READING, .gc = reading_gc, .hidden = true});
}
