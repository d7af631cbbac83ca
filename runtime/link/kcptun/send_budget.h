/* The send budget: how much smux may pass to KCP now. KCP sends its queue in order, even if something more
 * urgent comes later; so smux passes on what can leave now or very soon, and keeps the rest.
 *
 * Pure arithmetic on the state of the parts. The budget is 0 only while KCP has something to send or to wait
 * for: its queue then exceeds what can leave now by more than the one segment that may overdraw a rate limit.
 * So a caller that found no room always gets another turn. */
#ifndef KT_LINK_KCPTUN_SEND_BUDGET_H
#define KT_LINK_KCPTUN_SEND_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "kcp/kcp.h"

struct kt_kcptun_send_budget {
    struct kt_kcp_outlook kcp;
    size_t mss;      /* bytes in a segment */
    size_t space;    /* most bytes that KCP accepts */
    size_t path;     /* bytes that the rate limit and the socket allow now; SIZE_MAX: no limit */
    uint64_t rate;   /* bytes per second; 0: no limit */
    size_t window;   /* most segments that KCP buffers */
    size_t overhead; /* bytes of a frame besides its payload */
    bool unacked;    /* KCP has something to send or to wait for */
};

/* How many of `want` payload bytes a frame may have now: all, some, or none. For want 0: 1 if a header fits,
 * 0 if not. */
size_t kt_kcptun_send_budget_room(const struct kt_kcptun_send_budget *h, size_t want);

#endif
