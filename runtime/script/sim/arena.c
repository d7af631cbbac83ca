/* The deterministic allocator of simulated hosts.
 *
 * Blocks are cut off the front of the reserve and never return to it. Invariant: a freed block is in the free
 * list of its size, which is last in, first out. */
#include "script/sim/arena.h"
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include "base/err.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

/* The block size for a request, and its free list. */
static size_t room(struct kt_arena *a, size_t size, void ***list)
{
    if (size <= KT_ARENA_SMALL) {
        size_t n = (size + 15) / 16;
        *list = &a->small[n];
        return n * 16;
    }
    unsigned bits = 64u - (unsigned)__builtin_clzll(size - 1);
    *list = &a->large[bits];
    return (size_t)1 << bits;
}

int kt_arena_init(struct kt_arena *a, size_t size)
{
    *a = (struct kt_arena){.size = size};
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return KT_ENOMEM;
    a->base = p;
    return 0;
}

void kt_arena_free(struct kt_arena *a)
{
    if (!a->base) return;
    ASAN_UNPOISON_MEMORY_REGION(a->base, a->used);
    munmap(a->base, a->size);
    a->base = NULL;
}

static void *take(struct kt_arena *a, size_t size)
{
    void **list, *p;
    size_t n = room(a, size, &list);
    if (*list) {
        p = *list;
        ASAN_UNPOISON_MEMORY_REGION(p, n);
        memcpy(list, p, sizeof *list);
    } else {
        if (n > a->size - a->used) return NULL;
        p = a->base + a->used;
        a->used += n;
    }
    ASAN_POISON_MEMORY_REGION((char *)p + size, n - size);
    return p;
}

static void give(struct kt_arena *a, void *p, size_t size)
{
    void **list;
    size_t n = room(a, size, &list);
    ASAN_UNPOISON_MEMORY_REGION(p, n);
    memcpy(p, list, sizeof *list);
    *list = p;
    ASAN_POISON_MEMORY_REGION(p, n);
}

void *kt_arena_alloc(void *ctx, void *ptr, size_t old, size_t size)
{
    struct kt_arena *a = ctx;
    if (size == 0) {
        if (ptr) give(a, ptr, old);
        return NULL;
    }
    if (!ptr) return take(a, size);
    void **before, **after;
    size_t n = room(a, old, &before);
    if (room(a, size, &after) == n) {
        ASAN_UNPOISON_MEMORY_REGION(ptr, n);
        ASAN_POISON_MEMORY_REGION((char *)ptr + size, n - size);
        return ptr;
    }
    void *p = take(a, size);
    if (!p) return NULL;
    memcpy(p, ptr, old < size ? old : size);
    give(a, ptr, old);
    return p;
}
