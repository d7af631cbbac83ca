/* Memory for keys: not swapped out, not in core dumps, wiped when freed, between guard pages. Locking is best
 * effort: RLIMIT_MEMLOCK may be 0. A page or more each, so for what lives as long as a link, not a stream. */
#ifndef KT_CRYPTO_LOCKED_H
#define KT_CRYPTO_LOCKED_H

#include <stddef.h>

/* Zeroed, aligned for any type; NULL without memory. kt_crypto_init has been called. */
void *kt_locked_alloc(size_t size);
/* NULL is harmless. */
void kt_locked_free(void *p);

#endif
