/* Moves packets from one device to the other, each at its time.
 *
 * Invariant: the model decides what happens to a packet, and each loss is counted under its cause; what the emulator
 * adds (it wakes up late, the device overflows) is counted separately and reported. */
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>
#include "base/slab.h"
#include "line.h"

#define PACKETS_MAX 65536u /* packets in flight at a time */
#define BATCH 64u          /* packets read from one device before the other one's turn */
#define LATE_MAX 20000u    /* µs, in the histogram of lateness */

struct packet {
    uint64_t cuts;
    size_t len;
    uint8_t data[];
};

/* A binary heap by (time, order of arrival). */
struct entry {
    uint64_t at, order;
    struct packet *packet;
};

struct direction {
    struct kt_sim_model model;
    struct line_opts opts;
    size_t outage;    /* the next outage, or the current one */
    uint64_t foreign; /* not between the two ends' addresses: the kernel's own announcements */
    uint64_t crowded; /* more in flight than the emulator can hold */
    uint64_t refused; /* refused by the kernel at delivery */
    uint64_t late_sum, late_max;
    uint64_t *late; /* histogram of lateness, in µs */
};

struct line_forward {
    struct line_end *ends;
    struct direction to[2]; /* by the end at which they arrive */
    struct kt_slab *pool;
    struct entry *heap;
    size_t n;
    uint64_t order, start; /* of time, µs */
    size_t mtu;
    int epoll;
};

static uint64_t clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- the heap ---- */

static bool before(const struct entry *a, const struct entry *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_push(struct line_forward *f, struct entry e)
{
    size_t i = f->n++;
    for (size_t up; i > 0 && before(&e, &f->heap[up = (i - 1) / 2]); i = up) f->heap[i] = f->heap[up];
    f->heap[i] = e;
}

static struct entry heap_pop(struct line_forward *f)
{
    struct entry top = f->heap[0], last = f->heap[--f->n];
    size_t i = 0, down;
    while ((down = 2 * i + 1) < f->n) {
        if (down + 1 < f->n && before(&f->heap[down + 1], &f->heap[down])) down++;
        if (!before(&f->heap[down], &last)) break;
        f->heap[i] = f->heap[down];
        i = down;
    }
    f->heap[i] = last;
    return top;
}

/* ---- looking into packets ---- */

/* Whether it goes from one end's address to the other's. */
static bool is_ours(const struct line_end *from, const struct line_end *to, const struct packet *p)
{
    if (p->len >= sizeof(struct ip) && p->data[0] >> 4 == 4)
        return memcmp(p->data + 12, &from->v4, 4) == 0 && memcmp(p->data + 16, &to->v4, 4) == 0;
    if (p->len >= sizeof(struct ip6_hdr) && p->data[0] >> 4 == 6)
        return memcmp(p->data + 8, &from->v6, 16) == 0 && memcmp(p->data + 24, &to->v6, 16) == 0;
    return false;
}

static uint32_t sum(const uint8_t *data, size_t len)
{
    uint64_t s = 0;
    for (size_t i = 0; i + 1 < len; i += 2) s += (uint32_t)data[i] << 8 | data[i + 1];
    if (len & 1) s += (uint32_t)data[len - 1] << 8;
    while (s >> 16) s = (s & 0xffff) + (s >> 16);
    return (uint32_t)s;
}

/* The offsets of the TCP or UDP payload and checksum; false for other protocols. */
static bool find_payload(const struct packet *p, size_t *begin, size_t *check)
{
    size_t head = p->data[0] >> 4 == 6 ? 40 : (size_t)(p->data[0] & 15) * 4;
    uint8_t proto = p->data[0] >> 4 == 6 ? p->data[6] : p->data[9];
    if (p->data[0] >> 4 == 4 && (p->data[6] & 0x3f || p->data[7])) return false; /* a fragment */
    if (proto == IPPROTO_UDP && p->len >= head + 8) {
        *check = head + 6;
        *begin = head + 8;
        return true;
    }
    if (proto != IPPROTO_TCP || p->len < head + 20) return false;
    *check = head + 16;
    *begin = head + (size_t)(p->data[head + 12] >> 4) * 4;
    return *begin <= p->len;
}

/* Damage that the checksum does not reveal: updates it to match (RFC 1624, eqn. 3). */
static void damage(struct kt_sim_model *m, struct packet *p)
{
    size_t begin, check;
    if (!find_payload(p, &begin, &check)) return;
    uint8_t *c = p->data + check;
    uint32_t was = sum(p->data + begin, p->len - begin);
    if (!kt_sim_model_damage(m, p->data + begin, p->len - begin)) return;
    uint32_t old = (uint32_t)c[0] << 8 | c[1], s = (~old & 0xffff) + (~was & 0xffff);
    if (old == 0) return; /* UDP without a checksum */
    s += sum(p->data + begin, p->len - begin);
    while (s >> 16) s = (s & 0xffff) + (s >> 16);
    s = ~s & 0xffff;
    if (s == 0) s = 0xffff; /* UDP takes 0 for "none"; TCP treats the two alike */
    c[0] = (uint8_t)(s >> 8);
    c[1] = (uint8_t)s;
}

/* ---- onto the line ---- */

static void lose(struct direction *d, enum kt_sim_cause cause)
{
    d->model.stats.lost[cause]++;
    d->model.stats.lost_pkts++;
}

static void launch(struct line_forward *f, struct direction *d, struct packet *p, uint64_t leaves)
{
    uint64_t at = kt_sim_model_arrival(&d->model, leaves, 0, true);
    p->cuts = d->model.cuts;
    /* The lowest bit of the order tells the direction. */
    heap_push(f, (struct entry){at, f->order++ << 1 | (d == &f->to[1]), p});
}

/* Takes a packet from one end; false if it was lost. */
static bool take(struct line_forward *f, struct direction *d, struct packet *p, uint64_t now)
{
    struct kt_sim_model *m = &d->model;
    uint64_t leaves;
    m->stats.sent_pkts++;
    m->stats.sent_bytes += p->len;
    enum kt_sim_cause cause = kt_sim_model_enter(m, now, (uint32_t)p->len, &leaves);
    if (cause) {
        lose(d, cause);
        return false;
    }
    struct packet *twin = kt_sim_model_duplicates(m) ? kt_slab_get(f->pool) : NULL;
    launch(f, d, p, leaves);
    if (twin) {
        m->stats.duplicated++;
        twin->len = p->len;
        memcpy(twin->data, p->data, p->len);
        launch(f, d, twin, leaves);
    }
    damage(m, p);
    return true;
}

static void read_from(struct line_forward *f, int from)
{
    struct direction *d = &f->to[!from];
    struct packet *p = NULL;
    uint8_t waste; /* the rest of a short read is lost */
    uint64_t now = clock_us();
    for (unsigned i = 0; i < BATCH; i++) {
        if (!p) p = kt_slab_get(f->pool);
        ssize_t n = read(f->ends[from].tun, p ? p->data : &waste, p ? f->mtu : sizeof waste);
        if (n <= 0) break;
        if (!p) {
            d->crowded++;
            continue;
        }
        p->len = (size_t)n;
        if (!is_ours(&f->ends[from], &f->ends[!from], p))
            d->foreign++;
        else if (take(f, d, p, now))
            p = NULL;
    }
    if (p) kt_slab_put(f->pool, p);
}

/* ---- off the line ---- */

static void deliver(struct line_forward *f, struct entry e, uint64_t now)
{
    int to = (int)(e.order & 1);
    struct direction *d = &f->to[to];
    struct packet *p = e.packet;
    if (kt_sim_model_was_cut(&d->model, p->cuts)) {
        lose(d, KT_SIM_CUT);
    } else if (write(f->ends[to].tun, p->data, p->len) < 0) {
        d->refused++;
    } else {
        uint64_t late = now - e.at;
        d->model.stats.delivered_pkts++;
        d->model.stats.delivered_bytes += p->len;
        d->late[late < LATE_MAX ? late : LATE_MAX - 1]++;
        d->late_sum += late;
        if (late > d->late_max) d->late_max = late;
    }
    kt_slab_put(f->pool, p);
}

/* Starts and ends due outages; returns when the next one begins or ends. */
static uint64_t see_to_outages(struct line_forward *f, struct direction *d, uint64_t now)
{
    for (; d->outage < d->opts.n_outages; d->outage++) {
        const struct line_outage *o = &d->opts.outages[d->outage];
        if (now < f->start + o->from) return f->start + o->from;
        kt_sim_model_cut(&d->model);
        if (now < f->start + o->to) return f->start + o->to;
        kt_sim_model_mend(&d->model);
    }
    return KT_TIME_NEVER;
}

/* Does everything that is due; returns when the next thing is. */
static uint64_t catch_up(struct line_forward *f)
{
    uint64_t now = clock_us(), next = KT_TIME_NEVER;
    for (int i = 0; i < 2; i++) {
        uint64_t at = see_to_outages(f, &f->to[i], now);
        if (at < next) next = at;
    }
    /* Bounded, so that reading gets a turn even when much is due. */
    for (unsigned i = 0; i < 2 * BATCH && f->n > 0 && f->heap[0].at <= now; i++) {
        deliver(f, heap_pop(f), now);
        now = clock_us();
    }
    return f->n > 0 && f->heap[0].at < next ? f->heap[0].at : next;
}

int line_forward_run(struct line_forward *f, int status_fd, int signal_fd, struct kt_err *err)
{
    const int fds[] = {f->ends[0].tun, f->ends[1].tun, status_fd, signal_fd};
    struct epoll_event events[4];
    for (uint32_t i = 0; i < 4; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
        if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, fds[i], &e) != 0)
            return kt_err_set(err, KT_EIO, "epoll: %s", strerror(errno));
    }
    for (f->start = clock_us();;) {
        uint64_t next = catch_up(f), now = clock_us(), wait = next > now ? next - now : 0;
        struct timespec t = {.tv_sec = (time_t)(wait / 1000000), .tv_nsec = (long)(wait % 1000000) * 1000};
        int n = epoll_pwait2(f->epoll, events, 4, next == KT_TIME_NEVER ? NULL : &t, NULL);
        if (n < 0 && errno != EINTR) return kt_err_set(err, KT_EIO, "epoll: %s", strerror(errno));
        for (int i = 0; i < n; i++) {
            if (events[i].data.u32 >= 2) return 0;
            read_from(f, (int)events[i].data.u32);
        }
    }
}

/* ---- making, telling, freeing ---- */

int line_forward_new(struct line_forward **out, struct line_end ends[2], const struct line_opts opts[2],
    unsigned mtu, uint64_t seed, struct kt_err *err)
{
    struct line_forward *f = *out = calloc(1, sizeof *f);
    if (!f) return kt_err_set(err, KT_ENOMEM, "out of memory");
    f->ends = ends;
    f->mtu = mtu;
    f->heap = malloc(PACKETS_MAX * sizeof *f->heap);
    f->epoll = epoll_create1(EPOLL_CLOEXEC);
    bool ok =
        f->heap && f->epoll >= 0 && kt_slab_new(&f->pool, sizeof(struct packet) + mtu, PACKETS_MAX) == 0;
    for (int to = 0; to < 2; to++) {
        struct direction *d = &f->to[to];
        d->opts = opts[to];
        /* Named as the simulator names its lines, so that the same seed gives the same draws. */
        kt_sim_model_init(&d->model, &opts[to].model, seed, to == LINE_B ? "a>b" : "b>a");
        d->late = calloc(LATE_MAX, sizeof *d->late);
        ok = ok && d->late;
    }
    return ok ? 0 : kt_err_set(err, KT_ENOMEM, "out of memory");
}

static uint64_t late_quantile(const struct direction *d, double share)
{
    uint64_t seen = 0, want = (uint64_t)((double)d->model.stats.delivered_pkts * share);
    for (uint64_t us = 0; us < LATE_MAX; us++) {
        seen += d->late[us];
        if (seen > want) return us;
    }
    return d->late_max;
}

void line_forward_report(const struct line_forward *f, FILE *to)
{
    static const enum kt_sim_cause causes[] = {
        KT_SIM_LOSS, KT_SIM_BURST, KT_SIM_QUEUE, KT_SIM_POLICE, KT_SIM_MTU, KT_SIM_CUT};
    for (int i = 1; i >= 0; i--) {
        const struct direction *d = &f->to[i];
        const struct kt_sim_line_stats *s = &d->model.stats;
        uint64_t n = s->delivered_pkts;
#define N(value) ((unsigned long long)(value))
        fprintf(to, "%s: packets=%llu bytes=%llu delivered=%llu delivered_bytes=%llu lost=%llu",
            i == LINE_B ? "there" : "back", N(s->sent_pkts), N(s->sent_bytes), N(n), N(s->delivered_bytes),
            N(s->lost_pkts));
        for (size_t c = 0; c < sizeof causes / sizeof *causes; c++)
            fprintf(to, " lost_%s=%llu", kt_sim_cause_name(causes[c]), N(s->lost[causes[c]]));
        fprintf(to, " duplicated=%llu reordered=%llu corrupted=%llu", N(s->duplicated), N(s->reordered),
            N(s->corrupted));
        fprintf(to, " queue_peak_packets=%llu queue_peak_bytes=%llu queue_peak_us=%llu",
            N(s->queue_peak_pkts), N(s->queue_peak_bytes), N(s->queue_peak_us));
        fprintf(to, " late_mean_us=%llu late_99_us=%llu late_most_us=%llu", N(n ? d->late_sum / n : 0),
            N(late_quantile(d, 0.99)), N(d->late_max));
        fprintf(to, " foreign=%llu not_carried=%llu\n", N(d->foreign),
            N(d->crowded + d->refused + line_net_dropped(&f->ends[!i])));
#undef N
    }
}

void line_forward_free(struct line_forward *f)
{
    if (!f) return;
    while (f->n > 0) kt_slab_put(f->pool, f->heap[--f->n].packet);
    for (int i = 0; i < 2; i++) {
        kt_sim_model_free(&f->to[i].model);
        free(f->to[i].late);
    }
    if (f->epoll >= 0) close(f->epoll);
    kt_slab_free(f->pool);
    free(f->heap);
    free(f);
}
