/* A simulated tunnel for the fuzz targets of acceptors: a client with a stream that the acceptor's side echoes, and an
 * attacker on another line to the server. Its datagrams come from addresses of its own or from the client's.
 *
 * Each byte that comes back on the client's stream is checked. */
#ifndef SPEC_FUZZ_TUNNEL_H
#define SPEC_FUZZ_TUNNEL_H

#include <string.h>
#include "io/sim/sim.h"
#include "link/counters.h"
#include "link/link.h"
#include "link/wire.h"
#include "check.h"

#define RECORDED 64u
#define PORTS 4u /* the attacker's own addresses; one more is the client's */
#define AMPLIFICATION 3u
#define ATTACKER_BPS 1000000000000000u /* what it sends in an instant arrives in one */
#define S 1000000u

struct datagram {
    uint8_t data[KT_UDP_MAX];
    size_t len;
};

struct tunnel {
    struct kt_sim *sim;
    struct kt_sim_host *attacker;
    struct kt_io *near, *far;
    struct kt_counters near_counters, far_counters;
    struct kt_acceptor *acceptor;
    struct kt_link *link;
    struct kt_open *opening;
    struct kt_pipe *stream; /* the client's end; NULL: not open, or broken */
    bool broken;
    size_t written, echoed;
    struct kt_addr client, server, own[PORTS];
    uint64_t sent[PORTS]; /* bytes of datagrams from these */
    struct datagram recorded[RECORDED];
    size_t n;
};

/* ---- the end that echoes ---- */

static inline void tunnel_echo(void *ctx)
{
    struct kt_pipe *p = ctx;
    struct kt_iov iov;
    size_t n;
    while (kt_pipe_peek(p, &iov, 1) && (n = kt_pipe_write(p, iov.data, iov.len)) > 0) kt_pipe_consume(p, n);
    if (kt_pipe_eof(p)) kt_pipe_close(p);
}

static inline void tunnel_echo_broke(void *ctx, int code)
{
    (void)code;
    kt_pipe_close(ctx);
}

static inline void tunnel_echo_all(struct kt_pipe *stream)
{
    static const struct kt_pipe_events events = {
        .readable = tunnel_echo, .writable = tunnel_echo, .closed = tunnel_echo_broke};
    kt_pipe_listen(stream, &events, stream);
    tunnel_echo(stream);
}

static inline void tunnel_on_accepted(void *ctx, struct kt_pipe *stream, const struct kt_peer_info *peer)
{
    (void)ctx;
    (void)peer;
    tunnel_echo_all(stream);
}

/* ---- the client ---- */

static inline void tunnel_on_readable(void *ctx)
{
    struct tunnel *t = ctx;
    struct kt_iov iov;
    while (t->stream && kt_pipe_peek(t->stream, &iov, 1)) {
        for (size_t i = 0; i < iov.len; i++) CHECK(iov.data[i] == (uint8_t)(t->echoed + i));
        t->echoed += iov.len;
        kt_pipe_consume(t->stream, iov.len);
    }
}

static inline void tunnel_on_writable(void *ctx)
{
    (void)ctx;
}

static inline void tunnel_on_broken(void *ctx, int code)
{
    struct tunnel *t = ctx;
    (void)code;
    kt_pipe_close(t->stream);
    t->stream = NULL;
    t->broken = true;
}

static inline void tunnel_on_open(void *ctx, struct kt_pipe *stream, const struct kt_err *err)
{
    static const struct kt_pipe_events events = {
        .readable = tunnel_on_readable, .writable = tunnel_on_writable, .closed = tunnel_on_broken};
    struct tunnel *t = ctx;
    (void)err;
    t->opening = NULL;
    t->stream = stream;
    if (stream) kt_pipe_listen(stream, &events, t);
}

/* At most 2048 bytes. */
static inline void tunnel_write(struct tunnel *t, size_t n)
{
    uint8_t bytes[256 * 8];
    if (!t->stream) return;
    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(t->written + i);
    t->written += kt_pipe_write(t->stream, bytes, n);
}

/* ---- the network ---- */

static inline void tunnel_advance(struct tunnel *t, uint64_t us)
{
    int end = kt_sim_run(t->sim, kt_sim_now(t->sim) + us, NULL, NULL, NULL);
    CHECK(end == KT_SIM_TIME || end == KT_SIM_QUIET);
}

/* A datagram of the attacker. from: one of its addresses, or PORTS for the client's. */
static inline void tunnel_inject(struct tunnel *t, unsigned from, const uint8_t *data, size_t len)
{
    const bool own = from % (PORTS + 1) < PORTS;
    const struct kt_addr *src = own ? &t->own[from % (PORTS + 1)] : &t->client;
    if (own) t->sent[from % (PORTS + 1)] += len;
    CHECK(kt_sim_inject(t->attacker, src, &t->server, data, len, NULL) == 0);
}

/* Keeps a datagram for a replay, while there is room. */
static inline void tunnel_record(struct tunnel *t, const uint8_t *data, size_t len)
{
    if (t->n == RECORDED) return;
    memcpy(t->recorded[t->n].data, data, len);
    t->recorded[t->n++].len = len;
}

/* bps: at which packets leave it; 0: as usual. */
static inline struct kt_sim_host *tunnel_host(struct tunnel *t, const char *name, uint64_t bps)
{
    struct kt_sim_host *h;
    CHECK(kt_sim_host_new(t->sim, &(struct kt_sim_host_opts){.name = name, .send_bps = bps}, &h, NULL) == 0);
    return h;
}

static inline uint64_t tunnel_hash(const uint8_t *data, size_t size)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < size; i++) h = (h ^ data[i]) * 0x100000001b3u;
    return h;
}

/* ---- life ---- */

/* Makes the world, with an acceptor. The settings' `at` is set here. on_packet: called with ctx for each packet. */
static inline void tunnel_build(struct tunnel *t, const struct kt_wire *wire, struct kt_settings *far,
    uint64_t seed, const struct kt_acceptor_events *events,
    void (*on_packet)(void *ctx, const struct kt_sim_packet *p), void *ctx)
{
    const struct kt_sim_line_opts line = {.delay_us = 20000};
    CHECK(kt_sim_new(&t->sim, &(struct kt_sim_opts){.seed = seed}) == 0);
    struct kt_sim_host *client = tunnel_host(t, "client", 0), *server = tunnel_host(t, "server", 0);
    t->attacker = tunnel_host(t, "attacker", ATTACKER_BPS);
    CHECK(kt_sim_link(client, server, &line, &line, NULL) == 0);
    CHECK(kt_sim_link(t->attacker, server, NULL, NULL, NULL) == 0);
    CHECK(kt_addr_from_ip(&t->server, "10.0.2.1", 29900));
    for (unsigned i = 0; i < PORTS; i++) CHECK(kt_addr_from_ip(&t->own[i], "10.0.3.1", (uint16_t)(4000 + i)));
    t->client = t->own[0];
    kt_sim_trace_set(t->sim, on_packet, ctx);
    CHECK(kt_sim_process(client, "near", NULL, &t->near, NULL) == 0);
    CHECK(kt_sim_process(server, "far", NULL, &t->far, NULL) == 0);
    const struct kt_wire_env env = {.io = t->far, .counters = &t->far_counters};
    kt_endpoint_parse(&far->at, ":29900", KT_ENDPOINT_RANGE, NULL);
    CHECK(wire->accept(wire, &env, far, events, ctx, &t->acceptor, NULL) == 0);
}

/* Opens the client's stream. */
static inline void tunnel_dial(struct tunnel *t, const struct kt_wire *wire, struct kt_settings *near)
{
    const struct kt_wire_env env = {.io = t->near, .counters = &t->near_counters};
    kt_endpoint_parse(&near->at, "10.0.2.1:29900", KT_ENDPOINT_RANGE, NULL);
    CHECK(wire->link(wire, &env, near, &t->link, NULL) == 0);
    CHECK(kt_link_open(t->link, NULL, tunnel_on_open, t, &t->opening, NULL) == 0);
}

/* Ends the client and, within `us`, its session; then replays all that was recorded. Nothing may come of it. */
static inline void tunnel_replay_all(struct tunnel *t, uint64_t us)
{
    const size_t n = t->n;
    kt_pipe_close(t->stream);
    t->stream = NULL;
    kt_link_close(t->link);
    t->link = NULL;
    tunnel_advance(t, us);
    CHECK(t->far_counters.CurrEstab == 0);
    for (size_t i = 0; i < n; i++)
        tunnel_inject(t, (unsigned)i % PORTS, t->recorded[i].data, t->recorded[i].len);
    tunnel_advance(t, S);
    CHECK(t->far_counters.PassiveOpens == 1);
}

static inline void tunnel_close(struct tunnel *t)
{
    if (t->opening) kt_open_cancel(t->opening);
    if (t->stream) kt_pipe_close(t->stream);
    t->stream = NULL;
    if (t->link) kt_link_close(t->link);
    kt_acceptor_close(t->acceptor);
    tunnel_advance(t, S);
    CHECK(t->far_counters.CurrEstab == 0 && t->near_counters.CurrEstab == 0);
    kt_sim_trace_set(t->sim, NULL, NULL);
}

static inline void tunnel_free(struct tunnel *t)
{
    kt_io_free(t->near);
    kt_io_free(t->far);
    kt_sim_free(t->sim);
}

#endif
