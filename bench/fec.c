/* FEC: throughput in MB of KCP packets per second on one core, and ns per packet, for encoding and decoding, by group
 * size. Packets are full (1322 bytes, what kcptun's defaults leave). Decoding runs with nothing lost, with the first
 * data packets of each group lost (as many as there are parity packets), and with different ones lost in each
 * group, so that no decoding matrix can be cached. Usage: bench-fec [DATA PARITY] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kcp/fec.h"
#include "clock.h"

#define KCP 1322u
#define PACKET (KT_FEC_HEADER + KCP)
#define GROUPS 64u
#define SECONDS 0.4

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench-fec: %s\n", what);
    exit(1);
}

/* All packets of GROUPS groups, PACKET bytes each. */
struct groups {
    unsigned data, parity;
    uint8_t *packets;
    struct kt_fec_enc *enc;
};

static uint8_t *packet(const struct groups *g, unsigned group, unsigned i)
{
    return g->packets + ((size_t)group * (g->data + g->parity) + i) * PACKET;
}

static void encode(struct groups *g)
{
    uint8_t out[KT_FEC_MAX_PACKET];
    for (unsigned k = 0; k < GROUPS; k++) {
        unsigned parity = 0;
        for (unsigned i = 0; i < g->data; i++) parity = kt_fec_enc_data(g->enc, packet(g, k, i), PACKET, 0);
        if (parity != g->parity) die("no parity");
        for (unsigned i = 0; i < parity; i++) {
            if (kt_fec_enc_parity(g->enc, i, out) != PACKET) die("wrong length");
            memcpy(packet(g, k, g->data + i), out, PACKET);
        }
    }
}

static void count(void *ctx, const uint8_t *p, size_t len, enum kt_kcp_origin origin)
{
    (void)p, (void)origin;
    *(size_t *)ctx += len;
}

enum loss { NONE, SAME, OTHER };

static void decode(const struct groups *g, struct kt_fec_dec *d, enum loss loss)
{
    size_t bytes = 0;
    for (unsigned k = 0; k < GROUPS; k++) {
        unsigned from =
            loss == OTHER ? k % g->data : 0; /* the first of `parity` lost data packets, wrapping around */
        for (unsigned i = 0; i < g->data + g->parity; i++) {
            bool lost = loss != NONE && i < g->data && (i + g->data - from) % g->data < g->parity;
            if (!lost) kt_fec_dec_input(d, packet(g, k, i), PACKET, count, &bytes);
        }
    }
    if (bytes != (size_t)GROUPS * g->data * KCP) die("packets are missing");
}

static void report(const char *what, unsigned data, unsigned parity, double seconds, unsigned long rounds)
{
    double packets = (double)rounds * GROUPS * data;
    printf("%3u+%-3u %-28s %8.0f MB/s %8.0f ns/packet\n", data, parity, what, packets * KCP / seconds / 1e6,
        seconds / packets * 1e9);
}

static void run(unsigned data, unsigned parity)
{
    static const char *const names[] = {"decode, none lost", "decode, the same lost", "decode, others lost"};
    struct groups g = {data, parity, calloc((size_t)GROUPS * (data + parity), PACKET), NULL};
    if (!g.packets || kt_fec_enc_new(&g.enc, data, parity) < 0)
        die("data and parity: 1 or more, 255 together");
    for (size_t i = 0; i < (size_t)GROUPS * (data + parity) * PACKET; i++)
        g.packets[i] = (uint8_t)(i * 31 >> 3);

    double from = wall_s(), spent;
    unsigned long rounds = 0;
    do {
        encode(&g);
        rounds++;
        spent = wall_s() - from;
    } while (spent < SECONDS);
    report("encode", data, parity, spent, rounds);

    for (enum loss loss = NONE; loss <= OTHER; loss++) {
        /* The decoder accepts each packet once, so each round needs new seqids. Encoding them is not timed. */
        struct kt_fec_dec *d;
        if (kt_fec_dec_new(&d, data, parity) < 0) die("out of memory");
        rounds = 0;
        spent = 0;
        do {
            encode(&g);
            from = wall_s();
            decode(&g, d, loss);
            spent += wall_s() - from;
            rounds++;
        } while (spent < SECONDS);
        report(names[loss], data, parity, spent, rounds);
        kt_fec_dec_free(d);
    }
    kt_fec_enc_free(g.enc);
    free(g.packets);
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        run((unsigned)strtoul(argv[1], NULL, 10), (unsigned)strtoul(argv[2], NULL, 10));
        return 0;
    }
    run(10, 3);
    run(20, 5);
    run(70, 30);
    return 0;
}
