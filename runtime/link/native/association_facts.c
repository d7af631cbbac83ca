/* Accessors and statistics of an association. */
#include "base/bytes.h"
#include "link/common/derived_stats.h"
#include "link/native/association_internal.h"

const struct kt_wire *kt_native_association_wire(const struct kt_native_association *a)
{
    return a->c->wire;
}

uint64_t kt_native_association_heard(const struct kt_native_association *a)
{
    return a->patience.heard;
}

uint32_t kt_native_association_rtt(const struct kt_native_association *a)
{
    return a->best->recovery.rtt.srtt;
}

const uint8_t *kt_native_association_cid(const struct kt_native_association *a, unsigned path)
{
    return a->cids[path];
}

const uint8_t *kt_native_association_peer_cid(const struct kt_native_association *a, unsigned path)
{
    return a->tx.cids[path];
}

const struct kt_addr *kt_native_association_peer(const struct kt_native_association *a)
{
    return &a->paths[0]->place.peer;
}

/* The address of this host that the peer sends to. */
static struct kt_addr here(const struct kt_native_place *place)
{
    struct kt_addr local = place->from;
    if (local.sa.sa_family == AF_UNSPEC) kt_udp_local(place->udp, &local);
    return local;
}

bool kt_native_association_same_hosts(
    const struct kt_native_association *x, const struct kt_native_association *y)
{
    const struct kt_native_place *p = &x->paths[0]->place, *q = &y->paths[0]->place;
    const struct kt_addr one = here(p), other = here(q);
    return kt_addr_same_host(&p->peer, &q->peer) && kt_addr_same_host(&one, &other);
}

const char *kt_native_association_peer_text(const struct kt_native_association *a)
{
    return a->peer_text;
}

const char *kt_native_association_identity(const struct kt_native_association *a)
{
    return a->identity[0] ? a->identity : NULL;
}

const uint8_t *kt_native_association_key(const struct kt_native_association *a)
{
    return a->peer_key;
}

uint64_t kt_native_association_peer_keepalive(const struct kt_native_association *a)
{
    return a->peer.keepalive_s * 1000000;
}

const uint8_t *kt_native_association_device(const struct kt_native_association *a)
{
    return a->peer.present >> KT_NATIVE_PARAM_DEVICE & 1 ? a->peer.device : NULL;
}

const uint8_t *kt_native_association_instance(const struct kt_native_association *a)
{
    return a->peer.instance;
}

size_t kt_native_association_streams(const struct kt_native_association *a)
{
    return a->stream_count;
}

bool kt_native_association_over(const struct kt_native_association *a)
{
    return a->over != 0;
}

const char *kt_native_association_why(const struct kt_native_association *a)
{
    return a->why.code ? a->why.text : kt_strerror(a->over);
}

void kt_native_association_totals(const struct kt_native_association *a, struct kt_link_totals *sum)
{
    sum->segs_out += a->sum.segs_out;
    sum->segs_retrans += a->sum.retrans;
    sum->segs_recovered += a->sum.recovered;
    sum->bytes_in += a->sum.bytes_in;
    sum->bytes_out += a->sum.bytes_out;
}

/* Packets that the bytes of streams would fill that have not been sent yet. held: bytes that the peer does not hold. */
static uint32_t unsent(const struct kt_native_path *p, uint64_t inflight, uint64_t held)
{
    const uint64_t size = kt_native_path_size(p), sent = inflight * size;
    const uint64_t packets = held > sent ? (held - sent + size - 1) / size : 0;
    return (uint32_t)(packets < UINT32_MAX ? packets : UINT32_MAX);
}

void kt_native_association_stats(const struct kt_native_association *a, struct kt_link_stats *sum)
{
    struct kt_native_streams_facts facts;
    const struct kt_native_path *p = a->best;
    const struct kt_native_sums all = kt_native_paths_sums(a);
    const uint64_t now = kt_io_now(a->c->io);
    kt_native_association_totals(a, &sum->total);
    if (a->over) return;
    kt_native_streams_facts(a->streams, &facts);
    const uint64_t quiet = a->patience.heard ? now - a->patience.heard : UINT64_MAX;
    if (sum->sessions == 0 || quiet < sum->since_heard_us) {
        sum->since_heard_us = quiet;
        sum->srtt_us = p->recovery.rtt.srtt;
        sum->rttvar_us = p->recovery.rtt.var;
        sum->own[KT_NATIVE_MIN_RTT_US] = p->recovery.rtt.min;
        sum->rto_us = kt_native_recovery_pto(&p->recovery);
        uint64_t window;
        kt_native_paths_allowed(a, &window, &sum->own[KT_NATIVE_PACING]);
        sum->cwnd = (uint32_t)kt_min64(window, UINT32_MAX);
        sum->own[KT_NATIVE_USABLE] = all.usable;
        sum->own[KT_NATIVE_MTU] = kt_native_path_size(p);
    }
    sum->sessions++;
    sum->streams += a->stream_count;
    sum->inflight += all.inflight;
    sum->queued += unsent(p, all.inflight, facts.queued);
    sum->owing = sum->owing || a->carrying;
    kt_derived_stats_add_session(sum, a->up_us, &a->patience, &a->recent, now);
}

void kt_native_association_stream_facts(void *ctx, struct kt_stream_facts *out)
{
    const struct kt_native_association *a = ctx;
    const struct kt_native_place *place = &a->best->place;
    struct kt_link_stats st = {0};
    kt_native_association_stats(a, &st);
    kt_derived_stats_of_stream(out, &st, place->udp, &place->from);
    out->late = kt_native_paths_sums(a).spurious;
}
