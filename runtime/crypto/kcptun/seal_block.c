/* The methods on libgcrypt's block ciphers: CFB with kcptun's constant IV, and AES-128-GCM (wire-kcptun.md 4.2, 4.7).
 *
 * A packet costs one setiv and one pass. CFB encryption is a chain of blocks and runs at the cipher's latency
 * (seal_batch.c shortens that for several packets). CFB decryption is parallel, and libgcrypt does it in SIMD
 * for the ciphers that have it. */
#include <string.h>
#include "crypto/crypto.h"
#include "crypto/kcptun/seal_method.h"

static int start(struct kt_seal *s, const uint8_t pass[32], int mode)
{
    gcry_cipher_hd_t h;
    gcry_error_t e = gcry_cipher_open(&h, s->method->algo, mode, GCRY_CIPHER_SECURE);
    if (e) e = gcry_cipher_open(&h, s->method->algo, mode, 0); /* the locked pool is full */
    if (e) return kt_err_from_gcrypt(e);
    /* The key is what PBKDF2 made of a password, and the peer uses it even if it is weak. libgcrypt still reports
     * a weak key when it is allowed, but sets it. */
    gcry_cipher_ctl(h, GCRYCTL_SET_ALLOW_WEAK_KEY, NULL, 1);
    e = gcry_cipher_setkey(h, pass, s->method->key_len);
    if (e && gcry_err_code(e) != GPG_ERR_WEAK_KEY) {
        gcry_cipher_close(h);
        return kt_err_from_gcrypt(e);
    }
    s->key.gcry = h;
    return 0;
}

static void stop(struct kt_seal *s)
{
    gcry_cipher_close(s->key.gcry); /* wipes the key schedule */
}

static int cfb_start(struct kt_seal *s, const uint8_t pass[32])
{
    return start(s, pass, GCRY_CIPHER_MODE_CFB);
}

static void cfb_encrypt(struct kt_seal *s, uint8_t *pkt, size_t len)
{
    kt_gcry_must(gcry_cipher_setiv(s->key.gcry, kt_cfb_iv, s->method->block_len));
    kt_gcry_must(gcry_cipher_encrypt(s->key.gcry, pkt, len, NULL, 0));
}

/* The receiver does not need the nonce, so decryption starts after it: in CFB the previous ciphertext block is
 * the only state. */
static int cfb_decrypt(struct kt_seal *s, uint8_t *pkt, size_t len)
{
    size_t skip = s->method->nonce, block = s->method->block_len;
    kt_gcry_must(gcry_cipher_setiv(s->key.gcry, pkt + skip - block, block));
    kt_gcry_must(gcry_cipher_decrypt(s->key.gcry, pkt + skip, len - skip, NULL, 0));
    return 0;
}

const struct kt_cipher kt_cipher_cfb = {.start = cfb_start,
    .stop = stop,
    .encrypt = cfb_encrypt,
    .encrypt_many = kt_cfb_encrypt_many,
    .decrypt = cfb_decrypt};

static int gcm_start(struct kt_seal *s, const uint8_t pass[32])
{
    return start(s, pass, GCRY_CIPHER_MODE_GCM);
}

static void gcm_encrypt(struct kt_seal *s, uint8_t *pkt, size_t len)
{
    size_t head = s->method->header, tag = s->method->trailer;
    kt_gcry_must(gcry_cipher_setiv(s->key.gcry, pkt, head));
    kt_gcry_must(gcry_cipher_encrypt(s->key.gcry, pkt + head, len - head - tag, NULL, 0));
    kt_gcry_must(gcry_cipher_gettag(s->key.gcry, pkt + len - tag, tag));
}

static int gcm_decrypt(struct kt_seal *s, uint8_t *pkt, size_t len)
{
    size_t head = s->method->header, tag = s->method->trailer;
    kt_gcry_must(gcry_cipher_setiv(s->key.gcry, pkt, head));
    kt_gcry_must(gcry_cipher_decrypt(s->key.gcry, pkt + head, len - head - tag, NULL, 0));
    return gcry_cipher_checktag(s->key.gcry, pkt + len - tag, tag) ? KT_EAUTH : 0; /* in constant time */
}

const struct kt_cipher kt_cipher_gcm = {
    .start = gcm_start, .stop = stop, .encrypt = gcm_encrypt, .decrypt = gcm_decrypt};
