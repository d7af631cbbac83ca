/* The key schedule: each key is a hash of another key and a label, so none leads back to its origin. */
#include "link/native/keys.h"
#include <string.h>
#include "crypto/hash.h"

#define UNIQUE 5u /* bytes of a cid that tell associations apart; the others are a check on them */

/* H(key, label || tail) */
static void derive(
    uint8_t out[KT_NATIVE_KEY], const uint8_t *key, const char *label, const uint8_t *tail, size_t len)
{
    kt_hash(out, key, label, strlen(label), tail, len);
}

void kt_native_header_keys_derive(
    const uint8_t psk[KT_NATIVE_KEY], const uint8_t *server_public, struct kt_native_header_keys *out)
{
    const size_t len = server_public ? KT_NATIVE_KEY : 0;
    uint8_t mask_key[KT_NATIVE_KEY];
    derive(out->header_key, psk, "kt wire 1 header", server_public, len);
    derive(mask_key, psk, "kt wire 1 mask", server_public, len);
    memcpy(out->mask_key, mask_key, sizeof out->mask_key);
    kt_wipe(mask_key, sizeof mask_key);
}

void kt_native_packet_key(const uint8_t secret[KT_NATIVE_KEY], uint8_t out[KT_NATIVE_KEY])
{
    derive(out, secret, "kt wire 1 key", NULL, 0);
}

void kt_native_next_secret(const uint8_t secret[KT_NATIVE_KEY], uint8_t out[KT_NATIVE_KEY])
{
    uint8_t next[KT_NATIVE_KEY];
    derive(next, secret, "kt wire 1 next", NULL, 0);
    memcpy(out, next, sizeof next);
    kt_wipe(next, sizeof next);
}

static void check_of(
    const struct kt_native_header_keys *keys, const uint8_t cid[UNIQUE], uint8_t out[KT_NATIVE_KEY])
{
    derive(out, keys->header_key, "kt wire 1 cid check", cid, UNIQUE);
}

void kt_native_cid(const struct kt_native_header_keys *keys, const uint8_t first_secret[KT_NATIVE_KEY],
    unsigned path, uint8_t cid[KT_NATIVE_CID])
{
    uint8_t hash[KT_NATIVE_KEY];
    const uint8_t p = (uint8_t)path;
    derive(hash, first_secret, "kt wire 1 cid", &p, 1);
    memcpy(cid, hash, UNIQUE);
    check_of(keys, cid, hash);
    memcpy(cid + UNIQUE, hash, KT_NATIVE_CID - UNIQUE);
}

bool kt_native_cid_check(const struct kt_native_header_keys *keys, const uint8_t cid[KT_NATIVE_CID])
{
    uint8_t hash[KT_NATIVE_KEY];
    check_of(keys, cid, hash);
    return kt_same_secret(cid + UNIQUE, hash, KT_NATIVE_CID - UNIQUE);
}
