/* Bytes to send, by offset.
 *
 * Invariant: acked <= sent <= written, and the bytes acked..written are in blocks. Of those in acked..acked_beyond
 * exactly the marked ones are acknowledged, and the one at acked is not. A byte in acked..sent that is neither marked
 * nor in `lost` is in flight, so each byte ends up either acknowledged or lost. */
#include "link/native/send_buffer.h"

#include <assert.h>
#include <string.h>
#include "base/bytes.h"

void kt_native_send_init(struct kt_native_send_buffer *s, struct kt_slab *slab)
{
    *s = (struct kt_native_send_buffer){0};
    kt_native_blocks_init(&s->blocks, slab);
}

void kt_native_send_clear(struct kt_native_send_buffer *s)
{
    kt_native_blocks_clear(&s->blocks);
    s->acked = s->acked_beyond = s->written = s->sent;
    s->losses = 0;
    s->ended = s->last_sent = true;
}

void kt_native_send_drop_unsent(struct kt_native_send_buffer *s)
{
    s->written = s->sent;
    if (s->acked == s->written) kt_native_blocks_clear(&s->blocks);
}

void kt_native_send_rewind(struct kt_native_send_buffer *s)
{
    assert(s->acked == 0 && s->acked_beyond == 0 && !s->last_acked);
    s->sent = 0;
    s->losses = 0;
    s->last_sent = false;
}

size_t kt_native_send_write(struct kt_native_send_buffer *s, const void *data, size_t n)
{
    assert(!s->ended);
    const size_t taken = kt_native_blocks_put(&s->blocks, s->written, data, n);
    s->written += taken;
    return taken;
}

/* ---- lost ranges ---- */

static void remove_range(struct kt_native_send_buffer *s, unsigned i)
{
    s->losses--;
    memmove(&s->lost[i], &s->lost[i + 1], (s->losses - i) * sizeof s->lost[0]);
}

/* Makes one of the two neighbours that are nearest to each other. */
static void join_nearest(struct kt_native_send_buffer *s)
{
    unsigned best = 0;
    for (unsigned i = 1; i + 1 < s->losses; i++)
        if (s->lost[i + 1].from - s->lost[i].end < s->lost[best + 1].from - s->lost[best].end) best = i;
    s->lost[best].end = s->lost[best + 1].end;
    remove_range(s, best + 1);
}

static void add_range(struct kt_native_send_buffer *s, uint64_t from, uint64_t end)
{
    unsigned i = 0;
    while (i < s->losses && s->lost[i].end < from) i++;
    if (i < s->losses && s->lost[i].from <= end) { /* touches this one, and perhaps more */
        if (from < s->lost[i].from) s->lost[i].from = from;
        while (i + 1 < s->losses && s->lost[i + 1].from <= end) {
            s->lost[i].end = s->lost[i + 1].end;
            remove_range(s, i + 1);
        }
        if (end > s->lost[i].end) s->lost[i].end = end;
        return;
    }
    if (s->losses == KT_NATIVE_LOST) {
        join_nearest(s);
        add_range(s, from, end); /* there is room now, or it touches the one joined */
        return;
    }
    memmove(&s->lost[i + 1], &s->lost[i], (s->losses - i) * sizeof s->lost[0]);
    s->lost[i].from = from;
    s->lost[i].end = end;
    s->losses++;
}

/* The first lost bytes that are not acknowledged. */
static bool next_lost(struct kt_native_send_buffer *s, uint64_t *from, uint64_t *end)
{
    while (s->losses > 0) {
        if (s->lost[0].from < s->acked) s->lost[0].from = s->acked;
        if (s->lost[0].from < s->lost[0].end)
            s->lost[0].from = kt_native_blocks_find(&s->blocks, s->lost[0].from, s->lost[0].end, false);
        if (s->lost[0].from < s->lost[0].end) {
            *from = s->lost[0].from;
            *end = s->lost[0].end;
            return true;
        }
        remove_range(s, 0);
    }
    return false;
}

/* ---- sending ---- */

bool kt_native_send_next(
    struct kt_native_send_buffer *s, uint64_t limit, size_t most, struct kt_native_chunk *chunk)
{
    uint64_t from, end;
    if (next_lost(s, &from, &end)) {
        end = kt_min64(end, from + most);
        end = kt_native_blocks_find(&s->blocks, from, end, true);
    } else {
        from = s->sent;
        end = kt_min64(s->written, from + most);
        if (end > limit) end = limit > from ? limit : from;
    }
    *chunk = (struct kt_native_chunk){.offset = from, .len = (size_t)(end - from)};
    chunk->last = s->ended && end == s->written && !s->last_acked;
    return chunk->len > 0 || (chunk->last && !s->last_sent);
}

void kt_native_send_sent(struct kt_native_send_buffer *s, const struct kt_native_chunk *chunk)
{
    const uint64_t end = chunk->offset + chunk->len;
    if (chunk->offset < s->sent) {
        assert(s->losses > 0 && s->lost[0].from == chunk->offset && end <= s->lost[0].end);
        s->lost[0].from = end;
        if (end == s->lost[0].end) remove_range(s, 0);
    } else {
        assert(chunk->offset == s->sent && end <= s->written);
        s->sent = end;
    }
    if (chunk->last) s->last_sent = true;
}

void kt_native_send_acked(struct kt_native_send_buffer *s, const struct kt_native_chunk *chunk)
{
    const uint64_t end = kt_min64(chunk->offset + chunk->len, s->sent);
    const uint64_t from = chunk->offset > s->acked ? chunk->offset : s->acked;
    if (chunk->last) s->last_acked = s->last_sent = true;
    if (from >= end) return;
    if (from > s->acked) {
        kt_native_blocks_mark(&s->blocks, from, end);
        if (end > s->acked_beyond) s->acked_beyond = end;
        return;
    }
    if (s->acked_beyond > end)
        s->acked = kt_native_blocks_find(&s->blocks, end, s->acked_beyond, false);
    else
        s->acked = s->acked_beyond = end;
    if (s->acked == s->written)
        kt_native_blocks_clear(&s->blocks);
    else
        kt_native_blocks_drop(&s->blocks, s->acked);
}

void kt_native_send_lost(struct kt_native_send_buffer *s, const struct kt_native_chunk *chunk)
{
    const uint64_t end = kt_min64(chunk->offset + chunk->len, s->sent);
    const uint64_t from = chunk->offset > s->acked ? chunk->offset : s->acked;
    if (from < end) add_range(s, from, end);
    if (chunk->last && !s->last_acked) s->last_sent = false;
}

bool kt_native_send_needed(const struct kt_native_send_buffer *s, const struct kt_native_chunk *chunk)
{
    const uint64_t end = kt_min64(chunk->offset + chunk->len, s->sent);
    const uint64_t from = chunk->offset > s->acked ? chunk->offset : s->acked;
    if (chunk->last && !s->last_acked) return true;
    return from < end && kt_native_blocks_find(&s->blocks, from, end, false) < end;
}
