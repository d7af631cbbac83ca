/* Hosts: names, addresses, ports, and the faults of a host as a whole.
 *
 * Invariant: sim->addrs maps every reachable address to its host: a host's own addresses or, behind a NAT, the
 * NAT's public ones instead. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/sim/internal.h"

#define PORT_FIRST 32768u /* ephemeral, as Linux has them */
#define PORT_LAST 60999u

/* ---- addresses ---- */

/* The hash under which an address is indexed, ignoring its port. */
static uint64_t ip_hash(const struct kt_addr *a)
{
    struct kt_addr bare = *a;
    kt_addr_set_port(&bare, 0);
    return kt_addr_hash(&bare, 0);
}

bool kt_sim_is_loopback(const struct kt_addr *a)
{
    if (a->sa.sa_family == AF_INET) return ntohl(a->in4.sin_addr.s_addr) >> 24 == 127;
    return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
}

bool kt_sim_is_any(const struct kt_addr *a)
{
    if (a->sa.sa_family == AF_INET) return a->in4.sin_addr.s_addr == 0;
    return a->sa.sa_family != AF_INET6 || IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

bool kt_sim_covers(const struct kt_addr *at, const struct kt_addr *to)
{
    return at->sa.sa_family == to->sa.sa_family || (at->sa.sa_family == AF_INET6 && kt_sim_is_any(at));
}

bool kt_sim_is_unicast(const struct kt_addr *a)
{
    if (kt_sim_is_any(a) || kt_sim_is_loopback(a)) return false;
    if (a->sa.sa_family == AF_INET6) return !IN6_IS_ADDR_MULTICAST(&a->in6.sin6_addr);
    const uint32_t first = ntohl(a->in4.sin_addr.s_addr) >> 24;
    return first > 0 && first < 224; /* multicast, reserved and broadcast addresses */
}

bool kt_sim_is_own(const struct kt_sim_host *h, const struct kt_addr *a)
{
    if (kt_sim_is_loopback(a)) return true;
    for (size_t i = 0; i < h->n_addrs; i++)
        if (kt_addr_same_host(&h->addrs[i].addr, a)) return true;
    return false;
}

static struct sim_addr *find_addr(const struct kt_sim *sim, const struct kt_addr *a)
{
    struct kt_hnode *n = kt_hmap_find(&sim->addrs, ip_hash(a));
    for (; n; n = kt_hmap_again(n)) {
        struct sim_addr *found = KT_CONTAINER(n, struct sim_addr, node);
        if (kt_addr_same_host(&found->addr, a)) return found;
    }
    return NULL;
}

struct kt_sim_host *kt_sim_owner(const struct kt_sim *sim, const struct kt_addr *a)
{
    const struct sim_addr *found = find_addr(sim, a);
    return found ? found->host : NULL;
}

int kt_sim_route_add(struct kt_sim_host *h, struct sim_addr *slot, const struct kt_addr *a)
{
    slot->addr = *a;
    kt_addr_set_port(&slot->addr, 0);
    slot->host = h;
    int code = kt_hmap_add(&h->sim->addrs, &slot->node, ip_hash(a));
    slot->routed = code == 0;
    return code;
}

bool kt_sim_source(const struct kt_sim_host *h, const struct kt_addr *to, struct kt_addr *out)
{
    if (kt_sim_is_own(h, to)) { /* as on Linux: a host talks to its own address from that address */
        *out = *to;
        kt_addr_set_port(out, 0);
        return true;
    }
    for (size_t i = 0; i < h->n_addrs; i++) {
        if (h->addrs[i].addr.sa.sa_family != to->sa.sa_family) continue;
        *out = h->addrs[i].addr;
        return true;
    }
    return false;
}

bool kt_sim_host_device(const struct kt_sim_host *h, const char *name, struct kt_addr *out)
{
    char *end;
    if (strncmp(name, "eth", 3) != 0) return false;
    const unsigned long i = strtoul(name + 3, &end, 10);
    if (end == name + 3 || *end || i >= h->n_addrs) return false;
    *out = h->addrs[i].addr;
    return true;
}

size_t kt_sim_host_public(const struct kt_sim_host *h, struct kt_addr out[SIM_ADDRS])
{
    size_t n = 0;
    for (int i = 0; i < 2; i++)
        if (h->nat[i]) out[n++] = *kt_sim_nat_addr(h->nat[i]);
    for (size_t i = 0; i < h->n_addrs && n < SIM_ADDRS; i++)
        if (h->addrs[i].routed) out[n++] = h->addrs[i].addr;
    return n;
}

void kt_sim_host_set_nat(struct kt_sim_host *h, struct sim_nat *n, bool v6)
{
    for (size_t i = 0; i < h->n_addrs; i++) {
        struct sim_addr *own = &h->addrs[i];
        if (!own->routed || (own->addr.sa.sa_family == AF_INET6) != v6) continue;
        kt_hmap_remove(&h->sim->addrs, &own->node);
        own->routed = false;
    }
    h->nat[v6] = n;
}

void kt_sim_host_gateway(struct kt_sim_host *h, struct kt_sim_host *gateway)
{
    h->gateway = gateway;
}

uint16_t kt_sim_port(struct kt_sim_host *h, bool (*taken)(const struct kt_sim_host *h, uint16_t port))
{
    for (unsigned tries = 0; tries <= PORT_LAST - PORT_FIRST; tries++) {
        uint16_t port = h->next_port;
        h->next_port = (uint16_t)(port < PORT_LAST ? port + 1u : PORT_FIRST);
        if (!taken(h, port)) return port;
    }
    return 0;
}

int kt_sim_bindable(const struct kt_sim_host *h, const struct kt_addr *a)
{
    if (kt_sim_is_any(a) || kt_sim_is_own(h, a)) return 0;
    return EADDRNOTAVAIL;
}

/* ---- making one ---- */

static void default_addrs(struct kt_sim_host *h, struct kt_addr out[2])
{
    char text[64];
    snprintf(text, sizeof text, "10.%u.%u.1", h->index / 256 % 256, h->index % 256);
    kt_addr_from_ip(&out[0], text, 0);
    snprintf(text, sizeof text, "fd00::%x", h->index);
    kt_addr_from_ip(&out[1], text, 0);
}

static int add_addrs(struct kt_sim_host *h, const struct kt_addr *addrs, size_t n, struct kt_err *err)
{
    char text[KT_ADDR_TEXT];
    for (size_t i = 0; i < n; i++) {
        const struct sim_addr *other = find_addr(h->sim, &addrs[i]);
        kt_addr_text(&addrs[i], text);
        if (other && other->host == h)
            return kt_err_set(err, KT_EINUSE, "host %s: duplicate address %s", h->name, text);
        if (other)
            return kt_err_set(
                err, KT_EINUSE, "host %s: %s is the address of host %s", h->name, text, other->host->name);
        if (!kt_sim_is_unicast(&addrs[i]))
            return kt_err_set(err, KT_EINVAL, "host %s: %s cannot be a host's address", h->name, text);
        int code = kt_sim_route_add(h, &h->addrs[i], &addrs[i]);
        if (code) return kt_err_set(err, code, "out of memory");
        h->n_addrs++;
    }
    return 0;
}

static void remove_addrs(struct kt_sim_host *h)
{
    for (size_t i = 0; i < h->n_addrs; i++)
        if (h->addrs[i].routed) kt_hmap_remove(&h->sim->addrs, &h->addrs[i].node);
    h->n_addrs = 0;
}

int kt_sim_host_move(struct kt_sim_host *h, const struct kt_addr *addrs, size_t n, struct kt_err *err)
{
    struct kt_addr old[SIM_ADDRS];
    const size_t n_old = h->n_addrs;
    if (h->nat[0] || h->nat[1])
        return kt_err_set(err, KT_EINUSE, "host %s is behind a NAT; its address cannot be changed", h->name);
    if (n == 0 || n > SIM_ADDRS)
        return kt_err_set(err, KT_EINVAL, "host %s: %zu addresses; expected 1 to %u", h->name, n, SIM_ADDRS);
    for (size_t i = 0; i < n_old; i++) old[i] = h->addrs[i].addr;
    remove_addrs(h);
    const int rc = add_addrs(h, addrs, n, err);
    if (rc == 0) return 0;
    remove_addrs(h);
    add_addrs(h, old, n_old, NULL);
    return rc;
}

static int init(struct kt_sim_host *h, const struct kt_sim_host_opts *opts, struct kt_err *err)
{
    struct kt_addr defaults[2];
    const struct kt_sim_line_opts lo = {.delay_us = SIM_LOOPBACK_US, .mtu = 65535};
    h->index = ++h->sim->n_hosts;
    h->up = true;
    h->real_files = opts->real_files;
    h->send_bps = opts->send_bps ? opts->send_bps : SIM_HOST_BPS;
    h->descriptors = opts->descriptors;
    snprintf(h->name, sizeof h->name, "%s", opts->name);
    kt_list_init(&h->node);
    kt_list_init(&h->files);
    kt_list_init(&h->file_watches);
    kt_list_init(&h->udps);
    kt_list_init(&h->conns);
    kt_list_init(&h->listeners);
    kt_list_init(&h->lookups);
    kt_sim_event_init(&h->udp_room, kt_sim_udp_room, h);
    kt_sim_random_init(&h->short_rng, h->sim->seed, h->name, "short io");
    struct kt_sim_random ports;
    kt_sim_random_init(&ports, h->sim->seed, h->name, "ports");
    h->next_port = (uint16_t)(PORT_FIRST + kt_sim_random_below(&ports, PORT_LAST - PORT_FIRST + 1));
    default_addrs(h, defaults);
    int code = opts->n_addrs ? add_addrs(h, opts->addrs, opts->n_addrs, err) : add_addrs(h, defaults, 2, err);
    if (!code && kt_sim_line_new(h, h, &lo, &h->lo) != 0) code = kt_err_set(err, KT_ENOMEM, "out of memory");
    return code;
}

int kt_sim_host_new(
    struct kt_sim *sim, const struct kt_sim_host_opts *opts, struct kt_sim_host **out, struct kt_err *err)
{
    *out = NULL;
    if (!opts->name[0] || strlen(opts->name) >= SIM_NAME)
        return kt_err_set(err, KT_EINVAL, "host \"%s\": expected a name of 1 to 63 characters", opts->name);
    if (opts->n_addrs > SIM_ADDRS)
        return kt_err_set(err, KT_EINVAL, "host %s: at most 16 addresses", opts->name);
    if (opts->send_bps && opts->send_bps < 1000)
        return kt_err_set(err, KT_EINVAL, "host %s: expected to send at least 1 kbit/s", opts->name);
    if (kt_sim_host_find(sim, opts->name))
        return kt_err_set(err, KT_EINUSE, "host %s: this name is already in use", opts->name);
    struct kt_sim_host *h = calloc(1, sizeof *h);
    if (!h) return kt_err_set(err, KT_ENOMEM, "out of memory");
    h->sim = sim;
    int code = init(h, opts, err);
    if (code) {
        for (size_t i = 0; i < h->n_addrs; i++) kt_hmap_remove(&sim->addrs, &h->addrs[i].node);
        free(h);
        return code;
    }
    kt_list_push(&sim->hosts, &h->node);
    *out = h;
    return 0;
}

struct kt_sim_host *kt_sim_host_find(struct kt_sim *sim, const char *name)
{
    for (struct kt_list *n = sim->hosts.next; n != &sim->hosts; n = n->next) {
        struct kt_sim_host *h = KT_CONTAINER(n, struct kt_sim_host, node);
        if (strcmp(h->name, name) == 0) return h;
    }
    return NULL;
}

const char *kt_sim_host_name(const struct kt_sim_host *h)
{
    return h->name;
}

bool kt_sim_host_addr(const struct kt_sim_host *h, size_t i, struct kt_addr *out)
{
    if (i >= h->n_addrs) return false;
    *out = h->addrs[i].addr;
    return true;
}

size_t kt_sim_host_open(const struct kt_sim_host *h)
{
    return h->open;
}

void kt_sim_host_opened(struct kt_sim_host *h)
{
    h->open++;
}

void kt_sim_host_closed(struct kt_sim_host *h)
{
    h->open--;
}

uint64_t kt_sim_host_spawn(struct kt_sim_host *h)
{
    return h->processes++;
}

void kt_sim_host_set_up(struct kt_sim_host *h, bool up)
{
    h->up = up;
}

uint64_t kt_sim_host_leave(struct kt_sim_host *h, uint64_t bytes)
{
    const uint64_t now_ns = h->sim->now * 1000;
    if (h->busy_until < now_ns) h->busy_until = now_ns;
    const uint64_t at = h->busy_until / 1000;
    h->busy_until += bytes * 8 * UINT64_C(1000000000) / h->send_bps;
    return at;
}

/* ---- faults ---- */

void kt_sim_slow_reader(struct kt_sim_host *h, uint64_t bytes_per_s)
{
    h->read_rate = bytes_per_s;
}

void kt_sim_short_io(struct kt_sim_host *h, size_t max)
{
    h->short_max = max;
}

void kt_sim_udp_full(struct kt_sim_host *h, uint64_t for_us)
{
    h->udp_full_until = h->sim->now + for_us;
    kt_sim_event_set(h->sim, &h->udp_room, h->udp_full_until);
}

void kt_sim_wall_jump(struct kt_sim_host *h, int64_t by_us)
{
    h->wall_jump += by_us;
}
