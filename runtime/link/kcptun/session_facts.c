/* Session counters and accessors. */
#include "link/common/derived_stats.h"
#include "link/kcptun/session_internal.h"

/* After this many inconsistent groups, although the parameters fit, the peer's FEC is ignored. A few such
 * groups may date from before the parameters were known. */
#define FEC_ERRORS_MAX 16

static uint64_t retransmitted(const struct kt_kcp_stats *st)
{
    return st->fast_retrans + st->early_retrans + st->timeout_retrans;
}

void kt_kcptun_session_count(struct kt_kcptun_session *s)
{
    struct kt_counters *c = s->context->counters;
    struct kt_kcp_stats st, *old = &s->counted;
    kt_kcp_stats(s->kcp, &st);
    c->InSegs += st.in_segs - old->in_segs;
    c->OutSegs += st.out_segs - old->out_segs;
    c->FastRetransSegs += st.fast_retrans - old->fast_retrans;
    c->EarlyRetransSegs += st.early_retrans - old->early_retrans;
    c->LostSegs += st.timeout_retrans - old->timeout_retrans;
    c->RetransSegs += retransmitted(&st) - retransmitted(old);
    c->RepeatSegs += st.repeat - old->repeat;
    *old = st;

    struct kt_fec_dec_stats fs, *fold = &s->fec_counted;
    kt_fec_dec_stats(s->dec, &fs);
    c->FECParityShards += fs.parity - fold->parity;
    c->FECRecovered += fs.recovered - fold->recovered;
    c->FECErrs += fs.errors - fold->errors;
    c->FECShortShards += fs.lost_groups - fold->lost_groups;
    s->fec_errors = fs.retuned == fold->retuned ? s->fec_errors + fs.errors - fold->errors : 0;
    *fold = fs;

    const struct kt_recent_sum sum = {.bytes_in = st.bytes_in,
        .bytes_out = st.bytes_out,
        .segs_out = st.out_push,
        .retrans = retransmitted(&st),
        .segs_in = st.in_push,
        .recovered = fs.recovered};
    kt_recent_note(&s->recent, &sum, kt_io_now(s->context->io));
    if (s->fec_errors > FEC_ERRORS_MAX) kt_kcptun_session_fail(s, KT_EPROTO, "corrupt FEC data");
}

uint32_t kt_kcptun_session_conv(const struct kt_kcptun_session *s)
{
    return s->conv;
}

const struct kt_addr *kt_kcptun_session_peer(const struct kt_kcptun_session *s)
{
    return &s->peer;
}

const char *kt_kcptun_session_peer_text(const struct kt_kcptun_session *s)
{
    return s->peer_text;
}

size_t kt_kcptun_session_streams(const struct kt_kcptun_session *s)
{
    return kt_smux_streams(s->smux);
}

bool kt_kcptun_session_heard(const struct kt_kcptun_session *s)
{
    return s->health.patience.heard != 0;
}

/* µs since anything authentic arrived; UINT64_MAX: never. */
static uint64_t quiet_us(const struct kt_kcptun_session *s)
{
    return s->health.patience.heard ? kt_io_now(s->context->io) - s->health.patience.heard : UINT64_MAX;
}

bool kt_kcptun_session_spoken_to(const struct kt_kcptun_session *s)
{
    return s->counted.bytes_in > 0;
}

bool kt_kcptun_session_over(const struct kt_kcptun_session *s)
{
    return s->over != 0;
}

const char *kt_kcptun_session_why(const struct kt_kcptun_session *s)
{
    return s->why.code ? s->why.text : kt_strerror(s->over);
}

bool kt_kcptun_session_hello(const struct kt_kcptun_session *s, uint16_t *features)
{
    uint16_t ignored;
    return kt_smux_peer(s->smux, features ? features : &ignored);
}

bool kt_kcptun_session_young(const struct kt_kcptun_session *s)
{
    return kt_smux_has_young(s->smux);
}

uint64_t kt_kcptun_session_born(const struct kt_kcptun_session *s)
{
    return s->born;
}

bool kt_kcptun_session_settled(const struct kt_kcptun_session *s)
{
    return !kt_kcp_unacked(s->kcp);
}

bool kt_kcptun_session_busy(const struct kt_kcptun_session *s)
{
    return s->busy;
}

void kt_kcptun_session_totals(const struct kt_kcptun_session *s, struct kt_link_totals *sum)
{
    struct kt_kcp_stats st;
    struct kt_fec_dec_stats fs;
    kt_kcp_stats(s->kcp, &st);
    kt_fec_dec_stats(s->dec, &fs);
    sum->segs_out += st.out_push;
    sum->segs_retrans += retransmitted(&st);
    sum->segs_recovered += fs.recovered;
    sum->bytes_in += st.bytes_in;
    sum->bytes_out += st.bytes_out;
}

void kt_kcptun_session_stats(const struct kt_kcptun_session *s, struct kt_link_stats *sum)
{
    struct kt_kcp_stats st;
    const uint64_t now = kt_io_now(s->context->io);
    kt_kcptun_session_totals(s, &sum->total);
    if (s->over) return;
    kt_kcp_stats(s->kcp, &st);
    uint64_t quiet = quiet_us(s);
    if (sum->sessions == 0 || quiet < sum->since_heard_us) {
        sum->since_heard_us = quiet;
        sum->srtt_us = st.srtt_us;
        sum->rttvar_us = st.rttvar_us;
        sum->rto_us = st.rto_us;
        sum->cwnd = st.cwnd;
        sum->own[KT_KCPTUN_RMT_WND] = st.rmt_wnd;
    }
    sum->sessions++;
    sum->streams += kt_smux_streams(s->smux);
    sum->inflight += st.inflight;
    sum->queued += st.queued;
    sum->owing = sum->owing || (s->owes && !kt_kcp_covered(s->kcp, s->said_kcp));
    kt_derived_stats_add_session(sum, s->up_at, &s->health.patience, &s->recent, now);
}

void kt_kcptun_session_stream_facts(void *ctx, struct kt_stream_facts *out)
{
    const struct kt_kcptun_session *s = ctx;
    struct kt_link_stats st = {0};
    kt_kcptun_session_stats(s, &st);
    kt_derived_stats_of_stream(out, &st, s->path.udp, &s->path.from);
}
