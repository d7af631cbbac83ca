/* QPP: generates the pads and applies them (docs/wire-kcptun.md, section 10, the seven-chunk variant).
 *
 * A pad is a permutation of the 256 byte values. Byte n of a direction goes through the pad that the low 16
 * bits of r pick, XORed with byte n mod 8 of r, where r is output n / 8 of the direction's generator. */
#include <endian.h>
#include <gcrypt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "base/xoshiro.h"
#include "crypto/crypto.h"
#include "crypto/kcptun/kdf.h"
#include "crypto/kcptun/qpp_internal.h"

#define CHUNKS 7u
#define CHUNK 32u
#define MAX_PADS 4096u
#define DERIVE_SALT "___QUANTUM_PERMUTATION_PAD_SEED_DERIVE___"
#define SHUFFLE_SALT "___QUANTUM_PERMUTATION_PAD_SHUFFLE_SALT___"
#define PRNG_SALT "___QUANTUM_PERMUTATION_PAD_PRNG_SALT___"
#define SELECTOR "PERMUTATION_MATRIX_SELECTOR"

/* The shuffle's source of randomness; exists only while the pads are made. */
struct shuffler {
    uint8_t chunk[CHUNKS][CHUNK];
    gcry_cipher_hd_t aes[CHUNKS]; /* AES-256, ECB */
};

static void hmac_sha256(const void *key, size_t key_len, const char *text, uint8_t out[32])
{
    crypto_auth_hmacsha256_state h;
    crypto_auth_hmacsha256_init(&h, key, key_len);
    crypto_auth_hmacsha256_update(&h, (const uint8_t *)text, strlen(text));
    crypto_auth_hmacsha256_final(&h, out);
    sodium_memzero(&h, sizeof h);
}

/* --- making the pads --- */

static int make_chunks(uint8_t chunk[CHUNKS][CHUNK], const uint8_t *key, size_t key_len)
{
    uint8_t stretched[CHUNK], raw[CHUNK];
    int rc = 0;
    if (key_len < sizeof stretched) {
        rc = kt_pbkdf2_sha1(key, key_len, DERIVE_SALT, 128, stretched, sizeof stretched);
        key = stretched;
        key_len = sizeof stretched;
    }
    size_t at = 0; /* continues from chunk to chunk, wrapping around the key */
    for (unsigned i = 0; i < CHUNKS && rc == 0; i++) {
        for (unsigned j = 0; j < CHUNK; j++, at = (at + 1) % key_len) raw[j] = key[at];
        rc = kt_pbkdf2_sha1(raw, sizeof raw, DERIVE_SALT, 1024, chunk[i], CHUNK);
    }
    sodium_memzero(stretched, sizeof stretched);
    sodium_memzero(raw, sizeof raw);
    return rc;
}

static int shuffler_start(struct shuffler *s, const uint8_t *key, size_t key_len)
{
    int rc = make_chunks(s->chunk, key, key_len);
    for (unsigned i = 0; i < CHUNKS && rc == 0; i++) {
        uint8_t aes_key[32];
        rc = kt_pbkdf2_sha1(s->chunk[i], CHUNK, SHUFFLE_SALT, 128, aes_key, sizeof aes_key);
        if (rc == 0)
            rc =
                kt_err_from_gcrypt(gcry_cipher_open(&s->aes[i], GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_ECB, 0));
        if (rc == 0) rc = kt_err_from_gcrypt(gcry_cipher_setkey(s->aes[i], aes_key, sizeof aes_key));
        sodium_memzero(aes_key, sizeof aes_key);
    }
    return rc;
}

static void shuffler_stop(struct shuffler *s)
{
    for (unsigned i = 0; i < CHUNKS; i++) gcry_cipher_close(s->aes[i]); /* NULL is harmless */
    sodium_memzero(s, sizeof *s);
}

/* h, a big-endian 256-bit number, modulo m. m is at most 256, so the remainder and 8 more bits always fit. */
static unsigned modulo(const uint8_t h[32], unsigned m)
{
    unsigned rest = 0;
    for (unsigned i = 0; i < 32; i++) rest = (rest << 8 | h[i]) % m;
    return rest;
}

static int shuffle(struct shuffler *s, unsigned index, uint8_t pad[256])
{
    char text[sizeof "QPP_" + 32], *digit = text + sizeof "QPP_" - 1;
    memcpy(text, "QPP_", sizeof "QPP_");
    unsigned bits = 1;
    while (index >> bits) bits++;
    for (unsigned b = bits; b-- > 0;) *digit++ = (char)('0' + (index >> b & 1));
    *digit = '\0';

    uint8_t h[32];
    hmac_sha256(s->chunk[index % CHUNKS], CHUNK, text, h);
    for (unsigned i = 0; i < 256; i++) pad[i] = (uint8_t)i;
    int rc = 0;
    for (unsigned i = 255; i > 0 && rc == 0; i--) {
        for (unsigned k = 0; k < CHUNKS && rc == 0; k++)
            rc = kt_err_from_gcrypt(gcry_cipher_encrypt(s->aes[k], h, sizeof h, NULL, 0));
        unsigned j = modulo(h, i + 1);
        uint8_t swap = pad[i];
        pad[i] = pad[j];
        pad[j] = swap;
    }
    sodium_memzero(h, sizeof h);
    return rc;
}

/* --- the generator: xoshiro256** --- */

static int seed(struct kt_qpp_state *st, const uint8_t *key, size_t key_len)
{
    uint8_t mac[32], state[32];
    hmac_sha256(key, key_len, SELECTOR, mac);
    int rc = kt_pbkdf2_sha1(mac, sizeof mac, PRNG_SALT, 128, state, sizeof state);
    if (rc == 0) {
        memcpy(st->s, state, sizeof state);
        for (unsigned i = 0; i < 4; i++) st->s[i] = le64toh(st->s[i]);
        st->r = kt_xoshiro_next(st->s);
        st->count = 0;
    }
    sodium_memzero(mac, sizeof mac);
    sodium_memzero(state, sizeof state);
    return rc;
}

/* --- the object --- */

int kt_qpp_new(struct kt_qpp **out, const void *key, size_t key_len, unsigned pads)
{
    if (pads < 1 || pads > MAX_PADS) return KT_EINVAL;
    if (key_len == 0) key = ""; /* the libraries take an empty key but not a null pointer */
    struct kt_qpp *q = calloc(1, sizeof *q);
    if (!q) return KT_ENOMEM;
    q->pads = pads;
    q->forward = calloc(2 * (size_t)pads, sizeof *q->forward);
    struct shuffler s = {0};
    int rc = q->forward ? seed(&q->start, key, key_len) : KT_ENOMEM;
    if (rc == 0) rc = shuffler_start(&s, key, key_len);
    if (rc == 0) {
        q->inverse = q->forward + pads;
        for (unsigned p = 0; p < pads && rc == 0; p++) {
            rc = shuffle(&s, p, q->forward[p]);
            for (unsigned i = 0; i < 256; i++) q->inverse[p][q->forward[p][i]] = (uint8_t)i;
        }
    }
    shuffler_stop(&s);
    if (rc < 0) {
        kt_qpp_free(q);
        return rc;
    }
    *out = q;
    return 0;
}

void kt_qpp_free(struct kt_qpp *q)
{
    if (!q) return;
    if (q->forward) sodium_memzero(q->forward, 2 * q->pads * sizeof *q->forward);
    free(q->forward);
    sodium_memzero(q, sizeof *q);
    free(q);
}

void kt_qpp_start(const struct kt_qpp *q, struct kt_qpp_state *st)
{
    *st = q->start;
}

/* --- using it --- */

static inline const uint8_t *pick(uint8_t (*pads)[256], unsigned count, uint64_t r)
{
    return pads[(uint32_t)(r & 0xffff) % count];
}

static inline uint8_t byte_of(uint64_t word, unsigned i)
{
    return (uint8_t)(word >> 8 * i);
}

/* Accounts for one byte; draws a new r after every eighth. */
static inline void advance(struct kt_qpp_state *st)
{
    if (++st->count == 8) {
        st->count = 0;
        st->r = kt_xoshiro_next(st->s);
    }
}

static inline uint8_t encrypt_byte(const struct kt_qpp *q, struct kt_qpp_state *st, uint8_t in)
{
    uint8_t out = pick(q->forward, q->pads, st->r)[in ^ byte_of(st->r, st->count)];
    advance(st);
    return out;
}

static inline uint8_t decrypt_byte(const struct kt_qpp *q, struct kt_qpp_state *st, uint8_t in)
{
    uint8_t out = pick(q->inverse, q->pads, st->r)[in] ^ byte_of(st->r, st->count);
    advance(st);
    return out;
}

static inline uint64_t permute(const uint8_t *pad, uint64_t word)
{
    uint64_t out = 0;
    for (unsigned i = 0; i < 8; i++) out |= (uint64_t)pad[byte_of(word, i)] << 8 * i;
    return out;
}

/* Both work on a copy of the state: `data` may alias anything, and the copy can stay in registers. */

void kt_qpp_encrypt(const struct kt_qpp *q, struct kt_qpp_state *st, uint8_t *data, size_t n)
{
    struct kt_qpp_state at = *st;
    uint8_t(*pads)[256] = q->forward;
    const uint8_t *end = data + n;
    const unsigned count = q->pads;
    for (; data < end && at.count; data++) *data = encrypt_byte(q, &at, *data);
    for (; end - data >= 8; data += 8) {
        kt_put64(data, permute(pick(pads, count, at.r), kt_get64(data) ^ at.r));
        at.r = kt_xoshiro_next(at.s);
    }
    for (; data < end; data++) *data = encrypt_byte(q, &at, *data);
    *st = at;
}

void kt_qpp_decrypt(const struct kt_qpp *q, struct kt_qpp_state *st, uint8_t *data, size_t n)
{
    struct kt_qpp_state at = *st;
    uint8_t(*pads)[256] = q->inverse;
    const uint8_t *end = data + n;
    const unsigned count = q->pads;
    for (; data < end && at.count; data++) *data = decrypt_byte(q, &at, *data);
    for (; end - data >= 8; data += 8) {
        kt_put64(data, permute(pick(pads, count, at.r), kt_get64(data)) ^ at.r);
        at.r = kt_xoshiro_next(at.s);
    }
    for (; data < end; data++) *data = decrypt_byte(q, &at, *data);
    *st = at;
}
