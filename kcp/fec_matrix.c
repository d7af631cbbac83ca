/* Coefficients of kcptun's Reed-Solomon code.
 *
 * The spec's matrix is V * T^-1, V being Vandermonde (V[r][c] = r^c) and T its top square. Multiplying by
 * T^-1 turns values at positions 0..n-1 into the coefficients of the one polynomial of degree below n
 * through them; multiplying by row r of V evaluates it at r. So an entry of the product is a Lagrange basis
 * polynomial:
 *
 *     M[r][c] = product over j != c of (r - x_j) / (x_c - x_j)        x_j: the positions known
 *
 * and rebuilding from any n shards is the same formula with other positions known. That takes n^2 steps and
 * no inversion, and holds for all distinct positions: no matrix is singular. Subtraction in GF(2^8) is XOR.
 * ISA-L's gf_mul works in the spec's field (0x11d). */
#include "kcp/fec_matrix.h"

#include <assert.h>
#include <isa-l/erasure_code.h>
#include "kcp/fec.h"

void kt_fec_coefficients(
    const uint8_t *known, unsigned n, const uint8_t *wanted, unsigned count, uint8_t *out)
{
    assert(n >= 1 && n <= KT_FEC_MAX_SHARDS && count <= KT_FEC_MAX_SHARDS);
    uint8_t weight[KT_FEC_MAX_SHARDS]; /* 1 / product over j != c of (x_c - x_j) */
    for (unsigned c = 0; c < n; c++) {
        uint8_t product = 1;
        for (unsigned j = 0; j < n; j++)
            if (j != c) product = gf_mul(product, known[c] ^ known[j]);
        assert(product);
        weight[c] = gf_inv(product);
    }
    for (unsigned i = 0; i < count; i++) {
        uint8_t all = 1; /* product over every j of (r - x_j): one factor too many, divided out below */
        for (unsigned j = 0; j < n; j++) all = gf_mul(all, wanted[i] ^ known[j]);
        assert(all);
        for (unsigned c = 0; c < n; c++)
            out[i * n + c] = gf_mul(gf_mul(all, weight[c]), gf_inv(wanted[i] ^ known[c]));
    }
}

void kt_fec_parity_rows(unsigned data, unsigned parity, uint8_t *out)
{
    assert(data >= 1 && parity >= 1 && data + parity <= KT_FEC_MAX_SHARDS);
    uint8_t position[KT_FEC_MAX_SHARDS];
    for (unsigned i = 0; i < data + parity; i++) position[i] = (uint8_t)i;
    kt_fec_coefficients(position, data, position + data, parity, out);
}
