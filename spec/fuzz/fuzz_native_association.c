/* Fuzz target: an acceptor of kt's own wire with whole associations, in virtual time.
 *
 * The input is a program. Its first byte chooses who the attacker is:
 *   - without the key: a true client has a stream that is echoed, while the attacker replays, damages and cuts what
 *     either end sent, from addresses of its own or the client's. What the stream carries must arrive, there must be
 *     one association, and when all of it is replayed after its end, nothing comes of it.
 *   - with the key: it makes an association of its own, and puts any frames into well sealed packets: the input's
 *     bytes, true ACKs, streams that move, answers to challenges.
 * No more than three times the bytes that came from an address may be sent there before that has proven itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "crypto/crypto.h"
#include "crypto/replay.h"
#include "io/sim/sim.h"
#include "link/counters.h"
#include "link/native/ack_ranges.h"
#include "link/native/frame.h"
#include "native_peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct tunnel t;
    struct kt_link *back; /* the acceptor's link to its peer */
    struct kt_open *opening_back;
    bool keyed;
    uint64_t got[PORTS]; /* bytes of datagrams, until the address has proven itself */
    bool proven[PORTS];
    /* The attacker's end, if it has the key. */
    struct native_peer peer;
    struct kt_native_rx rx;
    struct kt_replay seen;
    struct kt_native_acks acks;
    uint8_t cid[KT_NATIVE_CID];
    bool has_challenge[PORTS];
    uint8_t challenge[PORTS][KT_NATIVE_CHALLENGE];
    uint64_t offset;
    const uint8_t *in;
    size_t left;
};

static unsigned byte(struct world *w)
{
    if (w->left == 0) return 0;
    w->left--;
    return *w->in++;
}

/* ---- the ends ---- */

static void on_back(void *ctx, struct kt_pipe *stream, const struct kt_err *err)
{
    struct world *w = ctx;
    (void)err;
    w->opening_back = NULL;
    if (!stream) return;
    tunnel_echo_all(stream);
    kt_pipe_write(stream, "hello", 5);
}

static void on_link_down(void *ctx, const struct kt_err *err)
{
    struct world *w = ctx;
    (void)err;
    w->back = NULL;
    w->opening_back = NULL;
}

static void on_accepted_link(void *ctx, struct kt_link *link, const struct kt_peer_info *peer)
{
    static const struct kt_link_events events = {.down = on_link_down};
    struct world *w = ctx;
    (void)peer;
    if (w->back) return;
    w->back = link;
    kt_link_listen(link, &events, w);
    CHECK(kt_link_open(link, NULL, on_back, w, &w->opening_back, NULL) == 0);
}

/* ---- the network ---- */

static void take_frames(struct world *w, unsigned port, const uint8_t *in, size_t len, uint64_t number)
{
    bool eliciting = false;
    while (len > 0) {
        struct kt_native_frame f;
        const long n = kt_native_frame_read(&f, in, len, NULL);
        CHECK(n > 0); /* the acceptor writes no bad frame */
        eliciting = eliciting || kt_native_frame_eliciting(f.type);
        if (f.type == KT_NATIVE_FRAME_PATH_CHALLENGE) {
            memcpy(w->challenge[port], f.challenge, KT_NATIVE_CHALLENGE);
            w->has_challenge[port] = true;
        }
        in += n;
        len -= (size_t)n;
    }
    kt_native_acks_received(&w->acks, number, eliciting, kt_sim_now(w->t.sim));
}

/* A datagram from the acceptor to one of the attacker's addresses. */
static void take(struct world *w, unsigned port, const uint8_t *data, size_t len)
{
    uint8_t copy[KT_UDP_MAX];
    struct kt_native_header h;
    struct kt_native_agreed agreed;
    uint64_t number;
    memcpy(copy, data, len);
    CHECK(kt_native_peek(&w->peer.secrets.header_keys, copy, len, &h) == 0);
    if (h.kind == KT_NATIVE_DATA) {
        if (!w->peer.agreed || memcmp(h.id, w->cid, sizeof w->cid) != 0) return;
        const int n = kt_native_open(&w->rx, &(struct kt_native_rx_path){0, &w->seen, &w->peer.drops}, &h,
            copy, len, kt_sim_now(w->t.sim), &number);
        CHECK(n > 0);
        take_frames(w, port, copy + KT_NATIVE_HEADER, (size_t)n, number);
        return;
    }
    if (!native_peer_take(&w->peer, &h, copy, len, &agreed)) return;
    CHECK(kt_native_rx_init(&w->rx, agreed.aead, agreed.rx_secret) == 0);
    kt_native_cid(&w->peer.secrets.header_keys, agreed.rx_secret, 0, w->cid);
}

static void on_packet(void *ctx, const struct kt_sim_packet *p)
{
    struct world *w = ctx;
    if (p->proto != KT_SIM_UDP || p->what != KT_SIM_SENT || strcmp(p->from, "attacker") == 0) return;
    if (strcmp(p->from, "client") == 0) w->t.client = *p->src;
    tunnel_record(&w->t, p->data, p->len);
    for (unsigned i = 0; i < PORTS; i++) {
        if (!kt_addr_equal(p->dst, &w->t.own[i])) continue;
        if (!w->proven[i]) w->got[i] += p->len;
        if (w->keyed) take(w, i, p->data, p->len);
    }
}

/* ---- what the program says ---- */

/* A datagram of before, as it was, or with a bit changed, or cut short. */
static void replay(struct world *w)
{
    const unsigned from = byte(w), which = byte(w), how = byte(w), where = byte(w);
    if (w->t.n == 0) return;
    struct datagram d = w->t.recorded[which % w->t.n];
    if (how % 4 == 1) d.data[where * 7 % d.len] ^= (uint8_t)(1u << how / 4 % 8);
    if (how % 4 == 2) d.len = 1 + (where * 7 + how / 4) % d.len;
    tunnel_inject(&w->t, from, d.data, d.len);
}

static void seal(struct world *w, unsigned from, uint8_t *dgram, size_t n)
{
    if (n == 0 || !w->peer.agreed) return;
    const size_t len = native_peer_seal(&w->peer, &w->t, dgram, n);
    tunnel_inject(&w->t, from, dgram, len);
    tunnel_record(&w->t, dgram, len);
}

static size_t put(struct world *w, unsigned what, uint8_t *out, size_t room)
{
    uint8_t bytes[256];
    struct kt_native_content content;
    struct kt_native_frame f = {0};
    const unsigned arg = byte(w);
    switch (what) {
    case 0:
        return kt_native_acks_write(&w->acks, 0, out, room, kt_sim_now(w->t.sim), &content);
    case 1:
        memset(bytes, (int)arg, sizeof bytes);
        f.type = (uint8_t)(KT_NATIVE_FRAME_DATA + (arg & 1) + 2);
        f.data.id = 1 + 2 * (arg >> 4);
        f.data.offset = w->offset;
        f.data.data = bytes;
        f.data.len = arg + 1u;
        w->offset += arg + 1u;
        break;
    case 2:
        f.type = KT_NATIVE_FRAME_MAX_DATA;
        f.max_data = arg * 10000u;
        break;
    case 4: /* of packets before it, of which some were never sent */
        f.type = KT_NATIVE_FRAME_PARITY;
        f.parity.members = arg | 1u;
        f.parity.first = w->peer.number > 8 ? w->peer.number - 8 : 0;
        f.parity.index = (uint8_t)(arg >> 4);
        for (unsigned i = 0; i < 40; i++) bytes[i] = (uint8_t)byte(w);
        f.parity.shard = bytes;
        f.parity.len = 40;
        break;
    default:
        f.type = KT_NATIVE_FRAME_PATH_RESPONSE;
        if (!w->has_challenge[arg % PORTS]) return 0;
        memcpy(f.challenge, w->challenge[arg % PORTS], KT_NATIVE_CHALLENGE);
        w->proven[arg % PORTS] = true;
        break;
    }
    return kt_native_frame_write(out, room, &f);
}

static void forge(struct world *w)
{
    uint8_t d[KT_NATIVE_DATAGRAM_MAX], *frames = d + KT_NATIVE_HEADER;
    const size_t room = sizeof d - KT_NATIVE_OVERHEAD;
    const unsigned from = byte(w) % PORTS, shape = byte(w);
    size_t n = 0;
    for (unsigned i = 0; i < 4; i++)
        if (shape >> i & 1) n += put(w, i, frames + n, room - n);
    if (shape & 64) n += put(w, 4, frames + n, room - n);
    const unsigned raw = shape & 16 ? byte(w) : 0;
    for (unsigned i = 0; i < raw && n < room; i++) frames[n++] = (uint8_t)byte(w);
    if (shape & 32) w->peer.number += byte(w);
    seal(w, from, d, n);
}

static void step(struct world *w)
{
    switch (byte(w) % 8) {
    case 0:
        tunnel_advance(&w->t, byte(w) * 1000u);
        break;
    case 1:
        tunnel_advance(&w->t, byte(w) * 100000u);
        break;
    case 2:
        tunnel_write(&w->t, byte(w) * 8);
        break;
    case 3:
        replay(w);
        break;
    default:
        if (w->keyed)
            forge(w);
        else
            replay(w);
    }
}

/* ---- life ---- */

/* The attacker, who has the key, makes an association from its first address. */
static void greet(struct world *w)
{
    kt_native_acks_init(&w->acks, 1000);
    w->proven[0] = true; /* reading the response will show that */
    native_peer_greet(&w->peer, &w->t);
}

static void build(struct world *w, uint64_t seed)
{
    static const struct kt_acceptor_events events = {.stream = tunnel_on_accepted, .link = on_accepted_link};
    struct kt_native_config near = native_peer_settings(true), far = native_peer_settings(false);
    tunnel_build(&w->t, &kt_native_wire, &far.common, seed, &events, on_packet, w);
    if (w->keyed) {
        greet(w);
        return;
    }
    tunnel_dial(&w->t, &kt_native_wire, &near.common);
    tunnel_advance(&w->t, 100000);
    CHECK(w->t.stream);
}

/* No address that has not proven itself gets more than it may. */
static void judge_sent(const struct world *w)
{
    for (unsigned i = 0; i < PORTS; i++) CHECK(w->got[i] <= AMPLIFICATION * w->t.sent[i] || w->proven[i]);
}

static void judge(const struct world *w)
{
    judge_sent(w);
    CHECK(w->t.far_counters.PassiveOpens == 1);
    if (w->keyed) return;
    CHECK(w->t.stream && !w->t.broken && w->t.echoed == w->t.written);
    CHECK(w->t.far_counters.CurrEstab == 1);
}

static void finish(struct world *w)
{
    if (w->opening_back) kt_open_cancel(w->opening_back);
    tunnel_close(&w->t);
    native_peer_end(&w->peer);
    kt_native_rx_free(&w->rx);
    tunnel_free(&w->t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world *w = calloc(1, sizeof *w);
    struct kt_err err;
    CHECK(w && kt_crypto_init(&err) == 0);
    w->in = data;
    w->left = size;
    w->keyed = byte(w) & 1;
    build(w, tunnel_hash(data, size));
    tunnel_write(&w->t, 100);
    while (w->left) step(w);
    tunnel_advance(&w->t, 15 * S); /* the last bytes come back */
    judge(w);
    if (!w->keyed) tunnel_replay_all(&w->t, S);
    judge_sent(w);
    finish(w);
    free(w);
    return 0;
}
