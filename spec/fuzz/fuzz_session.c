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
#include "check.h"

#define RECORDED 64u
#define PORTS 4u /* the attacker's own addresses; one more is the client's */
#define AMPLIFICATION 3u
#define S 1000000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct datagram {
    uint8_t data[KT_UDP_MAX];
    size_t len;
};

struct world {
    struct kt_sim *sim;
    struct kt_sim_host *attacker;
    struct kt_io *near, *far;
    struct kt_counters near_counters, far_counters;
    struct kt_link *link;
    struct kt_acceptor *acceptor;
    struct kt_open *opening;
    struct kt_pipe *stream; /* the client's end; NULL: not open, or broken */
    bool broken;
    size_t written, echoed;
    struct kt_addr client, server, own[PORTS];
    uint64_t sent[PORTS], got[PORTS]; /* bytes of datagrams */
    struct datagram recorded[RECORDED];
    size_t n;
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

/* ---- the ends ---- */

static void echo(void *ctx)
{
    struct kt_pipe *p = ctx;
    struct kt_iov iov;
    size_t n;
    while (kt_pipe_peek(p, &iov, 1) && (n = kt_pipe_write(p, iov.data, iov.len)) > 0) kt_pipe_consume(p, n);
    if (kt_pipe_eof(p)) kt_pipe_close(p);
}

static void echo_broke(void *ctx, int code)
{
    (void)code;
    kt_pipe_close(ctx);
}

static void on_accepted(void *ctx, struct kt_pipe *stream, const struct kt_peer_info *peer)
{
    static const struct kt_pipe_events events = {echo, echo, echo_broke, NULL};
    (void)ctx;
    (void)peer;
    kt_pipe_listen(stream, &events, stream);
    echo(stream);
}

static void on_readable(void *ctx)
{
    struct world *w = ctx;
    struct kt_iov iov;
    while (w->stream && kt_pipe_peek(w->stream, &iov, 1)) {
        for (size_t i = 0; i < iov.len; i++) CHECK(iov.data[i] == (uint8_t)(w->echoed + i));
        w->echoed += iov.len;
        kt_pipe_consume(w->stream, iov.len);
    }
}

static void on_writable(void *ctx)
{
    (void)ctx;
}

static void on_broken(void *ctx, int code)
{
    struct world *w = ctx;
    (void)code;
    kt_pipe_close(w->stream);
    w->stream = NULL;
    w->broken = true;
}

static void on_open(void *ctx, struct kt_pipe *stream, const struct kt_err *err)
{
    static const struct kt_pipe_events events = {on_readable, on_writable, on_broken, NULL};
    struct world *w = ctx;
    (void)err;
    w->opening = NULL;
    w->stream = stream;
    if (stream) kt_pipe_listen(stream, &events, w);
}

static void write_some(struct world *w, size_t n)
{
    uint8_t bytes[256 * 8];
    if (!w->stream) return;
    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(w->written + i);
    w->written += kt_pipe_write(w->stream, bytes, n);
}

/* ---- the network ---- */

static void on_packet(void *ctx, const struct kt_sim_packet *p)
{
    struct world *w = ctx;
    if (p->proto != KT_SIM_UDP || p->what != KT_SIM_SENT) return;
    if (strcmp(p->from, "client") == 0) {
        struct kt_kcp_head head;
        w->client = *p->src;
        if (kt_fec_peek(p->data, p->len, &head)) w->conv = head.conv;
        if (w->n == RECORDED) return;
        memcpy(w->recorded[w->n].data, p->data, p->len);
        w->recorded[w->n++].len = p->len;
        return;
    }
    for (unsigned i = 0; i < PORTS; i++)
        if (kt_addr_equal(p->dst, &w->own[i])) w->got[i] += p->len;
}

static void advance(struct world *w, uint64_t us)
{
    int end = kt_sim_run(w->sim, kt_sim_now(w->sim) + us, NULL, NULL, NULL);
    CHECK(end == KT_SIM_TIME || end == KT_SIM_QUIET);
}

static void inject(struct world *w, unsigned from, const uint8_t *data, size_t len)
{
    const bool own = from % (PORTS + 1) < PORTS;
    const struct kt_addr *src = own ? &w->own[from % (PORTS + 1)] : &w->client;
    if (own) w->sent[from % (PORTS + 1)] += len;
    CHECK(kt_sim_inject(w->attacker, src, &w->server, data, len, NULL) == 0);
}

/* ---- what the program says ---- */

static void replay(struct world *w)
{
    const unsigned from = byte(w), which = byte(w);
    if (w->n == 0) return;
    const struct datagram *d = &w->recorded[which % w->n];
    inject(w, from, d->data, d->len);
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
            .ts = near_to(w, (uint32_t)(kt_sim_now(w->sim) / 1000)),
            .sn = near_to(w, 4),
            .una = near_to(w, 4),
            .len = what & 128 ? near_to(w, len) : len};
        kt_kcp_segment_put(d + at, &seg);
        at += KT_KCP_OVERHEAD;
        for (unsigned k = 0; k < len; k++) d[at++] = (uint8_t)byte(w);
    }
    inject(w, from, d, at);
}

static void step(struct world *w, bool keyed)
{
    switch (byte(w) % 8) {
    case 0:
        advance(w, byte(w) * 1000u);
        break;
    case 1:
        advance(w, byte(w) * 100000u);
        break;
    case 2:
        write_some(w, byte(w) * 8);
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
    kt_endpoint_parse(&c.common.at, client ? "10.0.2.1:29900" : ":29900", KT_ENDPOINT_RANGE, NULL);
    return c;
}

static struct kt_sim_host *host(struct world *w, const char *name)
{
    struct kt_sim_host *h;
    CHECK(kt_sim_host_new(w->sim, &(struct kt_sim_host_opts){.name = name}, &h, NULL) == 0);
    return h;
}

static uint64_t hash(const uint8_t *data, size_t size)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < size; i++) h = (h ^ data[i]) * 0x100000001b3u;
    return h;
}

static void build(struct world *w, unsigned flags, uint64_t seed)
{
    static const struct kt_acceptor_events events = {.stream = on_accepted};
    const struct kt_sim_line_opts line = {.delay_us = 20000};
    const struct kt_kcptun_config near = settings(flags, true), far = settings(flags, false);
    CHECK(kt_sim_new(&w->sim, &(struct kt_sim_opts){.seed = seed}) == 0);
    struct kt_sim_host *client = host(w, "client"), *server = host(w, "server");
    w->attacker = host(w, "attacker");
    CHECK(kt_sim_link(client, server, &line, &line, NULL) == 0);
    CHECK(kt_sim_link(w->attacker, server, NULL, NULL, NULL) == 0);
    CHECK(kt_addr_from_ip(&w->server, "10.0.2.1", 29900));
    for (unsigned i = 0; i < PORTS; i++) CHECK(kt_addr_from_ip(&w->own[i], "10.0.3.1", (uint16_t)(4000 + i)));
    w->client = w->own[0];
    kt_sim_trace_set(w->sim, on_packet, w);
    CHECK(kt_sim_process(client, "near", NULL, &w->near, NULL) == 0);
    CHECK(kt_sim_process(server, "far", NULL, &w->far, NULL) == 0);
    const struct kt_wire_env near_env = {.io = w->near, .counters = &w->near_counters};
    const struct kt_wire_env far_env = {.io = w->far, .counters = &w->far_counters};
    CHECK(kt_kcptun_accept(&far_env, &far.common, &events, w, &w->acceptor, NULL) == 0);
    CHECK(kt_kcptun_link(&near_env, &near.common, &w->link, NULL) == 0);
    CHECK(kt_link_open(w->link, NULL, on_open, w, &w->opening, NULL) == 0);
    advance(w, 1000);
}

static void judge(struct world *w, bool keyed)
{
    for (unsigned i = 0; i < PORTS; i++) CHECK(w->got[i] <= AMPLIFICATION * w->sent[i]);
    if (keyed) return;
    CHECK(w->stream && !w->broken && w->echoed == w->written);
    CHECK(w->far_counters.PassiveOpens == 1 && w->far_counters.CurrEstab == 1);
}

/* The client is gone and its session has ended: nothing must start it again. */
static void replay_all(struct world *w)
{
    const size_t n = w->n;
    kt_pipe_close(w->stream);
    w->stream = NULL;
    kt_link_close(w->link);
    w->link = NULL;
    advance(w, 60 * S);
    CHECK(w->far_counters.CurrEstab == 0);
    for (size_t i = 0; i < n; i++) inject(w, (unsigned)i % PORTS, w->recorded[i].data, w->recorded[i].len);
    advance(w, S);
    CHECK(w->far_counters.PassiveOpens == 1);
    for (unsigned i = 0; i < PORTS; i++) CHECK(w->got[i] <= AMPLIFICATION * w->sent[i]);
}

static void finish(struct world *w)
{
    if (w->opening) kt_open_cancel(w->opening);
    if (w->stream) kt_pipe_close(w->stream);
    w->stream = NULL;
    if (w->link) kt_link_close(w->link);
    kt_acceptor_close(w->acceptor);
    advance(w, S);
    CHECK(w->far_counters.CurrEstab == 0 && w->near_counters.CurrEstab == 0);
    kt_sim_trace_set(w->sim, NULL, NULL);
    kt_io_free(w->near);
    kt_io_free(w->far);
    kt_sim_free(w->sim);
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
    build(w, flags, hash(data, size));
    write_some(w, 100);
    while (w->left) step(w, keyed);
    advance(w, 15 * S); /* the last bytes come back */
    judge(w, keyed);
    if (!keyed) replay_all(w);
    finish(w);
    free(w);
    return 0;
}
