/* Names: one table per world, shared by all hosts, and lookups that take time, of addresses (kt_resolve) and of
 * records (kt_query). All name servers give the same answers.
 *
 * Invariant: a lookup's result is determined when its time is up, so it sees changes made meanwhile. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "io/sim/internal.h"

#define UNKNOWN_US 1000u /* time to find that a name does not exist */
#define KNOWN_US 1000u   /* time to find a host's address */

struct sim_name {
    struct kt_hnode node; /* in sim->named */
    struct kt_list all;   /* in sim->names */
    bool fails;
    uint64_t delay_us;
    uint32_t ttl;
    size_t n, n_srv;
    struct kt_addr addrs[SIM_ADDRS];
    struct kt_record *srv; /* n_srv of them, by priority; NULL: none */
    char name[256];
};

struct sim_lookup {
    struct kt_resolve resolve;
    struct kt_query query;
    struct sim_io *p;
    kt_resolve_cb cb; /* NULL: it asks for records */
    kt_query_cb query_cb;
    enum kt_record_type type;
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
    for (; *name; name++) h = kt_hash_u64((uint64_t)(unsigned char)*name | 0x20u, h); /* case is ignored */
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
    n->ttl = KT_SIM_TTL;
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

int kt_sim_srv_set(
    struct kt_sim *sim, const char *name, const struct kt_record *records, size_t n, uint32_t ttl)
{
    if (n > KT_QUERY_RECORDS || strlen(name) >= 256) return KT_EINVAL;
    struct sim_name *entry = find_or_add(sim, name);
    struct kt_record *copy = n ? calloc(n, sizeof *copy) : NULL;
    if (!entry || (n && !copy)) {
        free(copy);
        return KT_ENOMEM;
    }
    free(entry->srv);
    entry->srv = copy;
    entry->n_srv = 0;
    entry->fails = false;
    entry->ttl = kt_ttl(ttl);
    for (size_t i = 0; i < n; i++) {
        kt_records_insert(copy, &entry->n_srv, &records[i]);
    }
    for (size_t i = 0; i < n; i++) copy[i].ttl = entry->ttl;
    return 0;
}

void kt_sim_names_free(struct kt_sim *sim)
{
    struct kt_list *node;
    while ((node = kt_list_pop(&sim->names)) != NULL) {
        struct sim_name *n = KT_CONTAINER(node, struct sim_name, all);
        free(n->srv);
        free(n);
    }
}

/* The addresses of a name; 0 and err if it has none. */
static size_t answer(const struct sim_lookup *r, struct kt_addr out[SIM_ADDRS], struct kt_err *err)
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
        /* The addresses that others can reach: its NAT's, if it is behind one. */
        n = kt_sim_host_public(h, out);
    }
    for (size_t i = 0; i < n; i++) kt_addr_set_port(&out[i], r->port);
    if (n == 0)
        kt_err_set(err, KT_ENAME, "%s: %s", r->host,
            name && name->fails ? "the name server does not answer" : "no such host name");
    return n;
}

/* The records of a name; 0 and err if it has none. */
static size_t answer_records(
    const struct sim_lookup *r, struct kt_record out[KT_QUERY_RECORDS], struct kt_err *err)
{
    const struct sim_name *name = find(r->p->sim, r->host);
    struct kt_addr addrs[SIM_ADDRS];
    size_t n = 0;
    if (name && name->fails) {
        kt_err_set(err, KT_EIO, "%s: the name server does not answer", r->host);
        return 0;
    }
    if (r->type == KT_RECORD_SRV) {
        for (; name && n < name->n_srv; n++) out[n] = name->srv[n];
    } else {
        const int family = r->type == KT_RECORD_A ? AF_INET : AF_INET6;
        const size_t all = answer(r, addrs, err);
        for (size_t i = 0; i < all; i++)
            if (addrs[i].sa.sa_family == family)
                out[n++] = (struct kt_record){.ttl = name ? name->ttl : KT_SIM_TTL, .addr = addrs[i]};
    }
    if (n == 0) kt_err_set(err, KT_ENAME, "%s: no %s record", r->host, kt_record_type_name(r->type));
    return n;
}

/* ---- lookups ---- */

static void end(struct sim_lookup *r)
{
    kt_list_remove(&r->node);
    kt_sim_ended(r->p);
    free(r);
}

/* Ends r, then reports: the callback may do anything, including starting another lookup. */
static void tell_addrs(struct sim_lookup *r)
{
    kt_resolve_cb cb = r->cb;
    void *ctx = r->ctx;
    struct kt_addr addrs[SIM_ADDRS] = {r->addr};
    struct kt_err err;
    size_t n = r->numeric ? 1 : answer(r, addrs, &err);
    end(r);
    cb(ctx, addrs, n, n ? NULL : &err);
}

static void tell_records(struct sim_lookup *r)
{
    kt_query_cb cb = r->query_cb;
    void *ctx = r->ctx;
    struct kt_record records[KT_QUERY_RECORDS];
    struct kt_err err;
    size_t n = answer_records(r, records, &err);
    end(r);
    cb(ctx, records, n, n ? NULL : &err);
}

static void tell(void *ctx)
{
    struct sim_lookup *r = ctx;
    if (r->cb)
        tell_addrs(r);
    else
        tell_records(r);
}

static void on_time(void *ctx)
{
    struct sim_lookup *r = ctx;
    kt_sim_arrive(r->p, &r->turn);
}

static void cancel(struct sim_lookup *r)
{
    kt_sim_event_cancel(r->p->sim, &r->event);
    kt_list_remove(&r->turn.node);
    end(r);
}

static void resolve_cancel(struct kt_resolve *resolve)
{
    cancel(KT_CONTAINER(resolve, struct sim_lookup, resolve));
}

static void query_cancel(struct kt_query *query)
{
    cancel(KT_CONTAINER(query, struct sim_lookup, query));
}

void kt_sim_resolve_vanish(struct kt_sim_host *h, const struct sim_io *p)
{
    for (struct kt_list *n = h->lookups.next; n != &h->lookups; n = n->next) {
        struct sim_lookup *r = KT_CONTAINER(n, struct sim_lookup, node);
        if (!p || r->p == p) kt_sim_event_cancel(h->sim, &r->event);
    }
}

/* A lookup that has not begun; NULL without memory. */
/* Makes a lookup without starting it; NULL without memory. */
static struct sim_lookup *make(struct sim_io *p, const char *host, void *ctx)
{
    struct sim_lookup *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->resolve.cancel = resolve_cancel;
    r->query.cancel = query_cancel;
    r->p = p;
    r->ctx = ctx;
    snprintf(r->host, sizeof r->host, "%s", host);
    kt_list_init(&r->node);
    kt_list_push(&p->host->lookups, &r->node);
    kt_turn_init(&r->turn, tell, r);
    kt_sim_event_init(&r->event, on_time, r);
    kt_sim_opened(p);
    return r;
}

static void begin(struct sim_lookup *r)
{
    struct kt_sim *sim = r->p->sim;
    const struct sim_name *name = find(sim, r->host);
    uint64_t delay = name ? name->delay_us : kt_sim_host_find(sim, r->host) ? KNOWN_US : UNKNOWN_US;
    kt_sim_event_set(sim, &r->event, sim->now + delay);
}

int kt_sim_resolve(struct kt_io *io, const char *host, uint16_t port, kt_resolve_cb cb, void *ctx,
    struct kt_resolve **out, struct kt_err *err)
{
    *out = NULL;
    struct sim_io *p = kt_sim_io(io);
    if (kt_sim_alive(p, err) != 0) return KT_ECLOSED;
    if (!host[0] || strlen(host) > 253) return kt_err_set(err, KT_ENAME, "%.255s: not a host name", host);
    struct sim_lookup *r = make(p, host, ctx);
    if (!r) return kt_err_set(err, KT_ENOMEM, "%.255s: out of memory", host);
    r->cb = cb;
    r->port = port;
    r->numeric = kt_addr_from_ip(&r->addr, host, port);
    if (r->numeric)
        kt_io_turn(io, &r->turn);
    else
        begin(r);
    *out = &r->resolve;
    return 0;
}

int kt_sim_query(struct kt_io *io, const struct kt_question *question, kt_query_cb cb, void *ctx,
    struct kt_query **out, struct kt_err *err)
{
    struct sim_io *p = kt_sim_io(io);
    if (kt_sim_alive(p, err) != 0) return KT_ECLOSED;
    struct sim_lookup *r = make(p, question->name, ctx);
    if (!r) return kt_err_set(err, KT_ENOMEM, "%s: out of memory", question->name);
    size_t len = strlen(r->host);
    if (len && r->host[len - 1] == '.') r->host[len - 1] = '\0';
    r->query_cb = cb;
    r->type = question->type;
    begin(r);
    *out = &r->query;
    return 0;
}
