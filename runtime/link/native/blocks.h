/* The bytes of one direction of a stream, by offset: blocks from a shared slab, each with a mark for every byte.
 * A send buffer marks what was acknowledged, a receive buffer what has arrived; both may happen in any order.
 *
 * Blocks cover fixed spans of offsets, so a byte is found in O(1). Only spans that were touched have a block, and
 * marks do not grow with the number of gaps: memory depends on the span of offsets in use alone, whatever order a
 * peer chooses. A buffer without blocks holds no memory. */
#ifndef KT_LINK_NATIVE_BLOCKS_H
#define KT_LINK_NATIVE_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/bufq.h"
#include "base/slab.h"

#define KT_NATIVE_BLOCK 8192u /* bytes of a stream in a block */
#define KT_NATIVE_BLOCKS_FEW 2u

struct kt_native_block {
    uint64_t marks[KT_NATIVE_BLOCK / 64];
    uint8_t data[KT_NATIVE_BLOCK];
};

struct kt_native_blocks {
    struct kt_slab *slab;          /* of struct kt_native_block; shared, outlives this */
    struct kt_native_block **ring; /* few, or on the heap; the slot of block i is i & mask; NULL: untouched */
    struct kt_native_block *few[KT_NATIVE_BLOCKS_FEW];
    uint64_t first, end; /* numbers of the blocks that the ring covers: first <= i < end */
    uint32_t mask;       /* slots of the ring less one; a power of two */
    uint32_t held;       /* blocks */
};

void kt_native_blocks_init(struct kt_native_blocks *b, struct kt_slab *slab);
/* Gives all blocks back. The buffer stays usable. */
void kt_native_blocks_clear(struct kt_native_blocks *b);

/* Copies n bytes to `offset`, which must not be below what was dropped. Returns how many were copied: fewer
 * than n when out of memory. */
size_t kt_native_blocks_put(struct kt_native_blocks *b, uint64_t offset, const void *data, size_t n);
/* Copies n bytes out; all must have been put. */
void kt_native_blocks_copy(const struct kt_native_blocks *b, uint64_t offset, void *out, size_t n);
/* Up to max pieces of the bytes from..end in place; all must have been put. Returns the number of pieces. */
size_t kt_native_blocks_peek(
    const struct kt_native_blocks *b, uint64_t from, uint64_t end, struct kt_iov *iov, size_t max);
/* Gives back the blocks that lie before `offset`. */
void kt_native_blocks_drop(struct kt_native_blocks *b, uint64_t offset);

/* Marks the bytes from..end, which must have been put. */
void kt_native_blocks_mark(struct kt_native_blocks *b, uint64_t from, uint64_t end);
/* The first offset in from..end whose mark is `marked`; end if there is none. Untouched spans are not marked. */
uint64_t kt_native_blocks_find(const struct kt_native_blocks *b, uint64_t from, uint64_t end, bool marked);

#endif
