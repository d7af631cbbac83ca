/* Starting the two libraries, and kcptun's key derivation (docs/wire-kcptun.md, section 3). */
#include <gcrypt.h>
#include <sodium.h>
#include <string.h>
#include "crypto/crypto.h"
#include "crypto/kdf.h"
#include "crypto/kcptun/seal.h"

#define POOL 65536 /* bytes: some ten ciphers; there is one a link */

int kt_err_from_gcrypt(unsigned gcrypt_error)
{
    switch (gcry_err_code(gcrypt_error)) {
    case GPG_ERR_NO_ERROR:
        return 0;
    case GPG_ERR_ENOMEM:
        return KT_ENOMEM;
    default:
        return KT_ENOTSUP;
    }
}

int kt_crypto_init(struct kt_err *err)
{
    if (sodium_init() < 0)
        return kt_err_set(err, KT_ENOTSUP, "libsodium does not start (no source of random bytes?)");

    /* Whoever loads kt as a module may have started libgcrypt before. */
    if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P)) return 0;
    if (!gcry_check_version("1.10.0"))
        return kt_err_set(
            err, KT_ENOTSUP, "libgcrypt is version %s, want 1.10 or later", gcry_check_version(NULL));
    /* Key schedules live in its locked pool as long as there is room, and else outside of it. It warns on
     * standard error where RLIMIT_MEMLOCK keeps it from locking. */
    gcry_control(GCRYCTL_DISABLE_SECMEM_WARN);
    gcry_control(GCRYCTL_INIT_SECMEM, POOL, 0);
    gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
    return 0;
}

int kt_pbkdf2_sha1(const void *password, size_t password_len, const char *salt, unsigned iterations,
    uint8_t *out, size_t out_len)
{
    /* An empty password is legal, a null pointer is not. */
    return kt_err_from_gcrypt(gcry_kdf_derive(password_len ? password : "", password_len, GCRY_KDF_PBKDF2,
        GCRY_MD_SHA1, salt, strlen(salt), iterations, out_len, out));
}

int kt_kcptun_pass(const void *key, size_t key_len, uint8_t pass[32])
{
    return kt_pbkdf2_sha1(key, key_len, "kcp-go", 4096, pass, 32);
}
