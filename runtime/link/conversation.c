/* A KCP conversation on a timer and a queue of packets.
 *
 *     first ........ ready ........ end        packets by number, in a ring of KT_CONVERSATION_PACKETS
 *      | to be sent  | being filled |
 *
 * Invariant: a slot in [first, end) holds a block, no other does. Outside of a flush, ready == end. While the ring is
 * full, no timer is set for what the engine still has to send: kt_conversation_sent flushes it. */
#include "link/conversation.h"
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "io/io.h"

struct slot {
    uint8_t *block;
    size_t len;
};

struct kt_conversation {
    struct kt_kcp *kcp;
    struct kt_cc cc;
    struct kt_io *io;
    struct kt_slab *slab;
    struct kt_timer timer;
    struct kt_turn turn;
    const struct kt_conversation_events *events;
    void *ctx;
    bool stream;
    uint32_t fragments; /* most segments of a message */
    uint32_t first, ready, end;
    uint64_t refused, heard_us;
    bool arrived; /* since the last turn: a packet, which may bring bytes and room */
    struct slot slots[KT_CONVERSATION_PACKETS];
};

static struct slot *slot_of(struct kt_conversation *c, uint32_t n)
{
    return &c->slots[n % KT_CONVERSATION_PACKETS];
}

/* ---- packets out ---- */

static uint8_t *reserve(void *ctx, size_t *len)
{
    struct kt_conversation *c = ctx;
    if (c->end - c->first == KT_CONVERSATION_PACKETS) return NULL;
    uint8_t *block = kt_slab_get(c->slab);
    if (!block) return NULL;
    slot_of(c, c->end++)->block = block;
    *len = KT_KCP_MTU_MAX;
    return block;
}

static void filled(void *ctx, const struct kt_packet *packets, size_t n)
{
    struct kt_conversation *c = ctx;
    for (size_t i = 0; i < n; i++) slot_of(c, c->ready++)->len = packets[i].len;
}

const uint8_t *kt_conversation_packet(const struct kt_conversation *c, size_t *len)
{
    if (c->first == c->ready) return NULL;
    const struct slot *s = &c->slots[c->first % KT_CONVERSATION_PACKETS];
    *len = s->len;
    return s->block;
}

static void drop_first(struct kt_conversation *c)
{
    struct slot *s = slot_of(c, c->first++);
    kt_slab_put(c->slab, s->block);
    s->block = NULL;
}

void kt_conversation_sent(struct kt_conversation *c)
{
    if (c->end - c->first == KT_CONVERSATION_PACKETS) kt_io_turn(c->io, &c->turn);
    drop_first(c);
}

/* ---- time ---- */

#define RETRY_US 10000u /* after this, look whether the slab has blocks again */

static void set_timer(struct kt_conversation *c, uint64_t now)
{
    uint64_t due = kt_kcp_due(c->kcp, now);
    if (c->end - c->first == KT_CONVERSATION_PACKETS) due = KT_TIME_NEVER;
    if (due <= now) due = now + RETRY_US;
    kt_io_timer_set(c->io, &c->timer, due);
}

static void on_turn(void *ctx)
{
    struct kt_conversation *c = ctx;
    const uint64_t now = kt_io_now(c->io);
    const struct kt_conversation_events *e = c->events;
    const bool arrived = c->arrived;
    void *owner = c->ctx;
    c->arrived = false;
    if (kt_kcp_due(c->kcp, now) <= now) kt_kcp_flush(c->kcp, now);
    set_timer(c, now);
    const bool packets = c->first != c->ready;
    if (arrived) {
        e->writable(owner);
        e->readable(owner);
    }
    if (packets) e->packets(owner);
}

static void on_timer(void *ctx)
{
    struct kt_conversation *c = ctx;
    kt_io_turn(c->io, &c->turn);
}

/* ---- making and freeing ---- */

int kt_conversation_new(struct kt_conversation **out, const struct kt_conversation_config *cfg,
    struct kt_io *io, struct kt_slab *slab, const struct kt_conversation_events *events, void *ctx)
{
    *out = NULL;
    struct kt_conversation *c = calloc(1, sizeof *c);
    if (!c) return KT_ENOMEM;
    c->io = io;
    c->slab = slab;
    c->events = events;
    c->ctx = ctx;
    c->stream = cfg->stream;
    c->fragments = kt_min32(cfg->snd_wnd, KT_KCP_FRAGMENTS);
    kt_cc_init(&c->cc, cfg->nc ? &kt_cc_fixed : &kt_cc_reno);
    const struct kt_kcp_config kcp = {
        .conv = cfg->conv,
        .mtu = cfg->mtu,
        .snd_wnd = cfg->snd_wnd,
        .rcv_wnd = cfg->rcv_wnd,
        .nodelay = cfg->nodelay,
        .interval_ms = cfg->interval_ms,
        .resend = cfg->resend,
        .cc = &c->cc,
    };
    const struct kt_packet_out to = {.reserve = reserve, .send = filled, .ctx = c};
    const int rc = kt_kcp_new(&c->kcp, &kcp, slab, &to, kt_io_now(io));
    if (rc) {
        free(c);
        return rc;
    }
    kt_timer_init(&c->timer, on_timer, c);
    kt_turn_init(&c->turn, on_turn, c);
    *out = c;
    return 0;
}

void kt_conversation_free(struct kt_conversation *c)
{
    if (!c) return;
    kt_io_timer_cancel(c->io, &c->timer);
    kt_io_turn_cancel(&c->turn);
    while (c->first != c->end) drop_first(c);
    kt_kcp_free(c->kcp);
    free(c);
}

/* ---- bytes and packets in ---- */

int kt_conversation_input(struct kt_conversation *c, const uint8_t *data, size_t len)
{
    const int rc = kt_kcp_input(c->kcp, data, len, KT_KCP_REGULAR, kt_io_now(c->io));
    if (rc)
        c->refused++;
    else
        c->heard_us = kt_io_now(c->io);
    c->arrived = true;
    kt_io_turn(c->io, &c->turn);
    return rc;
}

size_t kt_conversation_message_max(const struct kt_conversation *c)
{
    return (size_t)c->fragments * kt_kcp_mss(c->kcp);
}

static int send_message(struct kt_conversation *c, const uint8_t *data, size_t len, size_t *taken)
{
    const size_t mss = kt_kcp_mss(c->kcp);
    if (len > kt_conversation_message_max(c)) return KT_ELIMIT;
    if (kt_kcp_room(c->kcp) / mss < (len + mss - 1) / mss) return KT_EAGAIN;
    if (!kt_kcp_write_message(c->kcp, data, len)) return KT_ENOMEM;
    *taken = len;
    return 0;
}

int kt_conversation_send(struct kt_conversation *c, const uint8_t *data, size_t len, size_t *taken)
{
    int rc = 0;
    *taken = 0;
    if (c->stream) {
        const size_t room = kt_kcp_room(c->kcp);
        *taken = kt_kcp_write(c->kcp, data, len);
        if (*taken < kt_min_size(len, room))
            rc = KT_ENOMEM;
        else if (*taken < len)
            rc = KT_EAGAIN;
    } else {
        rc = send_message(c, data, len, taken);
    }
    if (*taken) kt_io_turn(c->io, &c->turn);
    return rc;
}

bool kt_conversation_acknowledged(const struct kt_conversation *c)
{
    return !kt_kcp_unacked(c->kcp);
}

int kt_conversation_unread(const struct kt_conversation *c, size_t most)
{
    if (!c->stream) return kt_kcp_message(c->kcp);
    return (int)kt_min_size(kt_kcp_unread(c->kcp, most), most);
}

void kt_conversation_read(struct kt_conversation *c, uint8_t *out, size_t n)
{
    while (n > 0) {
        const uint8_t *data;
        const size_t len = kt_min_size(kt_kcp_peek(c->kcp, &data), n);
        memcpy(out, data, len);
        kt_kcp_consume(c->kcp, len);
        out += len;
        n -= len;
    }
    kt_io_turn(c->io, &c->turn); /* the window may have opened */
}

void kt_conversation_facts(const struct kt_conversation *c, struct kt_conversation_facts *out)
{
    kt_kcp_stats(c->kcp, &out->kcp);
    out->refused = c->refused;
    out->heard_us = c->heard_us;
}
