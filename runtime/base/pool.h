/* Pool of equal blocks, carved from slabs: no malloc per packet, a hard cap, and memory given back when idle.
 */
#ifndef KT_BASE_POOL_H
#define KT_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

struct kt_pool;

/* Makes a pool of blocks of block_size bytes (16-byte aligned), at most max_blocks of them (0: no cap).
 * 0 or KT_EINVAL, KT_ENOMEM. */
int kt_pool_new(struct kt_pool **out, size_t block_size, size_t max_blocks);

/* Frees the pool. All blocks must have come back (asserted). NULL is harmless. */
void kt_pool_free(struct kt_pool *pool);

/* A block with unspecified content, or NULL at the cap, out of memory, or by kt_pool_fail_after. The caller
 * returns it with kt_pool_put. Both are O(1); under AddressSanitizer free blocks and the gaps between blocks
 * are poisoned. */
void *kt_pool_get(struct kt_pool *pool);
void kt_pool_put(struct kt_pool *pool, void *block);

/* Gives slabs without a block in use back to the system. Owners call it about once a second when idle. */
void kt_pool_trim(struct kt_pool *pool);

size_t kt_pool_block_size(const struct kt_pool *pool);
size_t kt_pool_in_use(const struct kt_pool *pool); /* blocks handed out */
size_t kt_pool_bytes(const struct kt_pool *pool);  /* bytes held from the system */

/* For tests: the n-th following kt_pool_get and all after it fail (0: the very next); SIZE_MAX switches it
 * off. */
void kt_pool_fail_after(struct kt_pool *pool, size_t n);

#endif
