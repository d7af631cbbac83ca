/* The table of streams: opening and closing, and moving streams to another association.
 *
 * Invariant: a stream is in the table if and only if it has an id. Ids of the peer below peer_next, and own ones below
 * own_next, that are not in the table have closed. */
#include "link/native/stream.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "base/text.h"

#define FRAME_SIZE 1452u /* about the payload of a packet */
#define FRAME_OVERHEAD 12u

/* ---- the table ---- */

struct kt_native_stream *kt_native_streams_find(struct kt_native_streams *s, uint64_t id)
{
    if (s->last && s->last->id == id) return s->last;
    struct kt_hnode *node = kt_hmap_find(&s->table, kt_hash_u64(id, s->cfg.hash_seed));
    for (; node; node = kt_hmap_again(node)) {
        struct kt_native_stream *st = KT_CONTAINER(node, struct kt_native_stream, node);
        if (st->id != id) continue;
        s->last = st;
        return st;
    }
    return NULL;
}

struct kt_native_stream *kt_native_stream_new(struct kt_native_streams *s, bool ours)
{
    struct kt_native_stream *st = calloc(1, sizeof *st);
    if (!st) return NULL;
    st->pipe.ops = &kt_native_stream_pipe_ops;
    st->all = s;
    kt_stream_entry_init(&st->entry);
    kt_list_init(&st->due_node);
    kt_list_init(&st->touched);
    kt_list_push(&s->list, &st->sibling);
    kt_native_send_init(&st->out, s->slabs.out);
    kt_native_recv_init(&st->in, s->slabs.in);
    st->out_limit = s->cfg.peers.max_stream_data;
    st->in_limit = st->in_window = st->grown_limit = s->cfg.ours.max_stream_data;
    st->blocked_at = st->in_reset = UINT64_MAX;
    st->ours = ours;
    st->known = !ours;
    st->user = true;
    s->count++;
    s->own += ours;
    s->nameless++;
    s->recount = true;
    return st;
}

int kt_native_stream_name(struct kt_native_stream *st, uint64_t id)
{
    const int rc = kt_hmap_add(&st->all->table, &st->node, kt_hash_u64(id, st->all->cfg.hash_seed));
    if (rc < 0) return rc;
    st->id = id;
    st->all->nameless--;
    return 0;
}

static bool over(const struct kt_native_streams *s)
{
    return s->torn && s->count == 0 && s->busy == 0;
}

static void destroy(struct kt_native_streams *s)
{
    void (*freed)(void *ctx) = s->cfg.freed;
    void *ctx = s->cfg.freed_ctx;
    kt_hmap_free(&s->table);
    free(s);
    if (freed) freed(ctx);
}

void kt_native_stream_free(struct kt_native_stream *st)
{
    struct kt_native_streams *s = st->all;
    const bool of_peer = !st->ours && st->id > 0;
    kt_native_stream_end_out(st);
    kt_native_stream_drop_in(st);
    st->in_over = true;
    kt_native_credit_count_in(st);
    kt_native_stream_silence(st);
    kt_list_remove(&st->entry.node);
    kt_list_remove(&st->due_node);
    kt_list_remove(&st->sibling);
    if (s->last == st) s->last = NULL;
    if (st->id > 0) kt_hmap_remove(&s->table, &st->node);
    s->own -= st->ours;
    s->nameless -= st->id == 0;
    if (s->crowded) kt_native_streams_wake(s);
    free(st->opened);
    free(st->text);
    free(st);
    s->count--;
    s->recount = true;
    if (of_peer) {
        s->peer_closed++;
        kt_native_credit_count_streams(s);
    }
    if (over(s)) destroy(s);
}

/* ---- ends ---- */

void kt_native_stream_end_out(struct kt_native_stream *st)
{
    if (st->out_over) return;
    st->all->queued -= kt_native_send_held(&st->out);
    kt_native_send_clear(&st->out);
    st->out_over = true;
    kt_native_credit_count_out(st);
    kt_native_stream_place(st);
}

void kt_native_stream_drop_in(struct kt_native_stream *st)
{
    st->stop_at = st->in.taken;
    st->all->unread -= st->in.ready - st->in.taken;
    kt_native_recv_clear(&st->in);
}

/* The direction from the peer is over once this end wants nothing more from it and has said so with STOP or RESET.
 * A stream that ended within min_stream_data needs no STOP: it charged nothing. */
static bool settle_in(struct kt_native_stream *st)
{
    const bool complete = kt_native_recv_complete(&st->in);
    if (st->in_over) return true;
    if (st->reset) return st->reset_acked;
    if (st->user && (st->in.ready > st->in.taken || !(complete || st->reset_in))) return false;
    if (complete && st->in.final <= st->all->cfg.ours.min_stream_data) return true;
    if (st->stop == KT_NATIVE_STOP_NONE) {
        st->stop = KT_NATIVE_STOP_SENT;
        if (st->user) st->stop_at = st->in.taken;
        kt_native_stream_due(st, KT_NATIVE_DUE_STOP);
    }
    return st->stop == KT_NATIVE_STOP_ACKED;
}

/* The direction to the peer is over once it has everything, OPEN included, and has taken all but min_stream_data: until
 * it says so, the rest is charged. */
static bool settle_out(const struct kt_native_stream *st)
{
    if (st->out_over) return true;
    if (st->out.sent > st->all->cfg.peers.min_stream_data && !st->stopped) return false;
    if (st->reset && st->reset_at == 0) return st->reset_acked;
    if (st->ours && st->opened) return false;
    if (st->reset) return st->reset_acked && st->out.acked >= st->reset_at;
    return kt_native_send_complete(&st->out);
}

bool kt_native_stream_settle(struct kt_native_stream *st)
{
    if (settle_in(st)) st->in_over = true;
    kt_native_credit_count_in(st);
    if (settle_out(st)) kt_native_stream_end_out(st);
    if (st->user || !st->in_over || !st->out_over) return true;
    kt_native_stream_free(st);
    return false;
}

/* ---- opening ---- */

bool kt_native_streams_exhausted(const struct kt_native_streams *s)
{
    return !s->ended && !s->due_max_streams && s->peer_next >= s->peer_limit;
}

bool kt_native_streams_has_room(const struct kt_native_streams *s)
{
    if (s->cfg.own_streams > 0 && s->own >= s->cfg.own_streams) return false;
    return s->own_next + s->nameless < s->own_limit + KT_NATIVE_OPENS_AHEAD;
}

int kt_native_stream_set_opened(struct kt_native_stream *st, const struct kt_native_text texts[3])
{
    size_t size = sizeof *st->opened;
    for (unsigned i = 0; i < 3; i++) size += texts[i].len + 1;
    struct kt_native_opened *o = malloc(size);
    if (!o) return KT_ENOMEM;
    char *to = o->text;
    for (unsigned i = 0; i < 3; i++) {
        o->len[i] = (uint8_t)texts[i].len;
        if (texts[i].len > 0) memcpy(to, texts[i].data, texts[i].len);
        to[texts[i].len] = '\0';
        to += texts[i].len + 1;
    }
    st->opened = o;
    return 0;
}

void kt_native_stream_set_text(struct kt_native_stream *st, const char *text, size_t len, size_t most)
{
    if (len > most) len = kt_text_cut(text, most);
    free(st->text);
    st->text = len > 0 ? malloc(len + 1) : NULL;
    if (!st->text) return;
    memcpy(st->text, text, len);
    st->text[len] = '\0';
}

static struct kt_native_text text_of(const char *text)
{
    return (struct kt_native_text){text, text ? strlen(text) : 0};
}

int kt_native_streams_open(
    struct kt_native_streams *s, const struct kt_open_options *options, struct kt_pipe **out)
{
    const struct kt_native_text texts[3] = {
        text_of(options->target), text_of(options->client), text_of(options->name)};
    *out = NULL;
    if (s->ended) return KT_ECLOSED;
    for (unsigned i = 0; i < 3; i++)
        if (texts[i].len > KT_NATIVE_NAME_MAX) return KT_EINVAL;
    if (!kt_native_streams_has_room(s)) {
        s->crowded = true;
        return KT_EAGAIN;
    }
    struct kt_native_stream *st = kt_native_stream_new(s, true);
    if (!st) return KT_ENOMEM;
    if (kt_native_stream_set_opened(st, texts) < 0) {
        kt_native_stream_free(st);
        return KT_ENOMEM;
    }
    kt_stream_entry_set(&st->entry, &options->policy);
    st->handed = true;
    kt_native_stream_place(st);
    *out = &st->pipe;
    return 0;
}

/* ---- lifecycle ---- */

int kt_native_streams_new(struct kt_native_streams **out, const struct kt_native_streams_config *cfg,
    const struct kt_native_streams_owner *owner, void *ctx, const struct kt_native_slabs *slabs)
{
    *out = NULL;
    if (cfg->ours.max_streams > KT_NATIVE_STREAMS_MAX ||
        cfg->ours.min_stream_data > cfg->ours.max_stream_data ||
        kt_slab_block_size(slabs->in) < sizeof(struct kt_native_block) ||
        kt_slab_block_size(slabs->out) < sizeof(struct kt_native_block))
        return KT_EINVAL;
    struct kt_native_streams *s = calloc(1, sizeof *s);
    if (!s) return KT_ENOMEM;
    s->cfg = *cfg;
    s->owner = *owner;
    s->ctx = ctx;
    s->slabs = *slabs;
    kt_hmap_init(&s->table);
    kt_list_init(&s->list);
    kt_list_init(&s->touched);
    kt_list_init(&s->arrivals);
    s->accepts_left = UINT32_MAX;
    kt_list_init(&s->cuts);
    kt_list_init(&s->due);
    kt_list_init(&s->unnamed);
    kt_stream_schedule_init(&s->ready, FRAME_SIZE, FRAME_OVERHEAD);
    kt_stream_schedule_init(&s->starved, FRAME_SIZE, FRAME_OVERHEAD);
    s->own_limit = cfg->peers.max_streams;
    s->peer_limit = cfg->ours.max_streams;
    s->max_data_in = s->max_data_want = cfg->ours.max_data;
    s->max_data_out = cfg->peers.max_data;
    s->blocked_at = UINT64_MAX;
    *out = s;
    return 0;
}

/* Once no call is under way: no stream will send anything more. */
static void tear_down(struct kt_native_streams *s)
{
    struct kt_list *next;
    s->busy++;
    for (struct kt_list *n = s->list.next; n != &s->list; n = next) {
        struct kt_native_stream *st = KT_CONTAINER(n, struct kt_native_stream, sibling);
        next = n->next;
        st->due = 0;
        kt_list_remove(&st->due_node);
        const bool clean =
            kt_native_recv_complete(&st->in) && (st->out_over || kt_native_send_complete(&st->out));
        kt_native_stream_end_out(st);
        if (!st->user || !st->handed) {
            kt_native_stream_free(st);
            continue;
        }
        if (st->code == 0 && !clean) {
            st->code = s->code;
            kt_native_stream_touch(st, KT_NATIVE_EV_CLOSED);
        }
    }
    s->torn = true;
    kt_native_streams_drain(s);
    s->busy--;
    if (over(s)) destroy(s);
}

void kt_native_streams_free(struct kt_native_streams *s, int code)
{
    if (!s || s->ended) return;
    s->ended = true;
    s->code = code;
    if (s->busy == 0) tear_down(s);
}

void kt_native_streams_enter(struct kt_native_streams *s)
{
    s->busy++;
}

void kt_native_streams_leave(struct kt_native_streams *s)
{
    s->busy--;
    if (s->busy == 0 && s->ended && !s->torn) tear_down(s);
}

void kt_native_streams_clock(struct kt_native_streams *s, uint64_t now_us, uint32_t srtt_us)
{
    s->now_us = now_us;
    s->srtt_us = srtt_us;
}

static bool is_young(const struct kt_native_stream *st)
{
    return st->ours && !st->known && !st->reset && st->out.acked == 0 && st->out.acked_beyond == 0;
}

/* Streams that leave one association and enter another are new there, but for what was written. */
static void move(struct kt_native_stream *st, struct kt_native_streams *to)
{
    struct kt_native_streams *from = st->all;
    const uint64_t held = kt_native_send_held(&st->out);
    if (st->id > 0) kt_hmap_remove(&from->table, &st->node);
    if (from->last == st) from->last = NULL;
    kt_list_remove(&st->due_node);
    kt_list_remove(&st->entry.node);
    kt_list_remove(&st->sibling);
    kt_native_send_rewind(&st->out);
    kt_native_credit_count_out(st);
    from->queued -= held;
    from->count--;
    from->own--;
    from->nameless -= st->id == 0;
    from->recount = true;
    st->all = to;
    st->id = 0;
    st->due = 0;
    st->line = KT_NATIVE_LINE_NONE;
    st->stop = KT_NATIVE_STOP_NONE;
    st->out_taken = 0;
    st->out_limit = to->cfg.peers.max_stream_data;
    st->in_limit = st->in_window = st->grown_limit = to->cfg.ours.max_stream_data;
    st->blocked_at = UINT64_MAX;
    to->queued += held;
    to->count++;
    to->own++;
    to->nameless++;
    to->recount = true;
    kt_list_push(&to->list, &st->sibling);
    const unsigned events = st->events;
    if (from->current == st) from->current = NULL;
    kt_list_remove(&st->touched);
    kt_native_stream_touch(st, events);
    kt_native_stream_place(st);
    kt_native_stream_settle(st);
}

size_t kt_native_streams_move_young(struct kt_native_streams *from, struct kt_native_streams *to)
{
    size_t moved = 0;
    struct kt_list *next;
    assert(from->slabs.in == to->slabs.in && from->slabs.out == to->slabs.out);
    if (from->ended || to->ended) return 0;
    for (struct kt_list *n = from->list.next; n != &from->list; n = next) {
        struct kt_native_stream *st = KT_CONTAINER(n, struct kt_native_stream, sibling);
        next = n->next;
        if (!is_young(st)) continue;
        move(st, to);
        moved++;
    }
    return moved;
}

void kt_native_streams_facts(const struct kt_native_streams *s, struct kt_native_streams_facts *out)
{
    const bool raised = s->peer_limit - s->peer_closed > s->cfg.ours.max_streams;
    *out = (struct kt_native_streams_facts){.streams = s->count,
        .allowed = raised ? s->peer_limit - s->peer_next : 0,
        .queued = s->queued,
        .unread = s->unread,
        .sent = s->sent,
        .received = s->received,
        .charged_in = s->charged_in,
        .max_data_in = s->max_data_in,
        .charged_out = s->charged_out,
        .max_data_out = s->max_data_out,
        .resent = s->resent};
}
