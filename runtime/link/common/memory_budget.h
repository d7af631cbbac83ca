/* One max_buffered for several contexts: those of both wires of an acceptor, and those of its earlier settings, whose
 * sessions live on. Each reports its use and stays within what the others leave.
 *
 * Invariant: `taken` is the sum of what its users have reported. */
#ifndef KT_LINK_COMMON_MEMORY_BUDGET_H
#define KT_LINK_COMMON_MEMORY_BUDGET_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include "base/bytes.h"
#include "link/counters.h"

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

/* A user of a budget: the context of a link or an acceptor. */
struct kt_memory_user {
    struct kt_memory_budget *budget;
    struct kt_counters *counters;
    uint64_t taken; /* of the budget */
    size_t held;    /* bytes for buffers and streams, as counted in BytesHeld */
};

/* u is zeroed. budget: as for kt_memory_budget_ref. False: out of memory; kt_memory_user_end is harmless then. */
static inline bool kt_memory_user_init(
    struct kt_memory_user *u, struct kt_memory_budget *budget, struct kt_counters *counters)
{
    u->counters = counters;
    u->budget = kt_memory_budget_ref(budget);
    return u->budget != NULL;
}

/* Reports that it now holds `held` and takes `taken` bytes. */
static inline void kt_memory_user_count(struct kt_memory_user *u, size_t held, uint64_t taken)
{
    u->counters->BytesHeld += held - u->held;
    u->held = held;
    u->budget->taken += taken - u->taken;
    u->taken = taken;
}

/* The part of `all` bytes that the other users leave. */
static inline uint64_t kt_memory_user_left(const struct kt_memory_user *u, uint64_t all)
{
    return kt_sub64(all, u->budget->taken - u->taken);
}

static inline void kt_memory_user_end(struct kt_memory_user *u)
{
    if (!u->budget) return;
    kt_memory_user_count(u, 0, 0);
    kt_memory_budget_unref(u->budget);
    u->budget = NULL;
}

#endif
