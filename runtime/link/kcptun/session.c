/* A session's life: made, worked once per turn, ended (session.h).
 *
 * Invariant: nothing below calls out (streams' events, the owner) except from the turn hook, and `over` is
 * its last act. */
#include <assert.h>
#include <stdlib.h>
#include "link/kcptun/session_internal.h"
#include "link/stream.h"

/* The size of a client's packets until it hears from the server: small enough for any path. */
#define FIRST_PACKET 500u
#define PUMP_ROUNDS 8 /* how many times a turn pumps again for streams that write from `writable` */
/* A kcptun client whose session we drop notices after up to 60 s, so it gets kcptun's own patience
 * (wire-kcptun.md 9.5); a kt redials. */
#define FOREIGN_PATIENCE_US 30000000u
#define FULL_US 1000000u    /* windows that are full for this long hold data back */
#define FULL_GAP_US 500000u /* ... with pauses of at most this */
#define LOSSY 16u           /* 1.6 %, as of kt_cc_loss */
#define RESUME_US 1000000u

void kt_kcptun_session_schedule(struct kt_kcptun_session *s)
{
    kt_io_turn(s->context->io, &s->turn);
}

/* Remembers the first reason; the turn hook reports it. */
void kt_kcptun_session_fail_code(struct kt_kcptun_session *s, int code)
{
    if (s->over) return;
    s->over = code;
    kt_kcptun_session_schedule(s);
}

void kt_kcptun_session_fail(struct kt_kcptun_session *s, int code, const char *why)
{
    if (!s->over) kt_err_set(&s->why, code, "%s", why);
    kt_kcptun_session_fail_code(s, code);
}

static void set_patience(struct kt_kcptun_session *s);

/* In mode "auto", with a kt. */
static void repeat_acks(struct kt_kcptun_session *s)
{
    kt_kcp_repeat_acks(s->kcp, kt_kcptun_automatic(&s->context->cfg) && kt_kcptun_session_hello(s, NULL));
}

/* ---- smux's owner ---- */

static void on_wake(void *ctx)
{
    struct kt_kcptun_session *s = ctx;
    s->woken = true;
    if (!s->busy) kt_kcptun_session_schedule(s);
}

static void on_accept(void *ctx, struct kt_pipe *stream)
{
    struct kt_kcptun_session *s = ctx;
    s->context->counters->StreamsAccepted++;
    s->owner.accept(s->owner.ctx, s, stream);
}

static void on_resume(void *ctx)
{
    struct kt_kcptun_session *s = ctx;
    s->blocked = false;
    kt_kcptun_session_schedule(s);
}

static void on_hello(void *ctx, uint16_t features)
{
    struct kt_kcptun_session *s = ctx;
    set_patience(s);
    repeat_acks(s);
    if (s->owner.hello) s->owner.hello(s->owner.ctx, s, features);
}

static void on_streams(void *ctx, size_t n)
{
    struct kt_kcptun_session *s = ctx;
    kt_kcptun_context_streams(s->context, s->streams, n);
    s->streams = n;
    s->went_idle = n == 0;
    kt_kcptun_session_note_room(s);
    if (n == 0) kt_kcptun_session_schedule(s);
}

static bool on_behind(void *ctx)
{
    const struct kt_kcptun_session *s = ctx;
    return kt_kcp_behind(s->kcp);
}

static const struct kt_smux_owner smux_owner = {
    .room = kt_kcptun_session_room,
    .frame = kt_kcptun_session_frame,
    .wake = on_wake,
    .accept = on_accept,
    .admit = kt_kcptun_session_admit,
    .refused = kt_kcptun_session_note_refusal,
    .resume = on_resume,
    .hello = on_hello,
    .streams = on_streams,
    .facts = kt_kcptun_session_stream_facts,
    .behind = on_behind,
    .cut = kt_kcptun_session_note_cut,
    .spare = kt_kcptun_session_spare,
    .least = kt_kcptun_session_least,
};

/* ---- the turn ---- */

/* Streams stay young until KCP reports that the peer holds their SYN. Tracking one mark at a time is enough. */
static void settle_young(struct kt_kcptun_session *s)
{
    if (!s->young_pending || !kt_kcp_covered(s->kcp, s->young_kcp)) return;
    s->young_pending = false;
    kt_smux_settled(s->smux, s->young_smux);
}

static void settle_debts(struct kt_kcptun_session *s)
{
    if (s->owes && kt_kcp_covered(s->kcp, s->said_kcp)) s->owes = false;
}

static void mark_young(struct kt_kcptun_session *s)
{
    if (!s->young_pending && kt_smux_has_young(s->smux)) {
        s->young_pending = true;
        s->young_smux = kt_smux_mark(s->smux);
        s->young_kcp = kt_kcp_mark(s->kcp);
    }
}

static void arm(struct kt_kcptun_session *s, uint64_t now)
{
    uint64_t due = kt_kcp_due(s->kcp, now);
    if (due <= now) { /* the flush was stopped: by the socket, or by the rate limit */
        due = kt_kcptun_path_ready(&s->path, now);
        if (due <= now) due = now + 1000;
    }
    uint64_t health = kt_kcptun_health_due(&s->health);
    if (health < due) due = health;
    const uint64_t ask = kt_kcptun_session_ask_due(s);
    if (ask < due) due = ask;
    if (s->next_keepalive < due) due = s->next_keepalive;
    uint64_t stall = kt_kcptun_session_stall_due(s);
    if (stall < due) due = stall;
    if (s->more || kt_smux_waiting(s->smux)) due = now;
    kt_io_timer_set(s->context->io, &s->timer, due);
}

static void limit_controller(struct kt_kcptun_session *s);

/* Without parity each loss holds up what follows for a round trip or more. That costs little while the windows
 * have room for it. Once they are full, KCP's or those of streams, it costs more than parity does. */
static void choose_parity(struct kt_kcptun_session *s, bool full, uint64_t now)
{
    const struct kt_kcptun_config *cfg = &s->context->cfg;
    if (!s->path.enc || kt_kcptun_parity(cfg) > 0 || !kt_kcptun_automatic(cfg)) return;
    if (full && now - s->full_us > FULL_GAP_US) s->full_since_us = now;
    if (full) s->full_us = now;
    const bool on = s->path.sent_parity > 0, held_up = s->full_us && now - s->full_us <= FULL_GAP_US;
    if (on ? held_up : !held_up || now - s->full_since_us < FULL_US || kt_cc_loss(&s->cc) < LOSSY) return;
    kt_kcptun_path_parity(&s->path, on ? 0 : s->path.parity);
    limit_controller(s);
}

/* After a flush: what holds back the rest. Nothing does if nothing is left to send; then the path could carry more
 * than the controller measures. */
static void note_limits(struct kt_kcptun_session *s, uint64_t now)
{
    struct kt_kcp_outlook o;
    kt_kcp_outlook(s->kcp, &o);
    if (o.queued == 0 && o.open > 0 && !kt_smux_pending(s->smux)) kt_cc_app_limited(&s->cc);
    choose_parity(s, (o.full && o.queued > 0) || kt_smux_blocked(s->smux), now);
}

static void report_over(struct kt_kcptun_session *s)
{
    struct kt_counters *c = s->context->counters;
    if (s->over == KT_EDEAD)
        c->SessionsDead++;
    else if (s->over == KT_ERESTART)
        c->SessionsRestarted++;
    else
        c->SessionsFailed++;
    const char *why = s->why.code ? s->why.text : kt_strerror(s->over);
    if (s->over == KT_ERESTART && *kt_kcptun_session_hint(s))
        why = "the peer does not know this session"; /* more than that would be a guess */
    /* A peer whose settings differ breaks it each time that it is dialled. */
    const bool again = s->over == KT_EPROTO && !kt_kcptun_context_log_now(s->context, KT_KCPTUN_BROKEN);
    kt_log_with(s->context->log, again ? KT_LOG_DEBUG : kt_kcptun_session_loudness(s),
        kt_log_peer(s->peer_text), "session with %s ended: %s%s", s->peer_text, why,
        kt_kcptun_session_hint(s));
}

static void on_turn(void *ctx)
{
    struct kt_kcptun_session *s = ctx;
    const uint64_t now = kt_io_now(s->context->io);
    s->busy = true;
    if (!s->over) {
        if (now >= s->next_keepalive) {
            s->next_keepalive = now + s->context->cfg.keepalive_us;
            kt_smux_heartbeat(s->smux);
            if (s->streams == 0)
                kt_kcptun_session_trim(s); /* what was in flight has arrived since it went idle */
        }
        kt_kcptun_session_renew_budget(s);
        kt_kcptun_session_read(s);
        kt_kcptun_session_accept_batch(s);
        kt_smux_dispatch(s->smux);
        settle_young(s);
        settle_debts(s);
        int rounds = 0;
        do {
            s->woken = false;
            kt_smux_pump(s->smux);
        } while (s->woken && ++rounds < PUMP_ROUNDS);
        if (s->woken || kt_kcptun_session_next_batch(s)) kt_kcptun_session_schedule(s);
        mark_young(s);
        kt_kcptun_session_check_stall(s, now);
        if (!s->over) kt_kcptun_session_probes_turn(s, now);
        kt_kcptun_session_ask_silent(s, now);
        kt_kcptun_session_check_health(s, now);
        if (!s->over) {
            if (s->resume) kt_kcp_resume(s->kcp);
            s->resume = false;
            kt_kcptun_session_limit_reach(s); /* the window is to say what was read */
            if (kt_kcp_due(s->kcp, now) <= now) kt_kcp_flush(s->kcp, now); /* otherwise ACKs wait for data */
            note_limits(s, now);
            kt_kcptun_session_check_health(s, now); /* after the flush the peer may owe an answer */
            arm(s, now);
        }
        kt_kcptun_session_count(s);
        kt_kcptun_session_count_state(s);
        s->limited = false;
        kt_kcptun_context_busy(s->context);
    }
    s->busy = false;

    if (s->unanswered && !s->over) {
        s->unanswered = false;
        if (s->owner.silent) s->owner.silent(s->owner.ctx, s);
    }
    if (s->up_at && !s->told_up) {
        s->told_up = true;
        if (s->owner.up) s->owner.up(s->owner.ctx, s);
    }
    if (s->over) {
        if (s->reported) return;
        s->reported = true;
        kt_io_timer_cancel(s->context->io, &s->timer);
        /* Acknowledge what was read, so that the peer sees that we are alive and have ended the session. */
        if (s->over == KT_EPROTO) kt_kcp_flush(s->kcp, now);
        report_over(s);
        kt_kcptun_session_probes_end(s, s->over);
        s->owner.over(s->owner.ctx, s, s->over);
    } else if (s->went_idle &&
               kt_kcptun_session_settled(s)) { /* otherwise when the rest of its data has arrived */
        s->went_idle = false;
        if (kt_smux_streams(s->smux) > 0) return;
        kt_kcptun_session_trim(s);
        s->owner.idle(s->owner.ctx, s);
    }
}

static void on_timer(void *ctx)
{
    struct kt_kcptun_session *s = ctx;
    s->fresh = true;
    kt_kcptun_session_schedule(s);
}

/* ---- from outside ---- */

static void on_fec(void *ctx, const uint8_t *packet, size_t len, enum kt_kcp_origin origin)
{
    struct kt_kcptun_session *s = ctx;
    const uint64_t now = kt_io_now(s->context->io), before = kt_kcp_news(s->kcp);
    const int rc = kt_kcp_input(s->kcp, packet, len, origin, now);
    kt_kcptun_session_note_news(s, before, now);
    if (rc == 0) return;
    s->context->counters->KCPInErrors++;
    if (origin == KT_KCP_REGULAR) kt_kcptun_session_fail(s, KT_EPROTO, "malformed KCP packet");
}

/* True if a silence, while an answer is owed, indicates an outage rather than a loss. */
static bool is_outage(const struct kt_kcptun_session *s, uint64_t silence_us)
{
    struct kt_kcp_stats st;
    if (silence_us < RESUME_US) return false;
    kt_kcp_stats(s->kcp, &st);
    return silence_us >= 3 * (uint64_t)st.rto_us;
}

static uint32_t una(const struct kt_kcptun_session *s)
{
    struct kt_kcp_stats st;
    kt_kcp_stats(s->kcp, &st);
    return st.una;
}

/* Until the peer has acknowledged something, answers leave from the address that it addressed last. After
 * that only new data changes the address, so a replayed datagram does not. */
static void set_local(struct kt_kcptun_session *s, const struct kt_addr *to, uint32_t before)
{
    const uint32_t now = una(s);
    if (now == 0 || now != before) s->path.from = *to;
}

void kt_kcptun_session_input(
    struct kt_kcptun_session *s, const uint8_t *body, size_t len, const struct kt_addr *to)
{
    if (s->over) return;
    s->fresh = true;
    kt_kcptun_session_limit_input(s);
    const uint64_t silence = kt_patience_heard(&s->health.patience, kt_io_now(s->context->io));
    if (s->health.patience.suspect || is_outage(s, silence)) s->resume = true;
    if (!s->up_at) s->up_at = s->health.patience.heard;
    const bool elsewhere = to && !kt_addr_equal(to, &s->path.from);
    const uint32_t before = elsewhere ? una(s) : 0;
    if (kt_fec_dec_input(s->dec, body, len, on_fec, s))
        kt_kcptun_session_fail(s, KT_EPROTO, "malformed FEC packet");
    kt_kcptun_session_count_fec(s);
    if (elsewhere) set_local(s, to, before);
    kt_kcptun_session_schedule(s);
}

void kt_kcptun_session_writable(struct kt_kcptun_session *s)
{
    if (!s->path.full) return;
    s->path.full = false;
    kt_kcptun_session_schedule(s);
}

int kt_kcptun_session_open(struct kt_kcptun_session *s, struct kt_pipe **out)
{
    if (s->over) return s->over;
    int rc = kt_smux_open(s->smux, out);
    if (rc == 0) s->context->counters->StreamsOpened++;
    return rc;
}

size_t kt_kcptun_session_move_young(struct kt_kcptun_session *from, struct kt_kcptun_session *to)
{
    size_t n = kt_smux_move_young(from->smux, to->smux);
    to->context->counters->StreamsMoved += n;
    return n;
}

void kt_kcptun_session_greet(struct kt_kcptun_session *s)
{
    kt_smux_keepalive(s->smux);
}

void kt_kcptun_session_quiet_log(struct kt_kcptun_session *s)
{
    s->quiet_log = true;
}

/* ---- settings ---- */

static const struct kt_cc_ops *controller(const struct kt_kcptun_session *s)
{
    if (kt_kcptun_automatic(&s->context->cfg)) return &kt_cc_auto;
    return s->context->cfg.nc ? &kt_cc_fixed : &kt_cc_reno;
}

/* The controller counts segments; the bandwidth that the user states counts IP packets. */
static void limit_controller(struct kt_kcptun_session *s)
{
    const struct kt_kcptun_config *cfg = &s->context->cfg;
    const uint32_t segment = kt_kcptun_path_mtu(&s->path),
                   headers = s->peer.sa.sa_family == AF_INET6 ? 48 : 28;
    struct kt_cc_limits limits = {.packet = segment, .window = (uint64_t)cfg->sndwnd * segment};
    limits.rate = cfg->bandwidth * segment / (s->path.mtu + headers);
    if (s->path.enc) limits.rate = limits.rate * s->path.data / (s->path.data + s->path.sent_parity);
    kt_cc_limit(&s->cc, &limits);
}

static struct kt_kcp_config kcp_settings(struct kt_kcptun_session *s)
{
    const struct kt_kcptun_config *cfg = &s->context->cfg;
    return (struct kt_kcp_config){
        .conv = s->conv,
        .mtu = kt_kcptun_path_mtu(&s->path),
        .snd_wnd = cfg->sndwnd,
        .rcv_wnd = cfg->rcvwnd,
        .nodelay = cfg->nodelay,
        .interval_ms = cfg->interval_ms,
        .resend = cfg->resend,
        .cc = &s->cc,
        .ack_nodelay = cfg->acknodelay,
        .pad = s->context->client ? FIRST_PACKET : 0,
        .ts_base = s->ts_base,
    };
}

static void set_patience(struct kt_kcptun_session *s)
{
    const struct kt_kcptun_context *context = s->context;
    s->health.patience.suspect_us = context->cfg.suspect_us;
    s->health.patience.dead_us = context->cfg.dead_us;
    if (!context->client && !kt_kcptun_session_hello(s, NULL) &&
        s->health.patience.dead_us < FOREIGN_PATIENCE_US)
        s->health.patience.dead_us = FOREIGN_PATIENCE_US;
}

bool kt_kcptun_session_tune(struct kt_kcptun_session *s)
{
    if (s->over) return true;
    const struct kt_kcp_config kcp = kcp_settings(s);
    kt_cc_switch(&s->cc, controller(s));
    limit_controller(s);
    int rc = kt_kcp_tune(s->kcp, &kcp);
    assert(rc == 0); /* kt_kcptun_check has checked the ranges */
    (void)rc;
    set_patience(s);
    repeat_acks(s);
    kt_kcptun_session_schedule(s);
    return kt_kcptun_path_tune(&s->path);
}

static int set_up(struct kt_kcptun_session *s)
{
    struct kt_kcptun_context *context = s->context;
    const struct kt_kcptun_config *cfg = &context->cfg;
    const uint64_t now = kt_io_now(context->io);
    const struct kt_kcp_config kcp = kcp_settings(s);
    const struct kt_packet_out out = {
        .reserve = kt_kcptun_path_reserve, .send = kt_kcptun_path_send, .ctx = &s->path};
    const struct kt_smux_config smux = {
        .client = context->client,
        .version = cfg->smux_version,
        .frame_size = cfg->frame_size,
        .session_buffer = cfg->smux_buffer,
        .max_streams = cfg->max_streams,
        .stream_buffer = cfg->stream_buffer,
        .qpp = context->qpp,
        .features = context->features,
        .hash_seed = context->hash_seed,
        .released = kt_kcptun_context_unref,
        .released_arg = context,
    };
    kt_cc_init(&s->cc, controller(s));
    limit_controller(s);
    int rc = kt_kcp_new(&s->kcp, &kcp, context->segs, &out, now);
    if (!rc) kt_kcp_observe(s->kcp, kt_kcptun_restart_note, &s->restart);
    if (!rc)
        rc = kt_fec_dec_new(&s->dec, kt_kcptun_context_fec(context) ? cfg->datashard : 0,
            kt_kcptun_context_fec(context) ? cfg->parityshard : 0);
    if (!rc && cfg->compress) rc = kt_snappy_enc_new(&s->comp);
    if (!rc && cfg->compress) rc = kt_snappy_dec_new(&s->decomp);
    if (!rc) rc = kt_smux_new(&s->smux, &smux, &smux_owner, s, context->bufs);
    if (!rc) kt_kcptun_context_ref(context);
    return rc;
}

static void release(struct kt_kcptun_session *s)
{
    kt_io_turn_cancel(&s->turn);
    kt_io_timer_cancel(s->context->io, &s->timer);
    kt_snappy_enc_free(s->comp);
    kt_snappy_dec_free(s->decomp);
    kt_fec_dec_free(s->dec);
    kt_kcp_free(s->kcp);
    kt_kcptun_path_free(&s->path);
    free(s);
}

int kt_kcptun_session_new(struct kt_kcptun_session **out, struct kt_kcptun_context *context, uint32_t conv,
    struct kt_udp *udp, const struct kt_addr *peer, bool connected,
    const struct kt_kcptun_session_owner *owner)
{
    struct kt_kcptun_session *s = calloc(1, sizeof *s);
    if (!s) return KT_ENOMEM;
    s->context = context;
    s->owner = *owner;
    s->conv = conv;
    s->peer = *peer;
    kt_addr_text(peer, s->peer_text);
    s->fresh = true;
    s->born = s->news_us = kt_io_now(context->io);
    kt_io_random(context->io, &s->ts_base, sizeof s->ts_base);
    s->next_keepalive = s->born + context->cfg.keepalive_us;
    kt_list_init(&s->probes);
    kt_recent_start(&s->recent, s->born);
    kt_turn_init(&s->turn, on_turn, s);
    kt_timer_init(&s->timer, on_timer, s);
    int rc = kt_kcptun_path_init(&s->path, context, udp, connected ? NULL : &s->peer);
    s->path.mtu = kt_kcptun_context_mtu(context, peer);
    if (!context->client) kt_kcptun_path_limit(&s->path);
    if (!rc) rc = set_up(s);
    if (rc) {
        release(s);
        return rc;
    }
    kt_kcptun_session_watch_mtu(s);
    set_patience(s);
    struct kt_counters *c = context->counters;
    if (context->client)
        c->ActiveOpens++;
    else
        c->PassiveOpens++;
    if (++c->CurrEstab > c->MaxConn) c->MaxConn = c->CurrEstab;
    kt_kcptun_context_session(context, true);
    kt_io_timer_set(context->io, &s->timer, s->next_keepalive);
    kt_kcptun_context_busy(context);
    *out = s;
    return 0;
}

void kt_kcptun_session_free(struct kt_kcptun_session *s, int code)
{
    if (!s) return;
    assert(!s->busy);
    if (!s->over) { /* as kcptun ends a session: one flush, then silence */
        kt_smux_presume_foreign(s->smux);
        kt_smux_pump(s->smux);
        kt_kcp_flush(s->kcp, kt_io_now(s->context->io));
        kt_kcptun_session_count(s);
        s->over = code;
    }
    kt_kcptun_session_totals(s, s->owner.ended);
    s->context->counters->CurrEstab--;
    kt_kcptun_context_count_basic(s->context, s->fec_basic, 0);
    kt_kcptun_context_session(s->context, false);
    kt_kcptun_context_streams(s->context, s->streams, 0);
    kt_kcptun_context_count_state(s->context, s->fec_held + s->state, 0);
    kt_kcptun_session_probes_end(s, code);
    kt_smux_free(s->smux, code);
    kt_io_freed(s->context->io);
    release(s);
}
