/* Locked memory on libsodium's guarded allocations.
 *
 * An allocation ends at the end of a page, so it is aligned for any type only if its size is a multiple of the
 * strictest alignment; kt_locked_alloc rounds up to that. */
#include "crypto/locked.h"
#include <sodium.h>
#include <stdalign.h>
#include <string.h>

void *kt_locked_alloc(size_t size)
{
    const size_t unit = alignof(max_align_t), whole = (size + unit - 1) / unit * unit;
    void *p = sodium_malloc(whole);
    if (p) memset(p, 0, whole);
    return p;
}

void kt_locked_free(void *p)
{
    sodium_free(p);
}
