/* Gets a link its association: finds the peer's addresses, starts an attempt (attempt.c), and takes the
 * first response. When the association ends, it dials again; while the peer is silent, check.c finds out
 * whether it still has the association. */
#include <stdlib.h>
#include <string.h>
#include "crypto/hash.h"
#include "base/bytes.h"
#include "link/native/link_internal.h"
#include "link/native/serve.h"

#define RENEW_US 10000000u /* at most between two sockets for a silent peer, if this host's address stays */

static void give_up(struct link *l, int code);

bool kt_native_dial_wanted(const struct link *l)
{
    return l->stay || !kt_list_empty(&l->waiting) || !kt_list_empty(&l->flows);
}

/* ---- the association ---- */

static void on_stream(void *ctx, struct kt_pipe *stream, const struct kt_open_options *opened)
{
    struct link *l = ctx;
    const struct kt_link_events *events = l->presence.events;
    if (l->presence.closing || !events || !events->stream) {
        kt_pipe_reset(stream, KT_ENOTSUP); /* this link does not serve streams that the far side opens */
        return;
    }
    const struct kt_peer_info peer = {.wire = l->c->wire,
        .address = kt_native_association_peer_text(l->a),
        .identity = kt_native_association_identity(l->a),
        .target = opened->target,
        .client = opened->client,
        .name = opened->name};
    events->stream(l->presence.ctx, stream, &peer);
}

static void on_flow(void *ctx, struct kt_native_flow *flow, const struct kt_native_flow_addresses *addresses)
{
    struct link *l = ctx;
    const struct kt_link_events *events = l->presence.events;
    if (l->presence.closing || !events || !events->flow) {
        kt_native_flow_close(flow, KT_ENOTSUP); /* this link does not serve flows that the far side opens */
        return;
    }
    struct kt_flow *f = kt_native_flow_accept(flow);
    const struct kt_peer_info peer = {.wire = l->c->wire,
        .address = kt_native_association_peer_text(l->a),
        .identity = kt_native_association_identity(l->a),
        .target = addresses->target,
        .client = addresses->client};
    if (f) events->flow(l->presence.ctx, f, &peer);
}

static void on_suspect(void *ctx, const char *why)
{
    struct link *l = ctx;
    if (why) {
        kt_presence_down(&l->presence, &l->part, KT_EDEAD, why);
        return;
    }
    kt_native_check_end(l);
    kt_presence_up(&l->presence, &l->part);
}

static void on_room(void *ctx)
{
    kt_native_dial_serve(ctx);
}

static void on_carries(void *ctx, bool anything)
{
    struct link *l = ctx;
    kt_presence_carries(&l->presence, &l->part, anything);
}

/* Ends the association, and puts another in its place, or none. First of all the link stops using it: events may open
 * streams, or close the link. */
static void replace(
    struct link *l, int code, struct kt_native_association *fresh, struct kt_native_socket *socket)
{
    struct kt_native_association *old = l->a;
    struct kt_native_socket *sockets[] = {l->socket, l->next, l->before};
    l->a = fresh;
    if (old) kt_native_flows_unbind(&l->flows);
    l->socket = socket;
    l->next = l->before = NULL;
    kt_native_check_end(l);
    if (!old) return;
    for (struct kt_list *n = l->waiting.next; n != &l->waiting; n = n->next)
        KT_CONTAINER(n, struct kt_call, node)->open.why = kt_native_remotes_why(l);
    kt_presence_down(&l->presence, &l->part, code, kt_native_association_why(old));
    kt_presence_carries(&l->presence, &l->part, false);
    kt_native_association_free(old, code, NULL);
    for (size_t i = 0; i < sizeof sockets / sizeof sockets[0]; i++) kt_native_socket_close(sockets[i]);
    kt_native_extra_paths_close(l);
}

static void on_over(void *ctx, int code)
{
    struct link *l = ctx;
    replace(l, code, NULL, NULL);
    if (l->attempt.active || l->presence.closing) return;
    if (!kt_list_empty(&l->waiting))
        kt_native_dial(l);
    else if (kt_native_dial_wanted(l) && (code == KT_EDEAD || code == KT_ERESTART))
        kt_native_dial(l);
    else if (kt_native_dial_wanted(l)) /* the same would happen again at once */
        kt_native_remotes_later(l);
}

/* Tries another address of the peer, or another port, with a fresh socket. */
static void try_other(struct link *l, bool silent)
{
    struct kt_native_socket *fresh;
    struct kt_addr addr;
    struct kt_err err;
    if (!kt_native_remotes_other(l, &l->socket->peer, silent, &addr)) return;
    if (!kt_native_local_fits(l, l->socket->local, &addr)) return;
    if (kt_native_socket_open(l, &addr, l->socket->local, &fresh, &err)) return;
    kt_native_association_try(l->a, fresh->udp, &addr);
    kt_native_socket_close(l->next);
    l->next = fresh;
}

static void on_hop(void *ctx)
{
    struct link *l = ctx;
    if (l->c->cfg.hop_us > 0 || kt_native_remotes_count(l) > 1) try_other(l, false);
}

static void on_moved(void *ctx)
{
    struct link *l = ctx;
    kt_native_socket_close(l->before);
    l->before = l->socket;
    l->socket = l->next;
    l->next = NULL;
}

void kt_native_dial_follow(struct link *l, const struct kt_native_socket *s)
{
    struct kt_native_socket *fresh;
    struct kt_err err;
    if (s->local != l->socket->local)
        kt_native_extra_paths_follow(l, s);
    else if (kt_addr_equal(&s->peer, &l->socket->peer) && kt_native_socket_same_host(s, l->socket))
        return; /* the path that was silent has just come back, and answers to this socket are on their way */
    else if (!kt_native_socket_open(l, &s->peer, s->local, &fresh, &err))
        kt_native_socket_replace(&l->socket, 0, fresh);
}

static void on_lost(void *ctx, unsigned path)
{
    if (path == 0)
        kt_native_socket_renew(&((struct link *)ctx)->socket, 0, true);
    else
        kt_native_extra_paths_renew(ctx, path, true);
}

static void on_unanswered(void *ctx, unsigned path)
{
    if (path == 0)
        kt_native_socket_renew(&((struct link *)ctx)->socket, 0, false);
    else
        kt_native_extra_paths_renew(ctx, path, false);
}

static void on_silent(void *ctx)
{
    struct link *l = ctx;
    const size_t n = l->check.silences, others = kt_native_remotes_count(l) - 1;
    /* A NAT on the way may have forgotten the socket. An answer to a closed one is lost, so the pause is longer than a
     * round trip, and grows with the silence. */
    const uint64_t now = kt_io_now(l->c->io), trip = kt_native_association_rtt(l->a) * (uint64_t)3 / 2;
    const uint64_t half = kt_min64((uint64_t)n * 500000, RENEW_US), pause = half > trip ? half : trip;
    if ((n == 0 || now - l->renewed_us >= pause) && kt_native_socket_renew(&l->socket, 0, true))
        l->renewed_us = now;
    /* Then each of the other addresses, then rarer and rarer. */
    if (others > 0 && n > 0 && (n <= others || (n & (n - 1)) == 0)) try_other(l, true);
    kt_native_check_silent(l);
}

/* ---- the handshake ---- */

void kt_native_dial_serve(struct link *l)
{
    if (l->a) kt_native_calls_serve(&l->waiting, l->a);
}

void kt_native_dial_begin(
    struct link *l, struct kt_native_socket *s, const struct kt_native_agreed *agreed, uint64_t rtt_us)
{
    struct kt_native_association *fresh;
    static const struct kt_native_association_owner events = {.stream = on_stream,
        .flow = on_flow,
        .suspect = on_suspect,
        .silent = on_silent,
        .lost = on_lost,
        .unanswered = on_unanswered,
        .hop = on_hop,
        .moved = on_moved,
        .room = on_room,
        .carries = on_carries,
        .over = on_over};
    struct kt_native_association_owner owner = events;
    owner.ctx = l;
    owner.ended = &l->ended;
    const struct kt_native_beginning begin = {.agreed = agreed,
        .place = {.udp = s->udp, .peer = s->peer, .connected = true},
        .rtt_us = (uint32_t)(rtt_us < UINT32_MAX ? rtt_us : UINT32_MAX)};
    const int rc = kt_native_association_new(&fresh, l->c, &begin, &owner);
    if (rc) {
        kt_native_socket_close(s);
        give_up(l, rc);
        return;
    }
    kt_native_remotes_settled(l);
    l->refusal.code = 0;
    if (l->a) {
        const size_t moved = kt_native_association_move_young(l->a, fresh);
        l->c->counters->SessionsRestarted++;
        kt_log_with(l->c->log, KT_LOG_WARN, kt_log_peer(kt_native_association_peer_text(l->a)),
            "%s no longer knows this link: it restarted or closed it; %zu new stream%s carried over",
            kt_native_association_peer_text(l->a), moved, moved == 1 ? "" : "s");
    }
    replace(l, KT_ERESTART, fresh, s);
    l->first_local = s->local;
    kt_native_extra_paths_open(l);
    kt_log_with(l->c->log, KT_LOG_INFO, kt_log_peer(kt_native_association_peer_text(fresh)),
        "link to %s is up, %s", kt_native_association_peer_text(fresh), kt_aead_name(agreed->aead));
    kt_presence_up(&l->presence, &l->part);
    kt_native_flows_bind(&l->flows, fresh);
    kt_native_dial_serve(l);
}

static void agreed(struct kt_native_socket *s, const struct kt_native_agreed *agreement)
{
    struct link *l = s->l;
    const uint64_t rtt = l->attempt.client.rtt_us;
    const bool same = l->a && memcmp(kt_native_association_instance(l->a), agreement->peer.instance,
                                  KT_NATIVE_INSTANCE) == 0;
    kt_native_attempt_keep(l, s);
    if (same)
        kt_native_check_try(l, s, agreement, rtt);
    else
        kt_native_dial_begin(l, s, agreement, rtt);
}

/* The attempt has failed for a reason that another address would not change. */
static void give_up(struct link *l, int code)
{
    struct kt_err err;
    kt_err_set(&err, code, "cannot begin a link: %s", kt_strerror(code));
    kt_native_attempt_end(l);
    kt_native_remotes_fail(l, &err);
}

/* Logged once, however often the link tries again, until the reason changes. */
static void tell_refusal(const struct kt_native_socket *s, const struct kt_err *why)
{
    struct link *l = s->l;
    char text[KT_ADDR_TEXT];
    const bool logged = l->refusal.code == why->code && strcmp(l->refusal.text, why->text) == 0;
    kt_log_with(l->c->log, logged ? KT_LOG_DEBUG : KT_LOG_ERROR, kt_log_peer(kt_addr_text(&s->peer, text)),
        "%s: %s", kt_addr_text(&s->peer, text), why->text);
    l->refusal = *why;
}

static void refused(struct kt_native_socket *s, const struct kt_err *why)
{
    struct link *l = s->l;
    tell_refusal(s, why);
    const bool check = l->attempt.check;
    kt_native_attempt_end(l);
    if (check) return;
    kt_calls_fail(&l->waiting, why);
    kt_native_flows_fail(&l->flows, why->code);
    if (l->stay) kt_native_remotes_later(l);
}

static void take_handshake(
    struct kt_native_socket *s, const struct kt_native_header *header, struct kt_dgram *dgram)
{
    struct link *l = s->l;
    struct attempt *t = &l->attempt;
    struct kt_native_agreed agreement;
    struct kt_err err;
    switch (kt_native_client_input(&t->client, header, dgram->data, dgram->len, &agreement, &err)) {
    case KT_NATIVE_CLIENT_AGREED:
        agreed(s, &agreement);
        break;
    case KT_NATIVE_CLIENT_FAILED:
        refused(s, &err);
        break;
    case KT_NATIVE_CLIENT_COOKIE:
        kt_native_attempt_again(l, s);
        break;
    case KT_NATIVE_CLIENT_NOTHING:
        kt_native_context_dropped(l->c, dgram->from, false);
        break;
    }
    kt_wipe(&agreement, sizeof agreement);
}

void kt_native_dial_found(struct link *l, const struct kt_addr *addrs, size_t n)
{
    if (l->a) return;
    kt_native_attempt_start(l, addrs, n);
    if (l->attempt.active) kt_native_remotes_settled(l);
}

void kt_native_dial_retry(struct link *l, struct remote *r)
{
    if (!l->a && !kt_native_dial_wanted(l)) return;
    if (l->a && l->check.silences == 0) return;
    if (l->a || l->attempt.active)
        kt_locator_start(&r->locator);
    else
        kt_native_dial(l);
}

/* ---- datagrams ---- */

/* The peer does not know the association. If this socket only tries a place, another server may be there. */
static void unknown(const struct kt_native_socket *s)
{
    if (s == s->l->socket || kt_native_extra_paths_has(s->l, s)) kt_native_check_hint(s->l);
}

/* `unknown` names the connection id that the server got. An attacker who sends the server its own packets
 * back makes it name an id that this end never sends to. */
static bool names_ours(const struct link *l, const struct kt_native_header *header)
{
    for (unsigned path = 0; l->a && path < KT_NATIVE_PATHS; path++)
        if (memcmp(header->id, kt_native_association_peer_cid(l->a, path), KT_NATIVE_CID) == 0) return true;
    return false;
}

static bool find_path(const struct link *l, const uint8_t cid[KT_NATIVE_CID], unsigned *path)
{
    for (*path = 0; l->a && *path < KT_NATIVE_PATHS; ++*path)
        if (memcmp(cid, kt_native_association_cid(l->a, *path), KT_NATIVE_CID) == 0) return true;
    return false;
}

void kt_native_dial_take(struct kt_native_socket *s, struct kt_dgram *dgram)
{
    struct link *l = s->l;
    const struct kt_native_header_keys *keys = &l->c->secrets->header_keys;
    struct kt_native_header header;
    unsigned path;
    l->c->counters->InBytes += dgram->len;
    if (kt_native_peek(keys, dgram->data, dgram->len, &header))
        kt_native_context_dropped(l->c, dgram->from, true);
    else if (header.kind != KT_NATIVE_DATA && kt_native_attempt_has(l, s))
        take_handshake(s, &header, dgram);
    else if (header.kind != KT_NATIVE_DATA && names_ours(l, &header) &&
             kt_native_is_unknown(keys, &header, dgram->data, dgram->len, &l->c->drops))
        unknown(s);
    else if (header.kind == KT_NATIVE_DATA && find_path(l, header.id, &path))
        kt_native_association_input(l->a, path, &header, dgram, s->udp, 0);
    else
        kt_native_context_dropped(
            l->c, dgram->from, false); /* late, of an association or an attempt that is over */
}

/* ---- for link.c ---- */

void kt_native_dial(struct link *l)
{
    if (!l->a && !l->attempt.active) kt_native_remotes_start(l);
}

void kt_native_dial_end(struct link *l)
{
    kt_native_remotes_stop(l);
    kt_native_attempt_end(l);
    replace(l, KT_ECLOSED, NULL, NULL);
}
