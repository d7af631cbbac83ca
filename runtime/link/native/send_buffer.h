/* The bytes that a stream has to send, by offset. They are kept from write until they are acknowledged, in any
 * order; lost ones are sent again before new ones (docs/wire.md, 6.1).
 *
 * An event costs the bytes that it concerns, 64 at a time, and at most KT_NATIVE_LOST ranges. If more
 * ranges are lost at once, near ones are joined: acknowledged bytes between them are skipped, others are
 * sent again.
 *
 * The end of the stream is sent with the last byte, or alone if that has left already. */
#ifndef KT_LINK_NATIVE_SEND_BUFFER_H
#define KT_LINK_NATIVE_SEND_BUFFER_H

#include <stdbool.h>
#include "link/native/blocks.h"

#define KT_NATIVE_LOST 8u

/* Bytes for a frame. len may be 0 if last. */
struct kt_native_chunk {
    uint64_t offset;
    size_t len;
    bool last; /* the stream ends with it */
};

struct kt_native_send_buffer {
    struct kt_native_blocks blocks;
    uint64_t acked;        /* all bytes before it are acknowledged, and forgotten */
    uint64_t acked_beyond; /* nothing from here on is acknowledged */
    uint64_t sent;         /* no byte from here on was ever sent */
    uint64_t written;
    struct {
        uint64_t from, end;
    } lost
        [KT_NATIVE_LOST]; /* to be sent again: in order, neither empty nor touching; may hold acknowledged bytes */
    uint8_t losses;
    bool ended;      /* nothing more will be written */
    bool last_sent;  /* the end was sent */
    bool last_acked; /* the end has arrived */
};

void kt_native_send_init(struct kt_native_send_buffer *s, struct kt_slab *slab);
/* Forgets all bytes; nothing is left to be sent, nor the end of the stream. */
void kt_native_send_clear(struct kt_native_send_buffer *s);
/* Forgets the bytes that were never sent, as if they had not been written. */
void kt_native_send_drop_unsent(struct kt_native_send_buffer *s);
/* As if nothing had been sent yet. Only while nothing was acknowledged. */
void kt_native_send_rewind(struct kt_native_send_buffer *s);

/* Returns how many bytes were taken: fewer than n when out of memory. */
size_t kt_native_send_write(struct kt_native_send_buffer *s, const void *data, size_t n);

/* The next chunk to send: `most` bytes and new ones only before `limit`; false: nothing. The chunk counts as sent after
 * kt_native_send_sent, for the chunk or a shorter one that begins alike (not last, then). */
bool kt_native_send_next(
    struct kt_native_send_buffer *s, uint64_t limit, size_t most, struct kt_native_chunk *chunk);
void kt_native_send_sent(struct kt_native_send_buffer *s, const struct kt_native_chunk *chunk);

/* The fate of a chunk that was sent. Either may come repeatedly for the same bytes, and in any order. */
void kt_native_send_acked(struct kt_native_send_buffer *s, const struct kt_native_chunk *chunk);
void kt_native_send_lost(struct kt_native_send_buffer *s, const struct kt_native_chunk *chunk);
/* True if the peer still needs a chunk that was sent: some of it is not acknowledged. */
bool kt_native_send_needed(const struct kt_native_send_buffer *s, const struct kt_native_chunk *chunk);

/* Something was lost, or the end is due: to be sent whatever the credit. */
static inline bool kt_native_send_overdue(const struct kt_native_send_buffer *s)
{
    return s->losses > 0 || (s->ended && !s->last_sent && s->sent == s->written);
}
/* Bytes that were never sent. */
static inline uint64_t kt_native_send_unsent(const struct kt_native_send_buffer *s)
{
    return s->written - s->sent;
}
/* Bytes kept. */
static inline uint64_t kt_native_send_held(const struct kt_native_send_buffer *s)
{
    return s->written - s->acked;
}
/* True if everything written was acknowledged, and the end of the stream too. */
static inline bool kt_native_send_complete(const struct kt_native_send_buffer *s)
{
    return s->last_acked && s->acked == s->written;
}

#endif
