/* Packets in flight, and what ACKs and time say about them. See recovery.h.
 *
 * A packet is in flight, settled (acknowledged, or without a fate), or lost. Those in flight are linked in
 * the order of sending. A settled one points at or below the next packet that is not settled, and these
 * pointers are shortened when they are followed (as in union-find): an ACK that repeats ranges does not
 * walk them again. A lost one is kept for a few round trips, in case it is acknowledged after all. Links
 * are distances in packet numbers, so they survive a move to a larger ring. */
#include "link/native/recovery.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define OVERTAKEN 3u /* packets: enough to call one lost, on a path that does not reorder (RFC 9002, 6.1.1) */
#define LATE_ROUNDS 16u /* how long reordering is remembered, in round trips */
#define PROBES 2u       /* packets sent at a probe timeout, until a few timeouts have passed in a row */
#define PROBES_UNTIL 2u
#define PROBE_SLOW_US 1000000u /* the longest backoff */
#define SILENCE 3u             /* probe timeouts without an answer that make a loss a timeout */
#define KEEP_ROUNDS 3u         /* how long a lost packet is remembered */
#define LOSS_WEIGHT 128u       /* packets that the loss rate is averaged over */
#define MILLION 1000000u

enum state { SETTLED, INFLIGHT, LOST };

struct kt_native_packet {
    uint64_t sent_us;
    struct kt_rate_snapshot snapshot;
    uint32_t contents; /* index of the first */
    uint16_t bytes;
    uint8_t state;
    uint8_t count : 6; /* of contents without a fate */
    uint8_t mtu_probe : 1;
    uint32_t before; /* in flight: distance to the one sent before; 0: none */
    uint32_t after;  /* in flight: likewise after. Settled: to one that may not be settled, at least 1 */
};

static struct kt_native_packet *packet(const struct kt_native_recovery *r, uint64_t number)
{
    return &r->packets[number & (r->capacity - 1)];
}

static struct kt_native_content *content(const struct kt_native_recovery *r, uint32_t index)
{
    return &r->contents[index & (r->contents_capacity - 1)];
}

/* ---- memory ---- */

void kt_native_recovery_init(struct kt_native_recovery *r, const struct kt_native_recovery_config *cfg)
{
    assert(cfg->most >= KT_NATIVE_RECOVERY_FIRST && (cfg->most & (cfg->most - 1)) == 0);
    *r = (struct kt_native_recovery){.cfg = *cfg, .loss_us = UINT64_MAX, .late = -1, .late_before = -1};
    kt_native_rtt_init(&r->rtt, cfg->first_rtt_us);
}

static void release(struct kt_native_recovery *r)
{
    free(r->packets);
    free(r->contents);
    r->packets = NULL;
    r->contents = NULL;
    r->capacity = r->contents_capacity = 0;
    r->base = r->next;
}

static void leave(struct kt_native_recovery *r)
{
    uint64_t bytes = 0;
    uint64_t number = r->oldest;
    for (uint32_t i = 0; i < r->inflight; i++) {
        const struct kt_native_packet *p = packet(r, number);
        bytes += p->bytes;
        number += p->after;
    }
    kt_cc_leave(r->cfg.cc, r->inflight, bytes);
}

void kt_native_recovery_free(struct kt_native_recovery *r)
{
    leave(r);
    r->inflight = 0;
    release(r);
}

void kt_native_recovery_trim(struct kt_native_recovery *r)
{
    if (r->inflight == 0) release(r);
}

size_t kt_native_recovery_bytes(const struct kt_native_recovery *r)
{
    return r->capacity * sizeof *r->packets + r->contents_capacity * sizeof *r->contents;
}

static bool grow_packets(struct kt_native_recovery *r)
{
    const uint32_t capacity = r->capacity > 0 ? 2 * r->capacity : KT_NATIVE_RECOVERY_FIRST;
    struct kt_native_packet *packets = malloc(capacity * sizeof *packets);
    if (!packets) return false;
    for (uint64_t n = r->base; n < r->next; n++) packets[n & (capacity - 1)] = *packet(r, n);
    free(r->packets);
    r->packets = packets;
    r->capacity = capacity;
    return true;
}

static uint32_t contents_used(const struct kt_native_recovery *r)
{
    return r->inflight > 0 ? r->contents_next - packet(r, r->oldest)->contents : 0;
}

static bool grow_contents(struct kt_native_recovery *r)
{
    const uint32_t capacity =
        r->contents_capacity > 0 ? 2 * r->contents_capacity : 2 * KT_NATIVE_RECOVERY_FIRST;
    struct kt_native_content *contents = malloc(capacity * sizeof *contents);
    if (!contents) return false;
    for (uint32_t n = contents_used(r); n > 0; n--) {
        const uint32_t index = r->contents_next - n;
        contents[index & (capacity - 1)] = *content(r, index);
    }
    free(r->contents);
    r->contents = contents;
    r->contents_capacity = capacity;
    return true;
}

/* ---- the list of packets in flight ---- */

static void enlist(struct kt_native_recovery *r, uint64_t number, struct kt_native_packet *p)
{
    p->before = p->after = 0;
    if (r->inflight++ == 0) {
        r->oldest = number;
    } else {
        p->before = (uint32_t)(number - r->newest);
        packet(r, r->newest)->after = p->before;
    }
    r->newest = number;
}

static void delist(struct kt_native_recovery *r, uint64_t number, struct kt_native_packet *p)
{
    r->inflight--;
    if (p->before > 0)
        packet(r, number - p->before)->after = p->after > 0 ? p->before + p->after : 0;
    else
        r->oldest = number + p->after;
    if (p->after > 0)
        packet(r, number + p->after)->before = p->before > 0 ? p->before + p->after : 0;
    else
        r->newest = number - p->before;
}

static void settle(struct kt_native_packet *p)
{
    p->state = SETTLED;
    p->after = 1;
}

/* The first packet from this number on that is not settled; at most next. */
static uint64_t unsettled(struct kt_native_recovery *r, uint64_t number)
{
    while (number < r->next) {
        struct kt_native_packet *p = packet(r, number);
        if (p->state != SETTLED) break;
        const uint64_t then = number + p->after;
        if (then < r->next && packet(r, then)->state == SETTLED) p->after += packet(r, then)->after;
        number += p->after;
    }
    return number;
}

/* Drops packets of no further interest from the ring. */
static void advance(struct kt_native_recovery *r, uint64_t now_us)
{
    const uint64_t keep = (uint64_t)KEEP_ROUNDS * r->rtt.srtt;
    while (r->base < r->next) {
        const struct kt_native_packet *p = packet(r, r->base);
        if (p->state == INFLIGHT || (p->state == LOST && now_us - p->sent_us < keep)) return;
        r->base++;
    }
}

/* ---- fates ---- */

static void tell(struct kt_native_recovery *r, struct kt_native_packet *p,
    void (*fate)(void *ctx, const struct kt_native_content *content))
{
    const uint32_t first = p->contents, count = p->count;
    p->count = 0;
    for (uint32_t i = 0; i < count; i++) fate(r->cfg.ctx, content(r, first + i));
}

/* The number of packets to average over: it starts small, and grows with the packets seen. */
static uint32_t loss_weight(const struct kt_native_recovery_stats *s)
{
    const uint64_t known = s->lost + s->acked + 8;
    return known < LOSS_WEIGHT ? (uint32_t)known : LOSS_WEIGHT;
}

static void count_loss(struct kt_native_recovery_stats *s, bool lost)
{
    const uint32_t weight = loss_weight(s);
    if (lost) {
        s->lost++;
        s->loss += (MILLION - s->loss) / weight;
    } else {
        s->acked++;
        s->loss -= (s->loss + weight - 1) / weight;
    }
}

/* Call when a packet that counted as lost was only late. */
static void count_spurious(struct kt_native_recovery_stats *s)
{
    const uint32_t one = MILLION / loss_weight(s);
    s->spurious++;
    s->loss -= s->loss < one ? s->loss : one;
}

static void lose(struct kt_native_recovery *r, uint64_t number, uint64_t now_us)
{
    struct kt_native_packet *p = packet(r, number);
    delist(r, number, p);
    p->state = LOST;
    if (p->mtu_probe) {
        kt_cc_leave(r->cfg.cc, 1, p->bytes);
    } else {
        kt_cc_packet_lost(r->cfg.cc, &p->snapshot, p->bytes, now_us);
        count_loss(&r->stats, true);
        r->stats.bursts += number == r->base || packet(r, number - 1)->state != LOST;
        if (r->cfg.events->packet_lost) r->cfg.events->packet_lost(r->cfg.ctx, p->bytes, now_us);
    }
    tell(r, p, r->cfg.events->lost);
}

/* ---- reordering ---- */

static bool reorders(const struct kt_native_recovery *r)
{
    return r->late >= 0 || r->late_before >= 0;
}

/* When this period is over, it becomes the last one, and the one before is forgotten. */
static void age_lateness(struct kt_native_recovery *r, uint64_t now_us)
{
    const uint64_t period = (uint64_t)LATE_ROUNDS * r->rtt.srtt;
    if (now_us - r->late_since_us < period) return;
    r->late_before = now_us - r->late_since_us < 2 * period ? r->late : -1;
    r->late = -1;
    r->late_since_us = now_us;
}

static uint32_t expected(const struct kt_native_recovery *r)
{
    return r->rtt.latest > r->rtt.srtt ? r->rtt.latest : r->rtt.srtt;
}

/* Notes how late a packet was that a later one overtook. */
static void overtaken(struct kt_native_recovery *r, const struct kt_native_packet *p, uint64_t now_us)
{
    const uint64_t took = now_us - p->sent_us;
    const int64_t late = took > expected(r) ? (int64_t)(took - expected(r)) : 0;
    if (late > r->late) r->late = late;
}

uint32_t kt_native_recovery_reorder(const struct kt_native_recovery *r)
{
    const uint64_t least = (r->rtt.min > 0 ? r->rtt.min : r->rtt.srtt) / 4;
    const int64_t late = r->late > r->late_before ? r->late : r->late_before;
    const uint64_t window = late > 0 ? (uint64_t)late + (uint64_t)late / 4 : 0;
    if (window <= least) return (uint32_t)least;
    return window < r->rtt.srtt ? (uint32_t)window : r->rtt.srtt;
}

/* ---- loss ---- */

/* Declares packets lost that later ones prove lost, and sets the timer for those that they cast doubt on. */
static struct kt_cc_loss detect(struct kt_native_recovery *r, uint64_t now_us)
{
    const uint64_t patience = (uint64_t)expected(r) + kt_native_recovery_reorder(r);
    const bool count = !reorders(r);
    const bool silent = kt_native_recovery_silence(r, now_us) > (uint64_t)SILENCE * kt_native_recovery_pto(r);
    struct kt_cc_loss loss = {.kind = silent ? KT_CC_LOSS_TIMEOUT : KT_CC_LOSS_FAST,
        .window = kt_cc_window(r->cfg.cc),
        .reorder = OVERTAKEN,
        .now_us = now_us};
    r->loss_us = UINT64_MAX;
    while (r->inflight > 0 && r->oldest < r->largest_acked) {
        const uint64_t number = r->oldest;
        const struct kt_native_packet *p = packet(r, number);
        const uint64_t until = p->sent_us + patience;
        if (now_us < until && !(count && r->largest_acked > number + OVERTAKEN)) {
            r->loss_us = until;
            break;
        }
        if (!p->mtu_probe) {
            loss.packets++;
            loss.bytes += p->bytes;
        }
        lose(r, number, now_us);
    }
    return loss;
}

static uint64_t probe_at(const struct kt_native_recovery *r)
{
    const uint64_t pto = kt_native_recovery_pto(r), slow = pto > PROBE_SLOW_US ? pto : PROBE_SLOW_US;
    const uint64_t wait = pto << (r->backoff < 16 ? r->backoff : 16);
    return r->probe_us + (wait < slow ? wait : slow);
}

uint64_t kt_native_recovery_due(const struct kt_native_recovery *r)
{
    if (r->inflight == 0) return UINT64_MAX;
    const uint64_t probe = probe_at(r);
    return r->loss_us < probe ? r->loss_us : probe;
}

static void probe(struct kt_native_recovery *r, uint64_t now_us)
{
    r->stats.timeouts++;
    r->backoff++;
    r->probe_us = now_us;
    r->probes = r->inflight >= PROBES && r->backoff <= PROBES_UNTIL ? PROBES : 1;
    uint32_t given = 0;
    for (uint64_t number = r->oldest;;) {
        struct kt_native_packet *p = packet(r, number);
        if (p->count > 0) {
            tell(r, p, r->cfg.events->lost);
            given++;
        }
        if (given == r->probes || p->after == 0) return;
        number += p->after;
    }
}

bool kt_native_recovery_timer(struct kt_native_recovery *r, uint64_t now_us)
{
    if (r->inflight == 0) return false;
    if (now_us >= r->loss_us) {
        const struct kt_cc_loss loss = detect(r, now_us);
        if (loss.packets > 0) kt_cc_lost(r->cfg.cc, &loss);
        advance(r, now_us);
    }
    if (r->inflight == 0 || now_us < probe_at(r)) return false;
    probe(r, now_us);
    return true;
}

/* ---- acknowledgements ---- */

/* One packet that is acknowledged for the first time; returns whether it was in flight. */
static bool acknowledge(struct kt_native_recovery *r, uint64_t number, uint64_t now_us)
{
    struct kt_native_packet *p = packet(r, number);
    const bool counts = number >= r->first;
    if (counts && number + 1 < r->largest_acked) overtaken(r, p, now_us);
    if (p->state == LOST) {
        settle(p);
        if (counts) count_spurious(&r->stats);
        return false;
    }
    delist(r, number, p);
    settle(p);
    kt_cc_acked(r->cfg.cc, &p->snapshot, true, p->sent_us, p->bytes, now_us);
    if (!p->mtu_probe) {
        count_loss(&r->stats, false);
        if (r->cfg.events->packet_acked) r->cfg.events->packet_acked(r->cfg.ctx, p->bytes, now_us);
    }
    tell(r, p, r->cfg.events->acked);
    return true;
}

/* A delay counts as far as the peer announced it, as in RFC 9002. One that is longer than a probe timeout counts in
 * full: the ACKs before were lost, as in an outage, which does not measure a round trip. */
static void sample(struct kt_native_recovery *r, uint64_t us, uint64_t delay_us, uint64_t now_us)
{
    uint32_t delay = r->cfg.peer_ack_delay_us;
    if (delay_us < delay) {
        delay = (uint32_t)delay_us;
    } else if (delay_us > kt_native_recovery_pto(r)) {
        us = us > delay_us + r->rtt.min ? us - delay_us : r->rtt.min;
        delay = 0;
    }
    kt_native_rtt_sample(&r->rtt, us, delay, now_us);
}

int kt_native_recovery_ack(
    struct kt_native_recovery *r, const struct kt_native_ack *ack, uint64_t now_us, struct kt_err *err)
{
    const uint64_t largest = ack->ranges[0].last;
    if (largest >= r->next)
        return kt_err_set(err, KT_EPROTO, "frame ACK (0x02): packet %llu of path %u was never sent",
            (unsigned long long)largest, ack->path);
    if (largest < r->base) return 0;
    age_lateness(r, now_us);
    if (largest >= r->first && packet(r, largest)->state != SETTLED)
        sample(r, now_us - packet(r, largest)->sent_us, ack->delay_us, now_us);
    uint32_t fresh = 0, arrived = 0;
    for (uint32_t i = ack->count; i-- > 0;) { /* in the order of sending */
        const struct kt_native_range *range = &ack->ranges[i];
        if (range->last < r->base) continue;
        uint64_t number = unsettled(r, range->first > r->base ? range->first : r->base);
        for (; number <= range->last; number = unsettled(r, number + 1)) {
            fresh++;
            arrived += acknowledge(r, number, now_us);
        }
    }
    if (largest >= r->largest_acked) r->largest_acked = largest + 1;
    if (fresh == 0) return 0;
    const struct kt_cc_loss loss = detect(r, now_us);
    if (arrived > 0) kt_cc_progressed(r->cfg.cc, arrived, KT_CC_NO_WINDOW, r->rtt.min, now_us);
    if (loss.packets > 0) kt_cc_lost(r->cfg.cc, &loss);
    r->heard_us = now_us;
    r->backoff = r->probes = 0;
    advance(r, now_us);
    return 0;
}

/* ---- sending ---- */

bool kt_native_recovery_ready(struct kt_native_recovery *r)
{
    const bool full = r->next - r->base == r->capacity;
    if (full && r->capacity < r->cfg.most && !grow_packets(r)) return false;
    return contents_used(r) + KT_NATIVE_CONTENTS <= r->contents_capacity || grow_contents(r);
}

uint32_t kt_native_recovery_open(const struct kt_native_recovery *r)
{
    /* An eighth of the ring is for ACKs and probes. */
    const uint64_t used = r->inflight > 0 ? r->next - r->oldest : 0, most = r->cfg.most - r->cfg.most / 8;
    const uint32_t open = kt_cc_open(r->cfg.cc);
    const uint64_t room = used < most ? most - used : 0;
    const uint32_t least = room < open ? (uint32_t)room : open;
    return least > r->probes ? least : r->probes;
}

/* The ring is full: drops the oldest packet, whatever its state. */
static void make_room(struct kt_native_recovery *r, uint64_t now_us)
{
    advance(r, now_us);
    if (r->next - r->base < r->capacity) return;
    if (packet(r, r->base)->state == INFLIGHT) lose(r, r->base, now_us);
    r->base++;
}

void kt_native_recovery_sent(struct kt_native_recovery *r, const struct kt_native_sent *sent, uint64_t now_us)
{
    assert(sent->bytes <= UINT16_MAX && sent->count <= KT_NATIVE_CONTENTS);
    assert(sent->eliciting || sent->count == 0);
    assert(r->capacity > 0 && sent->count <= r->contents_capacity - contents_used(r));
    if (r->next - r->base == r->capacity) make_room(r, now_us);
    const uint64_t number = r->next++;
    struct kt_native_packet *p = packet(r, number);
    *p = (struct kt_native_packet){.sent_us = now_us,
        .contents = r->contents_next,
        .bytes = (uint16_t)sent->bytes,
        .state = INFLIGHT,
        .count = sent->count & 0x3f,
        .mtu_probe = sent->mtu_probe};
    if (!sent->eliciting) {
        settle(p);
        advance(r, now_us);
        return;
    }
    for (uint32_t i = 0; i < sent->count; i++) *content(r, r->contents_next++) = sent->contents[i];
    enlist(r, number, p);
    r->stats.sent++;
    if (!sent->aside || r->inflight == 1) r->probe_us = now_us;
    if (r->probes > 0) r->probes--;
    kt_cc_sent(r->cfg.cc, &p->snapshot, sent->bytes, false, now_us);
}

/* ---- the path's life ---- */

void kt_native_recovery_give_up(struct kt_native_recovery *r)
{
    leave(r);
    while (r->inflight > 0) {
        const uint64_t number = r->oldest;
        struct kt_native_packet *p = packet(r, number);
        delist(r, number, p);
        p->state = LOST;
        tell(r, p, r->cfg.events->lost);
    }
    r->loss_us = UINT64_MAX;
    r->backoff = r->probes = 0;
}

bool kt_native_recovery_hand_over(struct kt_native_recovery *r, uint64_t since_us, uint64_t most)
{
    bool any = false;
    uint64_t bytes = 0;
    if (r->inflight == 0) return false;
    if (r->handed < r->oldest) r->handed = r->oldest;
    for (; r->handed < r->next && bytes < most; r->handed++) {
        struct kt_native_packet *p = packet(r, r->handed);
        if (p->state != INFLIGHT || p->sent_us <= since_us || p->mtu_probe || p->count == 0) continue;
        bytes += p->bytes;
        tell(r, p, r->cfg.events->lost);
        any = true;
    }
    return any;
}

void kt_native_recovery_restart(struct kt_native_recovery *r, uint32_t first_rtt_us)
{
    kt_native_rtt_init(&r->rtt, first_rtt_us);
    r->late = r->late_before = -1;
    r->first = r->next;
}

uint64_t kt_native_recovery_silence(const struct kt_native_recovery *r, uint64_t now_us)
{
    if (r->inflight == 0) return 0;
    const uint64_t sent = packet(r, r->oldest)->sent_us;
    return now_us - (sent > r->heard_us ? sent : r->heard_us);
}
