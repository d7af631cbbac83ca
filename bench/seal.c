/* Sealing and opening, by method: MB of datagrams per second on one core and ns per packet, for full packets (1350
 * bytes, kcptun's default mtu). Usage: bench-seal [METHOD...] */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/crypto.h"
#include "crypto/kcptun/kdf.h"
#include "crypto/kcptun/qpp.h"
#include "crypto/kcptun/seal.h"
#include "clock.h"

#define PACKET 1350u
#define SECONDS 0.4
#define BATCH 64

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench-seal: %s\n", what);
    exit(1);
}

/* ns per packet, sealed in batches of KT_SEAL_BATCH. */
static double time_batch(struct kt_seal *s)
{
    static uint8_t pkts[KT_SEAL_BATCH][PACKET];
    uint8_t nonces[KT_SEAL_BATCH * KT_SEAL_MAX_NONCE] = {0};
    struct kt_seal_job jobs[KT_SEAL_BATCH];
    double from = cpu_s(), spent;
    unsigned long count = 0;
    do {
        for (unsigned i = 0; i < KT_SEAL_BATCH; i++)
            jobs[i] = (struct kt_seal_job){pkts[i], PACKET - kt_seal_overhead(s)};
        nonces[0]++;
        kt_seal_packets(s, jobs, KT_SEAL_BATCH, nonces);
        count += KT_SEAL_BATCH;
        spent = cpu_s() - from;
    } while (spent < SECONDS);
    return spent / (double)count * 1e9;
}

/* ns per packet; includes restoring the sealed packet each time, a copy of 1350 bytes. */
static double time_seal(struct kt_seal *s, bool open)
{
    uint8_t pkt[PACKET] = {0}, sealed[PACKET], nonce[KT_SEAL_MAX_NONCE] = {0}, *body;
    size_t n = PACKET - kt_seal_overhead(s), body_len;
    if (kt_seal_packet(s, pkt, n, nonce) != PACKET) die("wrong length");
    memcpy(sealed, pkt, PACKET);
    double from = cpu_s(), spent;
    unsigned long count = 0;
    do {
        for (unsigned i = 0; i < BATCH; i++, count++) {
            if (open) {
                memcpy(pkt, sealed, PACKET);
                if (kt_seal_open(s, pkt, PACKET, &body, &body_len) < 0) die("does not open");
            } else {
                nonce[0]++;
                kt_seal_packet(s, pkt, n, nonce);
            }
        }
        spent = cpu_s() - from;
    } while (spent < SECONDS);
    return spent / (double)count * 1e9;
}

static double time_qpp(const struct kt_qpp *q, bool decrypt)
{
    uint8_t data[PACKET] = {0};
    struct kt_qpp_state st;
    kt_qpp_start(q, &st);
    double from = cpu_s(), spent;
    unsigned long count = 0;
    do {
        for (unsigned i = 0; i < BATCH; i++, count++) {
            if (decrypt)
                kt_qpp_decrypt(q, &st, data, sizeof data);
            else
                kt_qpp_encrypt(q, &st, data, sizeof data);
        }
        spent = cpu_s() - from;
    } while (spent < SECONDS);
    return spent / (double)count * 1e9;
}

static void row(const char *name, const double *ns, unsigned columns)
{
    printf("%-12s", name);
    for (unsigned i = 0; i < columns; i++) printf("  %8.0f %8.0f", PACKET * 1e3 / ns[i], ns[i]);
    printf("\n");
}

int main(int argc, char **argv)
{
    struct kt_err err;
    uint8_t pass[32];
    if (kt_crypto_init(&err) < 0) die(err.text);
    if (kt_kdf_pass("bench", 5, pass) < 0) die("no key");
    printf("%-12s  %-17s  %-17s  seal, by %u\n", "", "    seal", "    open", KT_SEAL_BATCH);
    printf("%-12s", "method");
    for (unsigned i = 0; i < 3; i++) printf("  %8s %8s", "MB/s", "ns");
    printf("\n");

    const char *name;
    for (unsigned m = 0; (name = kt_seal_method_name(m)); m++) {
        bool wanted = argc < 2;
        for (int i = 1; i < argc; i++) wanted |= strcmp(argv[i], name) == 0;
        if (!wanted) continue;
        struct kt_seal *s;
        if (kt_seal_new(&s, name, pass, &err) < 0) die(err.text);
        row(name, (double[]){time_seal(s, false), time_seal(s, true), time_batch(s)}, 3);
        kt_seal_free(s);
    }
    if (argc > 1) return 0;

    struct kt_qpp *q;
    double from = cpu_s();
    if (kt_qpp_new(&q, "bench", 5, 61) < 0) die("no pads");
    double made = cpu_s() - from;
    row("QPP (61)", (double[]){time_qpp(q, false), time_qpp(q, true)}, 2);
    kt_qpp_free(q);
    printf("making the 61 pads: %.1f ms\n", 1e3 * made);
    return 0;
}
