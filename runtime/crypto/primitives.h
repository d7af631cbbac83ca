/* The primitives that scripts get as kt.crypto, by libsodium: hashes, MACs, an AEAD, signatures, boxes, Argon2id, and
 * texts for bytes. They check no length: callers do. Requires kt_crypto_init. */
#ifndef KT_CRYPTO_PRIMITIVES_H
#define KT_CRYPTO_PRIMITIVES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kt_bytes {
    const void *data; /* NULL only if len is 0 */
    size_t len;
};

/* ---- hashes and MACs ---- */

/* BLAKE2b (RFC 7693): 16 to 64 bytes of output and of a key. */
#define KT_BLAKE2B_MIN 16u
#define KT_BLAKE2B_MAX 64u
/* key.len 0: none. */
void kt_blake2b(uint8_t *out, size_t size, struct kt_bytes key, struct kt_bytes data);

/* SHA-2 and SHA-1 (FIPS 180-4). SHA-1, by libgcrypt, is for old protocols only: collisions are known. */
enum kt_sha { KT_SHA256, KT_SHA512, KT_SHA1 };
size_t kt_sha_size(enum kt_sha sha);
void kt_sha(enum kt_sha sha, uint8_t *out, struct kt_bytes data);
/* HMAC (RFC 2104) with a key of any length. */
void kt_hmac(enum kt_sha sha, uint8_t *out, struct kt_bytes key, struct kt_bytes data);

/* ---- XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) ---- */

#define KT_XCHACHA_KEY 32u
#define KT_XCHACHA_NONCE 24u /* long enough to be drawn at random */
#define KT_XCHACHA_TAG 16u

/* Writes data.len + KT_XCHACHA_TAG bytes. */
void kt_xchacha_seal(uint8_t *out, const uint8_t key[KT_XCHACHA_KEY], const uint8_t nonce[KT_XCHACHA_NONCE],
    struct kt_bytes ad, struct kt_bytes data);
/* Writes sealed.len - KT_XCHACHA_TAG bytes. 0 or KT_EAUTH, after which out is garbage. */
int kt_xchacha_open(uint8_t *out, const uint8_t key[KT_XCHACHA_KEY], const uint8_t nonce[KT_XCHACHA_NONCE],
    struct kt_bytes ad, struct kt_bytes sealed);

/* ---- Ed25519 (RFC 8032) ---- */

#define KT_SIGN_KEY 32u /* bytes of a private key (its seed) and of a public key */
#define KT_SIGNATURE 64u

void kt_sign_public(const uint8_t key[KT_SIGN_KEY], uint8_t public_key[KT_SIGN_KEY]);
/* Derives the public key each time: one that is passed in and does not match would give the private key away. */
void kt_sign(uint8_t out[KT_SIGNATURE], const uint8_t key[KT_SIGN_KEY], struct kt_bytes data);
bool kt_verify(
    const uint8_t public_key[KT_SIGN_KEY], struct kt_bytes data, const uint8_t signature[KT_SIGNATURE]);

/* ---- boxes: X25519 (RFC 7748) and XSalsa20-Poly1305, as NaCl's crypto_box ---- */

#define KT_BOX_KEY 32u
#define KT_BOX_NONCE 24u
#define KT_BOX_TAG 16u

void kt_box_public(const uint8_t key[KT_BOX_KEY], uint8_t public_key[KT_BOX_KEY]);
/* Writes data.len + KT_BOX_TAG bytes. 0, or KT_EAUTH: the public key is one that makes no secret. */
int kt_box_seal(uint8_t *out, const uint8_t key[KT_BOX_KEY], const uint8_t peer[KT_BOX_KEY],
    const uint8_t nonce[KT_BOX_NONCE], struct kt_bytes data);
/* Writes sealed.len - KT_BOX_TAG bytes. 0 or KT_EAUTH. */
int kt_box_open(uint8_t *out, const uint8_t key[KT_BOX_KEY], const uint8_t peer[KT_BOX_KEY],
    const uint8_t nonce[KT_BOX_NONCE], struct kt_bytes sealed);

/* ---- Argon2id (RFC 9106), version 1.3, one lane ---- */

#define KT_ARGON2_SALT 16u
#define KT_ARGON2_OUT_MIN 16u

/* memory: bytes, at least 8192. Takes about 0.03 s for each pass over 64 MiB. 0 or KT_ENOMEM. */
int kt_argon2id(uint8_t *out, size_t size, struct kt_bytes password, const uint8_t salt[KT_ARGON2_SALT],
    unsigned passes, size_t memory);

/* ---- texts for bytes (RFC 4648), in constant time ---- */

enum kt_encoding { KT_ENCODING_HEX, KT_ENCODING_BASE64, KT_ENCODING_BASE64URL };

/* Bytes that kt_encode writes, a NUL among them, for n bytes. */
size_t kt_encoded_size(enum kt_encoding kind, size_t n);
/* Lower-case hex; base64 with padding; base64url without. */
void kt_encode(enum kt_encoding kind, char *out, struct kt_bytes data);
/* Writes at most text.len bytes, *len of them. Only what kt_encode writes is accepted, and upper-case hex. 0 or
 * KT_EINVAL, after which out is garbage. */
int kt_decode(enum kt_encoding kind, uint8_t *out, struct kt_bytes text, size_t *len);

#endif
