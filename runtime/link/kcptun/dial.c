/* The sessions of a link, in rotation (wire-kcptun.md 7): dialled when a call needs them, or at once if the link stays,
 * and redialled when they end. For slots and draining see link_internal.h. */
#include <stdlib.h>
#include "link/common/bind.h"
#include "link/kcptun/features.h"
#include "link/kcptun/link_internal.h"

/* Dialling may fail this many times in a row while young streams of a dead session wait for a new one. */
#define MAX_FAILS 3
/* With --tuncrypt: how long the peer's hello may take after it acknowledged ours. */
#define HELLO_US 3000000u
/* An unused session is kept this long after it was replaced, so that the link does not go down in between. */
#define BRIDGE_US 5000000u

/* ---- presence ---- */

static void up(struct dial *d)
{
    kt_presence_up(&d->link->presence, &d->part);
}

static void on_up(void *ctx, struct kt_kcptun_session *s)
{
    (void)s;
    up(ctx);
}

static void lost(struct dial *d, int code, const char *why)
{
    kt_presence_down(&d->link->presence, &d->part, code, why);
}

/* Streams were opened or accepted. on_idle reports the end of the last one. */
static void burdened(struct dial *d)
{
    if (kt_kcptun_session_streams(d->session) > 0) kt_presence_carries(&d->link->presence, &d->part, true);
}

static void unburdened(struct dial *d)
{
    kt_presence_carries(&d->link->presence, &d->part, false);
}

/* ---- sessions ---- */

void kt_kcptun_dial_free(struct dial *d, int code)
{
    kt_list_remove(&d->node);
    lost(d, code, code == KT_ECLOSED ? "its session had expired" : kt_strerror(code));
    unburdened(d);
    kt_io_timer_cancel(d->link->context->io, &d->scavenge);
    kt_io_timer_cancel(d->link->context->io, &d->hello);
    kt_kcptun_session_free(d->session, code);
    kt_udp_close(d->udp);
    free(d);
}

static bool expired(const struct dial *d)
{
    const struct kt_kcptun_context *context = d->link->context;
    return context->cfg.expire_us &&
           kt_io_now(context->io) - kt_kcptun_session_born(d->session) >= context->cfg.expire_us;
}

/* Takes a session out of its slot; it keeps its streams. Without streams it ends once the peer holds all
 * their data, or, if there is a listener for `down`, when the next session should be up. */
static void drain(struct dial *d)
{
    struct kt_kcptun_context *context = d->link->context;
    const uint64_t now = kt_io_now(context->io);
    d->slot->dial = NULL;
    d->slot = NULL;
    kt_list_push(&d->link->draining, &d->node);
    const bool settled = kt_kcptun_session_settled(d->session);
    if (kt_kcptun_session_streams(d->session) == 0 && settled && !d->link->presence.events &&
        !kt_kcptun_session_busy(d->session))
        kt_kcptun_dial_free(d, KT_ECLOSED);
    else if (kt_kcptun_session_streams(d->session) == 0 && settled)
        kt_io_timer_set(context->io, &d->scavenge, now + BRIDGE_US);
    else if (!d->stale || expired(d) || kt_kcptun_session_streams(d->session) == 0)
        kt_io_timer_set(context->io, &d->scavenge, now + context->cfg.scavenge_us);
}

/* With --tuncrypt nothing is opened before the peer has announced it too: another peer would pass ciphertext
 * on to its target. */
static bool hello_missing(const struct dial *d)
{
    return d->link->context->cfg.tuncrypt && !kt_kcptun_session_hello(d->session, NULL);
}

/* The peer's hello shows whether the features of the two ends match. */
static bool mismatched(const struct dial *d, struct kt_err *err)
{
    uint16_t features;
    return kt_kcptun_session_hello(d->session, &features) &&
           !kt_kcptun_features_agree(d->link->context->features, true, features, "the server", err);
}

static void serve_waiting(struct slot *slot)
{
    struct dial *d = slot->dial;
    struct kt_err err;
    if (!d || kt_kcptun_session_over(d->session) || hello_missing(d)) return;
    if (mismatched(d, &err)) {
        kt_calls_fail(&slot->waiting, &err);
        return;
    }
    while (!kt_list_empty(&slot->waiting)) {
        const bool served = kt_kcptun_call_serve(
            KT_CONTAINER(slot->waiting.next, struct kt_call, node), d->link->context, d->session);
        burdened(d);
        if (served) continue;
        drain(d); /* its stream ids are used up */
        kt_kcptun_slot_dial(slot);
        return;
    }
}

static void on_stream(void *ctx, struct kt_kcptun_session *s, struct kt_pipe *stream)
{
    struct dial *d = ctx;
    struct link *l = d->link;
    const struct kt_link_events *events = l->presence.events;
    if (l->presence.closing || !events || !events->stream) {
        kt_pipe_reset(stream, KT_ENOTSUP); /* this link does not serve streams that the far side opens */
        return;
    }
    burdened(d);
    struct kt_pipe *clear = kt_kcptun_admit(l->context, s, stream, &d->mismatch_logged);
    const struct kt_peer_info peer = {.wire = l->context->wire, .address = kt_kcptun_session_peer_text(s)};
    if (clear) events->stream(l->presence.ctx, clear, &peer);
}

/* A session of a link that stays has ended, and no call is waiting for the next. */
static void come_back(struct slot *slot, int code)
{
    if (code == KT_EDEAD || code == KT_ERESTART)
        kt_kcptun_slot_dial(slot);
    else /* dialling again now would fail the same way */
        kt_locator_later(&slot->locator);
}

/* ---- suspicion ---- */

/* The peer is silent, but may come back: new streams use another session, and this one is benched with the
 * streams that it has. */
static void bench(struct dial *d, const char *why)
{
    struct slot *slot = d->slot;
    lost(d, KT_EDEAD, why);
    if (!slot) return; /* already draining */
    kt_io_timer_cancel(d->link->context->io, &d->hello);
    slot->dial = NULL;
    slot->fails = kt_kcptun_session_heard(d->session) ? 0 : slot->fails + 1;
    d->slot = NULL;
    d->benched = true;
    kt_list_push(&d->link->draining, &d->node);
    if (!kt_list_empty(&slot->waiting) || slot->link->stay) kt_kcptun_slot_dial(slot);
}

/* An older session has returned to the slot: this one only serves the streams that it has. */
static void make_way(struct dial *d)
{
    if (!kt_kcptun_session_heard(d->session) && kt_kcptun_session_streams(d->session) == 0) {
        d->slot->dial = NULL;
        kt_kcptun_dial_free(d, KT_ECLOSED);
        return;
    }
    d->stale = true;
    drain(d);
}

/* It is heard again: it takes its slot back, unless the slot now has an older session, or this one may take
 * no new streams. */
static void come_off_bench(struct dial *d)
{
    struct slot *slot = d->home;
    struct dial *other = slot->dial;
    if (!kt_kcptun_session_heard(d->session)) return;
    up(d);
    if (!d->benched) return;
    d->benched = false;
    if (other && kt_kcptun_session_born(other->session) < kt_kcptun_session_born(d->session)) d->stale = true;
    if (d->stale || d->link->presence.closing) return;
    if (expired(d)) {
        kt_io_timer_set(d->link->context->io, &d->scavenge,
            kt_io_now(d->link->context->io) + d->link->context->cfg.scavenge_us);
        return;
    }
    if (other) make_way(other);
    kt_locator_stop(&slot->locator);
    kt_locator_settled(&slot->locator);
    slot->fails = 0;
    kt_list_remove(&d->node);
    d->slot = slot;
    slot->dial = d;
    serve_waiting(slot);
}

static void on_suspect(void *ctx, struct kt_kcptun_session *s, const char *why)
{
    (void)s;
    if (why)
        bench(ctx, why);
    else
        come_off_bench(ctx);
}

/* Moves the streams that the peer has not seen from a dead session to the slot's new one. */
static void move_young(struct slot *slot, struct dial *from)
{
    size_t moved = kt_kcptun_session_move_young(from->session, slot->dial->session);
    burdened(slot->dial); /* before the other one stops carrying them */
    if (moved)
        kt_log_with(slot->link->context->log, KT_LOG_INFO,
            kt_log_peer(kt_kcptun_session_peer_text(slot->dial->session)),
            "%zu new stream%s carried over to a new session with %s", moved, moved == 1 ? "" : "s",
            kt_kcptun_session_peer_text(slot->dial->session));
}

static void on_over(void *ctx, struct kt_kcptun_session *s, int code)
{
    struct dial *d = ctx;
    struct slot *slot = d->slot;
    lost(d, code, kt_kcptun_session_why(s));
    if (!slot) {
        if (d->benched && code == KT_ERESTART && kt_kcptun_session_young(s)) slot = d->home;
        if (slot && slot->dial && !kt_kcptun_session_over(slot->dial->session)) move_young(slot, d);
        if (!slot || slot->dial || slot->dead || d->link->presence.closing) {
            kt_kcptun_dial_free(d, code);
            return;
        }
        kt_list_remove(&d->node);
    }
    if (d->slot) slot->dial = NULL;
    slot->fails = kt_kcptun_session_heard(s) ? 0 : slot->fails + 1;
    /* A peer that went silent may have received everything and acted on it, so even unacknowledged data must
     * not be sent again. A restarted peer has lost it. */
    if (code == KT_ERESTART && kt_kcptun_session_young(s)) {
        slot->dead = d; /* on_found moves what it can */
        d->slot = NULL;
        d->code = code;
        kt_io_timer_cancel(d->link->context->io, &d->hello);
        kt_kcptun_slot_dial(slot);
        return;
    }
    kt_kcptun_dial_free(d, code);
    if (!kt_list_empty(&slot->waiting))
        kt_kcptun_slot_dial(slot);
    else if (slot->link->stay)
        come_back(slot, code);
}

static void on_idle(void *ctx, struct kt_kcptun_session *s)
{
    struct dial *d = ctx;
    (void)s;
    if (d->slot)
        unburdened(d);
    else
        kt_kcptun_dial_free(d, KT_ECLOSED);
}

static void on_hello(void *ctx, struct kt_kcptun_session *s, uint16_t features)
{
    struct dial *d = ctx;
    struct kt_err err;
    (void)features;
    if (mismatched(d, &err))
        kt_log_with(d->link->context->log, KT_LOG_ERROR, kt_log_peer(kt_kcptun_session_peer_text(s)),
            "%s: %s", kt_kcptun_session_peer_text(s), err.text);
    if (d->slot) serve_waiting(d->slot);
}

/* The scavenge time of an expired session is over. */
static void on_scavenge(void *ctx)
{
    struct dial *d = ctx;
    size_t streams = kt_kcptun_session_streams(d->session);
    if (streams > 0)
        kt_log_with(d->link->context->log, KT_LOG_INFO, kt_log_peer(kt_kcptun_session_peer_text(d->session)),
            "session with %s expired: cutting %zu streams", kt_kcptun_session_peer_text(d->session), streams);
    kt_kcptun_dial_free(d, KT_ECLOSED);
}

/* With --tuncrypt, while opens wait for the peer's hello. */
static void on_hello_timer(void *ctx)
{
    struct dial *d = ctx;
    struct kt_kcptun_context *context = d->link->context;
    struct slot *slot = d->slot;
    if (!slot || !hello_missing(d) || kt_list_empty(&slot->waiting)) return;
    uint64_t now = kt_io_now(context->io);
    if (!kt_kcptun_session_settled(d->session))
        d->hello_deadline = now + HELLO_US; /* it has not heard ours yet */
    if (now < d->hello_deadline) {
        kt_io_timer_set(context->io, &d->hello, now + HELLO_US / 10);
        return;
    }
    struct kt_err err;
    kt_err_set(
        &err, KT_EMISMATCH, "tuncrypt needs kt on both ends; the server did not identify itself as kt");
    kt_log_with(context->log, KT_LOG_ERROR, kt_log_peer(kt_kcptun_session_peer_text(d->session)), "%s: %s",
        kt_kcptun_session_peer_text(d->session), err.text);
    kt_calls_fail(&slot->waiting, &err);
}

/* ---- datagrams ---- */

static void on_batch(void *ctx, struct kt_dgram *dgrams, size_t n)
{
    struct dial *d = ctx;
    struct kt_kcptun_context *context = d->link->context;
    for (size_t i = 0; i < n; i++) {
        uint8_t *body;
        size_t len;
        struct kt_kcp_head head;
        if (!kt_kcptun_context_open(context, d->udp, &dgrams[i], &body, &len)) continue;
        if (kt_fec_peek(body, len, &head) && head.conv != kt_kcptun_session_conv(d->session)) {
            context->counters->InErrs++;
            continue;
        }
        context->counters->InPkts++;
        kt_kcptun_session_input(d->session, body, len, NULL);
    }
}

static void on_writable(void *ctx)
{
    kt_kcptun_session_writable(((struct dial *)ctx)->session);
}

/* A link that stays dials repeatedly, so a missing answer is logged once; not at all if another wire is tried too. */
static bool logs_quietly(const struct dial *d)
{
    return d->link->context->quiet_log || (d->link->stay && d->slot && d->slot->fails > 0);
}

static void on_udp_error(void *ctx, int code)
{
    struct dial *d = ctx;
    if (code != KT_EREFUSED || d->refused) return;
    d->refused = true;
    kt_log_with(d->link->context->log, logs_quietly(d) ? KT_LOG_DEBUG : KT_LOG_WARN,
        kt_log_peer(kt_kcptun_session_peer_text(d->session)), "%s: nothing listens there (port unreachable)",
        kt_kcptun_session_peer_text(d->session));
}

static const struct kt_udp_events udp_events = {on_batch, on_writable, on_udp_error};

/* ---- dialling ---- */

static int open_socket(struct dial *d, const struct kt_addr *peer, struct kt_udp **out, struct kt_err *err)
{
    const struct kt_kcptun_context *context = d->link->context;
    const struct kt_udp_opts opts = {.remote = peer,
        .dscp = (int)context->cfg.dscp,
        .sndbuf = context->cfg.sockbuf,
        .rcvbuf = context->cfg.sockbuf};
    return kt_bind_udp(context->io, NULL, &opts, &udp_events, d, out, err);
}

/* A connected socket keeps the address that this host had when it was opened. If the system now chooses
 * another for this peer, the session continues on a socket with that one. */
static void on_silent(void *ctx, struct kt_kcptun_session *s)
{
    struct dial *d = ctx;
    struct kt_udp *fresh;
    struct kt_addr old, now;
    char text[KT_ADDR_TEXT];
    struct kt_err err;
    if (open_socket(d, kt_kcptun_session_peer(s), &fresh, &err))
        return; /* no route; asked again in a second */
    kt_udp_local(d->udp, &old);
    kt_udp_local(fresh, &now);
    kt_addr_set_port(&old, 0);
    kt_addr_set_port(&now, 0);
    if (kt_addr_equal(&old, &now)) {
        kt_udp_close(fresh);
        return;
    }
    kt_log_with(d->link->context->log, KT_LOG_INFO, kt_log_peer(kt_kcptun_session_peer_text(s)),
        "session with %s: the address of this host has changed to %s", kt_kcptun_session_peer_text(s),
        kt_addr_ip_text(&now, text));
    kt_kcptun_session_move(s, &(struct kt_kcptun_session_way){.udp = fresh});
    kt_udp_close(d->udp);
    d->udp = fresh;
}

static int make_dial(struct slot *slot, const struct kt_addr *peer, struct kt_err *err)
{
    struct link *l = slot->link;
    struct kt_kcptun_context *context = l->context;
    struct dial *d = calloc(1, sizeof *d);
    if (!d) return kt_err_set(err, KT_ENOMEM, "out of memory");
    d->link = l;
    d->slot = d->home = slot;
    kt_list_init(&d->node);
    kt_timer_init(&d->scavenge, on_scavenge, d);
    kt_timer_init(&d->hello, on_hello_timer, d);

    int rc = open_socket(d, peer, &d->udp, err);
    if (rc) {
        free(d);
        return rc;
    }
    const struct kt_kcptun_session_owner owner = {.accept = on_stream,
        .over = on_over,
        .idle = on_idle,
        .up = on_up,
        .hello = on_hello,
        .suspect = on_suspect,
        .silent = on_silent,
        .ctx = d,
        .ended = &l->ended};
    uint32_t conv;
    kt_io_random(context->io, &conv, sizeof conv);
    rc = kt_kcptun_session_new(&d->session, context, conv, d->udp, peer, true, &owner);
    if (rc) {
        kt_udp_close(d->udp);
        free(d);
        return kt_err_set(err, rc, "cannot start a session: %s", kt_strerror(rc));
    }
    slot->dial = d;
    if (logs_quietly(d)) kt_kcptun_session_quiet_log(d->session);
    if (context->cfg.tuncrypt || l->stay) kt_kcptun_session_greet(d->session);
    if (context->cfg.tuncrypt) {
        d->hello_deadline = kt_io_now(context->io) + HELLO_US;
        kt_io_timer_set(context->io, &d->hello, kt_io_now(context->io) + HELLO_US / 10);
    }
    kt_log_with(context->log, KT_LOG_DEBUG, kt_log_peer(kt_kcptun_session_peer_text(d->session)),
        "session with %s started, conv %08x", kt_kcptun_session_peer_text(d->session), conv);
    return 0;
}

/* Gives up on a dead session, as no new session could take over its young streams. */
static void bury(struct slot *slot)
{
    struct dial *dead = slot->dead;
    slot->dead = NULL;
    if (dead) kt_kcptun_dial_free(dead, dead->code);
}

static void on_failed(void *ctx)
{
    struct slot *slot = ctx;
    if (++slot->fails > MAX_FAILS) bury(slot);
}

static void on_found(void *ctx, const struct kt_addr *addrs, size_t n)
{
    struct slot *slot = ctx;
    struct kt_err err = {0};
    /* After each failure start with the next address; skip those that cannot be dialled. */
    int rc = KT_ENAME;
    for (size_t i = 0; i < n && rc; i++) rc = make_dial(slot, &addrs[(slot->fails + i) % n], &err);
    if (rc) {
        kt_locator_fail(&slot->locator, &err);
        return;
    }
    kt_locator_settled(&slot->locator);
    if (slot->dead) {
        move_young(slot, slot->dead);
        bury(slot);
    }
    serve_waiting(slot);
}

void kt_kcptun_slot_dial(struct slot *slot)
{
    if (!slot->link->presence.closing) kt_locator_start(&slot->locator);
}

static void on_retry(void *ctx)
{
    struct slot *slot = ctx;
    if (!slot->dial && (!kt_list_empty(&slot->waiting) || slot->dead || slot->link->stay))
        kt_kcptun_slot_dial(slot);
}

static const struct kt_locator_events locator_events = {on_found, on_failed, on_retry};

/* ---- slots ---- */

void kt_kcptun_slot_init(struct slot *slot, struct link *l)
{
    const struct kt_kcptun_context *context = l->context;
    slot->link = l;
    kt_list_init(&slot->waiting);
    kt_locator_init(
        &slot->locator, context->io, context->log, &context->cfg.common.at, &locator_events, slot);
}

void kt_kcptun_slot_free(struct slot *slot)
{
    kt_locator_stop(&slot->locator);
    if (slot->dial) kt_kcptun_dial_free(slot->dial, KT_ECLOSED);
    bury(slot);
    kt_calls_cancel(&slot->waiting);
}

void kt_kcptun_slot_call(struct slot *slot, struct kt_call *call)
{
    struct kt_kcptun_context *context = slot->link->context;
    struct dial *d = slot->dial;
    if (!call->opened && d && !kt_kcptun_session_over(d->session)) {
        kt_kcptun_call_serve(call, context, d->session); /* a probe needs no hello */
        return;
    }
    call->open.why = &slot->locator.why;
    kt_list_push(&slot->waiting, &call->node);
    if (d && (d->stale || expired(d))) drain(d);
    if (!slot->dial)
        kt_kcptun_slot_dial(slot);
    else if (hello_missing(slot->dial))
        kt_io_timer_set(context->io, &slot->dial->hello, kt_io_now(context->io) + HELLO_US / 10);
    else
        serve_waiting(slot);
}

bool kt_kcptun_slot_tune(struct slot *slot)
{
    struct dial *d = slot->dial;
    if (!d) return false;
    d->stale = !kt_kcptun_session_tune(d->session);
    if (!d->stale) return false;
    if (slot->link->stay) kt_kcptun_slot_renew(slot);
    return true;
}

void kt_kcptun_slot_renew(struct slot *slot)
{
    struct kt_list *draining = &slot->link->draining;
    for (struct kt_list *n = draining->next; n != draining; n = n->next) {
        struct dial *d = KT_CONTAINER(n, struct dial, node);
        if (d->home == slot) d->stale = true;
    }
    if (slot->dial) slot->dial->stale = true;
    if (!slot->link->stay) return;
    if (slot->dial) drain(slot->dial);
    kt_kcptun_slot_dial(slot);
}
