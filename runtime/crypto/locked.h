/* Memory for keys: not swapped, not in core dumps, wiped when freed, between guard pages. Locking is best
 * effort: RLIMIT_MEMLOCK may be 0. Each allocation takes a page or more, so use it per link, not per stream. */
#ifndef KT_CRYPTO_LOCKED_H
#define KT_CRYPTO_LOCKED_H

#include <stddef.h>

/* Zeroed and aligned for any type; NULL without memory. Requires kt_crypto_init. */
void *kt_locked_alloc(size_t size);
/* NULL is harmless. */
void kt_locked_free(void *p);

#endif
