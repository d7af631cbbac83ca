/* Derives figures of links and streams. It keeps no state: all facts are the caller's. */
#include "link/common/derived_stats.h"
#include "io/io.h"

void kt_derived_stats_add_session(struct kt_link_stats *sum, uint64_t up_at,
    const struct kt_patience *patience, const struct kt_recent *recent, uint64_t now_us)
{
    struct kt_recent_sum grown;
    if (up_at && !patience->suspect) {
        sum->up = true;
        if (now_us - up_at > sum->up_us) sum->up_us = now_us - up_at;
    }
    const uint64_t silence = kt_patience_silence(patience, now_us);
    if (silence > sum->silence_us) sum->silence_us = silence;

    const uint64_t span = kt_recent_get(recent, now_us, &grown);
    sum->rate_in += grown.bytes_in * 1000000 / span;
    sum->rate_out += grown.bytes_out * 1000000 / span;
    sum->recent.segs_out += grown.segs_out;
    sum->recent.retrans += grown.retrans;
    sum->recent.segs_in += grown.segs_in;
    sum->recent.recovered += grown.recovered;
}

void kt_derived_stats_of_stream(struct kt_stream_facts *out, const struct kt_link_stats *session,
    const struct kt_udp *udp, const struct kt_addr *from)
{
    out->srtt_us = session->srtt_us;
    out->rttvar_us = session->rttvar_us;
    out->loss = kt_link_loss(session);
    out->sent = session->total.segs_out;
    out->retransmitted = session->total.segs_retrans;
    out->recovered = session->total.segs_recovered;
    out->inflight = session->inflight;
    kt_udp_local(udp, &out->local);
    if (from->sa.sa_family == AF_UNSPEC) return;
    const uint16_t port = kt_addr_port(&out->local);
    out->local = *from;
    kt_addr_set_port(&out->local, port);
}
