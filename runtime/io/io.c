/* The common part of the I/O seam: passes calls to the backend's ops and keeps the list of turn hooks.
 *
 * Invariant: a kt_turn is in io->turn exactly while it is due. It is removed before it runs, so a hook may queue
 * itself or any other again. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/io.h"

void kt_io_init(struct kt_io *io, const struct kt_io_ops *ops, const struct kt_log *log, uint64_t now_us)
{
    io->ops = ops;
    io->log = log;
    io->now = now_us;
    io->descriptors = SIZE_MAX;
    kt_wheel_init(&io->wheel, now_us);
    kt_list_init(&io->turn);
}

/* ---- loop, clock, chance ---- */

void kt_io_run(struct kt_io *io)
{
    io->ops->run(io);
}

void kt_io_stop(struct kt_io *io)
{
    io->ops->stop(io);
}

void kt_io_free(struct kt_io *io)
{
    if (io) io->ops->free(io);
}

size_t kt_io_descriptors(const struct kt_io *io)
{
    return io->descriptors;
}

void kt_io_udp_limits(struct kt_io *io, size_t *receive, size_t *send)
{
    *receive = *send = 0;
    if (io->ops->udp_limits) io->ops->udp_limits(io, receive, send);
}

void kt_io_freed(struct kt_io *io)
{
    if (io->ops->freed) io->ops->freed(io);
}

uint64_t kt_io_now(const struct kt_io *io)
{
    return io->now;
}

uint64_t kt_io_left(const struct kt_io *io, uint64_t at)
{
    return at > io->now ? at - io->now : 0;
}

uint64_t kt_io_clock(struct kt_io *io)
{
    return io->ops->clock(io);
}

uint64_t kt_io_wall(struct kt_io *io)
{
    return io->ops->wall(io);
}

void kt_io_machine(struct kt_io *io, char *out, size_t size)
{
    out[0] = '\0';
    if (io->ops->machine) io->ops->machine(io, out, size);
}

void kt_io_random(struct kt_io *io, void *out, size_t n)
{
    io->ops->random(io, out, n);
}

/* ---- work that takes long ---- */

int kt_work(
    struct kt_io *io, const struct kt_job *job, void (*done)(void *ctx), void *ctx, struct kt_work **out)
{
    return io->ops->work(io, job, done, ctx, out);
}

void kt_work_cancel(struct kt_work *w)
{
    w->cancel(w);
}

/* ---- slices ---- */

int kt_watch_new(struct kt_io *io, kt_watch_tick tick, void *ctx, struct kt_watch **out)
{
    *out = NULL;
    return io->ops->watch_new ? io->ops->watch_new(io, tick, ctx, out) : KT_ENOTSUP;
}

void kt_watch_begin(struct kt_watch *w)
{
    w->begin(w);
}

uint64_t kt_watch_end(struct kt_watch *w)
{
    return w->end(w);
}

void kt_watch_free(struct kt_watch *w)
{
    if (w) w->free(w);
}

/* ---- timers and the end of a turn ---- */

void kt_io_timer_set(struct kt_io *io, struct kt_timer *t, uint64_t at_us)
{
    kt_wheel_set(&io->wheel, t, at_us);
}

void kt_io_timer_cancel(struct kt_io *io, struct kt_timer *t)
{
    kt_wheel_cancel(&io->wheel, t);
}

void kt_turn_init(struct kt_turn *t, void (*fn)(void *ctx), void *ctx)
{
    kt_list_init(&t->node);
    t->fn = fn;
    t->ctx = ctx;
}

void kt_io_turn(struct kt_io *io, struct kt_turn *t)
{
    if (kt_list_empty(&t->node)) kt_list_push(&io->turn, &t->node);
}

void kt_io_turn_cancel(struct kt_turn *t)
{
    kt_list_remove(&t->node);
}

void kt_io_turn_end(struct kt_io *io)
{
    struct kt_list *node;
    while ((node = kt_list_pop(&io->turn)) != NULL) {
        struct kt_turn *t = KT_CONTAINER(node, struct kt_turn, node);
        t->fn(t->ctx);
    }
}

/* ---- UDP ---- */

int kt_udp_open(struct kt_io *io, const struct kt_udp_opts *opts, const struct kt_udp_events *events,
    void *ctx, struct kt_udp **out, struct kt_err *err)
{
    return io->ops->udp_open(io, opts, events, ctx, out, err);
}

uint8_t *kt_udp_reserve(struct kt_udp *udp)
{
    return udp->ops->reserve(udp);
}

void kt_udp_commit(struct kt_udp *udp, uint8_t *buf, const uint8_t *data, size_t len,
    const struct kt_addr *to, const struct kt_addr *from)
{
    assert(data >= buf && len <= KT_UDP_MAX && (size_t)(data - buf) <= KT_UDP_MAX - len);
    udp->ops->commit(udp, buf, data, len, to, from);
}

void kt_udp_cancel(struct kt_udp *udp, uint8_t *buf)
{
    udp->ops->cancel(udp, buf);
}

void kt_udp_fragment(struct kt_udp *udp, uint8_t *buf)
{
    udp->ops->fragment(udp, buf);
}

void kt_udp_local(const struct kt_udp *udp, struct kt_addr *out)
{
    udp->ops->local(udp, out);
}

bool kt_udp_remote(const struct kt_udp *udp, struct kt_addr *out)
{
    return udp->ops->remote(udp, out);
}

const struct kt_udp_stats *kt_udp_stats(const struct kt_udp *udp)
{
    return &udp->stats;
}

void kt_udp_close(struct kt_udp *udp)
{
    if (udp) udp->ops->close(udp);
}

/* ---- TCP and unix sockets ---- */

struct kt_pipe *kt_conn_pipe(struct kt_conn *conn)
{
    return &conn->pipe;
}

void kt_conn_set_user_timeout(struct kt_conn *conn, uint64_t us)
{
    conn->user_timeout_us = us;
}

int kt_conn_user(const struct kt_conn *conn, uint32_t *uid)
{
    return conn->user ? conn->user(conn, uid) : KT_ENOTSUP;
}

const struct kt_addr *kt_conn_peer_addr(const struct kt_conn *conn)
{
    return conn->peer.sa.sa_family == AF_UNSPEC ? NULL : &conn->peer;
}

const char *kt_conn_peer(const struct kt_conn *conn, char out[KT_CONN_NAME])
{
    if (kt_conn_peer_addr(conn)) return kt_addr_text(&conn->peer, out);
    snprintf(out, KT_CONN_NAME, "%s", conn->unix_peer ? conn->unix_peer : "?");
    return out;
}

struct kt_conn_names *kt_conn_names(struct kt_conn *conn)
{
    if (!conn->names) conn->names = calloc(1, sizeof *conn->names);
    return conn->names;
}

void kt_conn_forget_names(struct kt_conn *conn)
{
    free(conn->names);
    free(conn->unix_peer);
}

const char *kt_conn_original(const struct kt_conn *conn)
{
    return conn->names && conn->names->original[0] ? conn->names->original : NULL;
}

const char *kt_conn_local(struct kt_conn *conn)
{
    struct kt_conn_names *names = kt_conn_names(conn);
    if (!names) return "?";
    if (!names->local[0] && conn->name_local) conn->name_local(conn, names->local);
    return names->local;
}

void kt_conn_rename(struct kt_conn *conn, const struct kt_addr *peer, const struct kt_addr *local)
{
    conn->peer = *peer;
    struct kt_conn_names *names = kt_conn_names(conn);
    if (names) kt_addr_text(local, names->local);
}

int kt_listen(struct kt_io *io, const struct kt_endpoint *at, const struct kt_listener_events *events,
    void *ctx, struct kt_listener **out, struct kt_err *err)
{
    return io->ops->listen(io, at, events, ctx, out, err);
}

const char *kt_listener_local(const struct kt_listener *l)
{
    return l->local;
}

void kt_listener_close(struct kt_listener *l)
{
    if (l) l->close(l);
}

/* ---- names, signals, files ---- */

int kt_resolve(struct kt_io *io, const char *host, uint16_t port, kt_resolve_cb cb, void *ctx,
    struct kt_resolve **out, struct kt_err *err)
{
    return io->ops->resolve(io, host, port, cb, ctx, out, err);
}

void kt_resolve_cancel(struct kt_resolve *r)
{
    if (r) r->cancel(r);
}

int kt_signal_watch(struct kt_io *io, int signum, void (*fn)(void *ctx, int signum), void *ctx,
    struct kt_signal **out, struct kt_err *err)
{
    return io->ops->signal_watch(io, signum, fn, ctx, out, err);
}

void kt_signal_close(struct kt_signal *s)
{
    if (s) s->close(s);
}

int kt_file_read(struct kt_io *io, const char *path, size_t max, char **data, size_t *len, struct kt_err *err)
{
    return io->ops->file_read(io, path, max, data, len, err);
}

int kt_file_read_real(
    struct kt_io *io, const char *real, size_t max, char **data, size_t *len, struct kt_err *err)
{
    if (!io->ops->file_read_real) return io->ops->file_read(io, real, max, data, len, err);
    return io->ops->file_read_real(io, real, max, data, len, err);
}

int kt_file_real(struct kt_io *io, const char *path, bool fresh, char *out, size_t size, struct kt_err *err)
{
    return io->ops->file_real(io, path, fresh, out, size, err);
}

int kt_file_create(struct kt_io *io, const char *path, const void *data, size_t len, struct kt_err *err)
{
    if (!io->ops->file_create) return kt_err_set(err, KT_ENOTSUP, "%s: cannot create files here", path);
    return io->ops->file_create(io, path, data, len, err);
}

int kt_file_watch(struct kt_io *io, const char *path, void (*fn)(void *ctx), void *ctx,
    struct kt_file_watch **out, struct kt_err *err)
{
    return io->ops->file_watch(io, path, fn, ctx, out, err);
}

void kt_file_watch_close(struct kt_file_watch *w)
{
    if (w) w->close(w);
}

int kt_input_open(struct kt_io *io, bool keys, void (*fn)(void *ctx, const char *data, size_t n), void *ctx,
    struct kt_input **out, struct kt_err *err)
{
    *out = NULL;
    if (!io->ops->input_open) return kt_err_set(err, KT_ENOTSUP, "no standard input here");
    return io->ops->input_open(io, keys, fn, ctx, out, err);
}

void kt_input_read(struct kt_input *input, bool on)
{
    input->read(input, on);
}

bool kt_input_size(const struct kt_input *input, unsigned *columns, unsigned *rows)
{
    return input->size(input, columns, rows);
}

void kt_input_close(struct kt_input *input)
{
    input->close(input);
}

/* ---- appenders ---- */

/* An appender for backends where appending to a file never blocks. */
struct direct {
    struct kt_appender appender; /* first */
    struct kt_io *io;
    const struct kt_append_events *events;
    void *ctx;
    const char *head; /* stored after the path; NULL: none */
    char path[];
};

static bool is_empty(struct kt_io *io, const char *path)
{
    char *data;
    size_t len;
    int rc = kt_file_read(io, path, 1, &data, &len, NULL);
    if (rc == 0) free(data);
    return rc == KT_ENOENT || (rc == 0 && len == 0);
}

static void direct_put(struct kt_appender *a, const char *text, size_t len)
{
    const struct direct *d = (struct direct *)(void *)a;
    struct kt_err err = {0};
    int rc = 0;
    if (d->head && is_empty(d->io, d->path))
        rc = d->io->ops->file_append(d->io, d->path, d->head, strlen(d->head), &err);
    if (rc == 0) rc = d->io->ops->file_append(d->io, d->path, text, len, &err);
    if (rc && d->events && d->events->failed) d->events->failed(d->ctx, &err, text, len);
}

static void direct_close(struct kt_appender *a, bool wait)
{
    (void)wait;
    free(a);
}

int kt_append_open(
    struct kt_io *io, const struct kt_append_options *options, struct kt_appender **out, struct kt_err *err)
{
    const char *path = options->path, *head = options->head;
    *out = NULL;
    if (io->ops->append_open) return io->ops->append_open(io, options, out, err);
    int rc = io->ops->file_append(io, path, "", 0, err);
    if (rc) return rc;
    const size_t size = strlen(path) + 1, head_size = head ? strlen(head) + 1 : 0;
    struct direct *d = calloc(1, sizeof *d + size + head_size);
    if (!d) return kt_err_set(err, KT_ENOMEM, "%s: out of memory", path);
    *d = (struct direct){
        {direct_put, direct_close}, io, options->events, options->ctx, head ? d->path + size : NULL};
    memcpy(d->path, path, size);
    if (head) memcpy(d->path + size, head, head_size);
    *out = &d->appender;
    return 0;
}

void kt_append(struct kt_appender *a, const char *text, size_t len)
{
    a->put(a, text, len);
}

void kt_append_close(struct kt_appender *a, bool wait)
{
    if (a) a->close(a, wait);
}
