/* Writing to a conn: straight to the system. If that does not accept all, the conn takes a few bytes more, only so that
 * libuv reports when there is room again.
 *
 * Invariant: FIN follows the last byte written, and a write that came up short is followed by `writable` once there is
 * room. */
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "io/uv/conn_internal.h"

#define LINGER_US 2000000u /* after close and FIN, to let the peer finish */

/* Bytes that libuv writes, for as long as it does. */
struct submitted {
    uv_write_t req; /* first */
    uint8_t bytes[KT_CONN_WRITE];
};

static void on_shutdown(uv_shutdown_t *req, int status)
{
    struct uv_conn *c = req->handle->data;
    free(req);
    kt_uv_wake(c->u);
    c->shutting = false;
    c->shut_done = true;
    if (!c->closed || uv_is_closing(&c->h.handle)) return;
    if (status < 0) {
        kt_uv_conn_finish(c); /* the other end is gone */
        return;
    }
    kt_uv_conn_try_finish(c);
}

/* Sends FIN. False if that is not possible. */
static bool send_fin(struct uv_conn *c)
{
    uv_shutdown_t *req = malloc(sizeof *req);
    const int r = req ? uv_shutdown(req, &c->h.stream, on_shutdown) : UV_ENOMEM;
    c->shutting = r == 0;
    if (r == 0) return true;
    free(req);
    c->shut_done = true;
    if (c->closed)
        kt_uv_conn_finish(c);
    else if (r == UV_ENOMEM)
        kt_uv_conn_write_failed(c, r);
    return false;
}

void kt_uv_conn_drained(struct uv_conn *c)
{
    if (c->shut && !c->shutting && !c->shut_done && !send_fin(c)) return;
    if (c->closed) kt_uv_conn_arm(c, LINGER_US);
    if (!c->starved) return;
    c->starved = false;
    const struct kt_pipe_events *events = c->conn.pipe.events;
    if (events && events->writable) events->writable(c->conn.pipe.ctx);
}

static void on_written(uv_write_t *req, int status)
{
    struct uv_conn *c = req->handle->data;
    free(req);
    kt_uv_wake(c->u);
    c->writing = false;
    if (uv_is_closing(&c->h.handle) || c->code) return;
    if (status < 0)
        kt_uv_conn_write_failed(c, status);
    else
        kt_uv_conn_drained(c);
}

static bool takes_writes(const struct uv_conn *c)
{
    return !c->shut && !c->code && !c->write_code;
}

/* Hands libuv a few bytes of the pieces from `skip` on; returns how many. */
static size_t submit(struct uv_conn *c, const struct kt_iov *iov, size_t skip)
{
    struct submitted *s = malloc(sizeof *s);
    if (!s) {
        kt_uv_conn_write_failed(c, UV_ENOMEM);
        return 0;
    }
    while (skip >= iov->len) skip -= iov++->len;
    const size_t n = kt_min_size(iov->len - skip, KT_CONN_WRITE);
    memcpy(s->bytes, iov->data + skip, n);
    uv_buf_t buf = uv_buf_init((char *)s->bytes, (unsigned)n);
    c->writing = true;
    const int r = uv_write(&s->req, &c->h.stream, &buf, 1, on_written);
    if (r < 0) {
        c->writing = false;
        free(s);
        kt_uv_conn_write_failed(c, r);
    }
    return n;
}

size_t kt_uv_conn_writev(struct kt_pipe *p, const struct kt_iov *iov, size_t pieces)
{
    struct uv_conn *c = kt_uv_conn_of_pipe(p);
    size_t n = 0;
    for (size_t i = 0; i < pieces; i++) n += iov[i].len;
    kt_uv_conn_tell_late(c);
    if (!takes_writes(c) || n == 0) return 0;
    kt_uv_conn_expect_answer(c);
    if (c->writing) {
        c->starved = true;
        return 0;
    }
    const ssize_t r = kt_uv_try_write(&c->h.stream, iov, pieces);
    if (r < 0) {
        kt_uv_conn_write_failed(c, (int)r);
        return 0;
    }
    size_t done = (size_t)r;
    if (done == n) return n;
    done += submit(c, iov, done);
    if (done < n) c->starved = true;
    return done;
}

size_t kt_uv_conn_write(struct kt_pipe *p, const void *data, size_t n)
{
    const struct kt_iov iov = {data, n};
    return kt_uv_conn_writev(p, &iov, 1);
}

/* How much the system takes is not known beforehand. */
size_t kt_uv_conn_room(struct kt_pipe *p)
{
    struct uv_conn *c = kt_uv_conn_of_pipe(p);
    if (!takes_writes(c)) return 1;
    if (c->writing) c->starved = true;
    return c->writing ? 0 : KT_CONN_READ / 4;
}
