/* The end-to-end layer on libsodium's secretstream; secretstream.h describes the framing.
 *
 * Invariant: the receiver trusts only the key. It checks a frame's length before it waits for the frame, the
 * length is bound into the frame's tag, and the first error of any kind ends the direction for good. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "crypto/secretstream_internal.h"

#define LENGTH 2u /* bytes of a frame's length field */
#define EXTRA ((unsigned)crypto_secretstream_xchacha20poly1305_ABYTES)
#define TAG_MESSAGE crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
#define TAG_REKEY crypto_secretstream_xchacha20poly1305_TAG_REKEY
#define TAG_FINAL crypto_secretstream_xchacha20poly1305_TAG_FINAL

_Static_assert(
    KT_SECRETSTREAM_KEY == crypto_secretstream_xchacha20poly1305_KEYBYTES, "secretstream.h has it");
_Static_assert(
    KT_SECRETSTREAM_HEADER == crypto_secretstream_xchacha20poly1305_HEADERBYTES, "secretstream.h has it");
_Static_assert(
    KT_SECRETSTREAM_FRAME_MAX == 2 + KT_SECRETSTREAM_TEXT_MAX + crypto_secretstream_xchacha20poly1305_ABYTES,
    "secretstream.h has it");

void kt_secretstream_key(const uint8_t pass[32], bool client_to_server, uint8_t out[KT_SECRETSTREAM_KEY])
{
    static const uint8_t personal[crypto_generichash_blake2b_PERSONALBYTES] = "kt tuncrypt";
    static const uint8_t salt[crypto_generichash_blake2b_SALTBYTES] = {0};
    const char *direction = client_to_server ? "c2s" : "s2c";
    crypto_generichash_blake2b_salt_personal(
        out, KT_SECRETSTREAM_KEY, (const uint8_t *)direction, 3, pass, 32, salt, personal);
}

/* --- sending --- */

struct kt_secretstream_tx {
    crypto_secretstream_xchacha20poly1305_state state;
    bool done; /* the final message was sealed */
};

int kt_secretstream_tx_new(struct kt_secretstream_tx **out, const uint8_t key[KT_SECRETSTREAM_KEY],
    const uint8_t header[KT_SECRETSTREAM_HEADER])
{
    struct kt_secretstream_tx *t = calloc(1, sizeof *t);
    if (!t) return KT_ENOMEM;
    /* Not init_push, which draws the header itself; otherwise both ends start in the same state. */
    crypto_secretstream_xchacha20poly1305_init_pull(&t->state, header, key);
    *out = t;
    return 0;
}

void kt_secretstream_tx_free(struct kt_secretstream_tx *t)
{
    if (!t) return;
    sodium_memzero(t, sizeof *t);
    free(t);
}

size_t kt_secretstream_seal_tagged(
    struct kt_secretstream_tx *t, const uint8_t *text, size_t n, uint8_t tag, uint8_t *out)
{
    size_t sealed = n + EXTRA;
    kt_put16(out, (uint32_t)sealed);
    crypto_secretstream_xchacha20poly1305_push(
        &t->state, out + LENGTH, NULL, n ? text : out, n, out, LENGTH, tag);
    return LENGTH + sealed;
}

size_t kt_secretstream_seal(
    struct kt_secretstream_tx *t, const uint8_t *text, size_t n, bool final, uint8_t *out)
{
    if (t->done || n > KT_SECRETSTREAM_TEXT_MAX || (n == 0 && !final)) return 0;
    t->done = final;
    return kt_secretstream_seal_tagged(t, text, n, final ? TAG_FINAL : TAG_MESSAGE, out);
}

/* --- receiving --- */

enum stage { WANT_HEADER, WANT_LENGTH, WANT_MESSAGE, FINISHED, DEAD };

struct kt_secretstream_rx {
    crypto_secretstream_xchacha20poly1305_state state;
    uint8_t key[KT_SECRETSTREAM_KEY]; /* wiped once the header has arrived */
    enum stage stage;
    int error;   /* why the direction is DEAD */
    size_t want; /* size of the current piece: header, length field or sealed message */
    size_t have; /* bytes of it in `piece` */
    uint8_t length[LENGTH];
    uint8_t piece[KT_SECRETSTREAM_TEXT_MAX + EXTRA];
    uint8_t text[KT_SECRETSTREAM_TEXT_MAX];
};

int kt_secretstream_rx_new(struct kt_secretstream_rx **out, const uint8_t key[KT_SECRETSTREAM_KEY])
{
    struct kt_secretstream_rx *r = calloc(1, sizeof *r);
    if (!r) return KT_ENOMEM;
    memcpy(r->key, key, sizeof r->key);
    r->stage = WANT_HEADER;
    r->want = KT_SECRETSTREAM_HEADER;
    *out = r;
    return 0;
}

void kt_secretstream_rx_free(struct kt_secretstream_rx *r)
{
    if (!r) return;
    sodium_memzero(r, sizeof *r);
    free(r);
}

static int die(struct kt_secretstream_rx *r, int error)
{
    sodium_memzero(&r->state, sizeof r->state);
    sodium_memzero(r->key, sizeof r->key);
    r->stage = DEAD;
    r->error = error;
    return error;
}

static void await(struct kt_secretstream_rx *r, enum stage stage, size_t want)
{
    r->stage = stage;
    r->want = want;
    r->have = 0;
}

/* The current piece once it is complete, else NULL. It points into the input if all of it is there, and to the
 * gathered copy otherwise. */
static const uint8_t *take(struct kt_secretstream_rx *r, const uint8_t *data, size_t n, size_t *used)
{
    size_t missing = r->want - r->have;
    if (r->have == 0 && n - *used >= missing) {
        const uint8_t *p = data + *used;
        *used += missing;
        return p;
    }
    size_t now = n - *used < missing ? n - *used : missing;
    if (now) memcpy(r->piece + r->have, data + *used, now);
    r->have += now;
    *used += now;
    return r->have == r->want ? r->piece : NULL;
}

static int open_message(
    struct kt_secretstream_rx *r, const uint8_t *sealed, const uint8_t **text, bool *final)
{
    unsigned long long n = 0;
    uint8_t tag = 0;
    if (crypto_secretstream_xchacha20poly1305_pull(
            &r->state, r->text, &n, &tag, sealed, r->want, r->length, LENGTH) != 0)
        return die(r, KT_EAUTH);
    /* A rekey needs no action: libsodium has done it. */
    if (tag != TAG_MESSAGE && tag != TAG_REKEY && tag != TAG_FINAL) return die(r, KT_EPROTO);
    /* Only the final message may be empty; otherwise a peer could keep us busy for nothing. */
    if (n == 0 && tag != TAG_FINAL) return die(r, KT_EPROTO);
    if (tag == TAG_FINAL) {
        sodium_memzero(&r->state, sizeof r->state);
        await(r, FINISHED, 0);
        *final = true;
    } else {
        await(r, WANT_LENGTH, LENGTH);
    }
    *text = r->text;
    return (int)n;
}

int kt_secretstream_open(struct kt_secretstream_rx *r, const uint8_t *data, size_t n, size_t *used,
    const uint8_t **text, bool *final)
{
    *used = 0;
    *text = NULL;
    *final = false;
    if (r->stage == DEAD) return r->error;
    if (r->stage == FINISHED) return n ? die(r, KT_EPROTO) : 0;
    for (;;) {
        const uint8_t *piece = take(r, data, n, used);
        if (!piece) return 0;
        switch (r->stage) {
        case WANT_HEADER:
            crypto_secretstream_xchacha20poly1305_init_pull(&r->state, piece, r->key);
            sodium_memzero(r->key, sizeof r->key);
            await(r, WANT_LENGTH, LENGTH);
            break;
        case WANT_LENGTH: {
            size_t length = kt_get16(piece);
            memcpy(r->length, piece, LENGTH);
            if (length < EXTRA || length > KT_SECRETSTREAM_TEXT_MAX + EXTRA) return die(r, KT_EPROTO);
            await(r, WANT_MESSAGE, length);
            break;
        }
        default:
            return open_message(r, piece, text, final);
        }
    }
}
