/* A slab of equal blocks carved from chunks: no malloc per packet, a hard limit, and idle memory is given back. */
#ifndef KT_BASE_SLAB_H
#define KT_BASE_SLAB_H

#include <stddef.h>
#include <stdint.h>

#define KT_SLAB_ALIGN 32u

struct kt_slab;

/* Makes a slab of blocks of block_size bytes, aligned to KT_SLAB_ALIGN, at most max_blocks of them (0: no limit).
 * 0 or KT_EINVAL, KT_ENOMEM. */
int kt_slab_new(struct kt_slab **out, size_t block_size, size_t max_blocks);

/* Frees the slab. Every block must have been returned (asserted). NULL is harmless. */
void kt_slab_free(struct kt_slab *slab);

/* A block with unspecified content, or NULL at the limit, without memory, or after kt_slab_fail_after. The
 * caller returns it with kt_slab_put. Both are O(1). */
void *kt_slab_get(struct kt_slab *slab);
void kt_slab_put(struct kt_slab *slab, void *block);

#define KT_SLAB_FETCHED 320u

/* Fetches the first KT_SLAB_FETCHED bytes of a block into the cache. For a new block that is about to be filled: the
 * stores that fill it would wait for these one after the other. */
static inline void kt_slab_fetch(void *block)
{
    for (size_t i = 0; i < KT_SLAB_FETCHED; i += 64) __builtin_prefetch((unsigned char *)block + i, 1);
}

/* Frees chunks with no block in use. Owners call it about once a second while idle. */
void kt_slab_trim(struct kt_slab *slab);

size_t kt_slab_block_size(const struct kt_slab *slab);
size_t kt_slab_in_use(const struct kt_slab *slab);       /* blocks handed out */
size_t kt_slab_bytes_in_use(const struct kt_slab *slab); /* their bytes */
size_t kt_slab_bytes(const struct kt_slab *slab);        /* bytes held from the system */

/* For tests: let n more kt_slab_get calls succeed and fail all after them; SIZE_MAX switches this off. */
void kt_slab_fail_after(struct kt_slab *slab, size_t n);

#endif
