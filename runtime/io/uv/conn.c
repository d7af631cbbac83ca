/* TCP and unix-socket conns as pipes.
 *
 * Reading runs ahead of the consumer by at most one block of KT_CONN_READ bytes. The conn holds the block only
 * while it contains unread bytes; when it is full, reading stops until it has been consumed. Writing goes
 * straight to the system; what the system does not accept waits in one block of KT_CONN_WRITE bytes.
 *
 * Closing: close() must deliver what was written. If a socket is closed with bytes unread, the kernel sends RST,
 * which can destroy data still on its way to the peer. So a closed conn first sends what is pending, then FIN,
 * and meanwhile discards what it reads until the peer has finished or a time limit passes. Only then does it
 * close the handle.
 *
 * Breaking: libuv reports it while it reads or writes, hangup.c in every state. What the peer sent before can
 * still be read, until the consumer takes nothing for REST_US. A unix socket whose peer has closed looks like one
 * whose peer has finished sending. If this end does not write, which would fail, the conn breaks after
 * UNIX_GONE_US, about when keepalive would detect that a TCP peer is gone.
 *
 * Invariant: `pipe.events` is called only from libuv's callbacks, timers and turn hooks, and never after close.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include "base/bytes.h"
#include "io/read_block.h"
#include "io/uv/internal.h"

_Static_assert(KT_CONN_READ == KT_CONN_WRITE, "both directions use blocks of the same slab");

#define READ_ROOM (KT_CONN_READ / 16) /* with less room than this, do not read */
#define SALVAGE_US 1000000u           /* after a failed write, to read what the peer has sent */
#define REST_US 10000000u             /* the same after the socket broke while its consumer paused */
#define UNIX_GONE_US 60000000u
#define DRAIN_US 30000000u /* after close, to send what was written */
#define LINGER_US 2000000u /* then to let the peer finish */
#define HURRY_US 1000000u  /* both, when the io is freed */
#define ANSWER_LOOKS 6u    /* within the user timeout */

struct uv_conn {
    struct kt_conn conn; /* first: a kt_pipe is cast to this */
    struct uv_io *u;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } h;
    bool is_unix;

    struct kt_read_block in;
    bool reading; /* libuv is reading */
    bool eof;     /* the peer has finished */

    uint8_t *out; /* block, or NULL; passed to libuv up to out_sub, pending up to out_len */
    size_t out_sub, out_len;
    bool writing;   /* write_req is in use */
    bool starved;   /* a write came up short */
    bool shut;      /* the user has shut down its side */
    bool shutting;  /* shutdown_req is in use */
    bool shut_done; /* FIN was sent, or need not be */

    int write_code;         /* why writing has failed, or 0 */
    int code;               /* why the pipe is broken, or 0 */
    int said;               /* the socket's error as a libuv code, or 0; the system reports it only once */
    bool hung;              /* a hang-up was reported but not handled yet */
    bool told;              /* events->closed was called */
    bool closed;            /* by the user */
    struct kt_turn turn;    /* reports `code` to the user */
    struct kt_timer timer;  /* salvage, or the time limit for closing */
    struct kt_list closing; /* in u->conn_closing */
    struct kt_uv_answer answer;
    struct kt_timer answer_timer; /* armed while bytes may be out */

    uv_connect_t connect_req;
    uv_write_t write_req;
    uv_shutdown_t shutdown_req;
    void (*dialled)(void *ctx, int status);
    void *dialled_ctx;
};

static struct uv_conn *of_pipe(const struct kt_pipe *p)
{
    return (struct uv_conn *)(void *)(uintptr_t)p;
}

struct kt_conn *kt_uv_conn(struct uv_conn *c)
{
    return &c->conn;
}

/* Uses the clock, not the turn's time: the turn may already have taken long. */
static void arm(struct uv_conn *c, uint64_t after_us)
{
    kt_io_timer_set(&c->u->io, &c->timer, kt_io_clock(&c->u->io) + after_us);
}

/* ---- the end ---- */

static void put_in(struct uv_conn *c)
{
    if (c->in.data) kt_uv_block_put(c->u, c->in.data);
    c->in = (struct kt_read_block){0};
}

static void put_out(struct uv_conn *c)
{
    if (c->out) kt_uv_block_put(c->u, c->out);
    c->out = NULL;
    c->out_sub = c->out_len = 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct uv_conn *c = handle->data;
    struct uv_io *u = c->u;
    put_in(c);
    put_out(c); /* libuv is done with the request */
    kt_list_remove(&c->closing);
    free(c);
    kt_uv_close_done(u);
}

static void finish(struct uv_conn *c)
{
    kt_io_timer_cancel(&c->u->io, &c->timer);
    kt_io_timer_cancel(&c->u->io, &c->answer_timer);
    if (!uv_is_closing(&c->h.handle)) uv_close(&c->h.handle, on_handle_closed);
}

/* Detaches the user from the conn. */
static void detach(struct uv_conn *c)
{
    assert(!c->closed);
    c->closed = true;
    c->conn.pipe.events = NULL;
    kt_io_turn_cancel(&c->turn);
    kt_uv_close_begun(c->u);
    kt_list_push(&c->u->conn_closing, &c->closing);
}

/* ---- breaking ---- */

static void tell(void *ctx)
{
    struct uv_conn *c = ctx;
    const struct kt_pipe_events *events = c->conn.pipe.events;
    if (c->told || !events) return; /* a later listener learns of it when it first peeks or writes */
    c->told = true;
    if (events->closed) events->closed(c->conn.pipe.ctx, c->code);
}

static void stop_reading(struct uv_conn *c)
{
    if (c->reading) uv_read_stop(&c->h.stream);
    c->reading = false;
}

static void break_pipe(struct uv_conn *c, int code)
{
    if (c->closed) {
        finish(c);
        return;
    }
    if (c->code) return;
    c->code = code;
    stop_reading(c);
    if (!c->writing) put_out(c);
    kt_io_timer_cancel(&c->u->io, &c->timer);
    kt_io_timer_cancel(&c->u->io, &c->answer_timer);
    kt_io_turn(&c->u->io, &c->turn);
}

/* Nothing more can be written. What the peer sent before may well say why ("413 Too Large"), so reading continues
 * until it ends too, or for a second. */
static void write_failed(struct uv_conn *c, int uverr)
{
    if (!c->writing) put_out(c);
    if (c->write_code || c->code) return;
    c->write_code = kt_uv_code(uverr);
    if (c->closed || c->eof) {
        break_pipe(c, c->write_code);
    } else {
        arm(c, SALVAGE_US);
    }
}

static void on_timer(void *ctx)
{
    struct uv_conn *c = ctx;
    break_pipe(c, c->write_code ? c->write_code : KT_ERESET);
}

/* ---- trouble in any state ---- */

static bool holds_unread(const struct uv_conn *c, int fd)
{
    int n = 0;
    return !c->eof && ioctl(fd, FIONREAD, &n) == 0 && n > 0;
}

/* The socket is dead and nothing is reading from it. */
static void died(struct uv_conn *c, int fd, int uverr)
{
    c->said = uverr;
    if (!c->writing) put_out(c);
    if (!c->write_code) c->write_code = kt_uv_code(uverr);
    if (c->closed || !holds_unread(c, fd))
        break_pipe(c, c->write_code);
    else
        arm(c, REST_US);
}

/* Handles a reported hang-up. While libuv reads, leaves it alone: libuv finds it after the last data. */
static void look(struct uv_conn *c)
{
    int error = 0;
    socklen_t len = sizeof error;
    uv_os_fd_t fd;
    if (!c->hung || c->reading || c->code || uv_fileno(&c->h.handle, &fd) < 0) return;
    c->hung = false;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error)
        died(c, fd, -error);
    else if (c->is_unix && !c->eof)
        c->hung = true; /* handle it once the data is read */
    else if (c->is_unix && !c->shut && !c->write_code)
        arm(c, UNIX_GONE_US);
}

void kt_uv_conn_hung_up(struct uv_conn *c)
{
    if (uv_is_closing(&c->h.handle)) return;
    c->hung = true;
    look(c);
}

static void look_for_answer(struct uv_conn *c)
{
    const uint64_t every = c->conn.user_timeout_us / ANSWER_LOOKS;
    kt_io_timer_set(&c->u->io, &c->answer_timer, kt_io_now(&c->u->io) + (every ? every : 1));
}

static void on_answer_timer(void *ctx)
{
    struct uv_conn *c = ctx;
    uv_os_fd_t fd;
    if (uv_is_closing(&c->h.handle) || c->conn.user_timeout_us == 0 || uv_fileno(&c->h.handle, &fd) < 0)
        return;
    const enum kt_uv_answered how =
        kt_uv_answer_look(&c->answer, fd, kt_io_clock(&c->u->io), c->conn.user_timeout_us);
    if (how == KT_UV_MUTE)
        break_pipe(c, KT_ETIMEOUT);
    else if (how == KT_UV_WAITS)
        look_for_answer(c);
}

/* Bytes or FIN are on their way out. */
static void expect_answer(struct uv_conn *c)
{
    if (c->answer_timer.armed || c->is_unix || c->conn.user_timeout_us == 0) return;
    c->answer = (struct kt_uv_answer){0};
    look_for_answer(c);
}

/* Reports to a late listener what happened before it was set. */
static void tell_late(struct uv_conn *c)
{
    if (c->code && !c->told) kt_io_turn(&c->u->io, &c->turn);
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct uv_conn *c = handle->data;
    *buf = uv_buf_init(NULL, 0); /* libuv then reports UV_ENOBUFS */
    if (c->closed) {
        uint8_t *scratch = kt_uv_scratch(c->u);
        if (scratch) *buf = uv_buf_init((char *)scratch, KT_CONN_READ);
        return;
    }
    if (!c->in.data) c->in.data = kt_uv_block_get(c->u);
    if (c->in.data) *buf = uv_buf_init((char *)c->in.data + c->in.len, (unsigned)kt_read_block_room(&c->in));
}

static void lingered(struct uv_conn *c)
{
    if (c->eof && c->shut_done) finish(c);
}

/* libuv takes a hang-up after a short read for a clean end. But a reset right after the last data also hangs up;
 * the socket's error tells the two apart. EPIPE: the end was clean, but the peer does not want our data. */
static int true_end(struct uv_conn *c)
{
    int error = 0;
    socklen_t len = sizeof error;
    uv_os_fd_t fd;
    if (c->said) return c->said == UV_EPIPE ? UV_EOF : c->said;
    if (uv_fileno(&c->h.handle, &fd) < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        return UV_EOF;
    if (error == EPIPE && !c->shut && !c->write_code) c->write_code = kt_uv_code(UV_EPIPE);
    return error == 0 || error == EPIPE ? UV_EOF : -error;
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    (void)buf;
    struct uv_conn *c = stream->data;
    kt_uv_wake(c->u);
    if (nread > 0 && !c->closed) c->in.len += (size_t)nread;
    if (nread > 0 && !c->closed && c->said) arm(c, REST_US);
    if (c->in.len == 0) put_in(c); /* allocated for this read and not needed */
    if (nread == 0) return;
    if (nread == UV_EOF) nread = true_end(c);
    if (nread < 0 && nread != UV_EOF) {
        break_pipe(c, nread == UV_ENOBUFS ? KT_ENOMEM : kt_uv_code((int)nread));
        return;
    }
    if (nread == UV_EOF) {
        stop_reading(c);
        c->eof = true;
    }
    if (c->closed) {
        lingered(c);
        look(c);
        return;
    }
    if (c->eof && c->write_code) break_pipe(c, c->write_code);
    const struct kt_pipe_events *events = c->conn.pipe.events;
    if (events && events->readable) events->readable(c->conn.pipe.ctx);
    if (!c->closed && c->in.data && kt_read_block_room(&c->in) < READ_ROOM) stop_reading(c);
    if (!c->closed) look(c);
}

static void start_reading(struct uv_conn *c)
{
    if (c->reading || c->eof || c->code) return;
    c->reading = true;
    int r = uv_read_start(&c->h.stream, on_alloc, on_read);
    if (r < 0) {
        c->reading = false;
        break_pipe(c, kt_uv_code(r));
    }
}

static size_t conn_peek(struct kt_pipe *p, struct kt_iov *iov, size_t max)
{
    struct uv_conn *c = of_pipe(p);
    tell_late(c);
    return kt_read_block_peek(&c->in, iov, max);
}

static void conn_consume(struct kt_pipe *p, size_t n)
{
    struct uv_conn *c = of_pipe(p);
    if (!kt_read_block_consume(&c->in, n)) return;
    put_in(c);
    start_reading(c);
}

static bool conn_ended(const struct kt_pipe *p)
{
    return of_pipe(p)->eof;
}

static bool conn_eof(const struct kt_pipe *p)
{
    const struct uv_conn *c = of_pipe(p);
    return c->eof && !kt_read_block_unread(&c->in);
}

/* ---- writing ---- */

static void on_written(uv_write_t *req, int status);

static void submit(struct uv_conn *c)
{
    uv_buf_t buf = uv_buf_init((char *)c->out + c->out_sub, (unsigned)(c->out_len - c->out_sub));
    c->out_sub = c->out_len;
    c->writing = true;
    int r = uv_write(&c->write_req, &c->h.stream, &buf, 1, on_written);
    if (r < 0) {
        c->writing = false;
        write_failed(c, r);
    }
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    struct uv_conn *c = req->handle->data;
    kt_uv_wake(c->u);
    c->shutting = false;
    c->shut_done = true;
    if (!c->closed || uv_is_closing(&c->h.handle)) return;
    if (status < 0) {
        finish(c); /* the other end is gone */
        return;
    }
    lingered(c);
}

/* The system has taken everything that was written: FIN may follow. */
static void drained(struct uv_conn *c)
{
    put_out(c);
    if (c->shut && !c->shutting && !c->shut_done) {
        c->shutting = true;
        int r = uv_shutdown(&c->shutdown_req, &c->h.stream, on_shutdown);
        if (r < 0) {
            c->shutting = false;
            c->shut_done = true;
            if (c->closed) finish(c);
            return;
        }
    }
    if (c->closed) arm(c, LINGER_US);
    if (!c->starved) return;
    c->starved = false;
    const struct kt_pipe_events *events = c->conn.pipe.events;
    if (events && events->writable) events->writable(c->conn.pipe.ctx);
}

static void on_written(uv_write_t *req, int status)
{
    struct uv_conn *c = req->handle->data;
    kt_uv_wake(c->u);
    c->writing = false;
    if (uv_is_closing(&c->h.handle)) return;
    if (c->code) {
        put_out(c);
    } else if (status < 0) {
        write_failed(c, status);
    } else if (c->out_sub < c->out_len) {
        submit(c);
    } else {
        drained(c);
    }
}

/* What the system takes at once; a negative libuv code if the socket has failed. */
static ssize_t try_write(struct uv_conn *c, const struct kt_iov *iov, size_t pieces)
{
    uv_buf_t bufs[KT_PIPE_PIECES];
    assert(pieces <= KT_PIPE_PIECES);
    for (size_t i = 0; i < pieces; i++) {
        const unsigned len = iov[i].len < INT_MAX ? (unsigned)iov[i].len : INT_MAX;
        bufs[i] = uv_buf_init((char *)(uintptr_t)iov[i].data, len);
    }
    const int r = uv_try_write(&c->h.stream, bufs, (unsigned)pieces);
    return r == UV_EAGAIN ? 0 : r;
}

/* Keeps for later what fits of the pieces from `skip` on. */
static size_t keep(struct uv_conn *c, const struct kt_iov *iov, size_t pieces, size_t skip)
{
    size_t done = 0;
    for (size_t i = 0; i < pieces && c->out_len < KT_CONN_WRITE; i++) {
        const size_t before = kt_min_size(skip, iov[i].len);
        const size_t n = kt_min_size(iov[i].len - before, KT_CONN_WRITE - c->out_len);
        memcpy(c->out + c->out_len, iov[i].data + before, n);
        skip -= before;
        c->out_len += n;
        done += n;
    }
    return done;
}

static size_t conn_writev(struct kt_pipe *p, const struct kt_iov *iov, size_t pieces)
{
    struct uv_conn *c = of_pipe(p);
    size_t n = 0, done = 0;
    for (size_t i = 0; i < pieces; i++) n += iov[i].len;
    tell_late(c);
    if (c->shut || c->code || c->write_code || n == 0) return 0;
    expect_answer(c);
    if (!c->out) {
        const ssize_t r = try_write(c, iov, pieces);
        if (r < 0) {
            write_failed(c, (int)r);
            return 0;
        }
        done = (size_t)r;
        if (done == n) return n;
        c->out = kt_uv_block_get(c->u);
        if (!c->out) {
            write_failed(c, UV_ENOMEM);
            return done;
        }
    }
    done += keep(c, iov, pieces, done);
    if (!c->writing) submit(c);
    if (done < n) c->starved = true;
    return done;
}

static size_t conn_write(struct kt_pipe *p, const void *data, size_t n)
{
    const struct kt_iov iov = {data, n};
    return conn_writev(p, &iov, 1);
}

/* ---- ending ---- */

static void conn_shutdown(struct kt_pipe *p)
{
    struct uv_conn *c = of_pipe(p);
    if (c->shut || c->code) return;
    if (!c->write_code) kt_io_timer_cancel(&c->u->io, &c->timer); /* no need to wait for a unix peer */
    c->shut = true;
    c->starved = false;
    expect_answer(c);
    if (!c->out) drained(c);
}

static bool conn_half_close(const struct kt_pipe *p)
{
    (void)p;
    return true;
}

static void conn_reset(struct kt_pipe *p, int reason, const char *text)
{
    (void)reason; /* neither TCP nor a unix socket can carry it */
    (void)text;
    struct uv_conn *c = of_pipe(p);
    detach(c);
    uv_os_fd_t fd;
    if (!c->is_unix && uv_fileno(&c->h.handle, &fd) == 0) {
        /* Not uv_tcp_close_reset: it fails while a shutdown is under way. */
        struct linger rst = {.l_onoff = 1, .l_linger = 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &rst, sizeof rst);
    }
    finish(c);
}

static void conn_close(struct kt_pipe *p)
{
    struct uv_conn *c = of_pipe(p);
    detach(c);
    put_in(c);
    if (c->code || c->write_code) {
        finish(c);
        return;
    }
    arm(c, DRAIN_US);
    c->shut = true;
    c->starved = false;
    start_reading(c);
    if (!uv_is_closing(&c->h.handle) && !c->out) {
        drained(c);
        lingered(c);
    }
}

void kt_uv_conn_hurry(struct uv_io *u)
{
    uint64_t limit = kt_io_clock(&u->io) + HURRY_US;
    for (struct kt_list *n = u->conn_closing.next; n != &u->conn_closing; n = n->next) {
        struct uv_conn *c = KT_CONTAINER(n, struct uv_conn, closing);
        if (c->timer.armed && c->timer.at > limit) kt_io_timer_set(&u->io, &c->timer, limit);
    }
}

/* ---- the beginning ---- */

static const struct kt_pipe_ops pipe_ops = {
    .peek = conn_peek,
    .consume = conn_consume,
    .eof = conn_eof,
    .ended = conn_ended,
    .write = conn_write,
    .writev = conn_writev,
    .shutdown = conn_shutdown,
    .half_close = conn_half_close,
    .reset = conn_reset,
    .close = conn_close,
};

struct uv_conn *kt_uv_conn_new(struct uv_io *u, bool is_unix)
{
    struct uv_conn *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    int r = is_unix ? uv_pipe_init(&u->loop, &c->h.pipe, 0) : uv_tcp_init(&u->loop, &c->h.tcp);
    if (r < 0) {
        free(c);
        return NULL;
    }
    c->h.handle.data = c;
    c->conn.pipe.ops = &pipe_ops;
    c->u = u;
    c->is_unix = is_unix;
    kt_turn_init(&c->turn, tell, c);
    c->conn.user_timeout_us = KT_CONN_USER_TIMEOUT_US;
    kt_timer_init(&c->timer, on_timer, c);
    kt_timer_init(&c->answer_timer, on_answer_timer, c);
    kt_list_init(&c->closing);
    kt_uv_opened(u);
    return c;
}

int kt_uv_conn_adopt(struct uv_conn *c, int fd)
{
    int r = c->is_unix ? uv_pipe_open(&c->h.pipe, fd) : uv_tcp_open(&c->h.tcp, fd);
    return r < 0 ? kt_uv_code(r) : 0;
}

static void on_dialled(uv_connect_t *req, int status)
{
    struct uv_conn *c = req->handle->data;
    if (c->closed) return;
    kt_uv_wake(c->u);
    c->dialled(c->dialled_ctx, status);
}

int kt_uv_conn_dial(struct uv_conn *c, const struct kt_addr *to, const char *path,
    void (*cb)(void *ctx, int status), void *ctx)
{
    c->dialled = cb;
    c->dialled_ctx = ctx;
    if (!c->is_unix) return uv_tcp_connect(&c->connect_req, &c->h.tcp, &to->sa, on_dialled);
    uv_pipe_connect(&c->connect_req, &c->h.pipe, path, on_dialled); /* errors go to the callback */
    return 0;
}

static void name_local(struct kt_conn *conn)
{
    kt_uv_name_end(conn->local, &((struct uv_conn *)(void *)conn)->h.handle, getsockname);
}

int kt_uv_conn_ready(struct uv_conn *c, const union kt_uv_name *peer, socklen_t len)
{
    uv_os_fd_t fd;
    int r = uv_fileno(&c->h.handle, &fd);
    if (r < 0) return kt_uv_code(r);
    if (peer) {
        kt_uv_name_text(c->conn.peer, peer, len);
    } else if (!c->said) {
        if (!c->is_unix) kt_uv_tune(fd);
        kt_uv_name_end(c->conn.peer, &c->h.handle, getpeername);
    }
    c->conn.name_local = name_local;
    if (!c->said) r = kt_uv_hangups_add(c->u->hangups, fd, c);
    if (r < 0) return kt_uv_code(r);
    start_reading(c);
    return 0;
}

void kt_uv_conn_was_reset(struct uv_conn *c, const struct kt_addr *peer)
{
    c->said = UV_ECONNRESET;
    kt_addr_text(peer, c->conn.peer); /* the system no longer knows it */
}

void kt_uv_conn_abort(struct uv_conn *c)
{
    detach(c);
    finish(c);
}
