/* Rebuilding the missing shards of a group from any `data` others. */
#ifndef KT_KCP_FEC_SOLVE_H
#define KT_KCP_FEC_SOLVE_H

#include <stddef.h>
#include <stdint.h>
#include "kcp/fec.h"

struct kt_fec_solver {
    unsigned data;  /* shards that determine a group */
    unsigned most;  /* shards that may be missing */
    size_t bytes;   /* size of block, once it is needed */
    uint8_t *block; /* memory of the three below; NULL until first needed */
    uint8_t *out;
    uint8_t *tables;
    uint8_t *coefficients;
    unsigned wanted_n; /* the pattern that `tables` is for; 0: none yet */
    uint8_t known[KT_FEC_MAX_SHARDS], wanted[KT_FEC_MAX_SHARDS];
};

/* Sets up a zeroed solver, or changes the parameters of a used one. Allocates nothing yet. */
void kt_fec_solver_reset(struct kt_fec_solver *s, unsigned data, unsigned parity);
void kt_fec_solver_free(struct kt_fec_solver *s);

/* known[0..data): the positions of `shards`, each len bytes; wanted[0..count): the positions to rebuild, 1
 * <= count <= min(data, parity). Returns the rebuilt shards, KT_FEC_STRIDE apart, valid until the next call;
 * NULL if out of memory. */
const uint8_t *kt_fec_solver_run(struct kt_fec_solver *s, const uint8_t *known, uint8_t *const *shards,
    const uint8_t *wanted, unsigned count, size_t len);

#endif
