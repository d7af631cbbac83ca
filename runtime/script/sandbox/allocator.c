/* A slab allocator for the Lua state. Slabs are aligned to their size, so that a block's address determines
 * its slab. They are cut from arenas; the pages of a released slab are returned to the system at once.
 *
 * Invariants: a block is in a slab exactly if its size is small. A slab is in partial[its size] exactly while
 * it has room. */
#include "script/sandbox/allocator.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define SMALL 0u
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SMALL 0u
#endif
#endif
#ifndef SMALL
#define SMALL KT_ALLOCATOR_SMALL
#endif

#define UNIT 16u
#define SLAB KT_ALLOCATOR_SLAB
#define ARENA_SLABS 16u
#define ALL_FREE ((1u << ARENA_SLABS) - 1)

struct arena {
    struct kt_list node;
    char *base;
    uint32_t free; /* bitmap of unused slabs */
};

/* The header at the start of a slab. */
struct slab {
    struct kt_list node;
    struct arena *arena;
    void *back;      /* list of freed blocks */
    uint32_t used;   /* blocks in use */
    uint32_t carved; /* blocks used so far; memory beyond them was never touched */
    uint32_t most;   /* capacity, in blocks */
    uint32_t units;  /* size of a block, in units */
    _Alignas(UNIT) char bytes[];
};

static size_t units(size_t size)
{
    return (size + UNIT - 1) / UNIT;
}

/* ---- arenas ---- */

static struct arena *arena_new(struct kt_allocator *b)
{
    const size_t wanted = ARENA_SLABS * SLAB, more = wanted + SLAB;
    struct arena *a = calloc(1, sizeof *a);
    if (!a) return NULL;
    char *p = mmap(NULL, more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        free(a);
        return NULL;
    }
    const size_t before = (SLAB - (uintptr_t)p % SLAB) % SLAB;
    if (before) munmap(p, before);
    munmap(p + before + wanted, SLAB - before);
    a->base = p + before;
    a->free = ALL_FREE;
    kt_list_push(b->arenas.next, &a->node);
    return a;
}

static void arena_free(struct arena *a)
{
    kt_list_remove(&a->node);
    munmap(a->base, ARENA_SLABS * SLAB);
    free(a);
}

/* ---- slabs ---- */

static struct slab *slab_new(struct kt_allocator *b, size_t n)
{
    struct arena *a = kt_list_empty(&b->arenas) ? NULL : KT_CONTAINER(b->arenas.next, struct arena, node);
    if (!a || !a->free) a = arena_new(b);
    if (!a) return NULL;
    const unsigned i = (unsigned)__builtin_ctz(a->free);
    a->free &= ~(1u << i);
    if (!a->free) { /* arenas with room come first */
        kt_list_remove(&a->node);
        kt_list_push(&b->arenas, &a->node);
    }
    struct slab *s = (struct slab *)(void *)(a->base + i * SLAB);
    *s = (struct slab){.arena = a, .most = (uint32_t)((SLAB - sizeof *s) / (n * UNIT)), .units = (uint32_t)n};
    kt_list_init(&s->node);
    kt_list_push(b->partial[n].next, &s->node);
    b->slabs++;
    return s;
}

static void slab_free(struct kt_allocator *b, struct slab *s)
{
    struct arena *a = s->arena;
    kt_list_remove(&s->node);
    b->slabs--;
    madvise(s, SLAB, MADV_DONTNEED);
    a->free |= 1u << ((size_t)((char *)s - a->base) / SLAB);
    kt_list_remove(&a->node);
    kt_list_push(b->arenas.next, &a->node);
    const bool another = a->node.next != &b->arenas && KT_CONTAINER(a->node.next, struct arena, node)->free;
    if (a->free == ALL_FREE && another) arena_free(a);
}

/* ---- blocks ---- */

static void *take(struct kt_allocator *b, size_t n)
{
    struct kt_list *partial = &b->partial[n];
    struct slab *s = kt_list_empty(partial) ? slab_new(b, n) : KT_CONTAINER(partial->next, struct slab, node);
    if (!s) return NULL;
    void *p = s->back;
    if (p)
        memcpy(&s->back, p, sizeof p);
    else
        p = s->bytes + s->carved++ * n * UNIT;
    if (++s->used == s->most) kt_list_remove(&s->node);
    return p;
}

static void give(struct kt_allocator *b, void *ptr)
{
    struct slab *s = (struct slab *)((uintptr_t)ptr & ~(uintptr_t)(SLAB - 1));
    struct kt_list *partial = &b->partial[s->units];
    memcpy(ptr, &s->back, sizeof ptr);
    s->back = ptr;
    if (s->used-- == s->most) kt_list_push(partial->next, &s->node);
    if (s->used == 0 && partial->next != partial->prev) slab_free(b, s); /* keep the last of its size */
}

static void *get(struct kt_allocator *b, size_t size)
{
    return size <= SMALL ? take(b, units(size)) : malloc(size);
}

static void put(struct kt_allocator *b, void *ptr, size_t size)
{
    if (size <= SMALL)
        give(b, ptr);
    else
        free(ptr);
}

void *kt_allocator_alloc(struct kt_allocator *b, void *ptr, size_t old, size_t size)
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

/* ---- life ---- */

void kt_allocator_init(struct kt_allocator *b)
{
    kt_list_init(&b->arenas);
    for (size_t i = 0; i < sizeof b->partial / sizeof b->partial[0]; i++) kt_list_init(&b->partial[i]);
    b->slabs = 0;
}

void kt_allocator_free(struct kt_allocator *b)
{
    while (!kt_list_empty(&b->arenas)) arena_free(KT_CONTAINER(b->arenas.next, struct arena, node));
    kt_allocator_init(b);
}
