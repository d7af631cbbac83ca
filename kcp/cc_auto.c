/* The controller `auto`: a model of the path, after BBR v3 (draft-ietf-ccwg-bbr-06), that tells random loss
 * from congestion.
 *
 * The model is the highest delivery rate of the last two probing cycles (bw), the shortest round trip of the
 * last 10 s (min_rtt), by how much round trips vary without a queue of ours (spread, jitter), the share of
 * packets that the path loses at random (loss), and how far acknowledgements are bunched (extra). It is
 * updated once per datagram, and once per round trip (round).
 *
 *   STARTUP   doubles the rate each round, until a queue shows, no more is delivered, or losses follow its bursts
 *   DRAIN     empties the queue that this has made
 *   DOWN      sends a little less than is delivered, for two rounds: the queue drains, loss is measured
 *   CRUISE    sends at bw
 *   UP        sends faster for a while, and again faster while that delivers more
 *   RTT       when min_rtt has expired: half of what the path holds, for a round
 *
 * Loss. In DOWN and DRAIN the rate is below what was delivered and does not make up for loss, so no queue of
 * ours overflows: what is lost then is lost at random. CRUISE and UP send bw / (1 - loss), so that bw arrives.
 * Loss that occurs only at higher rates is congestion. It is not made up for, and needs no further answer, because
 * bw counts only what arrives.
 *
 * Queue. The shortest round trip of a round, less min_rtt, is the standing queue: jitter and bunched
 * acknowledgements do not affect the shortest one. While the queue is above a few ms, bw is what was delivered
 * in that round, and the rate is lower still, in proportion to the queue. A queue that this does not shorten
 * belongs to other flows. Then the rate is bw, as in BBR, so that they do not starve this flow, and its own
 * part of the queue is at most half of what the path holds, so that it does not starve them.
 *
 * Invariant: in flight are at most twice what the path holds during its usual longest round trip, plus what
 * bunched acknowledgements hold back, and never more than the owner's limits. */
#include "base/bytes.h"
#include "kcp/cc.h"

#define ONE 1024u /* gains and shares are in 1/1024 */
#define PERCENT(n) ((n)*ONE / 100)

#define FIRST_PACKETS 32u
#define LEAST_PACKETS 4u
#define FIRST_US 25000u /* first window with a stated rate: at least what it carries in this time */
#define STARTUP_GAIN PERCENT(277)
#define DRAIN_GAIN PERCENT(50)
#define DOWN_GAIN PERCENT(90)
#define UP_GAIN PERCENT(125)
#define UP_GAIN_MAX PERCENT(200)
#define GROWTH PERCENT(125) /* a STARTUP round that grows less has found no more */
#define FLAT_ROUNDS 3u      /* this many rounds without growth end STARTUP */
#define CRUISE_ROUNDS 6u
#define MIN_RTT_US 10000000u /* a min_rtt holds for this long */
#define PROBE_LEAST_US 1000u
#define LOSS_MAX PERCENT(40)
#define LATE 8u         /* this many late round trips in a row show a queue in STARTUP */
#define STUCK_ROUNDS 2u /* a queue that this many rounds do not shorten is not ours */
#define EXTRA_ROUNDS 5u
#define BUNCH_US 10000000u
#define RTT_LEAST_US 5000u   /* machines take this long to react */
#define RTT_MAX_US 60000000u /* longer ones say nothing about the path */

enum phase { STARTUP, DRAIN, DOWN, CRUISE, UP, RTT };

static uint64_t max64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t clamp(uint64_t n, uint64_t low, uint64_t high)
{
    return n < low ? low : kt_min64(n, high);
}

/* ---- the model ---- */

static uint64_t bandwidth(const struct kt_cc_auto *a)
{
    return max64(a->bw[0], a->bw[1]);
}

/* The number to send for n to arrive. */
static uint64_t before_loss(const struct kt_cc_auto *a, uint64_t n)
{
    return n * ONE / (ONE - a->loss);
}

/* Bytes that the path holds at this rate. */
static uint64_t product(const struct kt_cc_auto *a, uint64_t rate)
{
    return rate * max64(a->min_rtt_us, RTT_LEAST_US) / 1000000;
}

/* A standing queue longer than this is shortened. */
static uint32_t queue_limit(const struct kt_cc_auto *a)
{
    return (uint32_t)clamp(a->min_rtt_us / 20, 3000, 10000) + a->jitter_us / 2;
}

/* Delay that UP may add to the queue, in µs: enough to measure, less than overflowed it before. */
static uint32_t probe_us(const struct kt_cc_auto *a)
{
    const uint64_t most = max64(max64(a->min_rtt_us / 10, 5000), 2 * (uint64_t)a->jitter_us);
    return (uint32_t)kt_min64(most, a->probe_cap_us > 0 ? a->probe_cap_us : UINT32_MAX);
}

/* One first window per round trip, while only small exchanges have been measured: those show what was sent,
 * not what the path carries. */
static uint64_t first_rate(const struct kt_cc *cc)
{
    const struct kt_cc_auto *a = &cc->auto_;
    if (a->phase != STARTUP || a->full_bw > 0 || a->min_rtt_us == 0) return 0;
    return FIRST_PACKETS * (uint64_t)cc->limits.packet * 1000000 / max64(a->min_rtt_us, RTT_LEAST_US);
}

static void set_rate(struct kt_cc *cc)
{
    struct kt_cc_auto *a = &cc->auto_;
    const uint64_t bw = bandwidth(a), whole = before_loss(a, bw);
    uint64_t rate = whole * a->gain / ONE;
    if (a->phase == DRAIN || a->phase == DOWN || a->phase == STARTUP) rate = bw * a->gain / ONE;
    a->rate = bw > 0 ? max64(rate, max64(cc->limits.packet, first_rate(cc))) : 0;
    if (cc->limits.rate > 0 && (a->rate == 0 || a->rate > cc->limits.rate)) a->rate = cc->limits.rate;

    uint64_t held = product(a, cc->limits.rate > 0 ? kt_min64(whole, cc->limits.rate) : whole);
    if (a->min_rtt_us > 0) held += held * a->spread_us / a->min_rtt_us;
    const uint64_t bunched = max64(a->extra[0], a->extra[1]);
    uint64_t most =
        a->foreign ? held + held / 2 + bunched / 2 : 2 * held + bunched; /* leave others their share */
    if (a->phase == RTT) most = held / 2;
    if (a->phase == STARTUP)
        most = max64(
            most, max64(FIRST_PACKETS * (uint64_t)cc->limits.packet, cc->limits.rate / (1000000 / FIRST_US)));
    most = max64(most, LEAST_PACKETS * (uint64_t)cc->limits.packet);
    a->inflight = cc->limits.window > 0 ? kt_min64(most, cc->limits.window) : most;
}

static void note_rtt(struct kt_cc_auto *a, uint32_t rtt_us, uint64_t now_us)
{
    if (rtt_us == 0 || rtt_us > RTT_MAX_US) return;
    if (a->round_rtt_us == 0 || rtt_us < a->round_rtt_us) a->round_rtt_us = rtt_us;
    if (rtt_us > a->round_max_us) a->round_max_us = rtt_us;
    a->rtt_sum_us += rtt_us;
    a->rtt_count++;
    /* One that is hardly longer shows that min_rtt still holds. */
    if (a->min_rtt_us == 0 || rtt_us <= a->min_rtt_us + a->min_rtt_us / 64 + 500) a->min_rtt_at = now_us;
    if (a->min_rtt_us == 0 || rtt_us < a->min_rtt_us) a->min_rtt_us = rtt_us;
}

/* Bytes acknowledged beyond bw since acknowledgements last lagged behind it. */
static void note_bunch(struct kt_cc_auto *a, uint64_t acked, uint64_t now_us)
{
    const uint64_t expected = bandwidth(a) * kt_min64(now_us - a->bunch_us, BUNCH_US) / 1000000;
    if (a->bunch_us == 0 || a->bunch <= expected || now_us - a->bunch_us > BUNCH_US) {
        a->bunch = acked;
        a->bunch_us = now_us;
        return;
    }
    a->bunch += acked;
    const uint64_t extra = kt_min64(a->bunch > expected ? a->bunch - expected : 0, a->inflight);
    if (extra > a->extra[0]) a->extra[0] = extra;
}

/* Whether a packet was sent in the present or last span of low rate. */
static bool sent_low(const struct kt_cc_auto *a, const struct kt_rate_snapshot *s)
{
    const uint32_t from = (uint32_t)a->low_from, to = (uint32_t)a->low_to;
    return a->low && s->delivered - from < (a->low_open ? UINT32_MAX / 2 : to - from);
}

/* Whether a packet was sent since UP began. */
static bool sent_up(const struct kt_cc_auto *a, const struct kt_rate_snapshot *s)
{
    return s->delivered - (uint32_t)a->up_from < UINT32_MAX / 2;
}

static void add(struct kt_cc_auto_loss *l, uint32_t lost, uint32_t all)
{
    l->lost += lost;
    l->all += all;
}

static void fade(struct kt_cc_auto_loss *l, unsigned shift)
{
    l->lost -= l->lost >> shift;
    l->all -= l->all >> shift;
}

static uint64_t share(const struct kt_cc_auto_loss *l)
{
    return l->all > 0 ? l->lost * ONE / l->all : 0;
}

/* The share lost at any rate, but at most the share lost at a low rate, which is measured less often. */
static void set_loss(struct kt_cc_auto *a)
{
    const uint64_t low = share(&a->low_loss);
    a->loss = (uint32_t)kt_min64(kt_min64(share(&a->any_loss), low + low / 4), LOSS_MAX);
}

/* ---- phases ---- */

static void begin_low(struct kt_cc *cc)
{
    struct kt_cc_auto *a = &cc->auto_;
    a->low = a->low_open = true;
    a->low_from = cc->rate.delivered;
    fade(&a->low_loss, 2);
}

static void end_low(struct kt_cc *cc)
{
    struct kt_cc_auto *a = &cc->auto_;
    if (a->low_open) a->low_to = cc->rate.delivered;
    a->low_open = false;
}

static void enter(struct kt_cc *cc, enum phase phase, uint32_t gain, uint64_t now_us)
{
    struct kt_cc_auto *a = &cc->auto_;
    if (phase == DOWN || phase == DRAIN)
        begin_low(cc);
    else
        end_low(cc);
    if (phase == DOWN && a->phase == UP &&
        a->bw[0] > 0) { /* a new cycle; if it was idle, the old one stays */
        a->bw[1] = a->bw[0];
        a->bw[0] = 0;
    }
    a->phase = (uint8_t)phase;
    a->gain = gain;
    a->last_gain = ONE;
    a->phase_us = now_us;
    a->phase_rounds = 0;
}

static void begin_up(struct kt_cc *cc, uint32_t gain, uint64_t now_us)
{
    struct kt_cc_auto *a = &cc->auto_;
    enter(cc, UP, gain, now_us);
    a->up_gain = gain;
    a->up_bw = bandwidth(a);
    a->up_from = cc->rate.delivered;
    a->up_us = a->min_rtt_us;
    if (gain == UP_GAIN) a->up_us = kt_min64(a->up_us, probe_us(a) * (uint64_t)ONE / (gain - ONE));
    a->until = UINT64_MAX;
    a->up_loss = (struct kt_cc_auto_loss){0};
}

static void end_up(struct kt_cc *cc, uint64_t now_us)
{
    struct kt_cc_auto *a = &cc->auto_;
    const uint64_t expected =
        a->up_bw * (a->up_gain - ONE) / ONE * a->up_us / max64(a->mean_us, a->min_rtt_us);
    const uint64_t enough = a->up_gain > UP_GAIN ? expected / 4 : expected / 2;
    /* A queue that overflows is shorter than the probe. */
    if (share(&a->up_loss) > a->loss + a->loss / 2 + ONE / 64)
        a->probe_cap_us = (uint32_t)max64(probe_us(a) / 2, PROBE_LEAST_US);
    else
        a->probe_cap_us += a->probe_cap_us / 32;
    if (bandwidth(a) > a->up_bw + enough)
        begin_up(cc, (uint32_t)kt_min64(a->up_gain + PERCENT(25), UP_GAIN_MAX), now_us);
    else
        enter(cc, DOWN, DOWN_GAIN, now_us);
}

/* Reactions that cannot wait for the end of a round. */
static void watch_phase(struct kt_cc *cc, const struct kt_rate_sample *sample, uint64_t now_us)
{
    struct kt_cc_auto *a = &cc->auto_;
    if (a->phase == DRAIN && cc->rate.inflight <= product(a, bandwidth(a))) {
        enter(cc, DOWN, DOWN_GAIN, now_us);
    } else if (a->phase == UP && a->until == UINT64_MAX) {
        if (now_us - a->phase_us < a->up_us) return;
        a->gain = ONE;
        a->until = cc->rate.delivered;
    } else if (a->phase == UP && sample && sample->prior_delivered >= a->until) {
        end_up(cc, now_us);
    } else if (a->phase == RTT && a->until == UINT64_MAX) {
        if (cc->rate.inflight <= a->inflight) a->until = cc->rate.delivered;
    } else if (a->phase == RTT && sample && sample->prior_delivered >= a->until) {
        a->min_rtt_us = a->round_rtt_us ? a->round_rtt_us : a->min_rtt_us;
        a->min_rtt_at = now_us;
        enter(cc, CRUISE, ONE, now_us);
    }
}

static uint64_t startup_limit(const struct kt_cc_auto *a)
{
    return max64(a->min_rtt_us / 8, 5000) + a->spread_us;
}

/* A queue means that bw is nearly found: the rest is measured at that rate. */
static void watch_startup(struct kt_cc *cc, uint32_t rtt_us)
{
    struct kt_cc_auto *a = &cc->auto_;
    if (rtt_us == 0) return;
    if (rtt_us <= a->min_rtt_us + startup_limit(a))
        a->late = 0;
    else if (++a->late == LATE && a->gain > ONE && a->full_bw > 0) {
        a->gain = ONE;
        a->alarmed = true;
        a->until = cc->rate.delivered + cc->rate.inflight;
    }
}

/* If a queue ended STARTUP that a lower rate has not drained, it was no queue: STARTUP continues, and takes the
 * round trips measured here as the path's own. */
static void end_down(struct kt_cc *cc, uint32_t queue_us, uint64_t now_us)
{
    struct kt_cc_auto *a = &cc->auto_;
    if (a->alarmed && queue_us > startup_limit(a)) {
        a->alarmed = false;
        a->spread_us = (uint32_t)kt_min64(queue_us + queue_us / 2, 2 * (uint64_t)a->min_rtt_us);
        a->flat = a->late = 0;
        enter(cc, STARTUP, STARTUP_GAIN, now_us);
        return;
    }
    if (a->alarmed)
        begin_up(cc, UP_GAIN, now_us); /* STARTUP may have ended too early */
    else
        enter(cc, CRUISE, ONE, now_us);
    a->alarmed = false;
    const uint32_t spread = (uint32_t)kt_min64(a->round_max_us - a->round_rtt_us, a->min_rtt_us);
    a->spread_us = (3 * a->spread_us + spread) / 4;
}

static void startup_round(struct kt_cc *cc, uint64_t lost, uint64_t now_us)
{
    struct kt_cc_auto *a = &cc->auto_;
    if (a->gain == ONE) {
        if (cc->rate.delivered >= a->until) enter(cc, DRAIN, DRAIN_GAIN, now_us);
        return;
    }
    if (a->round_bw == 0) return; /* app-limited */
    if (a->round_bw >= a->full_bw * GROWTH / ONE) {
        a->full_bw = a->round_bw;
        a->flat = 0;
        return;
    }
    a->flat++;
    const uint32_t enough = lost > PERCENT(25) ? 1 : lost > PERCENT(3) ? 2 : FLAT_ROUNDS;
    if (a->flat >= enough) enter(cc, DRAIN, DRAIN_GAIN, now_us);
}

/* For a queue that the last round's rate should have shortened, but did not: either less arrives than
 * assumed, which corrects bw, or the queue belongs to others. */
static void note_stuck(struct kt_cc_auto *a, uint32_t queue_us)
{
    const uint64_t round_us = (uint64_t)a->min_rtt_us + queue_us,
                   expected = round_us * (ONE - a->last_gain) / ONE;
    if (a->last_gain < ONE && queue_us + expected / 4 <= a->queue_us) {
        a->stuck = 0;
    } else if (a->round_bw > 0 && a->round_bw < kt_min64(bandwidth(a), a->rate)) {
        a->bw[0] = a->round_bw;
        a->bw[1] = 0;
    } else if (a->last_gain < ONE) {
        a->foreign = ++a->stuck >= STUCK_ROUNDS;
    }
}

/* The gain that shortens a queue of ours. */
static void cruise_round(struct kt_cc *cc, uint32_t queue_us, uint64_t now_us)
{
    struct kt_cc_auto *a = &cc->auto_;
    const uint32_t limit = queue_limit(a), gain = a->gain;
    const bool was_foreign = a->foreign;
    if (queue_us <= limit) {
        a->foreign = false;
        a->stuck = 0;
        a->gain = ONE;
    } else if (!a->foreign) {
        note_stuck(a, queue_us);
        const uint64_t less = (uint64_t)(queue_us - limit / 2) * ONE / 2 / max64(a->min_rtt_us, 20000);
        a->gain = less < ONE / 2 ? ONE - (uint32_t)less : ONE / 2;
    }
    if (a->foreign) a->gain = ONE;
    a->queue_us = queue_us;
    a->last_gain = gain;
    if (now_us - a->min_rtt_at > MIN_RTT_US) {
        enter(cc, RTT, ONE, now_us);
        a->round_rtt_us = 0;
        a->until = UINT64_MAX;
    } else if ((a->phase_rounds >= CRUISE_ROUNDS && a->gain == ONE) || a->foreign > was_foreign) {
        begin_up(cc, UP_GAIN, now_us);
    }
}

static void end_round(struct kt_cc *cc, uint64_t now_us)
{
    struct kt_cc_auto *a = &cc->auto_;
    const uint32_t queue_us = a->round_rtt_us > a->min_rtt_us ? a->round_rtt_us - a->min_rtt_us : 0;
    const uint64_t lost = cc->rate.lost - a->round_lost, got = cc->rate.delivered - a->round_delivered;
    a->phase_rounds++;
    if (a->rtt_count > 0) {
        const uint64_t mean = a->rtt_sum_us / a->rtt_count;
        a->mean_us = (uint32_t)mean;
        if (a->phase == STARTUP && a->gain > ONE && a->late < LATE)
            a->spread_us =
                (uint32_t)kt_min64(max64(a->spread_us, mean - a->min_rtt_us), 2 * (uint64_t)a->min_rtt_us);
        else if (queue_us <= queue_limit(a))
            a->jitter_us = (uint32_t)((7 * (uint64_t)a->jitter_us + mean - a->round_rtt_us) / 8);
    }
    if (++a->extra_rounds >= EXTRA_ROUNDS) {
        a->extra_rounds = 0;
        a->extra[1] = a->extra[0];
        a->extra[0] = 0;
    }
    if (a->phase != STARTUP) fade(&a->any_loss, 4);
    set_loss(a);
    if (a->phase == STARTUP)
        startup_round(cc, lost * ONE / max64(lost + got, 1), now_us);
    else if (a->phase == DRAIN && a->phase_rounds >= 3)
        enter(cc, DOWN, DOWN_GAIN, now_us);
    else if (a->phase == DOWN && a->phase_rounds >= 2)
        end_down(cc, queue_us, now_us);
    else if (a->phase == CRUISE)
        cruise_round(cc, queue_us, now_us);
    if (a->phase != RTT) a->round_rtt_us = 0;
    a->rtt_sum_us = a->rtt_count = a->round_max_us = 0;
    a->round_bw = 0;
    a->round_lost = cc->rate.lost;
    a->round_delivered = cc->rate.delivered;
}

/* ---- what senders report ---- */

static void start(struct kt_cc *cc)
{
    cc->auto_ = (struct kt_cc_auto){.phase = STARTUP, .gain = STARTUP_GAIN};
    set_rate(cc);
}

static void on_ack(struct kt_cc *cc, const struct kt_cc_ack *ack)
{
    struct kt_cc_auto *a = &cc->auto_;
    if (a->phase == UP && ack->snapshot && sent_up(a, ack->snapshot)) add(&a->up_loss, 0, ack->bytes);
    if (a->phase != UP && a->phase != STARTUP) add(&a->any_loss, 0, ack->bytes);
    if (ack->snapshot && sent_low(a, ack->snapshot)) add(&a->low_loss, 0, ack->bytes);
}

static void on_packet_lost(struct kt_cc *cc, const struct kt_cc_packet_lost *lost)
{
    struct kt_cc_auto *a = &cc->auto_;
    if (a->phase == UP && lost->snapshot && sent_up(a, lost->snapshot))
        add(&a->up_loss, lost->bytes, lost->bytes);
    if (a->phase != UP && a->phase != STARTUP) add(&a->any_loss, lost->bytes, lost->bytes);
    if (lost->snapshot && sent_low(a, lost->snapshot)) add(&a->low_loss, lost->bytes, lost->bytes);
}

static void on_progress(struct kt_cc *cc, const struct kt_cc_progress *progress)
{
    struct kt_cc_auto *a = &cc->auto_;
    const struct kt_rate_sample *sample = progress->sample;
    const uint64_t now_us = progress->now_us;
    note_rtt(a, progress->rtt_us, now_us);
    if (a->phase == STARTUP) watch_startup(cc, progress->rtt_us);
    note_bunch(a, cc->rate.delivered - a->delivered, now_us);
    a->delivered = cc->rate.delivered;
    if (sample) {
        const uint64_t rate = kt_min64(kt_rate_per_second(sample), KT_PACER_RATE_MAX);
        if (sample->prior_delivered >= a->round_end) {
            end_round(cc, now_us);
            a->round_end = cc->rate.delivered;
        }
        if (!sample->app_limited) a->round_bw = max64(a->round_bw, rate);
        if (!sample->app_limited || rate > bandwidth(a)) a->bw[0] = max64(a->bw[0], rate);
    }
    if (a->min_rtt_us > 0) watch_phase(cc, sample, now_us);
    set_rate(cc);
}

static uint64_t inflight(const struct kt_cc *cc)
{
    return cc->auto_.inflight;
}

static uint64_t rate(const struct kt_cc *cc)
{
    return cc->auto_.rate;
}

static uint32_t loss(const struct kt_cc *cc)
{
    return cc->auto_.loss;
}

static bool starting(const struct kt_cc *cc)
{
    return cc->auto_.phase == STARTUP;
}

const struct kt_cc_ops kt_cc_auto = {
    .samples = true,
    .start = start,
    .on_ack = on_ack,
    .on_packet_lost = on_packet_lost,
    .on_progress = on_progress,
    .on_limits = set_rate,
    .inflight = inflight,
    .rate = rate,
    .starting = starting,
    .loss = loss,
};
