/* Sealing and opening datagrams with kcptun's methods (docs/wire-kcptun.md, sections 3 and 4). These are
 * kcptun's formats, with kcptun's weaknesses (wire-kcptun.md 4.9); the native wire has its own. */
#ifndef KT_CRYPTO_KCPTUN_SEAL_H
#define KT_CRYPTO_KCPTUN_SEAL_H

#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

#define KT_SEAL_MAX_NONCE 16u

struct kt_seal;

/* Method by its kcptun name; KT_ECONFIG with the list of names for an unknown one; KT_ENOMEM, KT_ENOTSUP.
 * pass as from kt_kdf_pass. *out is freed with kt_seal_free, which wipes the key. One sealer serves both
 * directions and any number of peers, one packet at a time. */
int kt_seal_new(struct kt_seal **out, const char *method, const uint8_t pass[32], struct kt_err *err);
void kt_seal_free(struct kt_seal *s);

/* The attack that remains possible for someone who sees datagrams, as the predicate of a log line; NULL if no
 * weakness is known, or the method is unknown. Static storage. */
const char *kt_seal_weakness(const char *method);

/* The name of method i, in the order of the spec's table; NULL past the last one. Static storage. */
const char *kt_seal_method_name(size_t i);

/* Bytes added to a datagram (0, 20 or 28), bytes before the body (0, 20 or 12), and random bytes needed per
 * datagram (0, 16 or 12). */
size_t kt_seal_overhead(const struct kt_seal *s);
size_t kt_seal_header(const struct kt_seal *s);
size_t kt_seal_nonce(const struct kt_seal *s);

/* Seals in place. The body is the len bytes at pkt + header, with room for overhead - header bytes after it.
 * nonce: kt_seal_nonce bytes, fresh for every datagram. Returns the datagram's length (overhead
 * + len). No allocation. */
size_t kt_seal_packet(struct kt_seal *s, uint8_t *pkt, size_t len, const uint8_t *nonce);

/* Seals n packets, each as kt_seal_packet would, to the same bytes. A block cipher chained through one packet
 * runs at its latency; through several side by side, at its throughput: up to four times as fast for aes,
 * eight for sm4. Full effect from KT_SEAL_BATCH packets of like length on, none below four. */
#define KT_SEAL_BATCH 16u
struct kt_seal_job {
    uint8_t *pkt; /* as for kt_seal_packet */
    size_t len;   /* in: the body's length; out: the datagram's */
};
/* nonces: n times kt_seal_nonce bytes. No allocation. */
void kt_seal_packets(struct kt_seal *s, struct kt_seal_job *jobs, size_t n, const uint8_t *nonces);

/* Opens in place: 0 and the body's place and length, or KT_EAUTH (too short, wrong CRC or tag). Either way
 * the packet is overwritten. "null" opens anything, and "none" anything with a matching CRC. */
int kt_seal_open(struct kt_seal *s, uint8_t *pkt, size_t len, uint8_t **body, size_t *body_len);

#endif
