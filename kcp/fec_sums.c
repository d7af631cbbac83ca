/* Parity sums of one group, made as its shards leave.
 *
 * Invariant: row k, below `rows`, is the sum of coefficient (k, position) times shard over the shards added, and zeros
 * beyond `longest`. */
#include "kcp/fec_sums.h"

#include <assert.h>
#include <isa-l/erasure_code.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "kcp/fec_matrix.h"

#define STRIDE ((KT_FEC_SHARD + 63u) & ~63u)
#define TABLE 32u /* bytes of ISA-L's expansion of a coefficient */

struct kt_fec_sums {
    unsigned rows;
    size_t longest;
    uint8_t *row[KT_FEC_SPAN_ROWS];
    uint8_t tables[TABLE * KT_FEC_SPAN * KT_FEC_SPAN_ROWS];
    uint8_t *block; /* what row[] points into */
};

int kt_fec_sums_new(struct kt_fec_sums **out)
{
    uint8_t matrix[KT_FEC_SPAN * KT_FEC_SPAN_ROWS];
    *out = NULL;
    struct kt_fec_sums *s = calloc(1, sizeof *s);
    if (!s) return KT_ENOMEM;
    s->block = aligned_alloc(64, (size_t)KT_FEC_SPAN_ROWS * STRIDE);
    if (!s->block) {
        free(s);
        return KT_ENOMEM;
    }
    kt_fec_parity_rows(KT_FEC_SPAN, KT_FEC_SPAN_ROWS, matrix);
    ec_init_tables((int)KT_FEC_SPAN, (int)KT_FEC_SPAN_ROWS, matrix, s->tables);
    for (unsigned k = 0; k < KT_FEC_SPAN_ROWS; k++) s->row[k] = s->block + (size_t)k * STRIDE;
    s->longest = STRIDE;
    s->rows = KT_FEC_SPAN_ROWS;
    kt_fec_sums_begin(s, KT_FEC_SPAN_ROWS);
    *out = s;
    return 0;
}

void kt_fec_sums_free(struct kt_fec_sums *s)
{
    if (!s) return;
    free(s->block);
    free(s);
}

void kt_fec_sums_begin(struct kt_fec_sums *s, unsigned rows)
{
    assert(rows >= 1 && rows <= KT_FEC_SPAN_ROWS);
    for (unsigned k = 0; k < s->rows; k++) memset(s->row[k], 0, s->longest);
    s->rows = rows;
    s->longest = 0;
}

void kt_fec_sums_add(struct kt_fec_sums *s, unsigned position, const uint8_t *shard, size_t len)
{
    assert(position < KT_FEC_SPAN && len <= KT_FEC_SHARD);
    /* ISA-L does not write to the data, but its parameter is not const. */
    ec_encode_data_update((int)len, (int)KT_FEC_SPAN, (int)s->rows, (int)position, s->tables,
        (uint8_t *)(uintptr_t)shard, s->row);
    if (len > s->longest) s->longest = len;
}

const uint8_t *kt_fec_sums_row(const struct kt_fec_sums *s, unsigned i, size_t *len)
{
    assert(i < s->rows);
    *len = s->longest;
    return s->row[i];
}
