/* Masking, sealing and opening. A receiver holds at most two keys: that of its epoch, and either the previous one or a
 * candidate for the next. Which of the two a packet of the other phase needs follows from time alone, so no packet
 * costs two operations: a sender never moves twice while its receiver may still hold the previous key. */
#include "link/native/packet.h"
#include <assert.h>
#include <string.h>
#include "base/bytes.h"
#include "crypto/hash.h"

#define KIND_SHIFT 6
#define PHASE 0x20u
#define ZERO_DATA 0x1fu /* bits of the first byte that are 0 in a data packet */
#define ID 1u           /* offsets in a header */
#define NUMBER (ID + KT_NATIVE_CID)

/* ---- headers ---- */

/* XORs a header with its mask: `to` may be `from`. Field by field, so that reading a field next does not wait for two
 * stores. */
static void mask_header(const struct kt_native_header_keys *keys, const uint8_t tag[KT_NATIVE_TAG],
    const uint8_t from[KT_NATIVE_HEADER], uint8_t to[KT_NATIVE_HEADER])
{
    uint8_t mask[KT_MASK];
    kt_mask(keys->mask_key, tag, mask);
    to[0] = from[0] ^ mask[0];
    kt_put64(to + ID, kt_get64(from + ID) ^ kt_get64(mask + ID));
    kt_put32(to + NUMBER, kt_get32(from + NUMBER) ^ kt_get32(mask + NUMBER));
}

int kt_native_peek(const struct kt_native_header_keys *keys, const uint8_t *dgram, size_t len,
    struct kt_native_header *header)
{
    if (len < KT_NATIVE_DATAGRAM_MIN || len > KT_NATIVE_DATAGRAM_MAX) return KT_EPROTO;
    uint8_t *b = header->bytes;
    mask_header(keys, dgram + len - KT_NATIVE_TAG, dgram, b);
    header->kind = (enum kt_native_kind)(b[0] >> KIND_SHIFT);
    header->phase = b[0] & PHASE;
    header->number = kt_get32(b + NUMBER);
    memcpy(header->id, b + ID, KT_NATIVE_CID);
    if (b[0] & ZERO_DATA) return KT_EPROTO;
    if (header->kind != KT_NATIVE_DATA && (header->phase || header->number)) return KT_EPROTO;
    return 0;
}

static void mac1_of(const struct kt_native_header_keys *keys, const uint8_t header[KT_NATIVE_HEADER],
    const uint8_t *body, size_t n, uint8_t out[KT_HASH])
{
    kt_hash(out, keys->header_key, header, KT_NATIVE_HEADER, body, n);
}

size_t kt_native_wrap(const struct kt_native_header_keys *keys, enum kt_native_kind kind,
    const uint8_t id[KT_NATIVE_CID], uint8_t *dgram, size_t n)
{
    assert(kind != KT_NATIVE_DATA && n > 0 && n <= KT_NATIVE_DATAGRAM_MAX - KT_NATIVE_OVERHEAD);
    uint8_t mac1[KT_HASH], *body = dgram + KT_NATIVE_HEADER, *end = body + n;
    memset(dgram, 0, KT_NATIVE_HEADER);
    dgram[0] = (uint8_t)((unsigned)kind << KIND_SHIFT);
    memcpy(dgram + ID, id, KT_NATIVE_CID);
    mac1_of(keys, dgram, body, n, mac1);
    memcpy(end, mac1, KT_NATIVE_TAG);
    mask_header(keys, end, dgram, dgram);
    kt_mask_stream(keys->header_key, end, body, n);
    return n + KT_NATIVE_OVERHEAD;
}

int kt_native_unwrap(const struct kt_native_header_keys *keys, const struct kt_native_header *header,
    uint8_t *dgram, size_t len, struct kt_native_drops *drops)
{
    assert(header->kind != KT_NATIVE_DATA && len >= KT_NATIVE_DATAGRAM_MIN);
    const size_t n = len - KT_NATIVE_OVERHEAD;
    uint8_t mac1[KT_HASH], *tag = dgram + len - KT_NATIVE_TAG, *body = dgram + KT_NATIVE_HEADER;
    kt_mask_stream(keys->header_key, tag, body, n);
    mac1_of(keys, header->bytes, body, n, mac1);
    if (kt_same_secret(mac1, tag, KT_NATIVE_TAG)) return (int)n;
    kt_mask_stream(keys->header_key, tag, body, n);
    drops->mac++;
    return KT_EAUTH;
}

uint64_t kt_native_number(uint64_t expected, uint32_t low)
{
    const uint64_t window = UINT64_C(1) << 32, half = window / 2;
    const uint64_t candidate = (expected & ~(window - 1)) | low;
    if (candidate + half <= expected) return candidate + window;
    if (candidate > expected + half && candidate >= window) return candidate - window;
    return candidate;
}

static void nonce_of(unsigned path, uint64_t number, uint8_t nonce[KT_AEAD_NONCE])
{
    kt_put32(nonce, path);
    kt_put64(nonce + 4, number);
}

/* A new AEAD with the key of a secret. */
static int aead_of(struct kt_aead **out, enum kt_aead_method method, const uint8_t secret[KT_NATIVE_KEY])
{
    uint8_t key[KT_NATIVE_KEY];
    kt_native_packet_key(secret, key);
    const int rc = kt_aead_new(out, method, key);
    kt_wipe(key, sizeof key);
    return rc;
}

static void aead_set(struct kt_aead *a, const uint8_t secret[KT_NATIVE_KEY])
{
    uint8_t key[KT_NATIVE_KEY];
    kt_native_packet_key(secret, key);
    kt_aead_rekey(a, key);
    kt_wipe(key, sizeof key);
}

/* ---- sending ---- */

int kt_native_tx_init(struct kt_native_tx *tx, enum kt_aead_method method,
    const struct kt_native_header_keys *keys, const uint8_t secret[KT_NATIVE_KEY])
{
    memset(tx, 0, sizeof *tx);
    const int rc = aead_of(&tx->aead, method, secret);
    if (rc) return rc;
    tx->keys = keys;
    memcpy(tx->secret, secret, sizeof tx->secret);
    for (unsigned p = 0; p < KT_NATIVE_PATHS; p++) kt_native_cid(keys, secret, p, tx->cids[p]);
    return 0;
}

void kt_native_tx_free(struct kt_native_tx *tx)
{
    kt_aead_free(tx->aead);
    kt_wipe(tx, sizeof *tx);
}

static bool worn(const struct kt_native_tx *tx, uint64_t now_us)
{
    const uint64_t age = tx->confirmed ? now_us - tx->confirmed_us : 0;
    if (age >= KT_NATIVE_EPOCH_US) return true;
    return age >= KT_NATIVE_EPOCH_MIN_US &&
           (tx->packets >= KT_NATIVE_EPOCH_PACKETS || tx->bytes >= KT_NATIVE_EPOCH_BYTES);
}

static void next_epoch(struct kt_native_tx *tx)
{
    kt_native_next_secret(tx->secret, tx->secret);
    aead_set(tx->aead, tx->secret);
    memcpy(tx->first, tx->next, sizeof tx->first);
    tx->packets = tx->bytes = 0;
    tx->confirmed = false;
    tx->epoch++;
}

int kt_native_seal(
    struct kt_native_tx *tx, unsigned path, uint64_t number, uint8_t *dgram, size_t n, uint64_t now_us)
{
    assert(path < KT_NATIVE_PATHS && number >= tx->next[path]);
    assert(n > 0 && n <= KT_NATIVE_DATAGRAM_MAX - KT_NATIVE_OVERHEAD);
    if (worn(tx, now_us)) next_epoch(tx);
    if (tx->packets >= KT_NATIVE_EPOCH_PACKETS_MAX) return KT_ELIMIT;
    tx->packets++;
    tx->bytes += n;
    tx->next[path] = number + 1;

    uint8_t nonce[KT_AEAD_NONCE], *frames = dgram + KT_NATIVE_HEADER;
    dgram[0] = (uint8_t)(KT_NATIVE_DATA << KIND_SHIFT | (tx->epoch & 1 ? PHASE : 0));
    memcpy(dgram + ID, tx->cids[path], KT_NATIVE_CID);
    kt_put32(dgram + NUMBER, (uint32_t)number);
    nonce_of(path, number, nonce);
    kt_aead_seal(tx->aead, nonce, dgram, KT_NATIVE_HEADER, frames, n);
    mask_header(tx->keys, frames + n, dgram, dgram);
    return (int)(n + KT_NATIVE_OVERHEAD);
}

void kt_native_tx_acked(struct kt_native_tx *tx, unsigned path, uint64_t number, uint64_t now_us)
{
    assert(path < KT_NATIVE_PATHS);
    if (tx->confirmed || number < tx->first[path] || number >= tx->next[path]) return;
    tx->confirmed = true;
    tx->confirmed_us = now_us;
}

/* ---- receiving ---- */

int kt_native_rx_init(
    struct kt_native_rx *rx, enum kt_aead_method method, const uint8_t secret[KT_NATIVE_KEY])
{
    memset(rx, 0, sizeof *rx);
    rx->method = method;
    memcpy(rx->secret, secret, sizeof rx->secret);
    return aead_of(&rx->aead, method, secret);
}

void kt_native_rx_free(struct kt_native_rx *rx)
{
    kt_aead_free(rx->aead);
    kt_aead_free(rx->other);
    kt_wipe(rx, sizeof *rx);
}

/* Forgets the previous epoch's key once its time is over. */
static void expire(struct kt_native_rx *rx, uint64_t now_us)
{
    static const uint8_t none[KT_AEAD_KEY];
    if (rx->is != KT_NATIVE_OTHER_PREVIOUS || now_us - rx->moved < KT_NATIVE_PREVIOUS_US) return;
    kt_aead_rekey(rx->other, none);
    rx->is = KT_NATIVE_OTHER_NONE;
}

/* Makes `other` the key of the next epoch. */
static int prepare_next(struct kt_native_rx *rx)
{
    if (rx->is == KT_NATIVE_OTHER_NEXT) return 0;
    uint8_t secret[KT_NATIVE_KEY];
    int rc = 0;
    kt_native_next_secret(rx->secret, secret);
    if (rx->other)
        aead_set(rx->other, secret);
    else
        rc = aead_of(&rx->other, rx->method, secret);
    kt_wipe(secret, sizeof secret);
    if (rc == 0) rx->is = KT_NATIVE_OTHER_NEXT;
    return rc;
}

static void follow(struct kt_native_rx *rx, uint64_t now_us)
{
    struct kt_aead *previous = rx->aead;
    rx->aead = rx->other;
    rx->other = previous;
    rx->is = KT_NATIVE_OTHER_PREVIOUS;
    rx->moved = now_us;
    rx->epoch++;
    kt_native_next_secret(rx->secret, rx->secret);
}

int kt_native_open(struct kt_native_rx *rx, const struct kt_native_rx_path *path,
    const struct kt_native_header *header, uint8_t *dgram, size_t len, uint64_t now_us, uint64_t *number)
{
    assert(path->number < KT_NATIVE_PATHS && len >= KT_NATIVE_DATAGRAM_MIN && header->kind == KT_NATIVE_DATA);
    *number = kt_native_number(path->seen->next, header->number);
    const enum kt_replay_verdict verdict = kt_replay_check(path->seen, *number);
    if (verdict != KT_REPLAY_NEW) {
        ++*(verdict == KT_REPLAY_SEEN ? &path->drops->replayed : &path->drops->old);
        return KT_EAUTH;
    }

    expire(rx, now_us);
    const bool other = header->phase != (rx->epoch & 1), next = other && rx->is != KT_NATIVE_OTHER_PREVIOUS;
    const int rc = next ? prepare_next(rx) : 0;
    if (rc) return rc;

    uint8_t nonce[KT_AEAD_NONCE];
    const size_t n = len - KT_NATIVE_OVERHEAD;
    nonce_of(path->number, *number, nonce);
    if (kt_aead_open(other ? rx->other : rx->aead, nonce, header->bytes, KT_NATIVE_HEADER,
            dgram + KT_NATIVE_HEADER, n)) {
        path->drops->forged++;
        return KT_EAUTH;
    }
    kt_replay_add(path->seen, *number);
    if (next) follow(rx, now_us);
    return (int)n;
}
