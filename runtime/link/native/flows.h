/* The flows of one association of kt's own wire (docs/wire.md, 6.2): datagrams that are kept together by their
 * addresses, without retransmission or ordering. No I/O and no clock, as streams.h.
 *
 * Everything is bounded, and counted where it is dropped: flows by max_flows (the one idle longest makes room), queued
 * datagrams by KT_NATIVE_FLOW_QUEUE for each flow and KT_NATIVE_FLOWS_QUEUE for all, large ones that wait for the search
 * for the MTU by KT_NATIVE_FLOWS_LARGE for all (the oldest makes room). Flows are in the order of their last datagram, so
 * an idle one costs nothing until it ends.
 *
 * A copy of a datagram, or one more than KT_NATIVE_FLOW_WINDOW behind, is dropped by the receiver. */
#ifndef KT_LINK_NATIVE_FLOWS_H
#define KT_LINK_NATIVE_FLOWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "link/native/content.h"
#include "link/native/frame.h"

struct kt_native_flows;
struct kt_native_flow;

#define KT_NATIVE_FLOWS_MAX (1u << 20) /* largest max_flows */
#define KT_NATIVE_FLOW_QUEUE 64u       /* datagrams */
#define KT_NATIVE_FLOWS_QUEUE 1024u    /* datagrams, with those kept for copies */
#define KT_NATIVE_FLOWS_LARGE 64u      /* datagrams */
#define KT_NATIVE_FLOW_WINDOW 256u     /* datagrams */
#define KT_NATIVE_FLOW_COPIES 3u       /* most copies of a datagram */
#define KT_NATIVE_DATAGRAM 1500u       /* largest datagram, bytes */

struct kt_native_flows_config {
    bool client;
    uint64_t ours, peers; /* max_flows as announced; ours at most KT_NATIVE_FLOWS_MAX */
    uint64_t idle_us;     /* a flow ends after this long without a datagram; 0: never */
    uint64_t hash_seed;   /* random: the peer chooses ids */
};

/* A flow's addresses; NULL: not given. At most KT_NATIVE_NAME_MAX bytes each. */
struct kt_native_flow_addresses {
    const char *target; /* where the far side is to send them */
    const char *client; /* whose they are on this side */
};

struct kt_native_flows_owner {
    /* There is something to send. Must not call back. */
    void (*wake)(void *ctx);
    /* The peer opened a flow, which is the callee's until it ends: it listens, or closes it. The addresses
     * are valid during the call. NULL: such flows are refused. */
    void (*flow)(void *ctx, struct kt_native_flow *flow, const struct kt_native_flow_addresses *addresses);
};

/* Datagrams, of a flow or of all flows that ever were. */
struct kt_native_flow_facts {
    uint64_t sent, received; /* without copies */
    uint64_t bytes_out, bytes_in;
    uint64_t dropped;    /* here, because a queue was full */
    uint64_t too_large;  /* refused */
    uint64_t duplicates; /* received more than once, or too late to tell */
};

/* Events of a flow for its user, raised by kt_native_flows_input and kt_native_flows_timer. The callbacks may call
 * anything on flows but kt_native_flows_free. */
struct kt_native_flow_events {
    /* A datagram arrived; valid during the call. */
    void (*datagram)(void *ctx, const uint8_t *data, size_t len);
    /* The flow ended, with a KT_E... code: KT_EIDLE, KT_ELIMIT (it made room for another), or the peer's reason; facts:
     * its last figures, valid during the call. It must not be touched any more. */
    void (*ended)(void *ctx, int code, const struct kt_native_flow_facts *facts);
};

/* 0, KT_EINVAL or KT_ENOMEM. */
int kt_native_flows_new(struct kt_native_flows **out, const struct kt_native_flows_config *cfg,
    const struct kt_native_flows_owner *owner, void *ctx);
/* Ends all flows with a KT_E... code. NULL is harmless. */
void kt_native_flows_free(struct kt_native_flows *f, int code);

/* The time in µs, and the gap between copies: before anything else in a turn. */
void kt_native_flows_clock(struct kt_native_flows *f, uint64_t now_us, uint64_t gap_us);
/* The room for frames that a packet of the path can give to flows, and what that may soon grow to, in bytes; before the
 * first datagram, and when they change. A datagram may need all of it. One that fits `reach` but not `room` waits until
 * either changes. */
void kt_native_flows_path(struct kt_native_flows *f, size_t room, size_t reach);
/* True while a datagram waits for more room. */
bool kt_native_flows_wait(const struct kt_native_flows *f);

/* Opens a flow; it is the caller's until it ends. If the peer takes no more, the own flow that has been idle longest
 * ends. 0, KT_EINVAL (text too long), KT_ENOTSUP (the peer does not accept flows) or KT_ENOMEM. */
int kt_native_flows_open(
    struct kt_native_flows *f, const struct kt_native_flow_addresses *addresses, struct kt_native_flow **out);
void kt_native_flow_listen(
    struct kt_native_flow *flow, const struct kt_native_flow_events *events, void *ctx);
/* Send this many extra copies of each datagram, spaced by the gap; 0..KT_NATIVE_FLOW_COPIES. */
void kt_native_flow_copies(struct kt_native_flow *flow, unsigned copies);
/* Whether its datagrams are to be protected by PARITY. */
void kt_native_flow_parity(struct kt_native_flow *flow, bool parity);
/* Queues a copy of a datagram. 0; KT_ELIMIT: larger than the path may carry; KT_ENOMEM. Both are counted. */
int kt_native_flow_send(struct kt_native_flow *flow, const void *data, size_t len);
/* Ends a flow, and tells the peer a KT_E... code. Datagrams that are queued are dropped. */
void kt_native_flow_close(struct kt_native_flow *flow, int reason);

/* True if such a frame is for kt_native_flows_input. */
static inline bool kt_native_flows_takes(uint8_t type)
{
    return type == KT_NATIVE_FRAME_FLOW || type == KT_NATIVE_FRAME_FLOW_END ||
           kt_native_frame_is_datagram(type);
}
/* A frame from the peer. 0; KT_EPROTO: it breaks a rule, err names the frame; KT_ENOMEM. */
int kt_native_flows_input(struct kt_native_flows *f, const struct kt_native_frame *frame, struct kt_err *err);

/* Writing and fates as for streams (streams.h). Datagrams have no content: nobody waits for their fate. An owner
 * that has streams to send as well lets each write every other packet first. */
bool kt_native_flows_pending(const struct kt_native_flows *f);
size_t kt_native_flows_write(
    struct kt_native_flows *f, uint8_t *out, size_t room, struct kt_native_content *contents, size_t *count);
/* Whether the last kt_native_flows_write wrote a datagram that is to be protected by PARITY. */
bool kt_native_flows_asked(const struct kt_native_flows *f);
void kt_native_flows_acked(struct kt_native_flows *f, const struct kt_native_content *c);
void kt_native_flows_lost(struct kt_native_flows *f, const struct kt_native_content *c);

/* When kt_native_flows_timer is to be called, µs; UINT64_MAX: not at all. It ends idle flows, and makes copies due. */
uint64_t kt_native_flows_due(const struct kt_native_flows *f);
void kt_native_flows_timer(struct kt_native_flows *f);

struct kt_native_flows_facts {
    struct kt_native_flow_facts total;
    size_t flows, queued;
    uint64_t strays;  /* datagrams of unknown flows */
    uint64_t evicted; /* flows that made room for others */
};
void kt_native_flow_facts(const struct kt_native_flow *flow, struct kt_native_flow_facts *out);
void kt_native_flows_facts(const struct kt_native_flows *f, struct kt_native_flows_facts *out);

#endif
