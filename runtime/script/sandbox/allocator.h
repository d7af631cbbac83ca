/* An allocator for a single owner that passes the size when it frees, as Lua does. Small blocks have no
 * header and cost a few instructions; larger ones come from malloc.
 *
 * A slab holds blocks of one size. Empty slabs are returned to the system, except for the last of each size,
 * so the memory held follows the memory used, even as sizes change. Under AddressSanitizer all blocks come
 * from malloc, so that every use after free is detected. */
#ifndef KT_SCRIPT_SANDBOX_ALLOCATOR_H
#define KT_SCRIPT_SANDBOX_ALLOCATOR_H

#include <stddef.h>
#include "base/list.h"

#define KT_ALLOCATOR_SMALL 512u
#define KT_ALLOCATOR_SLAB ((size_t)64 * 1024)

struct kt_allocator {
    struct kt_list arenas; /* with room for a slab first */
    /* Slabs with room, by the size of a block in units of 16. */
    struct kt_list partial[KT_ALLOCATOR_SMALL / 16 + 1];
    size_t slabs; /* in use, or kept empty */
};

void kt_allocator_init(struct kt_allocator *b);
/* Frees all small blocks; free larger ones before. */
void kt_allocator_free(struct kt_allocator *b);
/* Like realloc, with the size of the block at ptr (0 if ptr is NULL); size 0 frees. Aligned to 16 bytes. */
void *kt_allocator_alloc(struct kt_allocator *b, void *ptr, size_t old, size_t size);

#endif
