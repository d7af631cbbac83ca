/* Fuzz target: an acceptor with whole sessions, in virtual time. A client has a stream that is echoed, while
 * an attacker sends datagrams.
 *
 * The input is a program. Its first byte chooses the attacker:
 *   - without the key: replays what the client sent, at any time, from addresses of its own or the client's.
 *     What the client's stream carries must arrive, and there must be one session; also when all of it is
 *     replayed after the session's end.
 *   - with the key: makes segments of its own, also in the client's conversation and for FEC.
 * In both cases no more than three times the bytes that came from one of its own addresses may be sent there.
 * ts_base is random, with a hash of the input as the seed, so no input can contain it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/crypto.h"
#include "io/sim/sim.h"
#include "kcp/fec.h"
#include "kcp/kcp_segment.h"
#include "link/counters.h"
#include "link/kcptun/kcptun.h"
#include "tunnel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct tunnel t;
    uint64_t got[PORTS]; /* bytes of datagrams */
    uint32_t conv;
    const uint8_t *in;
    size_t left;
};

static unsigned byte(struct world *w)
{
    if (w->left == 0) return 0;
    w->left--;
    return *w->in++;
}

/* ---- the network ---- */

static void on_packet(void *ctx, const struct kt_sim_packet *p)
{
    struct world *w = ctx;
    if (p->proto != KT_SIM_UDP || p->what != KT_SIM_SENT) return;
    if (strcmp(p->from, "client") == 0) {
        struct kt_kcp_head head;
        w->t.client = *p->src;
        if (kt_fec_peek(p->data, p->len, &head)) w->conv = head.conv;
        tunnel_record(&w->t, p->data, p->len);
        return;
    }
    for (unsigned i = 0; i < PORTS; i++)
        if (kt_addr_equal(p->dst, &w->t.own[i])) w->got[i] += p->len;
}

/* ---- what the program says ---- */

static void replay(struct world *w)
{
    const unsigned from = byte(w), which = byte(w);
    if (w->t.n == 0) return;
    const struct datagram *d = &w->t.recorded[which % w->t.n];
    tunnel_inject(&w->t, from, d->data, d->len);
}

static uint32_t near_to(struct world *w, uint32_t base)
{
    const unsigned how = byte(w);
    return how < 250 ? base + how - 4 : how < 253 ? base + (how - 248) * 0x20000000u : 0;
}

/* One to four segments, bare or as a FEC packet. */
static void forge(struct world *w)
{
    uint8_t d[KT_UDP_MAX];
    const unsigned from = byte(w), shape = byte(w);
    size_t at = 0;
    if (shape & 4) {
        kt_put32(d, near_to(w, 0));
        d[4] = (uint8_t)(0xf1 + (shape >> 3) % 3);
        d[5] = 0;
        d[6] = (uint8_t)byte(w);
        d[7] = (uint8_t)(byte(w) % 6);
        at = KT_FEC_HEADER;
    }
    for (unsigned i = 0; i <= shape % 4; i++) {
        const unsigned what = byte(w), len = what & 8 ? byte(w) : 0;
        const struct kt_kcp_segment seg = {.conv = what & 16 ? w->conv : 100 + byte(w) % 4,
            .cmd = (uint8_t)(what & 32 ? byte(w) : KT_KCP_PUSH + what % 4),
            .frg = what & 64 ? KT_KCP_CHALLENGE : 0,
            .wnd = (uint16_t)(byte(w) * 4),
            .ts = near_to(w, (uint32_t)(kt_sim_now(w->t.sim) / 1000)),
            .sn = near_to(w, 4),
            .una = near_to(w, 4),
            .len = what & 128 ? near_to(w, len) : len};
        kt_kcp_segment_put(d + at, &seg);
        at += KT_KCP_OVERHEAD;
        for (unsigned k = 0; k < len; k++) d[at++] = (uint8_t)byte(w);
    }
    tunnel_inject(&w->t, from, d, at);
}

static void step(struct world *w, bool keyed)
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
    case 4:
        replay(w);
        break;
    default:
        if (keyed)
            forge(w);
        else
            replay(w);
    }
}

/* ---- life ---- */

static struct kt_kcptun_config settings(unsigned flags, bool client)
{
    struct kt_kcptun_config c;
    kt_kcptun_defaults(&c.common, client);
    c.crypt = "null";
    c.common.key = "k";
    c.common.key_len = 1;
    c.compress = flags & 2;
    c.datashard = flags & 4 ? 2 : 0;
    c.parityshard = flags & 4 ? 1 : 0;
    c.smux_version = flags & 8 ? 1 : 2;
    c.max_sessions = 8;
    return c;
}

static void build(struct world *w, unsigned flags, uint64_t seed)
{
    static const struct kt_acceptor_events events = {.stream = tunnel_on_accepted};
    struct kt_kcptun_config near = settings(flags, true), far = settings(flags, false);
    tunnel_build(&w->t, &kt_kcptun_wire, &far.common, seed, &events, on_packet, w);
    tunnel_dial(&w->t, &kt_kcptun_wire, &near.common);
    tunnel_advance(&w->t, 1000);
}

/* No address of its own gets more than it may. */
static void judge_sent(const struct world *w)
{
    for (unsigned i = 0; i < PORTS; i++) CHECK(w->got[i] <= AMPLIFICATION * w->t.sent[i]);
}

static void judge(struct world *w, bool keyed)
{
    judge_sent(w);
    if (keyed) return;
    CHECK(w->t.stream && !w->t.broken && w->t.echoed == w->t.written);
    CHECK(w->t.far_counters.PassiveOpens == 1 && w->t.far_counters.CurrEstab == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world *w = calloc(1, sizeof *w);
    struct kt_err err;
    CHECK(w && kt_crypto_init(&err) == 0);
    w->in = data;
    w->left = size;
    const unsigned flags = byte(w);
    const bool keyed = flags & 1;
    build(w, flags, tunnel_hash(data, size));
    tunnel_write(&w->t, 100);
    while (w->left) step(w, keyed);
    tunnel_advance(&w->t, 15 * S); /* the last bytes come back */
    judge(w, keyed);
    if (!keyed) tunnel_replay_all(&w->t, 60 * S);
    judge_sent(w);
    tunnel_close(&w->t);
    tunnel_free(&w->t);
    free(w);
    return 0;
}
