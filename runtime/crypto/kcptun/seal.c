/* kcptun's packet sealing: the table of methods and the layout they share (docs/wire-kcptun.md, section 4).
 *
 * Invariant: the CRC covers only the body; the cipher covers nonce, CRC and body. */
#include <isa-l/crc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "crypto/kcptun/seal_method.h"
#include "crypto/locked.h"

const uint8_t kt_cfb_iv[16] = {
    0xa7, 0x73, 0x4f, 0x9c, 0x12, 0xac, 0x1b, 0x01, 0xa4, 0x15, 0xf2, 0xc1, 0xfc, 0x78, 0xe6, 0x6b};

/* Name, then algorithm, key bytes, block bytes: the 20-byte header family on a block cipher in CFB mode. */
#define CFB(name, algo, key, block)                                                                          \
    {                                                                                                        \
        name, &kt_cipher_cfb, 16, 20, 0, algo, key, block                                                    \
    }
/* The same header, for ciphers that libgcrypt lacks. */
#define OWN(name, cipher)                                                                                    \
    {                                                                                                        \
        name, cipher, 16, 20, 0, 0, 0, 0                                                                     \
    }

static const struct kt_seal_method methods[] = {
    CFB("aes", GCRY_CIPHER_AES256, 32, 16),
    CFB("aes-192", GCRY_CIPHER_AES192, 24, 16),
    CFB("aes-128", GCRY_CIPHER_AES128, 16, 16),
    {"aes-128-gcm", &kt_cipher_gcm, 12, 12, 16, GCRY_CIPHER_AES128, 16, 16},
    CFB("sm4", GCRY_CIPHER_SM4, 16, 16),
    CFB("twofish", GCRY_CIPHER_TWOFISH, 32, 16),
    CFB("blowfish", GCRY_CIPHER_BLOWFISH, 32, 8),
    CFB("cast5", GCRY_CIPHER_CAST5, 16, 8),
    CFB("3des", GCRY_CIPHER_3DES, 24, 8),
    OWN("tea", &kt_cipher_tea),
    OWN("xtea", &kt_cipher_xtea),
    OWN("salsa20", &kt_cipher_salsa20),
    OWN("xor", &kt_cipher_xor),
    OWN("none", NULL),
    {"null", NULL, 0, 0, 0, 0, 0, 0},
};

const char *kt_seal_method_name(size_t i)
{
    return i < sizeof methods / sizeof *methods ? methods[i].name : NULL;
}

static const struct kt_seal_method *find(const char *name)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(methods[i].name, name) == 0) return &methods[i];
    return NULL;
}

/* A stream cipher lets single bits be changed, and so does a CRC, which is linear. With a block cipher in CFB
 * mode, a change of the body's CRC garbles the block behind it. */
const char *kt_seal_weakness(const char *method)
{
    static const struct {
        const char *name, *weakness;
    } weak[] = {
        {"salsa20", "does not authenticate: anyone who has seen a datagram can forge others"},
        {"xor", "is trivially broken: anyone who has seen a few datagrams can read and forge others"},
        {"none", "does not encrypt: anyone can read and forge datagrams"},
        {"null", "does not encrypt: anyone can read and forge datagrams"},
    };
    for (size_t i = 0; i < sizeof weak / sizeof *weak; i++)
        if (strcmp(weak[i].name, method) == 0) return weak[i].weakness;
    return NULL;
}

static int unknown(const char *method, struct kt_err *err)
{
    char names[160] = "";
    size_t at = 0;
    for (size_t i = 0; i < sizeof methods / sizeof *methods && at < sizeof names; i++)
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", i ? ", " : "", methods[i].name);
    return kt_err_set(err, KT_ECONFIG, "unknown crypt method \"%.40s\"; expected one of: %s", method, names);
}

int kt_seal_new(struct kt_seal **out, const char *method, const uint8_t pass[32], struct kt_err *err)
{
    const struct kt_seal_method *m = find(method);
    if (!m) return unknown(method, err);
    struct kt_seal *s = kt_locked_alloc(sizeof *s);
    if (!s) return kt_err_set(err, KT_ENOMEM, "out of memory for crypt method %s", m->name);
    s->method = m;
    int rc = m->cipher ? m->cipher->start(s, pass) : 0;
    if (rc < 0) {
        kt_locked_free(s);
        return kt_err_set(err, rc, "crypt method %s cannot be used here: %s", m->name,
            rc == KT_ENOTSUP ? "this host's libgcrypt refuses it" : kt_strerror(rc));
    }
    *out = s;
    return 0;
}

void kt_seal_free(struct kt_seal *s)
{
    if (!s) return;
    if (s->method->cipher && s->method->cipher->stop) s->method->cipher->stop(s);
    kt_locked_free(s);
}

size_t kt_seal_overhead(const struct kt_seal *s)
{
    return (size_t)s->method->header + s->method->trailer;
}

size_t kt_seal_header(const struct kt_seal *s)
{
    return s->method->header;
}

size_t kt_seal_nonce(const struct kt_seal *s)
{
    return s->method->nonce;
}

static bool has_crc(const struct kt_seal_method *m)
{
    return m->header > m->nonce;
}

/* crc32_gzip_refl is zlib's crc32: started with 0, inverts by itself. */
static void crc_of(const uint8_t *body, size_t n, uint8_t out[4])
{
    kt_put32(out, crc32_gzip_refl(0, body, n));
}

/* Puts the clear header before the body of len bytes; returns the datagram's length. */
static size_t lay_out(const struct kt_seal_method *m, uint8_t *pkt, size_t len, const uint8_t *nonce)
{
    if (m->nonce) memcpy(pkt, nonce, m->nonce);
    if (has_crc(m)) crc_of(pkt + m->header, len, pkt + KT_CRC_AT);
    return m->header + len + m->trailer;
}

size_t kt_seal_packet(struct kt_seal *s, uint8_t *pkt, size_t len, const uint8_t *nonce)
{
    size_t total = lay_out(s->method, pkt, len, nonce);
    if (s->method->cipher) s->method->cipher->encrypt(s, pkt, total);
    return total;
}

void kt_seal_packets(struct kt_seal *s, struct kt_seal_job *jobs, size_t n, const uint8_t *nonces)
{
    const struct kt_cipher *c = s->method->cipher;
    for (size_t i = 0; i < n; i++)
        jobs[i].len = lay_out(s->method, jobs[i].pkt, jobs[i].len, nonces + i * s->method->nonce);
    if (c && c->encrypt_many)
        c->encrypt_many(s, jobs, n);
    else
        for (size_t i = 0; c && i < n; i++) c->encrypt(s, jobs[i].pkt, jobs[i].len);
}

int kt_seal_open(struct kt_seal *s, uint8_t *pkt, size_t len, uint8_t **body, size_t *body_len)
{
    const struct kt_seal_method *m = s->method;
    if (len < kt_seal_overhead(s)) return KT_EAUTH;
    size_t n = len - kt_seal_overhead(s);
    if (m->cipher) {
        int rc = m->cipher->decrypt(s, pkt, len);
        if (rc < 0) return rc;
    }
    if (has_crc(m)) {
        uint8_t crc[4];
        crc_of(pkt + m->header, n, crc);
        if (memcmp(crc, pkt + KT_CRC_AT, sizeof crc) != 0) return KT_EAUTH;
    }
    *body = pkt + m->header;
    *body_len = n;
    return 0;
}
