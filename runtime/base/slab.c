/* A pool of equal blocks, carved from slabs of about 64 KiB.
 *
 * Each block is preceded by a 16-byte header that names its slab, so put is O(1) without aligned slabs.
 * Invariant: a slab is in exactly one of three states, given by its counts:
 *
 *   full     used == size           in no list; found through its blocks' headers
 *   partial  0 < used < size        in pool->partial; get takes from here first, to keep few slabs busy
 *   empty    used == 0              in pool->empty; trim frees these
 *
 * Blocks that were never handed out are not linked, and their memory is not touched: a large pool that is
 * little used costs little.
 *
 * AddressSanitizer sees free blocks and the headers between blocks as poisoned, so it catches use after put and
 * overruns as it would with malloc. */
#include "base/slab.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include "base/err.h"
#include "base/list.h"

#if defined(__SANITIZE_ADDRESS__)
#define KT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KT_ASAN 1
#endif
#endif

#ifdef KT_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

#define SLAB_BYTES ((size_t)64 * 1024)
#define SLAB_MIN_BLOCKS 8u
#define ALIGN 16u

struct block {
    struct slab *slab;
    struct block *next_free; /* while in use: the block itself, to detect a double put */
};
_Static_assert(sizeof(struct block) <= ALIGN, "the header must not push blocks off their alignment");

struct slab {
    struct kt_list node;
    struct block *free; /* returned blocks */
    size_t used;        /* blocks handed out */
    size_t carved;      /* blocks handed out at least once; the rest are untouched */
    struct kt_slab *pool;
    _Alignas(ALIGN) unsigned char bytes[];
};

struct kt_slab {
    struct kt_list partial, empty;
    size_t block_size;
    size_t stride;     /* header and block, rounded up */
    size_t slab_size;  /* blocks in a slab */
    size_t slabs;      /* allocated from the system */
    size_t in_use;     /* blocks handed out */
    size_t max_blocks; /* SIZE_MAX: no cap */
    size_t fail_after; /* SIZE_MAX: off */
};

static void *block_data(struct block *b)
{
    return (unsigned char *)b + ALIGN;
}

static struct block *data_block(void *data)
{
    return (struct block *)(void *)((unsigned char *)data - ALIGN);
}

static size_t slab_bytes(const struct kt_slab *pool)
{
    return sizeof(struct slab) + pool->slab_size * pool->stride;
}

int kt_slab_new(struct kt_slab **out, size_t block_size, size_t max_blocks)
{
    *out = NULL;
    if (block_size == 0 || block_size > SIZE_MAX / (4 * SLAB_MIN_BLOCKS)) return KT_EINVAL;

    struct kt_slab *pool = calloc(1, sizeof *pool);
    if (!pool) return KT_ENOMEM;
    kt_list_init(&pool->partial);
    kt_list_init(&pool->empty);
    pool->block_size = block_size;
    pool->stride = ALIGN + (block_size + ALIGN - 1) / ALIGN * ALIGN;
    pool->slab_size = (SLAB_BYTES - sizeof(struct slab)) / pool->stride;
    if (pool->slab_size < SLAB_MIN_BLOCKS) pool->slab_size = SLAB_MIN_BLOCKS;
    if (max_blocks && pool->slab_size > max_blocks) pool->slab_size = max_blocks;
    pool->max_blocks = max_blocks ? max_blocks : SIZE_MAX;
    pool->fail_after = SIZE_MAX;
    *out = pool;
    return 0;
}

static struct slab *slab_new(struct kt_slab *pool)
{
    struct slab *s = malloc(slab_bytes(pool));
    if (!s) return NULL;
    s->free = NULL;
    s->used = s->carved = 0;
    s->pool = pool;
    kt_list_init(&s->node);
    POISON(s->bytes, pool->slab_size * pool->stride);
    pool->slabs++;
    return s;
}

static void slab_free(struct slab *s)
{
    struct kt_slab *pool = s->pool;
    kt_list_remove(&s->node);
    pool->slabs--;
    UNPOISON(s->bytes, pool->slab_size * pool->stride);
    free(s);
}

void kt_slab_trim(struct kt_slab *pool)
{
    while (!kt_list_empty(&pool->empty)) slab_free(KT_CONTAINER(pool->empty.next, struct slab, node));
}

void kt_slab_free(struct kt_slab *pool)
{
    if (!pool) return;
    assert(pool->in_use == 0);
    kt_slab_trim(pool);
    free(pool);
}

/* A slab with a free block: a busy one if possible, so that idle slabs stay empty for trim. */
static struct slab *slab_pick(struct kt_slab *pool)
{
    if (!kt_list_empty(&pool->partial)) return KT_CONTAINER(pool->partial.next, struct slab, node);
    if (!kt_list_empty(&pool->empty)) return KT_CONTAINER(pool->empty.next, struct slab, node);
    return slab_new(pool);
}

void *kt_slab_get(struct kt_slab *pool)
{
    if (pool->fail_after != SIZE_MAX) {
        if (pool->fail_after == 0) return NULL;
        pool->fail_after--;
    }
    if (pool->in_use >= pool->max_blocks) return NULL;
    struct slab *s = slab_pick(pool);
    if (!s) return NULL;

    struct block *b = s->free;
    if (b) {
        UNPOISON(b, sizeof *b);
        s->free = b->next_free;
    } else {
        b = (struct block *)(void *)(s->bytes + s->carved++ * pool->stride);
        UNPOISON(b, sizeof *b);
        b->slab = s;
    }
    b->next_free = b;
    POISON(b, ALIGN); /* guards this block's start and the previous block's end */
    UNPOISON(block_data(b), pool->block_size);

    pool->in_use++;
    s->used++;
    if (s->used == pool->slab_size) {
        kt_list_remove(&s->node);
    } else if (s->used == 1) {
        kt_list_remove(&s->node);
        kt_list_push(&pool->partial, &s->node);
    }
    return block_data(b);
}

void kt_slab_put(struct kt_slab *pool, void *data)
{
    struct block *b = data_block(data);
    UNPOISON(b, sizeof *b);
    struct slab *s = b->slab;
    assert(s->pool == pool && "block belongs to another pool");
    assert(b->next_free == b && "double put");

    b->next_free = s->free;
    s->free = b;
    POISON(b, pool->stride);

    pool->in_use--;
    s->used--;
    if (s->used == 0) {
        kt_list_remove(&s->node);
        kt_list_push(&pool->empty, &s->node);
    } else if (s->used + 1 == pool->slab_size) {
        kt_list_push(&pool->partial, &s->node);
    }
}

size_t kt_slab_block_size(const struct kt_slab *pool)
{
    return pool->block_size;
}

size_t kt_slab_in_use(const struct kt_slab *pool)
{
    return pool->in_use;
}

size_t kt_slab_bytes(const struct kt_slab *pool)
{
    return sizeof *pool + pool->slabs * slab_bytes(pool);
}

void kt_slab_fail_after(struct kt_slab *pool, size_t n)
{
    pool->fail_after = n;
}
