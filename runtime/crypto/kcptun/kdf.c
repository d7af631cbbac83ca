/* kcptun's key derivation on libgcrypt: every key on kcptun's wire comes from PBKDF2-HMAC-SHA1. */
#include <gcrypt.h>
#include <string.h>
#include "crypto/crypto.h"
#include "crypto/kcptun/kdf.h"

int kt_pbkdf2_sha1(const void *password, size_t password_len, const char *salt, unsigned iterations,
    uint8_t *out, size_t out_len)
{
    /* libgcrypt takes an empty password but not a null pointer. */
    return kt_err_from_gcrypt(gcry_kdf_derive(password_len ? password : "", password_len, GCRY_KDF_PBKDF2,
        GCRY_MD_SHA1, salt, strlen(salt), iterations, out_len, out));
}

int kt_kdf_pass(const void *key, size_t key_len, uint8_t pass[32])
{
    return kt_pbkdf2_sha1(key, key_len, "kcp-go", 4096, pass, 32);
}
