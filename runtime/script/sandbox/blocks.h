/* Blocks: an allocator for one owner that knows the size of what it gives back, as Lua does. Small blocks
 * have no header and cost a few instructions; others come from malloc.
 *
 * A slab holds blocks of one size. One that is empty goes back to the system, but for the last of its size:
 * what is held follows what is used, whichever sizes come and go. Under AddressSanitizer all blocks come from
 * malloc, so that each use after free is seen. */
#ifndef KT_SCRIPT_SANDBOX_BLOCKS_H
#define KT_SCRIPT_SANDBOX_BLOCKS_H

#include <stddef.h>
#include "base/list.h"

#define KT_BLOCKS_SMALL 512u
#define KT_BLOCKS_SLAB ((size_t)64 * 1024)

struct kt_blocks {
    struct kt_list arenas; /* with room for a slab first */
    struct kt_list
        partial[KT_BLOCKS_SMALL / 16 + 1]; /* slabs with room, by the size of a block in units of 16 */
    size_t slabs;                          /* that hold blocks, or wait to */
};

void kt_blocks_init(struct kt_blocks *b);
/* With all that is in it, if it is small; others have to be given back before. */
void kt_blocks_free(struct kt_blocks *b);
/* As realloc, but told the size of what ptr points at (0 where that is NULL); size 0 frees. Aligned to 16. */
void *kt_blocks_alloc(struct kt_blocks *b, void *ptr, size_t old, size_t size);

#endif
