/* smux: calls to stream owners.
 *
 * Input, settling and pipe operations only record events (touch); drain raises them, once per stream and
 * batch. A callback may close any stream, even its own, open or move streams, call the smux again, or free
 * it. So:
 *
 * - drain works on the streams touched before it began, in a list that streams can leave at any time;
 * - after a callback the stream is used only while m->current still points at it; closing, freeing or moving
 *   a stream clears that (kt_smux_silence);
 * - a drain inside a drain does nothing; streams touched meanwhile are drained after another wake.
 *
 * A stream of the peer's waits in m->arrivals until it may be accepted (kt_smux_accept_most). Its other events
 * wait with it, and are raised once it has a user. */
#include "link/kcptun/smux_internal.h"

void kt_smux_touch(struct kt_smux_stream *s, unsigned events)
{
    if (s->closed) return;
    s->events |= (uint8_t)events;
    if (kt_list_empty(&s->touched)) kt_list_push(&s->m->touched, &s->touched);
}

void kt_smux_arrive(struct kt_smux_stream *s)
{
    s->events |= KT_SMUX_EV_ACCEPT;
    kt_list_push(&s->m->arrivals, &s->starting);
}

void kt_smux_offer(struct kt_smux_stream *s)
{
    /* Usual after a frame; saves kt_smux_send_most. */
    if (!s->want_write || s->send.len > KT_SMUX_SEND_BUFFER / 2) return;
    if (s->send.len <= kt_smux_send_most(s) / 2) kt_smux_touch(s, KT_SMUX_EV_WRITABLE);
}

void kt_smux_silence(struct kt_smux_stream *s)
{
    s->events = 0;
    kt_list_remove(&s->touched);
    if (s->m->current == s) s->m->current = NULL;
}

/* Whether `closed` is due: the stream broke, or it could not deliver everything before the peer's FIN. The
 * latter is reported only after all arrivals were read, because readers stop at an error. */
static bool must_close(const struct kt_smux_stream *s)
{
    if (s->told) return false;
    if (s->aborted) return true;
    return s->code ? !s->fin_in || s->cut : s->lost && s->recv.len == 0;
}

static void raise_events(struct kt_smux *m, struct kt_smux_stream *s)
{
    const unsigned events = s->events;
    s->events = 0;
    m->current = s;
    if (events & KT_SMUX_EV_ACCEPT) m->owner.accept(m->ctx, &s->pipe);
    if (events & KT_SMUX_EV_READABLE && m->current == s && s->pipe.events)
        s->pipe.events->readable(s->pipe.ctx);
    if (events & KT_SMUX_EV_WRITABLE && m->current == s && s->want_write) {
        s->want_write = false;
        if (s->pipe.events) s->pipe.events->writable(s->pipe.ctx);
    }
    if (events & KT_SMUX_EV_KNOWN && m->current == s && s->pipe.events && s->pipe.events->known)
        s->pipe.events->known(s->pipe.ctx);
    if (events & KT_SMUX_EV_CLOSED && m->current == s && must_close(s)) {
        const int code = s->code ? s->code : KT_ERESET;
        s->told = true;
        if (s->pipe.events)
            s->pipe.events->closed(s->pipe.ctx, code);
        else
            s->unheard = true;
    }
    if (m->current == s) kt_smux_settle_window(s);
    m->current = NULL;
}

/* Once m has ended, those that remain stay without a user. */
static void accept_arrivals(struct kt_smux *m)
{
    struct kt_list *node;
    while (!m->ended && m->accepts_left > 0 && (node = kt_list_pop(&m->arrivals))) {
        struct kt_smux_stream *s = KT_CONTAINER(node, struct kt_smux_stream, starting);
        if (m->accepts_left < UINT32_MAX) m->accepts_left--;
        kt_list_remove(&s->touched);
        raise_events(m, s);
    }
}

static struct kt_smux_stream *next_touched(struct kt_list *batch)
{
    struct kt_list *node = kt_list_pop(batch);
    return node ? KT_CONTAINER(node, struct kt_smux_stream, touched) : NULL;
}

void kt_smux_drain(struct kt_smux *m)
{
    if (m->draining) return;
    m->draining = true;
    if (m->hello_raise && !m->ended) {
        m->hello_raise = false;
        if (m->owner.hello) m->owner.hello(m->ctx, m->peer_features);
    }
    struct kt_list batch, waiting;
    struct kt_smux_stream *s;
    kt_list_take(&batch, &m->touched);
    kt_list_init(&waiting);
    while ((s = next_touched(&batch))) {
        if (s->events & KT_SMUX_EV_ACCEPT)
            kt_list_push(&waiting, &s->touched);
        else
            raise_events(m, s);
    }
    accept_arrivals(m);
    while ((s = next_touched(&waiting))) kt_smux_settle_window(s);
    if (m->recount && !m->ended) {
        m->recount = false;
        if (m->owner.streams) m->owner.streams(m->ctx, m->count);
    }
    m->draining = false;
    if (!kt_list_empty(&m->touched)) kt_smux_wake(m);
}

void kt_smux_accept_most(struct kt_smux *m, uint32_t n)
{
    m->accepts_left = n;
}

bool kt_smux_waiting(const struct kt_smux *m)
{
    return !m->ended && !kt_list_empty(&m->arrivals);
}

void kt_smux_dispatch(struct kt_smux *m)
{
    if (m->ended) return;
    kt_smux_enter(m);
    kt_smux_drain(m);
    kt_smux_leave(m);
}
