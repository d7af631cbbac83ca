/* Rebuilding by interpolation, as kcp/fec_matrix.c does it, in fewer steps.
 *
 * Of the data positions B, some (M) are missing, and as many of parity (P) take their place: K = B - M + P. The value
 * at m in M is the sum over c in K of value at c times
 *
 *     product over j in K, j != c of (m - j) / (c - j)
 *
 * A product of (x - j) over K is that over B, which does not depend on the group, without M and with P. So a
 * coefficient takes as many steps as shards are missing. Subtraction in GF(2^8) is XOR. */
#include "kcp/fec_rebuild.h"

#include <assert.h>
#include <isa-l/erasure_code.h>
#include <stdlib.h>
#include "base/err.h"

#define POSITIONS (KT_FEC_SPAN + KT_FEC_SPAN_ROWS)

struct kt_fec_rebuild {
    uint8_t all[POSITIONS]; /* for x: product over j in B, j != x, of (x - j) */
    uint8_t coefficients[KT_FEC_SPAN_ROWS * KT_FEC_SPAN];
    uint8_t tables[KT_FEC_TABLE * KT_FEC_SPAN_ROWS * KT_FEC_SPAN];
    uint8_t *out;
};

int kt_fec_rebuild_new(struct kt_fec_rebuild **out)
{
    *out = NULL;
    struct kt_fec_rebuild *r = malloc(sizeof *r);
    if (!r) return KT_ENOMEM;
    r->out = aligned_alloc(64, (size_t)KT_FEC_SPAN_ROWS * KT_FEC_STRIDE);
    if (!r->out) {
        free(r);
        return KT_ENOMEM;
    }
    for (unsigned x = 0; x < POSITIONS; x++) {
        uint8_t product = 1;
        for (unsigned j = 0; j < KT_FEC_SPAN; j++)
            if (j != x) product = gf_mul(product, (uint8_t)(x ^ j));
        r->all[x] = product;
    }
    *out = r;
    return 0;
}

void kt_fec_rebuild_free(struct kt_fec_rebuild *r)
{
    if (!r) return;
    free(r->out);
    free(r);
}

/* Product over j in K, j != x, of (x - j). */
static uint8_t product(const struct kt_fec_rebuild *r, uint8_t x, const struct kt_fec_shard *parity,
    const uint8_t *wanted, unsigned count)
{
    uint8_t with = r->all[x], without = 1;
    for (unsigned i = 0; i < count; i++) {
        if (parity[i].position != x) with = gf_mul(with, x ^ parity[i].position);
        if (wanted[i] != x) without = gf_mul(without, x ^ wanted[i]);
    }
    return gf_mul(with, gf_inv(without));
}

const uint8_t *kt_fec_rebuild_run(struct kt_fec_rebuild *r, const struct kt_fec_shard *shards, unsigned n,
    const uint8_t *wanted, unsigned count, size_t len)
{
    uint8_t inverse[KT_FEC_SPAN];
    uint8_t *in[KT_FEC_SPAN], *out[KT_FEC_SPAN_ROWS];
    assert(count >= 1 && count <= KT_FEC_SPAN_ROWS && n >= count && n <= KT_FEC_SPAN && len <= KT_FEC_SHARD);
    const struct kt_fec_shard *parity = shards + (n - count);
    for (unsigned c = 0; c < n; c++) {
        inverse[c] = gf_inv(product(r, shards[c].position, parity, wanted, count));
        in[c] = (uint8_t *)(uintptr_t)shards[c].data; /* ISA-L does not write to it */
    }
    for (unsigned i = 0; i < count; i++) {
        const uint8_t above = product(r, wanted[i], parity, wanted, count);
        for (unsigned c = 0; c < n; c++)
            r->coefficients[i * n + c] =
                gf_mul(gf_mul(above, inverse[c]), gf_inv(wanted[i] ^ shards[c].position));
        out[i] = r->out + (size_t)i * KT_FEC_STRIDE;
    }
    ec_init_tables((int)n, (int)count, r->coefficients, r->tables);
    ec_encode_data((int)len, (int)n, (int)count, r->tables, in, out);
    return r->out;
}
