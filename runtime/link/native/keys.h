/* Keys of kt's own wire (docs/wire.md section 2): what is derived from what, and the connection ids, which are derived
 * too. Pure functions. */
#ifndef KT_LINK_NATIVE_KEYS_H
#define KT_LINK_NATIVE_KEYS_H

#include <stdbool.h>
#include <stdint.h>
#include "crypto/mask.h"

#define KT_NATIVE_KEY 32u  /* bytes of every key and secret but mask_key */
#define KT_NATIVE_CID 8u   /* bytes of a connection id */
#define KT_NATIVE_PATHS 8u /* of an association, numbered from 0 */

/* Made of the user's keys. They hide what is not encrypted, and let an end drop a stranger's datagram cheaply. */
struct kt_native_header_keys {
    uint8_t mask_key[KT_MASK_KEY];     /* masks headers */
    uint8_t header_key[KT_NATIVE_KEY]; /* masks the bodies of handshake datagrams, makes mac1, checks cids */
};

/* server_public: NULL in mode P. */
void kt_native_header_keys_derive(
    const uint8_t psk[KT_NATIVE_KEY], const uint8_t *server_public, struct kt_native_header_keys *out);

/* The key of packets in the epoch of a direction's secret, and the secret of the next epoch (out may be secret). */
void kt_native_packet_key(const uint8_t secret[KT_NATIVE_KEY], uint8_t out[KT_NATIVE_KEY]);
void kt_native_next_secret(const uint8_t secret[KT_NATIVE_KEY], uint8_t out[KT_NATIVE_KEY]);

/* The connection id of a path (0..KT_NATIVE_PATHS - 1) in the direction whose first secret this is. */
void kt_native_cid(const struct kt_native_header_keys *keys, const uint8_t first_secret[KT_NATIVE_KEY],
    unsigned path, uint8_t cid[KT_NATIVE_CID]);
/* Whether an end with these header keys made it. By chance one id in 2^24 passes. */
bool kt_native_cid_check(const struct kt_native_header_keys *keys, const uint8_t cid[KT_NATIVE_CID]);

#endif
