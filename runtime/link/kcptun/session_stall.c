/* Blocked sessions. When unread bytes fill the session's buffer, it reads nothing more from its peer, for any
 * stream. With smux 2 the windows prevent that; with smux 1 a single stalled reader is enough. Readers may
 * pause for a while; after that, streams that are not read are cut. */
#include "link/kcptun/session_internal.h"

/* With other streams open, one of them is waiting. */
#define PATIENCE_US 5000000u
/* A single stream blocks others only if the peer has opened some, which cannot be seen. */
#define LONE_PATIENCE_US 30000000u
/* A reduced window is in force once what was in flight has arrived. */
#define BELIEVE_US 2000000u
/* Reading at least this much in that time is progress, at the reader's pace. */
#define PROGRESS 65536u

/* Whether the peer may have opened a stream that waits unread behind the others. A server opens streams only
 * to a kt client that serves them. */
static bool peer_opens(const struct kt_kcptun_session *s)
{
    if (!s->context->client) return true;
    return s->context->features & KT_SMUX_F_SERVES && kt_kcptun_session_hello(s, NULL);
}

static uint64_t patience(const struct kt_kcptun_session *s)
{
    if (kt_smux_streams(s->smux) > 1) return PATIENCE_US;
    return peer_opens(s) ? LONE_PATIENCE_US : UINT64_MAX;
}

static uint64_t cut_due(const struct kt_kcptun_session *s)
{
    if (!s->blocked_at || patience(s) == UINT64_MAX) return UINT64_MAX;
    return s->blocked_at + patience(s);
}

uint64_t kt_kcptun_session_stall_due(const struct kt_kcptun_session *s)
{
    const uint64_t due = cut_due(s);
    return s->believe_at && s->believe_at < due ? s->believe_at : due;
}

static void check_windows(struct kt_kcptun_session *s, uint64_t now)
{
    if (s->believe_at && now >= s->believe_at) {
        kt_smux_believe(s->smux);
        s->believe_at = 0;
    }
    if (!s->believe_at && kt_smux_has_shrunk(s->smux)) s->believe_at = now + BELIEVE_US;
}

static void restart(struct kt_kcptun_session *s, uint64_t now)
{
    s->blocked_at = now;
    s->blocked_read = kt_smux_read(s->smux);
    s->blocked_alone = kt_smux_streams(s->smux) <= 1;
    kt_smux_watch(s->smux);
}

void kt_kcptun_session_check_stall(struct kt_kcptun_session *s, uint64_t now)
{
    check_windows(s, now);
    if (!s->blocked) {
        s->blocked_at = 0;
        return;
    }
    if (!s->blocked_at || (s->blocked_alone && kt_smux_streams(s->smux) > 1)) restart(s, now);
    if (now < cut_due(s)) return;
    if (kt_smux_read(s->smux) - s->blocked_read < PROGRESS) kt_smux_cut_unread(s->smux);
    restart(s, now);
}

void kt_kcptun_session_note_cut(void *ctx, uint32_t id, size_t unread, int code)
{
    struct kt_kcptun_session *s = ctx;
    s->context->counters->StreamsCut++;
    if (code == KT_EPROTO)
        kt_log_with(s->context->log, KT_LOG_WARN, kt_log_peer(s->peer_text),
            "session with %s: stream %u reset: the peer exceeds its window", s->peer_text, id);
    else
        kt_log_with(s->context->log, KT_LOG_WARN, kt_log_peer(s->peer_text),
            "session with %s: stream %u reset: its %zu unread bytes blocked all streams of the session%s",
            s->peer_text, id, unread,
            s->context->cfg.smux_version < 2 ? " (smux 2 avoids this: --smuxver 2 on both ends)" : "");
}
