/* smux: bytes in. A state machine that accepts any split of the input: it collects a header (with the body of
 * an UPD or RST as its tail), or passes on the body of a PSH.
 *
 * Invariant: m->buffered is the sum of the streams' receive queues and never exceeds kt_smux_hold_most.
 * Payload is accepted only as far as it fits; frames without payload always are. */
#include "link/kcptun/smux_internal.h"

#include <string.h>
#include "base/bytes.h"

/* ---- back-pressure ---- */

void kt_smux_unstall(struct kt_smux *m)
{
    if (!m->stalled || m->ended) return;
    if (m->body && m->buffered >= kt_smux_hold_most(m)) return;
    m->stalled = false;
    if (m->owner.resume) m->owner.resume(m->ctx);
}

void kt_smux_break(struct kt_smux_stream *s, int code)
{
    if (!s->code) s->code = code;
    kt_smux_drop_send(s);
    s->control &= (uint8_t)~KT_SMUX_DUE_UPD;
    kt_smux_touch(s, KT_SMUX_EV_CLOSED);
    kt_smux_schedule(s);
}

/* ---- frames ---- */

/* The stream of a frame from the peer, which the frame settles. NULL: unknown or finished. */
static struct kt_smux_stream *heard(struct kt_smux *m, uint32_t id)
{
    struct kt_smux_stream *s = kt_smux_find(m, id);
    if (!s) return NULL;
    if (s->is_young) {
        const bool forgotten = s->fin_sent;
        kt_smux_settle(s);
        if (forgotten) return NULL;
    }
    return s->fin_in ? NULL : s;
}

static bool full(const struct kt_smux *m)
{
    return m->count >= m->cfg.max_streams || (m->owner.admit && !m->owner.admit(m->ctx));
}

static int on_syn(struct kt_smux *m, uint32_t id, struct kt_err *err)
{
    if (kt_smux_find(m, id)) return 0;
    if (!m->owner.accept) return kt_smux_refuse(m, id, KT_ENOTSUP);
    if (full(m)) {
        if (m->owner.refused) m->owner.refused(m->ctx, m->count >= m->cfg.max_streams);
        return kt_smux_refuse(m, id, KT_ELIMIT);
    }
    struct kt_smux_stream *s = kt_smux_stream_new(m, id);
    if (!s) return kt_err_set(err, KT_ENOMEM, "out of memory for a stream");
    kt_smux_start_window(s);
    kt_smux_arrive(s);
    return 0;
}

/* The peer has forgotten the stream; unsent bytes have nowhere to go. */
static void on_fin(struct kt_smux *m, uint32_t id)
{
    struct kt_smux_stream *s = heard(m, id);
    if (!s) return;
    s->fin_in = true;
    s->lost = kt_smux_unsent(s) > 0 && !s->closed;
    kt_smux_drop_send(s);
    s->control &= (uint8_t)~KT_SMUX_DUE_UPD;
    kt_smux_schedule(s);
    /* writable too, so that a waiting writer finds out that the pipe is gone */
    kt_smux_touch(s, KT_SMUX_EV_READABLE | KT_SMUX_EV_WRITABLE | KT_SMUX_EV_CLOSED);
}

/* The peer has aborted the stream: its data is incomplete. */
static void on_rst(struct kt_smux *m, uint32_t id, const uint8_t *body, size_t len)
{
    struct kt_smux_stream *s = heard(m, id);
    if (!s) return;
    s->fin_in = true;
    s->aborted = !s->closed;
    if (!s->told) s->code = KT_ERESET; /* overrides an earlier reason that the owner has not seen */
    kt_smux_break(s, KT_ERESET);
    if (s->aborted) kt_smux_set_why(s, body[0], body + 1, len - 1);
}

static void on_psh(struct kt_smux *m, uint32_t id, size_t len)
{
    struct kt_smux_stream *s = heard(m, id);
    if (len > 0) {
        m->body = s;
        m->body_left = len;
    } else if (s && m->half_close && !s->half_in) {
        s->half_in = true;
        kt_smux_touch(s, KT_SMUX_EV_READABLE);
    }
}

static void on_upd(struct kt_smux *m, uint32_t id, const uint8_t *body)
{
    struct kt_smux_stream *s = heard(m, id);
    if (!s || s->code) return;
    s->peer_consumed = kt_get32(body);
    s->peer_window = kt_get32(body + 4);
    if ((int32_t)(s->written - s->peer_consumed) < 0)
        kt_smux_break(s, KT_EPROTO); /* it consumed more than it was sent */
    else
        kt_smux_schedule(s);
}

/* The peer's hello has arrived, or is not awaited any more. Some streams may still have to wait. */
static void release_held(struct kt_smux *m)
{
    struct kt_list batch, *node;
    kt_list_init(&batch);
    while ((node = kt_list_pop(&m->held))) kt_list_push(&batch, node);
    while ((node = kt_list_pop(&batch))) {
        struct kt_smux_stream *s = KT_CONTAINER(node, struct kt_smux_stream, entry.node);
        s->queue = KT_SMUX_Q_NONE;
        kt_smux_schedule(s);
    }
}

static void on_nop(struct kt_smux *m, uint32_t id)
{
    if ((id & 0xffff0000u) != KT_SMUX_HELLO || m->hello_in) return;
    m->hello_in = m->hello_raise = true;
    m->peer_features = (uint16_t)id;
    m->half_close = m->cfg.features & m->peer_features & KT_SMUX_F_HALF_CLOSE;
    m->abort = m->cfg.features & m->peer_features & KT_SMUX_F_ABORT;
    if (!m->cfg.client && m->cfg.features) {
        m->hello_due = true;
        kt_smux_wake(m);
    }
    release_held(m);
}

void kt_smux_presume_foreign(struct kt_smux *m)
{
    if (m->hello_in || m->foreign) return;
    m->foreign = true;
    release_held(m);
}

static int check_version(const struct kt_smux *m, struct kt_err *err)
{
    const unsigned got = m->head[0], want = m->cfg.version;
    if (got == want) return 0;
    if (got == 1 || got == 2)
        return kt_err_set(
            err, KT_EPROTO, "expected smux version %u, got %u: set smuxver the same on both ends", want, got);
    return kt_err_set(err, KT_EPROTO,
        "expected smux version %u, got byte 0x%02x: set nocomp the same on both ends", want, got);
}

/* The length of the body that is collected with a header. */
static size_t body_of(const struct kt_smux *m)
{
    const unsigned cmd = m->head[1];
    return cmd == KT_SMUX_UPD || cmd == KT_SMUX_RST ? kt_get16(m->head + 2) : 0;
}

static bool fits(unsigned cmd, size_t len)
{
    if (cmd == KT_SMUX_PSH) return true;
    if (cmd == KT_SMUX_RST) return len >= 1 && len <= KT_SMUX_RST_BODY;
    return len == (cmd == KT_SMUX_UPD ? KT_SMUX_UPD_BODY : 0);
}

static int check_header(const struct kt_smux *m, struct kt_err *err)
{
    static const char *const names[] = {"SYN", "FIN", "PSH", "NOP", "UPD", "RST"};
    const unsigned cmd = m->head[1];
    const size_t len = kt_get16(m->head + 2);
    if (cmd > (m->abort ? KT_SMUX_RST : KT_SMUX_UPD))
        return kt_err_set(err, KT_EPROTO, "unknown smux command %u", cmd);
    if (cmd == KT_SMUX_UPD && m->cfg.version < 2)
        return kt_err_set(
            err, KT_EPROTO, "window update in smux version 1; set smuxver the same on both ends");
    if (!fits(cmd, len))
        return kt_err_set(err, KT_EPROTO, "smux %s frame: unexpected length %zu", names[cmd], len);
    return 0;
}

/* A header is complete; that of an UPD or RST with its body. */
static int on_frame(struct kt_smux *m, struct kt_err *err)
{
    const uint32_t id = kt_get32(m->head + 4);
    if (m->frames_left > 0) m->frames_left--;
    /* A kt sends its hello before any other frame. */
    if (m->cfg.client && m->head[1] != KT_SMUX_NOP) kt_smux_presume_foreign(m);
    switch ((enum kt_smux_cmd)m->head[1]) {
    case KT_SMUX_SYN:
        return on_syn(m, id, err);
    case KT_SMUX_FIN:
        on_fin(m, id);
        break;
    case KT_SMUX_PSH:
        on_psh(m, id, kt_get16(m->head + 2));
        break;
    case KT_SMUX_NOP:
        on_nop(m, id);
        break;
    case KT_SMUX_UPD:
        on_upd(m, id, m->head + KT_SMUX_HEADER);
        break;
    case KT_SMUX_RST:
        on_rst(m, id, m->head + KT_SMUX_HEADER, body_of(m));
        break;
    }
    return 0;
}

/* ---- the state machine ---- */

/* Whether a SYN has to wait until the budget is renewed (kt_smux_budget). */
static bool held_back(const struct kt_smux *m)
{
    return m->limited && m->head[1] == KT_SMUX_SYN && kt_smux_waiting(m) && full(m);
}

/* Collects a header and checks each part as soon as it arrives, so that noise is recognised early. Returns
 * the number of bytes taken, or a code. */
static long take_header(struct kt_smux *m, const uint8_t *data, size_t n, struct kt_err *err)
{
    size_t whole = m->head_len < KT_SMUX_HEADER ? KT_SMUX_HEADER : KT_SMUX_HEADER + body_of(m);
    size_t take = whole - m->head_len < n ? whole - m->head_len : n;
    memcpy(m->head + m->head_len, data, take);
    m->head_len += take;
    int rc = check_version(m, err);
    if (rc < 0 || m->head_len < whole) return rc < 0 ? rc : (long)take;
    if (whole == KT_SMUX_HEADER) {
        rc = check_header(m, err);
        if (rc < 0) return rc;
        if (body_of(m) > 0) return (long)take;
        if (held_back(m)) { /* the last byte will complete it again */
            m->frames_left = 0;
            m->head_len--;
            return (long)take - 1;
        }
    }
    m->head_len = 0;
    rc = on_frame(m, err);
    return rc < 0 ? rc : (long)take;
}

/* Bytes of memory for arrivals. Full send queues do not stop reading: their streams may wait for a peer that
 * does not read them, while its other streams send. */
static size_t arrivals_spare(const struct kt_smux *m)
{
    const size_t spare = kt_smux_spare(m, false);
    const size_t least = m->owner.least ? m->owner.least(m->ctx) : 0;
    const size_t rest = kt_sub_size(least, m->buffered);
    return spare > rest ? spare : rest;
}

size_t kt_smux_recv_room(const struct kt_smux *m)
{
    return kt_min_size(kt_smux_hold_most(m) - m->buffered, arrivals_spare(m));
}

/* Passes on the body of a PSH. Returns fewer bytes than offered if it stalls. */
static size_t take_body(struct kt_smux *m, const uint8_t *data, size_t n)
{
    struct kt_smux_stream *s = m->body;
    if (n > m->body_left) n = m->body_left;
    if (s && !s->closed && !s->code && !s->half_in && !kt_smux_within(s, n)) kt_smux_overrun(s);
    if (s && (s->closed || s->code)) {
        kt_smux_credit(s, n); /* so that the peer does not stop reading what we still send */
    } else if (s && !s->half_in) {
        n = kt_min_size(n, kt_smux_hold_most(m) - m->buffered);
        if (n > kt_bufq_slack(&s->recv)) n = kt_min_size(n, arrivals_spare(m));
        n = kt_smux_append(s, &s->recv, data, n);
        m->buffered += n;
        if (n) kt_smux_touch(s, KT_SMUX_EV_READABLE);
    }
    m->body_left -= n;
    if (m->body_left == 0) m->body = NULL;
    return n;
}

void kt_smux_budget(struct kt_smux *m, uint32_t frames)
{
    m->limited = true;
    m->frames_left = frames;
}

bool kt_smux_spent(const struct kt_smux *m)
{
    return m->limited && m->frames_left == 0;
}

long kt_smux_input(struct kt_smux *m, const uint8_t *data, size_t n, struct kt_err *err)
{
    if (m->ended) return kt_err_set(err, KT_ECLOSED, "the session has ended");
    if (m->failed) return kt_err_set(err, KT_EPROTO, "the session broke before");
    size_t done = 0;
    while (done < n) {
        long took;
        if (m->body_left)
            took = (long)take_body(m, data + done, n - done);
        else if (kt_smux_spent(m))
            return (long)done;
        else
            took = take_header(m, data + done, n - done, err);
        if (took < 0) {
            m->failed = true;
            return took;
        }
        if (took == 0) break;
        done += (size_t)took;
    }
    m->stalled = done < n && !kt_smux_spent(m);
    return (long)done;
}
