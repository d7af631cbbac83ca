/* A flow: datagrams that belong together by their addresses, without retransmission or ordering. Links have flows if
 * their wire carries them; the peers of a UDP socket are flows too (common/udp_flows.h). relay.h joins two.
 *
 * A flow ends when it has been idle, when its other end closes it, or when another flow needs its place. Nothing in it
 * is reliable: a datagram that cannot be kept is dropped and counted. */
#ifndef KT_LINK_FLOW_H
#define KT_LINK_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

#define KT_FLOW_DATAGRAM 1500u     /* bytes of the largest datagram that any flow carries */
#define KT_FLOW_IDLE_US 120000000u /* the default; RFC 4787, REQ-5 asks a NAT for at least this */
#define KT_FLOW_COPIES 3u          /* most copies of a datagram */

struct kt_flow;

struct kt_flow_facts {
    uint64_t sent, received; /* datagrams */
    uint64_t bytes_out, bytes_in;
    uint64_t dropped;   /* not sent, because a queue was full */
    uint64_t too_large; /* not sent, because they did not fit the path */
};

struct kt_flow_ops {
    void (*send)(struct kt_flow *f, const uint8_t *data, size_t len);
    void (*facts)(const struct kt_flow *f, struct kt_flow_facts *out);
    void (*copies)(struct kt_flow *f, unsigned copies); /* NULL: it makes none */
    void (*fec)(struct kt_flow *f, bool fec);           /* NULL: it has none */
    void (*close)(struct kt_flow *f, int reason);
};

/* Neither comes from inside a call on the same flow, nor after close. The callbacks may send on any flow, and close
 * none. */
struct kt_flow_events {
    /* A datagram arrived; valid during the call. */
    void (*datagram)(void *ctx, const uint8_t *data, size_t len);
    /* The flow has ended, with a KT_E... code (KT_EIDLE, KT_ELIMIT, the peer's). Close it. */
    void (*ended)(void *ctx, int code);
};

struct kt_flow {
    const struct kt_flow_ops *ops;
    const struct kt_flow_events *events; /* NULL: arrivals are dropped */
    void *ctx;
};

static inline void kt_flow_listen(struct kt_flow *f, const struct kt_flow_events *events, void *ctx)
{
    f->events = events;
    f->ctx = ctx;
}

/* Sends a copy of a datagram, or drops it; on a flow that has ended, always. */
static inline void kt_flow_send(struct kt_flow *f, const uint8_t *data, size_t len)
{
    f->ops->send(f, data, len);
}

static inline void kt_flow_facts(const struct kt_flow *f, struct kt_flow_facts *out)
{
    *out = (struct kt_flow_facts){0};
    f->ops->facts(f, out);
}

/* From now on, send this many extra copies of each datagram, spaced; 0..KT_FLOW_COPIES. 0, or KT_ENOTSUP. */
static inline int kt_flow_copies(struct kt_flow *f, unsigned copies)
{
    if (!f->ops->copies) return KT_ENOTSUP;
    f->ops->copies(f, copies);
    return 0;
}

/* From now on, its datagrams are protected by FEC while packets are lost, or not. 0, or KT_ENOTSUP. */
static inline int kt_flow_fec(struct kt_flow *f, bool fec)
{
    if (!f->ops->fec) return KT_ENOTSUP;
    f->ops->fec(f, fec);
    return 0;
}

/* Frees it. The other end learns the reason, a KT_E... code, if the wire can say it. */
static inline void kt_flow_close(struct kt_flow *f, int reason)
{
    f->ops->close(f, reason);
}

#endif
