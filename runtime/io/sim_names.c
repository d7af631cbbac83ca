/* Names: a table of the world's, for all hosts, and lookups that take their time.
 *
 * What a lookup finds is settled when its time is up, so a name that changes meanwhile is found changed.
 * (Queries for single record types, kt_query, belong here too: further kinds of records in sim_name.) */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "io/sim_internal.h"

#define UNKNOWN_US 1000u /* how long it takes to learn that a name does not exist */
#define KNOWN_US 1000u   /* … or what a host's address is */

struct sim_name {
    struct kt_hnode node; /* in sim->named */
    struct kt_list all;   /* in sim->names */
    bool fails;
    uint64_t delay_us;
    size_t n;
    struct kt_addr addrs[SIM_ADDRS];
    char name[256];
};

struct sim_lookup {
    struct kt_resolve resolve;
    struct sim_io *p;
    kt_resolve_cb cb;
    void *ctx;
    struct kt_list node; /* in host->lookups */
    struct kt_sim_event event;
    struct kt_turn turn;
    bool numeric;
    uint16_t port;
    struct kt_addr addr;
    char host[256];
};

/* ---- the table ---- */

static uint64_t hash_of(const char *name)
{
    uint64_t h = 0;
    for (; *name; name++)
        h = kt_hash_u64((uint64_t)(unsigned char)*name | 0x20u, h); /* case does not count */
    return h;
}

static struct sim_name *find(const struct kt_sim *sim, const char *name)
{
    for (struct kt_hnode *n = kt_hmap_find(&sim->named, hash_of(name)); n; n = kt_hmap_again(n)) {
        struct sim_name *found = KT_CONTAINER(n, struct sim_name, node);
        if (strcasecmp(found->name, name) == 0) return found;
    }
    return NULL;
}

static struct sim_name *find_or_add(struct kt_sim *sim, const char *name)
{
    struct sim_name *n = find(sim, name);
    if (n) return n;
    n = calloc(1, sizeof *n);
    if (!n) return NULL;
    snprintf(n->name, sizeof n->name, "%s", name);
    if (kt_hmap_add(&sim->named, &n->node, hash_of(name)) != 0) {
        free(n);
        return NULL;
    }
    kt_list_push(&sim->names, &n->all);
    return n;
}

int kt_sim_name_set(
    struct kt_sim *sim, const char *name, const struct kt_addr *addrs, size_t n, uint64_t delay_us)
{
    struct sim_name *entry = n <= SIM_ADDRS && strlen(name) < 256 ? find_or_add(sim, name) : NULL;
    if (!entry) return n <= SIM_ADDRS && strlen(name) < 256 ? KT_ENOMEM : KT_EINVAL;
    entry->fails = false;
    entry->delay_us = delay_us;
    entry->n = n;
    if (n) memcpy(entry->addrs, addrs, n * sizeof *addrs);
    return 0;
}

int kt_sim_name_fail(struct kt_sim *sim, const char *name, uint64_t delay_us)
{
    int code = kt_sim_name_set(sim, name, NULL, 0, delay_us);
    if (code == 0) find(sim, name)->fails = true;
    return code;
}

void kt_sim_names_free(struct kt_sim *sim)
{
    struct kt_list *node;
    while ((node = kt_list_pop(&sim->names)) != NULL) free(KT_CONTAINER(node, struct sim_name, all));
}

/* The addresses of a name; 0 and err if it has none. */
static size_t answer(struct sim_lookup *r, struct kt_addr out[SIM_ADDRS], struct kt_err *err)
{
    const struct sim_name *name = find(r->p->sim, r->host);
    const struct kt_sim_host *h = kt_sim_host_find(r->p->sim, r->host);
    size_t n = 0;
    if (name) {
        for (; n < name->n; n++) out[n] = name->addrs[n];
    } else if (strcasecmp(r->host, "localhost") == 0) {
        kt_addr_from_ip(&out[n++], "::1", 0);
        kt_addr_from_ip(&out[n++], "127.0.0.1", 0);
    } else if (h) {
        /* Where others can reach it: its NAT's addresses, if it is behind one. */
        n = kt_sim_host_public(h, out);
    }
    for (size_t i = 0; i < n; i++) kt_addr_set_port(&out[i], r->port);
    if (n == 0)
        kt_err_set(err, KT_ENAME, "%s: %s", r->host,
            name && name->fails ? "the name server does not answer" : "no such host name");
    return n;
}

/* ---- lookups ---- */

/* Ends r, then tells: the callback may do whatever it likes, also start another. */
static void tell(void *ctx)
{
    struct sim_lookup *r = ctx;
    kt_resolve_cb cb = r->cb;
    void *cb_ctx = r->ctx;
    struct kt_addr addrs[SIM_ADDRS] = {r->addr};
    struct kt_err err;
    size_t n = r->numeric ? 1 : answer(r, addrs, &err);
    kt_list_remove(&r->node);
    kt_sim_ended(r->p);
    free(r);
    cb(cb_ctx, addrs, n, n ? NULL : &err);
}

static void on_time(void *ctx)
{
    struct sim_lookup *r = ctx;
    kt_sim_arrive(r->p, &r->turn);
}

static void resolve_cancel(struct kt_resolve *resolve)
{
    struct sim_lookup *r = (struct sim_lookup *)(void *)resolve;
    kt_sim_event_cancel(r->p->sim, &r->event);
    kt_list_remove(&r->turn.node);
    kt_list_remove(&r->node);
    kt_sim_ended(r->p);
    free(r);
}

void kt_sim_resolve_vanish(struct kt_sim_host *h, const struct sim_io *p)
{
    for (struct kt_list *n = h->lookups.next; n != &h->lookups; n = n->next) {
        struct sim_lookup *r = KT_CONTAINER(n, struct sim_lookup, node);
        if (!p || r->p == p) kt_sim_event_cancel(h->sim, &r->event);
    }
}

int kt_sim_resolve(struct kt_io *io, const char *host, uint16_t port, kt_resolve_cb cb, void *ctx,
    struct kt_resolve **out, struct kt_err *err)
{
    *out = NULL;
    struct sim_io *p = kt_sim_io(io);
    if (kt_sim_alive(p, err) != 0) return KT_ECLOSED;
    if (!host[0] || strlen(host) > 253) return kt_err_set(err, KT_ENAME, "%.255s: not a host name", host);
    struct sim_lookup *r = calloc(1, sizeof *r);
    if (!r) return kt_err_set(err, KT_ENOMEM, "%.255s: out of memory", host);
    r->resolve.cancel = resolve_cancel;
    r->p = p;
    r->cb = cb;
    r->ctx = ctx;
    r->port = port;
    snprintf(r->host, sizeof r->host, "%s", host);
    kt_list_init(&r->node);
    kt_list_push(&p->host->lookups, &r->node);
    kt_turn_init(&r->turn, tell, r);
    kt_sim_event_init(&r->event, on_time, r);
    r->numeric = kt_addr_from_ip(&r->addr, host, port);
    if (r->numeric) {
        kt_io_turn(io, &r->turn);
    } else {
        const struct sim_name *name = find(p->sim, host);
        uint64_t delay = name ? name->delay_us : kt_sim_host_find(p->sim, host) ? KNOWN_US : UNKNOWN_US;
        kt_sim_event_set(p->sim, &r->event, p->sim->now + delay);
    }
    kt_sim_opened(p);
    *out = &r->resolve;
    return 0;
}
