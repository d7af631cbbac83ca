/* NAT: one public address instead of a host's own (RFC 4787: mapping that is endpoint-independent, or symmetric, which
 * is by address and port; filtering by address and port, or none).
 *
 * Invariant: `mappings` is in the order of last use by an outgoing packet, so those that have timed out are
 * at its head. TCP's do not time out. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include "io/sim/internal.h"

#define PORT_FIRST 1024u
#define PEERS_MAX 256u /* most peers per mapping; the oldest makes room */

struct mapping {
    struct kt_hnode by_inside, by_port;
    struct kt_list node;
    uint8_t proto;
    uint16_t port;
    struct kt_addr inside;
    uint64_t used;
    struct kt_addr *peers; /* the peers it has sent to */
    size_t n_peers, cap, next;
};

struct sim_nat {
    struct kt_sim_host *host;
    struct sim_addr route;
    uint64_t timeout_us;
    bool open, symmetric;
    struct kt_sim_random ports;
    struct kt_hmap by_inside, by_port;
    struct kt_list mappings;
};

static uint64_t inside_hash(uint8_t proto, const struct kt_addr *a)
{
    return kt_addr_hash(a, proto);
}

static uint64_t port_hash(uint8_t proto, uint16_t port)
{
    return kt_hash_u64(port, proto);
}

static void forget(struct sim_nat *n, struct mapping *m)
{
    kt_hmap_remove(&n->by_inside, &m->by_inside);
    kt_hmap_remove(&n->by_port, &m->by_port);
    kt_list_remove(&m->node);
    free(m->peers);
    free(m);
}

static void expire(struct sim_nat *n)
{
    uint64_t now = n->host->sim->now;
    struct kt_list *node = n->mappings.next, *next;
    for (; n->timeout_us && node != &n->mappings; node = next) {
        struct mapping *m = KT_CONTAINER(node, struct mapping, node);
        next = node->next;
        if (now - m->used <= n->timeout_us) return;
        if (m->proto != KT_SIM_TCP) forget(n, m);
    }
}

static struct mapping *find_port(const struct sim_nat *n, uint8_t proto, uint16_t port)
{
    struct kt_hnode *node = kt_hmap_find(&n->by_port, port_hash(proto, port));
    for (; node; node = kt_hmap_again(node)) {
        struct mapping *m = KT_CONTAINER(node, struct mapping, by_port);
        if (m->proto == proto && m->port == port) return m;
    }
    return NULL;
}

static struct mapping *map(struct sim_nat *n, uint8_t proto, const struct kt_addr *inside)
{
    uint16_t port = 0;
    for (int tries = 0; tries < 1000 && !port; tries++) {
        port = (uint16_t)(PORT_FIRST + kt_sim_random_below(&n->ports, 65536 - PORT_FIRST));
        if (find_port(n, proto, port)) port = 0;
    }
    struct mapping *m = port ? calloc(1, sizeof *m) : NULL;
    if (!m) return NULL;
    m->proto = proto;
    m->port = port;
    m->inside = *inside;
    kt_list_init(&m->node);
    if (kt_hmap_add(&n->by_inside, &m->by_inside, inside_hash(proto, inside)) != 0) {
        free(m);
        return NULL;
    }
    if (kt_hmap_add(&n->by_port, &m->by_port, port_hash(proto, port)) != 0) {
        kt_hmap_remove(&n->by_inside, &m->by_inside);
        free(m);
        return NULL;
    }
    return m;
}

static bool knows(const struct mapping *m, const struct kt_addr *peer)
{
    for (size_t i = 0; i < m->n_peers; i++)
        if (kt_addr_equal(&m->peers[i], peer)) return true;
    return false;
}

/* The mapping for a packet from inside to a peer. */
static struct mapping *find_inside(
    const struct sim_nat *n, uint8_t proto, const struct kt_addr *inside, const struct kt_addr *peer)
{
    struct kt_hnode *node = kt_hmap_find(&n->by_inside, inside_hash(proto, inside));
    for (; node; node = kt_hmap_again(node)) {
        struct mapping *m = KT_CONTAINER(node, struct mapping, by_inside);
        if (m->proto == proto && kt_addr_equal(&m->inside, inside) && (!n->symmetric || knows(m, peer)))
            return m;
    }
    return NULL;
}

static void permit(struct mapping *m, const struct kt_addr *peer)
{
    if (knows(m, peer)) return;
    if (m->n_peers == m->cap && m->cap < PEERS_MAX) {
        size_t cap = m->cap ? m->cap * 2 : 4;
        struct kt_addr *more = realloc(m->peers, cap * sizeof *more);
        if (!more) return; /* then packets from it are dropped */
        m->peers = more;
        m->cap = cap;
    }
    if (m->n_peers < m->cap) {
        m->peers[m->n_peers++] = *peer;
    } else {
        m->peers[m->next] = *peer;
        m->next = (m->next + 1) % m->cap;
    }
}

static struct sim_nat *nat_of(const struct kt_sim_host *h, const struct kt_addr *a)
{
    return h->nat[a->sa.sa_family == AF_INET6];
}

bool kt_sim_nat_out(struct kt_sim_host *h, struct sim_packet *k)
{
    struct sim_nat *n = nat_of(h, &k->src);
    if (!n || k->proto == KT_SIM_ICMP) return true;
    expire(n);
    struct mapping *m = find_inside(n, k->proto, &k->src, &k->dst);
    if (!m) m = map(n, k->proto, &k->src);
    if (!m) return false;
    m->used = h->sim->now;
    kt_list_remove(&m->node);
    kt_list_push(&n->mappings, &m->node);
    permit(m, &k->dst);
    k->src = n->route.addr;
    kt_addr_set_port(&k->src, m->port);
    return true;
}

bool kt_sim_nat_in(struct kt_sim_host *h, const struct sim_packet *k, struct kt_addr *dst)
{
    struct sim_nat *n = nat_of(h, dst);
    if (!n) return true;
    expire(n);
    bool icmp = k->proto == KT_SIM_ICMP; /* quotes a UDP packet that went out */
    const struct mapping *m = find_port(n, icmp ? KT_SIM_UDP : k->proto, kt_addr_port(dst));
    if (!m || (!icmp && !n->open && !knows(m, &k->src))) return false;
    *dst = m->inside;
    return true;
}

static bool has_family(const struct kt_sim_host *h, int family)
{
    for (size_t i = 0; i < h->n_addrs; i++)
        if (h->addrs[i].addr.sa.sa_family == family) return true;
    return false;
}

int kt_sim_nat(struct kt_sim_host *h, const struct kt_sim_nat_opts *opts, struct kt_err *err)
{
    char text[INET6_ADDRSTRLEN];
    const struct kt_addr *a = &opts->public_addr;
    unsigned family = a->sa.sa_family == AF_INET6;
    const struct kt_sim_host *other = kt_sim_owner(h->sim, a);
    const void *ip = family ? (const void *)&a->in6.sin6_addr : (const void *)&a->in4.sin_addr;
    inet_ntop(a->sa.sa_family, ip, text, sizeof text);
    if (other)
        return kt_err_set(
            err, KT_EINUSE, "nat of host %s: %s is the address of host %s", h->name, text, other->name);
    if (!kt_sim_is_unicast(a))
        return kt_err_set(err, KT_EINVAL, "nat of host %s: %s cannot be a public address", h->name, text);
    const char *version = family ? "IPv6" : "IPv4";
    if (h->nat[family])
        return kt_err_set(err, KT_EINUSE, "host %s already has a NAT for %s", h->name, version);
    if (!has_family(h, a->sa.sa_family))
        return kt_err_set(err, KT_EINVAL, "nat of host %s: %s, but the host has no %s address to translate",
            h->name, text, version);
    struct sim_nat *n = calloc(1, sizeof *n);
    if (!n || kt_sim_route_add(h, &n->route, a) != 0) {
        free(n);
        return kt_err_set(err, KT_ENOMEM, "out of memory");
    }
    n->host = h;
    n->timeout_us = opts->timeout_us;
    n->open = opts->open;
    n->symmetric = opts->symmetric;
    kt_list_init(&n->mappings);
    kt_sim_random_init(&n->ports, h->sim->seed, h->name, family ? "nat v6" : "nat");
    kt_sim_host_set_nat(h, n, family != 0);
    return 0;
}

static void rebind(struct sim_nat *n)
{
    while (n && !kt_list_empty(&n->mappings)) forget(n, KT_CONTAINER(n->mappings.next, struct mapping, node));
}

void kt_sim_nat_rebind(struct kt_sim_host *h)
{
    rebind(h->nat[0]);
    rebind(h->nat[1]);
}

const struct kt_addr *kt_sim_nat_addr(const struct sim_nat *n)
{
    return &n->route.addr;
}

void kt_sim_nat_free(struct sim_nat *n)
{
    if (!n) return;
    rebind(n);
    kt_hmap_free(&n->by_inside);
    kt_hmap_free(&n->by_port);
    free(n);
}
