/* Packets of kt's own wire: sealing and opening with their headers, by AEAD, for full packets (1400 bytes) and small ones (64).
 * MB of datagrams a second on one core, and ns a packet. Usage: bench-packet */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "crypto/crypto.h"
#include "link/native/packet.h"

#define SECONDS 0.4
#define BATCH 64u
#define PACKET_MAX 1400u

/* CPU time: what else the machine does counts less. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench-packet: %s\n", what);
    exit(1);
}

static void run(enum kt_aead_method method, size_t size)
{
    static uint8_t pkts[BATCH][PACKET_MAX];
    const uint8_t secret[KT_NATIVE_KEY] = {1};
    uint8_t header_key[KT_NATIVE_KEY];
    struct kt_native_tx tx;
    struct kt_native_rx rx;
    struct kt_replay seen = {0};
    struct kt_native_drops drops = {0};
    double sealing = 0, opening = 0;
    uint64_t number = 0;
    kt_native_header_key(secret, NULL, header_key);
    if (kt_native_tx_init(&tx, method, header_key, secret)) die("no sender");
    if (kt_native_rx_init(&rx, method, secret)) die("no receiver");
    while (sealing + opening < 2 * SECONDS) {
        const double from = now();
        for (unsigned i = 0; i < BATCH; i++)
            if (kt_native_seal(&tx, 0, number++, pkts[i], size - KT_NATIVE_OVERHEAD, 0) < 0)
                die("does not seal");
        const double between = now();
        for (unsigned i = 0; i < BATCH; i++) {
            struct kt_native_header h;
            uint64_t got;
            if (kt_native_peek(header_key, pkts[i], size, &h)) die("not a packet");
            if (kt_native_open(&rx, 0, &seen, &h, pkts[i], size, 0, &drops, &got) < 0) die("does not open");
        }
        sealing += between - from;
        opening += now() - between;
    }
    const double n = (double)number;
    printf("%-18s %5zu  %8.0f %6.0f  %8.0f %6.0f\n", kt_aead_name(method), size,
        (double)size * n / sealing / 1e6, sealing / n * 1e9, (double)size * n / opening / 1e6,
        opening / n * 1e9);
    kt_native_tx_free(&tx);
    kt_native_rx_free(&rx);
}

int main(void)
{
    struct kt_err err;
    if (kt_crypto_init(&err) < 0) die(err.text);
    const unsigned methods = kt_aead_methods();
    printf("%-18s %5s  %8s %6s  %8s %6s\n", "", "", "seal", "", "open", "");
    printf("%-18s %5s  %8s %6s  %8s %6s\n", "AEAD", "bytes", "MB/s", "ns", "MB/s", "ns");
    for (unsigned m = 1; m <= 2; m++) {
        if (!(methods & m)) continue;
        run((enum kt_aead_method)m, PACKET_MAX);
        run((enum kt_aead_method)m, 64);
    }
    return 0;
}
