/* smux: frames out. Hello and keepalive first, then streams with a control frame due, then data, in the order
 * that link/common/stream_schedule.h decides.
 *
 * Invariant: the data queue holds exactly the streams that could frame something if there were room, and
 * those waiting to hear that memory may be available again. So the pump never skips a stream. */
#include "link/kcptun/smux_internal.h"
#include "base/bytes.h"

#define PIECES 2u /* of a queue, in a frame */
#define CONTROL_RUN 16u

static bool has_room(struct kt_smux *m, size_t want)
{
    size_t room = m->owner.room(m->ctx, want);
    return room > 0 && room >= want;
}

static void frame(struct kt_smux *m, enum kt_smux_cmd cmd, uint32_t id, const struct kt_iov *payload,
    size_t pieces, size_t len)
{
    uint8_t head[KT_SMUX_HEADER];
    head[0] = (uint8_t)m->cfg.version;
    head[1] = (uint8_t)cmd;
    kt_put16(head + 2, (uint32_t)len);
    kt_put32(head + 4, id);
    m->frames++;
    m->owner.frame(m->ctx, head, payload, pieces);
}

bool kt_smux_small_talk(const uint8_t *header)
{
    return header[1] == KT_SMUX_NOP;
}

/* ---- queues ---- */

void kt_smux_wake(struct kt_smux *m)
{
    if (m->awake || m->ended) return;
    m->awake = true;
    m->owner.wake(m->ctx);
}

/* Bytes that fit into the peer's window. */
static size_t window(const struct kt_smux_stream *s)
{
    if (s->m->cfg.version < 2) return SIZE_MAX;
    uint32_t in_flight = s->written - s->peer_consumed;
    return s->peer_window > in_flight ? s->peer_window - in_flight : 0;
}

/* True if the stream ends with RST, provided that the peer supports it. */
static bool aborts(const struct kt_smux_stream *s)
{
    return s->closed && s->why && !s->fin_in;
}

/* A peer that may still turn out to support RST must not get FIN instead. */
static bool awaits_hello(const struct kt_smux_stream *s)
{
    const struct kt_smux *m = s->m;
    return m->cfg.client && m->cfg.features & KT_SMUX_F_ABORT && !m->hello_in && !m->foreign && aborts(s);
}

static bool wants_half_close(const struct kt_smux_stream *s)
{
    return s->shut && !s->half_sent && !s->closed && !s->fin_in && !s->code && kt_smux_unsent(s) == 0;
}

static bool wants_fin(const struct kt_smux_stream *s)
{
    return s->closed && !s->fin_sent && kt_smux_unsent(s) == 0;
}

/* A write got no memory, and nothing is queued whose departure would wake the writer: the next pump does. */
static bool waits_for_memory(const struct kt_smux_stream *s)
{
    return s->want_write && s->send.len == 0;
}

static enum kt_smux_queue queue_for(const struct kt_smux_stream *s)
{
    const struct kt_smux *m = s->m;
    if (s->control & KT_SMUX_DUE_FIN && awaits_hello(s)) return KT_SMUX_Q_HELD;
    if (s->control) return KT_SMUX_Q_CONTROL;
    if (kt_smux_unsent(s) > 0) return window(s) > 0 ? KT_SMUX_Q_DATA : KT_SMUX_Q_NONE;
    if (wants_fin(s) && awaits_hello(s)) return KT_SMUX_Q_HELD;
    if (wants_fin(s) || waits_for_memory(s)) return KT_SMUX_Q_DATA;
    if (!wants_half_close(s)) return KT_SMUX_Q_NONE;
    if (m->half_close) return KT_SMUX_Q_DATA;
    return m->hello_in ? KT_SMUX_Q_NONE : KT_SMUX_Q_HELD;
}

static void enqueue(struct kt_smux_stream *s, enum kt_smux_queue queue)
{
    struct kt_smux *m = s->m;
    if (queue == s->queue && queue == KT_SMUX_Q_DATA) return; /* the schedule keeps its place */
    kt_list_remove(&s->entry.node);
    s->queue = (uint8_t)queue;
    if (queue == KT_SMUX_Q_CONTROL) kt_list_push(&m->control, &s->entry.node);
    if (queue == KT_SMUX_Q_DATA) kt_stream_schedule_add(&m->data, &s->entry);
    if (queue == KT_SMUX_Q_HELD) kt_list_push(&m->held, &s->entry.node);
}

void kt_smux_place(struct kt_smux_stream *s)
{
    if (s->m->ended) return;
    enum kt_smux_queue queue = queue_for(s);
    if (queue != s->queue) enqueue(s, queue);
}

void kt_smux_schedule(struct kt_smux_stream *s)
{
    kt_smux_place(s);
    if (s->queue == KT_SMUX_Q_CONTROL || s->queue == KT_SMUX_Q_DATA) kt_smux_wake(s->m);
}

/* Moves the stream to the right queue after a frame. */
static void requeue(struct kt_smux_stream *s)
{
    enqueue(s, queue_for(s));
}

/* ---- frames ---- */

/* All of these return false if there was no room. */

static bool send_upd(struct kt_smux_stream *s)
{
    struct kt_smux *m = s->m;
    if (!has_room(m, KT_SMUX_UPD_BODY)) return false;
    uint8_t body[KT_SMUX_UPD_BODY];
    kt_put32(body, s->consumed);
    kt_put32(body + 4, kt_smux_grant(s));
    s->control &= (uint8_t)~KT_SMUX_DUE_UPD;
    requeue(s);
    frame(m, KT_SMUX_UPD, s->id, &(struct kt_iov){body, sizeof body}, 1, sizeof body);
    return true;
}

/* FIN or RST. The stream is forgotten with it, unless it is young: then the peer may never have held it. */
static bool send_fin(struct kt_smux_stream *s)
{
    struct kt_smux *m = s->m;
    uint8_t body[KT_SMUX_RST_BODY];
    const bool rst = m->abort && aborts(s);
    size_t len = 0;
    if (rst) {
        body[0] = s->why;
        len = 1 + kt_smux_get_why(s, body + 1);
    }
    if (!has_room(m, len)) return false;
    const uint32_t id = s->id;
    if (s->is_young) {
        s->fin_sent = true;
        s->control = 0;
        requeue(s);
    } else {
        kt_smux_stream_free(s);
    }
    frame(m, rst ? KT_SMUX_RST : KT_SMUX_FIN, id, &(struct kt_iov){body, len}, rst, len);
    return true;
}

static bool send_syn(struct kt_smux_stream *s)
{
    struct kt_smux *m = s->m;
    if (!has_room(m, 0)) return false;
    s->syn_no = m->frames;
    s->control &= (uint8_t)~KT_SMUX_DUE_SYN;
    requeue(s);
    frame(m, KT_SMUX_SYN, s->id, NULL, 0, 0);
    return true;
}

static bool send_control(struct kt_smux_stream *s)
{
    if (s->control & KT_SMUX_DUE_SYN) return send_syn(s);
    if (s->control & KT_SMUX_DUE_FIN) return send_fin(s);
    return send_upd(s);
}

/* A half-close is an empty PSH. */
static bool send_half_close(struct kt_smux_stream *s)
{
    if (!has_room(s->m, 0)) return false;
    s->half_sent = true;
    requeue(s);
    frame(s->m, KT_SMUX_PSH, s->id, NULL, 0, 0);
    return true;
}

/* Up to n unsent bytes, in place; returns their number. */
static size_t peek(const struct kt_smux_stream *s, struct kt_iov iov[PIECES], size_t n, size_t *pieces)
{
    const size_t have = kt_bufq_peek(&s->send, s->sent, iov, PIECES);
    size_t sum = 0;
    for (*pieces = 0; *pieces < have && sum < n; ++*pieces) {
        if (iov[*pieces].len > n - sum) iov[*pieces].len = n - sum;
        sum += iov[*pieces].len;
    }
    return sum;
}

/* One PSH, no longer than PIECES pieces of the buffer hold. */
static bool send_psh(struct kt_smux_stream *s, size_t most)
{
    struct kt_smux *m = s->m;
    struct kt_iov iov[PIECES];
    const size_t left = window(s);
    size_t n = kt_smux_unsent(s); /* beyond it the text of an abort may follow */
    if (n > most) n = most;
    if (n > left) n = left;
    n = peek(s, iov, n, &(size_t){0});
    size_t room = m->owner.room(m->ctx, n);
    if (room == 0) return false;
    size_t pieces;
    n = peek(s, iov, n < room ? n : room, &pieces);
    s->written += (uint32_t)n;
    frame(m, KT_SMUX_PSH, s->id, iov, pieces, n);
    if (s->is_young)
        s->sent += (uint32_t)n;
    else
        kt_smux_send_consume(s, n);
    requeue(s);
    kt_stream_schedule_sent(&m->data, &s->entry, n, s->queue == KT_SMUX_Q_DATA);
    return true;
}

static bool send_data(struct kt_smux_stream *s, size_t most)
{
    bool more = true;
    if (kt_smux_unsent(s) > 0)
        more = send_psh(s, most);
    else if (s->closed)
        return send_fin(s); /* s may be gone */
    else if (wants_half_close(s))
        more = send_half_close(s);
    else
        enqueue(s, KT_SMUX_Q_NONE); /* it was waiting for memory: let it try again, once per pump */
    kt_smux_offer(s);
    return more;
}

/* ---- the pump ---- */

/* Frames of the session itself. A hello leaves before the first other frame; only a hello that answers one
 * leaves alone. */
static bool send_greetings(struct kt_smux *m)
{
    const bool streams =
        kt_smux_refusal(m) || !kt_list_empty(&m->control) || !kt_stream_schedule_empty(&m->data);
    if (m->hello_due && (streams || m->nop_due || m->hello_in)) {
        if (!has_room(m, 0)) return false;
        m->hello_due = false;
        frame(m, KT_SMUX_NOP, KT_SMUX_HELLO | m->cfg.features, NULL, 0, 0);
    }
    if (m->nop_due) {
        if (!has_room(m, 0)) return false;
        m->nop_due = false;
        frame(m, KT_SMUX_NOP, 0, NULL, 0, 0);
    }
    return true;
}

static bool send_refusals(struct kt_smux *m)
{
    const struct kt_smux_refusal *r;
    while (!m->ended && (r = kt_smux_refusal(m))) {
        if (!has_room(m, m->abort)) return false;
        const uint32_t id = r->id;
        const uint8_t why = r->why;
        kt_smux_refusal_sent(m);
        frame(m, m->abort ? KT_SMUX_RST : KT_SMUX_FIN, id, &(struct kt_iov){&why, 1}, m->abort, m->abort);
    }
    return !m->ended;
}

/* The next data frame; false if there is no room. */
static bool send_next_data(struct kt_smux *m, bool *any)
{
    size_t most;
    struct kt_stream_entry *e = kt_stream_schedule_next(&m->data, &most);
    *any = e != NULL;
    return !e || send_data(KT_CONTAINER(e, struct kt_smux_stream, entry), most);
}

/* Control frames go first, but one data frame follows each run of them, so that a script that keeps opening
 * streams does not starve the others. */
static bool send_all_control(struct kt_smux *m)
{
    bool any;
    while (!m->ended && !kt_list_empty(&m->control)) {
        if (m->control_run == CONTROL_RUN) {
            if (!send_next_data(m, &any)) return false;
            m->control_run = 0;
            continue;
        }
        if (!send_control(KT_CONTAINER(m->control.next, struct kt_smux_stream, entry.node))) return false;
        m->control_run++;
    }
    return !m->ended;
}

static void send_all_data(struct kt_smux *m)
{
    bool any = true;
    while (!m->ended && any)
        if (!send_next_data(m, &any)) return;
    m->control_run = 0;
}

bool kt_smux_pending(struct kt_smux *m)
{
    return !kt_list_empty(&m->control) || !kt_stream_schedule_empty(&m->data);
}

bool kt_smux_blocked(struct kt_smux *m)
{
    return m->queued > 0 && !kt_smux_pending(m);
}

void kt_smux_pump(struct kt_smux *m)
{
    if (m->pumping || m->ended) return;
    kt_smux_enter(m);
    m->pumping = true;
    m->awake = false;
    if (send_greetings(m) && send_refusals(m) && send_all_control(m)) send_all_data(m);
    m->pumping = false;
    kt_smux_drain(m);
    kt_smux_leave(m);
}
