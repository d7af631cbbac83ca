/* A UDP socket whose peers are flows: a table by address, and a list by the time of the last datagram.
 *
 * Invariant: a flow is in the table and in `recency` until it ends, and has a socket exactly that long. `recency` is in
 * the order of active_us, so its head is the first to end, and the timer is armed whenever it is not empty. */
#include "link/common/udp_flows.h"

#include <stdlib.h>
#include <string.h>
#include "base/hmap.h"
#include "base/list.h"
#include "link/common/bind.h"

struct peer {
    struct kt_flow flow;
    struct kt_udp_flows *all; /* NULL: ended */
    struct kt_hnode node;
    struct kt_list recency;
    struct kt_addr addr, local; /* local: where it sends to; family AF_UNSPEC: unknown */
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
    struct kt_hmap peers;
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

/* Takes a flow out of the socket; its user closes it. */
static void detach(struct peer *p)
{
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
    if (!p->all || !(buf = kt_udp_reserve(p->all->udp))) {
        p->facts.dropped++;
        return;
    }
    if (len > 0) memcpy(buf, data, len);
    kt_udp_commit(p->all->udp, buf, buf, len, &p->addr, p->local.sa.sa_family ? &p->local : NULL);
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

static struct peer *find(const struct kt_udp_flows *u, const struct kt_addr *addr)
{
    struct kt_hnode *node = kt_hmap_find(&u->peers, kt_addr_hash(addr, u->hash_seed));
    for (; node; node = kt_hmap_again(node)) {
        struct peer *p = KT_CONTAINER(node, struct peer, node);
        if (kt_addr_equal(&p->addr, addr)) return p;
    }
    return NULL;
}

/* A flow for a new address; NULL: there is none. */
static struct peer *begin(struct kt_udp_flows *u, const struct kt_addr *addr)
{
    static const struct kt_flow_ops ops = {.send = on_send, .facts = on_facts, .close = on_close};
    char text[KT_ADDR_TEXT];
    if (u->stopped) return NULL;
    make_room(u);
    struct peer *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    *p = (struct peer){.flow.ops = &ops, .all = u, .addr = *addr};
    kt_list_init(&p->recency);
    if (kt_hmap_add(&u->peers, &p->node, kt_addr_hash(addr, u->hash_seed)) < 0) {
        free(p);
        return NULL;
    }
    touch(p);
    u->opened++;
    if (!u->timer.armed) arm(u);
    u->events->flow(u->ctx, &p->flow, kt_addr_text(addr, text));
    return find(u, addr); /* the callee may have closed it */
}

static void take(struct kt_udp_flows *u, const struct kt_dgram *d)
{
    struct peer *p = find(u, d->from);
    if (!p) p = begin(u, d->from);
    if (!p) return;
    if (d->to) p->local = *d->to;
    p->facts.received++;
    p->facts.bytes_in += d->len;
    touch(p);
    if (p->flow.events) p->flow.events->datagram(p->flow.ctx, d->data, d->len);
}

static void on_batch(void *ctx, struct kt_dgram *dgrams, size_t n)
{
    for (size_t i = 0; i < n; i++) take(ctx, &dgrams[i]);
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

/* ---- the socket ---- */

int kt_udp_flows_open(struct kt_io *io, const struct kt_udp_flows_options *options,
    const struct kt_udp_flows_events *events, void *ctx, struct kt_udp_flows **out, struct kt_err *err)
{
    static const struct kt_udp_events udp_events = {on_batch, on_writable, on_error};
    const struct kt_udp_opts opts = {0};
    struct kt_udp_flows *u = calloc(1, sizeof *u);
    if (!u) return kt_err_set(err, KT_ENOMEM, "out of memory");
    u->io = io;
    u->events = events;
    u->ctx = ctx;
    u->idle_us = options->idle_us;
    u->most = options->most;
    kt_io_random(io, &u->hash_seed, sizeof u->hash_seed);
    kt_hmap_init(&u->peers);
    kt_list_init(&u->recency);
    kt_timer_init(&u->timer, on_timer, u);
    const int rc =
        kt_bind_udp(io, options->at->host, options->at->port_min, &opts, &udp_events, u, &u->udp, err);
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
    kt_udp_close(u->udp);
    free(u);
}
