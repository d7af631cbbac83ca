/* The model of a line: loss, delay and the like (line_model.h).
 *
 * Each fault draws from its own random stream. The queue before a line of limited rate is not simulated: the time
 * at which each packet leaves it is known at once, and a ring of those times tells how many packets are in it.
 *
 * Invariant: arrivals are in order, except for packets that were reordered or given extra delay. */
#include "io/sim/line_model.h"

#include <stdlib.h>
#include <string.h>

#define QUEUE_PACKETS 1000u
#define REORDER_US 10000u
#define LONGEST_US (24u * 3600 * UINT64_C(1000000))

/* A packet that has not left the queue yet. */
struct kt_sim_departure {
    uint64_t at_ns;
    uint32_t bytes;
};

/* ---- making ---- */

static int check_chance(double p, const char *name, struct kt_err *err)
{
    if (p >= 0 && p <= 1) return 0; /* false for NaN */
    return kt_err_set(err, KT_EINVAL, "%s: expected 0 to 1, got %g", name, p);
}

int kt_sim_line_check(const struct kt_sim_line_opts *o, struct kt_err *err)
{
    const struct {
        const char *name;
        double p;
    } chances[] = {{"loss", o->loss}, {"burst_enter", o->burst_enter}, {"burst_leave", o->burst_leave},
        {"burst_loss", o->burst_loss}, {"duplicate", o->duplicate}, {"reorder", o->reorder},
        {"corrupt", o->corrupt}};
    for (size_t i = 0; i < sizeof chances / sizeof *chances; i++)
        if (check_chance(chances[i].p, chances[i].name, err) != 0) return KT_EINVAL;
    if (o->burst_enter > 0 && o->burst_leave <= 0)
        return kt_err_set(
            err, KT_EINVAL, "burst_leave is 0, so the first burst would never end; expected more than 0");
    const struct {
        const char *name;
        uint64_t us;
    } times[] = {{"delay", o->delay_us}, {"jitter", o->jitter_us}, {"reorder_us", o->reorder_us},
        {"queue_us", o->queue_us}};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (times[i].us > LONGEST_US)
            return kt_err_set(err, KT_EINVAL, "%s: expected at most a day, got %llu us", times[i].name,
                (unsigned long long)times[i].us);
    if (o->rate_bps && o->rate_bps < 1000)
        return kt_err_set(err, KT_EINVAL, "rate: expected at least 1000 bit/s, or 0 for no limit, got %llu",
            (unsigned long long)o->rate_bps);
    if (o->police_bytes && !o->rate_bps)
        return kt_err_set(err, KT_EINVAL, "police needs a rate; set rate too");
    if (o->mtu && (o->mtu < 68 || o->mtu > 65535))
        return kt_err_set(err, KT_EINVAL, "mtu: expected 68 to 65535, got %u", (unsigned)o->mtu);
    return 0;
}

void kt_sim_model_init(
    struct kt_sim_model *m, const struct kt_sim_line_opts *opts, uint64_t seed, const char *name)
{
    memset(m, 0, sizeof *m);
    m->opts = *opts;
    kt_sim_random_init(&m->loss, seed, name, "loss");
    kt_sim_random_init(&m->burst, seed, name, "burst");
    kt_sim_random_init(&m->jitter, seed, name, "jitter");
    kt_sim_random_init(&m->duplicate, seed, name, "duplicate");
    kt_sim_random_init(&m->reorder, seed, name, "reorder");
    kt_sim_random_init(&m->corrupt, seed, name, "corrupt");
}

void kt_sim_model_free(struct kt_sim_model *m)
{
    free(m->queue);
}

/* ---- the queue ---- */

/* Drops the packets that have left by now from the ring. */
static void queue_expire(struct kt_sim_model *m, uint64_t now_ns)
{
    while (m->queue_n > 0 && m->queue[m->queue_head].at_ns <= now_ns) {
        m->queue_bytes -= m->queue[m->queue_head].bytes;
        m->queue_head = (m->queue_head + 1) & (m->queue_cap - 1);
        m->queue_n--;
    }
}

static bool queue_add(struct kt_sim_model *m, uint64_t at_ns, uint32_t bytes)
{
    if (m->queue_n == m->queue_cap) {
        size_t cap = m->queue_cap ? m->queue_cap * 2 : 64;
        struct kt_sim_departure *more = malloc(cap * sizeof *more);
        if (!more) return false;
        for (size_t i = 0; i < m->queue_n; i++) more[i] = m->queue[(m->queue_head + i) & (m->queue_cap - 1)];
        free(m->queue);
        m->queue = more;
        m->queue_head = 0;
        m->queue_cap = cap;
    }
    m->queue[(m->queue_head + m->queue_n++) & (m->queue_cap - 1)] = (struct kt_sim_departure){at_ns, bytes};
    m->queue_bytes += bytes;
    return true;
}

static void peak(uint64_t *at, uint64_t value)
{
    if (value > *at) *at = value;
}

/* When a packet can begin to leave, after those before it. */
static uint64_t start_ns(const struct kt_sim_model *m, uint64_t now_ns)
{
    return m->busy_until > now_ns ? m->busy_until : now_ns;
}

/* The time that a packet takes at the line's rate. */
static uint64_t takes_ns(const struct kt_sim_model *m, uint32_t bytes)
{
    return (uint64_t)bytes * 8 * 1000000000u / m->opts.rate_bps;
}

/* A token bucket (GCRA): busy_until is when the bucket will be full again. Packets pass at once or never. */
static bool police(struct kt_sim_model *m, uint64_t now, uint32_t bytes, bool always)
{
    const struct kt_sim_line_opts *o = &m->opts;
    const uint64_t now_ns = now * 1000, full = start_ns(m, now_ns) + takes_ns(m, bytes);
    if (!always && (double)(full - now_ns) > (double)o->police_bytes * 8e9 / (double)o->rate_bps)
        return false;
    m->busy_until = full;
    return true;
}

/* When a packet will have left. False if it does not fit (unless `always`), or without memory. */
static bool enqueue(struct kt_sim_model *m, uint64_t now, uint32_t bytes, bool always, uint64_t *leaves)
{
    const struct kt_sim_line_opts *o = &m->opts;
    uint64_t now_ns = now * 1000;
    *leaves = now;
    if (!o->rate_bps) return true;
    queue_expire(m, now_ns);
    uint64_t start = start_ns(m, now_ns), waits_us = (start - now_ns) / 1000;
    bool bounded = o->queue_packets || o->queue_bytes || o->queue_us;
    uint64_t packets = bounded ? o->queue_packets : QUEUE_PACKETS;
    bool full = (packets && m->queue_n >= packets) || (o->queue_us && waits_us > o->queue_us) ||
                (o->queue_bytes && m->queue_n > 0 && m->queue_bytes + bytes > o->queue_bytes);
    if (full && !always) return false;
    uint64_t done = start + takes_ns(m, bytes);
    if (!queue_add(m, done, bytes)) return false;
    m->busy_until = done;
    peak(&m->stats.queue_peak_pkts, m->queue_n);
    peak(&m->stats.queue_peak_bytes, m->queue_bytes);
    peak(&m->stats.queue_peak_us, waits_us);
    *leaves = (done + 999) / 1000;
    return true;
}

/* ---- the way of a packet ---- */

/* Why a packet is lost by chance, or KT_SIM_NOT_LOST. */
static enum kt_sim_cause fate(struct kt_sim_model *m)
{
    const struct kt_sim_line_opts *o = &m->opts;
    if (o->loss > 0 && kt_sim_random_chance(&m->loss, o->loss)) return KT_SIM_LOSS;
    if (o->burst_enter <= 0) return KT_SIM_NOT_LOST;
    if (kt_sim_random_chance(&m->burst, m->bad ? o->burst_leave : o->burst_enter)) m->bad = !m->bad;
    double p = o->burst_loss > 0 ? o->burst_loss : 1.0;
    return m->bad && kt_sim_random_chance(&m->burst, p) ? KT_SIM_BURST : KT_SIM_NOT_LOST;
}

enum kt_sim_cause kt_sim_model_enter(struct kt_sim_model *m, uint64_t now, uint32_t bytes, uint64_t *leaves)
{
    if (bytes > (m->opts.mtu ? m->opts.mtu : KT_SIM_MTU_DEFAULT)) return KT_SIM_MTU;
    if (m->is_cut) return KT_SIM_CUT;
    enum kt_sim_cause cause = fate(m);
    if (cause) return cause;
    if (m->opts.police_bytes) {
        *leaves = now;
        return police(m, now, bytes, false) ? KT_SIM_NOT_LOST : KT_SIM_POLICE;
    }
    return enqueue(m, now, bytes, false, leaves) ? KT_SIM_NOT_LOST : KT_SIM_QUEUE;
}

bool kt_sim_model_enter_always(struct kt_sim_model *m, uint64_t now, uint32_t bytes, uint64_t *leaves)
{
    *leaves = now;
    return m->opts.police_bytes ? police(m, now, bytes, true) : enqueue(m, now, bytes, true, leaves);
}

bool kt_sim_model_duplicates(struct kt_sim_model *m)
{
    return m->opts.duplicate > 0 && kt_sim_random_chance(&m->duplicate, m->opts.duplicate);
}

static uint64_t travel(struct kt_sim_model *m)
{
    uint64_t delay = m->opts.delay_us, jitter = m->opts.jitter_us;
    if (jitter > 0) {
        delay += kt_sim_random_below(&m->jitter, 2 * jitter + 1);
        delay = delay > jitter ? delay - jitter : 0;
    }
    return delay > 0 ? delay : 1;
}

uint64_t kt_sim_model_arrival(struct kt_sim_model *m, uint64_t leaves, uint64_t extra, bool may_reorder)
{
    const struct kt_sim_line_opts *o = &m->opts;
    uint64_t at = leaves + travel(m);
    if (may_reorder && o->reorder > 0 && kt_sim_random_chance(&m->reorder, o->reorder)) {
        extra += o->reorder_us ? o->reorder_us : REORDER_US;
        m->stats.reordered++;
    }
    if (at < m->last_arrival) at = m->last_arrival;
    if (extra == 0) m->last_arrival = at;
    return at + extra;
}

bool kt_sim_model_damage(struct kt_sim_model *m, uint8_t *data, size_t len)
{
    if (m->opts.corrupt <= 0 || !kt_sim_random_chance(&m->corrupt, m->opts.corrupt) || len == 0) return false;
    uint64_t bits = 1 + kt_sim_random_below(&m->corrupt, 3);
    for (uint64_t i = 0; i < bits; i++) {
        uint64_t bit = kt_sim_random_below(&m->corrupt, len * 8);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    m->stats.corrupted++;
    return true;
}

void kt_sim_model_cut(struct kt_sim_model *m)
{
    if (m->is_cut) return;
    m->is_cut = true;
    m->cuts++;
}

void kt_sim_model_mend(struct kt_sim_model *m)
{
    m->is_cut = false;
}
