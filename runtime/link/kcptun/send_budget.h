/* The horizon: how much smux may hand to KCP now. What KCP has queued is sent in that order, whatever gets
 * more urgent meanwhile; so smux hands over what can leave now and what will leave very soon, and keeps the
 * rest.
 *
 * Pure arithmetic on what the parts say. There is no room only while KCP has something to send or to wait
 * for: the queue then holds more than can leave now, by more than the one segment that may overdraw a rate
 * limit. So whoever found no room is always given another turn. */
#ifndef KT_LINK_KCPTUN_SEND_BUDGET_H
#define KT_LINK_KCPTUN_SEND_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "kcp/kcp.h"

struct kt_kcptun_send_budget {
    struct kt_kcp_outlook kcp;
    size_t mss;      /* bytes in a segment */
    size_t space;    /* bytes that KCP takes at most */
    size_t path;     /* bytes that the rate limit and the socket let leave now; SIZE_MAX: any number */
    uint64_t rate;   /* bytes a second; 0: no limit */
    size_t window;   /* segments that KCP holds at most */
    size_t overhead; /* bytes that a frame takes beyond its payload */
    bool unacked;    /* KCP has something to send, or to wait for */
};

/* Payload bytes that a frame of `want` may have now: all, a piece, or 0: none. With want 0: 1 if there is
 * room for a header. */
size_t kt_kcptun_send_budget_room(const struct kt_kcptun_send_budget *h, size_t want);

#endif
