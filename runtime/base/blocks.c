/* See blocks.h. Invariant: a block lies in a slab if its size is small, and nowhere else. */
#include "base/blocks.h"
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define SMALL 0u
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SMALL 0u
#endif
#endif
#ifndef SMALL
#define SMALL KT_BLOCKS_SMALL
#endif

#define UNIT 16u
#define SLAB ((size_t)16 * 1024)

struct kt_blocks_slab {
    struct kt_blocks_slab *next;
    _Alignas(UNIT) char bytes[SLAB];
};

static size_t units(size_t size)
{
    return (size + UNIT - 1) / UNIT;
}

/* What is left of a slab and too small for n is given up: less than KT_BLOCKS_SMALL of SLAB. */
static void *carve(struct kt_blocks *b, size_t n)
{
    if (b->left < n * UNIT) {
        struct kt_blocks_slab *slab = malloc(sizeof *slab);
        if (!slab) return NULL;
        slab->next = b->slabs;
        b->slabs = slab;
        b->fresh = slab->bytes;
        b->left = SLAB;
    }
    void *p = b->fresh;
    b->fresh += n * UNIT;
    b->left -= n * UNIT;
    return p;
}

static void *take(struct kt_blocks *b, size_t size)
{
    const size_t n = units(size);
    void *p = b->back[n];
    if (!p) return carve(b, n);
    memcpy(&b->back[n], p, sizeof p);
    return p;
}

static void give(struct kt_blocks *b, void *ptr, size_t size)
{
    const size_t n = units(size);
    memcpy(ptr, &b->back[n], sizeof ptr);
    b->back[n] = ptr;
}

static void *get(struct kt_blocks *b, size_t size)
{
    return size <= SMALL ? take(b, size) : malloc(size);
}

static void put(struct kt_blocks *b, void *ptr, size_t size)
{
    if (size <= SMALL)
        give(b, ptr, size);
    else
        free(ptr);
}

void *kt_blocks_alloc(struct kt_blocks *b, void *ptr, size_t old, size_t size)
{
    if (size == 0) {
        if (ptr) put(b, ptr, old);
        return NULL;
    }
    if (!ptr) return get(b, size);
    if (old > SMALL && size > SMALL) return realloc(ptr, size);
    if (old <= SMALL && size <= SMALL && units(old) == units(size)) return ptr;
    void *p = get(b, size);
    if (!p) return NULL;
    memcpy(p, ptr, old < size ? old : size);
    put(b, ptr, old);
    return p;
}

void kt_blocks_free(struct kt_blocks *b)
{
    while (b->slabs) {
        struct kt_blocks_slab *slab = b->slabs;
        b->slabs = slab->next;
        free(slab);
    }
    *b = (struct kt_blocks){0};
}
