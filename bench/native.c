/* Measures the cost of loss recovery on kt's own wire, and whether it depends on the window.
 *
 * A full window is kept in flight by a sender and a receiver without a path between them: each packet is sent,
 * received and acknowledged; the receiver sends an ACK frame for every second packet. The cost of a packet covers
 * both ends. Each window runs without loss, with 10 % lost at random, and with one packet in five late by up to 64.
 * The last figure is that of an ACK with 64 random ranges, as a hostile peer may send them. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include "link/native/ack_ranges.h"
#include "link/native/recovery.h"
#include "clock.h"

#define PACKETS 2000000u
#define ACKS 100000u
#define RTT_US 100000u
#define SLOTS (1u << 15)

enum kind { CLEAN, LOSSY, LATE };

struct bench {
    struct kt_native_recovery r;
    struct kt_native_acks acks;
    struct kt_cc cc;
    uint64_t acked, lost;
    uint64_t random;
    uint64_t slots[SLOTS][2]; /* numbers that arrive at a turn, plus one */
};

static uint64_t next_random(struct bench *b)
{
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return b->random;
}

static void on_acked(void *ctx, const struct kt_native_content *content)
{
    (void)content;
    ((struct bench *)ctx)->acked++;
}

static void on_lost(void *ctx, const struct kt_native_content *content)
{
    (void)content;
    ((struct bench *)ctx)->lost++;
}

static const struct kt_native_recovery_events events = {.acked = on_acked, .lost = on_lost};

static void send(struct bench *b, uint64_t now)
{
    const struct kt_native_content contents[] = {{.id = 1,
        .offset = 1200 * kt_native_recovery_number(&b->r),
        .length = 1200,
        .type = KT_NATIVE_FRAME_DATA}};
    const struct kt_native_sent sent = {.bytes = 1250, .eliciting = true, .count = 1, .contents = contents};
    if (!kt_native_recovery_ready(&b->r)) abort();
    kt_native_recovery_sent(&b->r, &sent, now);
}

/* One packet arrives, and an ACK goes back if it is due. */
static void receive(struct bench *b, uint64_t number, uint64_t now)
{
    uint8_t frame[KT_NATIVE_ACK_BYTES];
    struct kt_native_frame f;
    struct kt_native_content content;
    kt_native_acks_received(&b->acks, number, true, now);
    if (kt_native_acks_due(&b->acks) > now) return;
    const size_t n = kt_native_acks_write(&b->acks, 0, frame, sizeof frame, now, &content);
    if (kt_native_frame_read(&f, frame, n, NULL) != (long)n) abort();
    if (kt_native_recovery_ack(&b->r, &f.ack, now, NULL)) abort();
    if (kt_native_acks_ask(&b->acks)) kt_native_acks_known(&b->acks, &content);
}

static struct bench *start(void)
{
    struct bench *b = calloc(1, sizeof *b);
    if (!b) abort();
    b->random = 88172645463325252u;
    kt_cc_init(&b->cc, &kt_cc_fixed);
    kt_native_acks_init(&b->acks, 5000);
    const struct kt_native_recovery_config cfg = {.events = &events,
        .ctx = b,
        .cc = &b->cc,
        .first_rtt_us = RTT_US,
        .peer_ack_delay_us = 5000,
        .most = KT_NATIVE_RECOVERY_MOST};
    kt_native_recovery_init(&b->r, &cfg);
    return b;
}

static void stop(struct bench *b)
{
    kt_native_recovery_free(&b->r);
    free(b);
}

/* ns per packet; *loss: share of packets declared lost. */
static double transfer(uint32_t window, enum kind kind, double *loss, size_t *bytes)
{
    struct bench *b = start();
    double begun = 0;
    for (uint64_t n = 0; n < PACKETS + window; n++) {
        if (n == window) begun = cpu_ns();
        const uint64_t now = n * RTT_US / window;
        send(b, now);
        if (n < window) continue;
        /* The packet sent a window ago arrives, or does so later, or never. */
        const uint64_t number = n - window;
        uint64_t *slot = b->slots[n % SLOTS];
        if (kind == LATE && next_random(b) % 5 == 0) {
            uint64_t *later = b->slots[(n + 1 + next_random(b) % 64) % SLOTS];
            if (later[0] && later[1])
                receive(b, number, now);
            else
                later[later[0] ? 1 : 0] = number + 1;
        } else if (kind != LOSSY || next_random(b) % 10 > 0) {
            receive(b, number, now);
        }
        for (int i = 0; i < 2; i++) {
            if (slot[i]) receive(b, slot[i] - 1, now);
            slot[i] = 0;
        }
        if (now >= kt_native_recovery_due(&b->r)) kt_native_recovery_timer(&b->r, now);
    }
    const double ns = (cpu_ns() - begun) / PACKETS;
    *loss = (double)b->lost / PACKETS;
    *bytes = kt_native_recovery_bytes(&b->r);
    stop(b);
    return ns;
}

static double flood(uint32_t window)
{
    struct bench *b = start();
    for (uint32_t i = 0; i < window; i++) send(b, 0);
    const uint64_t step = window / KT_NATIVE_ACK_RANGES;
    const double begun = cpu_ns();
    for (uint32_t n = 0; n < ACKS; n++) {
        struct kt_native_ack a;
        a.path = 0;
        a.delay_us = 0;
        a.count = KT_NATIVE_ACK_RANGES;
        for (uint64_t i = 0; i < a.count; i++) {
            const uint64_t low = (a.count - 1 - i) * step, random = next_random(b);
            const uint64_t first = low + random % (step - 1);
            a.ranges[i] = (struct kt_native_range){first, first + (random >> 32) % (low + step - 1 - first)};
        }
        if (kt_native_recovery_ack(&b->r, &a, RTT_US, NULL)) abort();
    }
    const double ns = (cpu_ns() - begun) / ACKS;
    stop(b);
    return ns;
}

int main(void)
{
    static const char *const names[] = {"clean", "10 % lost", "20 % late"};
    printf("%8s %12s %14s %10s %10s\n", "window", "path", "ns a packet", "lost", "KiB");
    for (uint32_t window = 128; window <= 16384; window *= 2) {
        for (enum kind kind = CLEAN; kind <= LATE; kind++) {
            double loss;
            size_t bytes;
            const double ns = transfer(window, kind, &loss, &bytes);
            printf("%8u %12s %14.0f %8.2f %% %10zu\n", window, names[kind], ns, 100 * loss, bytes / 1024);
        }
    }
    printf("\n%8s %26s\n", "window", "ns an ACK of 64 ranges");
    for (uint32_t window = 256; window <= 16384; window *= 4) printf("%8u %26.0f\n", window, flood(window));
    return 0;
}
