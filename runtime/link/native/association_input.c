/* Takes packets from the peer: opens each, and handles its frames in order. A frame that breaks a rule ends
 * the association, with a sentence that names the frame. */
#include <string.h>
#include "link/native/association_internal.h"
#include "link/native/code.h"

/* A client that has received nothing for this long, but has open streams, asks: a NAT on the way may have forgotten it
 * (docs/wire.md, 5.8). */
#define QUIET_US 1000000u

/* Frames of a link in a turn of the loop. An honest peer sends some in a packet, and a turn reads no more than 2 MiB; a
 * hostile one can put hundreds into each, and hold up all others. */
#define TURN_FRAMES 16384u

/* The peer ended the association. */
static void take_close(struct kt_native_association *a, const struct kt_native_frame *f)
{
    const int code = kt_native_code_error(f->close.code);
    struct kt_err why;
    if (f->close.text.len > 0)
        kt_err_set(&why, code, "the peer closed the link: %.*s", (int)f->close.text.len, f->close.text.data);
    else
        kt_err_set(&why, code, "the peer closed the link");
    a->peer_closed = true;
    kt_native_association_fail(a, code ? code : KT_ECLOSED, why.text);
}

static int take_ack(struct kt_native_association *a, const struct kt_native_ack *ack, uint64_t now_us)
{
    struct kt_native_path *p = a->paths[ack->path];
    if (!p) return kt_err_set(&a->why, KT_EPROTO, "ACK of path %u, which is not in use", ack->path);
    const uint64_t before = kt_native_recovery_stats(&p->recovery)->acked;
    kt_native_association_clock_flows(a, now_us);
    const int rc = kt_native_recovery_ack(&p->recovery, ack, now_us, &a->why);
    kt_native_path_tell_acked(p);
    if (rc) return rc;
    kt_native_tx_acked(&a->tx, p->number, ack->ranges[0].last, now_us);
    if (kt_native_recovery_stats(&p->recovery)->acked > before) kt_native_paths_revive(p);
    return 0;
}

static int take_every(struct kt_native_association *a, uint8_t path, uint32_t packets)
{
    if (!a->paths[path])
        return kt_err_set(&a->why, KT_EPROTO, "ACK_EVERY of path %u, which is not in use", path);
    kt_native_acks_every(&a->paths[path]->acks, packets);
    return 0;
}

static int take_flow(struct kt_native_association *a, const struct kt_native_frame *f, uint64_t now_us)
{
    kt_native_association_clock_flows(a, now_us);
    return kt_native_flows_input(a->flows, f, &a->why);
}

/* ---- rebuilding ---- */

/* Frames of streams and flows of a rebuilt packet count as arrived. Others are about the moment when the packet left,
 * or its way; the peer sends again what matters of them, as it takes the packet for lost. */
static void on_rebuilt(void *ctx, uint64_t number, const uint8_t *frames, size_t len)
{
    struct kt_native_path *p = ctx;
    struct kt_native_association *a = p->a;
    (void)number;
    a->c->counters->FECRecovered++;
    a->sum.recovered++;
    while (len > 0 && !a->over) {
        struct kt_native_frame f;
        const long n = kt_native_frame_read(&f, frames, len, &a->why);
        int rc = n < 0 ? (int)n : 0;
        if (!rc && kt_native_streams_takes(f.type)) rc = kt_native_streams_input(a->streams, &f, &a->why);
        if (!rc && kt_native_flows_takes(f.type)) rc = take_flow(a, &f, kt_io_now(a->c->io));
        if (rc) {
            kt_native_association_fail(a, rc, a->why.text);
            return;
        }
        frames += n;
        len -= (size_t)n;
    }
}

/* A packet that has arrived. */
struct arrival {
    uint64_t number, now_us;
    const uint8_t *frames;
    size_t len;
    const struct kt_native_place *from;
};

static void count_failures(struct kt_native_path *p, const struct kt_native_parity_in *before)
{
    p->a->c->counters->FECShortShards += p->rebuild.short_groups - before->short_groups;
    p->a->c->counters->FECErrs += p->rebuild.errors - before->errors;
}

static struct kt_native_parity_arrival for_parity(struct kt_native_path *p, const struct arrival *in)
{
    return (struct kt_native_parity_arrival){.number = in->number,
        .frames = in->frames,
        .len = in->len,
        .seen = &p->seen,
        .sink = on_rebuilt,
        .ctx = p};
}

/* Keeps it while the peer sends parity. */
static void keep(struct kt_native_path *p, const struct arrival *in)
{
    if (!kt_native_parity_in_on(&p->rebuild)) return;
    const struct kt_native_parity_in before = p->rebuild;
    const struct kt_native_parity_arrival arrival = for_parity(p, in);
    kt_native_parity_in_packet(&p->rebuild, &arrival);
    count_failures(p, &before);
}

static int take_parity(struct kt_native_path *p, const struct kt_native_parity *f, const struct arrival *in)
{
    struct kt_native_association *a = p->a;
    a->c->counters->FECParityShards++;
    if (!a->c->cfg.parity) return 0;
    const struct kt_native_parity_arrival arrival = for_parity(p, in);
    if (!kt_native_parity_in_on(&p->rebuild) && kt_native_context_parity(a->c, true) &&
        !kt_native_parity_in_start(&p->rebuild, &arrival))
        kt_native_context_parity(a->c, false);
    const struct kt_native_parity_in before = p->rebuild;
    const int rc = kt_native_parity_in_take(&p->rebuild, f, &arrival, in->now_us, &a->why);
    count_failures(p, &before);
    return rc;
}

/* ---- frames ---- */

/* 0, or a code with a sentence in a->why. */
static int take_frame(struct kt_native_association *a, struct kt_native_path *p,
    const struct kt_native_frame *f, const struct arrival *in)
{
    if (kt_native_streams_takes(f->type)) return kt_native_streams_input(a->streams, f, &a->why);
    if (kt_native_flows_takes(f->type)) return take_flow(a, f, in->now_us);
    switch (f->type) {
    case KT_NATIVE_FRAME_ACK:
        return take_ack(a, &f->ack, in->now_us);
    case KT_NATIVE_FRAME_ACK_EVERY:
        return take_every(a, f->ack_every.path, f->ack_every.packets);
    case KT_NATIVE_FRAME_PARITY:
        return take_parity(p, &f->parity, in);
    case KT_NATIVE_FRAME_PATH_CHALLENGE:
        kt_native_path_challenged(p, in->from, f->challenge);
        return 0;
    case KT_NATIVE_FRAME_PATH_RESPONSE:
        kt_native_path_answered(p, in->from, f->challenge, in->now_us);
        return 0;
    case KT_NATIVE_FRAME_CLOSE:
        take_close(a, f);
        return 0;
    default: /* PADDING and PING need no action */
        return 0;
    }
}

static void take_frames(struct kt_native_association *a, struct kt_native_path *p, const struct arrival *in)
{
    bool eliciting = false;
    const uint8_t *at = in->frames;
    size_t len = in->len;
    keep(p, in);
    while (len > 0 && !a->over) {
        struct kt_native_frame f;
        a->frames_left -= a->frames_left > 0;
        const long n = kt_native_frame_read(&f, at, len, &a->why);
        const int rc = n < 0 ? (int)n : take_frame(a, p, &f, in);
        if (rc) {
            kt_native_association_fail(a, rc, a->why.text);
            return;
        }
        eliciting = eliciting || kt_native_frame_eliciting(f.type);
        at += n;
        len -= (size_t)n;
    }
    kt_native_acks_received(&p->acks, in->number, eliciting, in->now_us);
    if (in->len > p->longest) { /* it probes for the MTU: a late ACK would slow that, and distort the RTT */
        p->longest = in->len;
        kt_native_acks_at_once(&p->acks);
    }
    a->c->counters->InSegs += eliciting;
    a->sum.segs_in += eliciting;
    if (eliciting && a->c->client) {
        const uint64_t wait = 3 * (uint64_t)kt_native_recovery_pto(&p->recovery);
        a->quiet_us = in->now_us + (wait > QUIET_US ? wait : QUIET_US);
    }
}

static bool has_frames_left(struct kt_native_association *a, uint64_t now_us)
{
    if (a->turn_us != now_us) a->frames_left = TURN_FRAMES;
    a->turn_us = now_us;
    return a->frames_left > 0;
}

void kt_native_association_input(struct kt_native_association *a, unsigned path,
    const struct kt_native_header *header, struct kt_dgram *dgram, struct kt_udp *udp, size_t port)
{
    struct kt_native_path *p = a->paths[path];
    const uint64_t now = kt_io_now(a->c->io);
    uint64_t number;
    if (a->over) return;
    if (!has_frames_left(a, now)) { /* it is as good as lost, and costs no decryption */
        a->c->counters->InPktsShed++;
        return;
    }
    if (!p && (a->c->client || !a->up_us)) { /* a client opens paths, and not with its first packet */
        a->c->drops.unknown++;
        kt_native_context_dropped(a->c, dgram->from, false);
        return;
    }
    struct kt_replay fresh, *seen = p ? &p->seen : &fresh;
    if (!p) fresh = (struct kt_replay){0}; /* it is large */
    const uint64_t next = seen->next;
    const int len = kt_native_open(&a->rx, &(struct kt_native_rx_path){path, seen, &a->c->drops}, header,
        dgram->data, dgram->len, now, &number);
    if (len < 0) {
        kt_native_context_dropped(a->c, dgram->from, false);
        return;
    }
    struct kt_native_place from = {.udp = udp, .peer = *dgram->from, .port = port, .connected = a->c->client};
    if (dgram->to) from.from = *dgram->to;
    if (!p) {
        p = kt_native_path_new(a, (uint8_t)path, &from, 0);
        if (!p) return;
        p->seen = fresh;
    }
    a->c->counters->InPkts++;
    if (kt_tap_on(a->c->tap)) {
        const struct kt_tapped shown = {.wire = "kt",
            .path = path,
            .number = number,
            .peer = dgram->from,
            .here = dgram->to,
            .data = dgram->data + KT_NATIVE_HEADER,
            .len = (size_t)len};
        kt_tap_show(a->c->tap, shown, udp);
    }
    if (!a->up_us) a->up_us = now;
    a->fresh = true;
    kt_patience_heard(&a->patience, now);
    kt_native_recovery_heard(&p->recovery);
    kt_native_path_heard(p, &from, dgram->len, number >= next, now);
    const struct arrival in = {.number = number,
        .now_us = now,
        .frames = dgram->data + KT_NATIVE_HEADER,
        .len = (size_t)len,
        .from = &from};
    take_frames(a, p, &in);
    kt_native_association_schedule(a);
}
