/* Events of streams: calls to those who use them.
 *
 * Input, fates and pipe operations only record events (touch); dispatch raises them, once per stream and batch. A
 * callback may end any stream, even its own, open streams, call any function of streams.h, or free the streams. So:
 *
 * - dispatch works on the streams touched before it began, in a list that streams can leave at any time;
 * - after a callback the stream is used only while `current` still points at it (kt_native_stream_silence);
 * - a dispatch inside a dispatch does nothing; streams touched meanwhile wait for another wake. */
#include "link/native/stream.h"

#include <stdlib.h>

void kt_native_streams_wake(struct kt_native_streams *s)
{
    if (s->awake || s->ended) return;
    s->awake = true;
    s->owner.wake(s->ctx);
}

void kt_native_stream_touch(struct kt_native_stream *st, unsigned events)
{
    if (!st->user) return;
    st->events |= (uint8_t)events;
    if (kt_list_empty(&st->touched)) kt_list_push(&st->all->touched, &st->touched);
    kt_native_streams_wake(st->all);
}

void kt_native_stream_know(struct kt_native_stream *st)
{
    if (st->known) return;
    st->known = true;
    if (st->pipe.events && st->pipe.events->known) kt_native_stream_touch(st, KT_NATIVE_EV_KNOWN);
}

void kt_native_stream_silence(struct kt_native_stream *st)
{
    st->events = 0;
    kt_list_remove(&st->touched);
    if (st->all->current == st) st->all->current = NULL;
}

static const char *text_at(const struct kt_native_opened *o, unsigned i)
{
    const char *at = o->text;
    for (unsigned j = 0; j < i; j++) at += o->len[j] + 1;
    return o->len[i] > 0 ? at : NULL;
}

static void hand_over(struct kt_native_stream *st)
{
    struct kt_native_streams *s = st->all;
    struct kt_native_opened *o = st->opened;
    if (!s->owner.stream) {
        kt_pipe_reset(&st->pipe, KT_EREFUSED);
        return;
    }
    const struct kt_open_options options = {.target = text_at(o, 0),
        .client = text_at(o, 1),
        .name = text_at(o, 2),
        .policy = kt_stream_entry_policy(&st->entry)};
    st->opened = NULL;
    st->handed = true;
    s->owner.stream(s->ctx, &st->pipe, &options);
    free(o);
}

/* The stream broke, or the peer left bytes untaken. The latter is raised only after everything received was read,
 * because users stop reading after an error. */
static bool must_close(const struct kt_native_stream *st)
{
    if (st->told) return false;
    return st->code != 0 || (st->lost && kt_pipe_eof(&st->pipe));
}

static void raise_events(struct kt_native_streams *s, struct kt_native_stream *st)
{
    const unsigned events = st->events;
    if (s->ended && !st->handed) return; /* it stays without a user */
    st->events = 0;
    s->current = st;
    if (events & KT_NATIVE_EV_STREAM) hand_over(st);
    if (s->current == st && !st->handed) { /* its OPEN has not arrived: they wait for it */
        st->events = (uint8_t)events;
        s->current = NULL;
    }
    if (s->current == st && events & KT_NATIVE_EV_READABLE && st->pipe.events)
        st->pipe.events->readable(st->pipe.ctx);
    if (events & KT_NATIVE_EV_WRITABLE && s->current == st && st->want_write) {
        st->want_write = false;
        if (st->pipe.events) st->pipe.events->writable(st->pipe.ctx);
    }
    if (events & KT_NATIVE_EV_KNOWN && s->current == st && st->pipe.events && st->pipe.events->known)
        st->pipe.events->known(st->pipe.ctx);
    if (events & KT_NATIVE_EV_CLOSED && s->current == st && must_close(st)) {
        st->told = true;
        if (st->pipe.events)
            st->pipe.events->closed(st->pipe.ctx, st->code ? st->code : KT_ERESET);
        else
            st->unheard = true;
    }
    s->current = NULL;
}

/* A stream waits in `arrivals` until it may be handed over; its other events wait with it. */
static bool may_raise(struct kt_native_streams *s, struct kt_native_stream *st)
{
    if (s->ended || !(st->events & KT_NATIVE_EV_STREAM)) return true;
    if (s->accepts_left == 0) {
        kt_list_push(&s->arrivals, &st->touched);
        return false;
    }
    if (s->accepts_left < UINT32_MAX) s->accepts_left--;
    return true;
}

void kt_native_streams_accept_most(struct kt_native_streams *s, uint32_t n)
{
    s->accepts_left = n;
}

bool kt_native_streams_waiting(const struct kt_native_streams *s)
{
    return !s->ended && !kt_list_empty(&s->arrivals);
}

void kt_native_streams_drain(struct kt_native_streams *s)
{
    struct kt_list batch, *node;
    if (s->draining) return;
    s->draining = true;
    s->awake = false;
    while (!s->ended && s->accepts_left > 0 && (node = kt_list_pop(&s->arrivals))) {
        struct kt_native_stream *st = KT_CONTAINER(node, struct kt_native_stream, touched);
        if (may_raise(s, st)) raise_events(s, st);
    }
    kt_list_take(&batch, &s->touched);
    while ((node = kt_list_pop(&batch))) {
        struct kt_native_stream *st = KT_CONTAINER(node, struct kt_native_stream, touched);
        if (may_raise(s, st)) raise_events(s, st);
    }
    if (s->recount && !s->ended) {
        s->recount = false;
        if (s->owner.count) s->owner.count(s->ctx, s->count);
    }
    if (s->crowded && !s->ended && kt_native_streams_has_room(s)) {
        s->crowded = false;
        if (s->owner.room) s->owner.room(s->ctx);
    }
    s->draining = false;
    if (!kt_list_empty(&s->touched)) kt_native_streams_wake(s);
}

void kt_native_streams_dispatch(struct kt_native_streams *s)
{
    if (s->ended) return;
    kt_native_streams_enter(s);
    kt_native_streams_drain(s);
    kt_native_streams_leave(s);
}
