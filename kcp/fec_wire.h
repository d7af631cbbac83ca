/* The layout of a FEC packet, for encoder, decoder and tuner (docs/wire-kcptun.md, section 5.1). */
#ifndef KT_KCP_FEC_WIRE_H
#define KT_KCP_FEC_WIRE_H

#include <stdint.h>
#include "base/bytes.h"
#include "kcp/fec.h"
#include "kcp/fec_matrix.h"

#define FEC_OFF_TYPE 4u
#define FEC_OFF_SHARD 6u /* a shard starts with its size field */
#define FEC_SIZE_LEN 2u

_Static_assert(KT_FEC_MAX_PACKET - FEC_OFF_SHARD <= KT_FEC_SHARD, "the longest shard fits");

/* How many groups fit before seqids start over. The spec's paws is this times the group's size. */
static inline uint32_t fec_groups(unsigned shards)
{
    return UINT32_MAX / shards;
}

#endif
