/* A thin wrapper around libsodium, so that nothing outside this room includes its header; SHA-1 comes from libgcrypt.
 * Intermediate keys are wiped. */
#include "crypto/primitives.h"
#include <assert.h>
#include <gcrypt.h>
#include <sodium.h>
#include <string.h>
#include "base/err.h"

/* ---- hashes and MACs ---- */

void kt_blake2b(uint8_t *out, size_t size, struct kt_bytes key, struct kt_bytes data)
{
    assert(size >= KT_BLAKE2B_MIN && size <= KT_BLAKE2B_MAX && key.len <= KT_BLAKE2B_MAX);
    crypto_generichash(out, size, data.data, data.len, key.len ? key.data : NULL, key.len);
}

#define SHA1_BYTES 20u

size_t kt_sha_size(enum kt_sha sha)
{
    if (sha == KT_SHA1) return SHA1_BYTES;
    return sha == KT_SHA256 ? crypto_hash_sha256_BYTES : crypto_hash_sha512_BYTES;
}

/* RFC 2104, in place of gcry_md_hash_buffers with GCRY_MD_FLAG_HMAC, which may run out of memory. */
static void hmac_sha1(uint8_t *out, struct kt_bytes key, struct kt_bytes data)
{
    enum { BLOCK = 64 };
    uint8_t pad[BLOCK] = {0}, inner[SHA1_BYTES];
    gcry_buffer_t parts[2] = {{.data = pad, .len = BLOCK}};
    if (key.len > BLOCK)
        gcry_md_hash_buffer(GCRY_MD_SHA1, pad, key.data, key.len);
    else if (key.len)
        memcpy(pad, key.data, key.len);
    for (size_t i = 0; i < BLOCK; i++) pad[i] ^= 0x36;
    parts[1] = (gcry_buffer_t){.data = (void *)(uintptr_t)data.data, .len = data.len};
    gcry_md_hash_buffers(GCRY_MD_SHA1, 0, inner, parts, 2);
    for (size_t i = 0; i < BLOCK; i++) pad[i] ^= 0x36 ^ 0x5c;
    parts[1] = (gcry_buffer_t){.data = inner, .len = sizeof inner};
    gcry_md_hash_buffers(GCRY_MD_SHA1, 0, out, parts, 2);
    sodium_memzero(pad, sizeof pad);
    sodium_memzero(inner, sizeof inner);
}

void kt_sha(enum kt_sha sha, uint8_t *out, struct kt_bytes data)
{
    if (sha == KT_SHA1)
        gcry_md_hash_buffer(GCRY_MD_SHA1, out, data.data, data.len);
    else if (sha == KT_SHA256)
        crypto_hash_sha256(out, data.data, data.len);
    else
        crypto_hash_sha512(out, data.data, data.len);
}

void kt_hmac(enum kt_sha sha, uint8_t *out, struct kt_bytes key, struct kt_bytes data)
{
    if (sha == KT_SHA1) {
        hmac_sha1(out, key, data);
    } else if (sha == KT_SHA256) {
        crypto_auth_hmacsha256_state st;
        crypto_auth_hmacsha256_init(&st, key.data, key.len);
        crypto_auth_hmacsha256_update(&st, data.data, data.len);
        crypto_auth_hmacsha256_final(&st, out);
        sodium_memzero(&st, sizeof st);
    } else {
        crypto_auth_hmacsha512_state st;
        crypto_auth_hmacsha512_init(&st, key.data, key.len);
        crypto_auth_hmacsha512_update(&st, data.data, data.len);
        crypto_auth_hmacsha512_final(&st, out);
        sodium_memzero(&st, sizeof st);
    }
}

/* ---- XChaCha20-Poly1305 ---- */

void kt_xchacha_seal(uint8_t *out, const uint8_t key[KT_XCHACHA_KEY], const uint8_t nonce[KT_XCHACHA_NONCE],
    struct kt_bytes ad, struct kt_bytes data)
{
    crypto_aead_xchacha20poly1305_ietf_encrypt(
        out, NULL, data.data, data.len, ad.data, ad.len, NULL, nonce, key);
}

int kt_xchacha_open(uint8_t *out, const uint8_t key[KT_XCHACHA_KEY], const uint8_t nonce[KT_XCHACHA_NONCE],
    struct kt_bytes ad, struct kt_bytes sealed)
{
    return crypto_aead_xchacha20poly1305_ietf_decrypt(
               out, NULL, NULL, sealed.data, sealed.len, ad.data, ad.len, nonce, key)
               ? KT_EAUTH
               : 0;
}

/* ---- Ed25519 ---- */

void kt_sign_public(const uint8_t key[KT_SIGN_KEY], uint8_t public_key[KT_SIGN_KEY])
{
    uint8_t both[crypto_sign_SECRETKEYBYTES];
    crypto_sign_seed_keypair(public_key, both, key);
    sodium_memzero(both, sizeof both);
}

void kt_sign(uint8_t out[KT_SIGNATURE], const uint8_t key[KT_SIGN_KEY], struct kt_bytes data)
{
    uint8_t both[crypto_sign_SECRETKEYBYTES], public_key[KT_SIGN_KEY];
    crypto_sign_seed_keypair(public_key, both, key);
    crypto_sign_detached(out, NULL, data.data, data.len, both);
    sodium_memzero(both, sizeof both);
}

bool kt_verify(
    const uint8_t public_key[KT_SIGN_KEY], struct kt_bytes data, const uint8_t signature[KT_SIGNATURE])
{
    return crypto_sign_verify_detached(signature, data.data, data.len, public_key) == 0;
}

/* ---- boxes ---- */

void kt_box_public(const uint8_t key[KT_BOX_KEY], uint8_t public_key[KT_BOX_KEY])
{
    crypto_scalarmult_base(public_key, key);
}

int kt_box_seal(uint8_t *out, const uint8_t key[KT_BOX_KEY], const uint8_t peer[KT_BOX_KEY],
    const uint8_t nonce[KT_BOX_NONCE], struct kt_bytes data)
{
    return crypto_box_easy(out, data.data, data.len, nonce, peer, key) ? KT_EAUTH : 0;
}

int kt_box_open(uint8_t *out, const uint8_t key[KT_BOX_KEY], const uint8_t peer[KT_BOX_KEY],
    const uint8_t nonce[KT_BOX_NONCE], struct kt_bytes sealed)
{
    return crypto_box_open_easy(out, sealed.data, sealed.len, nonce, peer, key) ? KT_EAUTH : 0;
}

/* ---- Argon2id ---- */

int kt_argon2id(uint8_t *out, size_t size, struct kt_bytes password, const uint8_t salt[KT_ARGON2_SALT],
    unsigned passes, size_t memory)
{
    return crypto_pwhash(out, size, password.len ? password.data : "", password.len, salt, passes, memory,
               crypto_pwhash_ALG_ARGON2ID13)
               ? KT_ENOMEM
               : 0;
}

/* ---- texts ---- */

static int variant(enum kt_encoding kind)
{
    return kind == KT_ENCODING_BASE64 ? sodium_base64_VARIANT_ORIGINAL
                                      : sodium_base64_VARIANT_URLSAFE_NO_PADDING;
}

size_t kt_encoded_size(enum kt_encoding kind, size_t n)
{
    return kind == KT_ENCODING_HEX ? 2 * n + 1 : sodium_base64_encoded_len(n, variant(kind));
}

void kt_encode(enum kt_encoding kind, char *out, struct kt_bytes data)
{
    const size_t size = kt_encoded_size(kind, data.len);
    if (kind == KT_ENCODING_HEX)
        sodium_bin2hex(out, size, data.data, data.len);
    else
        sodium_bin2base64(out, size, data.data, data.len, variant(kind));
}

int kt_decode(enum kt_encoding kind, uint8_t *out, struct kt_bytes text, size_t *len)
{
    /* libsodium 1.0.18 takes bytes above 127 for letters of base64. */
    uint8_t all = 0;
    for (size_t i = 0; i < text.len; i++) all |= ((const uint8_t *)text.data)[i];
    if (all > 127) return KT_EINVAL;
    /* Without `end`, anything after the last valid byte is an error. */
    const int rc =
        kind == KT_ENCODING_HEX
            ? sodium_hex2bin(out, text.len, text.data, text.len, NULL, len, NULL)
            : sodium_base642bin(out, text.len, text.data, text.len, NULL, len, NULL, variant(kind));
    return rc ? KT_EINVAL : 0;
}
