/* Datagram throughput of io/uv: two sockets on loopback in one thread, so a figure covers sending and receiving on one
 * core (on a busy machine, see the figure per CPU second). "wildcard": both are bound as a server is, and each
 * datagram carries this host's address. Usage: bench-udp [LENGTH [MILLISECONDS]] */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "io/uv/uv.h"

#define WINDOW                                                                                               \
    512u /* datagrams in flight: enough for full batches, too few to overflow a buffer             \ */

struct bench {
    struct kt_io *io;
    struct kt_udp *from, *to;
    struct kt_addr at, own;
    bool wildcard;
    struct kt_turn pump;
    struct kt_timer end, stuck;
    size_t length;
    uint64_t sent, received, seen;
};

static void pump(void *ctx)
{
    struct bench *b = ctx;
    uint8_t *buf;
    while (b->sent - b->received < WINDOW && (buf = kt_udp_reserve(b->from)) != NULL) {
        buf[0] = (uint8_t)b->sent; /* the rest is arbitrary: only moving it is measured */
        kt_udp_commit(b->from, buf, buf, b->length, &b->at, b->wildcard ? &b->own : NULL);
        b->sent++;
    }
}

static void on_batch(void *ctx, struct kt_dgram *dgrams, size_t n)
{
    struct bench *b = ctx;
    (void)dgrams;
    b->received += n;
    kt_io_turn(b->io, &b->pump);
}

static void on_writable(void *ctx)
{
    pump(ctx);
}

static void on_end(void *ctx)
{
    kt_io_stop(((struct bench *)ctx)->io);
}

/* Lost datagrams would keep the window closed, so open it when nothing has moved for a while. */
static void on_stuck(void *ctx)
{
    struct bench *b = ctx;
    if (b->seen == b->received) {
        b->sent = b->received;
        pump(b);
    }
    b->seen = b->received;
    kt_io_timer_set(b->io, &b->stuck, kt_io_now(b->io) + 20000);
}

static const struct kt_udp_events events = {.batch = on_batch, .writable = on_writable};

static void check(int code, const struct kt_err *err)
{
    if (code == 0) return;
    fprintf(stderr, "bench-udp: %s\n", err ? err->text : kt_strerror(code));
    exit(1);
}

static void run(const char *name, unsigned flags, bool wildcard, size_t length, unsigned ms)
{
    struct bench b;
    struct kt_err err;
    struct kt_udp_opts opts;
    memset(&b, 0, sizeof b);
    memset(&opts, 0, sizeof opts);
    b.length = length;
    opts.sndbuf = opts.rcvbuf = 2u << 20;
    kt_addr_from_ip(&opts.local, wildcard ? "::" : "127.0.0.1", 0);
    kt_addr_from_ip(&b.own, "127.0.0.1", 0);
    b.wildcard = wildcard;
    check(kt_uv_new(&b.io, NULL, flags, &err), &err);
    check(kt_udp_open(b.io, &opts, &events, &b, &b.from, &err), &err);
    check(kt_udp_open(b.io, &opts, &events, &b, &b.to, &err), &err);
    kt_udp_local(b.to, &b.at);
    const uint16_t port = kt_addr_port(&b.at);
    b.at = b.own;
    kt_addr_set_port(&b.at, port);
    kt_turn_init(&b.pump, pump, &b);
    kt_timer_init(&b.end, on_end, &b);
    kt_timer_init(&b.stuck, on_stuck, &b);

    clock_t cpu = clock();
    uint64_t start = kt_io_clock(b.io);
    kt_io_timer_set(b.io, &b.end, start + ms * 1000ull);
    kt_io_timer_set(b.io, &b.stuck, start + 20000);
    pump(&b);
    kt_io_run(b.io);
    double us = (double)(kt_io_clock(b.io) - start);
    double cpu_us = (double)(clock() - cpu) * 1e6 / CLOCKS_PER_SEC;

    const struct kt_udp_stats *out = kt_udp_stats(b.from), *in = kt_udp_stats(b.to);
    printf("%-25s %6.2f Gbit/s, %6.2f per CPU second, %5.2f Mpkt/s, %5.1f pkt/send, %5.1f pkt/recv, lost "
           "%" PRIu64 "\n",
        name, (double)in->in_bytes * 8 / us / 1000, (double)in->in_bytes * 8 / cpu_us / 1000,
        (double)in->in_pkts / us, (double)out->out_pkts / (double)out->out_calls,
        (double)in->in_pkts / (double)in->in_calls,
        out->out_pkts - in->in_pkts > WINDOW ? out->out_pkts - in->in_pkts : 0);
    kt_io_turn_cancel(&b.pump);
    kt_io_timer_cancel(b.io, &b.stuck);
    kt_udp_close(b.from);
    kt_udp_close(b.to);
    kt_io_free(b.io);
}

int main(int argc, char **argv)
{
    size_t length = argc > 1 ? strtoul(argv[1], NULL, 10) : 1350;
    unsigned ms = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1000;
    if (length < 1 || length > KT_UDP_MAX || ms < 1) {
        fprintf(stderr, "usage: bench-udp [LENGTH up to %u [MILLISECONDS]]\n", KT_UDP_MAX);
        return 2;
    }
    printf("%zu-byte datagrams, loopback, one thread for both ends\n", length);
    run("GSO, GRO, mmsg", 0, false, length, ms);
    run("GSO, GRO, mmsg, wildcard", 0, true, length, ms);
    run("GSO, mmsg", KT_UV_NO_GRO, false, length, ms);
    run("GRO, mmsg", KT_UV_NO_GSO, false, length, ms);
    run("mmsg", KT_UV_NO_GSO | KT_UV_NO_GRO, false, length, ms);
    run("one system call a packet", KT_UV_NO_GSO | KT_UV_NO_GRO | KT_UV_NO_MMSG, false, length, ms);
    return 0;
}
