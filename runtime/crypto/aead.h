/* The AEADs of kt's own wire, AES-256-GCM and ChaCha20-Poly1305 (RFC 8439), behind one interface. Data is
 * sealed and opened in place; the tag follows it. No allocation per packet.
 *
 * By libgcrypt, which seals a full packet in less than half of libsodium's time (bench-packet), and has AES on
 * other processors than x86. */
#ifndef KT_CRYPTO_AEAD_H
#define KT_CRYPTO_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

#define KT_AEAD_KEY 32u
#define KT_AEAD_NONCE 12u
#define KT_AEAD_TAG 16u

/* Bits, as the wire's parameters have them. */
enum kt_aead_method { KT_AEAD_AES_256_GCM = 1, KT_AEAD_CHACHA20_POLY1305 = 2 };

/* "aes-256-gcm" or "chacha20-poly1305". Static storage. */
const char *kt_aead_name(enum kt_aead_method method);

/* The methods that are fast and safe here: ChaCha20-Poly1305 always, AES-256-GCM if the processor has
 * instructions for it (in plain C it is slow, and its tables leak through the cache). Ask once and keep it: it
 * allocates. Requires kt_crypto_init, as does all below. */
unsigned kt_aead_methods(void);

/* A method with a key, about 2 KiB of ordinary memory: its keys live as long as an association, and the pool of locked
 * memory would not hold those of many. Owned by the caller, who frees it. */
struct kt_aead;

/* 0, KT_ENOMEM or KT_ENOTSUP (libgcrypt lacks the method, or may not use it). */
int kt_aead_new(struct kt_aead **out, enum kt_aead_method method, const uint8_t key[KT_AEAD_KEY]);
/* Changes the key, without allocating. */
void kt_aead_rekey(struct kt_aead *a, const uint8_t key[KT_AEAD_KEY]);
/* Wipes the key. NULL is harmless. */
void kt_aead_free(struct kt_aead *a);

/* Seals n bytes in place, and writes the tag to data + n. ad: additional data, which overlaps nothing. */
void kt_aead_seal(struct kt_aead *a, const uint8_t nonce[KT_AEAD_NONCE], const uint8_t *ad, size_t ad_len,
    uint8_t *data, size_t n);
/* Opens n bytes in place, with the tag at data + n. 0 or KT_EAUTH, after which data is garbage. */
int kt_aead_open(struct kt_aead *a, const uint8_t nonce[KT_AEAD_NONCE], const uint8_t *ad, size_t ad_len,
    uint8_t *data, size_t n);

#endif
