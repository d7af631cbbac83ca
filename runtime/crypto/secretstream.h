/* The end-to-end layer inside a stream (--tuncrypt), for kt at both ends: libsodium's secretstream
 * (XChaCha20-Poly1305), keyed from the tunnel's key. It adds what kcptun's own sealing lacks: each direction of
 * a stream is authenticated, ordered and complete.
 *
 * Framing, per direction: a 24-byte secretstream header, then messages. A message is a length (2 bytes, little
 * endian, 17..16401, of the sealed message) and the sealed message (17 bytes longer than its text). The length
 * is bound as additional data. Tags are MESSAGE, REKEY (accepted, never sent) and FINAL, which ends the
 * direction; only a final message may be empty. A direction that ends without FINAL was truncated; the caller,
 * who sees the end of the stream, has to detect that. */
#ifndef KT_CRYPTO_SECRETSTREAM_H
#define KT_CRYPTO_SECRETSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

#define KT_SECRETSTREAM_KEY 32u
#define KT_SECRETSTREAM_HEADER 24u
#define KT_SECRETSTREAM_TEXT_MAX 16384u /* most plaintext bytes in a message */
#define KT_SECRETSTREAM_FRAME_MAX (2u + KT_SECRETSTREAM_TEXT_MAX + 17u) /* size of the largest frame */

/* The key for one direction: BLAKE2b(key = pass, personalised "kt tuncrypt", input = "c2s" or "s2c"). */
void kt_secretstream_key(const uint8_t pass[32], bool client_to_server, uint8_t out[KT_SECRETSTREAM_KEY]);

struct kt_secretstream_tx;
struct kt_secretstream_rx;

/* header: KT_SECRETSTREAM_HEADER random bytes, which the caller draws through the I/O seam and sends first. Never use
 * the same header twice with one key. */
int kt_secretstream_tx_new(struct kt_secretstream_tx **out, const uint8_t key[KT_SECRETSTREAM_KEY],
    const uint8_t header[KT_SECRETSTREAM_HEADER]);
void kt_secretstream_tx_free(struct kt_secretstream_tx *t);
/* Seals n bytes (0..KT_SECRETSTREAM_TEXT_MAX; 0 only with final) into out (KT_SECRETSTREAM_FRAME_MAX bytes); returns
 * the frame's length, or 0 for an invalid n or after the final message. */
size_t kt_secretstream_seal(
    struct kt_secretstream_tx *t, const uint8_t *text, size_t n, bool final, uint8_t *out);

int kt_secretstream_rx_new(struct kt_secretstream_rx **out, const uint8_t key[KT_SECRETSTREAM_KEY]);
void kt_secretstream_rx_free(struct kt_secretstream_rx *r);
/* Feeds bytes from the wire and takes at most one message per call. *used: the bytes taken. Returns the length
 * of *text (valid until the next call), or an error, after which every call returns the same error. A length of
 * 0 without *final: all bytes were taken and more are needed. *final: this was the last message; its text may
 * be empty. KT_EAUTH: forged, reordered, replayed, or sealed with another key. KT_EPROTO: a length out of range
 * (reported before the message has arrived), an unknown tag, an empty message, or bytes after the final one. */
int kt_secretstream_open(struct kt_secretstream_rx *r, const uint8_t *data, size_t n, size_t *used,
    const uint8_t **text, bool *final);

#endif
