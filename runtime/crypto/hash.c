/* BLAKE2b by libsodium. A hash is made of at most two parts, so that no caller copies them together first. */
#include "crypto/hash.h"
#include <sodium.h>

void kt_hash(
    uint8_t out[KT_HASH], const uint8_t *key, const void *a, size_t a_len, const void *b, size_t b_len)
{
    crypto_generichash_state st;
    crypto_generichash_init(&st, key, key ? KT_HASH : 0, KT_HASH);
    if (a_len) crypto_generichash_update(&st, a, a_len);
    if (b_len) crypto_generichash_update(&st, b, b_len);
    crypto_generichash_final(&st, out, KT_HASH);
    if (key) sodium_memzero(&st, sizeof st);
}

bool kt_same_secret(const void *a, const void *b, size_t n)
{
    return sodium_memcmp(a, b, n) == 0;
}

void kt_wipe(void *p, size_t n)
{
    sodium_memzero(p, n);
}
