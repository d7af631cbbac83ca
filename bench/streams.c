/* Measures the cost of a DATA frame on kt's own wire, and whether it depends on the number of open streams.
 *
 * Two ends are joined by a path that holds packets for a window's length. The cost of a frame covers both ends: its bytes
 * are written to a stream, framed, parsed, put in order, consumed and acknowledged, and credit is announced. Ciphers,
 * recovery and sockets are not in it. Packets have 1,300 bytes.
 *
 *   idle      one stream moves all bytes, the others are open
 *   active    all streams have bytes to send all the time
 *   lossy     as active, and every 50th packet is lost; what was lost goes again */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/slab.h"
#include "link/native/blocks.h"
#include "link/native/streams.h"
#include "clock.h"

#define PACKET 1300u
#define WINDOW 1024u /* packets in flight */
#define PACKETS 300000u
#define ANSWER 16u /* packets for each of the receiver's */

struct packet {
    size_t len, count;
    struct kt_native_content contents[KT_NATIVE_CONTENTS];
    uint8_t data[PACKET];
};

struct source {
    struct kt_pipe *pipe;
};

struct bench {
    struct kt_slab *pool;
    struct kt_native_streams *a, *b;
    struct packet *packets;
    uint64_t sent, bytes;
    bool lossy;
};

static void on_wake(void *ctx)
{
    (void)ctx;
}

static void on_nothing(void *ctx)
{
    (void)ctx;
}

static void on_closed(void *ctx, int code)
{
    (void)code;
    kt_pipe_close(ctx);
}

static void on_writable(void *ctx)
{
    static const uint8_t bytes[65536];
    struct source *s = ctx;
    while (kt_pipe_write(s->pipe, bytes, sizeof bytes) == sizeof bytes) {
    }
}

static void on_readable(void *ctx)
{
    struct kt_pipe *p = ctx;
    struct kt_iov iov[8];
    for (size_t n; (n = kt_pipe_peek(p, iov, 8)) > 0;) {
        size_t len = 0;
        for (size_t i = 0; i < n; i++) len += iov[i].len;
        kt_pipe_consume(p, len);
    }
}

static const struct kt_pipe_events source_events = {.readable = on_nothing, .writable = on_writable};
static const struct kt_pipe_events sink_events = {
    .readable = on_readable, .writable = on_nothing, .closed = on_closed};

static void on_stream(void *ctx, struct kt_pipe *stream, const struct kt_open_options *o)
{
    (void)ctx;
    (void)o;
    kt_pipe_listen(stream, &sink_events, stream);
    on_readable(stream);
}

static void feed(struct kt_native_streams *to, const struct packet *p)
{
    for (size_t at = 0; at < p->len;) {
        struct kt_native_frame f;
        const long n = kt_native_frame_read(&f, p->data + at, p->len - at, NULL);
        if (n < 0 || kt_native_streams_input(to, &f, NULL) < 0) abort();
        at += (size_t)n;
    }
    kt_native_streams_dispatch(to);
}

static bool write_packet(struct kt_native_streams *from, struct packet *p)
{
    p->count = 0;
    p->len = kt_native_streams_write(from, p->data, sizeof p->data, p->contents, &p->count);
    return p->len > 0;
}

static void decide(struct kt_native_streams *from, const struct packet *p, bool lost)
{
    for (size_t i = 0; i < p->count; i++)
        (lost ? kt_native_streams_lost : kt_native_streams_acked)(from, &p->contents[i]);
}

/* A packet leaves, and the one that left a window ago arrives. */
static void turn(struct bench *b)
{
    struct packet *p = &b->packets[b->sent % WINDOW], answer;
    const bool lost = b->lossy && b->sent % 50 == 0;
    if (!lost) feed(b->b, p);
    decide(b->a, p, lost);
    if (b->sent % ANSWER == 0 && write_packet(b->b, &answer)) {
        feed(b->a, &answer);
        decide(b->b, &answer, false);
    }
    kt_native_streams_dispatch(b->a);
    kt_native_streams_clock(b->a, b->sent * 10, 10000);
    kt_native_streams_clock(b->b, b->sent * 10, 10000);
    write_packet(b->a, p);
    b->bytes += p->len;
    b->sent++;
}

static void run(const char *name, unsigned streams, unsigned active, bool lossy)
{
    static const struct kt_native_streams_owner owner = {.wake = on_wake, .stream = on_stream};
    const struct kt_native_credit credit = {.max_data = 64u << 20,
        .max_stream_data = 1u << 20,
        .min_stream_data = 16u << 10,
        .max_streams = streams};
    struct kt_native_streams_config cfg = {.client = true,
        .ours = credit,
        .peers = credit,
        .memory = 64u << 20,
        .max_window = 16u << 20,
        .send_memory = 64u << 20,
        .hash_seed = 1};
    struct bench b = {.lossy = lossy, .packets = calloc(WINDOW, sizeof(struct packet))};
    struct source *sources = calloc(streams, sizeof *sources);
    if (!sources || !b.packets || kt_slab_new(&b.pool, sizeof(struct kt_native_block), 0) < 0 ||
        kt_native_streams_new(&b.a, &cfg, &owner, NULL, &(struct kt_native_slabs){b.pool, b.pool}) < 0)
        abort();
    cfg.client = false;
    if (kt_native_streams_new(&b.b, &cfg, &owner, NULL, &(struct kt_native_slabs){b.pool, b.pool}) < 0)
        abort();
    for (unsigned i = 0; i < streams; i++) {
        const struct kt_open_options options = KT_OPEN_OPTIONS_DEFAULT;
        if (kt_native_streams_open(b.a, &options, &sources[i].pipe) < 0) abort();
        kt_pipe_listen(sources[i].pipe, &source_events, &sources[i]);
    }
    for (unsigned i = 0; i < 2 * WINDOW + streams; i++) turn(&b);
    for (unsigned i = 0; i < active; i++) on_writable(&sources[i]);
    for (unsigned i = 0; i < 2 * WINDOW; i++) turn(&b);
    b.bytes = 0;
    const double from = cpu_ns();
    for (unsigned i = 0; i < PACKETS; i++) turn(&b);
    const double ns = cpu_ns() - from;
    if (b.bytes < (uint64_t)PACKETS * PACKET / 10 * 9) abort(); /* packets were full */
    printf("%-8s %6u streams  %6.0f ns a packet  %5.2f GB/s\n", name, streams, ns / PACKETS,
        (double)b.bytes / ns);
    for (unsigned i = 0; i < streams; i++) {
        kt_pipe_listen(sources[i].pipe, NULL, NULL);
        kt_pipe_reset(sources[i].pipe, KT_ECLOSED);
    }
    kt_native_streams_free(b.a, KT_ECLOSED);
    kt_native_streams_free(b.b, KT_ECLOSED);
    kt_slab_free(b.pool);
    free(sources);
    free(b.packets);
}

int main(void)
{
    static const unsigned counts[] = {1, 10, 100, 1000, 10000};
    for (size_t i = 0; i < 5; i++) run("idle", counts[i], 1, false);
    for (size_t i = 0; i < 5; i++) run("active", counts[i], counts[i], false);
    for (size_t i = 0; i < 5; i++) run("lossy", counts[i], counts[i], true);
    return 0;
}
