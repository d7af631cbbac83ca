/* An association: the state that two ends share after a handshake (docs/wire.md, section 1). It has paths, each
 * with its own packet numbers, acknowledgements, congestion controller and pacer, and streams, whose frames may use
 * any path. Both ends have the same kind; links and acceptors differ in how they make one.
 *
 * Work is done once per loop turn: arrivals and writes mark the association, and its turn hook then raises the
 * streams' events, builds packets and arms one timer for the next thing due. An idle association has no timer, but
 * for a client's keepalive and the end of `survive`.
 *
 * A peer that owes an answer and is silent is asked for one, at first every half round trip, later once a second (5.8);
 * after suspect_after it is suspect. An association that has not heard its peer for `survive` ends. */
#ifndef KT_LINK_NATIVE_ASSOCIATION_H
#define KT_LINK_NATIVE_ASSOCIATION_H

#include "link/link.h"
#include "link/native/context.h"
#include "link/native/flows.h"
#include "link/native/handshake.h"
#include "link/native/packet.h"

struct kt_native_association;

struct kt_native_association_owner {
    /* The peer opened a stream; it is the callee's. */
    void (*stream)(void *ctx, struct kt_pipe *stream, const struct kt_open_options *opened);
    /* The peer opened a flow; the callee listens, or closes it. */
    void (*flow)(void *ctx, struct kt_native_flow *flow, const struct kt_native_flow_addresses *addresses);
    /* The first packet from the peer has opened: it has the keys of this handshake. May be NULL. */
    void (*proven)(void *ctx);
    /* The peer became suspect (why says how), or is trusted again (why NULL). May be NULL. */
    void (*suspect)(void *ctx, const char *why);
    /* Once a second while the peer is suspect: the callee may give the path another socket
     * (kt_native_association_move). May be NULL. */
    void (*silent)(void *ctx);
    /* A path has been out of use for some seconds while others are in use: as `silent`, for this one. May be
     * NULL. */
    void (*lost)(void *ctx, unsigned path);
    /* The peer has not answered on a path for two probe timeouts in a row, or on one that is out of use: the callee may
     * move it to another socket, if this host's address for the peer has changed. Again at most every 250 ms. May be
     * NULL. */
    void (*unanswered)(void *ctx, unsigned path);
    /* It is time for another place, or far more is lost than before: the callee may try one
     * (kt_native_association_try). May be NULL. */
    void (*hop)(void *ctx);
    /* The path has moved to the place that was tried: its socket is in use now. Not NULL if `hop` or `silent` is
     * not. */
    void (*moved)(void *ctx);
    /* kt_native_association_open returned KT_EAGAIN, and may succeed now. */
    void (*room)(void *ctx);
    /* False: the last stream was closed, and the peer holds everything sent in it. True: a stream was
     * opened. */
    void (*carries)(void *ctx, bool anything);
    /* The association is over: KT_EDEAD, KT_EPROTO, KT_ENOMEM, or what the peer's CLOSE says. The owner takes what it
     * wants from it (young streams) and frees it, now or soon. Comes once. */
    void (*over)(void *ctx, int code);
    void *ctx;
    /* The association's totals are added to these when it is freed. */
    struct kt_link_totals *ended;
};

/* How datagrams reach a peer. */
struct kt_native_place {
    struct kt_udp *udp; /* not owned; outlives the association */
    struct kt_addr peer;
    struct kt_addr from; /* this host's address, as kt_dgram.to; AF_UNSPEC: the system chooses */
    size_t port;         /* the acceptor's index of udp; 0 for a link */
    bool connected;      /* udp is connected to the peer */
};

/* The parameters of a new association. */
struct kt_native_beginning {
    const struct kt_native_agreed *agreed; /* the handshake's result; copied, and the caller wipes its own */
    const char *identity;                  /* of the peer; copied; NULL: it has none */
    struct kt_native_place place;
    uint32_t rtt_us; /* of the handshake; 0: unknown */
};

/* owner: copied. 0 or a code. */
int kt_native_association_new(struct kt_native_association **out, struct kt_native_context *context,
    const struct kt_native_beginning *begin, const struct kt_native_association_owner *owner);

/* Ends and frees it: sends CLOSE if the peer does not know yet, and breaks streams with code. text: for the
 * peer's log, or NULL. Call it from the loop or from `over`, not from another event. NULL is harmless. */
void kt_native_association_free(struct kt_native_association *a, int code, const char *text);

/* The connection id of a path (0..KT_NATIVE_PATHS - 1) in what the peer sends. */
const uint8_t *kt_native_association_cid(const struct kt_native_association *a, unsigned path);

/* ... and in what it is sent. */
const uint8_t *kt_native_association_peer_cid(const struct kt_native_association *a, unsigned path);

/* Takes a data packet for this association and path, with its header as kt_native_peek read it. */
void kt_native_association_input(struct kt_native_association *a, unsigned path,
    const struct kt_native_header *header, struct kt_dgram *dgram, struct kt_udp *udp, size_t port);

/* Replaces the socket of a path of a link. Packets in flight stay in flight; once the peer answers, what it lacks is
 * sent again. peer: where that socket is connected. If it is another address than before, which the peer must have
 * proven, packets in flight are lost, and the path's measurements begin again. */
void kt_native_association_move(
    struct kt_native_association *a, unsigned path, struct kt_udp *udp, const struct kt_addr *peer);
/* Tries another address of the peer, with a socket that is connected to it and lives until the next try
 * ends. If the peer answers there, the path moves, and `moved` is raised. Datagrams that arrive at the
 * previous socket are still taken. An earlier try ends. */
void kt_native_association_try(
    struct kt_native_association *a, struct kt_udp *udp, const struct kt_addr *peer);
/* Opens another path of a link, by a socket that is connected to the peer and outlives the association. Nothing else
 * leaves on it until the peer has answered there. 0 or KT_ENOMEM. */
int kt_native_association_path(
    struct kt_native_association *a, unsigned path, struct kt_udp *udp, const struct kt_addr *peer);
/* Call when this socket can be written to again. */
void kt_native_association_writable(struct kt_native_association *a, const struct kt_udp *udp);
/* Call after changing live settings in the context's cfg. */
void kt_native_association_tune(struct kt_native_association *a);

/* Opens a stream, as kt_native_streams_open; *out is the caller's until it closes it. An association that is over
 * returns the code it ended with. */
int kt_native_association_open(
    struct kt_native_association *a, const struct kt_open_options *options, struct kt_pipe **out);
/* Opens a flow: as kt_native_flows_open, with this many copies of each datagram, and with parity or without. */
int kt_native_association_flow(struct kt_native_association *a,
    const struct kt_native_flow_addresses *addresses, unsigned copies, bool fec, struct kt_native_flow **out);
/* Moves the streams that the peer of `from` may not have seen; returns how many. */
size_t kt_native_association_move_young(struct kt_native_association *from, struct kt_native_association *to);

/* A measurement of a round trip. The memory is the caller's until done or cancel. */
struct kt_native_probe {
    struct kt_list node;
    /* Called once: code 0 and the round trip in µs, > 0; or why it failed. May only record things. */
    void (*done)(struct kt_native_probe *p, uint64_t rtt_us, int code);
    uint64_t started; /* µs; this and `ping` are the association's */
    uint64_t ping;
};
void kt_native_association_probe(struct kt_native_association *a, struct kt_native_probe *p);
void kt_native_association_probe_cancel(struct kt_native_probe *p);

/* Sends a PING now. */
void kt_native_association_ask(struct kt_native_association *a);

/* ---- facts ---- */

/* When the last packet of the peer opened, in µs; 0: none did. */
uint64_t kt_native_association_heard(const struct kt_native_association *a);
uint32_t kt_native_association_rtt(const struct kt_native_association *a); /* smoothed, in µs */

const struct kt_wire *kt_native_association_wire(const struct kt_native_association *a);
const struct kt_addr *kt_native_association_peer(const struct kt_native_association *a);
/* Whether the peers of two are at the same address, and reach this host at the same one; ports may differ. */
bool kt_native_association_same_hosts(
    const struct kt_native_association *x, const struct kt_native_association *y);
const char *kt_native_association_peer_text(const struct kt_native_association *a);
const char *kt_native_association_identity(const struct kt_native_association *a); /* NULL: a shared key */
const uint8_t *kt_native_association_key(const struct kt_native_association *a);   /* the peer's public one */
const uint8_t *kt_native_association_instance(
    const struct kt_native_association *a); /* the peer's, 16 bytes */
/* How often it sends something at least, in µs, as announced in the handshake; 0: it did not say. */
uint64_t kt_native_association_peer_keepalive(const struct kt_native_association *a);
const uint8_t *kt_native_association_device(
    const struct kt_native_association *a); /* the peer's, 16 bytes; NULL: it did not say */
size_t kt_native_association_streams(const struct kt_native_association *a);
bool kt_native_association_over(const struct kt_native_association *a);
/* Why it is over, as a sentence. */
const char *kt_native_association_why(const struct kt_native_association *a);
/* Adds this association to a snapshot; its totals alone if it is over. */
void kt_native_association_stats(const struct kt_native_association *a, struct kt_link_stats *sum);

#endif
