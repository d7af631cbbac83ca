/* AEADs on libgcrypt: a struct kt_aead is one of its cipher handles under another name. */
#include "crypto/aead.h"
#include <gcrypt.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/crypto.h"

static gcry_cipher_hd_t handle(struct kt_aead *a)
{
    return (gcry_cipher_hd_t)(void *)a;
}

/* libgcrypt reports only misuse here; its output must not be sent then. */
static void must(gcry_error_t e)
{
    if (e) abort();
}

const char *kt_aead_name(enum kt_aead_method method)
{
    return method == KT_AEAD_AES_256_GCM ? "aes-256-gcm" : "chacha20-poly1305";
}

unsigned kt_aead_methods(void)
{
    /* AES and carry-less multiplication, by libgcrypt's names for them. */
    static const char *const pairs[][2] = {{":intel-aesni:", ":intel-pclmul:"}, {":arm-aes:", ":arm-pmull:"},
        {":ppc-vcrypto:", ":ppc-vcrypto:"}, {":s390x-msa-8:", ":s390x-msa-8:"}};
    unsigned methods = KT_AEAD_CHACHA20_POLY1305;
    char *have = gcry_get_config(0, "hwflist");
    if (!have) return methods;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (strstr(have, pairs[i][0]) && strstr(have, pairs[i][1])) methods |= KT_AEAD_AES_256_GCM;
    gcry_free(have);
    return methods;
}

int kt_aead_new(struct kt_aead **out, enum kt_aead_method method, const uint8_t key[KT_AEAD_KEY])
{
    gcry_cipher_hd_t h;
    const bool aes = method == KT_AEAD_AES_256_GCM;
    *out = NULL;
    gcry_error_t e = gcry_cipher_open(&h, aes ? GCRY_CIPHER_AES256 : GCRY_CIPHER_CHACHA20,
        aes ? GCRY_CIPHER_MODE_GCM : GCRY_CIPHER_MODE_POLY1305, 0);
    if (e) return kt_err_from_gcrypt(e);
    e = gcry_cipher_setkey(h, key, KT_AEAD_KEY);
    if (e) {
        gcry_cipher_close(h);
        return kt_err_from_gcrypt(e);
    }
    *out = (struct kt_aead *)(void *)h;
    return 0;
}

void kt_aead_rekey(struct kt_aead *a, const uint8_t key[KT_AEAD_KEY])
{
    must(gcry_cipher_setkey(handle(a), key, KT_AEAD_KEY));
}

void kt_aead_free(struct kt_aead *a)
{
    if (a) gcry_cipher_close(handle(a)); /* which wipes */
}

static gcry_cipher_hd_t begin(
    struct kt_aead *a, const uint8_t nonce[KT_AEAD_NONCE], const uint8_t *ad, size_t ad_len)
{
    gcry_cipher_hd_t h = handle(a);
    must(gcry_cipher_setiv(h, nonce, KT_AEAD_NONCE));
    must(gcry_cipher_authenticate(h, ad, ad_len));
    return h;
}

void kt_aead_seal(struct kt_aead *a, const uint8_t nonce[KT_AEAD_NONCE], const uint8_t *ad, size_t ad_len,
    uint8_t *data, size_t n)
{
    gcry_cipher_hd_t h = begin(a, nonce, ad, ad_len);
    must(gcry_cipher_encrypt(h, data, n, NULL, 0));
    must(gcry_cipher_gettag(h, data + n, KT_AEAD_TAG));
}

int kt_aead_open(struct kt_aead *a, const uint8_t nonce[KT_AEAD_NONCE], const uint8_t *ad, size_t ad_len,
    uint8_t *data, size_t n)
{
    gcry_cipher_hd_t h = begin(a, nonce, ad, ad_len);
    must(gcry_cipher_decrypt(h, data, n, NULL, 0));
    return gcry_cipher_checktag(h, data + n, KT_AEAD_TAG) ? KT_EAUTH : 0;
}
