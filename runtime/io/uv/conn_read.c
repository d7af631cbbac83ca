/* Reading from a conn: as much as its listener says that it takes. If that is nothing, reading stops until the listener
 * peeks or consumes. inbox.h has the bytes.
 *
 * Invariant: `reading` is set exactly while libuv reads, and no byte is read twice or after the peer's end. */
#include <errno.h>
#include "io/uv/conn_internal.h"

_Static_assert(KT_CONN_READ <= KT_UV_SCRATCH, "reads go there");

void kt_uv_conn_stop_reading(struct uv_conn *c)
{
    if (!c->reading) return;
    uv_read_stop(&c->h.stream);
    c->reading = false;
    if (!c->code) kt_uv_hangups_unread(c->u->hangups, &c->watched);
}

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
    if (c->said || c->write_code) kt_uv_conn_arm(c, KT_UV_CONN_REST_US);
    kt_uv_inbox_add(&c->in, data, n);
    readable(c);
    if (c->closed)
        kt_uv_inbox_drop(&c->in);
    else if (!kt_uv_inbox_keep(&c->in))
        kt_uv_conn_break(c, KT_ENOMEM);
}

static void ended(struct uv_conn *c)
{
    kt_uv_conn_stop_reading(c);
    c->eof = true;
    if (c->closed) {
        kt_uv_conn_try_finish(c);
        return;
    }
    if (c->write_code) kt_uv_conn_break(c, c->write_code);
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
        kt_uv_conn_stop_reading(c);
    else if (nread == UV_EOF)
        ended(c);
    else
        kt_uv_conn_break(c, nread == UV_ENOBUFS ? KT_ENOMEM : kt_uv_code((int)nread));
    if (!uv_is_closing(&c->h.handle)) kt_uv_conn_look(c);
}

void kt_uv_conn_start_reading(struct uv_conn *c)
{
    if (c->reading || c->eof || c->code) return;
    c->reading = true;
    kt_list_remove(&c->watched.node);
    int r = uv_read_start(&c->h.stream, on_alloc, on_read);
    if (r < 0) {
        c->reading = false;
        kt_uv_conn_break(c, kt_uv_code(r));
    }
}

/* The listener may have room again. */
static void resume_reading(struct uv_conn *c)
{
    if (!c->reading && !c->eof && !c->code && wanted(c) > 0) kt_uv_conn_start_reading(c);
}

size_t kt_uv_conn_peek(struct kt_pipe *p, struct kt_iov *iov, size_t max)
{
    struct uv_conn *c = kt_uv_conn_of_pipe(p);
    kt_uv_conn_tell_late(c);
    resume_reading(c);
    return kt_read_block_peek(&c->in.b, iov, max);
}

void kt_uv_conn_consume(struct kt_pipe *p, size_t n)
{
    struct uv_conn *c = kt_uv_conn_of_pipe(p);
    if (!kt_read_block_consume(&c->in.b, n)) return;
    kt_uv_inbox_drop(&c->in);
    resume_reading(c);
}

bool kt_uv_conn_ended(const struct kt_pipe *p)
{
    return kt_uv_conn_of_pipe(p)->eof;
}

bool kt_uv_conn_eof(const struct kt_pipe *p)
{
    const struct uv_conn *c = kt_uv_conn_of_pipe(p);
    return c->eof && !kt_read_block_unread(&c->in.b);
}
