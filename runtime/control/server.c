/* Accepts clients, splits their input into requests, and queues what goes to them.
 *
 * Invariant: a client has a request in progress (`busy`), or output to send, or it is read from. So its input waits
 * in the system while it owes a read, and `in` holds at most one line beyond the request. The timer runs while the
 * client owes something: its first request, the rest of a line, or to read. */
#include "control/server.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/list.h"
#include "base/log.h"
#include "base/pipe.h"
#include "control/quote.h"
#include "control/request.h"
#include "io/io.h"

#define NEXT_US                                                                                              \
    1000u /* between two requests of a client, so that one with many of them does not fill the turn */

struct text {
    char *data;
    size_t len, size;
};

struct kt_control_client {
    struct kt_list node; /* in s->clients */
    struct kt_control_server *s;
    struct kt_pipe *pipe;
    struct kt_turn doomed_turn; /* ends it outside of the pipe's and the user's calls */
    struct kt_turn flush_turn;  /* sends a stream's queued lines */
    struct kt_timer patience;
    struct kt_timer next; /* looks for the next request */
    struct text in, out;
    size_t max;                                          /* of `out` */
    size_t sent;                                         /* bytes of `out` that the pipe has taken */
    char id[sizeof((struct kt_control_request *)0)->id]; /* of the request in progress */
    bool busy;                                           /* its request has not been answered */
    bool streams;                                        /* it follows a stream */
    bool ends;                                           /* to be closed once `out` is sent */
    bool doomed;                                         /* to be dropped at the end of the turn */
};

struct kt_control_server {
    struct kt_io *io;
    const struct kt_log *log;
    const struct kt_control_events *events;
    void *ctx;
    struct kt_listener *listener;
    struct kt_list clients;
    size_t count;
};

/* ---- the end of a client ---- */

static void free_client(struct kt_control_client *c)
{
    struct kt_io *io = c->s->io;
    kt_io_timer_cancel(io, &c->patience);
    kt_io_timer_cancel(io, &c->next);
    kt_io_turn_cancel(&c->doomed_turn);
    kt_io_turn_cancel(&c->flush_turn);
    kt_list_remove(&c->node);
    c->s->count--;
    free(c->in.data);
    free(c->out.data);
    free(c);
}

static void end_client(struct kt_control_client *c, bool clean)
{
    if (c->busy || c->streams) c->s->events->gone(c->s->ctx, c);
    if (clean)
        kt_pipe_close(c->pipe);
    else
        kt_pipe_reset(c->pipe, KT_ECLOSED);
    free_client(c);
}

static void on_doomed(void *ctx)
{
    struct kt_control_client *c = ctx;
    end_client(c, c->ends);
}

/* Ends it at the end of the turn. clean: written lines are delivered. */
static void doom(struct kt_control_client *c, bool clean)
{
    if (c->doomed) return;
    c->doomed = true;
    c->ends = clean;
    kt_io_turn(c->s->io, &c->doomed_turn);
}

static void on_impatient(void *ctx)
{
    struct kt_control_client *c = ctx;
    kt_log(c->s->log, KT_LOG_DEBUG, "control: dropped a client that %s",
        c->out.len ? "does not read" : "does not finish its request");
    doom(c, false);
}

static void wait_for_client(struct kt_control_client *c)
{
    kt_io_timer_set(c->s->io, &c->patience, kt_io_now(c->s->io) + KT_CONTROL_PATIENCE_US);
}

/* ---- output ---- */

static bool add(struct text *t, const char *data, size_t len)
{
    if (t->size - t->len < len) {
        size_t size = t->size ? t->size : 256;
        while (size - t->len < len) size *= 2;
        char *grown = realloc(t->data, size);
        if (!grown) return false;
        t->data = grown;
        t->size = size;
    }
    memcpy(t->data + t->len, data, len);
    t->len += len;
    return true;
}

static void give_back(struct text *t)
{
    free(t->data);
    *t = (struct text){0};
}

static void look_again(struct kt_control_client *c)
{
    if (!c->busy && !c->streams && !c->next.armed)
        kt_io_timer_set(c->s->io, &c->next, kt_io_now(c->s->io) + NEXT_US);
}

static void flush(struct kt_control_client *c)
{
    const size_t left = c->out.len - c->sent;
    const size_t taken = left ? kt_pipe_write(c->pipe, c->out.data + c->sent, left) : 0;
    c->sent += taken;
    if (c->sent < c->out.len) {
        if (taken || !c->patience.armed) wait_for_client(c);
        return;
    }
    give_back(&c->out);
    c->sent = 0;
    kt_io_timer_cancel(c->s->io, &c->patience);
    if (c->ends)
        doom(c, true);
    else
        look_again(c);
}

/* Queues a line made of pieces, of which there are n. */
static bool put(struct kt_control_client *c, const struct kt_iov *pieces, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++) len += pieces[i].len;
    if (c->sent == c->out.len) c->sent = c->out.len = 0;
    if (c->out.len - c->sent + len > c->max) return false;
    if (c->sent > c->out.len / 2) { /* else moving the rest would cost more than it gives */
        c->out.len -= c->sent;
        memmove(c->out.data, c->out.data + c->sent, c->out.len);
        c->sent = 0;
    }
    const size_t before = c->out.len;
    for (size_t i = 0; i < n; i++) {
        if (add(&c->out, (const char *)pieces[i].data, pieces[i].len)) continue;
        c->out.len = before;
        return false;
    }
    return true;
}

#define TEXT(s)                                                                                              \
    {                                                                                                        \
        (const uint8_t *)(s), strlen(s)                                                                      \
    }

static bool put_answer(struct kt_control_client *c, bool ok, const char *json, size_t len)
{
    const struct kt_iov pieces[] = {TEXT("{"), TEXT(c->id[0] ? "\"id\":" : ""), TEXT(c->id),
        TEXT(c->id[0] ? "," : ""), TEXT(ok ? "\"ok\":true,\"result\":" : "\"ok\":false,\"error\":"),
        {(const uint8_t *)json, len}, TEXT("}\n")};
    return put(c, pieces, sizeof pieces / sizeof pieces[0]);
}

static void answered(struct kt_control_client *c)
{
    c->busy = false;
    c->id[0] = '\0';
    flush(c);
}

void kt_control_refuse(struct kt_control_client *c, int code, const char *text)
{
    char quoted[2048], json[2200];
    const int len = snprintf(json, sizeof json, "{\"code\":\"%s\",\"message\":%s}", kt_errname(code),
        kt_control_quote(quoted, sizeof quoted, text));
    if (!put_answer(c, false, json, (size_t)len)) doom(c, false);
    answered(c);
}

void kt_control_answer(struct kt_control_client *c, const char *json, size_t len)
{
    if (!put_answer(c, true, json, len)) {
        kt_control_refuse(c, KT_ELIMIT, "the answer is too large; ask for less");
        return;
    }
    answered(c);
}

/* ---- streams ---- */

/* The client wants no more. Lines that were sent to it are delivered. */
static void end_stream(struct kt_control_client *c)
{
    if (c->doomed || !c->streams) return;
    c->s->events->gone(c->s->ctx, c);
    c->streams = false;
    c->ends = true;
    flush(c);
}

void kt_control_stream_begin(struct kt_control_client *c, size_t max)
{
    c->streams = true;
    c->max = max;
    kt_control_answer(c, "true", 4);
    give_back(&c->in);
    if (kt_pipe_eof(c->pipe)) kt_io_turn(c->s->io, &c->flush_turn); /* not within the call that begins it */
}

void kt_control_stream(struct kt_control_client *c, const char *name, const char *json, size_t len)
{
    if (c->doomed || c->ends) return;
    const struct kt_iov pieces[] = {
        TEXT("{\""), TEXT(name), TEXT("\":"), {(const uint8_t *)json, len}, TEXT("}\n")};
    if (put(c, pieces, sizeof pieces / sizeof pieces[0])) {
        kt_io_turn(c->s->io, &c->flush_turn);
        return;
    }
    kt_log(c->s->log, KT_LOG_DEBUG, "control: dropped a client that does not read its stream");
    doom(c, false);
}

static void on_flush(void *ctx)
{
    struct kt_control_client *c = ctx;
    if (c->streams && kt_pipe_eof(c->pipe)) end_stream(c);
    if (!c->doomed) flush(c);
}

size_t kt_control_backlog(const struct kt_control_client *c)
{
    return c->out.len - c->sent;
}

/* ---- input ---- */

static void begin(struct kt_control_client *c, const char *line, size_t len)
{
    struct kt_control_request r;
    struct kt_err err = {0};
    const int rc = kt_control_request_parse(&r, line, len, &err);
    c->busy = true;
    memcpy(c->id, r.id, sizeof c->id);
    kt_io_timer_cancel(c->s->io, &c->patience);
    if (rc == 0) {
        c->s->events->request(c->s->ctx, c, &r);
    } else {
        c->ends = true; /* what follows may be anything */
        kt_control_refuse(c, rc, err.text);
    }
    kt_control_request_free(&r);
}

/* Takes the first line out of `in` and begins its request. False: there is no whole line. */
static bool take_line(struct kt_control_client *c)
{
    char *newline = c->in.len ? memchr(c->in.data, '\n', c->in.len) : NULL;
    if (!newline) return false;
    const size_t len = (size_t)(newline - c->in.data);
    char *line = c->in.data;
    const struct text rest = {NULL, 0, 0};
    const size_t left = c->in.len - len - 1;
    struct text in = c->in;
    *newline = '\0';
    c->in = rest;
    if (left && !add(&c->in, newline + 1, left)) doom(c, false);
    begin(c, line, len);
    free(in.data);
    return true;
}

/* Reads what has arrived into `in`, up to a line's length. */
static void read_in(struct kt_control_client *c)
{
    struct kt_iov iov;
    while (c->in.len <= KT_CONTROL_LINE && kt_pipe_peek(c->pipe, &iov, 1) == 1 && iov.len > 0) {
        const size_t room = KT_CONTROL_LINE + 1 - c->in.len;
        const size_t n = iov.len < room ? iov.len : room;
        if (!add(&c->in, (const char *)iov.data, n)) {
            doom(c, false);
            return;
        }
        kt_pipe_consume(c->pipe, n);
    }
}

static void look(struct kt_control_client *c)
{
    if (c->doomed || c->busy || c->streams || c->ends || c->out.len) return;
    if (take_line(c)) return;
    read_in(c);
    if (c->doomed || take_line(c)) return;
    if (c->in.len > KT_CONTROL_LINE) {
        c->ends = c->busy = true;
        kt_control_refuse(c, KT_ELIMIT, "the request is too long");
    } else if (kt_pipe_eof(c->pipe)) {
        doom(c, true);
    } else if (c->in.len && !c->patience.armed) {
        wait_for_client(c);
    }
}

static void on_next(void *ctx)
{
    look(ctx);
}

static void on_readable(void *ctx)
{
    struct kt_control_client *c = ctx;
    struct kt_iov iov;
    if (c->streams) { /* its input is ignored, but its end ends the stream, even an idle one */
        while (kt_pipe_peek(c->pipe, &iov, 1) == 1 && iov.len > 0) kt_pipe_consume(c->pipe, iov.len);
        if (kt_pipe_eof(c->pipe)) end_stream(c);
        return;
    }
    if (!c->next.armed) look(c); /* the pause between two requests is not over */
}

static void on_writable(void *ctx)
{
    struct kt_control_client *c = ctx;
    if (!c->doomed) flush(c);
}

static void on_closed(void *ctx, int code)
{
    (void)code;
    doom(ctx, false);
}

static size_t room(void *ctx)
{
    const struct kt_control_client *c = ctx;
    if (c->streams) return 4096;
    return c->busy || c->out.len ? 0 : KT_CONTROL_LINE + 1 - c->in.len;
}

/* ---- accepting ---- */

/* For a client that is not let in: says why, if that fits, and ends it. */
static void turn_away(struct kt_pipe *pipe, int code, const char *text)
{
    char line[256];
    const int len = snprintf(line, sizeof line,
        "{\"ok\":false,\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}\n", kt_errname(code), text);
    kt_pipe_write(pipe, line, (size_t)len);
    kt_pipe_reset(pipe, code);
}

static void on_conn(void *ctx, struct kt_conn *conn)
{
    static const struct kt_pipe_events events = {
        .readable = on_readable, .writable = on_writable, .closed = on_closed, .room = room};
    struct kt_control_server *s = ctx;
    struct kt_pipe *pipe = kt_conn_pipe(conn);
    uint32_t uid;
    if (kt_conn_user(conn, &uid) != 0 || (uid != geteuid() && uid != 0)) {
        turn_away(pipe, KT_EACCES, "only the user of this kt and root may connect");
        return;
    }
    struct kt_control_client *c = s->count < KT_CONTROL_CLIENTS ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        turn_away(pipe, KT_ELIMIT, "too many control clients; try again");
        return;
    }
    c->s = s;
    c->pipe = pipe;
    c->max = KT_CONTROL_OUT;
    kt_turn_init(&c->doomed_turn, on_doomed, c);
    kt_turn_init(&c->flush_turn, on_flush, c);
    kt_timer_init(&c->patience, on_impatient, c);
    kt_timer_init(&c->next, on_next, c);
    kt_list_push(&s->clients, &c->node);
    s->count++;
    kt_pipe_listen(pipe, &events, c);
    wait_for_client(c);
    look_again(c);
}

int kt_control_server_open(struct kt_io *io, const struct kt_log *log, const char *path,
    const struct kt_control_events *events, void *ctx, struct kt_control_server **out, struct kt_err *err)
{
    static const struct kt_listener_events listener_events = {.conn = on_conn};
    struct kt_endpoint at = {.is_unix = true, .mode = 0600};
    *out = NULL;
    if (strlen(path) > 107)
        return kt_err_set(err, KT_EINVAL, "%.60s...: a socket's path is at most 107 bytes long", path);
    snprintf(at.host, sizeof at.host, "%s", path);
    struct kt_control_server *s = calloc(1, sizeof *s);
    if (!s) return kt_err_set(err, KT_ENOMEM, "%s", kt_strerror(KT_ENOMEM));
    *s = (struct kt_control_server){.io = io, .log = log, .events = events, .ctx = ctx};
    kt_list_init(&s->clients);
    const int rc = kt_listen(io, &at, &listener_events, s, &s->listener, err);
    if (rc) {
        free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void kt_control_server_close(struct kt_control_server *s)
{
    if (!s) return;
    for (struct kt_list *n; (n = s->clients.next) != &s->clients;) {
        struct kt_control_client *c = KT_CONTAINER(n, struct kt_control_client, node);
        kt_pipe_close(c->pipe);
        free_client(c);
    }
    kt_listener_close(s->listener);
    free(s);
}
