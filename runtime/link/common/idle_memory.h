/* Gives the idle blocks of a context's two slabs back to the system, once a second while any block is in use. An idle
 * context has no timer.
 *
 * Invariant: the timer is armed from kt_idle_memory_busy until no block is in use. */
#ifndef KT_LINK_COMMON_IDLE_MEMORY_H
#define KT_LINK_COMMON_IDLE_MEMORY_H

#include "base/slab.h"
#include "io/io.h"

struct kt_idle_memory {
    struct kt_io *io;
    struct kt_slab *slabs[2];
    void (*count)(void *ctx);
    void *ctx;
    struct kt_timer timer;
    size_t freed; /* bytes since the allocator was last asked to return memory */
};

/* The slabs outlive it, until kt_idle_memory_end. count is called each time that the timer fires, after the slabs were
 * trimmed, so that the context updates what it counts. */
void kt_idle_memory_init(struct kt_idle_memory *m, struct kt_io *io, struct kt_slab *a, struct kt_slab *b,
    void (*count)(void *ctx), void *ctx);
/* Call when blocks are in use. Cheap if it was called before. */
void kt_idle_memory_busy(struct kt_idle_memory *m);
/* Harmless if m is zeroed: it was never initialised. */
void kt_idle_memory_end(struct kt_idle_memory *m);

#endif
