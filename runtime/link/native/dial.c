/* How a link comes by an association: finds the peer's addresses, and sends initiations to one after the other until a
 * response comes (docs/wire.md, 4.3). When the association ends, or its peer says that it does not know it, dials
 * again. */
#include <stdlib.h>
#include <string.h>
#include "crypto/hash.h"
#include "link/common/bind.h"
#include "link/native/link_internal.h"
#include "link/native/serve.h"

#define SILENCE_US 5000000u /* without a response after which it says so */

static void give_up(struct link *l, int code);

/* ---- the association ---- */

static void on_stream(void *ctx, struct kt_pipe *stream, const struct kt_open_options *opened)
{
    struct link *l = ctx;
    const struct kt_link_events *events = l->presence.events;
    if (l->presence.closing || !events || !events->stream) {
        kt_pipe_reset(stream, KT_ENOTSUP); /* nobody here serves streams that the far side opens */
        return;
    }
    const struct kt_peer_info peer = {.wire = &kt_native_wire,
        .address = kt_native_association_peer_text(l->a),
        .identity = kt_native_association_identity(l->a),
        .target = opened->target,
        .client = opened->client,
        .name = opened->name};
    events->stream(l->presence.ctx, stream, &peer);
}

static void on_suspect(void *ctx, const char *why)
{
    struct link *l = ctx;
    if (why) {
        kt_presence_down(&l->presence, &l->part, KT_EDEAD, why);
        return;
    }
    l->doubt_us = 0;
    kt_presence_up(&l->presence, &l->part);
}

static void on_carries(void *ctx, bool anything)
{
    struct link *l = ctx;
    kt_presence_carries(&l->presence, &l->part, anything);
}

static void drop(struct link *l, int code)
{
    if (!l->a) return;
    kt_presence_down(&l->presence, &l->part, code, kt_native_association_why(l->a));
    kt_presence_carries(&l->presence, &l->part, false);
    kt_native_association_free(l->a, code, NULL);
    kt_udp_close(l->udp);
    l->a = NULL;
    l->udp = NULL;
    l->doubt_us = 0;
}

static void on_over(void *ctx, int code)
{
    struct link *l = ctx;
    drop(l, code);
    if (l->attempt.active || l->presence.closing) return;
    if (!kt_list_empty(&l->waiting))
        kt_native_dial(l);
    else if (l->stay && (code == KT_EDEAD || code == KT_ERESTART))
        kt_native_dial(l);
    else if (l->stay) /* the same would happen again at once */
        kt_locator_later(&l->locator);
}

static const struct kt_udp_events udp_events;

static int open_socket(struct link *l, const struct kt_addr *peer, struct kt_udp **out, struct kt_err *err)
{
    const struct kt_native_config *cfg = &l->c->cfg;
    const struct kt_udp_opts opts = {
        .remote = peer, .dscp = (int)cfg->dscp, .sndbuf = cfg->sockbuf, .rcvbuf = cfg->sockbuf};
    return kt_bind_udp(l->c->io, "", 0, &opts, &udp_events, l, out, err);
}

/* A socket keeps the address that this host had when it was opened, and its port; and a NAT on the way may have
 * forgotten it. A fresh one gets both anew. */
static void on_silent(void *ctx)
{
    struct link *l = ctx;
    struct kt_udp *fresh;
    struct kt_err err;
    if (open_socket(l, kt_native_association_peer(l->a), &fresh, &err))
        return; /* no way there; asked again in a second */
    kt_native_association_move(l->a, fresh);
    kt_udp_close(l->udp);
    l->udp = fresh;
}

/* ---- the handshake ---- */

static void end_attempt(struct link *l)
{
    struct attempt *t = &l->attempt;
    if (!t->active) return;
    t->active = false;
    kt_io_timer_cancel(l->c->io, &t->timer);
    kt_native_client_end(&t->client);
    kt_udp_close(t->udp);
    t->udp = NULL;
}

void kt_native_dial_serve(struct link *l)
{
    while (l->a && !kt_list_empty(&l->waiting))
        kt_native_call_serve(KT_CONTAINER(l->waiting.next, struct kt_call, node), l->a);
}

static void agreed(struct link *l, const struct kt_native_agreed *agreement)
{
    struct attempt *t = &l->attempt;
    const uint64_t now = kt_io_now(l->c->io);
    struct kt_native_association *old = l->a, *fresh;
    static const struct kt_native_association_owner events = {.stream = on_stream,
        .suspect = on_suspect,
        .silent = on_silent,
        .carries = on_carries,
        .over = on_over};
    struct kt_native_association_owner owner = events;
    owner.ctx = l;
    owner.ended = &l->ended;
    const struct kt_native_beginning begin = {.agreed = agreement,
        .place = {.udp = t->udp, .peer = t->addrs[t->index]},
        .connected = true,
        .rtt_us = (uint32_t)(now - t->sent_us < UINT32_MAX ? now - t->sent_us : UINT32_MAX)};
    if (old && l->doubt_us == 0 &&
        memcmp(kt_native_association_instance(old), agreement->peer.instance, KT_NATIVE_INSTANCE) == 0) {
        end_attempt(l); /* it was a forgery that made us ask: the peer knows the association */
        return;
    }
    const int rc = kt_native_association_new(&fresh, l->c, &begin, &owner);
    if (rc) {
        give_up(l, rc);
        return;
    }
    struct kt_udp *udp = t->udp;
    t->udp = NULL;
    end_attempt(l);
    kt_locator_settled(&l->locator);
    if (old) {
        const size_t moved = kt_native_association_move_young(old, fresh);
        kt_log(l->c->log, KT_LOG_WARN,
            "%s no longer knows this link: it has restarted, or gave the link up; %zu new stream%s carried over",
            kt_native_association_peer_text(old), moved, moved == 1 ? "" : "s");
        drop(l, KT_ERESTART);
    }
    l->a = fresh;
    l->udp = udp;
    kt_log(l->c->log, KT_LOG_INFO, "link to %s is up, %s", kt_native_association_peer_text(fresh),
        kt_aead_name(agreement->aead));
    kt_presence_up(&l->presence, &l->part);
    kt_native_dial_serve(l);
}

/* The attempt has failed for a reason that another address would not change. */
static void give_up(struct link *l, int code)
{
    struct kt_err err;
    kt_err_set(&err, code, "cannot begin a link: %s", kt_strerror(code));
    end_attempt(l);
    kt_locator_fail(&l->locator, &err);
}

static void refused(struct link *l, const struct kt_err *why)
{
    char text[KT_ADDR_TEXT];
    kt_log(l->c->log, KT_LOG_ERROR, "%s: %s", kt_addr_text(&l->attempt.addrs[l->attempt.index], text),
        why->text);
    end_attempt(l);
    kt_calls_fail(&l->waiting, why);
    if (l->stay) kt_locator_later(&l->locator);
}

static void initiate(struct link *l);

static void take_handshake(struct link *l, const struct kt_native_header *header, struct kt_dgram *dgram)
{
    struct attempt *t = &l->attempt;
    struct kt_native_agreed agreement;
    struct kt_err err;
    switch (kt_native_client_input(&t->client, header, dgram->data, dgram->len, &agreement, &err)) {
    case KT_NATIVE_CLIENT_AGREED:
        agreed(l, &agreement);
        break;
    case KT_NATIVE_CLIENT_FAILED:
        refused(l, &err);
        break;
    case KT_NATIVE_CLIENT_COOKIE:
        initiate(l);
        break;
    case KT_NATIVE_CLIENT_NOTHING:
        kt_native_context_dropped(l->c, dgram->from, false);
        break;
    }
    kt_wipe(&agreement, sizeof agreement);
}

static void initiate(struct link *l)
{
    struct attempt *t = &l->attempt;
    uint8_t *buf = kt_udp_reserve(t->udp);
    if (buf) {
        const size_t n = kt_native_client_initiate(&t->client, buf);
        kt_udp_commit(t->udp, buf, buf, n, NULL, NULL);
        l->c->counters->OutPkts++;
        l->c->counters->OutBytes += n;
    }
    t->sent_us = kt_io_now(l->c->io);
    const uint64_t again = t->sent_us + kt_native_client_pause(&t->client),
                   silence = t->began_us + SILENCE_US;
    kt_io_timer_set(l->c->io, &t->timer, !t->told && silence < again ? silence : again);
}

/* Opens a socket to the next address that has one. */
static int next_address(struct link *l, struct kt_err *err)
{
    struct attempt *t = &l->attempt;
    struct kt_udp *fresh;
    int rc = KT_ENAME;
    for (size_t i = 0; i < t->count && rc; i++) {
        const size_t index = (t->index + 1 + i) % t->count;
        rc = open_socket(l, &t->addrs[index], &fresh, err);
        if (rc) continue;
        kt_udp_close(t->udp);
        t->udp = fresh;
        t->index = index;
    }
    return rc;
}

/* Silence can only be guessed at: the causes, the likeliest first. */
static void tell_silence(struct link *l)
{
    struct attempt *t = &l->attempt;
    char text[KT_ADDR_TEXT];
    t->told = true;
    kt_err_set(&l->locator.why, KT_ETIMEOUT,
        "%s: no answer for %.0f s: is kt running there, does UDP get through, and is the key the same on both ends?",
        kt_addr_text(&t->addrs[t->index], text), (double)SILENCE_US / 1e6);
    kt_log(l->c->log, KT_LOG_WARN, "%s", l->locator.why.text);
}

static void on_again(void *ctx)
{
    struct link *l = ctx;
    struct attempt *t = &l->attempt;
    struct kt_err err;
    if (kt_list_empty(&l->waiting) && !l->stay && !l->a) {
        end_attempt(l); /* nobody waits any more */
        return;
    }
    if (!t->told && kt_io_now(l->c->io) - t->began_us >= SILENCE_US) tell_silence(l);
    if (t->count > 1 && next_address(l, &err)) {
        end_attempt(l);
        kt_locator_fail(&l->locator, &err);
        return;
    }
    initiate(l);
}

static void on_found(void *ctx, const struct kt_addr *addrs, size_t n)
{
    struct link *l = ctx;
    struct attempt *t = &l->attempt;
    struct kt_err err = {0};
    t->count = n < KT_NATIVE_ADDRESSES ? n : KT_NATIVE_ADDRESSES;
    memcpy(t->addrs, addrs, t->count * sizeof addrs[0]);
    t->index = t->count - 1; /* before the first */
    t->began_us = kt_io_now(l->c->io);
    t->told = t->refused = false;
    if (next_address(l, &err)) {
        kt_locator_fail(&l->locator, &err);
        return;
    }
    t->active = true;
    kt_native_client_init(&t->client, l->c->io, l->c->secrets, &l->c->params, &l->c->drops);
    kt_locator_settled(&l->locator);
    initiate(l);
}

static void on_failed(void *ctx)
{
    (void)ctx; /* calls that wait have the reason in the locator */
}

static void on_retry(void *ctx)
{
    struct link *l = ctx;
    if (!l->a && (!kt_list_empty(&l->waiting) || l->stay)) kt_native_dial(l);
}

static const struct kt_locator_events locator_events = {on_found, on_failed, on_retry};

/* ---- datagrams ---- */

/* The server does not know the association. That can be forged, so it only starts a handshake. */
static void doubt(struct link *l)
{
    if (!l->a || l->attempt.active || l->doubt_us > 0) return;
    l->doubt_us = kt_io_now(l->c->io);
    kt_locator_start(&l->locator);
}

static void take(struct link *l, struct kt_dgram *dgram)
{
    const uint8_t *header_key = l->c->secrets->header_key;
    struct kt_native_header header;
    l->c->counters->InBytes += dgram->len;
    if (kt_native_peek(header_key, dgram->data, dgram->len, &header))
        kt_native_context_dropped(l->c, dgram->from, true);
    else if (header.kind != KT_NATIVE_DATA && l->attempt.active)
        take_handshake(l, &header, dgram);
    else if (header.kind != KT_NATIVE_DATA &&
             kt_native_is_unknown(header_key, &header, dgram->data, dgram->len, &l->c->drops))
        doubt(l);
    else if (header.kind == KT_NATIVE_DATA && l->a &&
             memcmp(header.id, kt_native_association_cid(l->a, 0), KT_NATIVE_CID) == 0)
        kt_native_association_input(l->a, 0, &header, dgram, l->udp, 0);
    else
        kt_native_context_dropped(
            l->c, dgram->from, false); /* late, of an association or an attempt that is over */
}

static void on_batch(void *ctx, struct kt_dgram *dgrams, size_t n)
{
    for (size_t i = 0; i < n; i++) take(ctx, &dgrams[i]);
}

static void on_writable(void *ctx)
{
    struct link *l = ctx;
    if (l->a) kt_native_association_writable(l->a, l->udp);
}

/* Anyone on the way can send this, so it is only worth a line in the log while nothing answers. */
static void on_error(void *ctx, int code)
{
    struct link *l = ctx;
    char text[KT_ADDR_TEXT];
    if (code != KT_EREFUSED || !l->attempt.active || l->attempt.refused) return;
    l->attempt.refused = true;
    kt_log(l->c->log, KT_LOG_WARN, "%s: nothing listens there (port unreachable)",
        kt_addr_text(&l->attempt.addrs[l->attempt.index], text));
}

static const struct kt_udp_events udp_events = {on_batch, on_writable, on_error};

/* ---- for link.c ---- */

void kt_native_dial_init(struct link *l)
{
    kt_locator_init(&l->locator, l->c->io, l->c->log, &l->c->cfg.common.at, &locator_events, l);
    kt_timer_init(&l->attempt.timer, on_again, l);
}

void kt_native_dial(struct link *l)
{
    if (!l->a && !l->attempt.active) kt_locator_start(&l->locator);
}

void kt_native_dial_end(struct link *l)
{
    kt_locator_stop(&l->locator);
    end_attempt(l);
    drop(l, KT_ECLOSED);
}
