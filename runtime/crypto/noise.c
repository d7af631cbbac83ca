/* Noise, revision 34, as sections 4 and 5 of the framework describe it: a symmetric state (ck, h and a cipher key),
 * and the messages of each pattern as lists of tokens that act on it. */
#include "crypto/noise.h"
#include <assert.h>
#include <sodium.h>
#include <string.h>
#include "base/bytes.h"

#define TAG crypto_aead_chacha20poly1305_ietf_ABYTES
#define HMAC_BLOCK 128u /* BLAKE2b's block, in bytes */

enum token { END, E, S, EE, ES, SE, SS, PSK };

struct pattern {
    const char *name;
    bool responder_known; /* its static key is known to the initiator beforehand */
    enum token messages[2][5];
};

static const struct pattern patterns[] = {
    [KT_NOISE_NNPSK0] = {"Noise_NNpsk0_25519_ChaChaPoly_BLAKE2b", false, {{PSK, E, END}, {E, EE, END}}},
    [KT_NOISE_IKPSK2] = {"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2b", true,
        {{E, ES, S, SS, END}, {E, EE, SE, PSK, END}}},
};

/* --- hashing --- */

static void hmac(uint8_t out[KT_NOISE_HASH], const uint8_t key[KT_NOISE_HASH], const void *a, size_t a_len,
    const void *b, size_t b_len)
{
    uint8_t pad[HMAC_BLOCK], inner[KT_NOISE_HASH];
    crypto_generichash_state st;
    for (size_t i = 0; i < HMAC_BLOCK; i++) pad[i] = (uint8_t)((i < KT_NOISE_HASH ? key[i] : 0) ^ 0x36);
    crypto_generichash_init(&st, NULL, 0, KT_NOISE_HASH);
    crypto_generichash_update(&st, pad, sizeof pad);
    if (a_len) crypto_generichash_update(&st, a, a_len);
    if (b_len) crypto_generichash_update(&st, b, b_len);
    crypto_generichash_final(&st, inner, sizeof inner);

    for (size_t i = 0; i < HMAC_BLOCK; i++) pad[i] ^= 0x36 ^ 0x5c;
    crypto_generichash_init(&st, NULL, 0, KT_NOISE_HASH);
    crypto_generichash_update(&st, pad, sizeof pad);
    crypto_generichash_update(&st, inner, sizeof inner);
    crypto_generichash_final(&st, out, KT_NOISE_HASH);
    sodium_memzero(pad, sizeof pad);
    sodium_memzero(inner, sizeof inner);
    sodium_memzero(&st, sizeof st);
}

/* HKDF with the chaining key: `count` (2 or 3) outputs. */
static void hkdf(const uint8_t ck[KT_NOISE_HASH], const uint8_t *input, size_t len,
    uint8_t out[][KT_NOISE_HASH], uint8_t count)
{
    uint8_t temp[KT_NOISE_HASH];
    hmac(temp, ck, input, len, NULL, 0);
    for (uint8_t i = 0; i < count; i++) {
        const uint8_t number = (uint8_t)(i + 1);
        hmac(out[i], temp, i ? out[i - 1] : NULL, i ? KT_NOISE_HASH : 0, &number, 1);
    }
    sodium_memzero(temp, sizeof temp);
}

/* --- the symmetric state --- */

static void mix_hash(struct kt_noise *n, const void *data, size_t len)
{
    crypto_generichash_state st;
    crypto_generichash_init(&st, NULL, 0, KT_NOISE_HASH);
    crypto_generichash_update(&st, n->h, sizeof n->h);
    if (len) crypto_generichash_update(&st, data, len);
    crypto_generichash_final(&st, n->h, sizeof n->h);
}

static void use_key(struct kt_noise *n, const uint8_t key[KT_NOISE_HASH])
{
    memcpy(n->k, key, sizeof n->k); /* a hash of 64 bytes is cut to a key's 32 */
    n->n = 0;
    n->has_key = true;
}

static void mix_key(struct kt_noise *n, const uint8_t input[KT_NOISE_KEY])
{
    uint8_t out[2][KT_NOISE_HASH];
    hkdf(n->ck, input, KT_NOISE_KEY, out, 2);
    memcpy(n->ck, out[0], sizeof n->ck);
    use_key(n, out[1]);
    sodium_memzero(out, sizeof out);
}

static void mix_psk(struct kt_noise *n)
{
    uint8_t out[3][KT_NOISE_HASH];
    hkdf(n->ck, n->psk, KT_NOISE_KEY, out, 3);
    memcpy(n->ck, out[0], sizeof n->ck);
    mix_hash(n, out[1], KT_NOISE_HASH);
    use_key(n, out[2]);
    sodium_memzero(out, sizeof out);
}

static void nonce_of(const struct kt_noise *n, uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES])
{
    memset(nonce, 0, 4);
    kt_put64(nonce + 4, n->n);
}

/* Both patterns have a key before anything is encrypted, so there is no case without one. */
static size_t encrypt_and_hash(struct kt_noise *n, const void *text, size_t len, uint8_t *out)
{
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
    assert(n->has_key);
    nonce_of(n, nonce);
    crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, text, len, n->h, sizeof n->h, NULL, nonce, n->k);
    n->n++;
    mix_hash(n, out, len + TAG);
    return len + TAG;
}

static bool decrypt_and_hash(struct kt_noise *n, const uint8_t *sealed, size_t len, uint8_t *out)
{
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
    assert(n->has_key && len >= TAG);
    nonce_of(n, nonce);
    if (crypto_aead_chacha20poly1305_ietf_decrypt(
            out, NULL, NULL, sealed, len, n->h, sizeof n->h, nonce, n->k))
        return false;
    n->n++;
    mix_hash(n, sealed, len);
    return true;
}

/* --- messages --- */

/* The tokens EE, ES, SE, SS and PSK, which are the same for writer and reader. False: the result is zero. */
static bool mix(struct kt_noise *n, enum token token)
{
    if (token == PSK) {
        mix_psk(n);
        return true;
    }
    /* The first letter is the initiator's key, the second the responder's. */
    const bool own_e = token == EE || token == (n->initiator ? ES : SE);
    const bool their_e = token == EE || token == (n->initiator ? SE : ES);
    uint8_t shared[KT_NOISE_KEY];
    const bool ok = crypto_scalarmult(shared, own_e ? n->e : n->s, their_e ? n->re : n->rs) == 0;
    if (ok) mix_key(n, shared);
    sodium_memzero(shared, sizeof shared);
    return ok;
}

void kt_noise_init(struct kt_noise *n, const struct kt_noise_opts *opts)
{
    const struct pattern *p = &patterns[opts->pattern];
    memset(n, 0, sizeof *n);
    n->pattern = (uint8_t)opts->pattern;
    n->initiator = opts->initiator;
    memcpy(n->psk, opts->psk, sizeof n->psk);
    if (opts->static_private) {
        memcpy(n->s, opts->static_private, sizeof n->s);
        memcpy(n->s_public, opts->static_public, sizeof n->s_public);
    }
    if (opts->remote_static) memcpy(n->rs, opts->remote_static, sizeof n->rs);
    assert(strlen(p->name) <= sizeof n->h);
    memcpy(n->h, p->name, strlen(p->name));
    memcpy(n->ck, n->h, sizeof n->ck);
    mix_hash(n, opts->prologue, opts->prologue_len);
    if (p->responder_known) mix_hash(n, n->initiator ? n->rs : n->s_public, KT_NOISE_KEY);
}

size_t kt_noise_overhead(enum kt_noise_pattern pattern, unsigned message)
{
    size_t n = TAG; /* the payload's */
    assert(message == 1 || message == 2);
    for (const enum token *t = patterns[pattern].messages[message - 1]; *t; t++)
        n += *t == E ? KT_NOISE_KEY : *t == S ? KT_NOISE_KEY + TAG : 0;
    return n;
}

int kt_noise_write(struct kt_noise *n, const uint8_t ephemeral[KT_NOISE_KEY], const void *payload,
    size_t payload_len, uint8_t *out)
{
    assert(n->messages == (n->initiator ? 0 : 1));
    assert(payload_len + kt_noise_overhead(n->pattern, n->messages + 1u) <= KT_NOISE_MESSAGE_MAX);
    size_t len = 0;
    memcpy(n->e, ephemeral, sizeof n->e);
    kt_noise_public(n->e, n->e_public);
    for (const enum token *t = patterns[n->pattern].messages[n->messages]; *t; t++) {
        if (*t == E) {
            memcpy(out + len, n->e_public, KT_NOISE_KEY);
            len += KT_NOISE_KEY;
            mix_hash(n, n->e_public, KT_NOISE_KEY);
            mix_key(n, n->e_public); /* as every pattern with a psk does */
        } else if (*t == S) {
            len += encrypt_and_hash(n, n->s_public, KT_NOISE_KEY, out + len);
        } else if (!mix(n, *t)) {
            return KT_EAUTH;
        }
    }
    len += encrypt_and_hash(n, payload, payload_len, out + len);
    n->messages++;
    return (int)len;
}

static int read_message(struct kt_noise *n, const uint8_t *message, size_t len, uint8_t *payload)
{
    for (const enum token *t = patterns[n->pattern].messages[n->messages]; *t; t++) {
        size_t used = 0;
        if (*t == E) {
            used = KT_NOISE_KEY;
            memcpy(n->re, message, KT_NOISE_KEY);
            mix_hash(n, n->re, KT_NOISE_KEY);
            mix_key(n, n->re);
        } else if (*t == S) {
            used = KT_NOISE_KEY + TAG;
            if (!decrypt_and_hash(n, message, used, n->rs)) return KT_EAUTH;
        } else if (!mix(n, *t)) {
            return KT_EAUTH;
        }
        message += used;
        len -= used;
    }
    if (!decrypt_and_hash(n, message, len, payload)) return KT_EAUTH;
    n->messages++;
    return (int)(len - TAG);
}

int kt_noise_read(struct kt_noise *n, const uint8_t *message, size_t len, uint8_t *payload)
{
    assert(n->messages == (n->initiator ? 1 : 0));
    if (len > KT_NOISE_MESSAGE_MAX || len < kt_noise_overhead(n->pattern, n->messages + 1u)) return KT_EAUTH;
    struct kt_noise after = *n;
    const int rc = read_message(&after, message, len, payload);
    if (rc >= 0) *n = after;
    sodium_memzero(&after, sizeof after);
    return rc;
}

void kt_noise_split(
    const struct kt_noise *n, uint8_t initiator[KT_NOISE_KEY], uint8_t responder[KT_NOISE_KEY])
{
    uint8_t out[2][KT_NOISE_HASH];
    assert(n->messages == 2);
    hkdf(n->ck, NULL, 0, out, 2);
    memcpy(initiator, out[0], KT_NOISE_KEY);
    memcpy(responder, out[1], KT_NOISE_KEY);
    sodium_memzero(out, sizeof out);
}

void kt_noise_wipe(struct kt_noise *n)
{
    sodium_memzero(n, sizeof *n);
}

void kt_noise_public(const uint8_t private_key[KT_NOISE_KEY], uint8_t public_key[KT_NOISE_KEY])
{
    crypto_scalarmult_base(public_key, private_key);
}

bool kt_noise_usable(const uint8_t public_key[KT_NOISE_KEY])
{
    static const uint8_t any[KT_NOISE_KEY] = {1};
    uint8_t shared[KT_NOISE_KEY];
    return crypto_scalarmult(shared, any, public_key) == 0;
}
