/* Rebuilding shards of a group of kcp/fec_sums.h, from as many parity shards as are missing. The cost grows with
 * the shards that take part, not with the positions of the code. */
#ifndef KT_KCP_FEC_REBUILD_H
#define KT_KCP_FEC_REBUILD_H

#include <stddef.h>
#include <stdint.h>
#include "kcp/fec_sums.h"

struct kt_fec_rebuild;

/* 0 or KT_ENOMEM. Takes about 58 KiB. */
int kt_fec_rebuild_new(struct kt_fec_rebuild **out);
void kt_fec_rebuild_free(struct kt_fec_rebuild *r);

/* A shard that is there; position: below KT_FEC_SPAN + KT_FEC_SPAN_ROWS. */
struct kt_fec_shard {
    uint8_t position;
    const uint8_t *data;
};

/* wanted: `count` positions of data that are missing, 1..KT_FEC_SPAN_ROWS. shards: those of the group's data that are
 * not missing, then `count` of parity, n in all; positions in neither count as zeros. Each has len bytes, at most
 * KT_FEC_SHARD. Returns the wanted ones, KT_FEC_STRIDE apart, valid until the next call. */
const uint8_t *kt_fec_rebuild_run(struct kt_fec_rebuild *r, const struct kt_fec_shard *shards, unsigned n,
    const uint8_t *wanted, unsigned count, size_t len);

#endif
