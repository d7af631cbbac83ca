/* Parity sums of one group, made as its shards leave: for the encoder of fec.h, and for kt's own wire (docs/wire.md,
 * 6.4), whose groups need not be full, nor in a row.
 *
 * A group has up to `data` data shards, each at a position of its own; positions that are not used count as shards of
 * zeros. So a group may end at any time, and what each shard adds does not depend on how many follow. The code is that
 * of kcp/fec_matrix.h; parity shard i is at position data + i. */
#ifndef KT_KCP_FEC_SUMS_H
#define KT_KCP_FEC_SUMS_H

#include <stddef.h>
#include <stdint.h>
#include "kcp/fec_matrix.h"

/* On kt's own wire. kcp/fec_rebuild.h rebuilds. */
#define KT_FEC_SPAN 62u      /* data positions */
#define KT_FEC_SPAN_ROWS 16u /* parity shards of a group, at most */

struct kt_fec_sums;

/* data, parity: positions and parity shards of a group, as for kt_fec_parity_rows. 0 or KT_ENOMEM. Takes about 55 KiB
 * for KT_FEC_SPAN, KT_FEC_SPAN_ROWS. */
int kt_fec_sums_new(struct kt_fec_sums **out, unsigned data, unsigned parity);
void kt_fec_sums_free(struct kt_fec_sums *s);

/* Begins a group with this many parity shards, 1..parity. */
void kt_fec_sums_begin(struct kt_fec_sums *s, unsigned rows);
/* Adds the shard at a position below `data` that has none yet. len: at most KT_FEC_SHARD. */
void kt_fec_sums_add(struct kt_fec_sums *s, unsigned position, const uint8_t *shard, size_t len);
/* Parity shard i of the group, i below its rows; valid until the next kt_fec_sums_begin. *len: that of the longest
 * shard, as shorter ones count as padded with zeros. */
const uint8_t *kt_fec_sums_row(const struct kt_fec_sums *s, unsigned i, size_t *len);

#endif
