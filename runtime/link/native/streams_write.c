/* Frames to the peer. Those about credit and ends go first; then data, with the OPEN of streams that start, by priority
 * and weight. A lost frame is due again only if it still matters.
 *
 * Invariant: a stream is in `ready` exactly while it has an OPEN, bytes or an end to send that its credit allows; in
 * `starved` if only the association's credit keeps it from that. */
#include "link/native/stream.h"

#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "link/native/varint.h"

/* Bytes are not split for a rest of a packet smaller than this. */
#define SPLIT_MIN 48u

struct writer {
    struct kt_native_streams *s;
    uint8_t *out;
    size_t room, used;
    struct kt_native_content *contents;
    size_t count;
};

/* ---- who waits for what ---- */

void kt_native_stream_due(struct kt_native_stream *st, unsigned frames)
{
    if (st->all->ended) return;
    st->due |= (uint8_t)frames;
    if (st->id > 0 && kt_list_empty(&st->due_node)) kt_list_push(&st->all->due, &st->due_node);
    kt_native_streams_wake(st->all);
}

static void set_line(struct kt_native_stream *st, enum kt_native_line line)
{
    struct kt_native_streams *s = st->all;
    if (line == st->line) return;
    kt_list_remove(&st->entry.node);
    st->line = (uint8_t)line;
    switch (line) {
    case KT_NATIVE_LINE_NONE:
        return;
    case KT_NATIVE_LINE_READY:
        kt_stream_schedule_add(&s->ready, &st->entry);
        kt_native_streams_wake(s);
        return;
    case KT_NATIVE_LINE_STARVED:
        kt_stream_schedule_add(&s->starved, &st->entry);
        if (s->blocked_at == s->max_data_out) return;
        s->blocked_at = s->max_data_out;
        s->due_blocked = true;
        kt_native_streams_wake(s);
        return;
    case KT_NATIVE_LINE_UNNAMED:
        kt_list_push(&s->unnamed, &st->entry.node);
        return;
    }
}

static void set_blocked(struct kt_native_stream *st)
{
    if (st->blocked_at == st->out.sent) return;
    st->blocked_at = st->out.sent;
    kt_native_stream_due(st, KT_NATIVE_DUE_BLOCKED);
}

void kt_native_stream_place(struct kt_native_stream *st)
{
    const struct kt_native_streams *s = st->all;
    if (s->ended || st->out_over) {
        set_line(st, KT_NATIVE_LINE_NONE);
    } else if (st->id == 0) {
        set_line(st, s->own_next < s->own_limit ? KT_NATIVE_LINE_READY : KT_NATIVE_LINE_UNNAMED);
    } else if (kt_native_send_overdue(&st->out)) {
        set_line(st, KT_NATIVE_LINE_READY);
    } else if (kt_native_send_unsent(&st->out) == 0) {
        set_line(st, KT_NATIVE_LINE_NONE);
    } else if (st->out.sent < kt_native_credit_limit(st)) {
        set_line(st, KT_NATIVE_LINE_READY);
    } else {
        set_line(st, st->out.sent < st->out_limit ? KT_NATIVE_LINE_STARVED : KT_NATIVE_LINE_NONE);
        set_blocked(st);
    }
}

void kt_native_streams_place_unnamed(struct kt_native_streams *s)
{
    uint64_t more = s->own_limit - s->own_next;
    struct kt_list *node;
    while (more-- > 0 && (node = kt_list_pop(&s->unnamed))) {
        struct kt_native_stream *st = KT_CONTAINER(node, struct kt_native_stream, entry.node);
        st->line = KT_NATIVE_LINE_NONE;
        kt_native_stream_place(st);
    }
}

bool kt_native_streams_pending(struct kt_native_streams *s)
{
    if (s->ended) return false;
    return s->due_max_data || s->due_max_streams || s->due_blocked || !kt_list_empty(&s->due) ||
           !kt_stream_schedule_empty(&s->ready) ||
           (!kt_stream_schedule_empty(&s->starved) && kt_native_credit_left(s));
}

/* ---- frames ---- */

static bool full(const struct writer *w)
{
    return w->count == KT_NATIVE_CONTENTS;
}

static void note(struct writer *w, uint8_t type, uint64_t id, uint64_t offset, size_t length)
{
    w->contents[w->count++] =
        (struct kt_native_content){.id = id, .offset = offset, .length = (uint32_t)length, .type = type};
}

static size_t put(struct writer *w, const struct kt_native_frame *f)
{
    const size_t n = kt_native_frame_write(w->out + w->used, w->room - w->used, f);
    w->used += n;
    return n;
}

static void fill_open(const struct kt_native_stream *st, uint64_t id, struct kt_native_frame *f)
{
    const struct kt_native_opened *o = st->opened;
    const char *at = o->text;
    struct kt_native_text texts[3];
    for (unsigned i = 0; i < 3; at += o->len[i++] + 1) texts[i] = (struct kt_native_text){at, o->len[i]};
    f->type = KT_NATIVE_FRAME_OPEN;
    f->open = (struct kt_native_open){.id = id,
        .priority = st->entry.priority,
        .weight = st->entry.weight,
        .target = texts[0],
        .client = texts[1],
        .name = texts[2]};
}

/* Fills in one frame that is due, and what its content remembers of it. False: it does not matter any more. */
static bool fill(struct kt_native_stream *st, unsigned frame, struct kt_native_frame *f, uint64_t *offset)
{
    *offset = 0;
    switch (frame) {
    case KT_NATIVE_DUE_OPEN:
        if (!st->opened || (st->reset && st->reset_at == 0)) return false;
        fill_open(st, st->id, f);
        return true;
    case KT_NATIVE_DUE_RESET:
        if (st->reset_acked) return false;
        f->type = KT_NATIVE_FRAME_RESET;
        f->reset.id = st->id;
        f->reset.offset = *offset = st->reset_at;
        f->reset.code = st->reset_code;
        f->reset.text = (struct kt_native_text){st->text, st->text ? strlen(st->text) : 0};
        return true;
    case KT_NATIVE_DUE_STOP:
        if (st->stop != KT_NATIVE_STOP_SENT || st->reset) return false;
        f->type = KT_NATIVE_FRAME_STOP;
        f->stop.id = st->id;
        f->stop.taken = st->stop_at;
        return true;
    case KT_NATIVE_DUE_CREDIT:
        if (st->stop != KT_NATIVE_STOP_NONE || st->in_over || st->reset) return false;
        f->type = KT_NATIVE_FRAME_MAX_STREAM_DATA;
        f->max_stream_data.id = st->id;
        f->max_stream_data.taken = st->in_taken;
        f->max_stream_data.window = st->in_limit - st->in_taken;
        *offset = st->in_limit;
        return true;
    default:
        if (st->line == KT_NATIVE_LINE_READY || st->out_over || st->out.sent != st->blocked_at) return false;
        f->type = KT_NATIVE_FRAME_BLOCKED;
        f->blocked.id = st->id;
        f->blocked.offset = *offset = st->blocked_at;
        return true;
    }
}

static bool write_due(struct writer *w, struct kt_native_stream *st)
{
    while (st->due != 0) {
        const unsigned frame = st->due & (~(unsigned)st->due + 1); /* the lowest bit */
        struct kt_native_frame f;
        uint64_t offset;
        if (full(w)) return false;
        if (frame == KT_NATIVE_DUE_CREDIT) kt_native_credit_announce(st);
        if (fill(st, frame, &f, &offset)) {
            if (put(w, &f) == 0) return false;
            note(w, f.type, st->id, offset, 0);
        }
        st->due &= (uint8_t)~frame;
    }
    kt_list_remove(&st->due_node);
    return true;
}

/* Likewise a frame about the association, with the one number that it has. */
static void fill_of_all(uint8_t type, uint64_t number, struct kt_native_frame *f)
{
    f->type = type;
    switch (type) {
    case KT_NATIVE_FRAME_MAX_DATA:
        f->max_data = number;
        return;
    case KT_NATIVE_FRAME_MAX_STREAMS:
        f->max_streams = number;
        return;
    default:
        f->blocked.id = 0;
        f->blocked.offset = number;
    }
}

static bool write_of_all(struct writer *w, uint8_t type, uint64_t number)
{
    struct kt_native_frame f;
    fill_of_all(type, number, &f);
    if (full(w) || put(w, &f) == 0) return false;
    note(w, type, 0, number, 0);
    return true;
}

static bool write_credit(struct writer *w)
{
    struct kt_native_streams *s = w->s;
    if (s->due_max_data) {
        if (!write_of_all(w, KT_NATIVE_FRAME_MAX_DATA, s->max_data_want)) return false;
        s->max_data_in = s->max_data_want;
        s->due_max_data = false;
    }
    if (s->due_max_streams) {
        const uint64_t streams = kt_native_credit_streams(s);
        if (!write_of_all(w, KT_NATIVE_FRAME_MAX_STREAMS, streams)) return false;
        s->peer_limit = streams;
        s->due_max_streams = false;
    }
    if (s->due_blocked) {
        if (!write_of_all(w, KT_NATIVE_FRAME_BLOCKED, s->blocked_at)) return false;
        s->due_blocked = false;
    }
    return true;
}

static bool write_open(struct writer *w, struct kt_native_stream *st)
{
    struct kt_native_streams *s = w->s;
    const uint64_t id = 2 * s->own_next + (s->cfg.client ? 1 : 2);
    struct kt_native_frame f;
    if (s->own_next >= s->own_limit) {
        kt_native_stream_place(st);
        return true;
    }
    fill_open(st, id, &f);
    const size_t n = put(w, &f);
    if (n == 0) return false;
    if (kt_native_stream_name(st, id) < 0) {
        w->used -= n;
        return false;
    }
    note(w, f.type, id, 0, 0);
    s->own_next++;
    if (st->due != 0) kt_native_stream_due(st, st->due);
    kt_native_stream_place(st);
    kt_stream_schedule_sent(&s->ready, &st->entry, n, st->line == KT_NATIVE_LINE_READY);
    return true;
}

/* How much of a chunk fits; rest: its frame takes all the room, and needs no length. */
static size_t fits(const struct writer *w, uint64_t id, const struct kt_native_chunk *chunk, bool *rest)
{
    const size_t room = w->room - w->used;
    const size_t header = 1 + kt_native_varint_size(id) + kt_native_varint_size(chunk->offset);
    *rest = room > header && chunk->len >= room - header;
    const size_t most = *rest ? room - header : kt_native_data_fits(room, id, chunk->offset);
    return kt_min_size(chunk->len, most);
}

/* Writes the frame header of a chunk. Returns its length; 0: no room for it and the bytes. */
static size_t put_header(struct writer *w, uint64_t id, const struct kt_native_chunk *chunk, bool rest)
{
    const struct kt_native_data d = {.id = id, .offset = chunk->offset, .len = chunk->len};
    const unsigned type =
        KT_NATIVE_FRAME_DATA | (chunk->last ? KT_NATIVE_DATA_LAST : 0) | (rest ? 0 : KT_NATIVE_DATA_LENGTH);
    return kt_native_data_header(w->out + w->used, w->room - w->used, &d, (uint8_t)type);
}

static bool write_data(struct writer *w, struct kt_native_stream *st, size_t most)
{
    struct kt_native_streams *s = w->s;
    struct kt_native_chunk chunk;
    bool rest;
    if (!kt_native_send_next(&st->out, kt_native_credit_limit(st), most, &chunk)) {
        kt_native_stream_place(st);
        return true;
    }
    const size_t n = fits(w, st->id, &chunk, &rest);
    if (n < chunk.len && n < SPLIT_MIN) return false;
    if (n < chunk.len) chunk.last = false;
    chunk.len = n;
    const size_t header = put_header(w, st->id, &chunk, rest);
    if (header == 0) return false;
    kt_native_blocks_copy(&st->out.blocks, chunk.offset, w->out + w->used + header, n);
    w->used += header + n;
    note(
        w, (uint8_t)(KT_NATIVE_FRAME_DATA | (chunk.last ? KT_NATIVE_DATA_LAST : 0)), st->id, chunk.offset, n);
    if (chunk.offset < st->out.sent) {
        s->resent += n;
    } else {
        s->sent += n;
        st->sent_us = s->now_us;
    }
    kt_native_send_sent(&st->out, &chunk);
    kt_native_credit_count_out(st);
    kt_native_stream_place(st);
    kt_stream_schedule_sent(&s->ready, &st->entry, n, st->line == KT_NATIVE_LINE_READY);
    kt_native_stream_offer(st);
    return true;
}

/* One more frame with data, or an OPEN; false: no room, or nothing to send. */
static bool write_next(struct writer *w)
{
    struct kt_native_streams *s = w->s;
    size_t most;
    if (full(w) || w->used == w->room) return false;
    if (!kt_stream_schedule_empty(&s->starved) && kt_native_credit_left(s)) {
        struct kt_stream_entry *e = kt_stream_schedule_next(&s->starved, &most);
        kt_native_stream_place(KT_CONTAINER(e, struct kt_native_stream, entry));
    }
    struct kt_stream_entry *e = kt_stream_schedule_next(&s->ready, &most);
    if (!e) return false;
    struct kt_native_stream *st = KT_CONTAINER(e, struct kt_native_stream, entry);
    return st->id == 0 ? write_open(w, st) : write_data(w, st, most);
}

size_t kt_native_streams_write(
    struct kt_native_streams *s, uint8_t *out, size_t room, struct kt_native_content *contents, size_t *count)
{
    struct writer w = {.s = s, .out = out, .room = room, .contents = contents, .count = *count};
    if (s->ended) return 0;
    kt_native_streams_enter(s);
    bool more = write_credit(&w);
    while (more && !kt_list_empty(&s->due))
        more = write_due(&w, KT_CONTAINER(s->due.next, struct kt_native_stream, due_node));
    while (more) more = write_next(&w);
    *count = w.count;
    kt_native_streams_leave(s);
    return w.used;
}

/* ---- fates ---- */

static unsigned due_of(uint8_t type)
{
    switch (type) {
    case KT_NATIVE_FRAME_OPEN:
        return KT_NATIVE_DUE_OPEN;
    case KT_NATIVE_FRAME_RESET:
        return KT_NATIVE_DUE_RESET;
    case KT_NATIVE_FRAME_STOP:
        return KT_NATIVE_DUE_STOP;
    case KT_NATIVE_FRAME_MAX_STREAM_DATA:
        return KT_NATIVE_DUE_CREDIT;
    case KT_NATIVE_FRAME_BLOCKED:
        return KT_NATIVE_DUE_BLOCKED;
    default:
        return 0;
    }
}

/* True if no later frame has taken a content's place. */
static bool is_latest(const struct kt_native_stream *st, const struct kt_native_content *c)
{
    switch (c->type) {
    case KT_NATIVE_FRAME_RESET:
        return c->offset == st->reset_at;
    case KT_NATIVE_FRAME_MAX_STREAM_DATA:
        return c->offset == st->in_limit;
    case KT_NATIVE_FRAME_BLOCKED:
        return c->offset == st->blocked_at;
    default:
        return true;
    }
}

static struct kt_native_chunk chunk_of(const struct kt_native_content *c)
{
    return (struct kt_native_chunk){c->offset, c->length, c->type & KT_NATIVE_DATA_LAST};
}

/* Likewise for a frame about the association. */
static bool is_latest_of_all(const struct kt_native_streams *s, const struct kt_native_content *c)
{
    switch (c->type) {
    case KT_NATIVE_FRAME_MAX_DATA:
        return c->offset == s->max_data_in;
    case KT_NATIVE_FRAME_MAX_STREAMS:
        return c->offset == s->peer_limit;
    default:
        return c->offset == s->max_data_out && !kt_native_credit_left(s);
    }
}

void kt_native_streams_acked(struct kt_native_streams *s, const struct kt_native_content *c)
{
    struct kt_native_stream *st = c->id > 0 && !s->ended ? kt_native_streams_find(s, c->id) : NULL;
    if (!st) return;
    if (kt_native_frame_is_data(c->type)) {
        const struct kt_native_chunk chunk = chunk_of(c);
        if (st->out_over) return;
        kt_native_stream_know(st);
        s->queued -= kt_native_send_held(&st->out);
        kt_native_send_acked(&st->out, &chunk);
        s->queued += kt_native_send_held(&st->out);
        kt_native_stream_offer(st);
    } else if (c->type == KT_NATIVE_FRAME_OPEN) {
        kt_native_stream_know(st);
        free(st->opened);
        st->opened = NULL;
    } else if (c->type == KT_NATIVE_FRAME_RESET) {
        st->reset_acked = st->reset_acked || c->offset == st->reset_at;
    } else if (c->type == KT_NATIVE_FRAME_STOP) {
        st->stop = KT_NATIVE_STOP_ACKED;
    } else {
        return;
    }
    kt_native_stream_settle(st);
}

void kt_native_streams_lost(struct kt_native_streams *s, const struct kt_native_content *c)
{
    if (s->ended) return;
    if (c->id == 0) {
        if (!is_latest_of_all(s, c)) return;
        s->due_max_data |= c->type == KT_NATIVE_FRAME_MAX_DATA;
        s->due_max_streams |= c->type == KT_NATIVE_FRAME_MAX_STREAMS;
        s->due_blocked |= c->type == KT_NATIVE_FRAME_BLOCKED;
        kt_native_streams_wake(s);
        return;
    }
    struct kt_native_stream *st = kt_native_streams_find(s, c->id);
    if (!st) return;
    if (kt_native_frame_is_data(c->type)) {
        const struct kt_native_chunk chunk = chunk_of(c);
        if (st->out_over || (st->reset && st->reset_at == 0)) return;
        kt_native_send_lost(&st->out, &chunk);
        kt_native_stream_place(st);
    } else if (is_latest(st, c)) {
        kt_native_stream_due(st, due_of(c->type));
    }
}

/* ---- copies ---- */

/* Bytes that were acknowledged meanwhile are gone, and left out. */
static size_t copy_data(struct writer *w, struct kt_native_stream *st, const struct kt_native_content *c)
{
    struct kt_native_chunk chunk = chunk_of(c);
    bool rest;
    if (st->out_over || (st->reset && st->reset_at == 0) || !kt_native_send_needed(&st->out, &chunk))
        return 0;
    if (chunk.offset < st->out.acked) {
        const size_t gone = (size_t)kt_min64(st->out.acked - chunk.offset, chunk.len);
        chunk.offset += gone;
        chunk.len -= gone;
    }
    if (fits(w, st->id, &chunk, &rest) < chunk.len) return 0;
    const size_t header = put_header(w, st->id, &chunk, rest);
    if (header == 0) return 0;
    kt_native_blocks_copy(&st->out.blocks, chunk.offset, w->out + header, chunk.len);
    w->s->resent += chunk.len;
    return header + chunk.len;
}

uint64_t kt_native_streams_inflight(struct kt_native_streams *s, uint64_t id)
{
    const struct kt_native_stream *st = kt_native_streams_find(s, id);
    return st ? st->out.sent - st->out.acked : 0;
}

size_t kt_native_streams_copy(
    struct kt_native_streams *s, const struct kt_native_content *c, uint8_t *out, size_t room)
{
    struct writer w = {.s = s, .out = out, .room = room};
    struct kt_native_frame f;
    uint64_t offset;
    if (s->ended) return 0;
    if (c->id == 0) {
        if (!is_latest_of_all(s, c)) return 0;
        f.type = c->type;
        fill_of_all(c->type, c->offset, &f);
        return put(&w, &f);
    }
    struct kt_native_stream *st = kt_native_streams_find(s, c->id);
    if (!st) return 0;
    if (kt_native_frame_is_data(c->type)) return copy_data(&w, st, c);
    if (!is_latest(st, c)) return 0;
    return fill(st, due_of(c->type), &f, &offset) ? put(&w, &f) : 0;
}
