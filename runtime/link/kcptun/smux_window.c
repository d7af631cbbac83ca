/* smux: receive windows (version 2), and what happens when the buffer is full.
 *
 * All streams of a session share one buffer of twice session_buffer: one half for unread bytes, the other for
 * bytes that are read in the turn in which they arrive. If the session's memory is less than that, it is the buffer.
 * A stream claims what its peer may still send it, or what is unread if that is more. It is granted half of what the
 * other claims leave, and at most stream_buffer; so n busy streams settle at 1/(n+1) of the buffer each, and as much
 * stays free for the next one. A sixteenth of the buffer is left out of this: it covers the least that each stream
 * gets. A stream with unread bytes may also have no more than half of what the unread bytes of the others leave of
 * session_buffer.
 *
 * A grant that has become too large is taken back with a smaller window:
 *
 * - from a stream with unread bytes, as soon as its reader has had its turn, because it may never read again;
 * - from a stream that has received nothing lately, when another one gets less than half of stream_buffer.
 *   Each such grant examines two streams, as in the CLOCK algorithm (second chance).
 *
 * Bytes in flight from before the peer learnt of the smaller window still arrive, so the old claim stands
 * until the owner reports that the peer must know (kt_smux_believe).
 *
 * A new stream starts with KT_SMUX_INITIAL_WINDOW, which every peer assumes. If less is free, a smaller
 * window is announced at once: for our own stream with its SYN. The peer's stream may send more in its first
 * round trip, but few do, so only the smaller window counts as its claim.
 *
 * Invariant: m->claimed is the sum of the streams' claims. A stream that is not closed is in m->granted, or
 * in one of m->shrunk until its smaller window is believed. */
#include "link/kcptun/smux_internal.h"
#include "base/bytes.h"

/* Share of the buffer reserved for the streams' minimum claims: 1/LEASTS. */
#define LEASTS 16u
/* Share of memory that is not granted, for blocks that are not full and segments that are not read yet: 1/SLACK. */
#define SLACK 16u
/* Share of memory that send queues may take, so that data to receive always has room: 1/SENDS. The first bytes of
 * further queues may exceed that by 1/FIRSTS. */
#define SENDS 2u
#define FIRSTS 2u
/* The least window, in bytes: smaller ones take a round trip and a frame for next to nothing, and a single unread byte
 * takes a block as well. */
#define WINDOW_LEAST 2048u

size_t kt_smux_hold_most(const struct kt_smux *m)
{
    return m->cfg.version < 2 ? m->cfg.session_buffer : 2 * m->cfg.session_buffer;
}

/* ---- claims ---- */

static bool still_comes(const struct kt_smux_stream *s)
{
    return s->m->cfg.version >= 2 && !s->m->ended && !s->closed && !s->half_in && !s->fin_in && !s->code;
}

/* The bytes left of a window that ends at `edge`. */
static size_t left(const struct kt_smux_stream *s, uint32_t edge)
{
    const uint32_t n = edge - s->consumed;
    return n <= INT32_MAX ? n : 0;
}

void kt_smux_claim(struct kt_smux_stream *s)
{
    struct kt_smux *m = s->m;
    size_t claim = s->recv.len;
    if (still_comes(s) && left(s, s->edge) > claim) claim = left(s, s->edge);
    if (claim > UINT32_MAX) claim = UINT32_MAX;
    m->claimed += claim - s->claim;
    s->claim = (uint32_t)claim;
}

/* ---- windows ---- */

size_t kt_smux_spare(const struct kt_smux *m, bool first)
{
    return m->owner.spare && !m->ended ? m->owner.spare(m->ctx, first) : SIZE_MAX / 2;
}

/* Bytes of the buffer, unread ones included, as far as there is memory. Held bytes take memory twice, from the
 * session and from its share of the memory of all. */
static size_t capacity(const struct kt_smux *m)
{
    const size_t memory = kt_smux_spare(m, false) / 2 + m->buffered;
    return kt_min_size(kt_smux_hold_most(m), memory - memory / SLACK);
}

/* Whatever the others claim, each stream gets a least window, so that none waits for them. */
static uint32_t bounded(const struct kt_smux *m, size_t window, size_t room)
{
    const size_t share = room / LEASTS / (m->count + 1), least = share > WINDOW_LEAST ? share : WINDOW_LEAST;
    if (window < least) window = least;
    return (uint32_t)kt_min_size(window, m->cfg.stream_buffer);
}

/* Bytes of memory that send queues may still take. */
static size_t send_spare(const struct kt_smux *m, bool first)
{
    const size_t taken = m->send_blocks * kt_slab_block_size(m->bufs), spare = kt_smux_spare(m, false);
    const size_t most = (kt_smux_held(m) + spare) / SENDS;
    if (!first) return kt_min_size(spare, kt_sub_size(most, taken));
    return kt_min_size(kt_smux_spare(m, true), kt_sub_size(most + most / FIRSTS, taken));
}

/* Whether a stream may queue its first bytes, which take a block. */
static bool begins(const struct kt_smux_stream *s)
{
    return s->send.len > 0 || send_spare(s->m, true) >= kt_slab_block_size(s->m->bufs);
}

size_t kt_smux_send_most(const struct kt_smux_stream *s)
{
    const struct kt_smux *m = s->m;
    const size_t others = m->queued - s->send.len;
    size_t most = kt_sub_size(m->cfg.session_buffer, others) / 2;
    if (most < KT_SMUX_SEND_LEAST) most = KT_SMUX_SEND_LEAST;
    if (most > KT_SMUX_SEND_BUFFER) most = KT_SMUX_SEND_BUFFER;
    const size_t fits = s->send.len + send_spare(m, false) / 2;
    return fits < KT_SMUX_SEND_LEAST && begins(s) ? KT_SMUX_SEND_LEAST : kt_min_size(most, fits);
}

static uint32_t due(const struct kt_smux_stream *s)
{
    const struct kt_smux *m = s->m;
    const size_t room = capacity(m);
    size_t window = kt_sub_size(room - room / LEASTS, m->claimed - s->claim) / 2;
    if (s->recv.len > 0)
        window = kt_min_size(window, kt_sub_size(m->cfg.session_buffer, m->buffered - s->recv.len) / 2);
    return bounded(m, window, room);
}

/* The window that a stream keeps while it receives nothing. All of these together leave half of the buffer. */
static uint32_t at_rest(const struct kt_smux *m)
{
    const size_t room = capacity(m), share = room / 2 / (m->count + 1);
    return bounded(m, kt_min_size(KT_SMUX_INITIAL_WINDOW, share), room);
}

static void ask(struct kt_smux_stream *s)
{
    s->announced = true;
    s->control |= KT_SMUX_DUE_UPD;
    kt_smux_schedule(s);
}

/* The difference must be worth a frame. */
static bool too_wide(const struct kt_smux_stream *s, size_t window)
{
    return left(s, s->last) > window + window / 4;
}

/* A peer that has finished sending, or gets our FIN first, needs no window. */
static bool needs_none(const struct kt_smux_stream *s)
{
    return s->m->cfg.version < 2 || s->m->ended || s->half_in || s->fin_in || s->code ||
           (s->closed && kt_smux_unsent(s) == 0);
}

void kt_smux_credit(struct kt_smux_stream *s, size_t n)
{
    s->consumed += (uint32_t)n;
    s->unannounced += (uint32_t)n;
    s->m->read += n;
    s->resting = false;
    kt_smux_claim(s);
    if (needs_none(s)) return;
    const uint32_t window = s->last - (s->consumed - s->unannounced);
    if (s->announced && s->unannounced < window / 2) return;
    ask(s);
}

void kt_smux_settle_window(struct kt_smux_stream *s)
{
    kt_smux_claim(s);
    if (s->recv.len > 0 && still_comes(s) && too_wide(s, due(s))) ask(s);
}

void kt_smux_start_window(struct kt_smux_stream *s)
{
    if (s->m->cfg.version < 2) return;
    s->announced = false;
    s->unannounced = 0;
    s->edge = s->last = s->far = s->consumed + KT_SMUX_INITIAL_WINDOW;
    kt_list_remove(&s->grant);
    kt_list_push(&s->m->granted, &s->grant);
    kt_smux_claim(s);
    const uint32_t window = due(s);
    if (!too_wide(s, window)) return;
    s->edge = s->consumed + window;
    kt_smux_claim(s);
    ask(s);
}

static void shrink_idle(struct kt_smux *m, const struct kt_smux_stream *except)
{
    for (int i = 0; i < 2 && !kt_list_empty(&m->granted); i++) {
        struct kt_smux_stream *s = KT_CONTAINER(m->granted.next, struct kt_smux_stream, grant);
        kt_list_remove(&s->grant);
        kt_list_push(&m->granted, &s->grant);
        if (s == except || s->recv.len > 0 || !still_comes(s)) continue;
        if (s->resting && too_wide(s, at_rest(m)))
            ask(s);
        else
            s->resting = true;
    }
}

uint32_t kt_smux_grant(struct kt_smux_stream *s)
{
    struct kt_smux *m = s->m;
    const uint32_t full = due(s), window = s->resting ? (uint32_t)kt_min_size(full, at_rest(m)) : full;
    s->last = s->consumed + window;
    s->unannounced = 0;
    if ((int32_t)(s->last - s->far) > 0) s->far = s->last;
    if ((int32_t)(s->last - s->edge) >= 0) s->edge = s->last;
    if (!s->closed) {
        kt_list_remove(&s->grant);
        kt_list_push(s->last == s->edge ? &m->granted : &m->shrunk[0], &s->grant);
    }
    kt_smux_claim(s);
    if (!s->resting && full < m->cfg.stream_buffer / 2) shrink_idle(m, s);
    return window;
}

bool kt_smux_within(const struct kt_smux_stream *s, size_t n)
{
    return s->m->cfg.version < 2 || n <= kt_sub_size(left(s, s->far), s->recv.len);
}

bool kt_smux_has_shrunk(const struct kt_smux *m)
{
    return !m->ended && !(kt_list_empty(&m->shrunk[0]) && kt_list_empty(&m->shrunk[1]));
}

void kt_smux_believe(struct kt_smux *m)
{
    struct kt_list *node;
    while ((node = kt_list_pop(&m->shrunk[1]))) {
        struct kt_smux_stream *s = KT_CONTAINER(node, struct kt_smux_stream, grant);
        s->edge = s->last;
        kt_list_push(&m->granted, &s->grant);
        kt_smux_claim(s);
    }
    while ((node = kt_list_pop(&m->shrunk[0]))) kt_list_push(&m->shrunk[1], node);
}

/* ---- streams that block the others ---- */

static void cut(struct kt_smux_stream *s, int code)
{
    struct kt_smux *m = s->m;
    const size_t unread = s->recv.len;
    kt_bufq_clear(&s->recv);
    m->buffered -= unread;
    s->consumed += (uint32_t)unread;
    s->cut = true;
    kt_smux_break(s, code);
    kt_smux_claim(s);
    kt_smux_wake(m);
    if (m->owner.cut) m->owner.cut(m->ctx, s->id, unread, code);
}

void kt_smux_overrun(struct kt_smux_stream *s)
{
    cut(s, KT_EPROTO);
}

static struct kt_smux_stream *stream_of(struct kt_hnode *n)
{
    return KT_CONTAINER(n, struct kt_smux_stream, node);
}

void kt_smux_watch(struct kt_smux *m)
{
    for (struct kt_hnode *n = kt_hmap_next(&m->table, NULL); n; n = kt_hmap_next(&m->table, n))
        stream_of(n)->resting = true;
}

void kt_smux_cut_unread(struct kt_smux *m)
{
    if (m->ended || kt_smux_recv_room(m) > 0) return;
    struct kt_smux_stream *fullest = NULL;
    bool none = true;
    for (struct kt_hnode *n = kt_hmap_next(&m->table, NULL); n; n = kt_hmap_next(&m->table, n)) {
        struct kt_smux_stream *s = stream_of(n);
        if (s->recv.len == 0) continue;
        if (!fullest || s->recv.len > fullest->recv.len) fullest = s;
        if (!s->resting) continue;
        none = false;
        cut(s, KT_ELIMIT);
    }
    if (none && fullest) cut(fullest, KT_ELIMIT);
    kt_smux_unstall(m);
}

uint64_t kt_smux_read(const struct kt_smux *m)
{
    return m->read;
}
