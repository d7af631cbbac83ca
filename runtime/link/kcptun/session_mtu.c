/* MTU black holes: paths whose MTU is smaller than our datagrams, without an ICMP message (RFC 4821, 7.7).
 *
 * When long datagrams are lost and short ones arrive (kcp/mtu_hole.h), the session uses the next smaller size
 * for new segments. Segments that were sent before keep their boundaries on KCP's wire, so their datagrams
 * may be fragmented on the way. Where that does not help (over IPv6 Linux fragments only what exceeds its own
 * interface's MTU; some firewalls drop fragments) the session is lost, and the next one begins with the
 * smaller size. */
#include "link/kcptun/session_internal.h"

/* UDP payloads: what fits IPv6's minimum MTU, and the 576 bytes that every IPv4 host accepts. */
static const uint32_t sizes[] = {1232, 548};

/* The next size below the current one; 0: none. */
static uint32_t smaller(const struct kt_kcptun_session *s)
{
    const uint32_t now = s->path.whole ? s->path.whole : s->path.mtu;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i] < now) return sizes[i];
    return 0;
}

/* The size of the KCP packet in a datagram of `size` bytes. */
static uint32_t packet(const struct kt_kcptun_session *s, uint32_t size)
{
    return kt_kcptun_path_mtu(&s->path) - (s->path.mtu - size);
}

void kt_kcptun_session_watch_mtu(struct kt_kcptun_session *s)
{
    const uint32_t size = smaller(s);
    kt_kcp_watch(s->kcp, size ? packet(s, size) : 0);
}

void kt_kcptun_session_shrink(struct kt_kcptun_session *s)
{
    struct kt_kcptun_context *context = s->context;
    const uint32_t size = smaller(s);
    kt_kcp_shrink(s->kcp, packet(s, size));
    s->path.whole = size;
    context->counters->MTUReduced++;
    kt_log_with(context->log, KT_LOG_WARN, kt_log_peer(s->peer_text),
        "session with %s: datagrams of more than %u bytes are lost and shorter ones arrive; sending at most "
        "%u bytes from now on; set --mtu %u (kcp.mtu in a script) at both ends",
        s->peer_text, size, size, size);
    kt_kcptun_context_note_mtu(context, &s->peer, size);
    kt_kcp_resume(s->kcp);
    kt_kcptun_session_watch_mtu(s);
}

/* A server's peer may owe nothing, and would notice only at its next heartbeat that the session has ended. */
static void disown(struct kt_kcptun_session *s)
{
    struct kt_kcptun_context *context = s->context;
    uint8_t *buf = kt_udp_reserve(s->path.udp);
    if (!buf) return;
    kt_kcp_put_unknown(buf + kt_seal_header(context->seal), s->conv, context->cfg.rcvwnd);
    kt_kcptun_context_send(
        context, s->path.udp, buf, KT_KCP_OVERHEAD, s->path.to, kt_kcptun_path_from(&s->path));
}

void kt_kcptun_session_oversize(struct kt_kcptun_session *s)
{
    kt_kcptun_session_fail(s, KT_EDEAD,
        "data sent in long datagrams can be neither retransmitted in shorter ones nor fragmented; the next "
        "session sends shorter ones");
    if (!s->context->client) disown(s);
}
