/* Acts on the health of a session's peer: probes it, stops sending to it, gives up on it, and logs why.
 * health.h defines when, session.h what is done. */
#include "link/kcptun/session_internal.h"

const char *kt_kcptun_session_hint(const struct kt_kcptun_session *s)
{
    if (!s->health.patience.heard)
        return "; nothing has ever arrived from it: is it running, does UDP get through, and are key and crypt the "
               "same on both ends?";
    if (s->over != KT_EPROTO && s->context->client && !kt_kcptun_session_spoken_to(s))
        return "; it has never sent a valid frame: are nocomp, smuxver and QPP the same on both ends?";
    return "";
}

enum kt_log_level kt_kcptun_session_loudness(const struct kt_kcptun_session *s)
{
    return s->quiet_log && !s->health.patience.heard ? KT_LOG_DEBUG : KT_LOG_WARN;
}

static void suspect(struct kt_kcptun_session *s, const char *why, uint64_t now)
{
    s->context->counters->SessionsSuspect++;
    kt_log_with(s->context->log, kt_kcptun_session_loudness(s), kt_log_peer(s->peer_text),
        "session with %s: %s; giving up in %.1f s unless it answers%s%s", s->peer_text, why,
        (double)kt_patience_left(&s->health.patience, now) / 1e6,
        s->context->client ? ", new streams use a new session" : "", kt_kcptun_session_hint(s));
}

static void trust(struct kt_kcptun_session *s, uint64_t now)
{
    kt_log_with(s->context->log, KT_LOG_INFO, kt_log_peer(s->peer_text),
        "session with %s: alive again after %.1f s", s->peer_text,
        (double)(now - s->health.patience.since) / 1e6);
}

void kt_kcptun_session_check_health(struct kt_kcptun_session *s, uint64_t now)
{
    struct kt_kcp_stats st;
    struct kt_err why;
    bool probe;
    const bool before = s->health.patience.suspect;
    kt_kcp_stats(s->kcp, &st);
    int code =
        kt_kcptun_health_check(&s->health, &st, &s->restart, kt_kcp_unacked(s->kcp), now, &probe, &why);
    /* A session that never heard its peer and carries nothing need not wait longer. */
    const bool unused = !s->health.patience.heard && kt_smux_streams(s->smux) == 0;
    if (!code && s->health.patience.suspect && unused) code = KT_EDEAD;
    if (code) {
        kt_kcptun_session_fail(s, code, why.text);
        return;
    }
    if (probe && !unused) kt_kcp_probe(s->kcp);
    if (st.hole) kt_kcptun_session_shrink(s);
    if (st.oversize) {
        kt_kcptun_session_oversize(s);
        return;
    }
    if (s->health.patience.suspect == before) return;
    if (s->health.patience.suspect) {
        /* Send nothing more to a silent peer: it would only compete with new sessions for the line. A peer
         * that is heard but acknowledges nothing still gets retransmissions. */
        if (s->health.patience.silent) kt_kcp_pause(s->kcp);
        suspect(s, why.text, now);
    } else
        trust(s, now);
    if (s->owner.suspect) s->owner.suspect(s->owner.ctx, s, s->health.patience.suspect ? why.text : NULL);
}
