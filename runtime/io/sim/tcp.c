/* The kernel's part of TCP: segments, credit, and how connections end.
 *
 * Segments to a host that is down are lost; their sender retries at growing intervals, and gives up after the same
 * time as Linux. Segments held by a cut line wait there, under the same limit.
 *
 * Invariant: a conn is in its host's tables exactly until it is gone. It is freed when it is gone and no process holds
 * it. */
#include "io/sim/tcp.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SYN_LIMIT_US 127000000u   /* Linux: six tries */
#define STALL_LIMIT_US 924600000u /* Linux: tcp_retries2 = 15 */
#define FIRST_AGAIN_US 1000000u   /* then doubled each time */
#define LAST_AGAIN_US 120000000u
#define KEEPALIVE_US 60000000u       /* as io/uv sets it: probe the other end after this idle time */
#define KEEPALIVE_LIMIT_US 10000000u /* the time it has to answer */
#define DRAIN_US 30000000u           /* after close, to send what was written */
#define LINGER_US 2000000u           /* then to let the peer finish */

/* ---- segments ---- */

/* Answers a segment for dst when no conn takes it. */
static void reply(
    struct kt_sim_host *h, const struct sim_packet *to, const struct kt_addr *dst, enum sim_tcp_kind kind)
{
    struct sim_packet *k = kt_sim_packet_new(h->sim, KT_SIM_TCP);
    if (!k) return;
    k->src = *dst;
    k->dst = to->src;
    k->conn = to->conn;
    k->side = to->side ^ 1;
    k->kind = (uint8_t)kind;
    kt_sim_send(h, k);
}

static int transmit(struct sim_conn *c, enum sim_tcp_kind kind, uint32_t credit, const void *data, size_t len)
{
    struct sim_packet *k = kt_sim_packet_new(c->host->sim, KT_SIM_TCP);
    if (!k) return KT_ENOMEM;
    k->src = c->local;
    k->dst = c->remote;
    k->conn = c->id;
    k->side = c->side ^ 1;
    k->kind = (uint8_t)kind;
    k->credit = credit;
    k->len = len;
    if (len) memcpy(k->bytes, data, len);
    return kt_sim_send(c->host, k);
}

void kt_sim_tcp_tell(struct sim_conn *c, enum sim_tcp_kind kind, uint32_t credit)
{
    if (c->state != SIM_GONE) transmit(c, kind, credit, NULL, 0);
}

static size_t segment_max(const struct sim_conn *c)
{
    uint32_t mtu = kt_sim_path_mtu(c->host, &c->remote), head = c->remote.sa.sa_family == AF_INET6 ? 60 : 40;
    return mtu - head < KT_UDP_MAX ? mtu - head : KT_UDP_MAX;
}

/* The next n bytes of tx as a segment. */
static void send_data(struct sim_conn *c, size_t n)
{
    struct sim_packet *k = kt_sim_packet_new(c->host->sim, KT_SIM_TCP);
    if (!k) return;
    struct kt_iov iov[4];
    size_t pieces = kt_bufq_peek(&c->tx, 0, iov, 4);
    for (size_t i = 0; i < pieces && k->len < n; i++) {
        size_t take = iov[i].len < n - k->len ? iov[i].len : n - k->len;
        memcpy(k->bytes + k->len, iov[i].data, take);
        k->len += take;
    }
    kt_bufq_consume(&c->tx, k->len);
    c->credit -= k->len;
    k->src = c->local;
    k->dst = c->remote;
    k->conn = c->id;
    k->side = c->side ^ 1;
    k->kind = SIM_DATA;
    kt_sim_send(c->host, k);
}

static void limit(struct sim_conn *c, uint64_t after_us)
{
    kt_sim_event_set(c->host->sim, &c->limit, c->host->sim->now + after_us);
}

/* After close: both sides have finished. */
static void lingered(struct sim_conn *c)
{
    if (c->detached && c->fin_in && c->fin_out) kt_sim_tcp_gone(c);
}

void kt_sim_tcp_push(struct sim_conn *c)
{
    struct kt_sim *sim = c->host->sim;
    if (c->state != SIM_OPEN || c->code) return;
    size_t max = c->tx.len ? segment_max(c) : 0;
    while (c->tx.len > 0 && c->credit > 0 && !sim->failed.code) {
        size_t n = c->tx.len < max ? c->tx.len : max;
        send_data(c, n < c->credit ? n : c->credit);
    }
    if (c->shut && c->tx.len == 0 && !c->fin_out) {
        c->fin_out = true;
        kt_sim_tcp_tell(c, SIM_FIN, 0);
        if (c->detached) limit(c, LINGER_US);
        lingered(c);
        return;
    }
    if (c->starved && c->tx.len <= SIM_SEND_BUFFER / 2) kt_sim_conn_room(c);
}

/* ---- trouble ---- */

static void again_after(struct sim_conn *c)
{
    uint64_t after = FIRST_AGAIN_US;
    for (unsigned i = 0; i < c->tries && after < LAST_AGAIN_US; i++) after *= 2;
    c->tries++;
    kt_sim_event_set(
        c->host->sim, &c->again, c->host->sim->now + (after < LAST_AGAIN_US ? after : LAST_AGAIN_US));
}

static void on_again(void *ctx)
{
    struct sim_conn *c = ctx;
    transmit(c, c->state == SIM_DIALLING ? SIM_SYN : SIM_PROBE, 0, NULL, 0);
}

static struct sim_conn *find(const struct kt_sim_host *h, uint64_t id, uint8_t side)
{
    struct kt_hnode *n = kt_hmap_find(&h->conn_ids, kt_hash_u64(id << 1 | side, 0));
    return n ? KT_CONTAINER(n, struct sim_conn, id_node) : NULL; /* the hash is one to one */
}

static void keep_alive(struct sim_conn *c)
{
    struct kt_sim *sim = c->host->sim;
    if (!c->again.slot) kt_sim_event_set(sim, &c->again, sim->now + KEEPALIVE_US);
    if (!c->limit.slot) limit(c, KEEPALIVE_US + KEEPALIVE_LIMIT_US);
}

/* One end has vanished. The other notices when it sends something, or by keepalive, which is simulated only
 * in this case, so that a healthy conn costs no events. */
static void watch(struct kt_sim *sim, uint64_t id, uint8_t side)
{
    struct sim_conn *c = NULL;
    for (struct kt_list *n = sim->hosts.next; n != &sim->hosts && !c; n = n->next)
        c = find(KT_CONTAINER(n, struct kt_sim_host, node), id, side);
    if (!c || c->state != SIM_OPEN || c->detached) return;
    if (c->is_unix) { /* known at once; conn.c then waits as long as keepalive would take */
        if (!c->shut && !c->limit.slot) limit(c, KEEPALIVE_US);
        return;
    }
    c->watched = true;
    keep_alive(c);
}

static void broke(struct sim_conn *c, int code)
{
    kt_sim_tcp_gone(c);
    if (c->detached)
        kt_sim_conn_release(c);
    else
        kt_sim_conn_broke(c, code);
}

static void on_limit(void *ctx)
{
    struct sim_conn *c = ctx;
    if (c->dying) {
        kt_sim_conn_dead(c);
        return;
    }
    watch(c->host->sim, c->id, c->side ^ 1);
    if (c->detached && !c->fin_out) kt_sim_tcp_tell(c, SIM_RST, 0); /* what was written cannot be delivered */
    broke(c, c->is_unix ? KT_ERESET : KT_ETIMEOUT);
}

/* Without a user timeout, the system gives up. */
static uint64_t stall_limit(const struct sim_conn *c)
{
    const uint64_t us = c->conn.user_timeout_us;
    return us && us < STALL_LIMIT_US ? us : STALL_LIMIT_US;
}

void kt_sim_tcp_stalled(struct kt_sim_host *from, const struct sim_packet *k, bool lost)
{
    struct sim_conn *c = find(from, k->conn, k->side ^ 1);
    if (lost) watch(from->sim, k->conn, k->side);
    if (!c) return;
    const uint64_t after_us = c->state == SIM_DIALLING ? SYN_LIMIT_US : stall_limit(c);
    if (!c->limit.slot || c->limit.at > from->sim->now + after_us) limit(c, after_us);
    if (lost) again_after(c);
}

/* Something arrived from the other end. It may have been on its way when that end vanished; only the answer to a probe
 * proves that the end is there. */
static void heard(struct sim_conn *c, const struct sim_packet *k)
{
    if (k->kind == SIM_ACK && k->credit == 0) c->watched = false;
    c->tries = 0;
    kt_sim_event_cancel(c->host->sim, &c->again);
    if (c->detached) return;
    kt_sim_event_cancel(c->host->sim, &c->limit);
    if (c->watched) keep_alive(c);
}

/* ---- arrivals ---- */

static void on_syn(struct kt_sim_host *h, struct sim_packet *k, const struct kt_addr *dst)
{
    const char *path = k->len ? (const char *)k->data : NULL; /* sent with its NUL */
    struct sim_listener *l = kt_sim_listener_find(h, dst, path);
    if (find(h, k->conn, 1)) return; /* sent again, although it had arrived */
    if (!l) {
        reply(h, k, dst, SIM_RST);
        return;
    }
    if (kt_sim_listener_full(l) && !path) { /* the sender tries again, as if it had been lost */
        kt_sim_tcp_stalled(kt_sim_line_from(k->line), k, true);
        return;
    }
    struct sim_conn *c = kt_sim_listener_full(l) ? NULL : kt_sim_conn_new(h, NULL, k->conn, 1);
    if (!c) {
        reply(h, k, dst, SIM_RST);
        return;
    }
    c->is_unix = path != NULL;
    c->local = *dst;
    c->remote = k->src;
    c->state = SIM_OPEN;
    kt_sim_conn_name(c, path);
    kt_sim_listener_add(l, c);
    kt_sim_tcp_tell(c, SIM_SYNACK, 0);
}

static void on_data(struct sim_conn *c, const struct sim_packet *k)
{
    if (c->detached) { /* read to nowhere */
        kt_sim_tcp_tell(c, SIM_ACK, (uint32_t)k->len);
        return;
    }
    if (kt_bufq_append(&c->rx, k->data, k->len) < k->len) {
        kt_sim_fail(c->host->sim, KT_ENOMEM, "out of memory for a conn");
        return;
    }
    kt_sim_conn_arrived(c);
}

static void take(struct sim_conn *c, const struct sim_packet *k)
{
    heard(c, k);
    switch ((enum sim_tcp_kind)k->kind) {
    case SIM_SYNACK:
        if (c->state != SIM_DIALLING) return;
        c->state = SIM_OPEN;
        c->answered = true;
        kt_sim_conn_arrived(c);
        return;
    case SIM_DATA:
        on_data(c, k);
        return;
    case SIM_FIN:
        c->fin_in = true;
        if (c->detached)
            lingered(c);
        else
            kt_sim_conn_arrived(c);
        return;
    case SIM_ACK:
        c->credit += k->credit;
        kt_sim_tcp_push(c);
        return;
    case SIM_RST:
        broke(c, c->state == SIM_DIALLING ? KT_EREFUSED : KT_ERESET);
        return;
    case SIM_PROBE:
        kt_sim_tcp_tell(c, SIM_ACK, 0);
        return;
    case SIM_SYN:
        return;
    }
}

void kt_sim_tcp_input(struct kt_sim_host *h, struct sim_packet *k, const struct kt_addr *dst)
{
    struct sim_conn *c = k->kind == SIM_SYN ? NULL : find(h, k->conn, k->side);
    if (k->kind == SIM_SYN)
        on_syn(h, k, dst);
    else if (c && kt_addr_equal(&c->remote, &k->src))
        take(c, k);
    else if (k->kind != SIM_RST && (c || k->kind != SIM_ACK))
        /* From before a restart, or from another port of a NAT. An acknowledgement may be late after a clean
         * end, where a kernel is still in TIME_WAIT. */
        reply(h, k, dst, SIM_RST);
    kt_sim_packet_free(h->sim, k);
}

/* ---- beginning and ending ---- */

struct sim_conn *kt_sim_conn_new(struct kt_sim_host *h, struct sim_io *p, uint64_t id, uint8_t side)
{
    struct kt_sim *sim = h->sim;
    struct sim_conn *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->host = h;
    c->p = p;
    c->user = p != NULL;
    c->id = id;
    c->side = side;
    c->credit = sim->tcp_buffer;
    c->taken_us = sim->now;
    c->conn.user_timeout_us = KT_CONN_USER_TIMEOUT_US;
    kt_list_init(&c->node);
    kt_list_init(&c->waiting);
    kt_bufq_init(&c->rx, sim->blocks);
    kt_bufq_init(&c->tx, sim->blocks);
    kt_sim_event_init(&c->again, on_again, c);
    kt_sim_event_init(&c->limit, on_limit, c);
    kt_sim_conn_init(c);
    if (kt_hmap_add(&h->conn_ids, &c->id_node, kt_hash_u64(id << 1 | side, 0)) != 0) {
        free(c);
        return NULL;
    }
    kt_list_push(&h->conns, &c->node);
    kt_sim_host_opened(h);
    if (p) kt_sim_opened(p);
    return c;
}

int kt_sim_tcp_dial(struct sim_conn *c, const struct kt_addr *to, const char *path,
    void (*dialled)(void *ctx, int code), void *ctx)
{
    struct kt_sim_host *h = c->host;
    c->dialled = dialled;
    c->dialled_ctx = ctx;
    c->is_unix = path != NULL;
    kt_addr_from_ip(&c->remote, "127.0.0.1", 0);
    if (!path) c->remote = *to;
    if (kt_sim_is_any(&c->remote)) { /* a connect to the wildcard address goes to this host */
        uint16_t port = kt_addr_port(&c->remote);
        kt_addr_from_ip(&c->remote, c->remote.sa.sa_family == AF_INET6 ? "::1" : "127.0.0.1", port);
    }
    if (!kt_sim_source(h, &c->remote, &c->local)) return KT_EUNREACH;
    if (!path) {
        uint16_t port = kt_sim_port(h, kt_sim_tcp_port_taken);
        if (!port) return KT_EINUSE;
        kt_addr_set_port(&c->local, port);
    }
    kt_sim_conn_name(c, path);
    int code = transmit(c, SIM_SYN, 0, path, path ? strlen(path) + 1 : 0);
    if (code == 0 && !c->limit.slot) limit(c, SYN_LIMIT_US);
    return code;
}

void kt_sim_tcp_gone(struct sim_conn *c)
{
    struct kt_sim *sim = c->host->sim;
    if (c->state == SIM_GONE) return;
    c->state = SIM_GONE;
    kt_hmap_remove(&c->host->conn_ids, &c->id_node);
    kt_list_remove(&c->node);
    if (c->listener) kt_sim_listener_remove(c->listener, c);
    kt_sim_event_cancel(sim, &c->again);
    kt_sim_event_cancel(sim, &c->limit);
    kt_sim_event_cancel(sim, &c->step);
    kt_sim_event_cancel(sim, &c->retry);
    kt_bufq_clear(&c->tx);
    kt_sim_host_closed(c->host);
    if (c->detached) kt_sim_conn_release(c);
}

static void destroy(struct sim_grave *g)
{
    struct sim_conn *c = KT_CONTAINER(g, struct sim_conn, grave);
    kt_bufq_clear(&c->rx);
    kt_sim_conn_put_in(c);
    kt_conn_forget_names(&c->conn);
    free(c);
}

void kt_sim_conn_release(struct sim_conn *c)
{
    if (c->user || c->state != SIM_GONE || c->grave.destroy) return;
    kt_sim_event_cancel(c->host->sim, &c->limit);
    kt_sim_bury(c->host->sim, &c->grave, destroy);
}

void kt_sim_tcp_detach(struct sim_conn *c)
{
    struct kt_sim *sim = c->host->sim;
    c->detached = true;
    kt_sim_event_cancel(sim, &c->step);
    kt_sim_event_cancel(sim, &c->retry);
    if (c->state == SIM_GONE) {
        kt_sim_conn_release(c);
        return;
    }
    /* Unread bytes are read and dropped, so that the peer can send up to its end. */
    size_t unread = c->rx.len + c->owed;
    kt_bufq_clear(&c->rx);
    c->owed = 0;
    if (unread) kt_sim_tcp_tell(c, SIM_ACK, (uint32_t)unread);
    limit(c, DRAIN_US);
    c->shut = true;
    c->starved = false;
    if (!c->fin_out) {
        kt_sim_tcp_push(c);
        return;
    }
    limit(c, LINGER_US);
    lingered(c);
}

void kt_sim_tcp_vanish(struct kt_sim_host *h, const struct sim_io *p, bool crash)
{
    struct kt_list *node = h->conns.next, *next;
    for (; node != &h->conns; node = next) {
        struct sim_conn *c = KT_CONTAINER(node, struct sim_conn, node);
        next = node->next;
        if (p && c->p != p) continue;
        if (!crash && !c->user) continue; /* still delivers, without its process */
        if (!crash && c->state == SIM_OPEN && c->rx.len == 0 && c->in.len == 0) {
            kt_sim_tcp_detach(c);
            continue;
        }
        if (crash)
            watch(h->sim, c->id, c->side ^ 1);
        else
            kt_sim_tcp_tell(c, SIM_RST, 0);
        c->detached = true;
        kt_sim_tcp_gone(c);
        kt_sim_conn_release(c);
    }
}
