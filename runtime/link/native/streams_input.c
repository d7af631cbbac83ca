/* Frames of streams from the peer. Frames that the parser accepted (frame.h) are checked here against what the
 * association knows: who opens which ids, and the credit that was announced.
 *
 * A frame changes state only after it has been checked. Errors name the frame and the rule. */
#include "link/native/stream.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include "link/native/code.h"

__attribute__((format(printf, 3, 4))) static int broken(
    struct kt_err *err, const struct kt_native_frame *f, const char *fmt, ...)
{
    char what[200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return kt_err_set(err, KT_EPROTO, "frame %s (0x%02x): %s", kt_native_frame_name(f->type), f->type, what);
}

/* Streams that the peer opened are named by the first frame that arrives, and so are those below. */
static int open_up_to(struct kt_native_streams *s, uint64_t index)
{
    while (s->peer_next <= index) {
        struct kt_native_stream *st = kt_native_stream_new(s, false);
        if (!st) return KT_ENOMEM;
        const int rc = kt_native_stream_name(st, 2 * s->peer_next + (s->cfg.client ? 2 : 1));
        if (rc < 0) {
            kt_native_stream_free(st);
            return rc;
        }
        s->peer_next++;
    }
    kt_native_credit_count_streams(s);
    return 0;
}

/* The stream that a frame names; *out NULL: it has closed, and the frame is to be ignored. */
static int look_up(struct kt_native_streams *s, const struct kt_native_frame *f, uint64_t id,
    struct kt_native_stream **out, struct kt_err *err)
{
    const bool ours = (id % 2 == 1) == s->cfg.client;
    const uint64_t index = (id - 1) / 2;
    *out = NULL;
    if (ours && f->type == KT_NATIVE_FRAME_OPEN)
        return broken(err, f, "stream %" PRIu64 " has an id of the other end", id);
    if (ours && index >= s->own_next) return broken(err, f, "stream %" PRIu64 " was not opened", id);
    if (!ours && index >= s->peer_limit)
        return broken(
            err, f, "stream %" PRIu64 " is beyond the limit of %" PRIu64 " streams", id, s->peer_limit);
    if (!ours && index >= s->peer_next && open_up_to(s, index) < 0)
        return kt_err_set(err, KT_ENOMEM, "no memory for a stream");
    *out = kt_native_streams_find(s, id);
    if (*out) kt_native_stream_know(*out);
    return 0;
}

static int on_open(struct kt_native_streams *s, const struct kt_native_frame *f, struct kt_err *err)
{
    const struct kt_native_open *open = &f->open;
    struct kt_native_stream *st;
    const int rc = look_up(s, f, open->id, &st, err);
    if (rc < 0 || !st || st->opened || st->handed || !st->user) return rc;
    const struct kt_native_text texts[3] = {open->target, open->client, open->name};
    if (kt_native_stream_set_opened(st, texts) < 0)
        return kt_err_set(err, KT_ENOMEM, "no memory for a stream");
    const struct kt_stream_policy policy = {open->priority, open->weight};
    st->pipe.ops->stream->set(&st->pipe, &policy);
    kt_native_stream_touch(st, KT_NATIVE_EV_STREAM);
    return 0;
}

/* The peer's RESET takes effect once the bytes before it have arrived. */
static void check_reset(struct kt_native_stream *st)
{
    if (st->reset_in || st->in.ready < st->in_reset) return;
    st->reset_in = true;
    if (!st->code) st->code = KT_ERESET;
    if (st->user && !st->handed) { /* its user has not got it yet */
        st->user = false;
        kt_native_stream_silence(st);
        kt_native_stream_drop_in(st);
    }
    kt_native_stream_touch(st, KT_NATIVE_EV_CLOSED);
}

/* True while bytes from the peer have someone to take them. */
static bool wants_data(const struct kt_native_stream *st)
{
    return st->user && !st->in_over && !st->reset_in && st->stop == KT_NATIVE_STOP_NONE;
}

static int on_data(struct kt_native_streams *s, const struct kt_native_frame *f, struct kt_err *err)
{
    const struct kt_native_data *d = &f->data;
    const uint64_t end = d->offset + d->len;
    struct kt_native_stream *st;
    int rc = look_up(s, f, d->id, &st, err);
    if (rc < 0 || !st || !wants_data(st)) return rc;
    if (end > st->in_limit)
        return broken(err, f, "stream %" PRIu64 " has bytes up to %" PRIu64 ", and credit for %" PRIu64,
            d->id, end, st->in_limit);
    if (end > st->in.highest) {
        const uint64_t own = st->in_taken + s->cfg.ours.min_stream_data, charge = end > own ? end - own : 0;
        const uint64_t charged = s->charged_in - st->in_charge + charge;
        if (charged > s->max_data_in)
            return broken(err, f,
                "streams have %" PRIu64 " bytes beyond min_stream_data, and credit for %" PRIu64, charged,
                s->max_data_in);
    }
    if (st->in.highest == 0) st->tuned_at = s->now_us;
    const uint64_t ready = st->in.ready;
    const bool complete = kt_native_recv_complete(&st->in);
    struct kt_err why;
    rc = kt_native_recv_put(&st->in, d->offset, d->data, d->len, f->type & KT_NATIVE_DATA_LAST, &why);
    if (rc == KT_EPROTO) return broken(err, f, "stream %" PRIu64 " has %s", d->id, why.text);
    if (rc < 0) return kt_err_set(err, rc, "%s", why.text);
    s->unread += st->in.ready - ready;
    s->received += st->in.ready - ready;
    kt_native_credit_count_in(st);
    if (s->charged_in > s->max_data_in / 2) kt_native_credit_more(s);
    kt_native_credit_arrived(st);
    if (st->in.ready > ready || kt_native_recv_complete(&st->in) != complete) {
        kt_native_stream_touch(st, KT_NATIVE_EV_READABLE);
        if (st->stopped) kt_native_stream_touch(st, KT_NATIVE_EV_WRITABLE); /* gone is true now */
        if (st->lost) kt_native_stream_touch(st, KT_NATIVE_EV_CLOSED);
    }
    check_reset(st);
    kt_native_stream_settle(st);
    return 0;
}

static int on_reset(struct kt_native_streams *s, const struct kt_native_frame *f, struct kt_err *err)
{
    struct kt_native_stream *st;
    const int rc = look_up(s, f, f->reset.id, &st, err);
    if (rc < 0 || !st) return rc;
    if (st->in.final != UINT64_MAX && f->reset.offset > st->in.final)
        return broken(err, f, "stream %" PRIu64 " ends at %" PRIu64 ", before %" PRIu64, f->reset.id,
            st->in.final, f->reset.offset);
    kt_native_stream_end_out(st);
    if (!st->reset_in && f->reset.offset < st->in_reset) {
        st->in_reset = f->reset.offset;
        st->why = kt_native_code_error(f->reset.code);
        if (st->why == 0) st->why = KT_ERESET;
        if (st->user)
            kt_native_stream_set_text(st, f->reset.text.data, f->reset.text.len, KT_NATIVE_RESET_TEXT);
        check_reset(st);
    }
    kt_native_stream_settle(st);
    return 0;
}

static int took_too_much(
    struct kt_err *err, const struct kt_native_frame *f, const struct kt_native_stream *st, uint64_t taken)
{
    return broken(err, f, "stream %" PRIu64 " has %" PRIu64 " bytes taken of %" PRIu64 " sent", st->id, taken,
        st->out.sent);
}

static int on_stop(struct kt_native_streams *s, const struct kt_native_frame *f, struct kt_err *err)
{
    struct kt_native_stream *st;
    const int rc = look_up(s, f, f->stop.id, &st, err);
    if (rc < 0 || !st || st->stopped) return rc;
    if (f->stop.taken > st->out.sent) return took_too_much(err, f, st, f->stop.taken);
    st->stopped = true;
    st->lost = f->stop.taken < st->out.written && !st->reset;
    kt_native_stream_end_out(st);
    kt_native_stream_touch(st, KT_NATIVE_EV_WRITABLE | KT_NATIVE_EV_CLOSED);
    kt_native_stream_settle(st);
    return 0;
}

static int on_max_stream_data(
    struct kt_native_streams *s, const struct kt_native_frame *f, struct kt_err *err)
{
    const uint64_t taken = f->max_stream_data.taken, limit = taken + f->max_stream_data.window;
    struct kt_native_stream *st;
    const int rc = look_up(s, f, f->max_stream_data.id, &st, err);
    if (rc < 0 || !st || st->out_over) return rc;
    if (taken > st->out.sent) return took_too_much(err, f, st, taken);
    if (limit <= st->out_limit && taken <= st->out_taken) return 0;
    if (limit > st->out_limit) st->out_limit = limit;
    if (taken > st->out_taken) st->out_taken = taken;
    st->blocked_at = UINT64_MAX; /* if it still waits, the peer has to hear of it again */
    kt_native_credit_count_out(st);
    kt_native_stream_place(st);
    return 0;
}

/* The peer waits for credit: announce what was taken since the last time, and later credit in smaller steps. */
static int on_blocked(struct kt_native_streams *s, const struct kt_native_frame *f, struct kt_err *err)
{
    struct kt_native_stream *st;
    if (f->blocked.id == 0) {
        if (f->blocked.offset >= s->max_data_in) kt_native_credit_more(s);
        return 0;
    }
    const int rc = look_up(s, f, f->blocked.id, &st, err);
    if (rc < 0 || !st || !wants_data(st)) return rc;
    kt_native_credit_blocked(st, f->blocked.offset);
    return 0;
}

int kt_native_streams_input(struct kt_native_streams *s, const struct kt_native_frame *f, struct kt_err *err)
{
    assert(kt_native_streams_takes(f->type));
    if (s->ended) return 0;
    switch (f->type) {
    case KT_NATIVE_FRAME_OPEN:
        return on_open(s, f, err);
    case KT_NATIVE_FRAME_RESET:
        return on_reset(s, f, err);
    case KT_NATIVE_FRAME_STOP:
        return on_stop(s, f, err);
    case KT_NATIVE_FRAME_MAX_DATA:
        if (f->max_data <= s->max_data_out) return 0;
        s->max_data_out = f->max_data;
        if (!kt_stream_schedule_empty(&s->starved)) kt_native_streams_wake(s);
        return 0;
    case KT_NATIVE_FRAME_MAX_STREAM_DATA:
        return on_max_stream_data(s, f, err);
    case KT_NATIVE_FRAME_MAX_STREAMS:
        if (f->max_streams > s->own_limit) s->own_limit = f->max_streams;
        kt_native_streams_place_unnamed(s);
        if (s->crowded) kt_native_streams_wake(s);
        return 0;
    case KT_NATIVE_FRAME_BLOCKED:
        return on_blocked(s, f, err);
    default:
        return on_data(s, f, err);
    }
}
