/* A UDP socket whose peers are flows: a table by address, and a list by the time of the last datagram. Of diverted
 * datagrams the address that they were sent to is part of the key.
 *
 * Invariant: a flow is in the table and in `recency` until it ends, and has a socket exactly that long. `recency` is in
 * the order of active_us, so its head is the first to end, and the timer is armed whenever it is not empty. A source is
 * in `sources` while flows use it. */
#include "link/common/udp_flows.h"

#include <stdlib.h>
#include <string.h>
#include "base/hmap.h"
#include "base/list.h"
#include "link/common/bind.h"
#include "link/counters.h"

/* A socket bound to an address that clients send to, to answer from there. */
struct source {
    struct kt_hnode node;
    struct kt_addr addr;
    struct kt_udp *udp;
    size_t flows;
};

struct peer {
    struct kt_flow flow;
    struct kt_udp_flows *all; /* NULL: ended */
    struct kt_hnode node;
    struct kt_list recency;
    struct kt_addr addr, local; /* local: where it sends to; family AF_UNSPEC: unknown */
    struct source *source;      /* NULL: it is not diverted */
    uint64_t active_us;
    struct kt_flow_facts facts;
};

struct kt_udp_flows {
    struct kt_io *io;
    struct kt_udp *udp;
    const struct kt_udp_flows_events *events;
    void *ctx;
    uint64_t idle_us, hash_seed;
    size_t most;
    bool stopped;
    bool diverted;
    struct kt_hmap peers, sources;
    struct kt_list recency;
    struct kt_timer timer;
    uint64_t opened, evicted;
};

static struct peer *of(struct kt_flow *f)
{
    return KT_CONTAINER(f, struct peer, flow);
}

static struct peer *longest_idle(const struct kt_udp_flows *u)
{
    return kt_list_empty(&u->recency) ? NULL : KT_CONTAINER(u->recency.next, struct peer, recency);
}

static void touch(struct peer *p)
{
    p->active_us = kt_io_now(p->all->io);
    kt_list_remove(&p->recency);
    kt_list_push(&p->all->recency, &p->recency);
}

static void release(struct kt_udp_flows *u, struct source *s)
{
    if (!s || --s->flows > 0) return;
    kt_hmap_remove(&u->sources, &s->node);
    kt_udp_close(s->udp);
    free(s);
}

/* Takes a flow out of the socket; its user closes it. */
static void detach(struct peer *p)
{
    release(p->all, p->source);
    p->source = NULL;
    kt_hmap_remove(&p->all->peers, &p->node);
    kt_list_remove(&p->recency);
    p->all = NULL;
}

static void end(struct peer *p, int code)
{
    detach(p);
    if (p->flow.events) p->flow.events->ended(p->flow.ctx, code);
}

static void arm(struct kt_udp_flows *u)
{
    const struct peer *first = longest_idle(u);
    if (first)
        kt_io_timer_set(u->io, &u->timer, first->active_us + u->idle_us);
    else
        kt_io_timer_cancel(u->io, &u->timer);
}

static void on_timer(void *ctx)
{
    struct kt_udp_flows *u = ctx;
    const uint64_t now = kt_io_now(u->io);
    for (struct peer *p; (p = longest_idle(u)) && now - p->active_us >= u->idle_us;) end(p, KT_EIDLE);
    arm(u);
}

static void make_room(struct kt_udp_flows *u)
{
    while (u->peers.count >= u->most) {
        u->evicted++;
        end(longest_idle(u), KT_ELIMIT);
    }
}

/* ---- a flow ---- */

static void on_send(struct kt_flow *f, const uint8_t *data, size_t len)
{
    struct peer *p = of(f);
    uint8_t *buf;
    if (len > KT_UDP_MAX) {
        p->facts.too_large++;
        return;
    }
    struct kt_udp *udp = !p->all ? NULL : p->source ? p->source->udp : p->all->udp;
    if (!udp || !(buf = kt_udp_reserve(udp))) {
        p->facts.dropped++;
        return;
    }
    if (len > 0) memcpy(buf, data, len);
    kt_udp_commit(udp, buf, buf, len, &p->addr, p->local.sa.sa_family ? &p->local : NULL);
    p->facts.sent++;
    p->facts.bytes_out += len;
    touch(p);
}

static void on_facts(const struct kt_flow *f, struct kt_flow_facts *out)
{
    *out = KT_CONTAINER(f, const struct peer, flow)->facts;
}

static void on_close(struct kt_flow *f, int reason)
{
    struct peer *p = of(f);
    (void)reason; /* UDP cannot say it */
    if (p->all) detach(p);
    free(p);
}

/* ---- arrivals ---- */

static uint64_t hash_of(
    const struct kt_udp_flows *u, const struct kt_addr *addr, const struct kt_addr *original)
{
    return kt_addr_hash(addr, original ? kt_addr_hash(original, u->hash_seed) : u->hash_seed);
}

static struct peer *find(
    const struct kt_udp_flows *u, const struct kt_addr *addr, const struct kt_addr *original)
{
    struct kt_hnode *node = kt_hmap_find(&u->peers, hash_of(u, addr, original));
    for (; node; node = kt_hmap_again(node)) {
        struct peer *p = KT_CONTAINER(node, struct peer, node);
        if (kt_addr_equal(&p->addr, addr) &&
            (original ? p->source && kt_addr_equal(&p->source->addr, original) : !p->source))
            return p;
    }
    return NULL;
}

static void on_writable(void *ctx)
{
    (void)ctx; /* what found no room was dropped */
}

static void on_error(void *ctx, int code)
{
    (void)ctx; /* about a peer that is gone: its flow ends when it has been idle */
    (void)code;
}

static void ignore_batch(void *ctx, struct kt_dgram *dgrams, size_t n)
{
    (void)ctx, (void)dgrams, (void)n; /* what is sent to that address is diverted to the other socket */
}

/* The socket that answers from an address, for one more flow; NULL: there is none. */
static struct source *use_source(struct kt_udp_flows *u, const struct kt_addr *addr)
{
    static const struct kt_udp_events events = {ignore_batch, on_writable, on_error};
    const uint64_t hash = kt_addr_hash(addr, u->hash_seed);
    for (struct kt_hnode *node = kt_hmap_find(&u->sources, hash); node; node = kt_hmap_again(node)) {
        struct source *s = KT_CONTAINER(node, struct source, node);
        if (!kt_addr_equal(&s->addr, addr)) continue;
        s->flows++;
        return s;
    }
    const struct kt_udp_opts opts = {.local = *addr, .foreign = true};
    struct source *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->addr = *addr;
    s->flows = 1;
    if (kt_udp_open(u->io, &opts, &events, u, &s->udp, NULL)) {
        free(s);
        return NULL;
    }
    if (kt_hmap_add(&u->sources, &s->node, hash) == 0) return s;
    kt_udp_close(s->udp);
    free(s);
    return NULL;
}

/* A flow for a new address; NULL: there is none. */
static struct peer *begin(struct kt_udp_flows *u, const struct kt_addr *addr, const struct kt_addr *original)
{
    static const struct kt_flow_ops ops = {.send = on_send, .facts = on_facts, .close = on_close};
    char text[KT_ADDR_TEXT], at[KT_ADDR_TEXT];
    if (u->stopped) return NULL;
    make_room(u);
    struct peer *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    *p = (struct peer){.flow.ops = &ops, .all = u, .addr = *addr};
    kt_list_init(&p->recency);
    if (original) p->source = use_source(u, original);
    if ((original && !p->source) || kt_hmap_add(&u->peers, &p->node, hash_of(u, addr, original)) < 0) {
        release(u, p->source);
        free(p);
        return NULL;
    }
    touch(p);
    u->opened++;
    if (!u->timer.armed) arm(u);
    u->events->flow(u->ctx, &p->flow, kt_addr_text(addr, text), original ? kt_addr_text(original, at) : NULL);
    return find(u, addr, original); /* the callee may have closed it */
}

/* Where a datagram was sent to, unless that is the socket itself. */
static const struct kt_addr *diverted_to(const struct kt_udp_flows *u, const struct kt_dgram *d)
{
    struct kt_addr local;
    if (!u->diverted || !d->original) return NULL;
    kt_udp_local(u->udp, &local);
    const bool own = kt_addr_is_any(&local) ? kt_addr_port(&local) == kt_addr_port(d->original)
                                            : kt_addr_equal(&local, d->original);
    return own ? NULL : d->original;
}

static void take(struct kt_udp_flows *u, const struct kt_dgram *d)
{
    const struct kt_addr *original = diverted_to(u, d);
    struct peer *p = find(u, d->from, original);
    if (!p) p = begin(u, d->from, original);
    if (!p) return;
    if (d->to && !p->source) p->local = *d->to;
    p->facts.received++;
    p->facts.bytes_in += d->len;
    touch(p);
    if (p->flow.events) p->flow.events->datagram(p->flow.ctx, d->data, d->len);
}

static void on_batch(void *ctx, struct kt_dgram *dgrams, size_t n)
{
    for (size_t i = 0; i < n; i++) take(ctx, &dgrams[i]);
}

/* ---- the socket ---- */

int kt_udp_flows_open(struct kt_io *io, const struct kt_udp_flows_options *options,
    const struct kt_udp_flows_events *events, void *ctx, struct kt_udp_flows **out, struct kt_err *err)
{
    static const struct kt_udp_events udp_events = {on_batch, on_writable, on_error};
    const struct kt_udp_opts opts = {
        .diverted = options->diverted, .oversize = &options->counters->FlowDatagramsTooLarge};
    struct kt_udp_flows *u = calloc(1, sizeof *u);
    if (!u) return kt_err_set(err, KT_ENOMEM, "out of memory");
    u->io = io;
    u->events = events;
    u->ctx = ctx;
    u->idle_us = options->idle_us;
    u->most = options->most;
    u->diverted = options->diverted;
    kt_io_random(io, &u->hash_seed, sizeof u->hash_seed);
    kt_hmap_init(&u->peers);
    kt_hmap_init(&u->sources);
    kt_list_init(&u->recency);
    kt_timer_init(&u->timer, on_timer, u);
    const int rc = kt_bind_udp(io, options->at, &opts, &udp_events, u, &u->udp, err);
    if (rc)
        free(u);
    else
        *out = u;
    return rc;
}

void kt_udp_flows_set(struct kt_udp_flows *u, uint64_t idle_us, size_t most)
{
    u->idle_us = idle_us;
    u->most = most;
    arm(u);
}

void kt_udp_flows_stop(struct kt_udp_flows *u)
{
    u->stopped = true;
}

void kt_udp_flows_local(const struct kt_udp_flows *u, struct kt_addr *out)
{
    kt_udp_local(u->udp, out);
}

void kt_udp_flows_facts(const struct kt_udp_flows *u, struct kt_udp_flows_facts *out)
{
    *out = (struct kt_udp_flows_facts){.flows = u->peers.count, .opened = u->opened, .evicted = u->evicted};
}

void kt_udp_flows_close(struct kt_udp_flows *u)
{
    for (struct peer *p; (p = longest_idle(u));) end(p, KT_ECLOSED);
    kt_io_timer_cancel(u->io, &u->timer);
    kt_hmap_free(&u->peers);
    kt_hmap_free(&u->sources);
    kt_udp_close(u->udp);
    free(u);
}
