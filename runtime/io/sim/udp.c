/* UDP sockets.
 *
 * Transmit buffers are packets from the world's slab, so a datagram is never copied on its way. Invariant: the user is
 * called only from udp_event, in the process's turn; a socket is bound (found by its port) until it is closed or its
 * process is killed. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "io/system.h"
#include "io/sim/internal.h"

#define SLOTS 128u     /* buffers reserved or committed at one time */
#define RCVBUF 212992u /* limit on bytes that wait for the process; Linux's default */
#define OVERHEAD 256u  /* overhead of a datagram within that limit */

struct sim_udp {
    struct kt_udp udp;
    struct sim_io *p;
    struct kt_sim_host *host;
    const struct kt_udp_events *events;
    void *ctx;
    struct kt_list node;  /* in host->udps */
    struct kt_hnode port; /* in host->udp_ports, while bound */
    struct kt_addr local, remote;
    struct kt_turn arrival;
    struct kt_list in, out; /* of sim_packet */
    struct kt_list dirty;   /* in p->udp_dirty */
    size_t in_bytes, rcvbuf;
    unsigned n_out, n_reserved;
    int error; /* KT_E… to report, or 0 */
    bool bound, connected, shared, starved, closed;
    bool diverted, foreign;
    bool wildcard; /* bound to one, and not connected: datagrams come and go with the host's address */
    struct sim_grave grave;
};

static struct sim_udp *of(const struct kt_udp *udp)
{
    return (struct sim_udp *)(void *)(uintptr_t)udp;
}

static struct sim_packet *of_buf(uint8_t *buf)
{
    return KT_CONTAINER(buf, struct sim_packet, bytes);
}

/* ---- arrivals ---- */

static bool has_room(const struct sim_udp *s)
{
    return s->n_out + s->n_reserved < SLOTS && s->host->udp_full_until <= s->p->sim->now;
}

static bool over(const struct sim_udp *s)
{
    return s->closed || s->p->dead;
}

/* Delivers up to a batch of waiting datagrams. */
static void hand_over(struct sim_udp *s)
{
    struct sim_packet *taken[KT_UDP_BATCH];
    struct kt_dgram dgrams[KT_UDP_BATCH];
    struct kt_sim *sim = s->p->sim;
    size_t n = 0;
    while (n < KT_UDP_BATCH && !kt_list_empty(&s->in)) {
        struct sim_packet *k = KT_CONTAINER(kt_list_pop(&s->in), struct sim_packet, node);
        s->in_bytes -= k->len + OVERHEAD;
        s->udp.stats.in_pkts++;
        s->udp.stats.in_bytes += k->len;
        taken[n] = k;
        dgrams[n++] = (struct kt_dgram){.data = k->data,
            .len = k->len,
            .from = &k->src,
            .to = s->wildcard ? &k->local : NULL,
            .original = s->diverted ? &k->original : NULL};
    }
    s->udp.stats.in_calls++;
    s->events->batch(s->ctx, dgrams, n);
    for (size_t i = 0; i < n; i++) kt_sim_packet_free(sim, taken[i]);
}

static void udp_event(void *ctx)
{
    struct sim_udp *s = ctx;
    while (!over(s) && !kt_list_empty(&s->in)) hand_over(s);
    if (s->error && !over(s)) {
        int code = s->error;
        s->error = 0;
        if (s->events->error) s->events->error(s->ctx, code);
    }
    if (s->starved && !over(s) && has_room(s)) {
        s->starved = false;
        if (s->events->writable) s->events->writable(s->ctx);
    }
}

/* How well s matches a packet from src to dst; 0: not at all. */
static unsigned suits(const struct sim_udp *s, const struct kt_addr *src, const struct kt_addr *dst)
{
    bool any = kt_sim_is_any(&s->local);
    if (s->foreign || kt_addr_port(&s->local) != kt_addr_port(dst)) return 0;
    if (any ? s->local.sa.sa_family == AF_INET && dst->sa.sa_family != AF_INET
            : !kt_addr_equal(&s->local, dst))
        return 0;
    if (s->connected) return kt_addr_equal(&s->remote, src) ? 4 : 0;
    return any ? 1 + (s->local.sa.sa_family == dst->sa.sa_family) : 3;
}

/* The socket for a packet. Among several that share the port, the sender's address decides. */
static struct sim_udp *find(const struct kt_sim_host *h, const struct kt_addr *src, const struct kt_addr *dst)
{
    struct sim_udp *best = NULL;
    unsigned score = 0;
    uint64_t rank = 0;
    struct kt_hnode *n = kt_hmap_find(&h->udp_ports, kt_hash_u64(kt_addr_port(dst), 0));
    for (uint64_t i = 0; n; n = kt_hmap_again(n), i++) {
        struct sim_udp *s = KT_CONTAINER(n, struct sim_udp, port);
        unsigned points = suits(s, src, dst);
        uint64_t r = kt_hash_u64(i, kt_addr_hash(src, 1));
        if (points == 0 || points < score || (points == score && r < rank)) continue;
        best = s;
        score = points;
        rank = r;
    }
    return best;
}

/* The socket that gets datagrams to addresses of other hosts. */
static struct sim_udp *find_diverted(const struct kt_sim_host *h, const struct kt_addr *dst)
{
    for (struct kt_list *n = h->udps.next; n != &h->udps; n = n->next) {
        struct sim_udp *s = KT_CONTAINER(n, struct sim_udp, node);
        if (s->diverted && kt_sim_covers(&s->local, dst)) return s;
    }
    return NULL;
}

enum kt_sim_cause kt_sim_udp_input(struct kt_sim_host *h, struct sim_packet *k, const struct kt_addr *dst)
{
    struct sim_udp *s = kt_sim_is_own(h, dst) ? find(h, &k->src, dst) : find_diverted(h, dst);
    if (!s) return KT_SIM_NO_PORT;
    if (s->in_bytes > 0 && s->in_bytes + k->len + OVERHEAD > s->rcvbuf) return KT_SIM_SOCKET;
    k->local = k->original = *dst;
    kt_addr_set_port(&k->local, 0);
    s->in_bytes += k->len + OVERHEAD;
    kt_list_push(&s->in, &k->node);
    kt_sim_arrive(s->p, &s->arrival);
    return KT_SIM_NOT_LOST;
}

void kt_sim_udp_refuse(struct kt_sim_host *h, const struct sim_packet *k)
{
    struct sim_packet *icmp = kt_sim_packet_new(h->sim, KT_SIM_ICMP);
    if (!icmp) return;
    icmp->src = k->dst;
    icmp->dst = k->src;
    icmp->len = 28; /* quotes the packet's head; 20 + 8 + 28 are 56 bytes in all */
    memset(icmp->bytes, 0, icmp->len);
    kt_sim_send(h, icmp);
}

static void note(struct sim_udp *s, int code)
{
    s->error = code;
    kt_sim_arrive(s->p, &s->arrival);
}

void kt_sim_icmp_input(struct kt_sim_host *h, const struct sim_packet *k, const struct kt_addr *dst)
{
    struct sim_udp *s = find(h, &k->src, dst);
    if (s && s->connected) note(s, KT_EREFUSED);
}

/* ---- sending ---- */

static uint8_t *udp_reserve(struct kt_udp *udp)
{
    struct sim_udp *s = of(udp);
    assert(!s->closed);
    if (s->p->dead) return NULL;
    if (s->n_out + s->n_reserved >= SLOTS) kt_sim_udp_flush(s->p);
    struct sim_packet *k = has_room(s) ? kt_sim_packet_new(s->p->sim, KT_SIM_UDP) : NULL;
    if (!k) {
        s->starved = true;
        return NULL;
    }
    s->n_reserved++;
    return k->bytes;
}

static void udp_fragment(struct kt_udp *udp, uint8_t *buf)
{
    (void)udp;
    of_buf(buf)->fragment = true;
}

static void room(struct sim_udp *s)
{
    if (s->starved && has_room(s)) kt_sim_arrive(s->p, &s->arrival);
}

static void udp_cancel(struct kt_udp *udp, uint8_t *buf)
{
    struct sim_udp *s = of(udp);
    kt_sim_packet_free(s->p->sim, of_buf(buf));
    s->n_reserved--;
    room(s);
}

static void udp_commit(struct kt_udp *udp, uint8_t *buf, const uint8_t *data, size_t len,
    const struct kt_addr *to, const struct kt_addr *from)
{
    struct sim_udp *s = of(udp);
    struct sim_packet *k = of_buf(buf);
    assert(to || s->connected);
    s->n_reserved--;
    if (over(s)) {
        kt_sim_packet_free(s->p->sim, k);
        return;
    }
    k->data = buf + (data - buf);
    k->len = len;
    k->dst = to ? *to : s->remote;
    k->sourced =
        from && s->wildcard && from->sa.sa_family == k->dst.sa.sa_family && kt_sim_is_own(s->host, from);
    if (k->sourced) k->src = *from;
    kt_list_push(&s->out, &k->node);
    s->n_out++;
    if (kt_list_empty(&s->dirty)) kt_list_push(&s->p->udp_dirty, &s->dirty);
}

/* 0, or why the system would not send it. */
static int transmit(struct sim_udp *s, struct sim_packet *k)
{
    const struct kt_addr *to = &k->dst;
    bool any = kt_sim_is_any(&s->local), v6 = s->local.sa.sa_family == AF_INET6;
    int refused = 0;
    if (v6 ? to->sa.sa_family == AF_INET && !any : to->sa.sa_family != AF_INET)
        refused = KT_EINVAL; /* neither a v4 socket nor one bound to a v6 address can */
    else if (kt_addr_port(to) == 0 || kt_sim_is_any(to))
        refused = KT_EINVAL;
    else if (to->sa.sa_family == AF_INET && to->in4.sin_addr.s_addr == INADDR_BROADCAST)
        refused = KT_EACCES;
    else if (!any && !s->foreign && !kt_sim_is_own(s->host, &s->local))
        refused = KT_EINVAL; /* the host has moved */
    else if (!any && kt_sim_is_loopback(&s->local) && !kt_sim_is_own(s->host, to))
        refused = KT_EINVAL;
    else if (any && !k->sourced && !kt_sim_source(s->host, to, &k->src))
        refused = KT_EUNREACH;
    if (refused) {
        kt_sim_packet_free(s->p->sim, k);
        return refused;
    }
    if (!any) k->src = s->local;
    kt_addr_set_port(&k->src, kt_addr_port(&s->local));
    return kt_sim_send(s->host, k);
}

static void send_all(struct sim_udp *s)
{
    if (s->n_out > 0) s->udp.stats.out_calls++;
    while (!kt_list_empty(&s->out)) {
        struct sim_packet *k = KT_CONTAINER(kt_list_pop(&s->out), struct sim_packet, node);
        size_t len = k->len;
        s->n_out--;
        int code = transmit(s, k);
        if (code) {
            s->udp.stats.out_dropped++;
            if (s->connected && !s->closed) note(s, code);
        } else {
            s->udp.stats.out_pkts++;
            s->udp.stats.out_bytes += len;
        }
    }
    room(s);
}

void kt_sim_udp_flush(struct sim_io *p)
{
    struct kt_list *node;
    while ((node = kt_list_pop(&p->udp_dirty)) != NULL) send_all(KT_CONTAINER(node, struct sim_udp, dirty));
}

void kt_sim_udp_room(void *host)
{
    struct kt_sim_host *h = host;
    for (struct kt_list *n = h->udps.next; n != &h->udps; n = n->next)
        room(KT_CONTAINER(n, struct sim_udp, node));
}

/* ---- opening and closing ---- */

static void drop_all(struct sim_udp *s, struct kt_list *list)
{
    struct kt_list *node;
    while ((node = kt_list_pop(list)) != NULL)
        kt_sim_packet_free(s->p->sim, KT_CONTAINER(node, struct sim_packet, node));
}

static void unbind(struct sim_udp *s)
{
    if (!s->bound) return;
    s->bound = false;
    kt_hmap_remove(&s->host->udp_ports, &s->port);
    kt_list_remove(&s->node);
    kt_sim_host_closed(s->host);
    drop_all(s, &s->in);
    s->in_bytes = 0;
}

void kt_sim_udp_vanish(struct kt_sim_host *h, const struct sim_io *p)
{
    struct kt_list *node = h->udps.next, *next;
    for (; node != &h->udps; node = next) {
        struct sim_udp *s = KT_CONTAINER(node, struct sim_udp, node);
        next = node->next;
        if (p && s->p != p) continue;
        unbind(s);
        drop_all(s, &s->out);
        s->n_out = 0;
    }
}

static void destroy(struct sim_grave *g)
{
    free(KT_CONTAINER(g, struct sim_udp, grave));
}

static void udp_close(struct kt_udp *udp)
{
    struct sim_udp *s = of(udp);
    assert(!s->closed);
    if (!s->p->dead) send_all(s); /* one attempt, like io/uv */
    s->closed = true;
    kt_list_remove(&s->dirty);
    kt_list_remove(&s->arrival.node);
    drop_all(s, &s->out);
    unbind(s);
    kt_sim_ended(s->p);
    kt_sim_bury(s->p->sim, &s->grave, destroy);
}

static void udp_local(const struct kt_udp *udp, struct kt_addr *out)
{
    *out = of(udp)->local;
}

static bool udp_remote(const struct kt_udp *udp, struct kt_addr *out)
{
    *out = of(udp)->remote;
    return of(udp)->connected;
}

static bool overlap(const struct kt_addr *a, const struct kt_addr *b)
{
    bool any_a = kt_sim_is_any(a), any_b = kt_sim_is_any(b), same = a->sa.sa_family == b->sa.sa_family;
    if (!any_a && !any_b) return kt_addr_same_host(a, b);
    /* [::] is v4's wildcard too. */
    return same || (any_a && a->sa.sa_family == AF_INET6) || (any_b && b->sa.sa_family == AF_INET6);
}

static bool port_taken(const struct kt_sim_host *h, uint16_t port)
{
    return kt_hmap_find(&h->udp_ports, kt_hash_u64(port, 0)) != NULL;
}

static int bind_local(struct sim_udp *s)
{
    struct kt_sim_host *h = s->host;
    int errnum = s->foreign ? 0 : kt_sim_bindable(h, &s->local);
    if (errnum) return errnum;
    if (kt_addr_port(&s->local) == 0) {
        uint16_t port = kt_sim_port(h, port_taken);
        if (!port) return EADDRINUSE;
        kt_addr_set_port(&s->local, port);
    }
    uint64_t hash = kt_hash_u64(kt_addr_port(&s->local), 0);
    for (struct kt_hnode *n = kt_hmap_find(&h->udp_ports, hash); n; n = kt_hmap_again(n)) {
        const struct sim_udp *other = KT_CONTAINER(n, const struct sim_udp, port);
        if (s->foreign || other->foreign) continue;
        if (overlap(&other->local, &s->local) && !(other->shared && s->shared)) return EADDRINUSE;
    }
    return kt_hmap_add(&h->udp_ports, &s->port, hash) == 0 ? 0 : ENOMEM;
}

/* "eth0": the host's first address. */
static int find_device(struct sim_udp *s, const struct kt_udp_opts *opts, struct kt_err *err)
{
    struct kt_addr found;
    if (!kt_sim_host_device(s->host, opts->device, &found))
        return kt_err_set(err, KT_EUNREACH, "%s: this machine has no such network interface", opts->device);
    if (opts->remote && found.sa.sa_family != opts->remote->sa.sa_family)
        return kt_err_set(err, KT_EUNREACH, "%s: Network is unreachable", opts->device);
    kt_addr_set_port(&found, kt_addr_port(&opts->local));
    s->local = found;
    return 0;
}

static int set_up(struct sim_udp *s, const struct kt_udp_opts *opts, struct kt_err *err)
{
    char text[KT_ADDR_TEXT];
    int scope = kt_addr_check_scope(&opts->local, err);
    if (!scope && opts->remote) scope = kt_addr_check_scope(opts->remote, err);
    if (scope) return scope;
    s->local = opts->local;
    s->shared = opts->reuse_port;
    s->diverted = opts->diverted;
    s->foreign = opts->foreign;
    s->rcvbuf = opts->rcvbuf ? opts->rcvbuf : RCVBUF;
    if (s->local.sa.sa_family == AF_UNSPEC && opts->remote)
        s->local.sa.sa_family = opts->remote->sa.sa_family;
    if (opts->device && (scope = find_device(s, opts, err))) return scope;
    int errnum = bind_local(s);
    if (errnum)
        return kt_system_bind_error(err, kt_addr_text(&s->local, text), kt_addr_port(&s->local), errnum);
    s->bound = true;
    kt_sim_host_opened(s->host);
    kt_list_push(&s->host->udps, &s->node);
    s->wildcard = !opts->remote && kt_sim_is_any(&s->local);
    if (!opts->remote) return 0;
    s->remote = *opts->remote;
    s->connected = true;
    if (!kt_sim_is_any(&s->local)) return 0;
    struct kt_addr source;
    if (!kt_sim_source(s->host, &s->remote, &source)) {
        unbind(s);
        return kt_err_set(err, KT_EUNREACH, "%s: Network is unreachable", kt_addr_text(&s->remote, text));
    }
    kt_addr_set_port(&source, kt_addr_port(&s->local));
    s->local = source;
    return 0;
}

static const struct kt_udp_ops udp_ops = {
    .reserve = udp_reserve,
    .commit = udp_commit,
    .cancel = udp_cancel,
    .fragment = udp_fragment,
    .local = udp_local,
    .remote = udp_remote,
    .close = udp_close,
};

int kt_sim_udp_open(struct kt_io *io, const struct kt_udp_opts *opts, const struct kt_udp_events *events,
    void *ctx, struct kt_udp **out, struct kt_err *err)
{
    *out = NULL;
    struct sim_io *p = kt_sim_io(io);
    if (kt_sim_alive(p, err) != 0) return KT_ECLOSED;
    struct sim_udp *s = calloc(1, sizeof *s);
    if (!s) return kt_err_set(err, KT_ENOMEM, "out of memory");
    s->udp.ops = &udp_ops;
    s->p = p;
    s->host = p->host;
    s->events = events;
    s->ctx = ctx;
    kt_list_init(&s->node);
    kt_list_init(&s->in);
    kt_list_init(&s->out);
    kt_list_init(&s->dirty);
    kt_turn_init(&s->arrival, udp_event, s);
    int code = set_up(s, opts, err);
    if (code) {
        free(s);
        return code;
    }
    kt_sim_opened(p);
    *out = &s->udp;
    return 0;
}
