/* Which path carries what (docs/wire.md, 5.6). The best path delivers soonest and carries everything that it can.
 * Others take what would otherwise be delivered later.
 *
 * Invariant: an association with one path sends everything on it. */
#include "link/native/association_internal.h"

/* A path whose round trip is this many times that of the best one is far behind. It is worth its delay only if it adds
 * this part of the others' rate. */
#define FAR 2u
#define WORTH 8u
#define PROMISING 2u   /* a new path carries frames once it has this part of the others' rate */
#define BACKLOG 65536u /* bytes; with more waiting, the source waits as well, and no end is in sight */
#define HAND_OVER_BYTES 65536u /* from one path to another at a time */
#define DATAGRAMS 16u          /* that wait: more than the best path carries */

/* The rate of all usable paths that are faster than this one, in bytes per second. */
static uint64_t rate_before(const struct kt_native_path *p)
{
    const struct kt_native_association *a = p->a;
    uint64_t rate = 0;
    for (unsigned i = 0; i < a->path_end; i++) {
        const struct kt_native_path *other = a->paths[i];
        if (!other || other == p || !kt_native_path_usable(other)) continue;
        if (other == a->best || kt_native_path_way(other) <= kt_native_path_way(p))
            rate += other->cc.pacer.rate;
    }
    return rate;
}

static bool far_behind(const struct kt_native_path *p)
{
    return p->recovery.rtt.srtt > FAR * (uint64_t)p->a->best->recovery.rtt.srtt;
}

/* Its controller has not found out yet what it carries, and it is far behind, or slow so far beside the others. Frames
 * that are lost meanwhile would hold up all others. */
static bool untried(const struct kt_native_path *p)
{
    if (p == p->a->best || !kt_cc_starting(&p->cc)) return false;
    return far_behind(p) || p->cc.pacer.rate < rate_before(p) / PROMISING;
}

/* Bytes of streams that wait to leave on any path. */
static uint64_t waiting(const struct kt_native_association *a)
{
    struct kt_native_streams_facts facts;
    uint64_t inflight = 0;
    kt_native_streams_facts(a->streams, &facts);
    for (unsigned i = 0; i < a->path_end; i++) {
        const struct kt_native_path *p = a->paths[i];
        if (p && kt_native_path_usable(p) && !untried(p)) /* else it carries probes */
            inflight += (uint64_t)p->recovery.inflight * kt_native_path_size(p);
    }
    return facts.queued > inflight ? facts.queued - inflight : 0;
}

/* True if what waits is delivered sooner with this path's help: if it takes the faster ones longer than this one is
 * behind. A path that is used earlier would hold up what the faster ones deliver. */
static bool helps(const struct kt_native_path *p)
{
    const uint64_t here = kt_native_path_way(p), there = kt_native_path_way(p->a->best);
    if (here <= there) return true;
    const uint64_t rate = rate_before(p), meanwhile = (here - there) * rate / 1000000;
    if (far_behind(p) && !kt_cc_starting(&p->cc) && p->cc.pacer.rate < rate / WORTH) return false;
    return waiting(p->a) > (meanwhile < BACKLOG ? meanwhile : BACKLOG);
}

/* True if frames may leave on a path that is not the best one. */
static bool in_use(const struct kt_native_path *p)
{
    return kt_native_path_usable(p) && !p->a->c->cfg.duplicate;
}

bool kt_native_spread_streams(const struct kt_native_path *p)
{
    return p == p->a->best || (in_use(p) && !untried(p) && helps(p));
}

bool kt_native_spread_flows(const struct kt_native_path *p)
{
    struct kt_native_flows_facts facts;
    if (p == p->a->best) return true;
    if (!in_use(p) || far_behind(p)) return false;
    kt_native_flows_facts(p->a->flows, &facts);
    return facts.queued > DATAGRAMS;
}

bool kt_native_spread_explores(const struct kt_native_path *p)
{
    return p != p->a->best && in_use(p) && untried(p) && helps(p);
}

bool kt_native_spread_hand_over(struct kt_native_association *a, uint64_t now_us)
{
    const struct kt_native_path *best = a->best;
    const uint64_t arrival = now_us + best->recovery.rtt.srtt / 2;
    bool any = false;
    if (a->path_end == 1 || a->c->cfg.duplicate) return false;
    if (kt_native_streams_pending(a->streams) || kt_native_recovery_open(&best->recovery) == 0) return false;
    for (unsigned i = 0; i < a->path_end; i++) {
        struct kt_native_path *p = a->paths[i];
        if (!p || p == best || p->recovery.inflight == 0) continue;
        const uint64_t way = kt_native_path_way(p);
        if (arrival > way)
            any = kt_native_recovery_hand_over(&p->recovery, arrival - way, HAND_OVER_BYTES) || any;
    }
    return any;
}
