/* Locked memory: libsodium's guarded allocations. They end at a page's end, so a size that is a multiple of the
 * strictest alignment is aligned. */
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
