/* TCP and unix-socket conns as pipes.
 *
 * A conn reads as much as its listener says that it takes (inbox.h has the bytes); if that is nothing, reading stops
 * until the listener peeks or consumes. Writing goes straight to the system; of what that does not accept, the conn
 * takes a few bytes, only so that libuv says when there is room again.
 *
 * Closing: close() must deliver what was written. If a socket is closed with bytes unread, the kernel sends RST,
 * which can destroy data still on its way to the peer. So a closed conn first sends what is pending, then FIN,
 * and meanwhile discards what it reads until the peer has finished or a time limit passes. Only then does it
 * close the handle.
 *
 * Breaking: libuv reports it while it reads or writes, hangup.c in every state. What the peer sent before can
 * still be read, until the consumer takes nothing for REST_US; the time before the break counts. A unix socket whose
 * peer has closed looks like one whose peer has finished sending. If this end does not write, which would fail, the conn
 * breaks after UNIX_GONE_US, about when keepalive would detect that a TCP peer is gone.
 *
 * Invariant: `pipe.events` is called only from libuv's callbacks, timers and turn hooks, and never after close. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include "base/bytes.h"
#include "io/uv/inbox.h"
#include "io/uv/internal.h"

_Static_assert(KT_CONN_READ <= KT_UV_SCRATCH, "reads go there");

#define SALVAGE_US 1000000u /* after a failed write, to read what the peer has sent */
#define REST_US 10000000u /* if the consumer has paused: from its last read on, but no less than SALVAGE_US */
#define UNIX_GONE_US 60000000u
#define DRAIN_US 30000000u /* after close, to send what was written */
#define LINGER_US 2000000u /* then to let the peer finish */
#define HURRY_US 1000000u  /* both, when the io is freed */

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

    struct kt_uv_inbox in;
    uint64_t read_us; /* when bytes were last read; at first, when the conn was made */
    bool full;        /* the listener had no room when it was last asked */
    bool reading;     /* libuv is reading */
    bool eof;         /* the peer has finished */

    uint8_t out[KT_CONN_WRITE]; /* in use while `writing` */
    bool writing;               /* req.write is in use */
    bool starved;               /* a write came up short */
    bool shut;                  /* the user has shut down its side */
    bool shutting;              /* req.shutdown is in use */
    bool shut_done;             /* FIN was sent, or need not be */

    int write_code;         /* why writing has failed, or 0 */
    int code;               /* why the pipe is broken, or 0 */
    int said;               /* the socket's error as a libuv code, or 0; the system reports it only once */
    bool hung;              /* a hang-up was reported but not handled yet */
    bool told;              /* events->closed was called */
    bool closed;            /* by the user */
    struct kt_turn turn;    /* reports `code` to the user */
    struct kt_timer timer;  /* salvage, or the time limit for closing */
    struct kt_list closing; /* in u->conn_closing */
    struct kt_uv_answer answer; /* TCP only */

    union { /* no two are in use at a time: it writes once it is connected, and nothing after shutdown */
        uv_connect_t connect;
        uv_write_t write;
        uv_shutdown_t shutdown;
    } req;
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

/* Until a consumer that has paused must have read what is left. */
static void arm_rest(struct uv_conn *c)
{
    const uint64_t paused = kt_io_clock(&c->u->io) - c->read_us;
    arm(c, paused + SALVAGE_US < REST_US ? REST_US - paused : SALVAGE_US);
}

/* ---- the end ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct uv_conn *c = handle->data;
    struct uv_io *u = c->u;
    kt_uv_inbox_drop(&c->in);
    kt_list_remove(&c->closing);
    free(c->conn.names);
    free(c);
    kt_uv_close_done(u);
}

static void finish(struct uv_conn *c)
{
    kt_io_timer_cancel(&c->u->io, &c->timer);
    kt_uv_answer_stop(&c->answer, &c->u->io);
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
    kt_io_timer_cancel(&c->u->io, &c->timer);
    kt_uv_answer_stop(&c->answer, &c->u->io);
    kt_io_turn(&c->u->io, &c->turn);
}

/* Nothing more can be written. What the peer sent before may well say why ("413 Too Large"), so reading continues
 * until it ends too, or for a second. */
static void write_failed(struct uv_conn *c, int uverr)
{
    if (c->write_code || c->code) return;
    c->write_code = kt_uv_code(uverr);
    if (c->closed || c->eof)
        break_pipe(c, c->write_code);
    else if (c->reading)
        arm(c, SALVAGE_US);
    else
        arm_rest(c);
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
    if (!c->write_code) c->write_code = kt_uv_code(uverr);
    if (c->closed || !holds_unread(c, fd))
        break_pipe(c, c->write_code);
    else
        arm_rest(c);
}

/* Handles a reported hang-up. While libuv reads, leaves it alone: libuv finds it after the last data. */
static void look(struct uv_conn *c)
{
    uv_os_fd_t fd;
    if (!c->hung || c->reading || c->code || uv_fileno(&c->h.handle, &fd) < 0) return;
    c->hung = false;
    const int error = kt_uv_socket_error(fd);
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

static void on_answer_due(void *ctx)
{
    struct uv_conn *c = ctx;
    uv_os_fd_t fd;
    if (uv_is_closing(&c->h.handle) || uv_fileno(&c->h.handle, &fd) < 0) return;
    if (kt_uv_answer_mute(&c->answer, &c->u->io, fd, c->conn.user_timeout_us)) break_pipe(c, KT_ETIMEOUT);
}

/* Bytes or FIN are on their way out. */
static void expect_answer(struct uv_conn *c)
{
    if (!c->is_unix) kt_uv_answer_expect(&c->answer, &c->u->io, c->conn.user_timeout_us);
}

/* Reports to a late listener what happened before it was set. */
static void tell_late(struct uv_conn *c)
{
    if (c->code && !c->told) kt_io_turn(&c->u->io, &c->turn);
}

/* ---- reading ---- */

static size_t wanted(const struct uv_conn *c)
{
    return kt_read_block_wanted(&c->in.b, &c->conn.pipe);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct uv_conn *c = handle->data;
    const size_t n = c->closed ? KT_CONN_READ : wanted(c);
    uint8_t *room = n > 0 ? kt_uv_inbox_room(&c->in, kt_uv_scratch(c->u), n) : NULL;
    c->full = n == 0;
    *buf = uv_buf_init((char *)room, room ? (unsigned)n : 0); /* none: libuv then reports UV_ENOBUFS */
}

static void lingered(struct uv_conn *c)
{
    if (c->eof && c->shut_done) finish(c);
}

/* libuv takes a hang-up after a short read for a clean end. But a reset right after the last data also hangs up;
 * the socket's error tells the two apart. EPIPE: the end was clean, but the peer does not want our data. */
static int true_end(struct uv_conn *c)
{
    uv_os_fd_t fd;
    if (c->said) return c->said == UV_EPIPE ? UV_EOF : c->said;
    const int error = uv_fileno(&c->h.handle, &fd) == 0 ? kt_uv_socket_error(fd) : 0;
    if (error == EPIPE && !c->shut && !c->write_code) c->write_code = kt_uv_code(UV_EPIPE);
    return error == 0 || error == EPIPE ? UV_EOF : -error;
}

static void readable(struct uv_conn *c)
{
    const struct kt_pipe_events *events = c->conn.pipe.events;
    if (events && events->readable) events->readable(c->conn.pipe.ctx);
}

static void arrived(struct uv_conn *c, uint8_t *data, size_t n)
{
    if (c->closed) return;
    c->read_us = kt_io_now(&c->u->io);
    if (c->said || c->write_code) arm(c, REST_US);
    kt_uv_inbox_add(&c->in, data, n);
    readable(c);
    if (c->closed)
        kt_uv_inbox_drop(&c->in);
    else if (!kt_uv_inbox_keep(&c->in))
        break_pipe(c, KT_ENOMEM);
}

static void ended(struct uv_conn *c)
{
    stop_reading(c);
    c->eof = true;
    if (c->closed) {
        lingered(c);
        return;
    }
    if (c->write_code) break_pipe(c, c->write_code);
    readable(c);
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct uv_conn *c = stream->data;
    kt_uv_wake(c->u);
    if (nread > 0) {
        arrived(c, (uint8_t *)buf->base, (size_t)nread);
        return;
    }
    kt_uv_inbox_keep(&c->in); /* room was made for this read and not needed */
    if (nread == 0) return;
    if (nread == UV_EOF) nread = true_end(c);
    if (nread == UV_ENOBUFS && c->full)
        stop_reading(c);
    else if (nread == UV_EOF)
        ended(c);
    else
        break_pipe(c, nread == UV_ENOBUFS ? KT_ENOMEM : kt_uv_code((int)nread));
    if (!uv_is_closing(&c->h.handle)) look(c);
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

/* The listener may have room again. */
static void resume_reading(struct uv_conn *c)
{
    if (!c->reading && !c->eof && !c->code && wanted(c) > 0) start_reading(c);
}

static size_t conn_peek(struct kt_pipe *p, struct kt_iov *iov, size_t max)
{
    struct uv_conn *c = of_pipe(p);
    tell_late(c);
    resume_reading(c);
    return kt_read_block_peek(&c->in.b, iov, max);
}

static void conn_consume(struct kt_pipe *p, size_t n)
{
    struct uv_conn *c = of_pipe(p);
    if (!kt_read_block_consume(&c->in.b, n)) return;
    kt_uv_inbox_drop(&c->in);
    resume_reading(c);
}

static bool conn_ended(const struct kt_pipe *p)
{
    return of_pipe(p)->eof;
}

static bool conn_eof(const struct kt_pipe *p)
{
    const struct uv_conn *c = of_pipe(p);
    return c->eof && !kt_read_block_unread(&c->in.b);
}

/* ---- writing ---- */

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
    if (c->shut && !c->shutting && !c->shut_done) {
        c->shutting = true;
        int r = uv_shutdown(&c->req.shutdown, &c->h.stream, on_shutdown);
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
    if (uv_is_closing(&c->h.handle) || c->code) return;
    if (status < 0)
        write_failed(c, status);
    else
        drained(c);
}

static bool takes_writes(const struct uv_conn *c)
{
    return !c->shut && !c->code && !c->write_code;
}

/* Hands libuv a few bytes of the pieces from `skip` on; returns how many. */
static size_t submit(struct uv_conn *c, const struct kt_iov *iov, size_t skip)
{
    while (skip >= iov->len) skip -= iov++->len;
    const size_t n = kt_min_size(iov->len - skip, KT_CONN_WRITE);
    memcpy(c->out, iov->data + skip, n);
    uv_buf_t buf = uv_buf_init((char *)c->out, (unsigned)n);
    c->writing = true;
    const int r = uv_write(&c->req.write, &c->h.stream, &buf, 1, on_written);
    if (r < 0) {
        c->writing = false;
        write_failed(c, r);
    }
    return n;
}

static size_t conn_writev(struct kt_pipe *p, const struct kt_iov *iov, size_t pieces)
{
    struct uv_conn *c = of_pipe(p);
    size_t n = 0;
    for (size_t i = 0; i < pieces; i++) n += iov[i].len;
    tell_late(c);
    if (!takes_writes(c) || n == 0) return 0;
    expect_answer(c);
    if (c->writing) {
        c->starved = true;
        return 0;
    }
    const ssize_t r = kt_uv_try_write(&c->h.stream, iov, pieces);
    if (r < 0) {
        write_failed(c, (int)r);
        return 0;
    }
    size_t done = (size_t)r;
    if (done == n) return n;
    done += submit(c, iov, done);
    if (done < n) c->starved = true;
    return done;
}

static size_t conn_write(struct kt_pipe *p, const void *data, size_t n)
{
    const struct kt_iov iov = {data, n};
    return conn_writev(p, &iov, 1);
}

/* How much the system takes is not known beforehand. */
static size_t conn_room(struct kt_pipe *p)
{
    struct uv_conn *c = of_pipe(p);
    if (!takes_writes(c)) return 1;
    if (c->writing) c->starved = true;
    return c->writing ? 0 : KT_CONN_READ / 4;
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
    if (!c->writing) drained(c);
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
    if (!c->is_unix && uv_fileno(&c->h.handle, &fd) == 0) kt_uv_reset_on_close(fd);
    finish(c);
}

static void conn_close(struct kt_pipe *p)
{
    struct uv_conn *c = of_pipe(p);
    detach(c);
    kt_uv_inbox_drop(&c->in);
    if (c->code || c->write_code) {
        finish(c);
        return;
    }
    arm(c, DRAIN_US);
    c->shut = true;
    c->starved = false;
    start_reading(c);
    if (!uv_is_closing(&c->h.handle) && !c->writing) {
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
    .room = conn_room,
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
    c->read_us = kt_io_now(&u->io);
    c->is_unix = is_unix;
    kt_turn_init(&c->turn, tell, c);
    c->conn.user_timeout_us = KT_CONN_USER_TIMEOUT_US;
    kt_timer_init(&c->timer, on_timer, c);
    kt_uv_answer_init(&c->answer, on_answer_due, c);
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
    if (!c->is_unix) return uv_tcp_connect(&c->req.connect, &c->h.tcp, &to->sa, on_dialled);
    uv_pipe_connect(&c->req.connect, &c->h.pipe, path, on_dialled); /* errors go to the callback */
    return 0;
}

static void name_local(struct kt_conn *conn, char out[128])
{
    kt_uv_name_end(out, &((struct uv_conn *)(void *)conn)->h.handle, getsockname);
}

/* The credentials are those of the time of connect or listen. */
static int user(const struct kt_conn *conn, uint32_t *uid)
{
#ifdef SO_PEERCRED
    const struct uv_conn *c = (const struct uv_conn *)(const void *)conn;
    struct ucred cred;
    socklen_t len = sizeof cred;
    uv_os_fd_t fd;
    if (c->is_unix && uv_fileno(&c->h.handle, &fd) == 0 &&
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0) {
        *uid = cred.uid;
        return 0;
    }
#endif
    (void)conn, (void)uid;
    return KT_ENOTSUP;
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
    c->conn.user = user;
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
