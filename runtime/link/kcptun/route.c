/* Assigns an acceptor's datagrams to sessions (wire-kcptun.md 7, "Server, per datagram"), and keeps track of peers'
 * addresses.
 *
 * A datagram that does not authenticate costs only its check. An authentic one may still be a copy: late,
 * early, from another address, or recorded long ago. So
 *   - a session begins with a start that was not seen before (link/common/session_starts.h);
 *   - its peer's address counts as such once the peer has answered what only it can know, and until then no
 * more than three times the bytes that came from an address leave for it (session.h);
 *   - a datagram from elsewhere changes nothing. It is answered with a challenge: always before the peer's
 * address is validated, later only if the peer has sent nothing new for a while. The challenge is derived
 * from the address, so it needs no state, and only a peer that receives at that address can answer it.
 *
 * kcptun starts a session for anything from an unknown address. Here only the beginning of a conversation
 * does: if the peer has already received data from us (una), the conversation is under way; a new session
 * would replay what FEC can rebuild of its beginning to a new connection of the target, and stall. */
#include <string.h>
#include "kcp/kcp_segment.h"
#include "link/kcptun/acceptor_internal.h"

#define MOVE_AFTER_US 1500000u /* without news from a session's address */
#define EPOCH_US 10000000u     /* a challenge can be answered for one to two of these */
#define AMPLIFICATION 3u

/* A datagram, and how it arrived. */
struct arrival {
    struct port *port;
    const struct kt_kcptun_context *context; /* the settings that opened it */
    const struct kt_addr *from, *to;         /* as in kt_dgram */
    size_t size;                             /* of the datagram */
    const uint8_t *body;
    size_t len;
    struct kt_kcp_head head; /* if has_conv */
    bool has_conv;
};

static struct kt_kcptun_session_way back(const struct arrival *in)
{
    return (struct kt_kcptun_session_way){in->port->udp, in->from, in->to};
}

/* ---- challenges ---- */

static uint64_t epoch_now(const struct acceptor *a)
{
    return kt_io_now(a->context->io) / EPOCH_US;
}

static uint32_t challenge(const struct guest *g, const struct arrival *in, uint64_t epoch)
{
    const struct acceptor *a = in->port->acceptor;
    const uint64_t where = kt_addr_hash(in->from, a->secret + (uint64_t)(in->port - a->ports));
    return (uint32_t)(kt_hash_u64(where ^ ((uint64_t)g->conv << 32 | (uint32_t)epoch), a->secret) >> 32);
}

/* True if it proves that the peer received our challenge at its address. */
static bool answered(const struct guest *g, const struct arrival *in)
{
    const uint64_t epoch = epoch_now(in->port->acceptor);
    return kt_kcptun_session_answers(g->session, in->body, in->len, challenge(g, in, epoch)) ||
           (epoch > 0 &&
               kt_kcptun_session_answers(g->session, in->body, in->len, challenge(g, in, epoch - 1)));
}

/* ---- a session's own datagrams ---- */

static void validate(struct guest *g, const struct arrival *in)
{
    kt_kcptun_session_validate(g->session, in->body, in->len, in->size);
    const struct kt_kcptun_session_way way = back(in);
    if (!kt_kcptun_session_validated(g->session) && answered(g, in)) kt_kcptun_session_move(g->session, &way);
    if (kt_kcptun_session_validated(g->session)) kt_kcptun_guest_settle(g, in->port, in->from);
}

static void take(struct guest *g, const struct arrival *in)
{
    if (kt_kcptun_session_validated(g->session)) {
        kt_kcptun_session_input(g->session, in->body, in->len, in->to);
        return;
    }
    validate(g, in);
    kt_kcptun_session_input(g->session, in->body, in->len, in->to);
    kt_kcptun_session_ask_echo(g->session, challenge(g, in, epoch_now(in->port->acceptor)));
}

/* ---- from another address ---- */

static void move(struct guest *g, const struct arrival *in)
{
    char to[KT_ADDR_TEXT];
    kt_log_with(g->context->log, KT_LOG_INFO, kt_log_peer(kt_kcptun_session_peer_text(g->session)),
        "session with %s, conv %08x, continues at %s", kt_kcptun_session_peer_text(g->session), g->conv,
        kt_addr_text(in->from, to));
    const struct kt_kcptun_session_way way = back(in);
    kt_kcptun_session_move(g->session, &way);
    kt_kcptun_guest_settle(g, in->port, in->from);
}

/* True if the session's peer has proven the new address; the session has then moved there. */
static bool elsewhere(struct guest *g, const struct arrival *in)
{
    struct kt_kcptun_session *s = g->session;
    if (kt_kcptun_session_validated(s) &&
        (kt_kcptun_session_stale_us(s) < MOVE_AFTER_US || !kt_kcptun_session_fits(s, &in->head)))
        return false;
    if (answered(g, in)) {
        move(g, in);
        return true;
    }
    const struct kt_kcptun_session_way way = back(in);
    kt_kcptun_session_challenge(
        s, &way, challenge(g, in, epoch_now(in->port->acceptor)), in->head.una, AMPLIFICATION * in->size);
    return false;
}

/* ---- unknown conversations ---- */

/* Tells a peer that its conversation is unknown here, as a restarted kcptun server would; a kt client then
 * starts a new session within a few round trips. Needs no state, and the answer is not longer than the
 * datagram. */
static void say_unknown(const struct arrival *in)
{
    struct kt_kcptun_context *context = in->port->acceptor->context;
    if (in->size < KT_KCP_OVERHEAD + kt_seal_overhead(context->seal)) return;
    uint8_t *buf = kt_udp_reserve(in->port->udp);
    if (!buf) return;
    kt_kcp_put_unknown(buf + kt_seal_header(context->seal), in->head.conv, context->cfg.rcvwnd);
    kt_kcptun_context_send(context, in->port->udp, buf, KT_KCP_OVERHEAD, in->from, in->to);
}

static void refuse_replay(const struct arrival *in)
{
    struct kt_kcptun_context *context = in->port->acceptor->context;
    char text[KT_ADDR_TEXT];
    context->counters->ReplayedStarts++;
    say_unknown(in); /* its session may have ended only at this end */
    if (!kt_kcptun_context_log_now(context, KT_KCPTUN_REPLAY)) return;
    kt_log_with(context->log, KT_LOG_WARN, kt_log_peer(kt_addr_text(in->from, text)),
        "%s: the start of an earlier session was replayed (dropped; logged at most once a minute)",
        kt_addr_text(in->from, text));
}

/* The session that a datagram begins, or NULL. */
static struct guest *begin(const struct arrival *in)
{
    struct acceptor *a = in->port->acceptor;
    const struct kt_kcp_head *head = &in->head;
    if (in->context->retired) return NULL;
    if (head->cmd != KT_KCP_PUSH || head->una != 0 || head->sn >= a->context->cfg.rcvwnd) {
        /* A probe may have overtaken the start. */
        if (head->una != 0 || kt_session_starts_has(a->starts, head->conv)) say_unknown(in);
        return NULL;
    }
    if (kt_session_starts_seen(a->starts, head->conv, head->ts)) {
        refuse_replay(in);
        return NULL;
    }
    struct guest *g = kt_kcptun_guest_new(in->port, in->from, head->conv);
    if (g) kt_session_starts_add(a->starts, head->conv, head->ts);
    return g;
}

/* ---- datagrams ---- */

/* The session that a datagram belongs to; NULL: drop it. */
static struct guest *route(const struct arrival *in)
{
    struct guest *g = in->has_conv ? kt_kcptun_guest_find(in->port->acceptor, in->head.conv)
                                   : kt_kcptun_guest_at(in->port, in->from);
    if (!g) return in->has_conv ? begin(in) : NULL;
    if (!g->session) return NULL;
    if (g->context != in->context && !kt_kcptun_context_same_secret(g->context, in->context)) return NULL;
    return kt_kcptun_guest_is_at(g, in->port, in->from) || elsewhere(g, in) ? g : NULL;
}

/* The settings that open a datagram. One from an elder's address belongs to the elder, and is then opened
 * here already, or to a new session of its peer. */
static struct kt_kcptun_context *settings_for(
    const struct port *port, struct kt_dgram *dgram, uint8_t **body, size_t *len)
{
    const struct acceptor *a = port->acceptor;
    uint8_t copy[KT_UDP_MAX];
    *body = NULL;
    if (a->elders == 0) return a->context;
    const struct guest *g = kt_kcptun_guest_at(port, dgram->from);
    if (!g || g->context == a->context) return a->context;
    memcpy(
        copy, dgram->data, dgram->len); /* opening works in place, and destroys what does not authenticate */
    if (kt_seal_open(g->context->seal, dgram->data, dgram->len, body, len) == 0) {
        a->context->counters->InBytes += dgram->len;
        return g->context;
    }
    memcpy(dgram->data, copy, dgram->len);
    *body = NULL;
    return a->context;
}

/* Takes everything: what does not authenticate is counted here. */
static size_t on_batch(void *ctx, size_t index, struct kt_dgram *dgrams, size_t n)
{
    struct port *port = &((struct acceptor *)ctx)->ports[index];
    for (size_t i = 0; i < n; i++) {
        uint8_t *body;
        size_t len;
        struct kt_kcptun_context *context = settings_for(port, &dgrams[i], &body, &len);
        if (!body && !kt_kcptun_context_open(context, port->udp, &dgrams[i], &body, &len)) continue;
        struct arrival in = {.port = port,
            .context = context,
            .from = dgrams[i].from,
            .to = dgrams[i].to,
            .size = dgrams[i].len,
            .body = body,
            .len = len};
        in.has_conv = kt_fec_peek(body, len, &in.head);
        struct guest *g = route(&in);
        if (!g) {
            context->counters->InErrs++;
            continue;
        }
        context->counters->InPkts++;
        take(g, &in);
    }
    return 0;
}

/* Rare (the system's buffer was full), so a walk is good enough. */
static void on_writable(void *ctx, size_t index)
{
    const struct acceptor *a = ctx;
    for (struct kt_list *n = a->ages.next; n != &a->ages; n = n->next) {
        struct guest *g = KT_CONTAINER(n, struct guest, by_age);
        if (g->port == &a->ports[index] && g->session) kt_kcptun_session_writable(g->session);
    }
}

void kt_kcptun_route_taker(struct acceptor *a)
{
    a->taker = (struct kt_port_taker){.batch = on_batch, .writable = on_writable, .ctx = a};
    kt_list_init(&a->taker.node);
}
