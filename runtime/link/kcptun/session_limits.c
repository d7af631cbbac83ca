/* A session's part of what all sessions use: streams, memory, descriptors, and time in a turn of the loop. Of
 * memory and descriptors it may hold as much as is left for all others: one greedy session leaves half, two
 * leave a third, and a new session always finds some (context.h). */
#include "base/bytes.h"
#include "io/io.h"
#include "link/common/descriptors.h"
#include "link/kcptun/session_internal.h"

/* Segments that KCP may always hold to send, and store beyond the next one that it reads, without memory to spare. */
#define FEW_SEGMENTS 2u
#define MANY_SEGMENTS 16u
/* Bytes of a FEC decoder that are part of a session's state while there is memory: a group of 10+3 and its tables. */
#define FEC_STATE 24576u
/* Likewise of the slots of its windows, its snappy decoder and its list of refused streams. */
#define STATE 8192u

/* In a turn of the loop: payload, frames, and batches of streams that the peer opened. */
#define TURN_BYTES 262144u
#define TURN_FRAMES 2048u
#define TURN_BATCHES 16u
#define BATCH 16u
#define ACCEPT_US 1000u /* ... from the turn's start; after that only a first batch is begun */

/* ---- streams ---- */

static size_t descriptors_left(const struct kt_kcptun_session *s)
{
    return kt_descriptors_left(s->context->io, s->context->counters, s->streams, kt_smux_streams(s->smux));
}

/* The cost of its streams alone: a session whose buffers are full may still open some. A few are never refused, so
 * that a greedy session cannot keep the others from opening any. */
static bool affords(const struct kt_kcptun_session *s, size_t streams)
{
    const size_t uncounted = kt_sub_size(streams, s->streams); /* until the end of the batch */
    return streams < kt_kcptun_context_least_streams(s->context) ||
           kt_kcptun_context_cost(s->context, streams + uncounted) < kt_kcptun_context_most(s->context);
}

bool kt_kcptun_session_admit(void *ctx)
{
    const struct kt_kcptun_session *s = ctx;
    const size_t own = kt_smux_streams(s->smux);
    return own < descriptors_left(s) && affords(s, own);
}

static const char *why_refused(const struct kt_kcptun_session *s, bool full)
{
    if (full) return "max_streams, --maxstreams";
    if (!affords(s, kt_smux_streams(s->smux)))
        return "the remaining memory is for other sessions; raise max_buffered (--maxbuffered)";
    return "the remaining descriptors are for other sessions; raise ulimit -n";
}

void kt_kcptun_session_note_refusal(void *ctx, bool full)
{
    struct kt_kcptun_session *s = ctx;
    s->context->counters->StreamsRefused++;
    if (!s->full_logged)
        kt_log_with(s->context->log, KT_LOG_WARN, kt_log_peer(s->peer_text),
            "session with %s: %zu streams open; refusing new ones (%s)", s->peer_text,
            kt_smux_streams(s->smux), why_refused(s, full));
    s->full_logged = true;
}

void kt_kcptun_session_note_room(struct kt_kcptun_session *s)
{
    if (s->streams < s->context->cfg.max_streams / 2 && s->streams < descriptors_left(s) / 2 &&
        affords(s, 2 * s->streams))
        s->full_logged = false;
}

/* ---- memory ---- */

static size_t memory_left(const struct kt_kcptun_session *s, bool first)
{
    const size_t held =
        kt_smux_held(s->smux) + kt_kcp_held(s->kcp) * kt_slab_block_size(s->context->segs) + s->fec_held;
    return kt_kcptun_context_spare(s->context, held, s->state, s->streams, first);
}

static size_t few_segments(const struct kt_kcptun_session *s)
{
    const size_t fit = kt_kcptun_context_least(s->context) / kt_slab_block_size(s->context->segs) / 2;
    return fit < FEW_SEGMENTS ? FEW_SEGMENTS : kt_min_size(fit, MANY_SEGMENTS);
}

bool kt_kcptun_session_may_send(const struct kt_kcptun_session *s)
{
    return !kt_kcp_unacked(s->kcp) || kt_kcp_held(s->kcp) < few_segments(s) || memory_left(s, false) > 0;
}

size_t kt_kcptun_session_spare(void *ctx, bool first)
{
    return memory_left(ctx, first);
}

size_t kt_kcptun_session_least(void *ctx)
{
    return kt_kcptun_context_recv_least(((const struct kt_kcptun_session *)ctx)->context);
}

void kt_kcptun_session_limit_reach(struct kt_kcptun_session *s)
{
    const size_t segments = memory_left(s, false) / kt_slab_block_size(s->context->segs) / 2,
                 least = few_segments(s);
    if (segments > KT_KCP_WND_MAX)
        kt_kcp_reach(s->kcp, UINT32_MAX);
    else
        kt_kcp_reach(s->kcp, (uint32_t)(segments < least ? least : segments));
}

/* A turn adds at most a batch of datagrams to what the limits were computed from. */
void kt_kcptun_session_limit_input(struct kt_kcptun_session *s)
{
    if (s->limited) return;
    s->limited = true;
    kt_kcptun_session_limit_reach(s);
    const size_t basic = kt_min_size(FEC_STATE, s->fec_basic + kt_kcptun_context_free(s->context));
    kt_fec_dec_limit(s->dec, basic + (s->fec_held + memory_left(s, false)) / 2);
}

void kt_kcptun_session_count_fec(struct kt_kcptun_session *s)
{
    const size_t held = kt_fec_dec_held(s->dec), basic = kt_min_size(held, FEC_STATE), counts = held - basic;
    kt_kcptun_context_count_basic(s->context, s->fec_basic, basic);
    s->fec_basic = basic;
    if (counts == s->fec_held) return;
    kt_kcptun_context_count_state(s->context, s->fec_held, counts);
    s->fec_held = counts;
}

void kt_kcptun_session_count_state(struct kt_kcptun_session *s)
{
    const size_t held =
        kt_kcp_slots(s->kcp) + (s->decomp ? kt_snappy_held(s->decomp) : 0) + kt_smux_refusals_held(s->smux);
    const size_t counts = kt_sub_size(held, STATE);
    if (counts == s->state) return;
    kt_kcptun_context_count_state(s->context, s->state, counts);
    s->state = counts;
}

void kt_kcptun_session_trim(struct kt_kcptun_session *s)
{
    kt_fec_dec_trim(s->dec);
    kt_kcptun_session_count_fec(s);
    if (s->decomp) kt_snappy_trim(s->decomp);
    kt_kcp_trim(s->kcp);
    kt_kcptun_session_count_state(s);
}

/* ---- time ---- */

/* The hook can run several times in a turn of the loop; these runs share one budget. */
void kt_kcptun_session_renew_budget(struct kt_kcptun_session *s)
{
    if (!s->fresh) return;
    s->fresh = false;
    s->bytes_left = TURN_BYTES;
    s->batches_left = TURN_BATCHES;
    kt_smux_budget(s->smux, TURN_FRAMES);
}

/* An accepted stream is cheap here, but its task is not. The tasks of one batch run before the hook runs again
 * for the next, so the time that they take counts. */
void kt_kcptun_session_accept_batch(struct kt_kcptun_session *s)
{
    const uint64_t taken = kt_io_clock(s->context->io) - kt_io_now(s->context->io);
    if (s->batches_left < TURN_BATCHES && taken >= ACCEPT_US) s->batches_left = 0;
    kt_smux_accept_most(s->smux, s->batches_left > 0 ? BATCH : 0);
    if (kt_kcptun_session_next_batch(s)) s->batches_left--;
}

bool kt_kcptun_session_next_batch(const struct kt_kcptun_session *s)
{
    return s->batches_left > 0 && kt_smux_waiting(s->smux);
}
