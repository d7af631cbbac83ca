/* Reading from conns and streams in tasks.
 *
 * Bytes leave the pipe only for the call that returns them. `read` takes what is buffered; `read_exactly` and
 * `read_until` gather bytes in a buffer of at most the requested size, and never read past what they return.
 * So bytes that the script did not ask for stay in the pipe for a splice, and back-pressure works. Peers fill
 * these buffers, so their total size is bounded by the memory limit, but counted apart from the script's
 * memory: a peer must not be able to starve the script.
 *
 * No finalizer runs during a call (garbage is collected between slices, garbage.c), so a pipe that is open when
 * a call begins stays open until it waits.
 *
 * Invariant: h->reading is set exactly while a task waits in such a call. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "script/api/lua_pipe_io.h"
#include "script/core/handle.h"
#include "script/api/api.h"

#define READ_DEFAULT (16u * 1024)
#define READ_MAX (1u << 20) /* bytes per call */
#define PEEK_MAX (16u * 1024)
#define DELIMITER_MAX 256u
#define BUFFER_MIN 512u
#define READING "kt.reading"

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

/* ---- steps, which do what is possible without waiting ---- */

/* Why the pipe has no bytes. */
static int nothing(struct kt_lua_pipe *h)
{
    if (kt_pipe_eof(h->pipe)) return KT_EEOF;
    if (kt_lua_limits_held(h)) return KT_LUA_IO_WAIT;
    if (h->code) return kt_lua_io_broken(h);
    return kt_pipe_gone(h->pipe) ? KT_ERESET : KT_LUA_IO_WAIT; /* it broke before the handle listened */
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
    if (h->code) return kt_lua_io_broken(h);
    return kt_pipe_gone(h->pipe) ? KT_ERESET : KT_LUA_IO_WAIT;
}

static int step_reading(struct kt_lua_reading *r)
{
    struct kt_iov piece;
    if (r->peeks) return step_peeking(r);
    if (r->gathers) return gather(r);
    return kt_lua_limits_peek(r->h, &piece, 1) ? 0 : nothing(r->h);
}

/* The same, for a call that reads. */
static const char *reading_sentence(const struct kt_lua_reading *r, int code, char *out, size_t size)
{
    const size_t max = kt_guard_reserve_max(kt_runtime_guard(r->rt));
    if (code == KT_ECLOSED)
        return KT_LUA_IO_CLOSED;
    else if (code == KT_ELIMIT)
        snprintf(out, size, "no delimiter within %zu bytes", r->want);
    else if (code == KT_ENOMEM && max != SIZE_MAX)
        snprintf(out, size,
            "out of memory: read_exactly and read_until may buffer %.1f MiB, half of kt run --memory",
            (double)max / (1 << 20));
    else
        return kt_lua_io_sentence(r->h, code, out, size);
    return out;
}

/* ---- waiting ---- */

static void stop_reading(struct kt_lua_reading *r)
{
    r->h->reading = NULL;
}

void kt_lua_read_retry(struct kt_lua_pipe *h)
{
    struct kt_lua_reading *r = h->reading;
    char text[400];
    const int rc = r ? step_reading(r) : KT_LUA_IO_WAIT;
    if (rc == KT_LUA_IO_WAIT) return;
    stop_reading(r);
    kt_lua_io_wake(r->task, r->what, rc, reading_sentence(r, rc, text, sizeof text));
}

void kt_lua_read_interrupt(struct kt_lua_pipe *h)
{
    struct kt_lua_reading *r = h->reading;
    if (!r) return;
    stop_reading(r);
    kt_lua_io_wake(r->task, r->what, KT_ECLOSED, KT_LUA_IO_CLOSED);
}

size_t kt_lua_read_wanted(const struct kt_lua_pipe *h)
{
    const struct kt_lua_reading *r = h->reading;
    return r ? r->want - r->len : 0;
}

/* ---- calls ---- */

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
    if (!h->pipe) return kt_lua_io_closed_meanwhile(L, r->what);
    if (h->reading) kt_lua_io_one_at_a_time(L, r->what, "reading from it", h->reading->task);
    h->reading = r;
    int rc = step_reading(r);
    if (rc == KT_LUA_IO_WAIT) {
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
                .timeout_us = kt_io_left(kt_runtime_io(r->rt), r->deadline),
            });
    }
    stop_reading(r);
    if (rc == 0) return finish_read(L, t);
    int extra = r->gathers || r->peeks ? push_came(L, r) : 0;
    char buf[400];
    const char *text = lua_pushfstring(L, "%s: %s", r->what, reading_sentence(r, rc, buf, sizeof buf));
    lua_insert(L, -1 - extra); /* keeps it alive, below the results */
    return kt_lua_err_return_before(L, extra, rc, text);
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
    struct kt_lua_pipe *h = kt_lua_io_begin(L, KT_LUA_IO_NAMES("read"), &what, &t);
    lua_settop(L, 3);
    if (lua_istable(L, 2) && lua_isnil(L, 3)) {
        lua_pushnil(L);
        lua_insert(L, 2);
    }
    size_t n = lua_isnil(L, 2) ? READ_DEFAULT : count_arg(L, 2, what, 1, READ_MAX);
    uint64_t timeout = kt_lua_io_timeout_arg(L, 3, what);
    struct kt_lua_reading *r = new_reading(L, h, t, what, timeout);
    r->want = n;
    return read_some(L, t, r);
}

/* pipe:read_exactly(n [, { timeout = "30s" }]) → data | nil, err, partial data */
int kt_lua_pipe_read_exactly(lua_State *L)
{
    const char *what;
    struct kt_task *t;
    struct kt_lua_pipe *h = kt_lua_io_begin(L, KT_LUA_IO_NAMES("read_exactly"), &what, &t);
    lua_settop(L, 3);
    size_t n = count_arg(L, 2, what, 0, READ_MAX);
    struct kt_lua_reading *r = new_reading(L, h, t, what, kt_lua_io_timeout_arg(L, 3, what));
    r->gathers = true;
    r->want = n;
    return attempt(L, t, r);
}

/* pipe:peek(n [, { timeout = "30s" }]) → data | nil, err, what has arrived */
int kt_lua_pipe_peek(lua_State *L)
{
    const char *what;
    struct kt_task *t;
    struct kt_lua_pipe *h = kt_lua_io_begin(L, KT_LUA_IO_NAMES("peek"), &what, &t);
    lua_settop(L, 3);
    const size_t n = count_arg(L, 2, what, 1, PEEK_MAX);
    const uint64_t timeout = kt_lua_io_timeout_arg(L, 3, what);
    if (h->pipe->ops->single)
        return kt_lua_err_return(
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
    struct kt_lua_pipe *h = kt_lua_io_begin(L, KT_LUA_IO_NAMES("read_until"), &what, &t);
    size_t len;
    lua_settop(L, 4);
    const char *delimiter = kt_lua_io_string_arg(L, 2, what, &len);
    if (len == 0 || len > DELIMITER_MAX)
        return kt_raise(L, "%s: argument 1: expected a delimiter of 1 to %d bytes, got %I", what,
            (int)DELIMITER_MAX, (lua_Integer)len);
    size_t most = count_arg(L, 3, what, (lua_Integer)len, READ_MAX);
    struct kt_lua_reading *r = new_reading(L, h, t, what, kt_lua_io_timeout_arg(L, 4, what));
    r->gathers = true;
    r->want = most;
    r->delimiter = delimiter;
    r->delimiter_len = len;
    return attempt(L, t, r);
}

void kt_lua_pipe_io(lua_State *L)
{
    kt_handle_type(L, &(struct kt_handle_type){.name = READING, .gc = reading_gc, .hidden = true});
}
