/* smux: lifecycle, the table of streams, young streams. smux.h describes the protocol, smux_internal.h the
 * files.
 *
 * Invariant: m->young is in the order in which SYNs are framed, because streams enter it and the control
 * queue at the end, and leave the control queue from the front. So settling visits only streams that it
 * settles. */
#include "link/kcptun/smux_internal.h"

#include <assert.h>
#include <stdlib.h>

/* ---- the table ---- */

static uint64_t hash_id(const struct kt_smux *m, uint32_t id)
{
    return kt_hash_u64(id, m->cfg.hash_seed);
}

struct kt_smux_stream *kt_smux_find(const struct kt_smux *m, uint32_t id)
{
    struct kt_hnode *n = kt_hmap_find(&m->table, hash_id(m, id));
    for (; n; n = kt_hmap_again(n)) {
        struct kt_smux_stream *s = KT_CONTAINER(n, struct kt_smux_stream, node);
        if (s->id == id) return s;
    }
    return NULL;
}

struct kt_smux_stream *kt_smux_stream_new(struct kt_smux *m, uint32_t id)
{
    const struct kt_qpp *qpp = m->cfg.qpp;
    struct kt_smux_stream *s = calloc(1, sizeof *s + (qpp ? 2 * sizeof s->qpp[0] : 0));
    if (!s) return NULL;
    s->pipe.ops = &kt_smux_pipe_ops;
    s->m = m;
    s->id = id;
    s->peer_window = KT_SMUX_INITIAL_WINDOW;
    kt_stream_entry_init(&s->entry);
    kt_list_init(&s->touched);
    kt_list_init(&s->starting);
    kt_list_init(&s->grant);
    kt_bufq_init(&s->send, m->bufs);
    kt_bufq_init(&s->recv, m->bufs);
    kt_bufq_bill(&s->send, &m->send_blocks);
    kt_bufq_bill(&s->recv, &m->recv_blocks);
    if (qpp) {
        kt_qpp_start(qpp, &s->qpp[0]);
        kt_qpp_start(qpp, &s->qpp[1]);
    }
    if (kt_hmap_add(&m->table, &s->node, hash_id(m, id)) < 0) {
        free(s);
        return NULL;
    }
    m->count++;
    m->recount = true;
    return s;
}

static void destroy(struct kt_smux *m)
{
    assert(m->count == 0 && m->buffered == 0 && m->claimed == 0 && m->queued == 0 && kt_smux_held(m) == 0);
    void (*released)(void *) = m->cfg.released;
    void *arg = m->cfg.released_arg;
    kt_hmap_free(&m->table);
    kt_smux_refusals_free(m);
    free(m);
    if (released) released(arg);
}

static bool over(const struct kt_smux *m)
{
    return m->torn && m->busy == 0 && m->count == 0;
}

void kt_smux_stream_free(struct kt_smux_stream *s)
{
    struct kt_smux *m = s->m;
    kt_smux_silence(s);
    kt_list_remove(&s->entry.node);
    kt_list_remove(&s->starting);
    kt_list_remove(&s->grant);
    if (m->body == s) m->body = NULL;
    m->buffered -= s->recv.len;
    m->claimed -= s->claim;
    kt_bufq_clear(&s->recv);
    kt_smux_send_clear(s);
    kt_hmap_remove(&m->table, &s->node);
    m->count--;
    m->recount = true;
    free(s);
    if (over(m)) destroy(m);
}

/* ---- lifecycle ---- */

int kt_smux_new(struct kt_smux **out, const struct kt_smux_config *cfg, const struct kt_smux_owner *owner,
    void *ctx, struct kt_slab *bufs)
{
    *out = NULL;
    if (cfg->version < 1 || cfg->version > 2 || cfg->frame_size < 1 || cfg->frame_size > 65535 ||
        cfg->session_buffer < 1 || cfg->max_streams < 1 || cfg->max_streams > 65535 ||
        cfg->stream_buffer < 1 || cfg->stream_buffer > INT32_MAX || kt_slab_block_size(bufs) < 64 ||
        !owner->room || !owner->frame || !owner->wake)
        return KT_EINVAL;
    struct kt_smux *m = calloc(1, sizeof *m);
    if (!m) return KT_ENOMEM;
    m->cfg = *cfg;
    m->owner = *owner;
    m->ctx = ctx;
    m->bufs = bufs;
    m->accepts_left = UINT32_MAX;
    m->next_id = cfg->client ? 3 : 2;
    m->hello_due = cfg->client && cfg->features;
    kt_hmap_init(&m->table);
    kt_list_init(&m->control);
    kt_stream_schedule_init(&m->data, cfg->frame_size, KT_SMUX_HEADER);
    kt_list_init(&m->held);
    kt_list_init(&m->touched);
    kt_list_init(&m->arrivals);
    kt_list_init(&m->cuts);
    kt_list_init(&m->young);
    kt_list_init(&m->granted);
    kt_list_init(&m->shrunk[0]);
    kt_list_init(&m->shrunk[1]);
    *out = m;
    return 0;
}

/* Does the work of kt_smux_free once no call into this smux is on the stack. */
static void tear_down(struct kt_smux *m)
{
    m->busy++;
    m->stalled = false;
    m->body = NULL;
    struct kt_hnode *next;
    for (struct kt_hnode *n = kt_hmap_next(&m->table, NULL); n; n = next) {
        next = kt_hmap_next(&m->table, n);
        struct kt_smux_stream *s = KT_CONTAINER(n, struct kt_smux_stream, node);
        kt_list_remove(&s->entry.node);
        kt_list_remove(&s->starting);
        kt_list_remove(&s->grant);
        if (s->closed || s->events & KT_SMUX_EV_ACCEPT)
            kt_smux_stream_free(s); /* it has no user */
        else
            kt_smux_break(s, m->code);
    }
    kt_smux_drain(m);
    m->torn = true;
    m->busy--;
    if (over(m)) destroy(m);
}

void kt_smux_free(struct kt_smux *m, int code)
{
    if (!m || m->ended) return;
    m->ended = true;
    m->code = code;
    if (m->busy == 0) tear_down(m);
}

void kt_smux_enter(struct kt_smux *m)
{
    m->busy++;
}

void kt_smux_leave(struct kt_smux *m)
{
    if (--m->busy == 0 && m->ended && !m->torn) tear_down(m);
}

/* ---- opening ---- */

/* The next unused id of ours. The peer may have opened streams with ids of our parity, which kcptun accepts
 * and so do we; only those are skipped. */
static int next_id(struct kt_smux *m, uint32_t *id)
{
    while (m->next_id <= UINT32_MAX) {
        *id = (uint32_t)m->next_id;
        if (!kt_smux_find(m, *id)) return 0;
        m->next_id += 2;
    }
    return KT_ELIMIT;
}

static void make_young(struct kt_smux_stream *s)
{
    s->is_young = true;
    s->control = KT_SMUX_DUE_SYN;
    kt_list_push(&s->m->young, &s->starting);
    kt_smux_start_window(s);
    kt_smux_schedule(s);
}

int kt_smux_open(struct kt_smux *m, struct kt_pipe **out)
{
    *out = NULL;
    if (m->ended) return KT_ECLOSED;
    if (m->count >= m->cfg.max_streams) return KT_ELIMIT;
    uint32_t id;
    int rc = next_id(m, &id);
    if (rc < 0) return rc;
    struct kt_smux_stream *s = kt_smux_stream_new(m, id);
    if (!s) return KT_ENOMEM;
    m->next_id += 2;
    make_young(s);
    *out = &s->pipe;
    return 0;
}

/* ---- young streams ---- */

void kt_smux_drop_send(struct kt_smux_stream *s)
{
    kt_smux_send_clear(s);
    s->sent = 0;
    s->why_len = 0;
}

void kt_smux_settle(struct kt_smux_stream *s)
{
    if (!s->is_young) return;
    s->is_young = false;
    kt_list_remove(&s->starting);
    kt_smux_send_consume(s, s->sent);
    s->sent = 0;
    if (s->fin_sent) {
        struct kt_smux *m = s->m;
        kt_smux_stream_free(s);
        kt_smux_wake(m); /* for `streams` to be called */
    } else {
        kt_smux_offer(s);
        if (s->pipe.events && s->pipe.events->known) kt_smux_touch(s, KT_SMUX_EV_KNOWN);
        if (s->events) kt_smux_wake(s->m);
    }
}

void kt_smux_settled(struct kt_smux *m, uint64_t mark)
{
    if (m->ended) return;
    if (mark > 0) m->hello_held = true; /* it was the first frame */
    while (!kt_list_empty(&m->young)) {
        struct kt_smux_stream *s = KT_CONTAINER(m->young.next, struct kt_smux_stream, starting);
        if (s->control & KT_SMUX_DUE_SYN || s->syn_no >= mark) return;
        kt_smux_settle(s);
    }
}

uint64_t kt_smux_mark(const struct kt_smux *m)
{
    return m->frames;
}

bool kt_smux_has_young(const struct kt_smux *m)
{
    return !kt_list_empty(&m->young);
}

/* True if the stream was moved to `to`, as if newly opened there with the same bytes written. */
static bool move_stream(struct kt_smux_stream *s, struct kt_smux *to)
{
    struct kt_smux *from = s->m;
    uint32_t id;
    if (to->count >= to->cfg.max_streams || next_id(to, &id) < 0) return false;
    kt_hmap_remove(&from->table, &s->node);
    if (kt_hmap_add(&to->table, &s->node, hash_id(to, id)) < 0) {
        int rc = kt_hmap_add(&from->table, &s->node, hash_id(from, s->id));
        assert(rc == 0); /* the table had room for it before */
        (void)rc;
        return false;
    }
    to->next_id += 2;
    from->count--;
    to->count++;
    from->claimed -= s->claim;
    from->queued -= s->send.len;
    to->queued += s->send.len;
    kt_bufq_bill(&s->send, &to->send_blocks);
    kt_bufq_bill(&s->recv, &to->recv_blocks);
    s->claim = 0;
    from->recount = to->recount = true;
    const unsigned events = s->events;
    const bool cut = s->closed && !kt_list_empty(&s->touched);
    kt_smux_silence(s);
    kt_list_remove(&s->starting);
    kt_list_remove(&s->entry.node);
    s->queue = KT_SMUX_Q_NONE;
    s->m = to;
    s->id = id;
    s->sent = s->written = 0;
    s->half_sent = s->fin_sent = false;
    if (events) kt_smux_touch(s, events);
    if (cut) kt_list_push(&to->cuts, &s->touched);
    make_young(s);
    return true;
}

size_t kt_smux_move_young(struct kt_smux *from, struct kt_smux *to)
{
    size_t moved = 0;
    if (from == to || to->ended) return 0;
    struct kt_list *node = from->young.next;
    while (node != &from->young) {
        struct kt_smux_stream *s = KT_CONTAINER(node, struct kt_smux_stream, starting);
        node = node->next;
        if (!move_stream(s, to)) break; /* the others would fail too */
        moved++;
    }
    return moved;
}

/* ---- the rest ---- */

void kt_smux_keepalive(struct kt_smux *m)
{
    if (m->ended) return;
    m->nop_due = true;
    kt_smux_wake(m);
    kt_smux_unstall(m); /* if it stalled because memory was short, try again */
}

void kt_smux_heartbeat(struct kt_smux *m)
{
    if (m->ended) return;
    if (m->hello_waited) kt_smux_presume_foreign(m);
    if (m->hello_held) m->hello_waited = true; /* the peer has a whole interval to answer */
    kt_smux_hurry_cuts(m);
    kt_smux_keepalive(m);
}

bool kt_smux_nop_due(const struct kt_smux *m)
{
    return m->nop_due;
}

size_t kt_smux_streams(const struct kt_smux *m)
{
    return m->count;
}

size_t kt_smux_held(const struct kt_smux *m)
{
    return (m->send_blocks + m->recv_blocks) * kt_slab_block_size(m->bufs);
}

bool kt_smux_peer(const struct kt_smux *m, uint16_t *features)
{
    if (features) *features = m->peer_features;
    return m->hello_in;
}
