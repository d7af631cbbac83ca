/* Internal to crypto/: what seal.c knows of a method, and what a sealer holds.
 *
 * All fifteen methods are one layout, `header || body || trailer`, with a fresh nonce at the front, a CRC-32
 * of the body behind it if the header has room for one, and a cipher over the whole. seal.c does the layout;
 * a cipher sees whole datagrams and changes them in place. */
#ifndef KT_CRYPTO_KCPTUN_SEAL_METHOD_H
#define KT_CRYPTO_KCPTUN_SEAL_METHOD_H

#include <gcrypt.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "crypto/kcptun/seal.h"

#define KT_CRC_AT 16u          /* where the CRC lies in the 20-byte header (spec 4.2) */
#define KT_XOR_PAD_LEN 1500u   /* spec 4.4; no datagram is longer (spec 6.3) */
#define KT_XTEA_ROUND_KEYS 64u /* two for each of 32 cycles */

struct kt_cipher {
    /* Takes what it needs of the pass into s->key. 0, KT_ENOMEM or KT_ENOTSUP; then nothing is held. */
    int (*start)(struct kt_seal *s, const uint8_t pass[32]);
    /* Gives up what start took beyond s->key itself, which the caller wipes. NULL: nothing. */
    void (*stop)(struct kt_seal *s);
    /* The whole datagram of len bytes, overhead included, in place. Cannot fail. */
    void (*encrypt)(struct kt_seal *s, uint8_t *pkt, size_t len);
    /* The same for n datagrams, whose len is the whole length. NULL: one after another. */
    void (*encrypt_many)(struct kt_seal *s, const struct kt_seal_job *jobs, size_t n);
    /* The reverse; len is at least the overhead. 0 or KT_EAUTH. The nonce need not come back: nobody reads
     * it. */
    int (*decrypt)(struct kt_seal *s, uint8_t *pkt, size_t len);
};

struct kt_seal_method {
    const char *name;
    const struct kt_cipher *cipher; /* NULL: nothing is encrypted */
    uint8_t nonce, header, trailer; /* bytes; the nonce is part of the header */
    int algo;                       /* GCRY_CIPHER_…, for the ciphers of libgcrypt */
    uint8_t key_len, block_len;     /* theirs too: bytes of the pass they take, and of a block */
};

struct kt_seal {
    const struct kt_seal_method *method;
    union {
        gcry_cipher_hd_t gcry;
        uint32_t tea[4];
        uint32_t xtea[KT_XTEA_ROUND_KEYS];
        uint8_t salsa20[32];
        uint8_t xor_pad[KT_XOR_PAD_LEN];
    } key;
};

extern const uint8_t kt_cfb_iv[16]; /* the constant IV; 8-byte blocks use its first half (spec 4.2) */

extern const struct kt_cipher kt_cipher_cfb, kt_cipher_gcm;     /* seal_block.c */
extern const struct kt_cipher kt_cipher_tea, kt_cipher_xtea;    /* seal_tea.c */
extern const struct kt_cipher kt_cipher_salsa20, kt_cipher_xor; /* seal_stream.c */

/* seal_batch.c, for kt_cipher_cfb */
void kt_cfb_encrypt_many(struct kt_seal *s, const struct kt_seal_job *jobs, size_t n);

/* With a key set and lengths that fit, libgcrypt can only fail by a bug, ours or its own. The packet is then
 * still clear text, about to be sent: stopping is the one safe answer. */
static inline void kt_gcry_must(gcry_error_t e)
{
    if (e) abort();
}

#endif
