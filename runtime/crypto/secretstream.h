/* The end-to-end layer inside a stream (--tuncrypt): libsodium's secretstream (XChaCha20-Poly1305), keyed
 * from the tunnel's key, for kt on both ends. It protects what kcptun's own sealing does not: each stream
 * direction is authenticated, ordered, and complete.
 *
 * Framing, per direction: a 24-byte secretstream header, then messages: length (2 bytes, little endian, of
 * the sealed message, 17..16401), sealed message (17 bytes more than its text). The length is bound as
 * additional data. Tags are MESSAGE, REKEY (accepted, not sent) and FINAL, which ends the direction; only a
 * final message may be empty. A direction that ends without FINAL was cut short: telling that is the
 * caller's, who sees the end. */
#ifndef KT_CRYPTO_SECRETSTREAM_H
#define KT_CRYPTO_SECRETSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

#define KT_SECRET_KEY 32u
#define KT_SECRET_HEADER 24u
#define KT_SECRET_TEXT_MAX 16384u                                 /* plaintext of one message */
#define KT_SECRETSTREAM_FRAME_MAX (2u + KT_SECRET_TEXT_MAX + 17u) /* one sealed message on the wire */

/* The key for one direction: BLAKE2b(key = pass, personalised "kt tuncrypt", input = "c2s" or "s2c"). */
void kt_secret_key(const uint8_t pass[32], bool client_to_server, uint8_t out[KT_SECRET_KEY]);

struct kt_secretstream_tx;
struct kt_secretstream_rx;

/* header: KT_SECRET_HEADER random bytes, drawn by the caller (all chance comes through the I/O seam), to be
 * sent first. Never the same twice with one key. */
int kt_secretstream_tx_new(struct kt_secretstream_tx **out, const uint8_t key[KT_SECRET_KEY],
    const uint8_t header[KT_SECRET_HEADER]);
void kt_secretstream_tx_free(struct kt_secretstream_tx *t);
/* Seals n (0..KT_SECRET_TEXT_MAX; 0 only with final) bytes into out (KT_SECRETSTREAM_FRAME_MAX); returns the
 * frame's length, or 0 for a wrong n or after the final message. */
size_t kt_secretstream_seal(
    struct kt_secretstream_tx *t, const uint8_t *text, size_t n, bool final, uint8_t *out);

int kt_secretstream_rx_new(struct kt_secretstream_rx **out, const uint8_t key[KT_SECRET_KEY]);
void kt_secretstream_rx_free(struct kt_secretstream_rx *r);
/* Feeds wire bytes: takes up to one message at a time. *used: bytes taken. Returns the length of the text now
 * in *text (valid until the next call; 0 without *final: more bytes are needed, and all of these were taken),
 * or an error, after which the direction is dead and every call gives the same. *final: this was the last
 * message; its text may be empty. KT_EAUTH: forged, reordered, replayed or the wrong key. KT_EPROTO: a length
 * out of range (told before the message has come), an unknown tag, an empty message, bytes after the final
 * one. */
int kt_secretstream_open(struct kt_secretstream_rx *r, const uint8_t *data, size_t n, size_t *used,
    const uint8_t **text, bool *final);

#endif
