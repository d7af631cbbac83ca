/* Blocks: an allocator for one owner that knows the size of what it gives back, as Lua does. Small blocks
 * have no header and cost a few instructions; others come from malloc.
 *
 * A small block that was given back waits for the next of its size: what was the most at once is held until
 * the end. Under AddressSanitizer all of them come from malloc, so that each use after free is seen. */
#ifndef KT_BASE_BLOCKS_H
#define KT_BASE_BLOCKS_H

#include <stddef.h>

#define KT_BLOCKS_SMALL 512u

struct kt_blocks {
    struct kt_blocks_slab *slabs;
    char *fresh; /* of the newest slab: not handed out yet */
    size_t left;
    void *back[KT_BLOCKS_SMALL / 16 + 1]; /* given back, by size in units of 16 */
};

/* A zeroed one is new. */
void kt_blocks_free(struct kt_blocks *b);
/* As realloc, but told the size of what ptr points at (0 where that is NULL); size 0 frees. The content is
 * unspecified where it grew. */
void *kt_blocks_alloc(struct kt_blocks *b, void *ptr, size_t old, size_t size);

#endif
