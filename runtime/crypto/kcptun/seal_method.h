/* Internal to crypto/kcptun: what seal.c knows of a method, and the state of a sealer.
 *
 * All fifteen methods share one layout, `header || body || trailer`: a fresh nonce at the front, a CRC-32 of the
 * body after it if the header has room, and a cipher over everything. seal.c does the layout; a cipher gets
 * whole datagrams and changes them in place. */
#ifndef KT_CRYPTO_KCPTUN_SEAL_METHOD_H
#define KT_CRYPTO_KCPTUN_SEAL_METHOD_H

#include <gcrypt.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "crypto/kcptun/seal.h"

#define KT_CRC_AT 16u          /* offset of the CRC in the 20-byte header (wire-kcptun.md 4.2) */
#define KT_XOR_PAD_LEN 1500u   /* wire-kcptun.md 4.4; datagrams are never longer (6.3) */
#define KT_XTEA_ROUND_KEYS 64u /* two for each of 32 cycles */

struct kt_cipher {
    /* Derives its key in s->key from the pass. 0, KT_ENOMEM or KT_ENOTSUP; after an error it holds nothing. */
    int (*start)(struct kt_seal *s, const uint8_t pass[32]);
    /* Releases what start allocated; the caller wipes s->key itself. NULL: nothing to release. */
    void (*stop)(struct kt_seal *s);
    /* Encrypts a whole datagram of len bytes, overhead included, in place. Cannot fail. */
    void (*encrypt)(struct kt_seal *s, uint8_t *pkt, size_t len);
    /* The same for n datagrams, whose len is the whole length. NULL: encrypt them one by one. */
    void (*encrypt_many)(struct kt_seal *s, const struct kt_seal_job *jobs, size_t n);
    /* Decrypts in place; len is at least the overhead. 0 or KT_EAUTH. The nonce may stay encrypted: it is not
     * used again. */
    int (*decrypt)(struct kt_seal *s, uint8_t *pkt, size_t len);
};

struct kt_seal_method {
    const char *name;
    const struct kt_cipher *cipher; /* NULL: no encryption */
    uint8_t nonce, header, trailer; /* bytes; the nonce is part of the header */
    int algo;                       /* GCRY_CIPHER_…, for libgcrypt's ciphers */
    uint8_t key_len, block_len;     /* for libgcrypt's ciphers: key and block size in bytes */
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

extern const uint8_t kt_cfb_iv[16]; /* constant; 8-byte blocks use its first half (wire-kcptun.md 4.2) */

extern const struct kt_cipher kt_cipher_cfb, kt_cipher_gcm;     /* seal_block.c */
extern const struct kt_cipher kt_cipher_tea, kt_cipher_xtea;    /* seal_tea.c */
extern const struct kt_cipher kt_cipher_salsa20, kt_cipher_xor; /* seal_stream.c */

/* seal_batch.c, for kt_cipher_cfb */
void kt_cfb_encrypt_many(struct kt_seal *s, const struct kt_seal_job *jobs, size_t n);

/* With a key set and valid lengths, libgcrypt fails only by a bug, ours or its own. The packet would then go out
 * in clear text, so abort. */
static inline void kt_gcry_must(gcry_error_t e)
{
    if (e) abort();
}

#endif
