/* kcptun's key derivation (docs/wire-kcptun.md, section 3). */
#ifndef KT_CRYPTO_KCPTUN_KDF_H
#define KT_CRYPTO_KCPTUN_KDF_H

#include <stddef.h>
#include <stdint.h>

/* The key that kcptun derives from the user's: PBKDF2-HMAC-SHA1(key, "kcp-go", 4096, 32). key may be empty and
 * may hold any bytes. 0, KT_ENOMEM, or KT_ENOTSUP if libgcrypt refuses (a host in FIPS mode does). */
int kt_kdf_pass(const void *key, size_t key_len, uint8_t pass[32]);

/* PBKDF2-HMAC-SHA1 (RFC 8018, 5.2), for the files of crypto/kcptun only. The password may be empty. Returns as
 * above. */
int kt_pbkdf2_sha1(const void *password, size_t password_len, const char *salt, unsigned iterations,
    uint8_t *out, size_t out_len);

#endif
