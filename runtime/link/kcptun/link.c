/* The dialling side: sessions in rotation (spec 7), dialled when a stream asks for them and redialled when
 * they end.
 *
 * A slot holds one session at most. Opens wait in their slot while its name is looked up (anew for each
 * session); nothing else waits for them. A session whose peer has restarted leaves the streams that the peer
 * had not seen to the next one. An expired session moves to `draining` and serves its streams there until
 * they end or scavenge_us has passed.
 *
 * Invariant: every pending open is in exactly one list (a slot's waiting, or `ready` until its callback), and
 * gets exactly one callback unless it is cancelled or the link is closed. */
#include <stdlib.h>
#include "link/kcptun/agree.h"
#include "link/kcptun/session.h"
#include "link/tuncrypt.h"

#define RETRY_US 1000000u
/* How often in a row dialling may fail while young streams of a restarted peer wait for it. */
#define MAX_FAILS 3
/* With --tuncrypt: how long after the peer acknowledged our hello its own may take. */
#define HELLO_US 3000000u

struct link;
struct dial;

struct opening {
    struct kt_open open;
    struct kt_list node;
    struct link *link;
    kt_open_cb cb;
    void *ctx;
    struct kt_pipe *stream; /* result, while in `ready` */
    struct kt_err err;
};

/* A session with the socket it owns. */
struct dial {
    struct kt_list node; /* in link->draining, or in no list */
    struct link *link;
    struct slot *slot; /* NULL while draining */
    struct kt_udp *udp;
    struct kt_session *session;
    struct kt_timer scavenge; /* cuts an expired one */
    struct kt_timer hello;    /* waits for the peer's */
    uint64_t hello_deadline;
    int code;     /* why it ended, once it is a slot's `dead` */
    bool refused; /* said that nothing listens there */
};

struct slot {
    struct link *link;
    struct dial *dial;
    struct dial *dead;      /* ended, kept for its young streams until the next is up */
    struct kt_list waiting; /* of opening */
    struct kt_resolve *resolve;
    struct kt_timer retry;
    unsigned fails; /* sessions that heard nothing, and dials that failed, since one heard something */
    bool complained;
};

struct link {
    struct kt_link link;
    struct kt_shared *sh;
    struct slot *slots;
    size_t next;
    struct kt_list draining; /* of dial */
    struct kt_list ready;    /* of opening: their callbacks come from the turn hook */
    struct kt_turn turn;
    bool closing;
};

static void dial_slot(struct slot *slot);

/* ---- opens ---- */

static void complete(struct opening *o, struct kt_pipe *stream, const struct kt_err *err)
{
    kt_list_remove(&o->node);
    o->stream = stream;
    if (err) o->err = *err;
    kt_list_push(&o->link->ready, &o->node);
    kt_io_turn(o->link->sh->io, &o->link->turn);
}

static void fail_waiting(struct slot *slot, const struct kt_err *err)
{
    while (!kt_list_empty(&slot->waiting))
        complete(KT_CONTAINER(slot->waiting.next, struct opening, node), NULL, err);
}

static void cancel_open(struct kt_open *open)
{
    struct opening *o = KT_CONTAINER(open, struct opening, open);
    if (o->stream) kt_pipe_reset(o->stream, KT_ECANCELED);
    kt_list_remove(&o->node);
    free(o);
}

/* Opens a stream for one waiting open; false if the session cannot take it (used up). */
static bool serve(struct dial *d, struct opening *o)
{
    struct kt_shared *sh = d->link->sh;
    struct kt_pipe *stream, *clear;
    struct kt_err err = {0};
    int rc = kt_session_open(d->session, &stream);
    if (rc == KT_ELIMIT) return false;
    if (!rc && sh->cfg.tuncrypt) {
        rc = kt_tuncrypt(sh->io, stream, sh->pass, true, &clear);
        if (rc)
            kt_pipe_reset(stream, rc);
        else
            stream = clear;
    }
    if (rc) kt_err_set(&err, rc, "%s", kt_strerror(rc));
    complete(o, rc ? NULL : stream, rc ? &err : NULL);
    return true;
}

/* ---- sessions ---- */

static void free_dial(struct dial *d, int code)
{
    kt_io_timer_cancel(d->link->sh->io, &d->scavenge);
    kt_io_timer_cancel(d->link->sh->io, &d->hello);
    kt_list_remove(&d->node);
    kt_session_free(d->session, code);
    kt_udp_close(d->udp);
    free(d);
}

/* Takes a session out of its slot; it goes on with its streams. */
static void drain(struct dial *d)
{
    struct kt_shared *sh = d->link->sh;
    d->slot->dial = NULL;
    d->slot = NULL;
    kt_list_push(&d->link->draining, &d->node);
    kt_io_timer_set(sh->io, &d->scavenge, kt_io_now(sh->io) + sh->cfg.scavenge_us);
}

static bool expired(const struct dial *d)
{
    const struct kt_shared *sh = d->link->sh;
    return sh->cfg.expire_us && kt_io_now(sh->io) - kt_session_born(d->session) >= sh->cfg.expire_us;
}

/* With --tuncrypt nothing is opened before the peer said that it has it too: a foreign peer would pass noise
 * on to its target. */
static bool hello_missing(const struct dial *d)
{
    return d->link->sh->cfg.tuncrypt && !kt_session_hello(d->session, NULL);
}

/* Once the peer has said hello it is known whether the two ends go together. */
static bool mismatched(const struct dial *d, struct kt_err *err)
{
    uint16_t features;
    return kt_session_hello(d->session, &features) &&
           !kt_agree(d->link->sh->features, true, features, "the server", err);
}

static void serve_waiting(struct slot *slot)
{
    struct dial *d = slot->dial;
    struct kt_err err;
    if (!d || kt_session_over(d->session) || hello_missing(d)) return;
    if (mismatched(d, &err)) {
        fail_waiting(slot, &err);
        return;
    }
    while (!kt_list_empty(&slot->waiting)) {
        if (serve(d, KT_CONTAINER(slot->waiting.next, struct opening, node))) continue;
        drain(d); /* its stream ids are used up */
        dial_slot(slot);
        return;
    }
}

static void on_stream(void *ctx, struct kt_session *s, struct kt_pipe *stream)
{
    (void)ctx;
    (void)s;
    kt_pipe_reset(stream, KT_ENOTSUP); /* nobody here serves streams that the far side opens */
}

static void on_over(void *ctx, struct kt_session *s, int code)
{
    struct dial *d = ctx;
    struct slot *slot = d->slot;
    if (!slot) {
        free_dial(d, code);
        return;
    }
    slot->dial = NULL;
    slot->fails = kt_session_heard(s) ? 0 : slot->fails + 1;
    /* A peer that merely went silent may have heard all we sent, and acted on it: what is not acknowledged
     * may still not be said again. One that has restarted has not. */
    if (code == KT_ERESTART && kt_session_young(s)) {
        slot->dead = d; /* on_resolved moves what can be moved */
        d->slot = NULL;
        d->code = code;
        kt_io_timer_cancel(d->link->sh->io, &d->hello);
        dial_slot(slot);
        return;
    }
    free_dial(d, code);
    if (!kt_list_empty(&slot->waiting)) dial_slot(slot);
}

static void on_idle(void *ctx, struct kt_session *s)
{
    struct dial *d = ctx;
    (void)s;
    if (!d->slot) free_dial(d, KT_ECLOSED);
}

static void on_hello(void *ctx, struct kt_session *s, uint16_t features)
{
    struct dial *d = ctx;
    struct kt_err err;
    (void)features;
    if (mismatched(d, &err))
        kt_log(d->link->sh->log, KT_LOG_ERROR, "%s: %s", kt_session_peer_text(s), err.text);
    if (d->slot) serve_waiting(d->slot);
}

/* An expired session has had its time. */
static void on_scavenge(void *ctx)
{
    struct dial *d = ctx;
    kt_log(d->link->sh->log, KT_LOG_INFO, "session with %s expired: cutting %zu streams",
        kt_session_peer_text(d->session), kt_session_streams(d->session));
    free_dial(d, KT_ECLOSED);
}

/* With --tuncrypt, while opens wait for the peer's hello. */
static void on_hello_timer(void *ctx)
{
    struct dial *d = ctx;
    struct kt_shared *sh = d->link->sh;
    struct slot *slot = d->slot;
    if (!slot || !hello_missing(d) || kt_list_empty(&slot->waiting)) return;
    uint64_t now = kt_io_now(sh->io);
    if (!kt_session_settled(d->session)) d->hello_deadline = now + HELLO_US; /* it has not heard ours yet */
    if (now < d->hello_deadline) {
        kt_io_timer_set(sh->io, &d->hello, now + HELLO_US / 10);
        return;
    }
    struct kt_err err;
    kt_err_set(
        &err, KT_EMISMATCH, "tuncrypt needs kt on both ends, and the server has not said that it is one");
    kt_log(sh->log, KT_LOG_ERROR, "%s: %s", kt_session_peer_text(d->session), err.text);
    fail_waiting(slot, &err);
}

/* ---- datagrams ---- */

static void on_batch(void *ctx, struct kt_dgram *dgrams, size_t n)
{
    struct dial *d = ctx;
    struct kt_shared *sh = d->link->sh;
    for (size_t i = 0; i < n; i++) {
        uint8_t *body;
        size_t len;
        struct kt_kcp_head head;
        if (!kt_shared_open(sh, &dgrams[i], &body, &len)) continue;
        if (kt_fec_peek(body, len, &head) && head.conv != kt_session_conv(d->session)) {
            sh->counters->InErrs++;
            continue;
        }
        sh->counters->InPkts++;
        kt_session_input(d->session, body, len);
    }
}

static void on_writable(void *ctx)
{
    kt_session_writable(((struct dial *)ctx)->session);
}

static void on_udp_error(void *ctx, int code)
{
    struct dial *d = ctx;
    if (code != KT_EREFUSED || d->refused) return;
    d->refused = true;
    kt_log(d->link->sh->log, KT_LOG_WARN, "%s: nothing listens there (port unreachable)",
        kt_session_peer_text(d->session));
}

static const struct kt_udp_events udp_events = {on_batch, on_writable, on_udp_error};

/* ---- dialling ---- */

static int make_dial(struct slot *slot, const struct kt_addr *peer, struct kt_err *err)
{
    struct link *l = slot->link;
    struct kt_shared *sh = l->sh;
    struct dial *d = calloc(1, sizeof *d);
    if (!d) return kt_err_set(err, KT_ENOMEM, "out of memory");
    d->link = l;
    d->slot = slot;
    kt_list_init(&d->node);
    kt_timer_init(&d->scavenge, on_scavenge, d);
    kt_timer_init(&d->hello, on_hello_timer, d);

    struct kt_udp_opts opts = {
        .remote = peer, .dscp = sh->cfg.dscp, .sndbuf = sh->cfg.sockbuf, .rcvbuf = sh->cfg.sockbuf};
    kt_addr_from_ip(&opts.local, peer->sa.sa_family == AF_INET6 ? "::" : "0.0.0.0", 0);
    int rc = kt_udp_open(sh->io, &opts, &udp_events, d, &d->udp, err);
    if (rc) {
        free(d);
        return rc;
    }
    const struct kt_session_owner owner = {on_stream, on_over, on_idle, on_hello, d};
    uint32_t conv;
    kt_io_random(sh->io, &conv, sizeof conv);
    rc = kt_session_new(&d->session, sh, conv, d->udp, peer, true, &owner);
    if (rc) {
        kt_udp_close(d->udp);
        free(d);
        return kt_err_set(err, rc, "cannot start a session: %s", kt_strerror(rc));
    }
    slot->dial = d;
    if (sh->cfg.tuncrypt) {
        kt_session_greet(d->session);
        d->hello_deadline = kt_io_now(sh->io) + HELLO_US;
        kt_io_timer_set(sh->io, &d->hello, kt_io_now(sh->io) + HELLO_US / 10);
    }
    kt_log(
        sh->log, KT_LOG_DEBUG, "session with %s started, conv %08x", kt_session_peer_text(d->session), conv);
    return 0;
}

/* The streams of a dead session do not hang in the balance for ever. */
static void bury(struct slot *slot)
{
    struct dial *dead = slot->dead;
    slot->dead = NULL;
    if (dead) free_dial(dead, dead->code);
}

static void later(struct slot *slot, const struct kt_err *err)
{
    struct kt_shared *sh = slot->link->sh;
    if (!slot->complained) kt_log(sh->log, KT_LOG_WARN, "%s; trying again every second", err->text);
    slot->complained = true;
    kt_io_timer_set(sh->io, &slot->retry, kt_io_now(sh->io) + RETRY_US);
    if (++slot->fails > MAX_FAILS) bury(slot);
}

static void on_resolved(void *ctx, const struct kt_addr *addrs, size_t n, const struct kt_err *lookup)
{
    struct slot *slot = ctx;
    struct kt_err err = {0};
    slot->resolve = NULL;
    if (n == 0) {
        later(slot, lookup);
        return;
    }
    /* one after the other, while none is heard from; at once, where there is no way to it */
    int rc = KT_ENAME;
    for (size_t i = 0; i < n && rc; i++) rc = make_dial(slot, &addrs[(slot->fails + i) % n], &err);
    if (rc) {
        later(slot, &err);
        return;
    }
    slot->complained = false;
    if (slot->dead) {
        size_t moved = kt_session_move_young(slot->dead->session, slot->dial->session);
        if (moved)
            kt_log(slot->link->sh->log, KT_LOG_INFO, "%zu new stream%s carried over to a new session with %s",
                moved, moved == 1 ? "" : "s", kt_session_peer_text(slot->dial->session));
        bury(slot);
    }
    serve_waiting(slot);
}

static void dial_slot(struct slot *slot)
{
    struct kt_shared *sh = slot->link->sh;
    const struct kt_endpoint *at = &sh->cfg.at;
    struct kt_err err = {0};
    if (slot->resolve || slot->retry.armed) return;
    uint32_t port = at->port_min;
    if (at->port_max > at->port_min) { /* spec 7: each new session picks a port of the range */
        uint32_t r;
        kt_io_random(sh->io, &r, sizeof r);
        port += r % ((uint32_t)at->port_max - at->port_min + 1);
    }
    if (kt_resolve(sh->io, at->host, (uint16_t)port, on_resolved, slot, &slot->resolve, &err))
        later(slot, &err);
}

static void on_retry(void *ctx)
{
    struct slot *slot = ctx;
    if (!kt_list_empty(&slot->waiting) || slot->dead) dial_slot(slot);
}

/* ---- the link ---- */

static int on_open(struct kt_link *link, kt_open_cb cb, void *ctx, struct kt_open **out, struct kt_err *err)
{
    struct link *l = KT_CONTAINER(link, struct link, link);
    struct opening *o = calloc(1, sizeof *o);
    if (!o) return kt_err_set(err, KT_ENOMEM, "out of memory");
    o->open.cancel = cancel_open;
    o->link = l;
    o->cb = cb;
    o->ctx = ctx;
    struct slot *slot = &l->slots[l->next++ % l->sh->cfg.conn];
    kt_list_push(&slot->waiting, &o->node);
    *out = &o->open;

    if (slot->dial && expired(slot->dial)) {
        bool unused = kt_session_streams(slot->dial->session) == 0 && !kt_session_busy(slot->dial->session);
        struct dial *old = slot->dial;
        drain(old);
        if (unused) free_dial(old, KT_ECLOSED);
    }
    if (!slot->dial) {
        dial_slot(slot);
    } else if (hello_missing(slot->dial)) {
        kt_io_timer_set(l->sh->io, &slot->dial->hello, kt_io_now(l->sh->io) + HELLO_US / 10);
    } else {
        serve_waiting(slot);
    }
    return 0;
}

static void on_stats(const struct kt_link *link, struct kt_link_stats *out)
{
    const struct link *l = KT_CONTAINER(link, struct link, link);
    *out = (struct kt_link_stats){.since_heard_us = UINT64_MAX};
    for (size_t i = 0; i < l->sh->cfg.conn; i++)
        if (l->slots[i].dial) kt_session_stats(l->slots[i].dial->session, out);
    for (const struct kt_list *n = l->draining.next; n != &l->draining; n = n->next)
        kt_session_stats(KT_CONTAINER(n, struct dial, node)->session, out);
}

static void destroy(struct link *l)
{
    struct kt_list *n;
    for (size_t i = 0; i < l->sh->cfg.conn; i++) {
        struct slot *slot = &l->slots[i];
        if (slot->resolve) kt_resolve_cancel(slot->resolve);
        kt_io_timer_cancel(l->sh->io, &slot->retry);
        if (slot->dial) free_dial(slot->dial, KT_ECLOSED);
        if (slot->dead) free_dial(slot->dead, KT_ECLOSED);
        while (!kt_list_empty(&slot->waiting))
            cancel_open(&KT_CONTAINER(slot->waiting.next, struct opening, node)->open);
    }
    while ((n = kt_list_pop(&l->draining))) free_dial(KT_CONTAINER(n, struct dial, node), KT_ECLOSED);
    while (!kt_list_empty(&l->ready)) cancel_open(&KT_CONTAINER(l->ready.next, struct opening, node)->open);
    kt_io_turn_cancel(&l->turn);
    kt_shared_unref(l->sh);
    free(l->slots);
    free(l);
}

static void on_turn(void *ctx)
{
    struct link *l = ctx;
    struct kt_list *n;
    while (!l->closing && (n = kt_list_pop(&l->ready))) {
        struct opening *o = KT_CONTAINER(n, struct opening, node);
        struct opening done = *o;
        free(o);
        done.cb(done.ctx, done.stream, done.stream ? NULL : &done.err);
    }
    if (l->closing) destroy(l);
}

static void on_close(struct kt_link *link)
{
    struct link *l = KT_CONTAINER(link, struct link, link);
    l->closing = true;
    kt_io_turn(l->sh->io, &l->turn);
}

static const struct kt_link_ops ops = {on_open, on_stats, on_close};

int kt_kcptun_link(struct kt_io *io, const struct kt_kcptun_config *cfg, const struct kt_log *log,
    struct kt_counters *counters, struct kt_link **out, struct kt_err *err)
{
    struct link *l = calloc(1, sizeof *l);
    if (!l) return kt_err_set(err, KT_ENOMEM, "out of memory");
    int rc = kt_shared_new(&l->sh, io, cfg, true, log, counters, err);
    if (rc) {
        free(l);
        return rc;
    }
    l->slots = calloc(cfg->conn, sizeof *l->slots);
    if (!l->slots) {
        kt_shared_unref(l->sh);
        free(l);
        return kt_err_set(err, KT_ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < cfg->conn; i++) {
        l->slots[i].link = l;
        kt_list_init(&l->slots[i].waiting);
        kt_timer_init(&l->slots[i].retry, on_retry, &l->slots[i]);
    }
    kt_list_init(&l->draining);
    kt_list_init(&l->ready);
    kt_turn_init(&l->turn, on_turn, l);
    l->link.ops = &ops;
    *out = &l->link;
    return 0;
}
