/* Initialises libsodium and libgcrypt. The process may already have initialised either; kt leaves it as it is. */
#include <gcrypt.h>
#include <sodium.h>
#include "crypto/crypto.h"

#define POOL 65536 /* bytes: about ten ciphers, at one per link */

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
        return kt_err_set(err, KT_ENOTSUP,
            "cannot initialise libsodium; check that the system has a source of random bytes");

    /* A program that loads kt as a module may have initialised libgcrypt before. */
    if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P)) return 0;
    if (!gcry_check_version("1.10.0"))
        return kt_err_set(
            err, KT_ENOTSUP, "expected libgcrypt 1.10 or later, got %s", gcry_check_version(NULL));
    /* libgcrypt keeps key schedules in its locked pool, or in ordinary memory once that is full. Without
     * DISABLE_SECMEM_WARN it prints a warning when RLIMIT_MEMLOCK prevents locking. */
    gcry_control(GCRYCTL_DISABLE_SECMEM_WARN);
    gcry_control(GCRYCTL_INIT_SECMEM, POOL, 0);
    gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
    return 0;
}
