/* Lines: one direction of a link, and the way of a packet along it.
 *
 * A packet's fate is decided when it is sent, by draws from the line's own streams, one for each ill; then it
 * is an event at its time of arrival. The queue before a line of limited rate is not acted out: when each
 * packet will have left it is known at once, and a ring of those times tells how many are in it.
 *
 * Invariant: packets arrive in the order in which they were sent, except those that `reorder` or a rule
 * delays; TCP segments always do, and none is ever lost on a line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/sim_internal.h"

#define HELD_MAX 10000u
#define COPIES_MAX 16u
#define QUEUE_PACKETS 1000u
#define REORDER_US 10000u
#define MTU 1500u

/* A packet that has not left the queue yet. */
struct departure {
    uint64_t at_ns;
    uint32_t bytes;
};

struct kt_sim_line {
    struct kt_hnode node; /* first: in from->lines */
    struct kt_sim_host *from, *to;
    struct kt_sim_line_opts opts;
    struct kt_rng loss, burst, jitter, duplicate, reorder, corrupt;
    bool bad; /* the state of the bursts */
    bool is_cut, is_held;
    uint64_t cuts;         /* how often it was cut: what was on it then is lost */
    uint64_t last_arrival; /* µs */
    uint64_t busy_until;   /* ns: when the last packet will have left the queue */
    struct departure *queue;
    size_t queue_head, queue_n, queue_cap; /* a ring; cap is a power of two */
    uint64_t queue_bytes;
    struct kt_list held; /* packets, in order of arrival */
    size_t n_held;
    struct kt_sim_line_stats stats;
};

static const char *const cause_names[KT_SIM_CAUSES] = {
    "not lost", "loss", "burst", "queue", "mtu", "cut", "rule", "down", "nat", "no port", "socket"};

const char *kt_sim_cause_name(enum kt_sim_cause cause)
{
    return cause_names[cause];
}

/* ---- packets ---- */

struct sim_packet *kt_sim_packet_new(struct kt_sim *sim, enum kt_sim_proto proto)
{
    struct sim_packet *k = kt_pool_get(sim->packets);
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
    kt_pool_put(sim->packets, k);
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
    l->stats.lost[cause]++;
    l->stats.lost_pkts++;
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
    /* Told before it is taken in, after which its memory is no longer ours. */
    enum kt_sim_cause cause = KT_SIM_NOT_LOST;
    if (k->proto == KT_SIM_UDP) cause = kt_sim_udp_input(h, k, &dst);
    if (cause == KT_SIM_NO_PORT) kt_sim_udp_refuse(h, k);
    if (cause) {
        lose(l, k, cause);
        return;
    }
    l->stats.delivered_pkts++;
    l->stats.delivered_bytes += wire_len(k);
    tell(l, k, KT_SIM_DELIVERED, KT_SIM_NOT_LOST);
    if (k->proto == KT_SIM_TCP) {
        kt_sim_tcp_input(h, k, &dst);
    } else if (k->proto == KT_SIM_ICMP) {
        kt_sim_icmp_input(h, k, &dst);
        kt_sim_packet_free(h->sim, k);
    }
}

/* Waits for the line to heal. */
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
    bool was_cut = l->is_cut || k->cut != l->cuts;
    /* TCP would send it again: here it waits, and what is behind one that waits does, too. */
    if (was_cut && k->proto != KT_SIM_TCP)
        lose(l, k, KT_SIM_CUT);
    else if (l->is_cut || l->is_held)
        hold(l, k);
    else
        deliver(l, k);
}

/* ---- departure ---- */

/* Drops from the ring what has left by now. */
static void queue_expire(struct kt_sim_line *l)
{
    uint64_t now_ns = l->from->sim->now * 1000;
    while (l->queue_n > 0 && l->queue[l->queue_head].at_ns <= now_ns) {
        l->queue_bytes -= l->queue[l->queue_head].bytes;
        l->queue_head = (l->queue_head + 1) & (l->queue_cap - 1);
        l->queue_n--;
    }
}

static bool queue_add(struct kt_sim_line *l, uint64_t at_ns, uint32_t bytes)
{
    if (l->queue_n == l->queue_cap) {
        size_t cap = l->queue_cap ? l->queue_cap * 2 : 64;
        struct departure *more = malloc(cap * sizeof *more);
        if (!more) return false;
        for (size_t i = 0; i < l->queue_n; i++) more[i] = l->queue[(l->queue_head + i) & (l->queue_cap - 1)];
        free(l->queue);
        l->queue = more;
        l->queue_head = 0;
        l->queue_cap = cap;
    }
    l->queue[(l->queue_head + l->queue_n++) & (l->queue_cap - 1)] = (struct departure){at_ns, bytes};
    l->queue_bytes += bytes;
    return true;
}

static void peak(uint64_t *at, uint64_t value)
{
    if (value > *at) *at = value;
}

/* When k will have left, in µs; false if it finds no room. TCP's windows bound what it sends: it always does.
 */
static bool enqueue(struct kt_sim_line *l, const struct sim_packet *k, uint64_t *leaves)
{
    const struct kt_sim_line_opts *o = &l->opts;
    uint64_t now_ns = l->from->sim->now * 1000;
    *leaves = l->from->sim->now;
    if (!o->rate_bps) return true;
    queue_expire(l);
    uint64_t start = l->busy_until > now_ns ? l->busy_until : now_ns, waits_us = (start - now_ns) / 1000;
    uint32_t bytes = wire_len(k);
    bool bounded = o->queue_packets || o->queue_bytes || o->queue_us;
    uint64_t packets = bounded ? o->queue_packets : QUEUE_PACKETS;
    bool full = (packets && l->queue_n >= packets) || (o->queue_us && waits_us > o->queue_us) ||
                (o->queue_bytes && l->queue_n > 0 && l->queue_bytes + bytes > o->queue_bytes);
    if (full && k->proto != KT_SIM_TCP) return false;
    l->busy_until = start + (uint64_t)bytes * 8 * 1000000000u / o->rate_bps;
    if (!queue_add(l, l->busy_until, bytes)) return false;
    peak(&l->stats.queue_peak_pkts, l->queue_n);
    peak(&l->stats.queue_peak_bytes, l->queue_bytes);
    peak(&l->stats.queue_peak_us, waits_us);
    *leaves = (l->busy_until + 999) / 1000;
    return true;
}

/* Why chance takes it, or KT_SIM_NOT_LOST. */
static enum kt_sim_cause fate(struct kt_sim_line *l)
{
    const struct kt_sim_line_opts *o = &l->opts;
    if (o->loss > 0 && kt_rng_chance(&l->loss, o->loss)) return KT_SIM_LOSS;
    if (o->burst_enter <= 0) return KT_SIM_NOT_LOST;
    if (kt_rng_chance(&l->burst, l->bad ? o->burst_leave : o->burst_enter)) l->bad = !l->bad;
    double p = o->burst_loss > 0 ? o->burst_loss : 1.0;
    return l->bad && kt_rng_chance(&l->burst, p) ? KT_SIM_BURST : KT_SIM_NOT_LOST;
}

static uint64_t travel(struct kt_sim_line *l)
{
    uint64_t delay = l->opts.delay_us, jitter = l->opts.jitter_us;
    if (jitter > 0) {
        delay += kt_rng_below(&l->jitter, 2 * jitter + 1);
        delay = delay > jitter ? delay - jitter : 0;
    }
    return delay > 0 ? delay : 1;
}

static void damage(struct kt_sim_line *l, struct sim_packet *k)
{
    if (l->opts.corrupt <= 0 || !kt_rng_chance(&l->corrupt, l->opts.corrupt) || k->len == 0) return;
    uint64_t bits = 1 + kt_rng_below(&l->corrupt, 3);
    for (uint64_t i = 0; i < bits; i++) {
        uint64_t bit = kt_rng_below(&l->corrupt, k->len * 8);
        k->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    l->stats.corrupted++;
    tell(l, k, KT_SIM_CORRUPTED, KT_SIM_NOT_LOST);
}

static void launch(struct kt_sim_line *l, struct sim_packet *k, uint64_t leaves, uint64_t extra)
{
    uint64_t at = leaves + travel(l);
    if (k->proto != KT_SIM_TCP && l->opts.reorder > 0 && kt_rng_chance(&l->reorder, l->opts.reorder)) {
        extra += l->opts.reorder_us ? l->opts.reorder_us : REORDER_US;
        l->stats.reordered++;
    }
    if (at < l->last_arrival) at = l->last_arrival;
    if (extra == 0) l->last_arrival = at;
    k->cut = l->cuts;
    kt_sim_event_init(&k->event, on_arrival, k);
    kt_sim_event_set(l->from->sim, &k->event, at + extra);
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
    l->stats.duplicated++;
    tell(l, twin, KT_SIM_DUPLICATED, KT_SIM_NOT_LOST);
    launch(l, twin, leaves, extra);
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
    enum kt_sim_cause cause = KT_SIM_NOT_LOST;
    if (verdict.drop)
        cause = KT_SIM_RULE;
    else if (wire_len(k) > (l->opts.mtu ? l->opts.mtu : MTU))
        cause = KT_SIM_MTU;
    else if (l->is_cut)
        cause = KT_SIM_CUT;
    else
        cause = fate(l);
    if (!cause && !enqueue(l, k, &leaves)) cause = KT_SIM_QUEUE;
    if (cause) {
        lose(l, k, cause);
        return;
    }
    unsigned copies = verdict.copies < COPIES_MAX ? verdict.copies : COPIES_MAX;
    if (l->opts.duplicate > 0 && kt_rng_chance(&l->duplicate, l->opts.duplicate)) copies++;
    launch(l, k, leaves, verdict.delay_us);
    for (unsigned i = 0; i < copies; i++) copy(l, k, leaves, verdict.delay_us);
    damage(l, k); /* the copies were made before */
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
    return owner && owner != h ? find_line(h, owner) : NULL;
}

int kt_sim_send(struct kt_sim_host *h, struct sim_packet *k)
{
    struct kt_sim_line *l = h->up ? route(h, &k->dst) : NULL;
    if (!l) {
        kt_sim_packet_free(h->sim, k);
        return KT_EUNREACH;
    }
    k->line = l;
    k->id = h->sim->next_packet++;
    if (l != h->lo && !kt_sim_nat_out(h, k)) {
        lose(l, k, KT_SIM_NAT);
        return 0;
    }
    l->stats.sent_pkts++;
    l->stats.sent_bytes += wire_len(k);
    tell(l, k, KT_SIM_SENT, KT_SIM_NOT_LOST);
    if (k->proto == KT_SIM_TCP) {
        uint64_t leaves;
        if (enqueue(l, k, &leaves))
            launch(l, k, leaves, 0);
        else
            kt_sim_fail(h->sim, KT_ENOMEM, "out of memory for a queue");
    } else {
        send_datagram(l, k);
    }
    return 0;
}

uint32_t kt_sim_path_mtu(const struct kt_sim_host *h, const struct kt_addr *to)
{
    const struct kt_sim_line *l = route(h, to);
    return l && l->opts.mtu ? l->opts.mtu : MTU;
}

/* ---- making and changing ---- */

static int check_chance(double p, const char *name, struct kt_err *err)
{
    if (p >= 0 && p <= 1) return 0; /* false for NaN, too */
    return kt_err_set(err, KT_EINVAL, "%s is %g; want 0 to 1", name, p);
}

#define LONGEST_US (24u * 3600 * UINT64_C(1000000))

int kt_sim_line_check(const struct kt_sim_line_opts *o, struct kt_err *err)
{
    const struct {
        const char *name;
        double p;
    } chances[] = {{"loss", o->loss}, {"burst_enter", o->burst_enter}, {"burst_leave", o->burst_leave},
        {"burst_loss", o->burst_loss}, {"duplicate", o->duplicate}, {"reorder", o->reorder},
        {"corrupt", o->corrupt}};
    for (size_t i = 0; i < sizeof chances / sizeof *chances; i++)
        if (check_chance(chances[i].p, chances[i].name, err) != 0) return KT_EINVAL;
    if (o->burst_enter > 0 && o->burst_leave <= 0)
        return kt_err_set(err, KT_EINVAL, "burst_leave is 0: the first burst would never end");
    const struct {
        const char *name;
        uint64_t us;
    } times[] = {{"delay", o->delay_us}, {"jitter", o->jitter_us}, {"reorder_us", o->reorder_us},
        {"queue_us", o->queue_us}};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (times[i].us > LONGEST_US)
            return kt_err_set(err, KT_EINVAL, "%s is %llu us; want at most a day", times[i].name,
                (unsigned long long)times[i].us);
    if (o->rate_bps && o->rate_bps < 1000)
        return kt_err_set(err, KT_EINVAL, "rate is %llu bit/s; want at least 1000, or 0 for no limit",
            (unsigned long long)o->rate_bps);
    if (o->mtu && (o->mtu < 68 || o->mtu > 65535))
        return kt_err_set(err, KT_EINVAL, "mtu is %u; want 68 to 65535", (unsigned)o->mtu);
    return 0;
}

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
    l->opts = *opts;
    kt_list_init(&l->held);
    uint64_t seed = from->sim->seed;
    kt_rng_init(&l->loss, seed, name, "loss");
    kt_rng_init(&l->burst, seed, name, "burst");
    kt_rng_init(&l->jitter, seed, name, "jitter");
    kt_rng_init(&l->duplicate, seed, name, "duplicate");
    kt_rng_init(&l->reorder, seed, name, "reorder");
    kt_rng_init(&l->corrupt, seed, name, "corrupt");
    return 0;
}

void kt_sim_line_free(struct kt_sim_line *l)
{
    struct kt_list *node;
    if (!l) return;
    while ((node = kt_list_pop(&l->held)) != NULL)
        kt_sim_packet_free(l->from->sim, KT_CONTAINER(node, struct sim_packet, node));
    free(l->queue);
    free(l);
}

int kt_sim_link(struct kt_sim_host *a, struct kt_sim_host *b, const struct kt_sim_line_opts *a_to_b,
    const struct kt_sim_line_opts *b_to_a, struct kt_err *err)
{
    static const struct kt_sim_line_opts plain = {.delay_us = 1};
    const struct kt_sim_line_opts *there = a_to_b ? a_to_b : &plain, *back = b_to_a ? b_to_a : &plain;
    struct kt_sim_line *x, *y;
    if (a == b) return kt_err_set(err, KT_EINVAL, "host %s cannot be linked to itself", a->name);
    if (find_line(a, b)) return kt_err_set(err, KT_EINUSE, "hosts %s and %s are linked", a->name, b->name);
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

struct kt_sim_host *kt_sim_line_to(const struct kt_sim_line *l)
{
    return l->to;
}

int kt_sim_line_set(struct kt_sim_line *l, const struct kt_sim_line_opts *opts, struct kt_err *err)
{
    if (kt_sim_line_check(opts, err) != 0) return KT_EINVAL;
    l->opts = *opts;
    return 0;
}

const struct kt_sim_line_opts *kt_sim_line_get(const struct kt_sim_line *l)
{
    return &l->opts;
}

const struct kt_sim_line_stats *kt_sim_line_stats(const struct kt_sim_line *l)
{
    return &l->stats;
}

void kt_sim_line_cut(struct kt_sim_line *l)
{
    if (l->is_cut) return;
    l->is_cut = true;
    l->cuts++;
}

void kt_sim_line_hold(struct kt_sim_line *l)
{
    l->is_held = true;
}

void kt_sim_line_heal(struct kt_sim_line *l)
{
    struct kt_list *node;
    l->is_cut = l->is_held = false;
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
