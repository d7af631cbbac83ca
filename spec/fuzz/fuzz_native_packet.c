/* Datagrams of kt's own wire, from anyone. The input is a list of steps on a sender and a receiver that share a key:
 * some bytes are peeked at and opened as they are; others are frames, sealed, maybe damaged or replayed, and opened.
 * A sealed packet opens once, to the same frames; nothing else opens, and a failed attempt changes nothing. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/crypto.h"
#include "link/native/packet.h"
#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct ends {
    struct kt_native_header_keys keys;
    uint8_t secret[KT_NATIVE_KEY];
    struct kt_native_tx tx;
    struct kt_native_rx rx;
    struct kt_replay seen[KT_NATIVE_PATHS];
    struct kt_native_drops drops;
    uint64_t number[KT_NATIVE_PATHS], now;
};

/* As an acceptor would: by the header, then by the connection id. Returns as kt_native_open; the copy that it worked on
 * is left in *copy, to be freed. */
static int arrive(struct ends *e, const uint8_t *dgram, size_t len, uint8_t **copy, uint64_t *number)
{
    struct kt_native_header h;
    *copy = malloc(len ? len : 1);
    CHECK(*copy != NULL);
    if (len) memcpy(*copy, dgram, len);
    if (kt_native_peek(&e->keys, *copy, len, &h)) return KT_EPROTO;
    if (h.kind != KT_NATIVE_DATA) return KT_EINVAL;
    for (unsigned p = 0; p < KT_NATIVE_PATHS; p++)
        if (memcmp(h.id, e->tx.cids[p], sizeof h.id) == 0)
            return kt_native_open(&e->rx, &(struct kt_native_rx_path){p, &e->seen[p], &e->drops}, &h, *copy,
                len, e->now, number);
    return KT_EINVAL;
}

static void refused(struct ends *e, const uint8_t *dgram, size_t len)
{
    const uint32_t epoch = e->rx.epoch;
    struct kt_replay before[KT_NATIVE_PATHS];
    uint8_t *copy;
    uint64_t number;
    memcpy(before, e->seen, sizeof before);
    CHECK(arrive(e, dgram, len, &copy, &number) < 0);
    CHECK(epoch == e->rx.epoch && memcmp(before, e->seen, sizeof before) == 0);
    free(copy);
}

static void seal_and_open(struct ends *e, const uint8_t *frames, size_t n, unsigned path, unsigned what)
{
    const size_t len = n + KT_NATIVE_OVERHEAD;
    uint8_t *dgram = malloc(len), *copy;
    uint64_t number;
    CHECK(dgram != NULL);
    memcpy(dgram + KT_NATIVE_HEADER, frames, n);
    e->number[path] += what & 1 ? 1 : (uint64_t)what * 1000;
    CHECK(kt_native_seal(&e->tx, path, e->number[path], dgram, n, e->now) == (int)len);
    if (what & 2) { /* a bit; of the phase's it is the next epoch that is asked for, in vain */
        const size_t bit = (what >> 2) * 131u % (len * 8);
        dgram[bit / 8] ^= (uint8_t)(1u << bit % 8);
        refused(e, dgram, len);
        dgram[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    if (what & 4) refused(e, dgram, len - 1);
    CHECK(arrive(e, dgram, len, &copy, &number) == (int)n);
    CHECK(number == e->number[path] && memcmp(copy + KT_NATIVE_HEADER, frames, n) == 0);
    CHECK(e->rx.epoch == e->tx.epoch);
    free(copy);
    refused(e, dgram, len);
    free(dgram);
    if (what & 8) kt_native_tx_acked(&e->tx, path, number, e->now);
    e->number[path]++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    struct ends *e = calloc(1, sizeof *e);
    const enum kt_aead_method method = data[0] & 1 ? KT_AEAD_AES_256_GCM : KT_AEAD_CHACHA20_POLY1305;
    CHECK(e && kt_crypto_init(NULL) == 0);
    memset(e->secret, data[1], sizeof e->secret);
    kt_native_header_keys_derive(e->secret, NULL, &e->keys);
    CHECK(kt_native_tx_init(&e->tx, method, &e->keys, e->secret) == 0);
    CHECK(kt_native_rx_init(&e->rx, method, e->secret) == 0);
    data += 2;
    size -= 2;
    while (size >= 4) {
        const unsigned op = data[0], path = data[1] % KT_NATIVE_PATHS, what = data[2];
        size_t n = (size_t)data[3] * (op & 2 ? 7 : 1);
        data += 4;
        size -= 4;
        if (n > size) n = size;
        e->now += (uint64_t)(op >> 4) * 60000000u;
        if (op & 1)
            refused(e, data, n);
        else if (n > 0 && n <= KT_NATIVE_DATAGRAM_MAX - KT_NATIVE_OVERHEAD)
            seal_and_open(e, data, n, path, what);
        data += n;
        size -= n;
    }
    kt_native_tx_free(&e->tx);
    kt_native_rx_free(&e->rx);
    free(e);
    return 0;
}
