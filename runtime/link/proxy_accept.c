/* Waits for the PROXY protocol headers of accepted conns.
 *
 * Invariant: `waiting` holds at most KT_PROXY_ACCEPT_MAX conns, in order of their deadlines, and the timer is armed for
 * the first of them. A waiting conn reads no more than a header's length ahead. */
#include <stdlib.h>
#include <string.h>
#include "base/list.h"
#include "io/io.h"
#include "link/proxy_accept.h"
#include "link/proxy_header.h"

struct kt_proxy_accept {
    struct kt_io *io;
    const struct kt_proxy_accept_events *events;
    void *ctx;
    struct kt_list waiting; /* of struct waiter, oldest first */
    size_t count;
    struct kt_timer timer;
};

struct waiter {
    struct kt_list node;
    struct kt_proxy_accept *accept;
    struct kt_conn *conn;
    uint64_t deadline;
};

static struct waiter *oldest(const struct kt_proxy_accept *a)
{
    return kt_list_empty(&a->waiting) ? NULL : KT_CONTAINER(a->waiting.next, struct waiter, node);
}

static void arm(struct kt_proxy_accept *a)
{
    const struct waiter *w = oldest(a);
    if (w)
        kt_io_timer_set(a->io, &a->timer, w->deadline);
    else
        kt_io_timer_cancel(a->io, &a->timer);
}

/* Ends the wait; the conn is the caller's. */
static struct kt_conn *take(struct waiter *w)
{
    struct kt_proxy_accept *a = w->accept;
    struct kt_conn *conn = w->conn;
    const bool first = w == oldest(a);
    kt_pipe_listen(kt_conn_pipe(conn), NULL, NULL);
    kt_list_remove(&w->node);
    a->count--;
    free(w);
    if (first) arm(a);
    return conn;
}

static void refuse(struct kt_proxy_accept *a, struct kt_conn *conn, int code)
{
    a->events->refused(a->ctx, conn, code);
    kt_pipe_reset(kt_conn_pipe(conn), code);
}

/* Copies what has arrived, up to the longest header. */
static size_t arrived(struct kt_pipe *p, uint8_t out[KT_PROXY_HEADER_MAX])
{
    struct kt_iov iov[8];
    size_t n = 0;
    const size_t pieces = kt_pipe_peek(p, iov, 8);
    for (size_t i = 0; i < pieces && n < KT_PROXY_HEADER_MAX; i++) {
        const size_t room = KT_PROXY_HEADER_MAX - n, take_n = iov[i].len < room ? iov[i].len : room;
        memcpy(out + n, iov[i].data, take_n);
        n += take_n;
    }
    return n;
}

static void on_readable(void *ctx)
{
    struct waiter *w = ctx;
    struct kt_proxy_accept *a = w->accept;
    struct kt_pipe *p = kt_conn_pipe(w->conn);
    uint8_t data[KT_PROXY_HEADER_MAX];
    struct kt_proxy_header header;
    const int len = kt_proxy_header_read(&header, data, arrived(p, data));
    if (len > 0) {
        struct kt_conn *conn = take(w);
        kt_pipe_consume(p, (size_t)len);
        if (header.named) kt_conn_rename(conn, &header.from, &header.to);
        a->events->ready(a->ctx, conn);
    } else if (len < 0 || kt_pipe_ended(p)) {
        refuse(a, take(w), len < 0 ? KT_EPROTO : KT_ECLOSED);
    }
}

static void on_writable(void *ctx)
{
    (void)ctx;
}

static void on_closed(void *ctx, int code)
{
    struct waiter *w = ctx;
    refuse(w->accept, take(w), code);
}

static size_t room(void *ctx)
{
    (void)ctx;
    return KT_PROXY_HEADER_MAX;
}

static void on_late(void *ctx)
{
    struct kt_proxy_accept *a = ctx;
    struct waiter *w;
    while ((w = oldest(a)) != NULL && w->deadline <= kt_io_now(a->io)) refuse(a, take(w), KT_ETIMEOUT);
    arm(a);
}

void kt_proxy_accept_add(struct kt_proxy_accept *a, struct kt_conn *conn)
{
    static const struct kt_pipe_events events = {
        .readable = on_readable, .writable = on_writable, .closed = on_closed, .room = room};
    if (a->count == KT_PROXY_ACCEPT_MAX) refuse(a, take(oldest(a)), KT_ELIMIT);
    struct waiter *w = malloc(sizeof *w);
    if (!w) {
        refuse(a, conn, KT_ENOMEM);
        return;
    }
    *w = (struct waiter){.accept = a, .conn = conn, .deadline = kt_io_now(a->io) + KT_PROXY_ACCEPT_US};
    kt_list_push(&a->waiting, &w->node);
    a->count++;
    kt_pipe_listen(kt_conn_pipe(conn), &events, w);
    if (!a->timer.armed) arm(a);
    on_readable(w);
}

struct kt_proxy_accept *kt_proxy_accept_new(
    struct kt_io *io, const struct kt_proxy_accept_events *events, void *ctx)
{
    struct kt_proxy_accept *a = malloc(sizeof *a);
    if (!a) return NULL;
    *a = (struct kt_proxy_accept){.io = io, .events = events, .ctx = ctx};
    kt_list_init(&a->waiting);
    kt_timer_init(&a->timer, on_late, a);
    return a;
}

void kt_proxy_accept_free(struct kt_proxy_accept *a)
{
    if (!a) return;
    struct waiter *w;
    while ((w = oldest(a)) != NULL) kt_pipe_reset(kt_conn_pipe(take(w)), KT_ECLOSED);
    kt_io_timer_cancel(a->io, &a->timer);
    free(a);
}
