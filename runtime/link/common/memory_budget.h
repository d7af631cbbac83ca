/* One max_buffered for several contexts: those of both wires of an acceptor, and those of its earlier settings, whose
 * sessions live on. Each says what it takes, and limits itself by what the others leave.
 *
 * Invariant: `taken` is the sum of what its users have said. */
#ifndef KT_LINK_COMMON_MEMORY_BUDGET_H
#define KT_LINK_COMMON_MEMORY_BUDGET_H

#include <stdint.h>
#include <stdlib.h>
#include "base/bytes.h"

struct kt_memory_budget {
    unsigned refs;
    uint64_t taken; /* bytes */
};

/* A reference to b, or the first one to a new budget if b is NULL. NULL: out of memory. */
static inline struct kt_memory_budget *kt_memory_budget_ref(struct kt_memory_budget *b)
{
    if (!b) b = calloc(1, sizeof *b);
    if (b) b->refs++;
    return b;
}

static inline void kt_memory_budget_unref(struct kt_memory_budget *b)
{
    if (b && --b->refs == 0) free(b);
}

/* One of its users, which took *own bytes, takes `now`. */
static inline void kt_memory_budget_take(struct kt_memory_budget *b, uint64_t *own, uint64_t now)
{
    b->taken += now - *own;
    *own = now;
}

/* The part of `all` bytes that is left to a user of `own` bytes. */
static inline uint64_t kt_memory_budget_left(const struct kt_memory_budget *b, uint64_t own, uint64_t all)
{
    return kt_sub64(all, b->taken - own);
}

#endif
