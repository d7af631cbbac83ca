/* Relay: joins two flows; the datagrams stay in C. It ends when either flow does, when both have been idle, or at a
 * time limit, and then closes both. */
#ifndef KT_LINK_RELAY_H
#define KT_LINK_RELAY_H

#include <stdbool.h>
#include "link/flow.h"

struct kt_io;
struct kt_relay;

struct kt_relay_options {
    uint64_t idle_us;  /* end after this long without a datagram in either direction; 0: never */
    uint64_t total_us; /* end this long after the start; 0: never */
};

struct kt_relay_result {
    uint64_t a_to_b, b_to_a; /* bytes that came from a, and from b */
    uint64_t duration_us;
    int code;                  /* why it ended: KT_EIDLE, KT_ETOTAL, what the flow that ended said */
    struct kt_flow_facts a, b; /* at the end */
};

/* Takes over both flows and closes them. done is called exactly once, never from inside this call, after the relay was
 * freed. 0, or KT_ENOMEM, and the flows are still the caller's. */
int kt_relay(struct kt_io *io, struct kt_flow *a, struct kt_flow *b, const struct kt_relay_options *options,
    void (*done)(void *ctx, const struct kt_relay_result *result), void *ctx, struct kt_relay **out);
/* Passes on a datagram that arrived before, from a, or from b. */
void kt_relay_pass(struct kt_relay *r, bool from_b, const uint8_t *data, size_t len);
/* Closes both flows with this reason and frees the relay. done is not called. */
void kt_relay_cancel(struct kt_relay *r, int reason);

#endif
