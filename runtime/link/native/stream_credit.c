/* Credit (docs/wire.md, 6.1). Each end charges to the association what a stream holds beyond min_stream_data, as far as
 * it knows what was taken; the receiver knows it first, so it never charges more than the sender.
 *
 * Invariant: charged_in and charged_out are the sums of the streams' in_charge and out_charge. */
#include "link/native/stream.h"

#include "base/bytes.h"

#define REVIEW_US 1000000u /* between two looks at a peer that waits for streams */
#define WORTH 1200u        /* credit of the association smaller than a frame is left alone */
/* What was taken is announced at the latest after this much. A peer that waits for the credit of a large window does not
 * have what was not announced yet. */
#define STEP_MOST 262144u

void kt_native_credit_count_out(struct kt_native_stream *st)
{
    struct kt_native_streams *s = st->all;
    const uint64_t charge =
        st->out_over ? 0 : kt_sub64(st->out.sent, st->out_taken + s->cfg.peers.min_stream_data);
    if (charge < st->out_charge && !kt_stream_schedule_empty(&s->starved)) kt_native_streams_wake(s);
    s->charged_out += charge - st->out_charge;
    st->out_charge = charge;
}

void kt_native_credit_count_in(struct kt_native_stream *st)
{
    struct kt_native_streams *s = st->all;
    const bool none = st->in_over || st->stop != KT_NATIVE_STOP_NONE || st->reset;
    const uint64_t charge = none ? 0 : kt_sub64(st->in.highest, st->in_taken + s->cfg.ours.min_stream_data);
    s->charged_in += charge - st->in_charge;
    st->in_charge = charge;
}

bool kt_native_credit_left(const struct kt_native_streams *s)
{
    const uint64_t left = kt_sub64(s->max_data_out, s->charged_out);
    return left > 0 && (left >= WORTH || left >= s->max_data_out / 2);
}

uint64_t kt_native_credit_limit(const struct kt_native_stream *st)
{
    const struct kt_native_streams *s = st->all;
    const uint64_t own = st->out_taken + s->cfg.peers.min_stream_data;
    const uint64_t from = st->out.sent > own ? st->out.sent : own;
    const uint64_t left = kt_native_credit_left(s) ? kt_sub64(s->max_data_out, s->charged_out) : 0;
    return kt_min64(st->out_limit, from + left);
}

/* Doubles the window, but to at most half of the memory that others leave: stalled readers keep what they
 * hold, and the other windows shrink towards min_stream_data before memory is used up. */
static void grow(struct kt_native_stream *st)
{
    const struct kt_native_streams *s = st->all;
    const uint64_t spare = kt_sub64(s->cfg.memory, s->charged_in - st->in_charge) / 2;
    const uint64_t most = kt_min64(s->cfg.max_window, s->cfg.ours.min_stream_data + spare);
    const uint64_t twice = kt_min64(2 * st->in_window, most);
    if (twice <= st->in_window) return;
    st->in_window = twice;
    st->grown_at = st->in.taken;
    st->grown_limit = st->in.taken + twice;
}

/* The reader takes what arrives: some since the window last grew, and next to nothing waits for it. If the peer needs
 * more credit nevertheless, the window is too small. Where packets are lost it must hold what arrives behind a gap
 * until that is closed, and then a window's worth takes longer than two round trips. */
static void grow_for(struct kt_native_stream *st)
{
    const uint64_t before = st->in_window;
    if (st->in.taken == st->grown_at || st->in.ready - st->in.taken > before / 8) return;
    grow(st);
    if (st->in_window > before) kt_native_stream_due(st, KT_NATIVE_DUE_CREDIT);
}

/* In time for the peer to hear of it: half a window is left. */
void kt_native_credit_arrived(struct kt_native_stream *st)
{
    const uint64_t limit = st->grown_limit > st->in_limit ? st->grown_limit : st->in_limit;
    if (st->in.final == UINT64_MAX && st->in.highest + st->in_window / 2 >= limit) grow_for(st);
}

/* A peer that had all of the window's credit and waits again. */
void kt_native_credit_blocked(struct kt_native_stream *st, uint64_t offset)
{
    st->pressed = true;
    if (offset >= st->grown_limit) grow_for(st);
    kt_native_credit_took(st);
}

void kt_native_credit_took(struct kt_native_stream *st)
{
    const struct kt_native_streams *s = st->all;
    const uint64_t taken = st->in.taken, news = taken - st->in_taken;
    if (st->stop != KT_NATIVE_STOP_NONE || st->reset || taken == st->in.final) return;
    if (taken - st->tuned_taken >= st->in_window) {
        if (s->now_us - st->tuned_at <= 2 * (uint64_t)s->srtt_us) grow(st);
        st->tuned_taken = taken;
        st->tuned_at = s->now_us;
    }
    uint64_t step = kt_min64(st->in_window / 4, STEP_MOST);
    if (st->pressed) step = kt_min64(step, s->cfg.ours.min_stream_data / 2);
    if (news > 0 && news >= step) kt_native_stream_due(st, KT_NATIVE_DUE_CREDIT);
}

void kt_native_credit_announce(struct kt_native_stream *st)
{
    st->in_taken = st->in.taken;
    if (st->in_taken + st->in_window > st->in_limit) st->in_limit = st->in_taken + st->in_window;
    st->pressed = false;
    kt_native_credit_count_in(st);
}

void kt_native_credit_more(struct kt_native_streams *s)
{
    if (s->ended || s->max_data_want > s->max_data_in || s->max_data_want >= s->cfg.memory) return;
    uint64_t want = kt_min64(2 * s->max_data_want, s->cfg.memory);
    if (s->owner.more) want = s->owner.more(s->ctx, want);
    if (want <= s->max_data_want) return;
    s->max_data_want = want;
    s->due_max_data = true;
    kt_native_streams_wake(s);
}

uint64_t kt_native_credit_streams(const struct kt_native_streams *s)
{
    const uint64_t first = s->cfg.ours.max_streams, open = s->peer_next - s->peer_closed;
    uint64_t most = s->cfg.most_streams > first ? s->cfg.most_streams : first;
    if (s->owner.allows && !s->ended) most = kt_min64(most, kt_sub64(s->owner.allows(s->ctx), s->own));
    const uint64_t limit = s->peer_closed + kt_min64(most, 2 * open > first ? 2 * open : first);
    return limit > s->peer_limit ? limit : s->peer_limit;
}

void kt_native_credit_count_streams(struct kt_native_streams *s)
{
    if (s->ended || s->due_max_streams) return;
    const uint64_t news = kt_native_credit_streams(s) - s->peer_limit;
    const bool worth = kt_native_streams_exhausted(s) || news >= (s->peer_limit - s->peer_closed) / 8;
    if (news > 0 && worth) {
        s->due_max_streams = true;
        kt_native_streams_wake(s);
    } else if (kt_native_streams_exhausted(s) && s->review_us <= s->now_us) {
        s->review_us = s->now_us + REVIEW_US;
        kt_native_streams_wake(s); /* for the owner to set a timer */
    }
}
