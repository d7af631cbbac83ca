/* A deterministic allocator for scripts on simulated hosts: the same sequence of allocations yields the same
 * order of addresses, whatever else the process does. This matters because objects without a natural order
 * are compared by address. */
#ifndef KT_SCRIPT_SIM_ARENA_H
#define KT_SCRIPT_SIM_ARENA_H

#include <stddef.h>

#define KT_ARENA_SMALL 1024u /* one free list per multiple of 16 up to this size, per power of two beyond */

struct kt_arena {
    char *base;
    size_t size, used; /* bytes reserved, and cut off the front so far */
    void *small[KT_ARENA_SMALL / 16 + 1], *large[64];
};

/* Reserves `size` bytes of address space; memory is committed only when used. Returns 0 or KT_ENOMEM. */
int kt_arena_init(struct kt_arena *a, size_t size);
/* Does nothing if the arena was not initialised. */
void kt_arena_free(struct kt_arena *a);
/* For struct kt_runtime_opts. */
void *kt_arena_alloc(void *ctx, void *ptr, size_t old, size_t size);

#endif
