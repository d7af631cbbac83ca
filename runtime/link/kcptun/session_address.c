/* The address of a session's peer: validation, challenges, moving.
 *
 * Invariant: no more than three times the bytes that came from an address leave for it before something
 * proves that the peer is there (RFC 9000, 8.1): an ACK with a ts that this session has sent since it began,
 * or the answer to a challenge. ts_base is random, so an ACK that was recorded in another session proves
 * nothing. */
#include "link/kcptun/session_internal.h"

/* A client in the middle of a download sends nothing after its NAT has given it another address, and until it
 * does the server cannot know that address. So the client asks this long after the last news, and again until
 * it hears something; once for each pause, so an idle stream costs nothing more. */
#define ASK_EVERY_US 1000000u

static bool echoes(
    const struct kt_kcptun_session *s, const uint8_t *body, size_t len, uint32_t from, uint32_t span)
{
    size_t n;
    const uint8_t *packet = kt_fec_packet(body, len, &n);
    return packet && kt_kcp_echoes(packet, n, s->conv, from, span);
}

void kt_kcptun_session_validate(struct kt_kcptun_session *s, const uint8_t *body, size_t len, size_t size)
{
    if (s->over || !s->path.limited) return;
    const uint32_t born = (uint32_t)(s->born / 1000), now = (uint32_t)(kt_io_now(s->context->io) / 1000);
    kt_kcptun_path_credit(&s->path, size);
    if (echoes(s, body, len, s->ts_base + born, now - born)) kt_kcptun_path_unlimit(&s->path);
}

bool kt_kcptun_session_validated(const struct kt_kcptun_session *s)
{
    return !s->path.limited;
}

size_t kt_kcptun_session_challenge(struct kt_kcptun_session *s, const struct kt_kcptun_session_way *way,
    uint32_t ts, uint32_t una, size_t max)
{
    struct kt_seal *seal = s->context->seal;
    const size_t overhead = kt_seal_overhead(seal), mtu = s->context->cfg.mtu;
    if (max > mtu) max = mtu;
    if (s->over || max <= overhead) return 0;
    uint8_t *buf = kt_udp_reserve(way->udp);
    if (!buf) return 0;
    const size_t n = kt_kcp_put_challenge(s->kcp, buf + kt_seal_header(seal), max - overhead, ts, una);
    if (n == 0) {
        kt_udp_cancel(way->udp, buf);
        return 0;
    }
    kt_kcptun_context_send(s->context, way->udp, buf, n, way->peer, way->from);
    return n + overhead;
}

void kt_kcptun_session_ask_echo(struct kt_kcptun_session *s, uint32_t ts)
{
    struct kt_kcp_stats st;
    kt_kcp_stats(s->kcp, &st);
    const uint32_t una = st.una;
    if (s->over || !s->path.limited || una == 0) return;
    const struct kt_kcptun_session_way way = {s->path.udp, s->path.to, kt_kcptun_path_from(&s->path)};
    s->path.credit -= kt_kcptun_session_challenge(s, &way, ts, una, (size_t)s->path.credit);
}

bool kt_kcptun_session_answers(
    const struct kt_kcptun_session *s, const uint8_t *body, size_t len, uint32_t ts)
{
    return echoes(s, body, len, ts, 0);
}

bool kt_kcptun_session_fits(const struct kt_kcptun_session *s, const struct kt_kcp_head *head)
{
    return !s->over && kt_kcp_fits(s->kcp, head);
}

void kt_kcptun_session_note_news(struct kt_kcptun_session *s, uint64_t before, uint64_t now_us)
{
    if (kt_kcp_news(s->kcp) != before) s->news_us = now_us;
}

uint64_t kt_kcptun_session_stale_us(const struct kt_kcptun_session *s)
{
    return kt_io_now(s->context->io) - s->news_us;
}

void kt_kcptun_session_move(struct kt_kcptun_session *s, const struct kt_kcptun_session_way *way)
{
    if (way->peer) {
        s->peer = *way->peer;
        kt_addr_text(way->peer, s->peer_text);
    }
    s->news_us = kt_io_now(s->context->io); /* the silence starts again at the new address */
    kt_kcptun_path_move(&s->path, way->udp, way->from);
    kt_kcptun_path_unlimit(&s->path);
    kt_kcp_path_changed(s->kcp);
    kt_kcptun_session_schedule(s);
}

/* A server that has heard us but does not answer may have used up its limit on bytes to an unvalidated
 * address. Only datagrams from us let it continue. */
static bool unproven(const struct kt_kcptun_session *s)
{
    return s->health.patience.heard && !kt_kcptun_session_spoken_to(s);
}

/* A kcptun server does not move sessions. */
static bool may_ask(const struct kt_kcptun_session *s)
{
    if (!s->context->client || s->streams == 0) return false;
    if (unproven(s)) return true;
    if (!kt_kcptun_session_hello(s, NULL)) return false;
    return s->asked_us <= s->news_us || s->health.patience.heard < s->asked_us || s->health.patience.waiting;
}

uint64_t kt_kcptun_session_ask_due(const struct kt_kcptun_session *s)
{
    if (!may_ask(s)) return KT_TIME_NEVER;
    uint64_t since = s->asked_us > s->news_us ? s->asked_us : s->news_us;
    if (s->health.patience.waiting > since) since = s->health.patience.waiting;
    /* The target of a kcptun server may send nothing for a long time. */
    const uint64_t age = unproven(s) ? since - s->born : 0;
    return since + (age > ASK_EVERY_US ? age : ASK_EVERY_US);
}

void kt_kcptun_session_ask_silent(struct kt_kcptun_session *s, uint64_t now_us)
{
    if (kt_kcptun_session_ask_due(s) > now_us) return;
    s->unanswered = s->asked_us > s->news_us && s->health.patience.heard < s->asked_us;
    s->asked_us = now_us;
    kt_kcp_probe(s->kcp);
}
