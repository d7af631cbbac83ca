/* TCP and unix-socket conns as pipes.
 *
 * This file has their life; conn_read.c and conn_write.c carry the bytes.
 *
 * Closing: close() must deliver what was written. If a socket is closed with bytes unread, the kernel sends RST,
 * which can destroy data still on its way to the peer. So a closed conn first sends what is pending, then FIN,
 * and meanwhile discards what it reads until the peer has finished or a time limit passes. Only then does it
 * close the handle. If the peer has finished already, it does so at once: the system then sends FIN by itself.
 *
 * Breaking: libuv reports it while it reads or writes, hangup.c in every state. What the peer sent before can
 * still be read, until the consumer has taken nothing for KT_UV_CONN_REST_US, time before the break included. A unix
 * socket whose peer has closed looks like one whose peer has finished sending. If this end does not write, which would
 * fail, the conn breaks after UNIX_GONE_US, about when keepalive would detect that a TCP peer is gone.
 *
 * Invariant: `pipe.events` is called only from libuv's callbacks, timers and turn hooks, and never after close. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include "io/uv/conn_internal.h"

#define SALVAGE_US 1000000u /* after a failed write, to read what the peer has sent */
#define UNIX_GONE_US 60000000u
#define DRAIN_US 30000000u /* after close, to send what was written */
#define HURRY_US 1000000u  /* for that and for the peer to finish, when the io is freed */

struct kt_conn *kt_uv_conn(struct uv_conn *c)
{
    return &c->conn;
}

/* Uses the clock, not the turn's time: the turn may already have taken long. */
void kt_uv_conn_arm(struct uv_conn *c, uint64_t after_us)
{
    kt_io_timer_set(&c->u->io, &c->timer, kt_io_clock(&c->u->io) + after_us);
}

/* Limits the time for a paused consumer to read what is left. */
static void arm_rest(struct uv_conn *c)
{
    const uint64_t paused = kt_io_clock(&c->u->io) - c->read_us;
    kt_uv_conn_arm(c, paused + SALVAGE_US < KT_UV_CONN_REST_US ? KT_UV_CONN_REST_US - paused : SALVAGE_US);
}

/* ---- the end ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct uv_conn *c = handle->data;
    struct uv_io *u = c->u;
    kt_uv_inbox_drop(&c->in);
    kt_list_remove(&c->closing);
    kt_conn_forget_names(&c->conn);
    free(c);
    kt_uv_close_done(u);
}

void kt_uv_conn_finish(struct uv_conn *c)
{
    kt_list_remove(&c->watched.node);
    kt_io_timer_cancel(&c->u->io, &c->timer);
    kt_uv_mute_peer_stop(&c->mute_peer, &c->u->io);
    if (!uv_is_closing(&c->h.handle)) uv_close(&c->h.handle, on_handle_closed);
}

void kt_uv_conn_try_finish(struct uv_conn *c)
{
    if (c->eof && c->shut_done) kt_uv_conn_finish(c);
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

void kt_uv_conn_break(struct uv_conn *c, int code)
{
    if (c->closed) {
        kt_uv_conn_finish(c);
        return;
    }
    if (c->code) return;
    c->code = code;
    kt_uv_conn_stop_reading(c);
    kt_io_timer_cancel(&c->u->io, &c->timer);
    kt_uv_mute_peer_stop(&c->mute_peer, &c->u->io);
    kt_io_turn(&c->u->io, &c->turn);
}

/* Nothing more can be written. What the peer sent before may well say why ("413 Too Large"), so reading continues
 * until it ends too, or for a second. */
void kt_uv_conn_write_failed(struct uv_conn *c, int uverr)
{
    if (c->write_code || c->code) return;
    c->write_code = kt_uv_code(uverr);
    if (c->closed || c->eof)
        kt_uv_conn_break(c, c->write_code);
    else if (c->reading)
        kt_uv_conn_arm(c, SALVAGE_US);
    else
        arm_rest(c);
}

static void on_timer(void *ctx)
{
    struct uv_conn *c = ctx;
    kt_uv_conn_break(c, c->write_code ? c->write_code : KT_ERESET);
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
        kt_uv_conn_break(c, c->write_code);
    else
        arm_rest(c);
}

void kt_uv_conn_look(struct uv_conn *c)
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
        kt_uv_conn_arm(c, UNIX_GONE_US);
}

void kt_uv_conn_hung_up(struct kt_uv_watched *w)
{
    struct uv_conn *c = KT_CONTAINER(w, struct uv_conn, watched);
    if (uv_is_closing(&c->h.handle)) return;
    c->hung = true;
    kt_uv_conn_look(c);
}

static void on_answer_due(void *ctx)
{
    struct uv_conn *c = ctx;
    uv_os_fd_t fd;
    if (uv_is_closing(&c->h.handle) || uv_fileno(&c->h.handle, &fd) < 0) return;
    if (kt_uv_mute_peer_check(&c->mute_peer, &c->u->io, fd, c->conn.user_timeout_us))
        kt_uv_conn_break(c, KT_ETIMEOUT);
}

/* ---- ending ---- */

static void conn_shutdown(struct kt_pipe *p)
{
    struct uv_conn *c = kt_uv_conn_of_pipe(p);
    if (c->shut || c->code) return;
    if (!c->write_code) kt_io_timer_cancel(&c->u->io, &c->timer); /* no need to wait for a unix peer */
    c->shut = true;
    c->starved = false;
    kt_uv_conn_expect_answer(c);
    if (!c->writing) kt_uv_conn_drained(c);
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
    struct uv_conn *c = kt_uv_conn_of_pipe(p);
    detach(c);
    uv_os_fd_t fd;
    if (!c->is_unix && uv_fileno(&c->h.handle, &fd) == 0) kt_uv_reset_on_close(fd);
    kt_uv_conn_finish(c);
}

static void conn_close(struct kt_pipe *p)
{
    struct uv_conn *c = kt_uv_conn_of_pipe(p);
    detach(c);
    kt_uv_inbox_drop(&c->in);
    const bool idle = c->eof && !c->writing; /* the system sends the rest and FIN */
    if (c->code || c->write_code || idle) {
        kt_uv_conn_finish(c);
        return;
    }
    kt_uv_conn_arm(c, DRAIN_US);
    c->shut = true;
    c->starved = false;
    kt_uv_conn_start_reading(c);
    if (!uv_is_closing(&c->h.handle) && !c->writing) {
        kt_uv_conn_drained(c);
        kt_uv_conn_try_finish(c);
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
    .peek = kt_uv_conn_peek,
    .consume = kt_uv_conn_consume,
    .eof = kt_uv_conn_eof,
    .ended = kt_uv_conn_ended,
    .write = kt_uv_conn_write,
    .writev = kt_uv_conn_writev,
    .room = kt_uv_conn_room,
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
    kt_uv_mute_peer_init(&c->mute_peer, on_answer_due, c);
    kt_list_init(&c->closing);
    kt_list_init(&c->watched.node);
    c->watched.fd = -1;
    kt_uv_opened(u);
    return c;
}

int kt_uv_conn_adopt(struct uv_conn *c, int fd)
{
    int r = c->is_unix ? uv_pipe_open(&c->h.pipe, fd) : uv_tcp_open(&c->h.tcp, fd);
    return r < 0 ? kt_uv_code(r) : 0;
}

struct dialling {
    uv_connect_t req; /* first */
    void (*dialled)(void *ctx, int status);
    void *ctx;
};

static void on_dialled(uv_connect_t *req, int status)
{
    struct uv_conn *c = req->handle->data;
    const struct dialling d = *(const struct dialling *)req;
    free(req);
    if (c->closed) return;
    kt_uv_wake(c->u);
    d.dialled(d.ctx, status);
}

int kt_uv_conn_dial(struct uv_conn *c, const struct kt_addr *to, const char *path,
    void (*cb)(void *ctx, int status), void *ctx)
{
    struct dialling *d = malloc(sizeof *d);
    if (!d) return UV_ENOMEM;
    d->dialled = cb;
    d->ctx = ctx;
    if (c->is_unix) {
        uv_pipe_connect(&d->req, &c->h.pipe, path, on_dialled); /* errors go to the callback */
        return 0;
    }
    const int r = uv_tcp_connect(&d->req, &c->h.tcp, &to->sa, on_dialled);
    if (r < 0) free(d);
    return r;
}

static void name_peer(struct uv_conn *c, const union kt_uv_name *name, socklen_t len)
{
    char text[KT_CONN_NAME];
    if (kt_addr_from_sockaddr(&c->conn.peer, &name->sa))
        kt_addr_unmap(&c->conn.peer);
    else
        c->conn.unix_peer = strdup(kt_uv_name_text(text, name, len));
}

static void find_peer(struct uv_conn *c, int fd)
{
    union kt_uv_name name = {.storage = {0}};
    socklen_t len = sizeof name;
    if (getpeername(fd, &name.sa, &len) == 0) name_peer(c, &name, len);
}

static void name_local(struct kt_conn *conn, char out[KT_CONN_NAME])
{
    const struct uv_conn *c = (const struct uv_conn *)(void *)conn;
    union kt_uv_name name = {.storage = {0}};
    socklen_t len = sizeof name;
    uv_os_fd_t fd;
    if (uv_fileno(&c->h.handle, &fd) == 0 && getsockname(fd, &name.sa, &len) == 0)
        kt_uv_name_text(out, &name, len);
    else
        snprintf(out, KT_CONN_NAME, "?");
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
    if (!peer && !c->said && !c->is_unix) kt_uv_tune(fd);
    if (peer)
        name_peer(c, peer, len);
    else if (!c->said)
        find_peer(c, fd);
    c->conn.name_local = name_local;
    c->conn.user = user;
    if (!c->said) c->watched.fd = fd;
    kt_uv_conn_start_reading(c);
    return 0;
}

void kt_uv_conn_was_reset(struct uv_conn *c, const struct kt_addr *peer)
{
    c->said = UV_ECONNRESET;
    c->conn.peer = *peer; /* the system no longer knows it */
}

void kt_uv_conn_abort(struct uv_conn *c)
{
    detach(c);
    kt_uv_conn_finish(c);
}
