/* CFB encryption of several packets side by side.
 *
 * Within a packet each block waits for the one before; across packets nothing waits. So this encrypts block b of
 * all packets in one call, then block b + 1. The call needed is a SIMD encryption of independent blocks.
 * libgcrypt's ECB does one block at a time (in 1.10), but its CFB *decryption* is parallel: fed blocks x0, x1,
 * ... it returns x(i+1) ^ E(x(i)), and another XOR removes x(i+1).
 *
 * Invariant: chain[i] is the ciphertext block before lane i's next bytes (the IV at first). */
#include <stdbool.h>
#include <string.h>
#include "crypto/kcptun/seal_method.h"

#define LANES KT_SEAL_BATCH
#define FEW 4u /* with fewer lanes, one after another is as fast */
#define BLOCK_MAX 16u

struct lane {
    uint8_t *at;
    size_t left; /* bytes from `at` on that are still clear; never 0 */
};

/* A copy of constant length. memcpy itself would be a call here: FORTIFY follows `chain` through its array to
 * check every copy at run time. */
static inline __attribute__((always_inline)) void copy(void *to, const void *from, const size_t block)
{
    __builtin_memcpy(to, from, block);
}

/* Applies to each lane the key stream that `out` holds under the next lane's chain block, and moves the lane
 * on; true if any is done. Inlined with a constant `block`, so that every copy in it is a register or two. */
static inline __attribute__((always_inline)) bool advance(
    struct lane *lane, size_t n, uint8_t *chain, const uint8_t *out, const size_t block)
{
    bool done = false;
    for (size_t i = 0; i < n; i++, chain += block, out += block) {
        uint64_t stream[BLOCK_MAX / 8], next[BLOCK_MAX / 8], text[BLOCK_MAX / 8] = {0};
        struct lane *l = &lane[i];
        const size_t now = l->left < block ? l->left : block;
        copy(stream, out, block);
        copy(next, chain + block, block);
        if (now == block)
            copy(text, l->at, block);
        else
            memcpy(text, l->at, now);
        for (size_t w = 0; w < block / 8; w++) text[w] ^= stream[w] ^ next[w];
        if (now == block)
            copy(l->at, text, block);
        else
            memcpy(l->at, text, now);
        copy(chain, text, block); /* lane i + 1 has not moved yet, lane i - 1 does not look here again */
        l->at += now;
        l->left -= now;
        done |= l->left == 0;
    }
    return done;
}

/* Up to LANES packets side by side; none is empty, since all have a nonce. */
static void encrypt_group(struct kt_seal *s, struct lane lane[LANES], size_t n)
{
    const size_t block = s->method->block_len;
    /* `block` bytes a lane, one behind the other */
    uint8_t chain[(LANES + 1) * BLOCK_MAX] = {0}, out[LANES * BLOCK_MAX];
    for (size_t i = 0; i < n; i++) memcpy(chain + i * block, kt_cfb_iv, block);

    while (n >= FEW) {
        kt_gcry_must(gcry_cipher_setiv(s->key.gcry, chain, block));
        kt_gcry_must(gcry_cipher_decrypt(s->key.gcry, out, n * block, chain + block, n * block));
        bool done = block == 16 ? advance(lane, n, chain, out, 16) : advance(lane, n, chain, out, 8);
        for (size_t i = done ? n : 0; i-- > 0;) { /* the last lane takes the place of one that is done */
            if (lane[i].left) continue;
            n--;
            lane[i] = lane[n];
            memmove(chain + i * block, chain + n * block, block);
        }
    }
    for (size_t i = 0; i < n; i++) {
        kt_gcry_must(gcry_cipher_setiv(s->key.gcry, chain + i * block, block));
        kt_gcry_must(gcry_cipher_encrypt(s->key.gcry, lane[i].at, lane[i].left, NULL, 0));
    }
}

void kt_cfb_encrypt_many(struct kt_seal *s, const struct kt_seal_job *jobs, size_t n)
{
    while (n > 0) {
        struct lane lane[LANES];
        size_t group = n < LANES ? n : LANES;
        for (size_t i = 0; i < group; i++) lane[i] = (struct lane){jobs[i].pkt, jobs[i].len};
        encrypt_group(s, lane, group);
        jobs += group;
        n -= group;
    }
}
