/* Forward error correction: kcptun's Reed-Solomon over groups of packets (docs/wire-kcptun.md, section 5).
 * The sums are ISA-L's, the matrix is the spec's (Vandermonde times the inverse of its top).
 *
 * A FEC packet is an 8-byte header (seqid, type, size) and the KCP packet or the parity bytes. The encoder
 * keeps parity sums, not packets: each data packet is added in once, as it leaves. The decoder keeps the few
 * groups nearest the newest. */
#ifndef KT_KCP_FEC_H
#define KT_KCP_FEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "kcp/kcp.h"

#define KT_FEC_HEADER 8u
#define KT_FEC_TYPE_DATA 0x00f1u
#define KT_FEC_TYPE_PARITY 0x00f2u
#define KT_FEC_TYPE_OOB 0x00f3u
#define KT_FEC_MAX_SHARDS 255u       /* data + parity */
#define KT_FEC_MAX_PACKET 1500u      /* header included */
#define KT_FEC_PARITY_GAP_US 500000u /* wire-kcptun.md 5.2 rule 3 */

/* ---- encoder ---- */

struct kt_fec_enc;

/* data, parity >= 1, data + parity <= KT_FEC_MAX_SHARDS. 0, KT_EINVAL or KT_ENOMEM. */
int kt_fec_enc_new(struct kt_fec_enc **out, unsigned data, unsigned parity);
void kt_fec_enc_free(struct kt_fec_enc *e);

/* Fills the header of a data packet in place (pkt[0..7]; the KCP packet of len - 8 bytes follows it, len <=
 * KT_FEC_MAX_PACKET) and adds it to its group. Returns how many parity packets the caller must fetch and
 * send now: 0, or those of the group that kt_fec_enc_limit allows. */
unsigned kt_fec_enc_data(struct kt_fec_enc *e, uint8_t *pkt, size_t len, uint64_t now_us);

/* Writes parity packet i (0.., fetched in order, before the next kt_fec_enc_data) into out (KT_FEC_MAX_PACKET
 * bytes); returns its length. */
size_t kt_fec_enc_parity(struct kt_fec_enc *e, unsigned i, uint8_t *out);

/* From the next group on sends only the first n parity packets of each, n <= parity; the seqids of the others
 * are still used up. So the layout of a group, which the peer's decoder knows or has found out, does not
 * change, and row k of the code does not depend on the number of rows: any decoder keeps working, and can
 * rebuild up to n packets of a group. (Changing the layout instead is not safe: until kcptun's decoder has
 * found out the new one, it mixes packets of both, and may take parity for data and rebuild a packet that was
 * never sent.) The first KT_FEC_FULL_GROUPS groups are always sent whole, as a peer with other settings finds
 * out the layout from whole runs only. */
#define KT_FEC_FULL_GROUPS 8u
void kt_fec_enc_limit(struct kt_fec_enc *e, unsigned n);

/* For tests: the next data packet opens this group, below 0xffffffff / (data + parity). */
void kt_fec_enc_seek(struct kt_fec_enc *e, uint32_t group);

/* ---- decoder ---- */

struct kt_fec_dec;

struct kt_fec_dec_stats {
    uint64_t data, parity, oob;    /* packets by type */
    uint64_t recovered;            /* KCP packets rebuilt */
    uint64_t lost_groups;          /* groups given up with data missing */
    uint64_t errors;               /* malformed, or a rebuilt size out of range */
    unsigned cur_data, cur_parity; /* the peer's parameters, as far as known */
    uint64_t retuned;              /* times that auto-tuning changed the parameters */
};

/* Starts with these parameters; 0, 0 (no FEC here) starts as 1+1 and tunes (wire-kcptun.md 5.6). */
int kt_fec_dec_new(struct kt_fec_dec **out, unsigned data, unsigned parity);
void kt_fec_dec_free(struct kt_fec_dec *d);

/* Must not call into the same decoder, nor free it. */
typedef void (*kt_fec_sink)(void *ctx, const uint8_t *kcp_packet, size_t len, enum kt_kcp_origin origin);

/* Takes one body, FEC or bare (wire-kcptun.md 5.1), and passes the KCP packet it holds to sink, then those it makes
 * possible to rebuild. Bare KCP packets are passed on as they are. 0, or KT_EPROTO for a malformed FEC
 * packet (also counted). */
int kt_fec_dec_input(struct kt_fec_dec *d, const uint8_t *body, size_t len, kt_fec_sink sink, void *ctx);

void kt_fec_dec_stats(const struct kt_fec_dec *d, struct kt_fec_dec_stats *out);

/* The peer chooses the size of a group, so memory has a limit: at most this many bytes of shards and tables from
 * now on; at first there is no limit. Beyond it the oldest unfinished groups are given up. While it is less than
 * one group takes, nothing is kept, so nothing is rebuilt; data is still passed on. */
void kt_fec_dec_limit(struct kt_fec_dec *d, size_t bytes);
/* Bytes of shards and tables now. */
size_t kt_fec_dec_held(const struct kt_fec_dec *d);
/* All data that was sent has arrived: keeps the newest group only, and frees the rest. */
void kt_fec_dec_trim(struct kt_fec_dec *d);

/* The KCP packet in a body, or NULL if it holds none (parity, OOB) or is too short. */
const uint8_t *kt_fec_packet(const uint8_t *body, size_t len, size_t *packet_len);
/* Reads the first KCP header in a body (wire-kcptun.md 7): true for data, bare and OOB (for which only conv is set,
 * the rest is 0); false for parity, or if the body is too short. Checks nothing. */
bool kt_fec_peek(const uint8_t *body, size_t len, struct kt_kcp_head *head);

#endif
