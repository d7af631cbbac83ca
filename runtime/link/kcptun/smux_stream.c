/* smux: a stream as a kt_pipe (base/pipe.h). Written bytes wait in the send queue for the pump, already
 * permuted by QPP, so that a young stream can be replayed unchanged; received bytes wait in the receive
 * queue, already restored. */
#include "link/kcptun/smux_internal.h"

#include <assert.h>
#include <string.h>
#include "base/bytes.h"
#include "base/text.h"

size_t kt_smux_append(struct kt_smux_stream *s, struct kt_bufq *q, const uint8_t *data, size_t n)
{
    const struct kt_qpp *qpp = s->m->cfg.qpp;
    size_t done = qpp ? 0 : kt_bufq_append(q, data, n);
    while (qpp && done < n) {
        uint8_t *space;
        size_t room = kt_bufq_space(q, &space);
        if (room == 0) break;
        if (room > n - done) room = n - done;
        memcpy(space, data + done, room);
        if (q == &s->send)
            kt_qpp_encrypt(qpp, &s->qpp[0], space, room);
        else
            kt_qpp_decrypt(qpp, &s->qpp[1], space, room);
        kt_bufq_commit(q, room);
        done += room;
    }
    if (q == &s->send) s->m->queued += done;
    return done;
}

static size_t stream_peek(struct kt_pipe *p, struct kt_iov *iov, size_t max)
{
    return kt_bufq_peek(&kt_smux_of(p)->recv, 0, iov, max);
}

static void stream_consume(struct kt_pipe *p, size_t n)
{
    struct kt_smux_stream *s = kt_smux_of(p);
    struct kt_smux *m = s->m;
    if (n == 0) return;
    kt_bufq_consume(&s->recv, n);
    m->buffered -= n;
    kt_smux_credit(s, n);
    if (s->lost && s->recv.len == 0) {
        kt_smux_touch(s, KT_SMUX_EV_CLOSED);
        kt_smux_wake(m);
    }
    kt_smux_unstall(m);
}

static bool stream_ended(const struct kt_pipe *p)
{
    const struct kt_smux_stream *s = kt_smux_of_const(p);
    return (s->half_in || (s->fin_in && !s->aborted)) && !s->cut;
}

static bool stream_eof(const struct kt_pipe *p)
{
    return stream_ended(p) && kt_smux_of_const(p)->recv.len == 0;
}

static bool takes_writes(const struct kt_smux_stream *s)
{
    return !s->m->ended && !s->closed && !s->shut && !s->fin_in && !s->code;
}

static size_t room_of(const struct kt_smux_stream *s)
{
    return kt_sub_size(kt_smux_send_most(s), s->send.len);
}

static size_t stream_room(struct kt_pipe *p)
{
    struct kt_smux_stream *s = kt_smux_of(p);
    if (!takes_writes(s)) return 1;
    const size_t n = room_of(s);
    if (n > 0) return n;
    s->want_write = true;
    kt_smux_place(s);
    return 0;
}

static size_t stream_write(struct kt_pipe *p, const void *data, size_t n)
{
    struct kt_smux_stream *s = kt_smux_of(p);
    if (n == 0 || !takes_writes(s)) return 0;
    size_t done = kt_smux_append(s, &s->send, data, kt_min_size(n, room_of(s)));
    s->want_write = done < n;
    if (done)
        kt_smux_schedule(s);
    else
        kt_smux_place(s); /* no reason to wake the owner, especially when memory is short */
    return done;
}

static void stream_shutdown(struct kt_pipe *p)
{
    struct kt_smux_stream *s = kt_smux_of(p);
    if (s->shut) return;
    s->shut = true;
    s->want_write = false;
    kt_smux_schedule(s);
}

static bool stream_half_close(const struct kt_pipe *p)
{
    const struct kt_smux *m = kt_smux_of_const(p)->m;
    return m->half_close && !m->ended;
}

static bool stream_young(const struct kt_pipe *p)
{
    return kt_smux_of_const(p)->is_young;
}

static bool stream_behind(const struct kt_pipe *p)
{
    const struct kt_smux *m = kt_smux_of_const(p)->m;
    return !m->ended && m->owner.behind && m->owner.behind(m->ctx);
}

static bool stream_gone(const struct kt_pipe *p)
{
    const struct kt_smux_stream *s = kt_smux_of_const(p);
    return (s->fin_in && !s->aborted) || s->unheard;
}

/* The user releases the stream: no more events, and unread bytes are dropped. False if the stream was freed. */
static bool give_up(struct kt_smux_stream *s)
{
    struct kt_smux *m = s->m;
    assert(!s->closed);
    kt_smux_silence(s);
    s->closed = true;
    s->want_write = s->lost = false;
    s->pipe.events = NULL;
    const size_t unread = s->recv.len;
    kt_bufq_clear(&s->recv);
    m->buffered -= unread;
    kt_list_remove(&s->grant);
    kt_smux_claim(s);
    if (m->ended) {
        kt_smux_stream_free(s);
        return false;
    }
    if (unread) kt_smux_credit(s, unread);
    return true;
}

static void stream_close(struct kt_pipe *p)
{
    struct kt_smux_stream *s = kt_smux_of(p);
    struct kt_smux *m = s->m;
    if (!give_up(s)) return;
    if (kt_smux_unsent(s) == 0) s->control &= (uint8_t)~KT_SMUX_DUE_UPD;
    kt_smux_schedule(s);
    kt_smux_unstall(m);
}

void kt_smux_set_why(struct kt_smux_stream *s, uint8_t code, const void *text, size_t len)
{
    if (len > KT_SMUX_RST_TEXT) len = kt_text_cut(text, KT_SMUX_RST_TEXT);
    s->why = code;
    s->why_len = (uint8_t)kt_bufq_append(&s->send, text, len);
    s->m->queued += s->why_len;
}

size_t kt_smux_get_why(const struct kt_smux_stream *s, uint8_t text[KT_SMUX_RST_TEXT])
{
    struct kt_iov iov[4]; /* blocks have at least 64 bytes */
    size_t n = 0;
    const size_t pieces = kt_bufq_peek(&s->send, s->send.len - s->why_len, iov, 4);
    for (size_t i = 0; i < pieces; i++) {
        memcpy(text + n, iov[i].data, iov[i].len);
        n += iov[i].len;
    }
    return n;
}

/* The reason to send at the end of the stream, if the peer supports it. */
static void set_reason(struct kt_smux_stream *s, int reason, const char *text)
{
    kt_smux_set_why(s, (uint8_t)-reason, text, text ? strlen(text) : 0);
}

/* A stream whose SYN has not left yet leaves no trace. */
static void stream_reset(struct kt_pipe *p, int reason, const char *text)
{
    struct kt_smux_stream *s = kt_smux_of(p);
    struct kt_smux *m = s->m;
    kt_smux_drop_send(s);
    if (!give_up(s)) return;
    if (!s->fin_in) set_reason(s, reason, text);
    if (s->control & KT_SMUX_DUE_SYN) {
        kt_smux_stream_free(s);
        kt_smux_wake(m); /* so that `streams` is called */
    } else {
        kt_smux_settle(s); /* not worth moving to another session */
        s->control = KT_SMUX_DUE_FIN;
        kt_smux_schedule(s);
    }
    kt_smux_unstall(m);
}

/* RST is sent in order, so what was written can still arrive. */
static void stream_cut(struct kt_pipe *p, int reason, const char *text)
{
    struct kt_smux_stream *s = kt_smux_of(p);
    struct kt_smux *m = s->m;
    if (!s->fin_in && !m->ended) set_reason(s, reason, text);
    const bool waits = kt_smux_unsent(s) > 0 && !m->ended;
    stream_close(p);
    if (!waits) return;
    s->written_then = s->written;
    kt_list_push(&m->cuts, &s->touched);
}

static void hurry(struct kt_smux_stream *s)
{
    uint8_t text[KT_SMUX_RST_TEXT];
    const size_t n = kt_smux_get_why(s, text);
    kt_smux_drop_send(s);
    kt_smux_set_why(s, s->why, text, n);
    kt_smux_settle(s); /* not worth moving to another session */
    s->control = KT_SMUX_DUE_FIN;
    kt_smux_schedule(s);
}

/* Only streams that wait for their window matter: they are in no queue. */
void kt_smux_hurry_cuts(struct kt_smux *m)
{
    struct kt_list *next;
    if (!m->abort) return; /* to the peer it would look like an orderly end */
    for (struct kt_list *n = m->cuts.next; n != &m->cuts; n = next) {
        struct kt_smux_stream *s = KT_CONTAINER(n, struct kt_smux_stream, touched);
        const bool moved = s->written != s->written_then;
        next = n->next;
        s->written_then = s->written;
        if (kt_smux_unsent(s) == 0)
            kt_list_remove(n);
        else if (!moved && s->queue == KT_SMUX_Q_NONE)
            hurry(s);
    }
}

static bool stream_why(const struct kt_pipe *p, struct kt_err *out)
{
    const struct kt_smux_stream *s = kt_smux_of_const(p);
    char text[KT_SMUX_RST_TEXT + 1];
    if (!s->aborted) return false;
    const size_t n = kt_smux_get_why(s, (uint8_t *)text);
    text[n] = '\0';
    const int code =
        kt_errname(-(int)s->why) == kt_errname(0) ? KT_ERESET : -(int)s->why; /* unknown: from a newer kt */
    kt_err_set(out, code, "%s", n ? text : kt_strerror(code));
    return true;
}

/* ---- as a link's stream ---- */

static void stream_set(struct kt_pipe *p, const struct kt_stream_policy *policy)
{
    struct kt_smux_stream *s = kt_smux_of(p);
    if (!kt_stream_entry_set(&s->entry, policy)) return;
    if (s->queue != KT_SMUX_Q_DATA || s->m->ended) return;
    kt_list_remove(&s->entry.node);
    kt_stream_schedule_add(&s->m->data, &s->entry);
}

static void stream_facts(const struct kt_pipe *p, struct kt_stream_facts *out)
{
    const struct kt_smux_stream *s = kt_smux_of_const(p);
    const struct kt_smux *m = s->m;
    if (!m->ended && m->owner.facts) m->owner.facts(m->ctx, out);
    out->policy = kt_stream_entry_policy(&s->entry);
    out->queued = kt_smux_unsent(s);
}

static const struct kt_stream_ops stream_ops = {stream_set, stream_facts};

const struct kt_pipe_ops kt_smux_pipe_ops = {
    .peek = stream_peek,
    .consume = stream_consume,
    .eof = stream_eof,
    .ended = stream_ended,
    .write = stream_write,
    .room = stream_room,
    .shutdown = stream_shutdown,
    .half_close = stream_half_close,
    .reset = stream_reset,
    .close = stream_close,
    .gone = stream_gone,
    .cut = stream_cut,
    .young = stream_young,
    .behind = stream_behind,
    .why = stream_why,
    .stream = &stream_ops,
};
