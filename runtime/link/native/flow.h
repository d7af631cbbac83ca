/* A flow (docs/wire.md, 6.2), and the table of an association's: shared by flows.c (the table, frames from the
 * peer) and flow.c (one flow, its queue, frames to the peer).
 *
 * A datagram is in its flow's `datagrams` as long as it exists, and also in one of these: the flow's queue; `again`
 * while its next copy is not due yet; `large` while it exceeds `room`, but not `reach`. */
#ifndef KT_LINK_NATIVE_FLOW_H
#define KT_LINK_NATIVE_FLOW_H

#include "base/hmap.h"
#include "base/list.h"
#include "base/slab.h"
#include "link/native/flows.h"

#define KT_NATIVE_FLOW_ENDS 256u /* FLOW_ENDs that may wait beside one for each flow that may be open */
#define KT_NATIVE_FLOW_STRAY_US 1000000u /* between two answers to datagrams of the same unknown flow */

struct kt_native_queued {
    struct kt_list node, sibling;
    struct kt_native_flow *flow;
    uint64_t sequence; /* if sent */
    uint64_t due_us;   /* of the next copy */
    uint16_t len;
    uint8_t copies; /* left to make */
    bool sent;
    bool large; /* in flows.large */
    uint8_t data[KT_NATIVE_DATAGRAM];
};

/* A FLOW_END to be sent. */
struct kt_native_flow_end {
    struct kt_list node;
    uint64_t id;
    int code;
};

struct kt_native_flow {
    struct kt_native_flows *all;
    struct kt_hnode node;
    uint64_t id;
    struct kt_list recency; /* in all->recency[ours] */
    struct kt_list entry;   /* in all->ready while the queue is not empty */
    struct kt_list queue, datagrams;
    const struct kt_native_flow_events *events;
    void *ctx;
    char *texts; /* target and client; NULL: the peer knows of the flow */
    uint8_t target_len, client_len;
    bool ours;
    bool ahead; /* FLOW went in an earlier packet, since it does not fit into one with the datagram */
    uint8_t copies;
    bool parity; /* its datagrams are to be protected by PARITY */
    uint32_t queued;
    uint64_t active_us; /* the last datagram */
    uint64_t sequence;  /* of the next datagram */
    uint64_t highest;   /* sequence received, plus 1 */
    /* Of those below `highest`, by their number modulo the window. */
    uint64_t seen[KT_NATIVE_FLOW_WINDOW / 64];
    struct kt_native_flow_facts facts;
};

struct kt_native_flows {
    struct kt_native_flows_config cfg;
    struct kt_native_flows_owner owner;
    void *ctx;
    struct kt_slab *slab; /* of struct kt_native_queued */
    struct kt_hmap table;
    struct kt_list recency[2]; /* the peer's flows, ours: the one idle longest first */
    uint64_t count[2];         /* likewise */
    struct kt_list ready;      /* flows with datagrams to send, the next one first */
    struct kt_list again;      /* datagrams that wait for their next copy */
    struct kt_list large;      /* datagrams that wait for the search for the MTU */
    size_t large_count;
    uint64_t own_next; /* id */
    uint64_t now_us, gap_us;
    size_t room, reach;
    bool asked;                  /* what was written last is to be protected */
    struct kt_list ends;         /* of kt_native_flow_end */
    uint64_t end_count[2];       /* of them: of the peer's flows, of ours */
    uint64_t stray_id, stray_us; /* the last unknown flow that was answered with FLOW_END, and when */
    struct kt_native_flows_facts facts;
};

/* ---- flows.c ---- */

/* Takes a FLOW_END off the list. */
void kt_native_flow_end_free(struct kt_native_flows *f, struct kt_native_flow_end *e);
/* Notes that a flow was the last to be active. */
void kt_native_flow_touch(struct kt_native_flow *flow);

/* ---- flow.c ---- */

void kt_native_queued_free(struct kt_native_queued *q);
/* Puts a datagram at the end of its flow's queue. */
void kt_native_flow_enqueue(struct kt_native_queued *q);
/* Call for an arrived datagram: counts it. False if it is a copy. */
bool kt_native_flow_take(struct kt_native_flow *flow, uint64_t sequence, size_t len);

#endif
