/* Parity of a span of packets that need not be full, nor in a row: the encoder of kt's own wire (docs/wire.md, 6.4).
 *
 * A group has up to KT_FEC_SPAN data shards, each at a position of its own; positions that are not used count as shards
 * of zeros. So a group may end at any time, and what each shard adds does not depend on how many follow. The code is
 * that of kcp/fec_matrix.h with KT_FEC_SPAN data positions; parity shard i is at position KT_FEC_SPAN + i.
 * kcp/fec_rebuild.h rebuilds. */
#ifndef KT_KCP_FEC_SUMS_H
#define KT_KCP_FEC_SUMS_H

#include <stddef.h>
#include <stdint.h>

#define KT_FEC_SPAN 62u      /* data positions */
#define KT_FEC_SPAN_ROWS 16u /* parity shards of a group, at most */
#define KT_FEC_SHARD 1500u   /* bytes of a shard, at most */

struct kt_fec_sums;

/* 0 or KT_ENOMEM. Takes about 55 KiB. */
int kt_fec_sums_new(struct kt_fec_sums **out);
void kt_fec_sums_free(struct kt_fec_sums *s);

/* Begins a group with this many parity shards, 1..KT_FEC_SPAN_ROWS. */
void kt_fec_sums_begin(struct kt_fec_sums *s, unsigned rows);
/* Adds the shard at a position below KT_FEC_SPAN that has none yet. len: at most KT_FEC_SHARD. */
void kt_fec_sums_add(struct kt_fec_sums *s, unsigned position, const uint8_t *shard, size_t len);
/* Parity shard i of the group, i below its rows; valid until the next kt_fec_sums_begin. *len: that of the longest
 * shard, as shorter ones count as padded with zeros. */
const uint8_t *kt_fec_sums_row(const struct kt_fec_sums *s, unsigned i, size_t *len);

#endif
