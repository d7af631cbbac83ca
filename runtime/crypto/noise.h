/* The Noise Protocol Framework (revision 34): the two handshakes that kt's own wire uses,
 * Noise_NNpsk0_25519_ChaChaPoly_BLAKE2b and Noise_IKpsk2_25519_ChaChaPoly_BLAKE2b. Both have two messages: the
 * initiator's, then the responder's. No allocation, no I/O; ephemeral keys come from the caller.
 *
 * A failed read leaves the handshake as it was, so that a forged message does not spoil it. */
#ifndef KT_CRYPTO_NOISE_H
#define KT_CRYPTO_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

#define KT_NOISE_KEY 32u
#define KT_NOISE_HASH 64u
#define KT_NOISE_OVERHEAD_MAX 96u  /* bytes that a message has besides its payload, at most */
#define KT_NOISE_MESSAGE_MAX 2048u /* longest message that is written or read */

enum kt_noise_pattern { KT_NOISE_NNPSK0, KT_NOISE_IKPSK2 };

struct kt_noise_opts {
    enum kt_noise_pattern pattern;
    bool initiator;
    const void *prologue;
    size_t prologue_len;
    const uint8_t *psk;            /* KT_NOISE_KEY bytes */
    const uint8_t *static_private; /* IKpsk2: this end's key. NULL in NNpsk0 */
    const uint8_t *static_public;  /* likewise, and it belongs to static_private */
    const uint8_t *remote_static;  /* IKpsk2, initiator: the responder's public key */
};

/* The state of one end. Fields are noise.c's own, except where said. Wipe it with kt_noise_wipe when it has
 * served. */
struct kt_noise {
    uint8_t h[KT_NOISE_HASH]; /* to be read by anyone: the handshake hash, once both messages are through */
    uint8_t ck[KT_NOISE_HASH];
    uint8_t k[KT_NOISE_KEY];
    uint64_t n; /* of k */
    bool has_key;
    bool initiator;
    uint8_t messages; /* that are through, 0..2 */
    uint8_t pattern;
    uint8_t psk[KT_NOISE_KEY];
    uint8_t s[KT_NOISE_KEY], s_public[KT_NOISE_KEY];
    uint8_t e[KT_NOISE_KEY], e_public[KT_NOISE_KEY];
    uint8_t rs[KT_NOISE_KEY]; /* to be read by anyone: the peer's static key, after message 1 of IKpsk2 */
    uint8_t re[KT_NOISE_KEY];
};

void kt_noise_init(struct kt_noise *n, const struct kt_noise_opts *opts);

/* Bytes that message 1 or 2 of a pattern has besides its payload. */
size_t kt_noise_overhead(enum kt_noise_pattern pattern, unsigned message);

/* Writes this end's next message, payload_len + kt_noise_overhead bytes and at most KT_NOISE_MESSAGE_MAX, to out,
 * which overlaps nothing. ephemeral: KT_NOISE_KEY fresh random bytes. Returns its length, or KT_EAUTH if a key
 * of the peer's is of low order (the shared secret is zero), after which the handshake is useless. */
int kt_noise_write(struct kt_noise *n, const uint8_t ephemeral[KT_NOISE_KEY], const void *payload,
    size_t payload_len, uint8_t *out);

/* Reads the peer's next message; payload gets its payload (len bytes are always enough) and overlaps nothing.
 * Returns the payload's length, or KT_EAUTH: too short or too long, forged, or with a key of low order. */
int kt_noise_read(struct kt_noise *n, const uint8_t *message, size_t len, uint8_t *payload);

/* After both messages: the keys of the two directions, the initiator's first. */
void kt_noise_split(
    const struct kt_noise *n, uint8_t initiator[KT_NOISE_KEY], uint8_t responder[KT_NOISE_KEY]);

void kt_noise_wipe(struct kt_noise *n);

/* The public key of a private one. Any 32 bytes are a private key. */
void kt_noise_public(const uint8_t private_key[KT_NOISE_KEY], uint8_t public_key[KT_NOISE_KEY]);

/* False for a public key of low order, with which every shared secret is zero. */
bool kt_noise_usable(const uint8_t public_key[KT_NOISE_KEY]);

#endif
