/* The paths of an association as one: which is the best, what to do when one falls silent, and their sums.
 *
 * Invariant: a path is out of use (silent) only while another is usable, so what waits can always be sent
 * somewhere. */
#include "base/bytes.h"
#include "link/native/association_internal.h"

#define LOST_US 3000000u      /* of silence, until a path may be given another socket, and between two */
#define UNANSWERED_US 250000u /* between two calls of `unanswered` */
#define UNANSWERED_PTOS 3u    /* the first and, twice as long, the second timeout */

/* True if the path's round trip is known. If not, asks for one, because a path must not be preferred by a guess. */
static bool measured(struct kt_native_path *p)
{
    if (p->recovery.rtt.min > 0) return true;
    p->ping_due = p->ping_due || (p->a->path_end > 1 && p->recovery.inflight == 0);
    return false;
}

static bool better(struct kt_native_path *p, const struct kt_native_path *best)
{
    if (!measured(p)) return !best;
    return !best || best->recovery.rtt.min == 0 || kt_native_path_way(p) < kt_native_path_way(best);
}

void kt_native_paths_choose(struct kt_native_association *a)
{
    struct kt_native_path *best = NULL;
    for (unsigned i = 0; i < a->path_end; i++) {
        struct kt_native_path *p = a->paths[i];
        if (p && kt_native_path_usable(p) && better(p, best)) best = p;
    }
    if (best)
        a->best = best;
    else if (!a->best)
        a->best = a->paths[0];
}

/* Call after a probe timeout: if another path is usable, what is in flight moves to that, and this one only
 * gets PINGs until it answers. */
static void lapse(struct kt_native_path *p)
{
    struct kt_native_association *a = p->a;
    bool other = false;
    for (unsigned i = 0; i < a->path_end; i++)
        other = other || (a->paths[i] && a->paths[i] != p && kt_native_path_usable(a->paths[i]));
    if (!other || p->silent) return;
    p->silent = true;
    kt_native_parity_out_reset(&p->parity);
    p->lost_us = kt_io_now(a->c->io);
    p->loss.heard = kt_native_recovery_stats(&p->recovery)->loss;
    p->ping_due = true;
    kt_native_recovery_give_up(&p->recovery);
    kt_native_paths_choose(a);
    kt_log_with(a->c->log, KT_LOG_INFO, kt_log_peer(a->peer_text), "link with %s: path %u is silent",
        a->peer_text, p->number);
}

void kt_native_paths_revive(struct kt_native_path *p)
{
    struct kt_native_association *a = p->a;
    if (!p->silent) return;
    p->silent = false;
    kt_native_recovery_forget_loss(
        &p->recovery, p->loss.heard); /* losses during the silence do not describe the path now */
    kt_log_with(a->c->log, KT_LOG_INFO, kt_log_peer(a->peer_text), "link with %s: path %u is back",
        a->peer_text, p->number);
    kt_native_paths_choose(a);
    for (unsigned i = 0; i < a->path_end; i++)
        if (a->paths[i] && a->paths[i] != p && kt_native_recovery_silent(&a->paths[i]->recovery))
            lapse(a->paths[i]);
}

/* When the present silence will have lasted long enough to call `unanswered` for the first time. The calls after that
 * come when something else is due. */
static uint64_t unanswered_due(const struct kt_native_path *p)
{
    if (!p->a->owner.unanswered || p->silent || p->recovery.inflight == 0) return UINT64_MAX;
    const uint64_t now_us = kt_io_now(p->a->c->io);
    const uint64_t since = now_us - kt_native_recovery_silence(&p->recovery, now_us);
    if (p->unanswered_us >= since) return UINT64_MAX;
    const uint64_t long_enough = since + UNANSWERED_PTOS * (uint64_t)kt_native_recovery_pto(&p->recovery);
    const uint64_t again = p->unanswered_us + UNANSWERED_US;
    return long_enough > again ? long_enough : again;
}

uint64_t kt_native_paths_recovery_due(const struct kt_native_association *a)
{
    uint64_t due = UINT64_MAX;
    for (unsigned i = 0; i < a->path_end; i++) {
        if (!a->paths[i]) continue;
        due = kt_min64(due, kt_native_recovery_due(&a->paths[i]->recovery));
        due = kt_min64(due, unanswered_due(a->paths[i]));
    }
    return due;
}

static void recover(struct kt_native_path *p, uint64_t now_us)
{
    if (kt_native_recovery_due(&p->recovery) > now_us || !kt_native_recovery_timer(&p->recovery, now_us))
        return;
    if (p->recovery.backoff == 1) kt_native_path_asked(p, now_us); /* the silence begins */
    lapse(p);
    if (!p->silent || now_us - p->lost_us < LOST_US || !p->a->owner.lost) return;
    p->lost_us = now_us;
    p->a->owner.lost(p->a->owner.ctx, p->number);
}

/* A single probe timeout may mean a lost packet; as long a silence as two in a row rather means that this host has
 * another address. The timeouts themselves do not show it, because each packet sent puts them off. */
static bool unanswered(const struct kt_native_path *p, uint64_t now_us)
{
    if (p->silent) return kt_native_recovery_silent(&p->recovery);
    return kt_native_recovery_silence(&p->recovery, now_us) >=
           UNANSWERED_PTOS * (uint64_t)kt_native_recovery_pto(&p->recovery);
}

static void check_unanswered(struct kt_native_path *p, uint64_t now_us)
{
    const struct kt_native_association_owner *owner = &p->a->owner;
    if (!owner->unanswered || now_us - p->unanswered_us < UNANSWERED_US || !unanswered(p, now_us)) return;
    p->unanswered_us = now_us;
    owner->unanswered(owner->ctx, p->number);
}

void kt_native_paths_recover(struct kt_native_association *a, uint64_t now_us)
{
    for (unsigned i = 0; i < a->path_end; i++) {
        if (!a->paths[i]) continue;
        recover(a->paths[i], now_us);
        check_unanswered(a->paths[i], now_us);
    }
}

struct kt_native_sums kt_native_paths_sums(const struct kt_native_association *a)
{
    struct kt_native_sums out = {0};
    for (unsigned i = 0; i < a->path_end; i++) {
        const struct kt_native_path *p = a->paths[i];
        if (!p) continue;
        const struct kt_native_recovery_stats *st = kt_native_recovery_stats(&p->recovery);
        out.acked += st->acked;
        out.lost += st->lost;
        out.spurious += st->spurious;
        out.inflight += p->recovery.inflight;
        if (p != a->best && !kt_native_path_usable(p)) continue;
        out.owed += p->recovery.inflight;
        out.usable += kt_native_path_usable(p);
        if (p->recovery.rtt.srtt > out.srtt_most) out.srtt_most = p->recovery.rtt.srtt;
    }
    return out;
}

void kt_native_paths_allowed(const struct kt_native_association *a, uint64_t *window, uint64_t *pacing)
{
    *window = *pacing = 0;
    for (unsigned i = 0; i < a->path_end; i++) {
        const struct kt_native_path *p = a->paths[i];
        if (!p || (p != a->best && !kt_native_path_usable(p))) continue;
        const uint32_t packets = kt_cc_window(&p->cc);
        *window += packets == KT_CC_NO_WINDOW ? 0 : packets;
        *pacing += p->cc.pacer.rate;
    }
}

void kt_native_paths_ask(struct kt_native_association *a)
{
    for (unsigned i = 0; i < a->path_end; i++)
        if (a->paths[i] && a->paths[i]->validated) a->paths[i]->ping_due = true;
}

/* Pause between keepalives; 0: none. Three of them fit into the time that the association survives without hearing the
 * peer, or an idle one would end. */
static uint64_t keepalive(const struct kt_native_association *a)
{
    return kt_min64(a->c->cfg.keepalive_us, a->patience.dead_us / 3);
}

uint64_t kt_native_paths_keepalive_due(const struct kt_native_association *a)
{
    const uint64_t every = keepalive(a);
    uint64_t due = UINT64_MAX;
    for (unsigned i = 0; every > 0 && i < a->path_end; i++) {
        const struct kt_native_path *p = a->paths[i];
        if (p && p->validated && !p->ping_due && p->sent_us + every < due) due = p->sent_us + every;
    }
    return due;
}

void kt_native_paths_keep_alive(struct kt_native_association *a, uint64_t now_us)
{
    const uint64_t every = keepalive(a);
    for (unsigned i = 0; i < a->path_end; i++) {
        struct kt_native_path *p = a->paths[i];
        if (!p || !p->validated || p->sent_us + every > now_us) continue;
        p->ping_due = true;
        kt_native_path_trim(p);
    }
}

uint64_t kt_native_paths_forget_due(const struct kt_native_association *a)
{
    uint64_t due = UINT64_MAX;
    for (unsigned i = 0; i < a->path_end; i++)
        if (a->paths[i]) due = kt_min64(due, kt_native_parity_in_due(&a->paths[i]->rebuild));
    return due;
}

void kt_native_paths_forget(struct kt_native_association *a, uint64_t now_us)
{
    for (unsigned i = 0; i < a->path_end; i++)
        if (a->paths[i] && kt_native_parity_in_due(&a->paths[i]->rebuild) <= now_us)
            kt_native_path_forget(a->paths[i]);
}
