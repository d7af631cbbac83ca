/* Internal to crypto/: the one key derivation all of kcptun rests on. */
#ifndef KT_CRYPTO_KDF_H
#define KT_CRYPTO_KDF_H

#include <stddef.h>
#include <stdint.h>

/* PBKDF2-HMAC-SHA1 (RFC 8018, 5.2). The password may be empty. 0, KT_ENOMEM, or KT_ENOTSUP where libgcrypt
 * refuses (a host in FIPS mode does). */
int kt_pbkdf2_sha1(const void *password, size_t password_len, const char *salt, unsigned iterations,
    uint8_t *out, size_t out_len);

/* The KT_E… code for what a libgcrypt call returned; 0 for 0. */
int kt_err_from_gcrypt(unsigned gcrypt_error);

#endif
