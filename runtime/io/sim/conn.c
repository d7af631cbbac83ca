/* TCP and unix-socket conns as the pipes that processes hold.
 *
 * As on libuv, a conn reads what its listener has room for; if that is nothing, reading stops until the listener
 * peeks again. A host that reads slowly or in small pieces reads one piece per step.
 *
 * Invariant: `pipe.events` is called only from conn_event and tell, which run in the process's turns, and never
 * after close. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "io/sim/tcp.h"

#define SHORT_US 5u      /* between two pieces of a short read or write */
#define READS_PER_S 100u /* of a slow reader */
/* As on libuv, the time for a paused consumer to read what came before the break. */
#define REST_US 10000000u      /* since its last read */
#define REST_LEAST_US 1000000u /* since the break, if that is later */

static struct sim_conn *of(const struct kt_pipe *p)
{
    return kt_sim_conn_of(p);
}

/* ---- events ---- */

static bool over(const struct sim_conn *c)
{
    return !c->user || c->detached;
}

static void tell(void *ctx)
{
    struct sim_conn *c = ctx;
    const struct kt_pipe_events *events = c->conn.pipe.events;
    if (c->told || over(c) || !events)
        return; /* a later listener learns of it when it first peeks or writes */
    c->told = true;
    if (events->closed) events->closed(c->conn.pipe.ctx, c->code);
}

static void tell_late(struct sim_conn *c)
{
    if (c->code && !c->told && !over(c)) kt_io_turn(&c->p->io, &c->turn);
}

static void on_step(void *ctx);
static void read_on(struct sim_conn *c);
static bool read_some(struct sim_conn *c);
static void rest(struct sim_conn *c);

static void conn_event(void *ctx)
{
    struct sim_conn *c = ctx;
    if (c->dialled) {
        void (*dialled)(void *, int) = c->dialled;
        c->dialled = NULL;
        dialled(c->dialled_ctx, c->answered ? 0 : c->code);
        if (over(c)) return;
        if (c->code)
            on_step(c); /* deliver what came before the break, then the break */
        else
            read_on(c); /* deliver what came in the meantime */
        return;
    }
    const struct kt_pipe_events *events = c->conn.pipe.events;
    if (c->incoming && read_some(c) && events && events->readable) events->readable(c->conn.pipe.ctx);
    tell_late(c);
    if (over(c) || c->code || !c->starved || c->tx.len > SIM_SEND_BUFFER / 2 || c->retry.slot) return;
    c->starved = false;
    events = c->conn.pipe.events;
    if (events && events->writable) events->writable(c->conn.pipe.ctx);
}

static void arrive(struct sim_conn *c)
{
    if (c->p && c->user) kt_sim_arrive(c->p, &c->arrival);
}

void kt_sim_conn_room(struct sim_conn *c)
{
    arrive(c);
}

void kt_sim_conn_broke(struct sim_conn *c, int code)
{
    if (c->code || c->dying) return;
    c->code = code;
    if (!c->p) { /* not accepted yet */
        kt_sim_conn_release(c);
        return;
    }
    if (c->dialled) {
        arrive(c);
        return;
    }
    if (c->rx.len > 0) {
        c->code = 0;
        c->dying = code;
        rest(c); /* it is being read, or the consumer has paused */
        return;
    }
    kt_io_turn(&c->p->io, &c->turn);
    kt_sim_make_ready(c->p);
}

void kt_sim_conn_dead(struct sim_conn *c)
{
    const int code = c->dying;
    c->dying = 0;
    kt_bufq_clear(&c->rx);
    kt_sim_conn_broke(c, code);
}

/* Reads a broken socket to its end, as long as the consumer takes the data. */
static void rest(struct sim_conn *c)
{
    struct kt_sim *sim = c->host->sim;
    kt_sim_event_cancel(sim, &c->limit);
    const uint64_t least = sim->now + REST_LEAST_US, at = c->taken_us + REST_US;
    if (c->rx.len > 0)
        kt_sim_event_set(sim, &c->limit, at > least ? at : least);
    else
        kt_sim_conn_dead(c);
}

/* ---- reading ---- */

void kt_sim_conn_put_in(struct sim_conn *c)
{
    if (c->in.data) kt_slab_put(c->host->sim->reads, c->in.data);
    c->in = (struct kt_read_block){0};
}

/* Bytes to read now; 0: none, until the listener peeks again. */
static size_t room_for(const struct sim_conn *c)
{
    const size_t wanted = kt_read_block_wanted(&c->in, &c->conn.pipe), room = KT_CONN_READ - c->in.len;
    return wanted < room ? wanted : room;
}

/* Moves up to `piece` bytes from the kernel's buffer into the block. Returns the number moved. */
static size_t fetch(struct sim_conn *c, size_t piece)
{
    struct kt_sim *sim = c->host->sim;
    struct kt_iov iov;
    size_t room = room_for(c), want = c->rx.len < room ? c->rx.len : room, done = 0;
    if (want > piece) want = piece;
    if (want == 0) return 0;
    if (!c->in.data) c->in.data = kt_slab_get(sim->reads);
    if (!c->in.data) {
        kt_sim_fail(sim, KT_ENOMEM, "out of memory for a conn");
        return 0;
    }
    while (done < want && kt_bufq_peek(&c->rx, 0, &iov, 1) == 1) {
        size_t n = iov.len < want - done ? iov.len : want - done;
        memcpy(c->in.data + c->in.len, iov.data, n);
        kt_bufq_consume(&c->rx, n);
        c->in.len += n;
        done += n;
    }
    if (done > 0) c->taken_us = sim->now;
    /* Credit goes back in large pieces; the sender has three times as much in hand meanwhile. */
    c->owed += done;
    if (c->owed >= sim->tcp_buffer / 4) {
        kt_sim_tcp_tell(c, SIM_ACK, (uint32_t)c->owed);
        c->owed = 0;
    }
    return done;
}

static size_t next_piece(struct kt_sim_host *h)
{
    size_t piece = KT_CONN_READ;
    if (h->read_rate) {
        piece = h->read_rate / READS_PER_S;
        if (piece == 0) piece = 1;
        if (piece > KT_CONN_READ) piece = KT_CONN_READ;
    }
    if (h->short_max) {
        size_t n = 1 + kt_sim_random_below(&h->short_rng, h->short_max);
        if (n < piece) piece = n;
    }
    return piece;
}

/* True if more can be read. */
static bool unread(const struct sim_conn *c)
{
    return (c->rx.len > 0 || (c->fin_in && !c->eof)) && room_for(c) > 0;
}

/* The process reads. True if it got anything. */
static bool read_some(struct sim_conn *c)
{
    struct kt_sim_host *h = c->host;
    c->incoming = false;
    size_t n = fetch(c, next_piece(h));
    bool fresh = n > 0;
    if (c->fin_in && c->rx.len == 0 && !c->eof && room_for(c) > 0) c->eof = fresh = true;
    if (h->read_rate) c->read_at = h->sim->now + n * 1000000 / h->read_rate + 1;
    if (unread(c)) read_on(c);
    if (c->dying && n > 0) rest(c);
    return fresh;
}

static void on_step(void *ctx)
{
    struct sim_conn *c = ctx;
    c->incoming = true;
    arrive(c);
}

/* Schedules reading: in the process's next turn, or when a slow or short read may continue. */
static void read_on(struct sim_conn *c)
{
    const struct kt_sim_host *h = c->host;
    uint64_t now = h->sim->now, at = now;
    if (c->incoming || c->step.slot || (c->state == SIM_GONE && !c->dying)) return;
    if (h->short_max) at = now + SHORT_US;
    if (h->read_rate && c->read_at > at) at = c->read_at;
    if (at > now)
        kt_sim_event_set(h->sim, &c->step, at);
    else
        on_step(c);
}

void kt_sim_conn_arrived(struct sim_conn *c)
{
    if (c->dialled)
        arrive(c);
    else
        read_on(c);
}

static size_t conn_peek(struct kt_pipe *p, struct kt_iov *iov, size_t max)
{
    struct sim_conn *c = of(p);
    tell_late(c);
    if (unread(c)) read_on(c);
    return kt_read_block_peek(&c->in, iov, max);
}

static void conn_consume(struct kt_pipe *p, size_t n)
{
    struct sim_conn *c = of(p);
    if (!kt_read_block_consume(&c->in, n)) return;
    kt_sim_conn_put_in(c);
    if (unread(c)) read_on(c);
}

static bool conn_ended(const struct kt_pipe *p)
{
    return of(p)->eof;
}

static bool conn_eof(const struct kt_pipe *p)
{
    const struct sim_conn *c = of(p);
    return c->eof && !kt_read_block_unread(&c->in);
}

/* ---- writing ---- */

static void on_retry(void *ctx)
{
    arrive(ctx);
}

static size_t conn_write(struct kt_pipe *p, const void *data, size_t n)
{
    struct sim_conn *c = of(p);
    tell_late(c);
    if (c->shut || c->code || c->detached || c->state != SIM_OPEN || n == 0) return 0;
    size_t want = n, done = 0;
    if (c->host->short_max) {
        size_t most = 1 + kt_sim_random_below(&c->host->short_rng, c->host->short_max);
        if (most < want) {
            want = most;
            kt_sim_event_set(c->host->sim, &c->retry, c->host->sim->now + SHORT_US);
        }
    }
    while (done < want) {
        size_t room = SIM_SEND_BUFFER - c->tx.len, take = want - done < room ? want - done : room;
        if (take == 0) break;
        take = kt_bufq_append(&c->tx, (const uint8_t *)data + done, take);
        if (take == 0) break;
        done += take;
        kt_sim_tcp_push(c);
    }
    if (done < n) c->starved = true;
    return done;
}

/* ---- ending ---- */

static size_t conn_room(struct kt_pipe *p)
{
    struct sim_conn *c = of(p);
    if (c->shut || c->code || c->detached || c->state != SIM_OPEN) return 1;
    if (c->tx.len >= SIM_SEND_BUFFER) c->starved = true;
    return SIM_SEND_BUFFER - c->tx.len;
}

static void conn_shutdown(struct kt_pipe *p)
{
    struct sim_conn *c = of(p);
    if (c->shut || c->code || c->detached) return;
    c->shut = true;
    c->starved = false;
    kt_sim_tcp_push(c);
}

/* All processes of a world belong to this one's user. */
static int unix_user(const struct kt_conn *conn, uint32_t *uid)
{
    (void)conn;
    *uid = geteuid();
    return 0;
}

static bool conn_half_close(const struct kt_pipe *p)
{
    (void)p;
    return true;
}

/* Detaches the process from the conn. */
static void give_up(struct sim_conn *c)
{
    assert(c->user);
    c->user = false;
    c->conn.pipe.events = NULL;
    c->dialled = NULL;
    c->dying = 0;
    kt_sim_conn_put_in(c);
    kt_io_turn_cancel(&c->turn);
    kt_list_remove(&c->arrival.node);
    kt_sim_ended(c->p);
    c->p = NULL;
}

static void end(struct sim_conn *c)
{
    kt_sim_tcp_tell(c, SIM_RST, 0);
    c->detached = true;
    kt_sim_tcp_gone(c);
    kt_sim_conn_release(c);
}

static void conn_reset(struct kt_pipe *p, int reason, const char *text)
{
    (void)reason; /* TCP cannot carry it */
    (void)text;
    kt_sim_conn_drop(of(p));
}

void kt_sim_conn_drop(struct sim_conn *c)
{
    bool killed = c->detached;
    if (c->user) give_up(c);
    if (killed)
        kt_sim_conn_release(c); /* its kernel delivers the rest */
    else
        end(c);
}

static void conn_close(struct kt_pipe *p)
{
    struct sim_conn *c = of(p);
    bool killed = c->detached;
    give_up(c);
    if (killed)
        kt_sim_conn_release(c);
    else
        kt_sim_tcp_detach(c);
}

/* ---- the beginning ---- */

static const struct kt_pipe_ops pipe_ops = {
    .peek = conn_peek,
    .consume = conn_consume,
    .eof = conn_eof,
    .ended = conn_ended,
    .write = conn_write,
    .room = conn_room,
    .shutdown = conn_shutdown,
    .half_close = conn_half_close,
    .reset = conn_reset,
    .close = conn_close,
};

void kt_sim_conn_init(struct sim_conn *c)
{
    c->conn.pipe.ops = &pipe_ops;
    kt_turn_init(&c->arrival, conn_event, c);
    kt_turn_init(&c->turn, tell, c);
    kt_sim_event_init(&c->step, on_step, c);
    kt_sim_event_init(&c->retry, on_retry, c);
}

void kt_sim_conn_name(struct sim_conn *c, const char *path)
{
    struct kt_conn_names *names = kt_conn_names(&c->conn);
    if (path) {
        char text[128];
        snprintf(text, sizeof text, "unix:%.107s", path);
        c->conn.unix_peer = strdup(c->side ? "unix:" : text);
        if (names) snprintf(names->local, sizeof names->local, "%s", c->side ? text : "unix:");
        c->conn.user = unix_user;
        return;
    }
    c->conn.peer = c->remote;
    if (names) kt_addr_text(&c->local, names->local);
}
