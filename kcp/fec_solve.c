/* Rebuilding missing shards. The tables depend on which positions are known and wanted, not on the bytes,
 * so those of the last pattern are kept. Losses of single packets change the pattern often, but then the
 * tables are small (n^2 look-ups for a group of n); a steady pattern, such as one of two paths being down,
 * reuses them. */
#include "kcp/fec_solve.h"

#include <assert.h>
#include <isa-l/erasure_code.h>
#include <stdlib.h>
#include <string.h>
#include "kcp/fec_matrix.h"
#include "kcp/fec_wire.h"

void kt_fec_solver_free(struct kt_fec_solver *s)
{
    free(s->block);
    s->block = NULL;
    s->wanted_n = 0;
}

void kt_fec_solver_reset(struct kt_fec_solver *s, unsigned data, unsigned parity)
{
    kt_fec_solver_free(s);
    s->data = data;
    s->most = data < parity ? data : parity;
    s->bytes = ((size_t)s->most * (KT_FEC_STRIDE + (KT_FEC_TABLE + 1) * (size_t)data) + 63) & ~(size_t)63;
}

static int prepare(struct kt_fec_solver *s)
{
    if (s->block) return 0;
    size_t out = (size_t)s->most * KT_FEC_STRIDE;
    size_t pairs = (size_t)s->most * s->data;
    s->block = aligned_alloc(64, s->bytes);
    if (!s->block) return KT_ENOMEM;
    s->out = s->block;
    s->tables = s->out + out;
    s->coefficients = s->tables + KT_FEC_TABLE * pairs;
    return 0;
}

const uint8_t *kt_fec_solver_run(struct kt_fec_solver *s, const uint8_t *known, uint8_t *const *shards,
    const uint8_t *wanted, unsigned count, size_t len)
{
    assert(count >= 1 && count <= s->most && len <= KT_FEC_STRIDE);
    if (prepare(s) != 0) return NULL;
    if (count != s->wanted_n || memcmp(known, s->known, s->data) != 0 ||
        memcmp(wanted, s->wanted, count) != 0) {
        kt_fec_coefficients(known, s->data, wanted, count, s->coefficients);
        ec_init_tables((int)s->data, (int)count, s->coefficients, s->tables);
        memcpy(s->known, known, s->data);
        memcpy(s->wanted, wanted, count);
        s->wanted_n = count;
    }
    uint8_t *in[KT_FEC_MAX_SHARDS], *out[KT_FEC_MAX_SHARDS];
    for (unsigned i = 0; i < s->data; i++) in[i] = shards[i];
    for (unsigned i = 0; i < count; i++) out[i] = s->out + (size_t)i * KT_FEC_STRIDE;
    ec_encode_data((int)len, (int)s->data, (int)count, s->tables, in, out);
    return s->out;
}
