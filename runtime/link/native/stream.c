/* A stream of kt's own wire as a kt_pipe (base/pipe.h). Each operation changes the buffers, then lets the stream find
 * its place among those that wait to send; nothing is sent and no event raised from here. */
#include "link/native/stream.h"

#include <assert.h>
#include <string.h>
#include "base/bytes.h"
#include "link/native/code.h"

/* ---- reading ---- */

static size_t stream_peek(struct kt_pipe *p, struct kt_iov *iov, size_t max)
{
    return kt_native_recv_peek(&kt_native_stream_of(p)->in, iov, max);
}

static void stream_consume(struct kt_pipe *p, size_t n)
{
    struct kt_native_stream *st = kt_native_stream_of(p);
    if (n == 0) return;
    kt_native_recv_consume(&st->in, n);
    st->all->unread -= n;
    if (st->all->ended) return;
    kt_native_credit_took(st);
    if (st->in.taken < st->in.ready) return;
    if (st->lost) kt_native_stream_touch(st, KT_NATIVE_EV_CLOSED);
    kt_native_stream_settle(st); /* it has a user: it stays */
}

static bool stream_ended(const struct kt_pipe *p)
{
    const struct kt_native_stream *st = kt_native_stream_of_const(p);
    return kt_native_recv_complete(&st->in) && !st->reset_in;
}

static bool stream_eof(const struct kt_pipe *p)
{
    const struct kt_native_stream *st = kt_native_stream_of_const(p);
    return st->in.taken == st->in.final && !st->reset_in;
}

/* ---- writing ---- */

/* Bytes that may be written now: a stream gets half of the send_memory that the others leave, as far as there is memory
 * to spare, and no more than KT_NATIVE_UNSENT may wait to be sent for the first time. */
static size_t room_of(const struct kt_native_stream *st)
{
    const struct kt_native_streams *s = st->all;
    const uint64_t held = kt_native_send_held(&st->out), unsent = kt_native_send_unsent(&st->out);
    const uint64_t others = s->queued - held;
    uint64_t left = others < s->cfg.send_memory ? s->cfg.send_memory - others : 0;
    if (s->owner.spare && !s->ended) left = kt_min64(left, held + s->owner.spare(s->ctx));
    uint64_t share = left / 2;
    if (share < KT_NATIVE_SEND_LEAST) share = KT_NATIVE_SEND_LEAST;
    if (held >= share || unsent >= KT_NATIVE_UNSENT) return 0;
    return (size_t)kt_min64(share - held, KT_NATIVE_UNSENT - unsent);
}

void kt_native_stream_offer(struct kt_native_stream *st)
{
    if (!st->want_write || st->events & KT_NATIVE_EV_WRITABLE) return;
    const uint64_t enough = kt_min64(KT_NATIVE_UNSENT / 4, kt_native_send_held(&st->out));
    if (kt_native_send_unsent(&st->out) + enough > KT_NATIVE_UNSENT) return; /* as after most packets */
    if (room_of(st) >= enough) kt_native_stream_touch(st, KT_NATIVE_EV_WRITABLE);
}

static bool takes_writes(const struct kt_native_stream *st)
{
    return !st->all->ended && !st->out_over && !st->out.ended && !st->code && st->in_reset == UINT64_MAX;
}

static size_t stream_room(struct kt_pipe *p)
{
    struct kt_native_stream *st = kt_native_stream_of(p);
    if (!takes_writes(st)) return 1;
    const size_t n = room_of(st);
    if (n == 0) st->want_write = true;
    return n;
}

static size_t stream_write(struct kt_pipe *p, const void *data, size_t n)
{
    struct kt_native_stream *st = kt_native_stream_of(p);
    if (n == 0) return 0;
    st->want_write = false;
    if (!takes_writes(st)) {
        st->want_write = !st->out.ended; /* to find out that it is gone */
        return 0;
    }
    const size_t done = kt_native_send_write(&st->out, data, kt_min_size(n, room_of(st)));
    st->all->queued += done;
    st->want_write = done < n;
    if (done > 0)
        kt_native_stream_place(st);
    else if (kt_native_send_held(&st->out) == 0)
        kt_native_stream_touch(st, KT_NATIVE_EV_WRITABLE); /* memory is short: it tries again */
    return done;
}

static void stream_shutdown(struct kt_pipe *p)
{
    struct kt_native_stream *st = kt_native_stream_of(p);
    if (st->out.ended) return;
    st->out.ended = true;
    st->want_write = false;
    kt_native_stream_place(st);
}

static bool stream_half_close(const struct kt_pipe *p)
{
    return !kt_native_stream_of_const(p)->all->ended;
}

static bool stream_young(const struct kt_pipe *p)
{
    return !kt_native_stream_of_const(p)->known;
}

static bool stream_gone(const struct kt_pipe *p)
{
    const struct kt_native_stream *st = kt_native_stream_of_const(p);
    return (st->stopped && kt_native_recv_complete(&st->in) && !st->reset_in) || st->unheard;
}

/* ---- ends ---- */

/* The user gives the stream up: no more events, and arrived bytes are dropped. False if the stream was
 * freed. */
static bool give_up(struct kt_native_stream *st)
{
    assert(st->user);
    kt_native_stream_silence(st);
    st->user = false;
    st->want_write = false;
    st->pipe.events = NULL;
    kt_native_stream_drop_in(st);
    if (!st->all->ended) return true;
    kt_native_stream_free(st);
    return false;
}

static void stream_close(struct kt_pipe *p)
{
    struct kt_native_stream *st = kt_native_stream_of(p);
    if (!give_up(st)) return;
    st->out.ended = true;
    kt_native_stream_place(st);
    kt_native_stream_settle(st);
}

/* Nothing is left to tell the peer: it reset the stream, or it has everything and takes nothing more. */
static bool is_settled(const struct kt_native_stream *st)
{
    if (st->in_reset != UINT64_MAX) return true;
    return kt_native_recv_complete(&st->in) && (st->out_over || kt_native_send_complete(&st->out));
}

/* Ends both directions with RESET, behind the bytes before `offset`. */
static void end_with(struct kt_native_stream *st, uint64_t offset, int reason, const char *text)
{
    st->reset = true;
    st->reset_at = offset;
    st->reset_code = kt_native_code_of(reason);
    kt_native_stream_set_text(st, text, text ? strlen(text) : 0, KT_NATIVE_RESET_TEXT);
    kt_native_stream_due(st, KT_NATIVE_DUE_RESET);
}

static void stream_reset(struct kt_pipe *p, int reason, const char *text)
{
    struct kt_native_stream *st = kt_native_stream_of(p);
    if (!give_up(st)) return;
    if (st->id == 0) {
        kt_native_stream_free(st);
        return;
    }
    const bool settled = is_settled(st);
    if (!st->out_over) {
        st->all->queued -= kt_native_send_held(&st->out);
        kt_native_send_clear(&st->out);
    }
    if (!settled) end_with(st, 0, reason, text);
    kt_native_stream_place(st);
    kt_native_stream_settle(st);
}

static void stream_cut(struct kt_pipe *p, int reason, const char *text)
{
    struct kt_native_stream *st = kt_native_stream_of(p);
    if (st->id == 0 && st->out.written == 0) {
        stream_reset(p, reason, text);
        return;
    }
    if (!give_up(st)) return;
    if (!is_settled(st)) {
        end_with(st, st->out_over ? 0 : st->out.written, reason, text);
        kt_native_stream_watch_cut(st);
    }
    kt_native_stream_settle(st);
}

static bool stream_why(const struct kt_pipe *p, struct kt_err *out)
{
    const struct kt_native_stream *st = kt_native_stream_of_const(p);
    if (!st->reset_in) return false;
    kt_err_set(out, st->why, "%s", st->text ? st->text : kt_strerror(st->why));
    return true;
}

/* ---- as a link's stream ---- */

static void stream_set(struct kt_pipe *p, const struct kt_stream_policy *policy)
{
    struct kt_native_stream *st = kt_native_stream_of(p);
    if (!kt_stream_entry_set(&st->entry, policy)) return;
    if (st->line != KT_NATIVE_LINE_READY && st->line != KT_NATIVE_LINE_STARVED) return;
    kt_list_remove(&st->entry.node);
    st->line = KT_NATIVE_LINE_NONE;
    kt_native_stream_place(st);
}

static void stream_facts(const struct kt_pipe *p, struct kt_stream_facts *out)
{
    const struct kt_native_stream *st = kt_native_stream_of_const(p);
    const struct kt_native_streams *s = st->all;
    if (!s->ended && s->owner.facts) s->owner.facts(s->ctx, out);
    out->policy = kt_stream_entry_policy(&st->entry);
    out->queued = kt_native_send_unsent(&st->out);
}

static const struct kt_stream_ops stream_ops = {stream_set, stream_facts};

const struct kt_pipe_ops kt_native_stream_pipe_ops = {
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
    .why = stream_why,
    .stream = &stream_ops,
};
