/* Parity sums of one group.
 *
 * Invariant: row k, below `rows`, is the sum of coefficient (k, position) times shard over the shards added, and zeros
 * beyond `longest`. A shorter shard counts as padded with zeros, and adding zeros changes nothing, so only its own
 * bytes are added. */
#include "kcp/fec_sums.h"

#include <assert.h>
#include <isa-l/erasure_code.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"

struct kt_fec_sums {
    unsigned data, parity;
    unsigned rows;
    size_t longest;
    uint8_t *tables; /* ISA-L's expansion of the coding matrix */
    uint8_t *row[];  /* `parity` of them */
};

/* The rows, then the tables. The matrix is needed only here, and is small enough for the place of the rows. */
int kt_fec_sums_new(struct kt_fec_sums **out, unsigned data, unsigned parity)
{
    const size_t rows = (size_t)parity * KT_FEC_STRIDE, tables = (size_t)KT_FEC_TABLE * data * parity;
    *out = NULL;
    struct kt_fec_sums *s = calloc(1, sizeof *s + parity * sizeof *s->row);
    uint8_t *block = s ? aligned_alloc(64, (rows + tables + 63) & ~(size_t)63) : NULL;
    if (!block) {
        free(s);
        return KT_ENOMEM;
    }
    for (unsigned k = 0; k < parity; k++) s->row[k] = block + (size_t)k * KT_FEC_STRIDE;
    s->tables = block + rows;
    kt_fec_parity_rows(data, parity, block);
    ec_init_tables((int)data, (int)parity, block, s->tables);
    s->data = data;
    s->parity = s->rows = parity;
    s->longest = KT_FEC_STRIDE;
    kt_fec_sums_begin(s, parity);
    *out = s;
    return 0;
}

void kt_fec_sums_free(struct kt_fec_sums *s)
{
    if (!s) return;
    free(s->row[0]);
    free(s);
}

void kt_fec_sums_begin(struct kt_fec_sums *s, unsigned rows)
{
    assert(rows >= 1 && rows <= s->parity);
    for (unsigned k = 0; k < s->rows; k++) memset(s->row[k], 0, s->longest);
    s->rows = rows;
    s->longest = 0;
}

void kt_fec_sums_add(struct kt_fec_sums *s, unsigned position, const uint8_t *shard, size_t len)
{
    assert(position < s->data && len <= KT_FEC_SHARD);
    /* ISA-L does not write to the data, but its parameter is not const. */
    ec_encode_data_update(
        (int)len, (int)s->data, (int)s->rows, (int)position, s->tables, (uint8_t *)(uintptr_t)shard, s->row);
    if (len > s->longest) s->longest = len;
}

const uint8_t *kt_fec_sums_row(const struct kt_fec_sums *s, unsigned i, size_t *len)
{
    assert(i < s->rows);
    *len = s->longest;
    return s->row[i];
}
