/* Lines: one direction of a link, and a packet's way along it.
 *
 * The line's model decides a packet's fate when it is sent; the packet is then an event at its time of arrival.
 *
 * Invariant: packets arrive in the order in which they were sent, except those that `reorder` or a rule delays.
 * TCP segments always arrive in order, and a line never loses one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/sim/internal.h"
#include "io/sim/line_model.h"

#define HELD_MAX 10000u
#define COPIES_MAX 16u

struct kt_sim_line {
    struct kt_hnode node; /* first: in from->lines */
    struct kt_sim_host *from, *to;
    struct kt_sim_model model;
    bool is_held;
    struct kt_list held; /* packets, in order of arrival */
    size_t n_held;
};

static const char *const cause_names[KT_SIM_CAUSES] = {
    "not lost", "loss", "burst", "queue", "police", "mtu", "cut", "rule", "down", "nat", "no port", "socket"};

const char *kt_sim_cause_name(enum kt_sim_cause cause)
{
    return cause_names[cause];
}

/* ---- packets ---- */

struct sim_packet *kt_sim_packet_new(struct kt_sim *sim, enum kt_sim_proto proto)
{
    struct sim_packet *k = kt_slab_get(sim->packets);
    if (!k) {
        kt_sim_fail(sim, KT_ENOMEM, "out of memory for packets");
        return NULL;
    }
    memset(k, 0, offsetof(struct sim_packet, bytes));
    kt_list_init(&k->node);
    k->proto = (uint8_t)proto;
    k->data = k->bytes;
    return k;
}

void kt_sim_packet_free(struct kt_sim *sim, struct sim_packet *k)
{
    kt_list_remove(&k->node);
    kt_sim_event_cancel(sim, &k->event);
    kt_slab_put(sim->packets, k);
}

static uint32_t wire_len(const struct sim_packet *k)
{
    uint32_t ip = k->src.sa.sa_family == AF_INET6 ? 40 : 20;
    uint32_t head = k->proto == KT_SIM_TCP ? 20 : 8;
    return ip + head + (uint32_t)k->len;
}

static const char *flags(const struct sim_packet *k)
{
    static const char *const names[] = {"SYN", "SYN ACK", "", "FIN", "ACK", "RST", "PROBE"};
    return k->proto == KT_SIM_TCP ? names[k->kind] : "";
}

static struct kt_sim_packet describe(const struct kt_sim_line *l, const struct sim_packet *k,
    enum kt_sim_happened what, enum kt_sim_cause cause)
{
    return (struct kt_sim_packet){.at = l->from->sim->now,
        .id = k->id,
        .what = what,
        .cause = cause,
        .proto = (enum kt_sim_proto)k->proto,
        .from = l->from->name,
        .to = l->to->name,
        .src = &k->src,
        .dst = &k->dst,
        .data = k->data,
        .len = k->len,
        .wire_len = wire_len(k),
        .flags = flags(k)};
}

static void tell(const struct kt_sim_line *l, const struct sim_packet *k, enum kt_sim_happened what,
    enum kt_sim_cause cause)
{
    const struct kt_sim *sim = l->from->sim;
    if (!sim->trace) return;
    const struct kt_sim_packet p = describe(l, k, what, cause);
    sim->trace(sim->trace_ctx, &p);
}

static void lose(struct kt_sim_line *l, struct sim_packet *k, enum kt_sim_cause cause)
{
    l->model.stats.lost[cause]++;
    l->model.stats.lost_pkts++;
    tell(l, k, KT_SIM_DROPPED, cause);
    if (k->proto == KT_SIM_TCP) kt_sim_tcp_stalled(l->from, k, true);
    kt_sim_packet_free(l->from->sim, k);
}

/* ---- arrival ---- */

static void deliver(struct kt_sim_line *l, struct sim_packet *k)
{
    struct kt_sim_host *h = l->to;
    struct kt_addr dst = k->dst;
    if (!h->up) {
        lose(l, k, KT_SIM_DOWN);
        return;
    }
    if (l->from != h && !kt_sim_nat_in(h, k, &dst)) {
        lose(l, k, KT_SIM_NAT);
        return;
    }
    /* Report it before handing it over: after that its memory may be reused. */
    enum kt_sim_cause cause = KT_SIM_NOT_LOST;
    if (k->proto == KT_SIM_UDP) cause = kt_sim_udp_input(h, k, &dst);
    if (cause == KT_SIM_NO_PORT && kt_sim_is_own(h, &dst)) kt_sim_udp_refuse(h, k);
    if (cause) {
        lose(l, k, cause);
        return;
    }
    l->model.stats.delivered_pkts++;
    l->model.stats.delivered_bytes += wire_len(k);
    tell(l, k, KT_SIM_DELIVERED, KT_SIM_NOT_LOST);
    if (k->proto == KT_SIM_TCP) {
        kt_sim_tcp_input(h, k, &dst);
    } else if (k->proto == KT_SIM_ICMP) {
        kt_sim_icmp_input(h, k, &dst);
        kt_sim_packet_free(h->sim, k);
    }
}

/* Holds a packet until the line heals. */
static void hold(struct kt_sim_line *l, struct sim_packet *k)
{
    if (l->n_held >= HELD_MAX && k->proto != KT_SIM_TCP) {
        lose(l, k, KT_SIM_CUT);
        return;
    }
    kt_list_push(&l->held, &k->node);
    l->n_held++;
    if (k->proto == KT_SIM_TCP) kt_sim_tcp_stalled(l->from, k, false);
}

static void on_arrival(void *ctx)
{
    struct sim_packet *k = ctx;
    struct kt_sim_line *l = k->line;
    bool was_cut = kt_sim_model_was_cut(&l->model, k->cut);
    /* Real TCP would send it again. Here it waits, and so does everything behind it. */
    if (was_cut && k->proto != KT_SIM_TCP)
        lose(l, k, KT_SIM_CUT);
    else if (l->model.is_cut || l->is_held)
        hold(l, k);
    else
        deliver(l, k);
}

/* ---- departure ---- */

static void launch(struct kt_sim_line *l, struct sim_packet *k, uint64_t leaves, uint64_t extra)
{
    uint64_t at = kt_sim_model_arrival(&l->model, leaves, extra, k->proto != KT_SIM_TCP);
    k->cut = l->model.cuts;
    kt_sim_event_init(&k->event, on_arrival, k);
    kt_sim_event_set(l->from->sim, &k->event, at);
}

static void copy(struct kt_sim_line *l, const struct sim_packet *k, uint64_t leaves, uint64_t extra)
{
    struct kt_sim *sim = l->from->sim;
    struct sim_packet *twin = kt_sim_packet_new(sim, (enum kt_sim_proto)k->proto);
    if (!twin) return;
    twin->line = l;
    twin->src = k->src;
    twin->dst = k->dst;
    twin->len = k->len;
    twin->id = sim->next_packet++;
    memcpy(twin->bytes, k->data, k->len);
    l->model.stats.duplicated++;
    tell(l, twin, KT_SIM_DUPLICATED, KT_SIM_NOT_LOST);
    launch(l, twin, leaves, extra);
}

/* When k leaves its host. */
static uint64_t leave_host(const struct kt_sim_line *l, const struct sim_packet *k)
{
    return l == l->from->lo ? l->from->sim->now : kt_sim_host_leave(l->from, wire_len(k));
}

/* A packet that may be fragmented counts as several, by the line's MTU, and is lost if any of them is. */
static enum kt_sim_cause enter(struct kt_sim_line *l, const struct sim_packet *k, uint64_t *leaves)
{
    const uint32_t mtu = l->model.opts.mtu ? l->model.opts.mtu : KT_SIM_MTU_DEFAULT;
    const uint32_t head = 20; /* of IPv4; routers do not fragment IPv6 */
    uint32_t left = wire_len(k);
    const uint64_t at = leave_host(l, k);
    while (k->fragment && k->src.sa.sa_family == AF_INET && left > mtu) {
        const uint32_t piece = head + (mtu - head) / 8 * 8;
        enum kt_sim_cause cause = kt_sim_model_enter(&l->model, at, piece, leaves);
        if (cause) return cause;
        left = left - piece + head;
    }
    return kt_sim_model_enter(&l->model, at, left, leaves);
}

static void send_datagram(struct kt_sim_line *l, struct sim_packet *k)
{
    struct kt_sim *sim = l->from->sim;
    struct kt_sim_verdict verdict = {0};
    uint64_t leaves;
    if (sim->rule && k->proto == KT_SIM_UDP && l->from != l->to) {
        const struct kt_sim_packet p = describe(l, k, KT_SIM_SENT, KT_SIM_NOT_LOST);
        sim->rule(sim->rule_ctx, &p, &verdict);
    }
    enum kt_sim_cause cause = verdict.drop ? KT_SIM_RULE : enter(l, k, &leaves);
    if (cause) {
        lose(l, k, cause);
        return;
    }
    unsigned copies = verdict.copies < COPIES_MAX ? verdict.copies : COPIES_MAX;
    if (kt_sim_model_duplicates(&l->model)) copies++;
    launch(l, k, leaves, verdict.delay_us);
    for (unsigned i = 0; i < copies; i++) copy(l, k, leaves, verdict.delay_us);
    /* Copies, if any, were made before. */
    if (kt_sim_model_damage(&l->model, k->data, k->len)) tell(l, k, KT_SIM_CORRUPTED, KT_SIM_NOT_LOST);
}

static struct kt_sim_line *find_line(const struct kt_sim_host *from, const struct kt_sim_host *to)
{
    struct kt_hnode *n = kt_hmap_find(&from->lines, kt_hash_u64(to->index, 0));
    for (; n; n = kt_hmap_again(n)) {
        struct kt_sim_line *l = KT_CONTAINER(n, struct kt_sim_line, node);
        if (l->to == to) return l;
    }
    return NULL;
}

static struct kt_sim_line *route(const struct kt_sim_host *h, const struct kt_addr *to)
{
    if (kt_sim_is_own(h, to)) return h->lo;
    const struct kt_sim_host *owner = kt_sim_owner(h->sim, to);
    struct kt_sim_line *l = owner && owner != h ? find_line(h, owner) : NULL;
    return !l && h->gateway && kt_sim_is_unicast(to) ? find_line(h, h->gateway) : l;
}

static int send_by(struct kt_sim_host *h, struct sim_packet *k, bool through_nat)
{
    struct kt_sim_line *l = h->up ? route(h, &k->dst) : NULL;
    if (!l) {
        kt_sim_packet_free(h->sim, k);
        return KT_EUNREACH;
    }
    k->line = l;
    k->id = h->sim->next_packet++;
    if (through_nat && l != h->lo && !kt_sim_nat_out(h, k)) {
        lose(l, k, KT_SIM_NAT);
        return 0;
    }
    l->model.stats.sent_pkts++;
    l->model.stats.sent_bytes += wire_len(k);
    tell(l, k, KT_SIM_SENT, KT_SIM_NOT_LOST);
    if (k->proto == KT_SIM_TCP) {
        uint64_t leaves;
        if (kt_sim_model_enter_always(&l->model, leave_host(l, k), wire_len(k), &leaves))
            launch(l, k, leaves, 0);
        else
            kt_sim_fail(h->sim, KT_ENOMEM, "out of memory for a queue");
    } else {
        send_datagram(l, k);
    }
    return 0;
}

int kt_sim_send(struct kt_sim_host *h, struct sim_packet *k)
{
    return send_by(h, k, true);
}

int kt_sim_inject(struct kt_sim_host *h, const struct kt_addr *src, const struct kt_addr *dst,
    const void *data, size_t len, struct kt_err *err)
{
    char text[KT_ADDR_TEXT];
    if (len > KT_UDP_MAX)
        return kt_err_set(err, KT_EINVAL, "%zu bytes; a datagram has at most %u", len, KT_UDP_MAX);
    if (src->sa.sa_family != dst->sa.sa_family)
        return kt_err_set(err, KT_EINVAL, "from and to must have the same IP version");
    struct sim_packet *k = kt_sim_packet_new(h->sim, KT_SIM_UDP);
    if (!k) return kt_err_set(err, KT_ENOMEM, "out of memory for packets");
    k->src = *src;
    k->dst = *dst;
    k->len = len;
    memcpy(k->bytes, data, len);
    int rc = send_by(h, k, false);
    return rc ? kt_err_set(err, rc, "no route from host %s to %s", h->name, kt_addr_text(dst, text)) : 0;
}

uint32_t kt_sim_path_mtu(const struct kt_sim_host *h, const struct kt_addr *to)
{
    const struct kt_sim_line *l = route(h, to);
    return l && l->model.opts.mtu ? l->model.opts.mtu : KT_SIM_MTU_DEFAULT;
}

/* ---- making and changing ---- */

int kt_sim_line_new(struct kt_sim_host *from, struct kt_sim_host *to, const struct kt_sim_line_opts *opts,
    struct kt_sim_line **out)
{
    struct kt_sim_line *l = calloc(1, sizeof *l);
    *out = l;
    if (!l) return KT_ENOMEM;
    char name[2 * SIM_NAME];
    snprintf(name, sizeof name, "%s>%s", from->name, to->name);
    l->from = from;
    l->to = to;
    kt_list_init(&l->held);
    kt_sim_model_init(&l->model, opts, from->sim->seed, name);
    return 0;
}

void kt_sim_line_free(struct kt_sim_line *l)
{
    struct kt_list *node;
    if (!l) return;
    while ((node = kt_list_pop(&l->held)) != NULL)
        kt_sim_packet_free(l->from->sim, KT_CONTAINER(node, struct sim_packet, node));
    kt_sim_model_free(&l->model);
    free(l);
}

int kt_sim_link(struct kt_sim_host *a, struct kt_sim_host *b, const struct kt_sim_line_opts *a_to_b,
    const struct kt_sim_line_opts *b_to_a, struct kt_err *err)
{
    static const struct kt_sim_line_opts plain = {.delay_us = 1};
    const struct kt_sim_line_opts *there = a_to_b ? a_to_b : &plain, *back = b_to_a ? b_to_a : &plain;
    struct kt_sim_line *x, *y;
    if (a == b) return kt_err_set(err, KT_EINVAL, "host %s cannot be linked to itself", a->name);
    if (find_line(a, b))
        return kt_err_set(err, KT_EINUSE, "hosts %s and %s are already linked", a->name, b->name);
    if (kt_sim_line_check(there, err) != 0 || kt_sim_line_check(back, err) != 0) return KT_EINVAL;
    if (kt_sim_line_new(a, b, there, &x) != 0) return kt_err_set(err, KT_ENOMEM, "out of memory");
    if (kt_sim_line_new(b, a, back, &y) != 0 ||
        kt_hmap_add(&a->lines, &x->node, kt_hash_u64(b->index, 0)) != 0) {
        kt_sim_line_free(x);
        kt_sim_line_free(y);
        return kt_err_set(err, KT_ENOMEM, "out of memory");
    }
    if (kt_hmap_add(&b->lines, &y->node, kt_hash_u64(a->index, 0)) != 0) {
        kt_hmap_remove(&a->lines, &x->node);
        kt_sim_line_free(x);
        kt_sim_line_free(y);
        return kt_err_set(err, KT_ENOMEM, "out of memory");
    }
    return 0;
}

struct kt_sim_line *kt_sim_line(struct kt_sim_host *from, struct kt_sim_host *to)
{
    return find_line(from, to);
}

struct kt_sim_host *kt_sim_line_from(const struct kt_sim_line *l)
{
    return l->from;
}

int kt_sim_line_set(struct kt_sim_line *l, const struct kt_sim_line_opts *opts, struct kt_err *err)
{
    if (kt_sim_line_check(opts, err) != 0) return KT_EINVAL;
    l->model.opts = *opts;
    return 0;
}

const struct kt_sim_line_stats *kt_sim_line_stats(const struct kt_sim_line *l)
{
    return &l->model.stats;
}

void kt_sim_line_cut(struct kt_sim_line *l)
{
    kt_sim_model_cut(&l->model);
}

void kt_sim_line_hold(struct kt_sim_line *l)
{
    l->is_held = true;
}

void kt_sim_line_heal(struct kt_sim_line *l)
{
    struct kt_list *node;
    l->is_held = false;
    kt_sim_model_mend(&l->model);
    while ((node = kt_list_pop(&l->held)) != NULL) {
        struct sim_packet *k = KT_CONTAINER(node, struct sim_packet, node);
        l->n_held--;
        deliver(l, k);
    }
}

/* ---- the end ---- */

void kt_sim_packets_free(struct kt_sim *sim)
{
    struct kt_sim_event *e;
    while ((e = kt_sim_heap_top(&sim->heap)) != NULL) {
        kt_sim_heap_remove(&sim->heap, e);
        if (e->fn == on_arrival) kt_sim_packet_free(sim, e->ctx);
    }
}
