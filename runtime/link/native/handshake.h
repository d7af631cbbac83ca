/* The handshake of kt's own wire (docs/wire.md section 4): what its two ends share. handshake_client.h and
 * handshake_server.h are the ends: bytes in, bytes out, without sockets; time and chance come from a kt_io. */
#ifndef KT_LINK_NATIVE_HANDSHAKE_H
#define KT_LINK_NATIVE_HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "crypto/aead.h"
#include "crypto/noise.h"
#include "link/native/keys.h"
#include "link/native/packet.h"
#include "link/native/params.h"

#define KT_NATIVE_VERSION 1u /* the only one known */
#define KT_NATIVE_INITIATION_MIN 1200u
#define KT_NATIVE_INITIATION_MAX 1232u /* fits IPv6's smallest MTU */
#define KT_NATIVE_RESPONSE_MAX 1024u
#define KT_NATIVE_COOKIE 16u
#define KT_NATIVE_CLOCK_MS 120000u /* how far the clocks may differ */

/* The keys of one end. Keep it in locked memory (crypto/locked.h) and wipe it after use. */
struct kt_native_secrets {
    bool pairs; /* mode K: each end has a key pair; else mode P, a shared key alone */
    uint8_t psk[KT_NATIVE_KEY];
    uint8_t own[KT_NATIVE_KEY], own_public[KT_NATIVE_KEY];
    uint8_t server_public[KT_NATIVE_KEY];
    struct kt_native_header_keys header_keys; /* derived */
};

void kt_native_secrets_shared(struct kt_native_secrets *s, const uint8_t psk[KT_NATIVE_KEY]);
/* psk: NULL if the ends do not also share a key. The client's: 0, or KT_ECONFIG for a public key of low order. */
int kt_native_secrets_client(struct kt_native_secrets *s, const uint8_t own[KT_NATIVE_KEY],
    const uint8_t server_public[KT_NATIVE_KEY], const uint8_t *psk, struct kt_err *err);
void kt_native_secrets_server(
    struct kt_native_secrets *s, const uint8_t own[KT_NATIVE_KEY], const uint8_t *psk);

/* The result of a handshake. Wipe it after use. */
struct kt_native_agreed {
    uint8_t version;
    enum kt_aead_method aead;
    uint8_t tx_secret[KT_NATIVE_KEY], rx_secret[KT_NATIVE_KEY]; /* the first of each direction */
    uint8_t peer_public[KT_NATIVE_KEY];                         /* mode K; else zero */
    uint64_t max_data;                                          /* that this end has announced */
    struct kt_native_params peer;
};

/* True if this control datagram is `unknown`: a server got a data packet whose connection id, `header->id`, it does not
 * know. Its mac1 is checked, and it is unmasked then. It is only a hint, since any holder of the header keys can forge
 * it. */
bool kt_native_is_unknown(const struct kt_native_header_keys *keys, const struct kt_native_header *header,
    uint8_t *dgram, size_t len, struct kt_native_drops *drops);

/* ---- for the two ends ---- */

/* First byte of a control datagram's body. */
enum { KT_NATIVE_CONTROL_COOKIE = 1, KT_NATIVE_CONTROL_UNKNOWN = 2 };
#define KT_NATIVE_COOKIE_BODY (1u + KT_NATIVE_COOKIE)
#define KT_NATIVE_UNKNOWN_BODY 9u /* the type, and random bytes that make each one look different */

void kt_native_noise_init(struct kt_noise *n, const struct kt_native_secrets *s, bool client);
enum kt_noise_pattern kt_native_pattern(const struct kt_native_secrets *s);
/* Sets the secrets and the peer's key, once both messages are through. */
void kt_native_agree(struct kt_native_agreed *a, const struct kt_noise *n, bool client);

#endif
