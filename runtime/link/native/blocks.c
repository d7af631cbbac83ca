/* Blocks of a stream's bytes in a ring of pointers, which doubles as the span of offsets grows.
 *
 * Invariant: every block lies in first..end, a slot outside of it is NULL, and end - first is at most the
 * number of slots. Without blocks the ring is `few`, so an idle stream has no memory on the heap. */
#include "link/native/blocks.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"

#define SLOTS_MAX (1u << 24) /* 64 GiB of offsets */

static struct kt_native_block **slot(const struct kt_native_blocks *b, uint64_t number)
{
    return &b->ring[number & b->mask];
}

static const struct kt_native_block *block_at(const struct kt_native_blocks *b, uint64_t offset)
{
    const uint64_t number = offset / KT_NATIVE_BLOCK;
    return number >= b->first && number < b->end ? *slot(b, number) : NULL;
}

static void reset_ring(struct kt_native_blocks *b)
{
    if (b->ring != b->few) free(b->ring);
    memset(b->few, 0, sizeof b->few);
    b->ring = b->few;
    b->mask = KT_NATIVE_BLOCKS_FEW - 1;
    b->first = b->end = 0;
}

void kt_native_blocks_init(struct kt_native_blocks *b, struct kt_slab *slab)
{
    assert(kt_slab_block_size(slab) >= sizeof(struct kt_native_block));
    *b = (struct kt_native_blocks){.slab = slab};
    b->ring = b->few;
    reset_ring(b);
}

static void give_back(struct kt_native_blocks *b, uint64_t number)
{
    struct kt_native_block **at = slot(b, number);
    if (!*at) return;
    kt_slab_put(b->slab, *at);
    *at = NULL;
    b->held--;
}

void kt_native_blocks_clear(struct kt_native_blocks *b)
{
    for (uint64_t i = b->first; i < b->end && b->held > 0; i++) give_back(b, i);
    reset_ring(b);
}

void kt_native_blocks_drop(struct kt_native_blocks *b, uint64_t offset)
{
    const uint64_t to = kt_min64(offset / KT_NATIVE_BLOCK, b->end);
    for (; b->first < to; b->first++) give_back(b, b->first);
    if (b->held == 0) reset_ring(b);
}

/* Makes the ring cover first..end. */
static bool cover(struct kt_native_blocks *b, uint64_t first, uint64_t end)
{
    uint64_t slots = (uint64_t)b->mask + 1;
    while (slots < end - first) slots *= 2;
    if (slots > SLOTS_MAX) return false;
    if (slots > (uint64_t)b->mask + 1) {
        struct kt_native_block **ring = calloc((size_t)slots, sizeof(struct kt_native_block *));
        if (!ring) return false;
        for (uint64_t i = b->first; i < b->end; i++) ring[i & (slots - 1)] = *slot(b, i);
        if (b->ring != b->few) free(b->ring);
        b->ring = ring;
        b->mask = (uint32_t)(slots - 1);
    }
    b->first = first;
    b->end = end;
    return true;
}

/* The block of that number, added if need be; NULL: no memory. */
static struct kt_native_block *touch(struct kt_native_blocks *b, uint64_t number)
{
    if (number >= b->first && number < b->end && *slot(b, number)) return *slot(b, number);
    struct kt_native_block *block = kt_slab_get(b->slab);
    if (!block) return NULL;
    const bool empty = b->first == b->end;
    const uint64_t first = empty || number < b->first ? number : b->first;
    const uint64_t end = empty || number >= b->end ? number + 1 : b->end;
    if (!cover(b, first, end)) {
        kt_slab_put(b->slab, block);
        return NULL;
    }
    memset(block->marks, 0, sizeof block->marks);
    *slot(b, number) = block;
    b->held++;
    return block;
}

size_t kt_native_blocks_put(struct kt_native_blocks *b, uint64_t offset, const void *data, size_t n)
{
    const uint8_t *from = data;
    size_t done = 0;
    while (done < n) {
        struct kt_native_block *block = touch(b, offset / KT_NATIVE_BLOCK);
        if (!block) break;
        const size_t at = offset % KT_NATIVE_BLOCK, len = kt_min_size(n - done, KT_NATIVE_BLOCK - at);
        memcpy(block->data + at, from + done, len);
        done += len;
        offset += len;
    }
    return done;
}

void kt_native_blocks_copy(const struct kt_native_blocks *b, uint64_t offset, void *out, size_t n)
{
    uint8_t *to = out;
    while (n > 0) {
        const struct kt_native_block *block = block_at(b, offset);
        assert(block);
        const size_t at = offset % KT_NATIVE_BLOCK, len = kt_min_size(n, KT_NATIVE_BLOCK - at);
        memcpy(to, block->data + at, len);
        to += len;
        offset += len;
        n -= len;
    }
}

size_t kt_native_blocks_peek(
    const struct kt_native_blocks *b, uint64_t from, uint64_t end, struct kt_iov *iov, size_t max)
{
    size_t pieces = 0;
    while (from < end && pieces < max) {
        const struct kt_native_block *block = block_at(b, from);
        assert(block);
        const size_t at = from % KT_NATIVE_BLOCK;
        const size_t len = (size_t)kt_min64(end - from, KT_NATIVE_BLOCK - at);
        iov[pieces++] = (struct kt_iov){block->data + at, len};
        from += len;
    }
    return pieces;
}

/* The bits from..end of a word, 0 <= from < end <= 64. */
static uint64_t bits(unsigned from, unsigned end)
{
    return (end == 64 ? UINT64_MAX : (UINT64_C(1) << end) - 1) & (UINT64_MAX << from);
}

void kt_native_blocks_mark(struct kt_native_blocks *b, uint64_t from, uint64_t end)
{
    while (from < end) {
        struct kt_native_block *block = *slot(b, from / KT_NATIVE_BLOCK);
        const unsigned bit = from % 64;
        const unsigned len = (unsigned)kt_min64(end - from, 64 - bit);
        assert(block && from / KT_NATIVE_BLOCK >= b->first && from / KT_NATIVE_BLOCK < b->end);
        block->marks[from % KT_NATIVE_BLOCK / 64] |= bits(bit, bit + len);
        from += len;
    }
}

uint64_t kt_native_blocks_find(const struct kt_native_blocks *b, uint64_t from, uint64_t end, bool marked)
{
    while (from < end) {
        const struct kt_native_block *block = block_at(b, from);
        if (!block) {
            if (!marked) return from;
            from = (from / KT_NATIVE_BLOCK + 1) * KT_NATIVE_BLOCK;
            continue;
        }
        const uint64_t word = block->marks[from % KT_NATIVE_BLOCK / 64];
        const uint64_t found = (marked ? word : ~word) & (UINT64_MAX << from % 64);
        from = from / 64 * 64;
        if (found) return kt_min64(from + (unsigned)__builtin_ctzll(found), end);
        from += 64;
    }
    return end;
}
