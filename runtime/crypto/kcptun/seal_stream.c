/* The methods that are not block ciphers: salsa20 and xor (wire-kcptun.md 4.3, 4.4). */
#include <sodium.h>
#include <string.h>
#include "crypto/kcptun/kdf.h"
#include "crypto/kcptun/seal_method.h"

static int salsa20_start(struct kt_seal *s, const uint8_t pass[32])
{
    memcpy(s->key.salsa20, pass, sizeof s->key.salsa20);
    return 0;
}

/* The first 8 bytes of the datagram are the cipher's nonce and stay in clear. */
static void salsa20_encrypt(struct kt_seal *s, uint8_t *pkt, size_t len)
{
    enum { CLEAR = crypto_stream_salsa20_NONCEBYTES };
    crypto_stream_salsa20_xor(pkt + CLEAR, pkt + CLEAR, len - CLEAR, pkt, s->key.salsa20);
}

static int salsa20_decrypt(struct kt_seal *s, uint8_t *pkt, size_t len)
{
    salsa20_encrypt(s, pkt, len);
    return 0;
}

const struct kt_cipher kt_cipher_salsa20 = {
    .start = salsa20_start, .encrypt = salsa20_encrypt, .decrypt = salsa20_decrypt};

static int xor_start(struct kt_seal *s, const uint8_t pass[32])
{
    return kt_pbkdf2_sha1(pass, 32, "sH3CIVoF#rWLtJo6", 32, s->key.xor_pad, sizeof s->key.xor_pad);
}

static void xor_encrypt(struct kt_seal *s, uint8_t *pkt, size_t len)
{
    const uint8_t *pad = s->key.xor_pad;
    size_t n = len < KT_XOR_PAD_LEN ? len : KT_XOR_PAD_LEN, i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t a, b;
        memcpy(&a, pkt + i, 8);
        memcpy(&b, pad + i, 8);
        a ^= b;
        memcpy(pkt + i, &a, 8);
    }
    for (; i < n; i++) pkt[i] ^= pad[i];
}

static int xor_decrypt(struct kt_seal *s, uint8_t *pkt, size_t len)
{
    xor_encrypt(s, pkt, len);
    return 0;
}

const struct kt_cipher kt_cipher_xor = {.start = xor_start, .encrypt = xor_encrypt, .decrypt = xor_decrypt};
