/* Packets to the peer. A packet is built in place in the socket's buffer: an ACK if one is waiting, then what is due
 * about the path, then frames of streams; sealed; and noted in recovery. Windows, pacing and the rate limit hold
 * back all but ACKs, PINGs, probes and CLOSE.
 *
 * Invariant: a time that kt_native_association_output_due returns is in the future, or something can be sent at it;
 * so a full socket, an address that is not validated or a closed window never makes the timer spin. */
#include <string.h>
#include "base/bytes.h"
#include "link/native/association_internal.h"
#include "link/native/code.h"
#include "link/native/copies.h"

/* Packets in one turn, so that a link that sends much does not hold up all others. */
#define TURN_PACKETS 256u
/* With `padding`, smaller packets get a random size of at most this many bytes of frames. */
#define PADDED 512u
/* With less room than this a packet is full: a further frame would carry next to nothing. */
#define ROOM_LEAST 32u
/* Bytes of frames in a packet that must be acknowledged: a server that has restarted answers no shorter one
 * (docs/wire.md, 4.4). */
#define ELICITING_LEAST KT_NATIVE_UNKNOWN_BODY
#define DATAGRAM_LEAST (KT_NATIVE_OVERHEAD + ELICITING_LEAST)
#define CLOSE_MOST (1u + 8u + 2u + KT_NATIVE_CLOSE_TEXT) /* bytes of a CLOSE frame */

struct packet {
    struct kt_native_path *path;
    uint8_t *buf;
    size_t len, room;                 /* frames so far; room for frames in all */
    bool eliciting, mtu_probe, aside; /* as in struct kt_native_sent */
    bool protect, asked;              /* by PARITY; a flow asks for that */
    size_t spare;                     /* room that streams leave, so that its parity fits a packet */
    size_t count;
    struct kt_native_content contents[KT_NATIVE_CONTENTS];
};

static uint8_t *at(const struct packet *k)
{
    return k->buf + KT_NATIVE_HEADER + k->len;
}

static bool start(struct packet *k, struct kt_native_path *p, struct kt_udp *udp, size_t most)
{
    if (most < DATAGRAM_LEAST) return false;
    if (!kt_native_recovery_ready(&p->recovery)) {
        kt_native_association_fail(p->a, KT_ENOMEM, "out of memory");
        return false;
    }
    uint8_t *buf = kt_udp_reserve(udp);
    if (!buf) {
        p->full = p->full || udp == p->place.udp;
        return false;
    }
    k->path = p;
    k->buf = buf;
    k->len = k->count = 0;
    k->room = most - KT_NATIVE_OVERHEAD;
    k->eliciting = k->mtu_probe = k->aside = k->protect = k->asked = false;
    k->spare = 0;
    return true;
}

/* Adds a frame that is noted in recovery with this content. False if it does not fit. */
static bool add(struct packet *k, const struct kt_native_frame *f, uint64_t offset)
{
    if (k->count == KT_NATIVE_CONTENTS) return false;
    const size_t n = kt_native_frame_write(at(k), k->room - k->len, f);
    if (n == 0) return false;
    k->len += n;
    k->eliciting = k->eliciting || kt_native_frame_eliciting(f->type);
    k->contents[k->count++] =
        (struct kt_native_content){.type = f->type, .offset = offset, .path = k->path->number};
    return true;
}

static void add_ping(struct packet *k)
{
    struct kt_native_association *a = k->path->a;
    const struct kt_native_frame f = {.type = KT_NATIVE_FRAME_PING};
    if (!add(k, &f, a->pings + 1)) return;
    a->pings++;
    k->path->ping_due = false;
}

static void add_ack(struct packet *k, uint64_t now_us)
{
    struct kt_native_path *p = k->path;
    struct kt_native_content *content = &k->contents[k->count];
    const size_t n = kt_native_acks_write(&p->acks, p->number, at(k), k->room - k->len, now_us, content);
    if (n == 0) return;
    k->len += n;
    k->count++;
}

static void add_every(struct packet *k)
{
    struct kt_native_path *p = k->path;
    const struct kt_native_frame f = {
        .type = KT_NATIVE_FRAME_ACK_EVERY, .ack_every = {.path = p->number, .packets = p->every}};
    if (add(k, &f, 0)) p->every_due = false;
}

/* Pads a packet that must be acknowledged to ELICITING_LEAST, and with `padding` a small one to a random size, up to
 * PADDED. A DATA frame without a length fills the packet, so PADDING never follows one. */
static void pad(struct packet *k)
{
    uint16_t chance;
    const size_t most = k->room < PADDED ? k->room : PADDED;
    size_t n = k->eliciting && k->len < ELICITING_LEAST ? ELICITING_LEAST - k->len : 0;
    if (k->path->a->c->cfg.padding && k->len + n < most) {
        kt_io_random(k->path->a->c->io, &chance, sizeof chance);
        n += chance % (most - k->len - n + 1);
    }
    if (n == 0) return;
    memset(at(k), KT_NATIVE_FRAME_PADDING, n);
    k->len += n;
}

/* Adds the packet to the path's group. The shard begins in its header, which is written when it is sealed. */
static void add_to_group(const struct packet *k, uint64_t number, uint64_t now_us)
{
    struct kt_native_path *p = k->path;
    const struct kt_native_parity_packet packet = {.number = number,
        .shard = k->buf + KT_NATIVE_HEADER - KT_NATIVE_PARITY_HEAD,
        .len = k->len,
        .asked = k->asked};
    kt_native_parity_out_add(&p->parity, &packet, p->recovery.rtt.min, now_us);
}

/* Seals the packet and hands it to the socket. */
static void finish(struct packet *k, const struct kt_native_place *to, uint64_t now_us)
{
    struct kt_native_path *p = k->path;
    struct kt_native_association *a = p->a;
    const uint64_t number = kt_native_recovery_number(&p->recovery);
    if (k->len > 0) pad(k);
    if (k->len > 0 && kt_tap_on(a->c->tap)) {
        const struct kt_tapped shown = {.wire = "kt",
            .out = true,
            .path = p->number,
            .number = number,
            .peer = &to->peer,
            .here = to->from.sa.sa_family ? &to->from : NULL,
            .data = k->buf + KT_NATIVE_HEADER,
            .len = k->len};
        kt_tap_show(a->c->tap, shown, to->udp);
    }
    if (k->protect) add_to_group(k, number, now_us);
    const int len =
        k->len > 0 ? kt_native_seal(&a->tx, p->number, number, k->buf, k->len, now_us) : KT_EINVAL;
    if (len < 0) {
        kt_udp_cancel(to->udp, k->buf);
        if (k->len > 0)
            kt_native_association_fail(a, len, "the peer acknowledges nothing, and the key is used up");
        return;
    }
    const struct kt_native_sent sent = {.bytes = (uint32_t)len,
        .eliciting = k->eliciting,
        .mtu_probe = k->mtu_probe,
        .aside = k->aside,
        .count = k->eliciting ? (uint32_t)k->count : 0,
        .contents = k->contents};
    kt_native_recovery_sent(&p->recovery, &sent, now_us);
    for (size_t i = 0; i < sent.count; i++) a->stream_frames += kt_native_streams_takes(k->contents[i].type);
    p->sent_us = now_us;
    p->out_bytes += (size_t)len;
    kt_bucket_take(&a->rate, (size_t)len);
    a->c->counters->OutPkts++;
    a->c->counters->OutBytes += (size_t)len;
    a->c->counters->OutSegs += k->eliciting;
    a->sum.segs_out += k->eliciting;
    kt_udp_commit(to->udp, k->buf, k->buf, (size_t)len, to->connected ? NULL : &to->peer,
        to->from.sa.sa_family ? &to->from : NULL);
}

/* ---- about addresses ---- */

/* An answer to a challenge goes to where that came from. */
static void send_response(struct kt_native_path *p, uint64_t now_us)
{
    struct packet k;
    p->response.due = false;
    if (!start(&k, p, p->response.place.udp, KT_NATIVE_MTU_BASE)) return;
    struct kt_native_frame f = {.type = KT_NATIVE_FRAME_PATH_RESPONSE};
    memcpy(f.challenge, p->response.data, sizeof f.challenge);
    add(&k, &f, 0);
    finish(&k, &p->response.place, now_us);
}

/* A challenge to the place where the peer may be, with an ACK, so that a peer that has moved need not wait for the path
 * to follow before it is answered. */
static void send_challenge(struct kt_native_path *p, uint64_t now_us)
{
    struct packet k;
    const uint64_t most = p->moving.in_bytes * KT_NATIVE_AMPLIFICATION;
    p->moving.due = false;
    if (p->moving.out_bytes >= most) return;
    const size_t room = kt_min_size(KT_NATIVE_MTU_BASE, (size_t)(most - p->moving.out_bytes));
    if (!start(&k, p, p->moving.place.udp, room)) return;
    struct kt_native_frame f = {.type = KT_NATIVE_FRAME_PATH_CHALLENGE};
    memcpy(f.challenge, p->moving.data, sizeof f.challenge);
    add(&k, &f, 0);
    add_ack(&k, now_us);
    p->moving.out_bytes += (k.len > ELICITING_LEAST ? k.len : ELICITING_LEAST) + KT_NATIVE_OVERHEAD;
    finish(&k, &p->moving.place, now_us);
}

static void check_challenge(struct kt_native_path *p, uint64_t now_us)
{
    if (!p->moving.active) return;
    if (now_us >= p->moving.until_us) {
        kt_native_path_unanswered(p, now_us);
        if (!p->moving.active) return;
    }
    if (now_us >= p->moving.again_us) {
        p->moving.wait_us *= 2;
        p->moving.again_us = now_us + p->moving.wait_us;
        p->moving.due = true;
    }
    if (p->moving.due) send_challenge(p, now_us);
}

/* ---- about everything else ---- */

/* True if something other than an ACK wants to leave on the path. */
static bool wanted(const struct kt_native_path *p)
{
    const struct kt_native_association *a = p->a;
    return p->ping_due || p->every_due ||
           (kt_native_streams_pending(a->streams) && kt_native_spread_streams(p)) ||
           (kt_native_flows_pending(a->flows) && kt_native_spread_flows(p)) || kt_native_spread_explores(p);
}

/* Asks for rarer ACKs where there are many packets in a round trip, in steps of two. */
static void check_every(struct kt_native_path *p)
{
    const uint32_t every = kt_native_ack_every(p->recovery.inflight);
    if (every < 2 * p->every && 2 * every > p->every) return;
    p->every = every;
    p->every_due = true;
}

/* A PING at once, whatever the window says. */
static void send_ping(struct kt_native_path *p, uint64_t now_us)
{
    struct packet k;
    if (!start(&k, p, p->place.udp, kt_min_size(KT_NATIVE_MTU_BASE, kt_native_path_allowance(p)))) return;
    if (kt_native_acks_waiting(&p->acks)) add_ack(&k, now_us);
    add_ping(&k);
    k.aside = true;
    finish(&k, &p->place, now_us);
}

static void add_streams(struct packet *k)
{
    if (k->room - k->len >= k->spare + ROOM_LEAST) k->room -= k->spare;
    while (k->room - k->len >= ROOM_LEAST && k->count < KT_NATIVE_CONTENTS) {
        const size_t n =
            kt_native_streams_write(k->path->a->streams, at(k), k->room - k->len, k->contents, &k->count);
        if (n == 0) return;
        k->len += n;
        k->eliciting = true;
    }
}

static void add_flows(struct packet *k)
{
    while (k->room - k->len >= ROOM_LEAST && k->count < KT_NATIVE_CONTENTS) {
        const size_t n =
            kt_native_flows_write(k->path->a->flows, at(k), k->room - k->len, k->contents, &k->count);
        if (n == 0) return;
        k->len += n;
        k->eliciting = true;
        k->asked = k->asked || kt_native_flows_asked(k->path->a->flows);
    }
}

/* A PING, and PADDING to the end. */
static void fill(struct packet *k)
{
    add_ping(k);
    memset(at(k), KT_NATIVE_FRAME_PADDING, k->room - k->len);
    k->len = k->room;
}

/* True while the setting `rate` holds everything back but ACKs, PINGs, copies and CLOSE, which are charged to it. */
static bool limited(const struct kt_native_path *p, uint64_t now_us)
{
    return kt_bucket_room(&p->a->rate, now_us) == 0;
}

/* Packets that windows, pacing and `rate` let out now, if they are full; shorter ones may be more. */
static uint32_t open_now(const struct kt_native_path *p, uint64_t now_us)
{
    const uint64_t bytes =
        kt_min64(kt_native_recovery_allowance(&p->recovery, now_us), kt_bucket_room(&p->a->rate, now_us));
    if (bytes == 0) return 0;
    return (uint32_t)kt_min64(
        kt_native_recovery_open(&p->recovery), (bytes - 1) / kt_native_path_size(p) + 1);
}

/* The path for a second copy of what leaves on the best one; NULL: there is none now. A silent one will do: often just
 * one packet was lost there. */
static struct kt_native_path *second(const struct kt_native_path *p, uint64_t now_us)
{
    const struct kt_native_association *a = p->a;
    struct kt_native_path *found = NULL;
    if (!a->c->cfg.duplicate || p != a->best) return NULL;
    for (unsigned i = 0; i < a->path_end; i++) {
        struct kt_native_path *q = a->paths[i];
        if (!q || q == p || q->full || !q->validated || open_now(q, now_us) == 0) continue;
        if (!found || kt_native_path_way(q) < kt_native_path_way(found)) found = q;
    }
    return found;
}

/* Also sends frames of a packet on another path: those from offset on, which have the contents from `first` on. They go
 * alone and unpadded: the last may run to the end of the packet. */
static void duplicate(
    const struct packet *from, struct kt_native_path *to, size_t offset, size_t first, uint64_t now_us)
{
    struct packet k;
    if (!start(&k, to, to->place.udp, kt_native_path_size(to))) return;
    k.len = k.room = from->len - offset;
    k.count = from->count - first;
    k.eliciting = true;
    memcpy(k.buf + KT_NATIVE_HEADER, from->buf + KT_NATIVE_HEADER + offset, k.len);
    memcpy(k.contents, &from->contents[first], k.count * sizeof k.contents[0]);
    finish(&k, &to->place, now_us);
}

/* Streams and flows take turns in coming first. */
static void add_frames(struct packet *k)
{
    struct kt_native_association *a = k->path->a;
    const bool flows = kt_native_flows_pending(a->flows) && kt_native_spread_flows(k->path);
    a->flows_next = !a->flows_next && flows;
    if (a->flows_next) add_flows(k);
    if (kt_native_spread_streams(k->path)) add_streams(k);
    if (flows && !a->flows_next) add_flows(k);
}

/* ---- parity ---- */

/* Whether packets of the path may be protected. */
static bool protects(struct kt_native_path *p)
{
    const struct kt_native_association *a = p->a;
    return a->c->cfg.parity && a->peer.parity > 0 && p->validated && p->recovery.rtt.min > 0 &&
           kt_native_parity_out_open(&p->parity, kt_native_recovery_stats(&p->recovery));
}

/* Whether streams left room lately, on the path and in the setting `rate`. Where they do not, parity for them costs
 * more than it saves (docs/wire.md, 6.4). */
static bool spare(const struct kt_native_path *p, uint64_t now_us)
{
    return kt_native_parity_out_bulk(&p->parity) && kt_cc_is_app_limited(&p->cc) &&
           kt_bucket_room(&p->a->rate, now_us) >= KT_NATIVE_RATE_BURST / 2;
}

/* Whether it carries bytes of a stream that is not sparse: those get copies. */
static bool carries_bulk(const struct packet *k)
{
    struct kt_native_streams *s = k->path->a->streams;
    for (size_t i = 0; i < k->count; i++) {
        const struct kt_native_content *c = &k->contents[i];
        if (kt_native_frame_is_data(c->type) && kt_native_streams_inflight(s, c->id) > KT_NATIVE_COPIES_THIN)
            return true;
    }
    return false;
}

/* Adds frames, and chooses whether parity protects them. */
static void add_protected(struct packet *k, uint64_t now_us)
{
    struct kt_native_path *p = k->path;
    const size_t most = kt_native_path_size(p) - KT_NATIVE_OVERHEAD - KT_NATIVE_PARITY_OVERHEAD;
    const bool open = protects(p), bulk = open && spare(p, now_us);
    if (bulk || (open && kt_native_flows_pending(p->a->flows))) k->spare = KT_NATIVE_PARITY_OVERHEAD;
    add_frames(k);
    k->protect = open && k->len <= most && (k->asked || (bulk && carries_bulk(k)));
}

static uint64_t parity_due(const struct kt_native_path *p)
{
    return kt_native_parity_out_due(&p->parity, kt_native_recovery_number(&p->recovery));
}

static void send_parity(struct kt_native_path *p, uint64_t now_us)
{
    struct packet k;
    if (!start(&k, p, p->place.udp, kt_native_path_size(p))) return;
    k.len = kt_native_parity_out_write(&p->parity, at(&k), k.room, now_us);
    k.eliciting = k.len > 0;
    p->a->c->counters->FECParityOut += k.eliciting;
    finish(&k, &p->place, now_us);
}

static bool send_one(struct kt_native_path *p, bool probe, uint64_t now_us)
{
    struct kt_native_association *a = p->a;
    struct packet k;
    struct kt_native_path *other = second(p, now_us);
    /* A probe for lost packets must pass a hole in the MTU. */
    size_t size = probe ? KT_NATIVE_MTU_BASE : kt_native_path_size(p);
    if (other) size = kt_min_size(size, kt_native_path_size(other));
    if (!start(&k, p, p->place.udp, kt_min_size(size, kt_native_path_allowance(p)))) return false;
    if (kt_native_acks_waiting(&p->acks)) add_ack(&k, now_us);
    if (p->ping_due) add_ping(&k);
    if (p->every_due) add_every(&k);
    const size_t offset = k.len, first = k.count;
    if (other) /* that is protection enough */
        add_frames(&k);
    else
        add_protected(&k, now_us);
    if (kt_native_spread_explores(p)) fill(&k);
    if (other && k.len > offset) duplicate(&k, other, offset, first, now_us);
    if (!k.eliciting && probe) add_ping(&k);
    if (!k.eliciting && k.len > 0 && kt_native_acks_ask(&p->acks)) add_ping(&k);
    const bool any = k.len > 0;
    finish(&k, &p->place, now_us);
    if (k.eliciting) {
        const struct kt_native_sparse_facts facts = {.loss = kt_native_recovery_stats(&p->recovery)->loss,
            .min_rtt_us = p->recovery.rtt.min,
            .rate = p->cc.pacer.rate};
        kt_native_sparse_sent(&p->sparse, a->streams, k.contents, k.count, &facts, now_us);
    }
    return any;
}

/* Copies of what sparse streams sent. They are small and few, so neither windows nor pacing hold them back. */
static void send_copies(struct kt_native_path *p, uint64_t now_us)
{
    struct packet k;
    if (!start(&k, p, p->place.udp, kt_min_size(KT_NATIVE_MTU_BASE, kt_native_path_allowance(p)))) return;
    k.len = kt_native_sparse_write(&p->sparse, p->a->streams, at(&k), k.room, k.contents, &k.count, now_us);
    k.eliciting = k.len > 0;
    finish(&k, &p->place, now_us);
}

/* A packet of PADDING, to find out whether the path carries one of this size. */
static void send_mtu_probe(struct kt_native_path *p, uint32_t size, uint64_t now_us)
{
    struct packet k;
    const struct kt_native_frame ping = {.type = KT_NATIVE_FRAME_PING};
    if (!start(&k, p, p->place.udp, size)) return;
    add(&k, &ping, 0);
    const struct kt_native_frame f = {.type = KT_NATIVE_FRAME_PADDING, .padding = k.room - k.len};
    k.contents[0] = (struct kt_native_content){.type = KT_NATIVE_FRAME_PADDING, .offset = size};
    k.len += kt_native_frame_write(at(&k), k.room - k.len, &f);
    k.mtu_probe = true;
    kt_native_mtu_sent(&p->mtu);
    finish(&k, &p->place, now_us);
}

/* Continues the search for the path's MTU, but not while the path is silent. Returns whether a probe left. */
static bool search_mtu(struct kt_native_path *p, uint64_t now_us)
{
    const uint32_t size = p->validated && p->recovery.backoff == 0 ? kt_native_mtu_probe(&p->mtu, now_us) : 0;
    if (size == 0) return false;
    send_mtu_probe(p, size, now_us);
    return true;
}

static void send_frames(struct kt_native_path *p, uint64_t now_us)
{
    struct kt_native_association *a = p->a;
    if (kt_native_path_ask_due(p) <= now_us) {
        kt_native_path_asked(p, now_us);
        p->ping_due = true;
        send_ping(p, now_us);
    }
    if (p->ping_due && open_now(p, now_us) == 0) send_ping(p, now_us);
    if (kt_native_sparse_due(&p->sparse) <= now_us) send_copies(p, now_us);
    uint32_t open = 0;
    for (unsigned n = 0; n < TURN_PACKETS && !a->over && !p->full; n++) {
        const bool probe = kt_native_recovery_probes(&p->recovery) > 0;
        if (open == 0 || probe) open = open_now(p, now_us);
        if (open > 0 && !probe && parity_due(p) <= now_us) {
            send_parity(p, now_us);
            open--;
            continue;
        }
        if (open == 0 || !(probe || wanted(p))) {
            if (kt_native_acks_due(&p->acks) <= now_us) {
                struct packet k;
                if (!start(&k, p, p->place.udp,
                        kt_min_size(kt_native_path_size(p), kt_native_path_allowance(p))))
                    return;
                add_ack(&k, now_us);
                if (kt_native_acks_ask(&p->acks)) add_ping(&k);
                finish(&k, &p->place, now_us);
            }
            if (open == 0 && !limited(p, now_us)) return;
            kt_cc_app_limited(&p->cc); /* before a probe: its sample must not pass for the path's rate */
            if (kt_native_flows_wait(a->flows) && search_mtu(p, now_us)) kt_cc_app_limited(&p->cc);
            return;
        }
        if (!send_one(p, probe, now_us)) return;
        open--;
        if (!probe && search_mtu(p, now_us)) open = 0;
    }
}

static void send_path(struct kt_native_path *p, uint64_t now_us)
{
    check_every(p);
    if (p->response.due) send_response(p, now_us);
    if (p->validated || !p->a->c->client) send_frames(p, now_us);
    if (!p->a->over)
        check_challenge(p, now_us); /* last, for the ACKs in it are due at the path's place first */
}

/* The best path first, so that others get what it cannot carry. */
void kt_native_association_output(struct kt_native_association *a, uint64_t now_us)
{
    struct kt_native_path *best = a->best;
    send_path(best, now_us);
    if (!a->over && kt_native_spread_hand_over(a, now_us)) send_path(best, now_us);
    for (unsigned i = 0; i < a->path_end && !a->over; i++)
        if (a->paths[i] && a->paths[i] != best) send_path(a->paths[i], now_us);
}

static uint64_t path_due(struct kt_native_path *p, uint64_t now_us)
{
    uint64_t due = kt_native_path_challenge_due(p);
    if (p->full || kt_native_path_allowance(p) < DATAGRAM_LEAST) return due;
    const uint64_t dues[] = {
        kt_native_acks_due(&p->acks), kt_native_sparse_due(&p->sparse), kt_native_path_ask_due(p)};
    for (size_t i = 0; i < sizeof dues / sizeof dues[0]; i++)
        if (dues[i] < due) due = dues[i];
    const uint64_t from = wanted(p) || kt_native_recovery_probes(&p->recovery) > 0 ? 0 : parity_due(p);
    if (from == UINT64_MAX || kt_native_recovery_open(&p->recovery) == 0) return due;
    uint64_t pace = kt_native_recovery_pace(&p->recovery);
    if (pace < from) pace = from;
    if (pace < now_us) pace = now_us; /* the turn had enough */
    if (limited(p, now_us)) {
        const uint64_t ready = kt_bucket_due(&p->a->rate, kt_native_path_size(p));
        if (ready > pace) pace = ready;
    }
    return pace < due ? pace : due;
}

uint64_t kt_native_association_output_due(struct kt_native_association *a, uint64_t now_us)
{
    uint64_t due = UINT64_MAX;
    for (unsigned i = 0; i < a->path_end; i++) {
        const uint64_t one = a->paths[i] ? path_due(a->paths[i], now_us) : UINT64_MAX;
        if (one < due) due = one;
    }
    return due;
}

static void send_close(struct kt_native_path *p, const struct kt_native_frame *f)
{
    struct packet k;
    const uint64_t now = kt_io_now(p->a->c->io);
    if (!start(&k, p, p->place.udp, kt_min_size(KT_NATIVE_MTU_BASE, kt_native_path_allowance(p)))) return;
    if (kt_native_acks_waiting(&p->acks) && k.room > CLOSE_MOST) {
        k.room -= CLOSE_MOST;
        add_ack(&k, now);
        k.room += CLOSE_MOST;
    }
    k.len += kt_native_frame_write(at(&k), k.room - k.len, f);
    finish(&k, &p->place, now);
}

/* Nothing acknowledges CLOSE; where packets are lost it is sent as often as a small write. */
void kt_native_association_say_close(struct kt_native_association *a, int code, const char *text)
{
    struct kt_native_path *p = a->best;
    if (a->peer_closed) return;
    a->peer_closed = true;
    const size_t len = text ? strlen(text) : 0;
    const struct kt_native_frame f = {.type = KT_NATIVE_FRAME_CLOSE,
        .close = {.code = kt_native_code_of(code), .text = {text, kt_min_size(len, KT_NATIVE_CLOSE_TEXT)}}};
    const unsigned copies = kt_native_copies_count(kt_native_recovery_stats(&p->recovery)->loss);
    for (unsigned i = 0; i <= copies; i++) send_close(p, &f);
}
