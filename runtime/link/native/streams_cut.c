/* Streams that were cut (base/pipe.h) and still have unsent bytes. These wait for the peer's credit like
 * any others, but not without end: a peer whose application reads nothing would otherwise keep its end, and
 * this end the bytes, as long as the association lives. If no byte of a stream could be sent for KT_NATIVE_CUT_US, it
 * ends after those that were. The time before the cut counts: when an application gives up on a stalled peer, both ends
 * are soon rid of the stream.
 *
 * Invariant: a stream is in the list only while it has unsent bytes, or until the next look at it. `cuts_due` is no
 * later than any of these. */
#include "link/native/stream.h"

#include "base/bytes.h"

static uint64_t due_of(const struct kt_native_stream *st)
{
    return st->sent_us + KT_NATIVE_CUT_US;
}

void kt_native_stream_watch_cut(struct kt_native_stream *st)
{
    struct kt_native_streams *s = st->all;
    if (s->ended || kt_native_send_unsent(&st->out) == 0) return;
    const uint64_t least = s->now_us + KT_NATIVE_CUT_LEAST_US;
    if (due_of(st) < least) st->sent_us = least - kt_min64(least, KT_NATIVE_CUT_US);
    if (kt_list_empty(&s->cuts) || due_of(st) < s->cuts_due) {
        s->cuts_due = due_of(st);
        kt_native_streams_wake(s); /* for the owner to set a timer */
    }
    kt_list_push(&s->cuts, &st->touched);
}

/* Ends it after what has been sent. */
static void hurry(struct kt_native_stream *st)
{
    kt_list_remove(&st->touched);
    if (st->id == 0) {
        kt_native_stream_free(st);
        return;
    }
    st->all->queued -= kt_native_send_unsent(&st->out);
    kt_native_send_drop_unsent(&st->out);
    st->reset_at = st->out.written;
    st->reset_acked = false;
    kt_native_stream_due(st, KT_NATIVE_DUE_RESET);
    kt_native_stream_place(st);
    kt_native_stream_settle(st);
}

uint64_t kt_native_streams_due(const struct kt_native_streams *s)
{
    if (s->ended) return UINT64_MAX;
    const uint64_t cuts = kt_list_empty(&s->cuts) ? UINT64_MAX : s->cuts_due;
    const bool more = kt_native_streams_exhausted(s) && s->peer_next - s->peer_closed < s->cfg.most_streams;
    return more ? kt_min64(cuts, s->review_us) : cuts;
}

void kt_native_streams_timer(struct kt_native_streams *s, bool heard)
{
    struct kt_list *next;
    if (s->ended) return;
    kt_native_streams_enter(s);
    kt_native_credit_count_streams(s);
    s->cuts_due = UINT64_MAX;
    for (struct kt_list *n = s->cuts.next; n != &s->cuts; n = next) {
        struct kt_native_stream *st = KT_CONTAINER(n, struct kt_native_stream, touched);
        const bool up = due_of(st) <= s->now_us;
        next = n->next;
        if (kt_native_send_unsent(&st->out) == 0) {
            kt_list_remove(n);
            continue;
        }
        if (up && heard && st->line != KT_NATIVE_LINE_READY) {
            hurry(st);
            continue;
        }
        if (up) st->sent_us = s->now_us; /* it waits for the path, not for the peer's credit */
        s->cuts_due = kt_min64(s->cuts_due, due_of(st));
    }
    kt_native_streams_leave(s);
}
