/* Memory for a script on a simulated host: what is allocated and freed in the same order lies in the same
 * order, whatever else the process does. Lua compares by address what it has no better order for. */
#ifndef KT_SCRIPT_SIM_ARENA_H
#define KT_SCRIPT_SIM_ARENA_H

#include <stddef.h>

#define KT_ARENA_SMALL 1024u /* up to here a list for each multiple of 16, beyond for each power of two */

struct kt_arena {
    char *base;
    size_t size, used; /* reserved; ever handed out */
    void *small[KT_ARENA_SMALL / 16 + 1], *large[64];
};

/* Reserves addresses for so many bytes, and memory only for those that are used. 0 or KT_ENOMEM. */
int kt_arena_init(struct kt_arena *a, size_t size);
/* Harmless if there is nothing. */
void kt_arena_free(struct kt_arena *a);
/* For struct kt_runtime_opts. */
void *kt_arena_alloc(void *ctx, void *ptr, size_t old, size_t size);

#endif
