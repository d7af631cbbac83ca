/* The accepting side: one socket per port, sessions keyed by peer address and socket (spec 7).
 *
 * A datagram that does not authenticate costs its check and nothing else; only an authentic one can make a
 * session. A session lives in the table until it is over: its peer went silent, restarted, broke the
 * protocol, or came back with another conv.
 *
 * An acceptor may be given other settings while it runs: its sessions keep those that they began with, the
 * key among them. So each guest has its kt_shared, and while there are guests of earlier settings (elders), a
 * datagram from one of them is first tried with theirs. */
#include <stdlib.h>
#include <string.h>
#include "base/hmap.h"
#include "link/kcptun/reverse.h"

#define NEW_AFTER_US 1500000u
#define BEGAN_ANEW "the peer began a new session"
#define FORGET_US 60000000u /* longer than kcptun takes to give a session up (spec 9.5) */
#define LINGER_US 10000000u /* for the peer of a retired session to acknowledge the last of it */

struct acceptor;

struct port {
    struct acceptor *acceptor;
    struct kt_udp *udp;
};

/* A session in the table. */
struct guest {
    struct kt_hnode by_peer; /* in acceptor->guests */
    struct kt_hnode by_conv; /* in acceptor->convs */
    struct kt_list by_age;   /* in acceptor->ages */
    struct port *port;
    struct kt_shared *sh; /* counted; the settings that it began with */
    struct kt_addr peer;
    uint32_t conv;
    struct kt_session *session; /* NULL: it broke the protocol; remembered until `forget`, so that its
                                   retransmissions do not begin it again */
    struct kt_timer forget;
    struct kt_list links; /* of kt_reverse: the session as a link, for whose acceptor it is now, and was */
    bool mismatch_told;
};

struct acceptor {
    struct kt_acceptor acceptor;
    struct kt_shared *sh;        /* of new sessions */
    struct kt_shared *next;      /* what they are about to be, or NULL */
    struct kt_link_totals ended; /* of sessions that have ended */
    size_t elders;               /* guests whose settings are not sh */
    uint64_t hash_seed;
    const struct kt_acceptor_events *events;
    void *ctx;
    struct port *ports;
    size_t port_count;
    struct kt_hmap guests; /* by peer address and port; the table that owns them */
    struct kt_hmap convs;
    struct kt_list ages; /* of guests, the oldest first */
    struct kt_turn turn;
    bool closing;
    bool full_told;
};

static uint64_t key_hash(const struct port *port, const struct kt_addr *from)
{
    const struct acceptor *a = port->acceptor;
    return kt_addr_hash(from, a->hash_seed + (uint64_t)(port - a->ports));
}

static uint64_t conv_hash(const struct acceptor *a, uint32_t conv)
{
    return kt_hash_u64(conv, a->hash_seed);
}

/* A live session with this conv, whatever its peer's address. */
static struct guest *find_conv(const struct acceptor *a, uint32_t conv)
{
    struct kt_hnode *n = kt_hmap_find(&a->convs, conv_hash(a, conv));
    for (; n; n = kt_hmap_again(n)) {
        struct guest *g = KT_CONTAINER(n, struct guest, by_conv);
        if (g->conv == conv) return g;
    }
    return NULL;
}

static struct guest *find(const struct port *port, const struct kt_addr *from, uint64_t hash)
{
    struct kt_hnode *n = kt_hmap_find(&port->acceptor->guests, hash);
    for (; n; n = kt_hmap_again(n)) {
        struct guest *g = KT_CONTAINER(n, struct guest, by_peer);
        if (g->port == port && kt_addr_equal(&g->peer, from)) return g;
    }
    return NULL;
}

static void free_guest(struct guest *g, int code, const char *why)
{
    struct acceptor *a = g->port->acceptor;
    kt_hmap_remove(&a->guests, &g->by_peer);
    kt_list_remove(&g->by_age);
    kt_hmap_remove(&a->convs, &g->by_conv);
    if (a->guests.count < a->sh->cfg.max_sessions / 2) a->full_told = false;
    kt_io_timer_cancel(a->sh->io, &g->forget);
    kt_reverse_end_all(&g->links, code, why);
    kt_session_free(g->session, code);
    if (g->sh != a->sh) a->elders--;
    kt_shared_unref(g->sh);
    free(g);
}

/* ---- sessions ---- */

static void on_stream(void *ctx, struct kt_session *s, struct kt_pipe *stream)
{
    struct guest *g = ctx;
    struct acceptor *a = g->port->acceptor;
    struct kt_shared *sh = g->sh;
    if (a->closing || sh->retired) { /* its user has been promised quiet */
        kt_pipe_reset(stream, KT_ECLOSED);
        return;
    }
    struct kt_pipe *clear = kt_admit(sh, s, stream, &g->mismatch_told);
    if (clear) a->events->stream(a->ctx, clear, kt_session_peer_text(s));
}

/* The user of a peer's link closed it. */
static void on_reverse_close(void *ctx)
{
    free_guest(ctx, KT_ECLOSED, "the link was closed");
}

static void give_link(struct guest *g)
{
    struct acceptor *a = g->port->acceptor;
    if (!a->events->link || a->closing || g->sh->retired) return;
    struct kt_reverse *r = kt_reverse_new(&g->links, g->sh, g->session, on_reverse_close, g);
    if (r) a->events->link(a->ctx, kt_reverse_link(r), kt_session_peer_text(g->session));
}

static void on_up(void *ctx, struct kt_session *s)
{
    (void)s;
    give_link(ctx);
}

static void on_hello(void *ctx, struct kt_session *s, uint16_t features)
{
    (void)s;
    (void)features;
    kt_reverse_hello(&((struct guest *)ctx)->links);
}

static void on_over(void *ctx, struct kt_session *s, int code)
{
    struct guest *g = ctx;
    if (code != KT_EPROTO) {
        free_guest(g, code, kt_session_why(s));
        return;
    }
    kt_reverse_end_all(&g->links, code, kt_session_why(s));
    kt_session_free(s, code);
    g->session = NULL;
    kt_io_timer_set(g->port->acceptor->sh->io, &g->forget, kt_io_now(g->port->acceptor->sh->io) + FORGET_US);
}

static void on_forget(void *ctx)
{
    free_guest(ctx, KT_ECLOSED, "the key was changed");
}

/* An idle session waits for its client's next stream; a retired one would wait in vain. */
static void on_idle(void *ctx, struct kt_session *s)
{
    struct guest *g = ctx;
    struct kt_io *io = g->sh->io;
    (void)s;
    if (g->sh->retired) kt_io_timer_set(io, &g->forget, kt_io_now(io) + LINGER_US);
}

static struct guest *new_guest(struct port *port, const struct kt_addr *from, uint64_t hash, uint32_t conv)
{
    struct acceptor *a = port->acceptor;
    struct kt_shared *sh = a->sh;
    if (a->guests.count >= sh->cfg.max_sessions) {
        sh->counters->SessionsRefused++;
        if (!a->full_told)
            kt_log(sh->log, KT_LOG_WARN, "%u sessions: new ones are refused (max_sessions)",
                sh->cfg.max_sessions);
        a->full_told = true;
        return NULL;
    }
    struct guest *g = calloc(1, sizeof *g);
    if (!g) return NULL;
    const struct kt_session_owner owner = {.accept = on_stream,
        .over = on_over,
        .idle = on_idle,
        .up = on_up,
        .hello = on_hello,
        .ctx = g,
        .ended = &a->ended};
    kt_list_init(&g->links);
    g->port = port;
    g->sh = kt_shared_ref(sh);
    g->peer = *from;
    g->conv = conv;
    kt_timer_init(&g->forget, on_forget, g);
    if (kt_session_new(&g->session, sh, conv, port->udp, from, false, &owner)) {
        kt_shared_unref(sh);
        free(g);
        return NULL;
    }
    bool listed = kt_hmap_add(&a->convs, &g->by_conv, conv_hash(a, conv)) == 0;
    if (!listed || kt_hmap_add(&a->guests, &g->by_peer, hash)) {
        if (listed) kt_hmap_remove(&a->convs, &g->by_conv);
        kt_session_free(g->session, KT_ENOMEM);
        kt_shared_unref(sh);
        free(g);
        return NULL;
    }
    kt_list_push(&a->ages, &g->by_age);
    kt_log(sh->log, KT_LOG_INFO, "session from %s, conv %08x", kt_session_peer_text(g->session), conv);
    return g;
}

/* ---- datagrams ---- */

/* Tells the peer of a conversation that we do not know (any more) so, as a restarted kcptun server would; a
 * kt client then begins anew within a few round trips. Nothing is kept, and the answer is shorter than what
 * it answers. */
static void say_unknown(struct port *port, const struct kt_dgram *in, uint32_t conv)
{
    struct kt_shared *sh = port->acceptor->sh;
    uint8_t nonce[KT_SEAL_MAX_NONCE];
    uint8_t *buf = kt_udp_reserve(port->udp);
    if (!buf) return;
    kt_kcp_put_unknown(buf + kt_seal_header(sh->seal), conv, sh->cfg.rcvwnd);
    kt_io_random(sh->io, nonce, kt_seal_nonce(sh->seal));
    size_t len = kt_seal_packet(sh->seal, buf, KT_KCP_OVERHEAD, nonce);
    kt_udp_commit(port->udp, buf, buf, len, in->from, in->to);
    sh->counters->OutPkts++;
    sh->counters->OutBytes += len;
}

/* Finds or makes the session that a body belongs to (spec 7, "Server, per datagram"); NULL: drop it.
 *
 * kcptun makes a session of whatever an unknown address sends. But one who has already received data from us
 * (una), or goes on with a live conversation from another address, is in the middle of something: a new
 * session would replay what FEC can rebuild of its beginning to a new connection of the target, and stall.
 * And the beginning of a conversation whose peer has since got further is an old packet, or one that somebody
 * recorded: it must not end that session.
 *
 * sh: what the datagram was opened with; with retired settings nobody begins a session. */
static struct guest *route(
    struct port *port, const struct kt_shared *sh, const struct kt_dgram *in, const uint8_t *body, size_t len)
{
    const struct kt_addr *from = in->from;
    struct acceptor *a = port->acceptor;
    struct kt_kcp_head head;
    bool has_conv = kt_fec_peek(body, len, &head);
    uint64_t hash = key_hash(port, from);
    struct guest *g = find(port, from, hash);
    if (g && (!has_conv || head.conv == g->conv)) return g->session ? g : NULL;
    if (!has_conv || sh->retired) return NULL;
    if (g && head.sn != 0) return NULL; /* a straggler of an older session */
    /* A peer that has begun anew no longer speaks in the old session; while somebody does, this is an old
     * packet, or a replayed one. */
    if (g && g->session && kt_session_quiet(g->session) < NEW_AFTER_US) return NULL;
    struct guest *elsewhere = find_conv(a, head.conv);
    if (head.una != 0 || (elsewhere && head.sn != 0)) {
        say_unknown(port, in, head.conv);
        return NULL;
    }
    if (elsewhere) {
        if (!elsewhere->session || kt_session_acked(elsewhere->session)) return NULL;
        free_guest(elsewhere, KT_ERESTART,
            BEGAN_ANEW); /* its peer has heard nothing yet, and starts over from here */
    }
    if (g) {
        if (g->session)
            kt_log(a->sh->log, KT_LOG_INFO, "%s began a new session", kt_session_peer_text(g->session));
        free_guest(g, KT_ERESTART, BEGAN_ANEW);
    }
    return new_guest(port, from, hash, head.conv);
}

/* The settings that a datagram is to be opened with. One from an elder's address is either the elder's, and
 * then it is opened here already, or its peer has begun anew. */
static struct kt_shared *settings_for(
    const struct port *port, struct kt_dgram *dgram, uint8_t **body, size_t *len)
{
    const struct acceptor *a = port->acceptor;
    uint8_t copy[KT_UDP_MAX];
    *body = NULL;
    if (a->elders == 0) return a->sh;
    const struct guest *g = find(port, dgram->from, key_hash(port, dgram->from));
    if (!g || g->sh == a->sh) return a->sh;
    memcpy(copy, dgram->data, dgram->len); /* opening is in place, and spoils what is not its own */
    if (kt_open_packet(g->sh->seal, dgram->data, dgram->len, body, len) == 0) {
        a->sh->counters->InBytes += dgram->len;
        return g->sh;
    }
    memcpy(dgram->data, copy, dgram->len);
    *body = NULL;
    return a->sh;
}

static void on_batch(void *ctx, struct kt_dgram *dgrams, size_t n)
{
    struct port *port = ctx;
    for (size_t i = 0; i < n; i++) {
        uint8_t *body;
        size_t len;
        struct kt_shared *sh = settings_for(port, &dgrams[i], &body, &len);
        if (!body && !kt_shared_open(sh, &dgrams[i], &body, &len)) continue;
        struct guest *g = route(port, sh, &dgrams[i], body, len);
        if (!g) {
            sh->counters->InErrs++;
            continue;
        }
        sh->counters->InPkts++;
        kt_session_input(g->session, body, len, dgrams[i].to);
    }
}

/* Rare (the system's buffer was full), so a walk is good enough. */
static void on_writable(void *ctx)
{
    struct port *port = ctx;
    struct kt_hmap *guests = &port->acceptor->guests;
    for (struct kt_hnode *n = kt_hmap_next(guests, NULL); n; n = kt_hmap_next(guests, n)) {
        struct guest *g = KT_CONTAINER(n, struct guest, by_peer);
        if (g->port == port && g->session) kt_session_writable(g->session);
    }
}

static void on_udp_error(void *ctx, int code)
{
    (void)ctx;
    (void)code; /* which peer it concerns is not known; a dead one is found by its silence */
}

static const struct kt_udp_events udp_events = {on_batch, on_writable, on_udp_error};

/* ---- the acceptor ---- */

static void on_stats(const struct kt_acceptor *acceptor, struct kt_link_stats *out)
{
    const struct acceptor *a = KT_CONTAINER(acceptor, struct acceptor, acceptor);
    *out = (struct kt_link_stats){.total = a->ended, .since_heard_us = UINT64_MAX};
    for (struct kt_hnode *n = kt_hmap_next(&a->guests, NULL); n; n = kt_hmap_next(&a->guests, n)) {
        const struct guest *g = KT_CONTAINER(n, struct guest, by_peer);
        if (g->session) kt_session_stats(g->session, out);
    }
}

static void destroy(struct acceptor *a)
{
    struct kt_hnode *n;
    while ((n = kt_hmap_next(&a->guests, NULL)))
        free_guest(KT_CONTAINER(n, struct guest, by_peer), KT_ECLOSED, "the acceptor was closed");
    kt_hmap_free(&a->guests);
    kt_hmap_free(&a->convs);
    for (size_t i = 0; i < a->port_count; i++) kt_udp_close(a->ports[i].udp);
    kt_io_turn_cancel(&a->turn);
    if (a->next) kt_shared_unref(a->next);
    kt_shared_unref(a->sh);
    free(a->ports);
    free(a);
}

static void on_turn(void *ctx)
{
    destroy(ctx);
}

static void on_close(struct kt_acceptor *acceptor)
{
    struct acceptor *a = KT_CONTAINER(acceptor, struct acceptor, acceptor);
    a->closing = true;
    kt_io_turn(a->sh->io, &a->turn); /* not now: this may come from one of its sessions' events */
}

static const struct kt_acceptor_ops ops = {on_stats, on_close};

/* ---- other settings ---- */

int kt_kcptun_change(
    struct kt_acceptor *acceptor, const struct kt_kcptun_config *cfg, bool *differs, struct kt_err *err)
{
    struct acceptor *a = KT_CONTAINER(acceptor, struct acceptor, acceptor);
    struct kt_shared *sh;
    int rc = kt_shared_new(&sh, a->sh->io, cfg, false, a->sh->log, a->sh->counters, err);
    if (rc) return rc;
    *differs = !kt_shared_same(sh, a->sh);
    kt_kcptun_change_drop(acceptor);
    if (*differs)
        a->next = sh;
    else
        kt_shared_unref(sh);
    return 0;
}

void kt_kcptun_handed_over(struct kt_acceptor *acceptor)
{
    struct acceptor *a = KT_CONTAINER(acceptor, struct acceptor, acceptor);
    for (struct kt_list *n = a->ages.next; n != &a->ages; n = n->next) {
        struct guest *g = KT_CONTAINER(n, struct guest, by_age);
        kt_reverse_release(&g->links);
        if (g->session && kt_session_heard(g->session) && !kt_session_over(g->session)) give_link(g);
    }
}

void kt_kcptun_change_drop(struct kt_acceptor *acceptor)
{
    struct acceptor *a = KT_CONTAINER(acceptor, struct acceptor, acceptor);
    if (a->next) kt_shared_unref(a->next);
    a->next = NULL;
}

void kt_kcptun_change_apply(struct kt_acceptor *acceptor, struct kt_change *out)
{
    struct acceptor *a = KT_CONTAINER(acceptor, struct acceptor, acceptor);
    struct kt_shared *old = a->sh;
    *out = (struct kt_change){.sessions = a->guests.count};
    if (!a->next) return;
    out->changed = true;
    old->retired = out->retired = !kt_shared_same_secret(old, a->next);
    a->sh = a->next;
    a->next = NULL;
    a->elders = a->guests.count;
    const uint64_t until = kt_io_now(old->io) + LINGER_US;
    for (struct kt_hnode *n = kt_hmap_next(&a->guests, NULL); out->retired && n;
         n = kt_hmap_next(&a->guests, n)) {
        struct guest *g = KT_CONTAINER(n, struct guest, by_peer);
        g->sh->retired = true; /* elders of elders too */
        if (g->session && kt_session_streams(g->session) == 0) kt_io_timer_set(old->io, &g->forget, until);
    }
    kt_shared_unref(old);
}

/* Binds one port; the wildcard is IPv6 taking IPv4 too, or IPv4 alone where there is no IPv6. */
static int bind_port(struct port *port, const char *host, uint16_t number, struct kt_err *err)
{
    struct kt_shared *sh = port->acceptor->sh;
    struct kt_udp_opts opts = {.dscp = sh->cfg.dscp, .sndbuf = sh->cfg.sockbuf, .rcvbuf = sh->cfg.sockbuf};
    if (host[0]) {
        if (!kt_addr_from_ip(&opts.local, host, number))
            return kt_err_set(err, KT_ECONFIG,
                "\"%s\": listen on an IP address of this machine, or on :%u for all", host, number);
        return kt_udp_open(sh->io, &opts, &udp_events, port, &port->udp, err);
    }
    kt_addr_from_ip(&opts.local, "::", number);
    int rc = kt_udp_open(sh->io, &opts, &udp_events, port, &port->udp, err);
    if (rc == 0 || rc == KT_EINUSE || rc == KT_EACCES) return rc;
    kt_addr_from_ip(&opts.local, "0.0.0.0", number);
    return kt_udp_open(sh->io, &opts, &udp_events, port, &port->udp, err);
}

static int bind_all(struct acceptor *a, const struct kt_endpoint *at, struct kt_err *err)
{
    size_t count = (size_t)at->port_max - at->port_min + 1;
    a->ports = calloc(count, sizeof *a->ports);
    if (!a->ports) return kt_err_set(err, KT_ENOMEM, "out of memory");
    for (; a->port_count < count; a->port_count++) {
        struct port *port = &a->ports[a->port_count];
        port->acceptor = a;
        int rc = bind_port(port, at->host, (uint16_t)(at->port_min + a->port_count), err);
        if (rc) return rc;
    }
    return 0;
}

int kt_kcptun_accept(struct kt_io *io, const struct kt_kcptun_config *cfg, const struct kt_log *log,
    struct kt_counters *counters, const struct kt_acceptor_events *events, void *ctx,
    struct kt_acceptor **out, struct kt_err *err)
{
    struct acceptor *a = calloc(1, sizeof *a);
    if (!a) return kt_err_set(err, KT_ENOMEM, "out of memory");
    int rc = kt_shared_new(&a->sh, io, cfg, false, log, counters, err);
    if (rc) {
        free(a);
        return rc;
    }
    a->acceptor.ops = &ops;
    a->hash_seed = a->sh->hash_seed;
    a->events = events;
    a->ctx = ctx;
    kt_hmap_init(&a->guests);
    kt_list_init(&a->ages);
    kt_hmap_init(&a->convs);
    kt_turn_init(&a->turn, on_turn, a);
    if ((rc = bind_all(a, &cfg->at, err))) {
        destroy(a);
        return rc;
    }
    *out = &a->acceptor;
    return 0;
}
