/* UDP sockets as flows (link/flow.h): a listening one, whose peers are flows, and a connected one, which is a flow. */
#ifndef KT_LINK_COMMON_UDP_FLOWS_H
#define KT_LINK_COMMON_UDP_FLOWS_H

#include "base/addr.h"
#include "io/io.h"
#include "link/flow.h"

/* ---- a socket whose peers are flows ----
 *
 * A datagram from an address without a flow begins one. A flow ends when nothing was sent or received for idle_us, and
 * when it is the one idle longest and another needs its place. So a flood of senders costs bounded memory, and idle
 * flows cost nothing until they end.
 *
 * With `diverted`, a flow is the datagrams from one address to one other (kt_udp_opts.diverted), and what is sent comes
 * from that other address: by a socket of its own, which the flows to that address share. */

struct kt_counters;
struct kt_udp_flows;

struct kt_udp_flows_events {
    /* A new flow, the callee's until closed. `peer` is its address, and `original` where its datagrams were sent to, or
     * NULL; both are texts, valid during the call. Its first datagram follows at once if the callee listens. The callee
     * may close the flow, not the socket. */
    void (*flow)(void *ctx, struct kt_flow *flow, const char *peer, const char *original);
};

struct kt_udp_flows_options {
    const struct kt_endpoint *at; /* an IP address or "", and a port; 0: any */
    uint64_t idle_us;             /* > 0 */
    size_t most;                  /* flows at a time, > 0 */
    bool diverted;
    struct kt_counters *counters; /* for datagrams that are too large for any flow */
};

struct kt_udp_flows_facts {
    size_t flows;     /* now */
    uint64_t opened;  /* ever */
    uint64_t evicted; /* ended to make room for others */
};

/* 0, or a code with a sentence, as kt_bind_udp. Close *out with kt_udp_flows_close. */
int kt_udp_flows_open(struct kt_io *io, const struct kt_udp_flows_options *options,
    const struct kt_udp_flows_events *events, void *ctx, struct kt_udp_flows **out, struct kt_err *err);
/* Changes the limits; present flows follow. */
void kt_udp_flows_set(struct kt_udp_flows *u, uint64_t idle_us, size_t most);
/* From now on, no new flows begin. */
void kt_udp_flows_stop(struct kt_udp_flows *u);
void kt_udp_flows_local(const struct kt_udp_flows *u, struct kt_addr *out);
void kt_udp_flows_facts(const struct kt_udp_flows *u, struct kt_udp_flows_facts *out);
/* Its flows end with KT_ECLOSED; their users still close them. Not from a callback. */
void kt_udp_flows_close(struct kt_udp_flows *u);

/* ---- a connected socket ---- */

/* A flow to one address, from a port of its own. It ends with KT_EREFUSED if the target's host says that nobody listens
 * there before anything came back; it has no idle time. `counters` count answers that are too large for any
 * flow. 0, or a code with a sentence. */
int kt_udp_flow_connect(struct kt_io *io, struct kt_counters *counters, const struct kt_addr *to,
    struct kt_flow **out, struct kt_err *err);

#endif
