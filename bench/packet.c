/* Packets of kt's own wire: sealing and opening with their headers, by AEAD, for full packets (1400 bytes) and small ones (64):
 * MB of datagrams a second on one core, and ns a packet. Then what datagrams cost a server that did not ask for them, and
 * what a handshake costs it. Usage: bench-packet */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/crypto.h"
#include "io/uv/uv.h"
#include "link/common/session_starts.h"
#include "link/native/handshake_client.h"
#include "link/native/handshake_server.h"
#include "link/native/packet.h"
#include "clock.h"

#define SECONDS 0.4
#define BATCH 64u
#define PACKET_MAX 1400u
#define HANDSHAKES 1000u

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench-packet: %s\n", what);
    exit(1);
}

static void run(enum kt_aead_method method, size_t size)
{
    static uint8_t pkts[BATCH][PACKET_MAX];
    const uint8_t secret[KT_NATIVE_KEY] = {1};
    struct kt_native_header_keys keys;
    struct kt_native_tx tx;
    struct kt_native_rx rx;
    struct kt_replay seen = {0};
    struct kt_native_drops drops = {0};
    double sealing = 0, opening = 0;
    uint64_t number = 0;
    kt_native_header_keys_derive(secret, NULL, &keys);
    if (kt_native_tx_init(&tx, method, &keys, secret)) die("no sender");
    if (kt_native_rx_init(&rx, method, secret)) die("no receiver");
    while (sealing + opening < 2 * SECONDS) {
        const double from = cpu_s();
        for (unsigned i = 0; i < BATCH; i++)
            if (kt_native_seal(&tx, 0, number++, pkts[i], size - KT_NATIVE_OVERHEAD, 0) < 0)
                die("does not seal");
        const double between = cpu_s();
        for (unsigned i = 0; i < BATCH; i++) {
            struct kt_native_header h;
            uint64_t got;
            if (kt_native_peek(&keys, pkts[i], size, &h)) die("not a packet");
            if (kt_native_open(
                    &rx, &(struct kt_native_rx_path){0, &seen, &drops}, &h, pkts[i], size, 0, &got) < 0)
                die("does not open");
        }
        sealing += between - from;
        opening += cpu_s() - between;
    }
    const double n = (double)number;
    printf("%-18s %5zu  %8.0f %6.0f  %8.0f %6.0f\n", kt_aead_name(method), size,
        (double)size * n / sealing / 1e6, sealing / n * 1e9, (double)size * n / opening / 1e6,
        opening / n * 1e9);
    kt_native_tx_free(&tx);
    kt_native_rx_free(&rx);
}

/* ---- handshakes ---- */

struct initiations {
    uint8_t data[HANDSHAKES][KT_NATIVE_INITIATION_MAX];
    size_t len[HANDSHAKES];
};

static uint64_t let_in(void *ctx, const struct kt_native_hello *hello, char text[KT_NATIVE_ERROR_TEXT + 1])
{
    (void)ctx;
    (void)hello;
    (void)text;
    return 0;
}

/* ns per datagram to check. Accepted handshakes count as proven at once, so the server never sees load. */
static double judge(
    struct kt_native_server *s, const struct kt_native_secrets *secrets, struct initiations *in)
{
    struct kt_addr from;
    kt_addr_from_ip(&from, "192.0.2.1", 4000);
    const double since = cpu_s();
    for (unsigned i = 0; i < HANDSHAKES; i++) {
        struct kt_native_header h;
        struct kt_native_reply reply;
        const struct kt_dgram dgram = {.data = in->data[i], .len = in->len[i], .from = &from};
        if (kt_native_peek(&secrets->header_keys, in->data[i], in->len[i], &h) ||
            h.kind != KT_NATIVE_INITIATION)
            continue;
        if (kt_native_server_input(s, &h, &dgram, &reply) == KT_NATIVE_SERVER_AGREED)
            kt_native_server_proven(s);
    }
    return (cpu_s() - since) / HANDSHAKES * 1e9;
}

static void run_handshakes(struct kt_io *io, bool pairs)
{
    static struct initiations made, used;
    static const uint8_t key[KT_NATIVE_KEY] = {1}, other[KT_NATIVE_KEY] = {2};
    struct kt_native_secrets near, far;
    struct kt_native_drops drops = {0};
    struct kt_session_starts starts;
    struct kt_native_client client;
    struct kt_native_server server;
    uint8_t server_public[KT_NATIVE_KEY];
    kt_noise_public(other, server_public);
    kt_native_secrets_shared(&near, key);
    far = near;
    if (pairs) {
        kt_native_secrets_server(&far, other, NULL);
        if (kt_native_secrets_client(&near, key, server_public, NULL, NULL)) die("no secrets");
    }
    const struct kt_native_params params = {
        .present = KT_NATIVE_PARAMS_NEEDED, .aead = (uint8_t)kt_aead_methods()};
    kt_session_starts_init(&starts, 1);
    kt_native_client_init(&client, io, &near, &params, &drops);
    kt_native_server_init(&server,
        &(struct kt_native_server_opts){
            .io = io, .secrets = &far, .params = &params, .starts = &starts, .drops = &drops, .ask = let_in});
    const double since = cpu_s();
    for (unsigned i = 0; i < HANDSHAKES; i++)
        made.len[i] = kt_native_client_initiate(&client, 0, made.data[i]);
    const double initiate = (cpu_s() - since) / HANDSHAKES * 1e9;

    used = made;
    for (unsigned i = 0; i < HANDSHAKES; i++) kt_io_random(io, used.data[i], used.len[i]);
    const double noise = judge(&server, &far, &used);
    used = made;
    for (unsigned i = 0; i < HANDSHAKES; i++) used.data[i][100] ^= 1;
    const double damaged = judge(&server, &far, &used);
    used = made;
    const double handshake = judge(&server, &far, &used);
    used = made;
    const double replay = judge(&server, &far, &used);
    if (starts.young.count != HANDSHAKES) die("handshakes failed");
    printf("%-6s %9.0f %9.0f %9.0f %9.0f %9.0f\n", pairs ? "K" : "P", noise, damaged, replay, handshake,
        initiate);
    kt_native_client_end(&client);
    kt_native_server_end(&server);
    kt_session_starts_free(&starts);
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

    struct kt_io *io;
    if (kt_uv_new(&io, NULL, 0, &err)) die(err.text);
    printf("\n%-6s %9s %9s %9s %9s %9s\n", "ns", "random", "damaged", "replayed", "handshake", "initiate");
    run_handshakes(io, false);
    run_handshakes(io, true);
    kt_io_free(io);
    return 0;
}
