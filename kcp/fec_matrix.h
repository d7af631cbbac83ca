/* Coefficients of kcptun's Reed-Solomon code (docs/wire-kcptun.md, section 5.3). */
#ifndef KT_KCP_FEC_MATRIX_H
#define KT_KCP_FEC_MATRIX_H

#include <stdint.h>

#define KT_FEC_SHARD 1500u /* bytes of a shard, at most */
/* From one shard to the next in a buffer of several: each starts on a cache line. */
#define KT_FEC_STRIDE ((KT_FEC_SHARD + 63u) & ~63u)
#define KT_FEC_TABLE 32u /* bytes of ISA-L's expansion of a coefficient (ec_init_tables) */

/* The shard at position r of a group is the value at r of the polynomial that the group's data shards
 * determine. From the values at n distinct positions `known`, the value at wanted[i] is the sum over j of
 * out[i * n + j] * value at known[j]. No position may be both known and wanted. n and count at most 255;
 * out holds count * n bytes. */
void kt_fec_coefficients(
    const uint8_t *known, unsigned n, const uint8_t *wanted, unsigned count, uint8_t *out);

/* The coding matrix: `parity` rows of `data` coefficients. data + parity <= 255. */
void kt_fec_parity_rows(unsigned data, unsigned parity, uint8_t *out);

#endif
