/* A slab of equal blocks, carved from chunks of about 64 KiB.
 *
 * Each block is preceded by a 16-byte header that names its chunk, so put is O(1) without aligned chunks. Blocks are
 * aligned, because libc copies a packet faster to a multiple of 32; the header takes the end of the gap before them.
 * Invariant: a chunk is in exactly one of three states, given by its counts:
 *
 *   full     used == size           in no list; found through its blocks' headers
 *   partial  0 < used < size        in slab->partial; get takes from here first, to keep few chunks busy
 *   empty    used == 0              in slab->empty; trim frees these
 *
 * Blocks that were never handed out are not linked, and their memory is not touched: a large slab that is
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

#define CHUNK_BYTES ((size_t)64 * 1024)
#define CHUNK_MIN_BLOCKS 8u
#define HEADER 16u
#define GAP (KT_SLAB_ALIGN - HEADER) /* before the first header, so that its block is aligned */

struct block {
    struct chunk *chunk;
    struct block *next_free; /* while in use: the block itself, to detect a double put */
};
_Static_assert(sizeof(struct block) <= HEADER, "the header must fit before the block");

struct chunk {
    struct kt_list node;
    struct block *free; /* returned blocks */
    size_t used;        /* blocks handed out */
    size_t carved;      /* blocks handed out at least once; the rest are untouched */
    struct kt_slab *slab;
    _Alignas(KT_SLAB_ALIGN) unsigned char gap[GAP];
    unsigned char bytes[];
};

struct kt_slab {
    struct kt_list partial, empty;
    size_t block_size;
    size_t stride;       /* header and block, rounded up */
    size_t chunk_blocks; /* blocks in a chunk */
    size_t chunks;       /* allocated from the system */
    size_t in_use;       /* blocks handed out */
    size_t max_blocks;   /* SIZE_MAX: no cap */
    size_t fail_after;   /* SIZE_MAX: off */
};

static void *block_data(struct block *b)
{
    return (unsigned char *)b + HEADER;
}

static struct block *data_block(void *data)
{
    return (struct block *)(void *)((unsigned char *)data - HEADER);
}

static size_t round_up(size_t bytes)
{
    return (bytes + KT_SLAB_ALIGN - 1) / KT_SLAB_ALIGN * KT_SLAB_ALIGN;
}

static size_t chunk_bytes(const struct kt_slab *slab)
{
    return round_up(sizeof(struct chunk) + slab->chunk_blocks * slab->stride);
}

int kt_slab_new(struct kt_slab **out, size_t block_size, size_t max_blocks)
{
    *out = NULL;
    if (block_size == 0 || block_size > SIZE_MAX / (4 * CHUNK_MIN_BLOCKS)) return KT_EINVAL;

    struct kt_slab *slab = calloc(1, sizeof *slab);
    if (!slab) return KT_ENOMEM;
    kt_list_init(&slab->partial);
    kt_list_init(&slab->empty);
    slab->block_size = block_size;
    slab->stride = round_up(HEADER + block_size);
    slab->chunk_blocks = (CHUNK_BYTES - sizeof(struct chunk)) / slab->stride;
    if (slab->chunk_blocks < CHUNK_MIN_BLOCKS) slab->chunk_blocks = CHUNK_MIN_BLOCKS;
    if (max_blocks && slab->chunk_blocks > max_blocks) slab->chunk_blocks = max_blocks;
    slab->max_blocks = max_blocks ? max_blocks : SIZE_MAX;
    slab->fail_after = SIZE_MAX;
    *out = slab;
    return 0;
}

static struct chunk *chunk_new(struct kt_slab *slab)
{
    struct chunk *s = aligned_alloc(KT_SLAB_ALIGN, chunk_bytes(slab));
    if (!s) return NULL;
    s->free = NULL;
    s->used = s->carved = 0;
    s->slab = slab;
    kt_list_init(&s->node);
    POISON(s->bytes, slab->chunk_blocks * slab->stride);
    slab->chunks++;
    return s;
}

static void chunk_free(struct chunk *s)
{
    struct kt_slab *slab = s->slab;
    kt_list_remove(&s->node);
    slab->chunks--;
    UNPOISON(s->bytes, slab->chunk_blocks * slab->stride);
    free(s);
}

void kt_slab_trim(struct kt_slab *slab)
{
    while (!kt_list_empty(&slab->empty)) chunk_free(KT_CONTAINER(slab->empty.next, struct chunk, node));
}

void kt_slab_free(struct kt_slab *slab)
{
    if (!slab) return;
    assert(slab->in_use == 0);
    kt_slab_trim(slab);
    free(slab);
}

/* A chunk with a free block: a busy one if possible, so that idle chunks stay empty for trim. Of the busy ones the
 * first to have had a free block: it has the most of them by now, so one chunk serves many calls, also where blocks
 * are put out of order. Of the empty ones the last, whose memory is the most likely to be in the cache. */
static struct chunk *chunk_pick(struct kt_slab *slab)
{
    if (!kt_list_empty(&slab->partial)) return KT_CONTAINER(slab->partial.next, struct chunk, node);
    if (!kt_list_empty(&slab->empty)) return KT_CONTAINER(slab->empty.prev, struct chunk, node);
    return chunk_new(slab);
}

void *kt_slab_get(struct kt_slab *slab)
{
    if (slab->fail_after != SIZE_MAX) {
        if (slab->fail_after == 0) return NULL;
        slab->fail_after--;
    }
    if (slab->in_use >= slab->max_blocks) return NULL;
    struct chunk *s = chunk_pick(slab);
    if (!s) return NULL;

    struct block *b = s->free;
    if (b) {
        UNPOISON(b, sizeof *b);
        s->free = b->next_free;
    } else {
        b = (struct block *)(void *)(s->bytes + s->carved++ * slab->stride);
        UNPOISON(b, sizeof *b);
        b->chunk = s;
    }
    b->next_free = b;
    POISON(b, HEADER); /* guards this block's start and the previous block's end */
    UNPOISON(block_data(b), slab->block_size);

    slab->in_use++;
    s->used++;
    if (s->used == slab->chunk_blocks) {
        kt_list_remove(&s->node);
    } else if (s->used == 1) {
        kt_list_remove(&s->node);
        kt_list_push(&slab->partial, &s->node);
    }
    return block_data(b);
}

void kt_slab_put(struct kt_slab *slab, void *data)
{
    struct block *b = data_block(data);
    UNPOISON(b, sizeof *b);
    struct chunk *s = b->chunk;
    assert(s->slab == slab && "block belongs to another slab");
    assert(b->next_free == b && "double put");

    b->next_free = s->free;
    s->free = b;
    POISON(b, slab->stride);

    slab->in_use--;
    s->used--;
    if (s->used == 0) {
        kt_list_remove(&s->node);
        kt_list_push(&slab->empty, &s->node);
    } else if (s->used + 1 == slab->chunk_blocks) {
        kt_list_push(&slab->partial, &s->node);
    }
}

size_t kt_slab_block_size(const struct kt_slab *slab)
{
    return slab->block_size;
}

size_t kt_slab_in_use(const struct kt_slab *slab)
{
    return slab->in_use;
}

size_t kt_slab_bytes_in_use(const struct kt_slab *slab)
{
    return slab->in_use * slab->block_size;
}

size_t kt_slab_bytes(const struct kt_slab *slab)
{
    return sizeof *slab + slab->chunks * chunk_bytes(slab);
}

void kt_slab_fail_after(struct kt_slab *slab, size_t n)
{
    slab->fail_after = n;
}
