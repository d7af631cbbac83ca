/* TEA and XTEA in CFB-64, which no library has in kcptun's form (wire-kcptun.md 4.1). Both take their words big endian;
 * TEA runs 8 cycles where its authors ran 32 (Wheeler and Needham, "TEA, a Tiny Encryption Algorithm", 1994;
 * "TEA extensions", 1997).
 *
 * CFB only runs a block cipher forwards, so there are no inverse rounds here. Encryption is a chain and goes
 * block by block. Decryption has all the ciphertext from the start, so it does LANES blocks at a time in SIMD
 * registers. */
#include <string.h>
#include "base/bytes.h"
#include "crypto/kcptun/seal_method.h"

#define DELTA 0x9e3779b9u
#define TEA_CYCLES 8u
#define BLOCK 8u /* bytes */
#define LANES 4u /* blocks: fills one SIMD register on any machine */

typedef uint32_t lanes __attribute__((vector_size(4 * LANES)));

/* The rounds, written once for a single block (v0 and v1 are uint32_t) and for several (v0 and v1 are vectors). */
#define TEA_ROUNDS(v0, v1, k)                                                                                \
    for (uint32_t i = 1, sum = DELTA; i <= TEA_CYCLES; i++, sum += DELTA) {                                  \
        v0 += ((v1 << 4) + k[0]) ^ (v1 + sum) ^ ((v1 >> 5) + k[1]);                                          \
        v1 += ((v0 << 4) + k[2]) ^ (v0 + sum) ^ ((v0 >> 5) + k[3]);                                          \
    }

#define XTEA_ROUNDS(v0, v1, k)                                                                               \
    for (uint32_t i = 0; i < KT_XTEA_ROUND_KEYS; i += 2) {                                                   \
        v0 += (((v1 << 4) ^ (v1 >> 5)) + v1) ^ k[i];                                                         \
        v1 += (((v0 << 4) ^ (v0 >> 5)) + v0) ^ k[i + 1];                                                     \
    }

/* XORs the encryption of the block at prev onto the n bytes at p. */
static void apply_one(const struct kt_seal *s, uint8_t *p, size_t n, const uint8_t *prev)
{
    uint32_t v0 = kt_get32_be(prev), v1 = kt_get32_be(prev + 4);
    if (s->method->cipher == &kt_cipher_tea)
        TEA_ROUNDS(v0, v1, s->key.tea)
    else
        XTEA_ROUNDS(v0, v1, s->key.xtea)
    if (n >= BLOCK) {
        kt_put32_be(p, kt_get32_be(p) ^ v0);
        kt_put32_be(p + 4, kt_get32_be(p + 4) ^ v1);
    } else {
        uint8_t stream[BLOCK];
        kt_put32_be(stream, v0);
        kt_put32_be(stream + 4, v1);
        for (size_t i = 0; i < n; i++) p[i] ^= stream[i];
    }
}

/* The same for LANES whole blocks at p, each with the ciphertext block before it. */
static void apply_lanes(const struct kt_seal *s, uint8_t *p)
{
    lanes v0, v1;
    for (unsigned i = 0; i < LANES; i++) {
        v0[i] = kt_get32_be(p + BLOCK * i - 8);
        v1[i] = kt_get32_be(p + BLOCK * i - 4);
    }
    if (s->method->cipher == &kt_cipher_tea)
        TEA_ROUNDS(v0, v1, s->key.tea)
    else
        XTEA_ROUNDS(v0, v1, s->key.xtea)
    for (unsigned i = 0; i < LANES; i++) {
        kt_put32_be(p + BLOCK * i, kt_get32_be(p + BLOCK * i) ^ v0[i]);
        kt_put32_be(p + BLOCK * i + 4, kt_get32_be(p + BLOCK * i + 4) ^ v1[i]);
    }
}

static void encrypt(struct kt_seal *s, uint8_t *pkt, size_t len)
{
    apply_one(s, pkt, len, kt_cfb_iv);
    for (size_t at = BLOCK; at < len; at += BLOCK) apply_one(s, pkt + at, len - at, pkt + at - BLOCK);
}

/* Runs from the end to the front: a block needs the one before it to still be ciphertext. Stops short of the
 * nonce, which is not used again. */
static int decrypt(struct kt_seal *s, uint8_t *pkt, size_t len)
{
    const size_t first = s->method->nonce;
    size_t left = len - first, tail = left % BLOCK;
    if (tail) {
        left -= tail;
        apply_one(s, pkt + first + left, tail, pkt + first + left - BLOCK);
    }
    while (left % (BLOCK * LANES)) {
        left -= BLOCK;
        apply_one(s, pkt + first + left, BLOCK, pkt + first + left - BLOCK);
    }
    while (left) {
        left -= BLOCK * LANES;
        apply_lanes(s, pkt + first + left);
    }
    return 0;
}

static int tea_start(struct kt_seal *s, const uint8_t pass[32])
{
    for (unsigned i = 0; i < 4; i++) s->key.tea[i] = kt_get32_be(pass + 4 * i);
    return 0;
}

/* The running sum and the key word it selects are the same for every block, so they are computed once. */
static int xtea_start(struct kt_seal *s, const uint8_t pass[32])
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < KT_XTEA_ROUND_KEYS; i += 2) {
        s->key.xtea[i] = sum + kt_get32_be(pass + 4 * (sum & 3));
        sum += DELTA;
        s->key.xtea[i + 1] = sum + kt_get32_be(pass + 4 * (sum >> 11 & 3));
    }
    return 0;
}

const struct kt_cipher kt_cipher_tea = {.start = tea_start, .encrypt = encrypt, .decrypt = decrypt};
const struct kt_cipher kt_cipher_xtea = {.start = xtea_start, .encrypt = encrypt, .decrypt = decrypt};
