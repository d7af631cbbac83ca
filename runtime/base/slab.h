/* Pool of equal blocks, carved from slabs: no malloc per packet, a hard cap, and memory given back when idle.
 */
#ifndef KT_BASE_SLAB_H
#define KT_BASE_SLAB_H

#include <stddef.h>
#include <stdint.h>

struct kt_slab;

/* Makes a pool of blocks of block_size bytes (16-byte aligned), at most max_blocks of them (0: no cap).
 * 0 or KT_EINVAL, KT_ENOMEM. */
int kt_slab_new(struct kt_slab **out, size_t block_size, size_t max_blocks);

/* Frees the pool. All blocks must have come back (asserted). NULL is harmless. */
void kt_slab_free(struct kt_slab *pool);

/* A block with unspecified content, or NULL at the cap, out of memory, or by kt_slab_fail_after. The caller
 * returns it with kt_slab_put. Both are O(1); under AddressSanitizer free blocks and the gaps between blocks
 * are poisoned. */
void *kt_slab_get(struct kt_slab *pool);
void kt_slab_put(struct kt_slab *pool, void *block);

/* Gives slabs without a block in use back to the system. Owners call it about once a second when idle. */
void kt_slab_trim(struct kt_slab *pool);

size_t kt_slab_block_size(const struct kt_slab *pool);
size_t kt_slab_in_use(const struct kt_slab *pool); /* blocks handed out */
size_t kt_slab_bytes(const struct kt_slab *pool);  /* bytes held from the system */

/* For tests: the n-th following kt_slab_get and all after it fail (0: the very next); SIZE_MAX switches it
 * off. */
void kt_slab_fail_after(struct kt_slab *pool, size_t n);

#endif
