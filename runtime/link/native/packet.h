/* Datagrams of kt's own wire: masked headers, and data packets sealed and opened in place (docs/wire.md section 3).
 * No I/O, no allocation per packet, one AEAD operation for each packet that comes in.
 *
 * Each direction has its own secret and its own epochs. A sender moves to the next epoch by itself, in
 * kt_native_seal; a receiver follows when a packet of the next epoch opens. */
#ifndef KT_LINK_NATIVE_PACKET_H
#define KT_LINK_NATIVE_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "crypto/aead.h"
#include "crypto/replay.h"
#include "link/native/drops.h"
#include "link/native/keys.h"

#define KT_NATIVE_HEADER 13u
#define KT_NATIVE_TAG 16u
#define KT_NATIVE_OVERHEAD (KT_NATIVE_HEADER + KT_NATIVE_TAG) /* of a data packet */
#define KT_NATIVE_DATAGRAM_MIN (KT_NATIVE_OVERHEAD + 1u)
#define KT_NATIVE_DATAGRAM_MAX 1500u

/* A sender moves to the next epoch after this many packets or bytes in one, or this long after the peer first
 * acknowledged a packet of it; never sooner than KT_NATIVE_EPOCH_MIN_US after that. */
#define KT_NATIVE_EPOCH_PACKETS (UINT64_C(1) << 26)
#define KT_NATIVE_EPOCH_BYTES (UINT64_C(1) << 36)
#define KT_NATIVE_EPOCH_US 600000000u
#define KT_NATIVE_EPOCH_MIN_US 10000000u
/* Most packets that are sealed in one epoch (RFC 9001 appendix B.1, for packets of at most 2^11 bytes). */
#define KT_NATIVE_EPOCH_PACKETS_MAX (UINT64_C(1) << 28)
/* How long a receiver opens packets of the previous epoch, from when it moved. Until then it takes the other phase for
 * the previous epoch, and after for the next. */
#define KT_NATIVE_PREVIOUS_US 3000000u

/* ---- headers ---- */

enum kt_native_kind { KT_NATIVE_DATA, KT_NATIVE_INITIATION, KT_NATIVE_RESPONSE, KT_NATIVE_CONTROL };

struct kt_native_header {
    enum kt_native_kind kind;
    bool phase;                /* data: the lowest bit of the epoch */
    uint8_t id[KT_NATIVE_CID]; /* data: the receiver's connection id; others: the handshake's id */
    uint32_t number;           /* data: the low 32 bits of the packet number */
    uint8_t bytes[KT_NATIVE_HEADER];
};

/* Reads the header of a datagram, which stays as it is. 0, or KT_EPROTO: it is not one of this wire and these keys,
 * by its length or by a field that is always 0. One random datagram in 128 passes, as data. */
int kt_native_peek(const struct kt_native_header_keys *keys, const uint8_t *dgram, size_t len,
    struct kt_native_header *header);

/* Makes a datagram of any other kind: `n` bytes of body at dgram + KT_NATIVE_HEADER get a header and mac1, and are
 * masked. Returns its length, n + KT_NATIVE_OVERHEAD; mac1 is its last KT_NATIVE_TAG bytes. */
size_t kt_native_wrap(const struct kt_native_header_keys *keys, enum kt_native_kind kind,
    const uint8_t id[KT_NATIVE_CID], uint8_t *dgram, size_t n);
/* Checks mac1 and unmasks the body, which then lies at dgram + KT_NATIVE_HEADER. `header` is what kt_native_peek
 * read, not of a data packet. Returns the body's length, at least 1; or KT_EAUTH, counted in drops, with dgram
 * unchanged. */
int kt_native_unwrap(const struct kt_native_header_keys *keys, const struct kt_native_header *header,
    uint8_t *dgram, size_t len, struct kt_native_drops *drops);

/* The packet number whose low 32 bits are `low`: the one nearest to `expected`, which is one above the highest number
 * received (RFC 9000 appendix A.3). */
uint64_t kt_native_number(uint64_t expected, uint32_t low);

/* ---- sending ---- */

/* Fields are packet.c's own, except epoch, which is for anyone to read. */
struct kt_native_tx {
    struct kt_aead *aead;
    const struct kt_native_header_keys *keys; /* not owned; outlives this */
    uint8_t secret[KT_NATIVE_KEY];
    uint8_t cids[KT_NATIVE_PATHS][KT_NATIVE_CID];
    uint64_t next[KT_NATIVE_PATHS];  /* the lowest packet number that was not used */
    uint64_t first[KT_NATIVE_PATHS]; /* `next`, when this epoch began */
    uint64_t packets, bytes;         /* sealed in this epoch */
    uint64_t confirmed_us;           /* when the peer first acknowledged a packet of it */
    bool confirmed;
    uint32_t epoch;
};

/* secret: the direction's first. 0, or as kt_aead_new. */
int kt_native_tx_init(struct kt_native_tx *tx, enum kt_aead_method method,
    const struct kt_native_header_keys *keys, const uint8_t secret[KT_NATIVE_KEY]);
/* Wipes it. Harmless on one that is all zero, or whose init failed. */
void kt_native_tx_free(struct kt_native_tx *tx);

/* Seals a packet in place: n bytes of frames at dgram + KT_NATIVE_HEADER become a datagram of n + KT_NATIVE_OVERHEAD
 * bytes at dgram. n: 1..KT_NATIVE_DATAGRAM_MAX - KT_NATIVE_OVERHEAD. number: higher than any before on this path
 * (asserted). Returns the datagram's length, or KT_ELIMIT: KT_NATIVE_EPOCH_PACKETS_MAX were sealed since the peer
 * last acknowledged any. */
int kt_native_seal(
    struct kt_native_tx *tx, unsigned path, uint64_t number, uint8_t *dgram, size_t n, uint64_t now_us);

/* The peer has acknowledged this packet. */
void kt_native_tx_acked(struct kt_native_tx *tx, unsigned path, uint64_t number, uint64_t now_us);

/* ---- receiving ---- */

/* Fields are packet.c's own, except epoch. */
struct kt_native_rx {
    struct kt_aead *aead;  /* of this epoch */
    struct kt_aead *other; /* of the previous epoch or the next one; NULL until there was either */
    enum kt_aead_method method;
    enum { KT_NATIVE_OTHER_NONE, KT_NATIVE_OTHER_PREVIOUS, KT_NATIVE_OTHER_NEXT } is;
    uint8_t secret[KT_NATIVE_KEY];
    uint64_t moved; /* µs, when this epoch began here */
    uint32_t epoch;
};

int kt_native_rx_init(
    struct kt_native_rx *rx, enum kt_aead_method method, const uint8_t secret[KT_NATIVE_KEY]);
void kt_native_rx_free(struct kt_native_rx *rx);

/* The path that a packet arrived on, by its connection id. */
struct kt_native_rx_path {
    unsigned number;
    struct kt_replay *seen; /* its packet numbers */
    struct kt_native_drops *drops;
};

/* Opens a data packet in place; `header` is what kt_native_peek read from it. Returns the length of its frames, at
 * least 1, which begin at dgram + KT_NATIVE_HEADER; *number is its packet number. Or an error, counted in drops, after
 * which nothing but dgram has changed: KT_EAUTH (replayed, old or forged), KT_ENOMEM. */
int kt_native_open(struct kt_native_rx *rx, const struct kt_native_rx_path *path,
    const struct kt_native_header *header, uint8_t *dgram, size_t len, uint64_t now_us, uint64_t *number);

#endif
