/* A path: where the peer is. A client's packets may come from elsewhere at any time, because its address
 * changed, a NAT gave it another port, or an attacker copies packets. So a packet from a new place, if its
 * number is the highest so far, starts a challenge there. The path moves once the answer comes from that
 * place (docs/wire.md, 5.4 and 5.5). */
#include <stdlib.h>
#include <string.h>
#include "link/native/association_internal.h"

#define CHALLENGE_US 3000000u /* the new place is forgotten after this, or after 3 PTO if that is longer */
#define CHALLENGE_AGAIN_US 300000u
#define KNOCKS                                                                                               \
    7u /* the pause between challenges of a path that does not open doubles this many times, to 38 s */

/* A silent peer is asked again after an eighth of its silence, from half a round trip on; once that is a second, probe
 * timeouts are enough. */
#define ASK_PART 8u
#define ASK_LEAST_US 10000u
#define ASK_UNTIL_US 8000000u
/* A path is worse than it was if it loses a tenth of its packets, and four times its average, over at least 100. */
#define WORSE_LOSS 100000u
#define WORSE_TIMES 4u
#define WORSE_PACKETS 100u
#define WORSE_CHECK_US 1000000u
#define USUAL_WEIGHT 64u
/* Losses make a path slower, by more than the average says: at 25 % each packet counts as lost once. */
#define LOSS_COUNTS 4u
#define MILLION 1000000u

static bool same_place(const struct kt_native_place *x, const struct kt_native_place *y)
{
    return x->udp == y->udp && kt_addr_equal(&x->peer, &y->peer);
}

void kt_native_path_limit(struct kt_native_path *p)
{
    const struct kt_native_config *cfg = &p->a->c->cfg;
    const struct kt_cc_limits limits = {
        .packet = kt_native_path_size(p), .rate = cfg->bandwidth, .window = cfg->max_buffered};
    kt_cc_limit(&p->cc, &limits);
}

static void start_mtu(struct kt_native_path *p)
{
    const struct kt_addr *peer = &p->place.peer;
    const bool ipv4 = peer->sa.sa_family == AF_INET ||
                      (peer->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&peer->in6.sin6_addr));
    const uint32_t most = ipv4 ? KT_NATIVE_MTU_IPV4 : KT_NATIVE_MTU_IPV6, asked = p->a->c->cfg.mtu;
    kt_native_mtu_init(&p->mtu, asked < most ? asked : most);
    p->longest = KT_NATIVE_MTU_BASE - KT_NATIVE_OVERHEAD;
}

/* ---- what became of frames ---- */

static void probes_acked(struct kt_native_association *a, uint64_t ping)
{
    const uint64_t now = kt_io_now(a->c->io);
    struct kt_list *next;
    for (struct kt_list *n = a->probes.next; n != &a->probes; n = next) {
        struct kt_native_probe *probe = KT_CONTAINER(n, struct kt_native_probe, node);
        next = n->next;
        if (probe->ping > ping) continue;
        kt_list_remove(&probe->node);
        probe->done(probe, now > probe->started ? now - probe->started : 1, 0);
    }
}

/* A packet of PADDING looks for a larger MTU; its content says its size. */
static void probe_acked(struct kt_native_path *p, uint32_t size)
{
    kt_native_mtu_acked(&p->mtu, size);
    kt_native_path_limit(p);
}

static void probe_lost(struct kt_native_path *p, uint32_t size)
{
    if (!kt_native_mtu_lost(&p->mtu, size, kt_io_now(p->a->c->io))) return;
    p->a->c->counters->MTUReduced++;
    kt_log_with(p->a->c->log, KT_LOG_WARN, kt_log_peer(p->a->peer_text),
        "link with %s: large packets are lost; sending %u bytes at most from now on", p->a->peer_text,
        kt_native_path_size(p));
}

void kt_native_path_tell_acked(struct kt_native_path *p)
{
    if (p->acked.id > 0) kt_native_streams_acked(p->a->streams, &p->acked);
    p->acked.id = 0;
}

/* An ACK of many packets mostly acknowledges one run of bytes of one stream. */
static void gather_acked(struct kt_native_path *p, const struct kt_native_content *data)
{
    struct kt_native_content *run = &p->acked;
    const bool more =
        run->id == data->id && run->offset + run->length == data->offset && run->type == KT_NATIVE_FRAME_DATA;
    if (more) {
        run->length += data->length;
        run->type = data->type;
        return;
    }
    kt_native_path_tell_acked(p);
    *run = *data;
}

static void on_acked(void *ctx, const struct kt_native_content *content)
{
    struct kt_native_path *p = ctx;
    p->a->stream_frames -= kt_native_streams_takes(content->type);
    if (kt_native_frame_is_data(content->type)) {
        gather_acked(p, content);
        return;
    }
    kt_native_path_tell_acked(p);
    if (content->type == KT_NATIVE_FRAME_PADDING)
        probe_acked(p, (uint32_t)content->offset);
    else if (content->type == KT_NATIVE_FRAME_ACK)
        kt_native_acks_known(&p->acks, content);
    else if (content->type == KT_NATIVE_FRAME_PING)
        probes_acked(p->a, content->offset);
    else if (kt_native_streams_takes(content->type))
        kt_native_streams_acked(p->a->streams, content);
    else if (kt_native_flows_takes(content->type))
        kt_native_flows_acked(p->a->flows, content);
}

static void on_lost(void *ctx, const struct kt_native_content *content)
{
    struct kt_native_path *p = ctx;
    kt_native_path_tell_acked(p);
    p->a->stream_frames -= kt_native_streams_takes(content->type);
    if (content->type == KT_NATIVE_FRAME_PADDING)
        probe_lost(p, (uint32_t)content->offset);
    else if (content->type == KT_NATIVE_FRAME_PING)
        p->ping_due = p->ping_due || !kt_list_empty(&p->a->probes);
    else if (content->type == KT_NATIVE_FRAME_ACK_EVERY)
        p->every_due = true;
    else if (kt_native_streams_takes(content->type))
        kt_native_streams_lost(p->a->streams, content);
    else if (kt_native_flows_takes(content->type))
        kt_native_flows_lost(p->a->flows, content);
}

static void on_packet_acked(void *ctx, uint32_t bytes, uint64_t now_us)
{
    struct kt_native_path *p = ctx;
    (void)now_us;
    if (kt_native_mtu_packet_acked(&p->mtu, bytes)) kt_native_path_limit(p);
}

static void on_packet_lost(void *ctx, uint32_t bytes, uint64_t now_us)
{
    struct kt_native_path *p = ctx;
    if (kt_native_mtu_packet_lost(&p->mtu, bytes, now_us)) kt_native_path_limit(p);
}

/* ---- life ---- */

struct kt_native_path *kt_native_path_new(
    struct kt_native_association *a, uint8_t number, const struct kt_native_place *place, uint32_t rtt_us)
{
    struct kt_native_path *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    p->a = a;
    p->number = number;
    p->place = *place;
    p->validated = number == 0 && a->c->client; /* the handshake's response came from there */
    start_mtu(p);
    p->every = KT_NATIVE_ACK_EVERY_FIRST;
    kt_native_acks_init(&p->acks, KT_NATIVE_ACK_DELAY_US);
    kt_cc_init(&p->cc, &kt_cc_auto);
    kt_native_path_limit(p);
    static const struct kt_native_recovery_events events = {
        .acked = on_acked, .lost = on_lost, .packet_acked = on_packet_acked, .packet_lost = on_packet_lost};
    const struct kt_native_recovery_config recovery = {.events = &events,
        .ctx = p,
        .cc = &p->cc,
        .first_rtt_us = rtt_us,
        .peer_ack_delay_us = (uint32_t)a->peer.ack_delay_ms * 1000,
        .most = KT_NATIVE_RECOVERY_MOST};
    kt_native_recovery_init(&p->recovery, &recovery);
    a->paths[number] = p;
    if (a->path_end <= number) a->path_end = number + 1u;
    return p;
}

void kt_native_path_forget(struct kt_native_path *p)
{
    if (!kt_native_parity_in_on(&p->rebuild)) return;
    kt_native_parity_in_free(&p->rebuild);
    kt_native_context_parity(p->a->c, false);
}

void kt_native_path_trim(struct kt_native_path *p)
{
    kt_native_recovery_trim(&p->recovery);
    kt_native_parity_out_free(&p->parity);
    kt_native_path_forget(p);
}

void kt_native_path_free(struct kt_native_path *p)
{
    kt_native_parity_out_free(&p->parity);
    kt_native_path_forget(p);
    kt_native_recovery_free(&p->recovery);
    free(p);
}

uint64_t kt_native_path_way(const struct kt_native_path *p)
{
    const uint64_t srtt = p->recovery.rtt.srtt, loss = kt_native_recovery_stats(&p->recovery)->loss;
    const uint64_t weight = loss < MILLION / LOSS_COUNTS ? loss * LOSS_COUNTS : MILLION;
    return srtt / 2 + srtt * 5 / 4 * weight / MILLION; /* finding a loss takes a round trip and a quarter */
}

/* ---- silence ---- */

uint64_t kt_native_path_ask_due(const struct kt_native_path *p)
{
    return kt_native_recovery_silent(&p->recovery) ? p->ask_us : UINT64_MAX;
}

void kt_native_path_asked(struct kt_native_path *p, uint64_t now_us)
{
    const uint64_t silence = kt_native_recovery_silence(&p->recovery, now_us);
    uint64_t gap = silence / ASK_PART;
    if (gap < p->recovery.rtt.srtt / 2) gap = p->recovery.rtt.srtt / 2;
    if (gap < ASK_LEAST_US) gap = ASK_LEAST_US;
    p->ask_us = silence < ASK_UNTIL_US ? now_us + gap : UINT64_MAX;
}

/* ---- addresses ---- */

size_t kt_native_path_allowance(const struct kt_native_path *p)
{
    if (p->validated) return SIZE_MAX;
    const uint64_t most = p->in_bytes * KT_NATIVE_AMPLIFICATION;
    return most > p->out_bytes ? (size_t)(most - p->out_bytes) : 0;
}

uint64_t kt_native_path_challenge_due(const struct kt_native_path *p)
{
    return p->moving.active ? p->moving.again_us : UINT64_MAX;
}

/* Datagrams on their way to the place before will not arrive, unless the peer moved on purpose and still
 * listens there for a while. */
void kt_native_path_move(struct kt_native_path *p, const struct kt_native_place *to)
{
    struct kt_native_association *a = p->a;
    char text[KT_ADDR_TEXT];
    const bool meant = p->moving.mine || p->moving.meant;
    kt_log_with(a->c->log, meant ? KT_LOG_DEBUG : KT_LOG_INFO, kt_log_peer(a->peer_text),
        "link with %s continues at %s", a->peer_text, kt_addr_text(&to->peer, text));
    const bool other =
        !kt_addr_same_host(&p->place.peer, &to->peer) || !kt_addr_same_host(&p->place.from, &to->from);
    if (p->response.place.udp == p->place.udp) p->response.due = false;
    p->place = *to;
    p->validated = true;
    p->moving.active = false;
    p->full = false;
    if (p->number == 0) kt_addr_text(&p->place.peer, a->peer_text);
    if (other || !meant) kt_native_recovery_give_up(&p->recovery);
    kt_native_parity_out_reset(&p->parity);
    if (!other) return; /* the same line: measurements still hold */
    kt_native_recovery_restart(&p->recovery, 0);
    kt_cc_init(&p->cc, p->cc.ops);
    start_mtu(p);
    kt_native_path_limit(p);
}

static void challenge(struct kt_native_path *p, const struct kt_native_place *place, uint64_t now_us)
{
    memset(&p->moving, 0, sizeof p->moving);
    p->moving.active = p->moving.due = true;
    p->moving.place = *place;
    const uint64_t patience = 3 * (uint64_t)kt_native_recovery_pto(&p->recovery);
    p->moving.until_us = now_us + (patience > CHALLENGE_US ? patience : CHALLENGE_US);
    p->moving.wait_us = CHALLENGE_AGAIN_US;
    p->moving.again_us = now_us + CHALLENGE_AGAIN_US;
    kt_io_random(p->a->c->io, p->moving.data, sizeof p->moving.data);
}

/* Challenges a place other than the path's: has the peer moved there? A pending challenge is not given up
 * for a third place, or an attacker who copies packets could keep the true peer from ever answering. */
static void elsewhere(
    struct kt_native_path *p, const struct kt_native_place *from, size_t bytes, uint64_t now_us)
{
    const bool current = p->moving.active && now_us < p->moving.until_us;
    if (current && !same_place(&p->moving.place, from)) return;
    if (!current) {
        challenge(p, from, now_us);
        p->ping_due = true; /* to the old place: if the peer is still there, it answers */
    }
    p->moving.in_bytes += bytes;
}

void kt_native_path_try(struct kt_native_path *p, const struct kt_native_place *place, uint64_t now_us)
{
    challenge(p, place, now_us);
    p->moving.mine = true;
    p->moving.in_bytes = UINT32_MAX; /* the server's own address cannot be a victim of amplification */
}

void kt_native_path_knock(struct kt_native_path *p, uint64_t now_us)
{
    challenge(p, &p->place, now_us);
    if (!p->a->c->client) return;
    p->moving.mine = true;
    p->moving.in_bytes = UINT32_MAX; /* as in kt_native_path_try */
    p->moving.wait_us <<= p->knocks < KNOCKS ? p->knocks : KNOCKS;
    p->moving.again_us = now_us + p->moving.wait_us;
    if (p->moving.until_us < now_us + 4 * p->moving.wait_us)
        p->moving.until_us = now_us + 4 * p->moving.wait_us;
    p->knocks++;
}

void kt_native_path_unanswered(struct kt_native_path *p, uint64_t now_us)
{
    p->moving.active = false;
    if (!p->validated && p->a->c->client) kt_native_path_knock(p, now_us);
}

bool kt_native_path_worse(struct kt_native_path *p, uint64_t now_us)
{
    const struct kt_native_recovery_stats *st = kt_native_recovery_stats(&p->recovery);
    if (now_us - p->loss.checked_us < WORSE_CHECK_US || st->sent - p->loss.sent < WORSE_PACKETS) return false;
    const uint32_t usual = p->loss.usual;
    p->loss.checked_us = now_us;
    p->loss.sent = st->sent;
    p->loss.usual += st->loss / USUAL_WEIGHT;
    p->loss.usual -= usual / USUAL_WEIGHT;
    return st->loss > WORSE_LOSS && st->loss / WORSE_TIMES > usual;
}

/* The peer opens a path: it is challenged at the place that its packets come from. */
static void knocked(
    struct kt_native_path *p, const struct kt_native_place *from, size_t bytes, uint64_t now_us)
{
    if (!p->moving.active || now_us >= p->moving.until_us) {
        p->place = *from;
        p->in_bytes = p->out_bytes = 0;
        kt_native_path_knock(p, now_us);
    }
    if (!same_place(&p->place, from)) return;
    p->in_bytes += bytes;
    p->moving.in_bytes += bytes;
}

void kt_native_path_heard(
    struct kt_native_path *p, const struct kt_native_place *from, size_t bytes, bool highest, uint64_t now_us)
{
    if (p->place.connected) return; /* the system lets through only what comes from the peer */
    if (p->number > 0 && !p->validated) {
        knocked(p, from, bytes, now_us);
        return;
    }
    if (same_place(&p->place, from)) {
        p->in_bytes += bytes;
        p->validated = true; /* it has the keys, so it received the response, which went there */
        if (!highest) return;
        p->place.from = from->from;
        if (!p->moving.meant) p->moving.active = false; /* it is still here */
        return;
    }
    if (highest) elsewhere(p, from, bytes, now_us);
}

/* The peer has answered at the path's own place. */
static void open_path(struct kt_native_path *p)
{
    struct kt_native_association *a = p->a;
    char text[KT_ADDR_TEXT];
    p->moving.active = false;
    p->validated = true;
    p->knocks = 0;
    kt_native_paths_choose(a);
    kt_log_with(a->c->log, KT_LOG_INFO, kt_log_peer(a->peer_text), "link with %s: path %u is open, to %s",
        a->peer_text, p->number, kt_addr_text(&p->place.peer, text));
}

/* The peer is at the next place. */
static void arrive(struct kt_native_path *p, const struct kt_native_place *from)
{
    struct kt_native_association *a = p->a;
    if (same_place(&p->place, from)) {
        open_path(p);
        return;
    }
    const bool mine = p->moving.mine;
    const struct kt_native_place to = *from;
    kt_native_path_move(p, &to);
    if (mine) a->owner.moved(a->owner.ctx);
}

void kt_native_path_challenged(
    struct kt_native_path *p, const struct kt_native_place *from, const uint8_t data[KT_NATIVE_CHALLENGE])
{
    p->response.due = true;
    p->response.place = *from;
    memcpy(p->response.data, data, KT_NATIVE_CHALLENGE);
    if (!p->moving.active || !same_place(&p->moving.place, from)) return;
    if (p->moving.mine)
        arrive(p, from); /* it answers there, with a question of its own */
    else
        p->moving.meant = true;
}

void kt_native_path_answered(struct kt_native_path *p, const struct kt_native_place *from,
    const uint8_t data[KT_NATIVE_CHALLENGE], uint64_t now_us)
{
    if (!p->moving.active || now_us >= p->moving.until_us) return;
    if (memcmp(data, p->moving.data, KT_NATIVE_CHALLENGE) != 0 || !same_place(&p->moving.place, from)) return;
    arrive(p, from);
}
