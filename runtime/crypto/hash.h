/* BLAKE2b as kt's own wire uses it (docs/wire.md), and two small things that secrets need: comparing in constant
 * time and wiping. */
#ifndef KT_CRYPTO_HASH_H
#define KT_CRYPTO_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KT_HASH 32u /* bytes of output, and of a key */

/* H(a || b), or H(key, a || b) if key is not NULL. A part of length 0 may be NULL. out may overlap neither. */
void kt_hash(
    uint8_t out[KT_HASH], const uint8_t *key, const void *a, size_t a_len, const void *b, size_t b_len);

/* Takes the same time wherever the two differ. */
bool kt_same_secret(const void *a, const void *b, size_t n);
/* Zeroes memory in a way that the compiler keeps. */
void kt_wipe(void *p, size_t n);

#endif
