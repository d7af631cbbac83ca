/* An association's streams and flows: what they ask it for and tell it, and the limits that all associations share.
 *
 * Invariant: stream_count, allowed and promised are what the context counts for this association. */
#include "base/bytes.h"
#include "link/common/descriptors.h"
#include "link/native/association_internal.h"

/* Streams of the peer that are accepted in a turn of the loop, so that links take turns: */
#define ACCEPT_BATCH 16u
#define ACCEPT_BATCHES 4u
#define ACCEPT_US 1000u /* ... from the turn's start; after that only a first batch is begun */

static void on_wake(void *ctx)
{
    kt_native_association_schedule(ctx);
}

static size_t on_spare(void *ctx)
{
    const struct kt_native_association *a = ctx;
    struct kt_native_streams_facts facts;
    kt_native_streams_facts(a->streams, &facts);
    return kt_native_context_spare(a->c, facts.queued);
}

static uint64_t on_more(void *ctx, uint64_t want)
{
    struct kt_native_association *a = ctx;
    a->promised = kt_native_context_promise(a->c, a->promised, want - a->first);
    return a->first + a->promised;
}

/* NULL if the association may have `own` streams, else what is lacking. open: they are open already. Memory is kept for
 * what the peer may open, so these may exceed the share as long as they fit. */
static const char *lacks(const struct kt_native_association *a, size_t own, bool open)
{
    const bool fits = open && kt_native_context_fits(a->c, kt_sub_size(own, a->stream_count));
    if (!fits && own > kt_native_context_share(a->c, a->stream_count + a->allowed))
        return "the remaining memory is for other links; raise max_buffered (--maxbuffered)";
    if (own > kt_descriptors_share(a->c->io, a->c->counters, a->stream_count))
        return "the remaining descriptors are for other links; raise ulimit -n";
    return NULL;
}

/* Logs what happens to further streams, once until there is room again. */
static void log_full(struct kt_native_association *a, size_t streams, const char *happens, const char *why)
{
    if (a->full_logged) return;
    a->full_logged = true;
    kt_log_with(a->c->log, KT_LOG_WARN, kt_log_peer(a->peer_text), "link with %s: %zu streams open; %s (%s)",
        a->peer_text, streams, happens, why);
}

static void on_stream(void *ctx, struct kt_pipe *stream, const struct kt_open_options *opened)
{
    struct kt_native_association *a = ctx;
    struct kt_native_streams_facts facts;
    kt_native_streams_facts(a->streams, &facts);
    const char *why = lacks(a, facts.streams, true);
    if (why) {
        a->c->counters->StreamsRefused++;
        kt_pipe_reset(stream, KT_ELIMIT);
        log_full(a, facts.streams - 1, "refusing new ones", why);
        return;
    }
    a->c->counters->StreamsAccepted++;
    a->owner.stream(a->owner.ctx, stream, opened);
}

static size_t on_allows(void *ctx)
{
    const struct kt_native_association *a = ctx;
    return kt_min_size(kt_native_context_share(a->c, a->stream_count + a->allowed),
        kt_descriptors_share(a->c->io, a->c->counters, a->stream_count));
}

/* Logs why streams of the peer wait at its end. */
static void tell_exhausted(struct kt_native_association *a)
{
    if (a->full_logged || !kt_native_streams_exhausted(a->streams)) return;
    struct kt_native_streams_facts facts;
    kt_native_streams_facts(a->streams, &facts);
    const char *why = lacks(a, facts.streams + 1, false);
    if (why) log_full(a, facts.streams, "further ones wait", why); /* else it has max_streams */
}

/* The peer may open `allowed` more streams. Memory is kept for them. */
static void count_allowed(struct kt_native_association *a, uint64_t allowed)
{
    kt_native_context_allowed(a->c, a->allowed, (size_t)allowed);
    a->allowed = (size_t)allowed;
}

static void on_count(void *ctx, size_t n)
{
    struct kt_native_association *a = ctx;
    struct kt_native_streams_facts facts;
    kt_native_streams_facts(a->streams, &facts);
    count_allowed(a, facts.allowed);
    kt_native_context_streams(a->c, a->stream_count, n);
    a->stream_count = n;
    if (a->full_logged && !lacks(a, 2 * n, false)) a->full_logged = false;
    kt_native_association_schedule(a);
}

static void on_room(void *ctx)
{
    struct kt_native_association *a = ctx;
    a->owner.room(a->owner.ctx);
}

static void on_flow(void *ctx, struct kt_native_flow *flow, const struct kt_native_flow_addresses *addresses)
{
    struct kt_native_association *a = ctx;
    a->c->counters->FlowsAccepted++;
    a->owner.flow(a->owner.ctx, flow, addresses);
}

/* An accepted stream is cheap here, but its task is not. The tasks of one batch run before the hook runs again for the
 * next, so the time that they take counts. */
static void accept_batch(struct kt_native_association *a, uint64_t now_us)
{
    if (a->fresh) a->batches_left = ACCEPT_BATCHES;
    a->fresh = false;
    if (a->batches_left < ACCEPT_BATCHES && kt_io_clock(a->c->io) - now_us >= ACCEPT_US) a->batches_left = 0;
    kt_native_streams_accept_most(a->streams, a->batches_left > 0 ? ACCEPT_BATCH : 0);
    kt_native_streams_dispatch(a->streams);
    if (!kt_native_streams_waiting(a->streams) || a->batches_left == 0) return;
    if (--a->batches_left > 0) kt_native_association_schedule(a);
}

void kt_native_association_accept(struct kt_native_association *a, uint64_t now_us)
{
    accept_batch(a, now_us);
    tell_exhausted(a);
}

/* ---- counting ---- */

static void count_flows(struct kt_native_association *a)
{
    struct kt_native_flows_facts facts;
    kt_native_flows_facts(a->flows, &facts);
    a->c->counters->FlowsNow += facts.flows - a->flow_count;
    a->c->counters->FlowDatagramsDropped += facts.total.dropped - a->flow_drops;
    a->c->counters->FlowDatagramsTooLarge += facts.total.too_large - a->flow_large;
    a->flow_count = facts.flows;
    a->flow_drops = facts.total.dropped;
    a->flow_large = facts.total.too_large;
}

void kt_native_association_count_streams(struct kt_native_association *a)
{
    struct kt_counters *c = a->c->counters;
    struct kt_native_streams_facts facts;
    kt_native_streams_facts(a->streams, &facts);
    c->BytesSent += facts.sent - a->sum.bytes_out;
    c->BytesReceived += facts.received - a->sum.bytes_in;
    a->sum.bytes_out = facts.sent;
    a->sum.bytes_in = facts.received;
    count_allowed(a, facts.allowed);
    count_flows(a);
}

/* ---- making and opening them ---- */

void kt_native_association_clock_flows(struct kt_native_association *a, uint64_t now_us)
{
    uint32_t size = kt_native_path_size(a->best), reach = kt_native_mtu_reach(&a->best->mtu, now_us);
    for (unsigned i = 0; i < a->path_end; i++) {
        const struct kt_native_path *p = a->paths[i];
        if (!p || !kt_native_path_usable(p)) continue;
        size = kt_min32(size, kt_native_path_size(p));
        reach = kt_min32(reach, kt_native_mtu_reach(&p->mtu, now_us));
    }
    kt_native_flows_clock(a->flows, now_us, a->best->recovery.rtt.min / 16);
    kt_native_flows_path(
        a->flows, size - KT_NATIVE_OVERHEAD, reach - KT_NATIVE_OVERHEAD); /* a datagram may leave on any */
}

static int make_flows(struct kt_native_association *a)
{
    const struct kt_native_flows_config cfg = {.client = a->c->client,
        .ours = a->c->cfg.max_flows,
        .peers = a->peer.max_flows,
        .idle_us = a->c->cfg.flow_idle_us,
        .hash_seed = a->c->hash_seed};
    static const struct kt_native_flows_owner owner = {on_wake, on_flow};
    const int rc = kt_native_flows_new(&a->flows, &cfg, &owner, a);
    if (!rc) kt_native_association_clock_flows(a, kt_io_now(a->c->io));
    return rc;
}

static int make_streams(struct kt_native_association *a)
{
    const struct kt_native_config *cfg = &a->c->cfg;
    struct kt_native_streams_config s = {.client = a->c->client,
        .peers = {.max_data = a->peer.max_data,
            .max_stream_data = a->peer.max_stream_data,
            .min_stream_data = a->peer.min_stream_data,
            .max_streams = a->peer.max_streams},
        .memory = cfg->max_buffered,
        .max_window = cfg->max_buffered / 2,
        .send_memory = cfg->max_buffered,
        .own_streams = kt_native_context_own_streams(a->c),
        .most_streams = cfg->max_streams,
        .hash_seed = a->c->hash_seed,
        .ours = kt_native_context_credit(a->c, a->first),
        .freed = kt_native_context_unref,
        .freed_ctx = a->c};
    static const struct kt_native_streams_owner owner = {.wake = on_wake,
        .stream = on_stream,
        .count = on_count,
        .room = on_room,
        .spare = on_spare,
        .more = on_more,
        .allows = on_allows,
        .facts = kt_native_association_stream_facts};
    const int rc = kt_native_streams_new(&a->streams, &s, &owner, a, &a->c->slabs);
    if (!rc) kt_native_context_ref(a->c); /* until the last of its streams was closed by its user */
    return rc;
}

int kt_native_association_make_streams(struct kt_native_association *a)
{
    const int rc = make_flows(a);
    return rc ? rc : make_streams(a);
}

int kt_native_association_open(
    struct kt_native_association *a, const struct kt_open_options *options, struct kt_pipe **out)
{
    if (a->over) return a->over;
    const int rc = kt_native_streams_open(a->streams, options, out);
    if (rc == 0) a->c->counters->StreamsOpened++;
    return rc;
}

int kt_native_association_flow(struct kt_native_association *a,
    const struct kt_native_flow_addresses *addresses, unsigned copies, bool fec, struct kt_native_flow **out)
{
    kt_native_association_clock_flows(a, kt_io_now(a->c->io));
    const int rc = kt_native_flows_open(a->flows, addresses, out);
    if (rc) return rc;
    kt_native_flow_copies(*out, copies);
    kt_native_flow_parity(*out, fec);
    a->c->counters->FlowsOpened++;
    return 0;
}

size_t kt_native_association_move_young(struct kt_native_association *from, struct kt_native_association *to)
{
    const size_t n = kt_native_streams_move_young(from->streams, to->streams);
    to->c->counters->StreamsMoved += n;
    return n;
}
