/* The CPU cost of the KCP engine per segment, by window size.
 *
 * Two engines are joined by a simulated path that keeps a full window in flight. The cost of a segment covers both
 * ends: it is written, sent, received, read and acknowledged, and the acknowledgement is handled. The path keeps only
 * headers, so that its own memory does not count; the payload is the same for every packet.
 *
 * Each window runs with mtu-sized segments, in order and with reordering (packets shuffled within 64, every 50th late
 * by 300), and again with the smallest segments. These show the cost of the bookkeeping alone: full segments of a
 * large window do not fit into the CPU's caches, whatever the engine does. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include "base/slab.h"
#include "kcp/kcp.h"
#include "clock.h"

#define MTU 1322u
#define RTT_US 50000u
#define STEP 64u         /* packets that the path delivers per turn */
#define SLOTS (1u << 15) /* turns of the path; more than a window plus the longest delay */
#define CHAIN (1u << 17)
#define SEGMENTS 400000u
#define IDLE_FLUSHES 200000u

struct parcel {
    uint8_t header[KT_KCP_OVERHEAD];
    uint32_t len, next;
};

/* Packets in flight, by the turn in which they arrive. */
struct path {
    struct parcel *parcels;
    uint32_t *slots; /* first parcel of each turn, 0: none */
    uint32_t free, turn, seq, carried;
    bool reorder;
    uint32_t random;
};

struct end {
    struct kt_kcp *kcp;
    struct kt_cc cc;
    struct kt_slab *pool;
    uint8_t buffers[KT_PACKET_BATCH][1500];
    uint32_t reserved;
    struct path *to;     /* sender: the path that its packets take */
    struct kt_kcp *peer; /* receiver: the peer that gets its packets at once */
    const uint64_t *now;
};

static uint32_t next_random(struct path *p)
{
    p->random ^= p->random << 13;
    p->random ^= p->random >> 17;
    p->random ^= p->random << 5;
    return p->random;
}

static void path_add(struct path *p, const struct kt_packet *pkt)
{
    uint32_t delay = 0;
    if (p->reorder) {
        delay = next_random(p) % STEP;
        if (p->seq % 50 == 49) delay += 300;
    }
    uint32_t id = p->free;
    if (id == 0) abort(); /* the path is larger than any window */
    p->free = p->parcels[id].next;
    uint32_t *slot = &p->slots[(p->seq++ + delay) % SLOTS];
    memcpy(p->parcels[id].header, pkt->data, KT_KCP_OVERHEAD);
    p->parcels[id].len = (uint32_t)pkt->len;
    p->parcels[id].next = *slot;
    *slot = id;
    p->carried++;
}

static uint8_t *reserve(void *ctx, size_t *len)
{
    struct end *e = ctx;
    *len = sizeof e->buffers[0];
    return e->buffers[e->reserved++ % KT_PACKET_BATCH];
}

static void send_over_path(void *ctx, const struct kt_packet *pkts, size_t n)
{
    struct end *e = ctx;
    for (size_t i = 0; i < n; i++) path_add(e->to, &pkts[i]);
}

static void send_at_once(void *ctx, const struct kt_packet *pkts, size_t n)
{
    struct end *e = ctx;
    for (size_t i = 0; i < n; i++) kt_kcp_input(e->peer, pkts[i].data, pkts[i].len, KT_KCP_REGULAR, *e->now);
}

struct bench {
    struct path path;
    struct end a, b;
    uint64_t now;
    uint32_t window;
};

static void end_new(struct end *e, struct kt_kcp_config cfg,
    void (*send)(void *, const struct kt_packet *, size_t), const uint64_t *now)
{
    struct kt_packet_out out = {.reserve = reserve, .send = send, .ctx = e};
    e->now = now;
    if (kt_slab_new(&e->pool, kt_kcp_block_size(cfg.mtu), 0)) abort();
    kt_cc_init(&e->cc, &kt_cc_fixed);
    cfg.cc = &e->cc;
    if (kt_kcp_new(&e->kcp, &cfg, e->pool, &out, *now)) abort();
}

static struct bench *bench_new(uint32_t window, uint32_t mtu, bool reorder)
{
    struct bench *b = calloc(1, sizeof *b);
    if (!b) abort();
    b->window = window;
    b->now = 1000000;
    b->path = (struct path){.reorder = reorder, .random = 2463534242u, .free = 1};
    b->path.parcels = calloc(CHAIN, sizeof *b->path.parcels);
    b->path.slots = calloc(SLOTS, sizeof *b->path.slots);
    if (!b->path.parcels || !b->path.slots) abort();
    for (uint32_t i = 1; i + 1 < CHAIN; i++) b->path.parcels[i].next = i + 1;
    /* The receive window is larger, so that the sender's is the one that counts. */
    struct kt_kcp_config cfg = {
        .conv = 1,
        .mtu = mtu,
        .snd_wnd = window,
        .rcv_wnd = 2 * window,
        .nodelay = true,
        .interval_ms = 10,
        .resend = 2,
    };
    end_new(&b->a, cfg, send_over_path, &b->now);
    end_new(&b->b, cfg, send_at_once, &b->now);
    b->a.to = &b->path;
    b->b.peer = b->a.kcp;
    return b;
}

static void bench_free(struct bench *b)
{
    kt_kcp_free(b->a.kcp);
    kt_kcp_free(b->b.kcp);
    kt_slab_free(b->a.pool);
    kt_slab_free(b->b.pool);
    free(b->path.parcels);
    free(b->path.slots);
    free(b);
}

/* Fills the window, mss to a segment and so one to a packet. */
static void fill(struct bench *b)
{
    static const uint8_t bytes[1500];
    while (kt_kcp_write(b->a.kcp, bytes, kt_kcp_mss(b->a.kcp)) > 0) {
    }
    kt_kcp_flush(b->a.kcp, b->now);
}

/* STEP turns of the path: what arrives is read, and acknowledged at once. */
static void deliver(struct bench *b)
{
    static uint8_t packet[1500];
    for (uint32_t i = 0; i < STEP; i++) {
        uint32_t *slot = &b->path.slots[b->path.turn++ % SLOTS];
        while (*slot) {
            uint32_t id = *slot;
            struct parcel *p = &b->path.parcels[id];
            memcpy(packet, p->header, KT_KCP_OVERHEAD);
            if (kt_kcp_input(b->b.kcp, packet, p->len, KT_KCP_REGULAR, b->now)) abort();
            *slot = p->next;
            p->next = b->path.free;
            b->path.free = id;
        }
    }
    /* If only late packets are on the path, time skips the empty turns. */
    if (b->path.seq < b->path.turn) b->path.seq = b->path.turn;
    const uint8_t *data;
    for (size_t n; (n = kt_kcp_peek(b->b.kcp, &data)) > 0;) kt_kcp_consume(b->b.kcp, n);
    if (kt_kcp_due(b->b.kcp, b->now) <= b->now) kt_kcp_flush(b->b.kcp, b->now);
}

static void run(struct bench *b, uint32_t segments)
{
    struct kt_kcp_stats s;
    kt_kcp_stats(b->a.kcp, &s);
    uint64_t until = s.out_push + segments;
    while (s.out_push < until) {
        fill(b);
        b->now += (uint64_t)RTT_US * STEP / b->window;
        /* The path is `window` packets long; start delivering when that many are on it. */
        if (b->path.seq - b->path.turn >= b->window - STEP || kt_kcp_room(b->a.kcp) == 0) deliver(b);
        kt_kcp_stats(b->a.kcp, &s);
    }
}

struct figure {
    double segment_ns, idle_ns;
    double resent; /* retransmissions, per cent */
    double kib;    /* memory of both ends */
};

static struct figure measure(uint32_t window, uint32_t mtu, bool reorder)
{
    struct figure f;
    struct bench *b = bench_new(window, mtu, reorder);
    run(b, 3 * window + 10000); /* warm-up: rings at full size, pools touched */
    struct kt_kcp_stats before, after;
    kt_kcp_stats(b->a.kcp, &before);
    double start = cpu_ns();
    run(b, SEGMENTS);
    double spent = cpu_ns() - start;
    kt_kcp_stats(b->a.kcp, &after);
    double fresh = (double)(after.out_push - before.out_push);
    f.segment_ns = spent / fresh;
    uint64_t again = after.fast_retrans - before.fast_retrans + after.early_retrans - before.early_retrans +
                     after.timeout_retrans - before.timeout_retrans;
    f.resent = 100 * (double)again / fresh;

    fill(b);
    start = cpu_ns();
    uint64_t sum = 0;
    for (uint32_t i = 0; i < IDLE_FLUSHES; i++) {
        sum += kt_kcp_due(b->a.kcp, b->now);
        kt_kcp_flush(b->a.kcp, b->now);
    }
    f.idle_ns = (cpu_ns() - start) / IDLE_FLUSHES;
    if (sum == 0) abort();
    f.kib = (double)(kt_slab_bytes(b->a.pool) + kt_slab_bytes(b->b.pool)) / 1024;
    bench_free(b);
    return f;
}

static void table(const char *title, uint32_t mtu)
{
    static const uint32_t windows[] = {128, 1024, 4096, 16384};
    enum { N = sizeof windows / sizeof windows[0] };
    struct figure in_order[N], reordered[N];
    printf("%s\n", title);
    printf("  %8s  %12s  %12s %9s  %12s  %10s\n", "window", "in order", "reordered", "resent", "idle flush",
        "memory");
    for (int i = 0; i < N; i++) {
        in_order[i] = measure(windows[i], mtu, false);
        reordered[i] = measure(windows[i], mtu, true);
        printf("  %8u  %9.0f ns  %9.0f ns %7.1f %%  %9.1f ns  %6.0f KiB\n", windows[i],
            in_order[i].segment_ns, reordered[i].segment_ns, reordered[i].resent, in_order[i].idle_ns,
            reordered[i].kib);
    }
    printf("  %8s  %12.2f  %12.2f %9s  %12.2f\n\n", "last:1st",
        in_order[N - 1].segment_ns / in_order[0].segment_ns,
        reordered[N - 1].segment_ns / reordered[0].segment_ns, "",
        in_order[N - 1].idle_ns / in_order[0].idle_ns);
}

int main(void)
{
    printf("KCP engine, both ends together, CPU time per new segment sent, received and acknowledged\n\n");
    table("segments of 1298 bytes", MTU);
    table("segments of 26 bytes", KT_KCP_MTU_MIN);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("peak memory of this program: %ld KiB\n", usage.ru_maxrss);
    return 0;
}
