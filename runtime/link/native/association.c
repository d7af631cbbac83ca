/* An association's life: its turn, the health of its peer, and its end. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "link/native/association_internal.h"
#include "link/native/code.h"

#define ASK_US 1000000u        /* between two calls of `silent` */
#define WORSE_HOP_US 10000000u /* between two hops because of losses */

/* A peer with the key can make KT_NATIVE_UNPROVEN of these. With its AEADs and its guest, one takes less
 * than the 16 KiB of docs/wire.md, section 7. */
_Static_assert(sizeof(struct kt_native_association) <= 8192, "an unproven association must stay small");

void kt_native_association_schedule(struct kt_native_association *a)
{
    kt_io_turn(a->c->io, &a->turn);
}

void kt_native_association_fail(struct kt_native_association *a, int code, const char *why)
{
    if (a->over) return;
    a->over = code;
    if (a->why.text != why) kt_err_set(&a->why, code, "%s", why);
    a->why.code = code;
    kt_native_association_schedule(a);
}

/* ---- the turn ---- */

static void count(struct kt_native_association *a, uint64_t now_us)
{
    const uint64_t lost = kt_native_paths_sums(a).lost;
    struct kt_counters *c = a->c->counters;
    kt_native_association_count_streams(a);
    c->RetransSegs += lost - a->sum.retrans;
    c->LostSegs += lost - a->sum.retrans;
    a->sum.retrans = lost;
    kt_recent_note(&a->recent, &a->sum, now_us);
}

/* True if the peer owes an answer. */
static bool owes(const struct kt_native_association *a)
{
    return kt_native_paths_sums(a).owed > 0;
}

static void check_health(struct kt_native_association *a, uint64_t now_us)
{
    const struct kt_native_sums all = kt_native_paths_sums(a);
    const struct kt_patience_facts facts = {.owes = all.owed > 0,
        .progress = (uint32_t)all.acked,
        .rto_us = kt_native_recovery_pto(&a->best->recovery)};
    const bool before = a->patience.suspect;
    bool ask = false;
    struct kt_err why;
    const int code = kt_patience_check(&a->patience, &facts, now_us, &ask, &why);
    if (code) {
        kt_native_association_fail(a, code, why.text);
        return;
    }
    if (ask) kt_native_paths_ask(a);
    if (a->patience.suspect && now_us - a->asked_us >= ASK_US) {
        a->asked_us = now_us;
        if (a->owner.silent) a->owner.silent(a->owner.ctx);
    }
    if (a->patience.suspect == before) return;
    if (a->patience.suspect) {
        a->c->counters->SessionsSuspect++;
        kt_log_with(a->c->log, KT_LOG_WARN, kt_log_peer(a->peer_text),
            "link with %s: %s; keeping it for another %.0f s", a->peer_text, why.text,
            (double)kt_patience_left(&a->patience, now_us) / 1e6);
    } else {
        kt_log_with(a->c->log, KT_LOG_INFO, kt_log_peer(a->peer_text),
            "link with %s: alive again after %.1f s", a->peer_text,
            (double)(now_us - a->patience.since) / 1e6);
    }
    if (a->owner.suspect) a->owner.suspect(a->owner.ctx, a->patience.suspect ? why.text : NULL);
}

/* Raises `hop` when it is time to, or when far more is lost than before. */
static void check_hop(struct kt_native_association *a, uint64_t now_us)
{
    const uint64_t every = a->c->cfg.hop_us, since = now_us - a->hopped_us;
    const uint64_t carried = a->sum.bytes_in + a->sum.bytes_out;
    if (!a->owner.hop || a->patience.suspect || carried == a->hopped_bytes) return;
    const bool worse = kt_native_path_worse(a->paths[0], now_us) && now_us - a->fled_us >= WORSE_HOP_US;
    if (!(every > 0 && since >= every) && !worse) return;
    a->hopped_us = now_us;
    a->hopped_bytes = carried;
    if (worse) a->fled_us = now_us;
    a->owner.hop(a->owner.ctx);
}

/* When `survive` ends it, whether the peer owes an answer or not. */
static uint64_t survives_until(const struct kt_native_association *a)
{
    return a->patience.heard ? a->patience.heard + a->patience.dead_us : UINT64_MAX;
}

/* Asks the peer if nothing has come for a while although nothing is owed: it may have sent, and a NAT on
 * the way forgotten this end. */
static void check_quiet(struct kt_native_association *a, uint64_t now_us)
{
    if (a->quiet_us > now_us && a->stream_count > 0) return;
    if (a->quiet_us <= now_us && a->stream_count > 0 && !owes(a)) a->best->ping_due = true;
    a->quiet_us = UINT64_MAX;
}

static void arm(struct kt_native_association *a, uint64_t now_us)
{
    const uint64_t dues[] = {
        kt_native_paths_recovery_due(a),
        kt_native_association_output_due(a, now_us),
        kt_patience_due(&a->patience),
        kt_native_paths_keepalive_due(a),
        kt_native_paths_forget_due(a),
        survives_until(a),
        a->quiet_us,
        kt_native_flows_due(a->flows),
        kt_native_streams_due(a->streams),
    };
    uint64_t due = UINT64_MAX;
    for (size_t i = 0; i < sizeof dues / sizeof dues[0]; i++)
        if (dues[i] < due) due = dues[i];
    if (kt_native_streams_waiting(a->streams)) due = now_us;
    kt_io_timer_set(a->c->io, &a->timer, due);
}

static void report_over(struct kt_native_association *a)
{
    struct kt_counters *c = a->c->counters;
    if (a->over == KT_EDEAD)
        c->SessionsDead++;
    else if (a->over == KT_ERESTART)
        c->SessionsRestarted++;
    else if (a->over == KT_EPROTO)
        c->SessionsFailed++;
    if (a->over == KT_EPROTO || a->over == KT_ENOMEM)
        kt_native_association_say_close(a, a->over, a->why.text);
    kt_log_with(a->c->log, a->over == KT_ECLOSED ? KT_LOG_INFO : KT_LOG_WARN, kt_log_peer(a->peer_text),
        "link with %s ended: %s", a->peer_text, a->why.text);
}

static void probes_end(struct kt_native_association *a, int code)
{
    for (struct kt_list *n; (n = kt_list_pop(&a->probes));) {
        struct kt_native_probe *p = KT_CONTAINER(n, struct kt_native_probe, node);
        p->done(p, 0, code);
    }
}

/* Whether the peer holds all that streams sent. */
static bool settled(const struct kt_native_association *a)
{
    struct kt_native_streams_facts facts;
    kt_native_streams_facts(a->streams, &facts);
    /* Other frames in flight do not count: a script may probe more often than once per round trip. */
    return facts.queued == 0 && a->stream_frames == 0 && !kt_native_streams_pending(a->streams);
}

static void tell_carries(struct kt_native_association *a)
{
    const bool carries = a->stream_count > 0 || (a->carrying && !settled(a));
    if (carries == a->carrying) return;
    a->carrying = carries;
    for (unsigned i = 0; !carries && i < a->path_end; i++)
        if (a->paths[i]) kt_native_path_trim(a->paths[i]);
    if (a->owner.carries) a->owner.carries(a->owner.ctx, carries);
}

static void work(struct kt_native_association *a, uint64_t now_us)
{
    kt_native_paths_choose(a);
    kt_native_streams_clock(a->streams, now_us, kt_native_paths_sums(a).srtt_most);
    kt_native_paths_recover(a, now_us);
    if (kt_native_streams_due(a->streams) <= now_us)
        kt_native_streams_timer(a->streams, !a->patience.suspect);
    kt_native_association_accept(a, now_us);
    kt_native_association_clock_flows(a, now_us);
    if (kt_native_flows_due(a->flows) <= now_us) kt_native_flows_timer(a->flows);
    if (kt_native_paths_keepalive_due(a) <= now_us) kt_native_paths_keep_alive(a, now_us);
    kt_native_paths_forget(a, now_us);
    check_quiet(a, now_us);
    check_health(a, now_us);
    if (!a->over && survives_until(a) <= now_us) {
        struct kt_err why;
        kt_err_set(&why, KT_EDEAD, "not heard for %.0f s", (double)(now_us - a->patience.heard) / 1e6);
        kt_native_association_fail(a, KT_EDEAD, why.text);
    }
    if (a->over) return;
    check_hop(a, now_us);
    kt_native_association_output(a, now_us);
    check_health(a, now_us); /* what was sent may have made the peer owe an answer */
    if (!a->over) arm(a, now_us);
    kt_native_context_busy(a->c);
}

static void on_turn(void *ctx)
{
    struct kt_native_association *a = ctx;
    const uint64_t now = kt_io_now(a->c->io);
    a->busy = true;
    if (!a->over) work(a, now);
    count(a, now);
    a->busy = false;
    if (a->up_us && !a->proven_told) {
        a->proven_told = true;
        if (a->owner.proven) a->owner.proven(a->owner.ctx);
    }
    if (!a->over) {
        tell_carries(a);
        return;
    }
    if (a->reported) return;
    a->reported = true;
    kt_io_timer_cancel(a->c->io, &a->timer);
    report_over(a);
    probes_end(a, a->over);
    a->owner.over(a->owner.ctx, a->over);
}

static void on_timer(void *ctx)
{
    ((struct kt_native_association *)ctx)->fresh = true;
    kt_native_association_schedule(ctx);
}

/* ---- life ---- */

int kt_native_association_new(struct kt_native_association **out, struct kt_native_context *context,
    const struct kt_native_beginning *begin, const struct kt_native_association_owner *owner)
{
    struct kt_native_association *a = calloc(1, sizeof *a);
    if (!a) return KT_ENOMEM;
    const struct kt_native_agreed *agreed = begin->agreed;
    const struct kt_native_header_keys *keys = &context->secrets->header_keys;
    const uint64_t now = kt_io_now(context->io);
    a->c = kt_native_context_ref(context);
    a->owner = *owner;
    a->peer = agreed->peer;
    a->first = agreed->max_data;
    memcpy(a->peer_key, agreed->peer_public, sizeof a->peer_key);
    if (begin->identity) snprintf(a->identity, sizeof a->identity, "%s", begin->identity);
    kt_addr_text(&begin->place.peer, a->peer_text);
    kt_list_init(&a->probes);
    kt_recent_start(&a->recent, now);
    a->hopped_us = now;
    kt_turn_init(&a->turn, on_turn, a);
    kt_timer_init(&a->timer, on_timer, a);
    uint64_t survive = agreed->peer.survive_s * 1000000;
    if (survive > context->cfg.survive_us) survive = context->cfg.survive_us;
    a->patience = (struct kt_patience){.suspect_us = context->cfg.suspect_us, .dead_us = survive};
    kt_bucket_set(&a->rate, context->cfg.rate, KT_NATIVE_RATE_BURST, now);
    for (unsigned i = 0; i < KT_NATIVE_PATHS; i++) kt_native_cid(keys, agreed->rx_secret, i, a->cids[i]);
    int rc = kt_native_tx_init(&a->tx, agreed->aead, keys, agreed->tx_secret);
    if (!rc) rc = kt_native_rx_init(&a->rx, agreed->aead, agreed->rx_secret);
    if (!kt_native_path_new(a, 0, &begin->place, begin->rtt_us)) rc = KT_ENOMEM;
    kt_native_paths_choose(a);
    if (!rc) rc = kt_native_association_make_streams(a);
    if (rc) {
        kt_native_association_free(a, rc, NULL);
        return rc;
    }
    struct kt_counters *c = context->counters;
    if (context->client)
        c->ActiveOpens++;
    else
        c->PassiveOpens++;
    if (++c->CurrEstab > c->MaxConn) c->MaxConn = c->CurrEstab;
    kt_native_context_link(context, true);
    a->quiet_us = UINT64_MAX;
    a->best->ping_due = context->client; /* proves that it has the keys, if there is nothing else to say */
    kt_native_association_schedule(a);
    *out = a;
    return 0;
}

void kt_native_association_free(struct kt_native_association *a, int code, const char *text)
{
    if (!a) return;
    assert(!a->busy);
    struct kt_native_context *context = a->c;
    if (a->streams) { /* else making it failed halfway */
        if (!a->over) kt_native_association_output(a, kt_io_now(context->io));
        kt_native_association_say_close(a, code, text);
        count(a, kt_io_now(context->io));
        kt_native_association_totals(a, a->owner.ended);
        context->counters->CurrEstab--;
        kt_native_context_link(context, false);
        kt_native_context_streams(context, a->stream_count, 0);
        kt_native_context_allowed(context, a->allowed, 0);
        kt_native_context_promise_end(context, a->promised);
        probes_end(a, code);
        kt_native_streams_free(a->streams, code);
        kt_io_freed(context->io);
        context->counters->FlowsNow -= a->flow_count;
    }
    kt_native_flows_free(a->flows, code);
    for (unsigned i = 0; i < a->path_end; i++) kt_native_path_free(a->paths[i]);
    kt_io_turn_cancel(&a->turn);
    kt_io_timer_cancel(context->io, &a->timer);
    kt_native_tx_free(&a->tx);
    kt_native_rx_free(&a->rx);
    free(a);
    kt_native_context_unref(context);
}

void kt_native_association_move(
    struct kt_native_association *a, unsigned path, struct kt_udp *udp, const struct kt_addr *peer)
{
    const struct kt_native_place to = {.udp = udp, .peer = *peer, .connected = true};
    struct kt_native_path *p = a->paths[path];
    if (!kt_addr_equal(&p->place.peer, peer)) kt_native_path_move(p, &to);
    if (p->moving.active && p->moving.place.udp == p->place.udp) p->moving.place.udp = udp;
    p->place.udp = udp;
    p->full = false;
    p->ping_due = true;
    p->response.due = false;
    kt_native_association_schedule(a);
}

void kt_native_association_try(
    struct kt_native_association *a, struct kt_udp *udp, const struct kt_addr *peer)
{
    const struct kt_native_place place = {.udp = udp, .peer = *peer, .connected = true};
    struct kt_native_path *p = a->paths[0];
    if (p->response.place.udp != p->place.udp) p->response.due = false;
    kt_native_path_try(p, &place, kt_io_now(a->c->io));
    kt_native_association_schedule(a);
}

int kt_native_association_path(
    struct kt_native_association *a, unsigned path, struct kt_udp *udp, const struct kt_addr *peer)
{
    const struct kt_native_place place = {.udp = udp, .peer = *peer, .connected = true};
    assert(path < KT_NATIVE_PATHS && !a->paths[path]);
    struct kt_native_path *p = kt_native_path_new(a, (uint8_t)path, &place, 0);
    if (!p) return KT_ENOMEM;
    kt_native_path_knock(p, kt_io_now(a->c->io));
    kt_native_association_schedule(a);
    return 0;
}

void kt_native_association_writable(struct kt_native_association *a, const struct kt_udp *udp)
{
    for (unsigned i = 0; i < a->path_end; i++) {
        struct kt_native_path *p = a->paths[i];
        if (!p || !p->full || p->place.udp != udp) continue;
        p->full = false;
        kt_native_association_schedule(a);
    }
}

void kt_native_association_tune(struct kt_native_association *a)
{
    a->patience.suspect_us = a->c->cfg.suspect_us;
    kt_bucket_set(&a->rate, a->c->cfg.rate, KT_NATIVE_RATE_BURST, kt_io_now(a->c->io));
    for (unsigned i = 0; i < a->path_end; i++)
        if (a->paths[i]) kt_native_path_limit(a->paths[i]);
    kt_native_association_schedule(a);
}

/* ---- probes ---- */

void kt_native_association_probe(struct kt_native_association *a, struct kt_native_probe *p)
{
    p->started = kt_io_now(a->c->io);
    p->ping = a->pings + 1;
    a->best->ping_due = true;
    kt_list_push(&a->probes, &p->node);
    kt_native_association_schedule(a);
}

void kt_native_association_probe_cancel(struct kt_native_probe *p)
{
    kt_list_remove(&p->node);
}

void kt_native_association_ask(struct kt_native_association *a)
{
    kt_native_paths_ask(a);
    kt_native_association_schedule(a);
}
