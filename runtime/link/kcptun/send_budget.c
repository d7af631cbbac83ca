/* Computes the send budget from KCP's window, queue and round-trip time. */
#include "link/kcptun/send_budget.h"
#include "base/bytes.h"

#define SOON_US 10000u
#define PACED_SOON_US 4000u /* a paced session has a turn at least every 2 ms */
#define SOON_SEGMENTS 3u    /* so that an acknowledgement always finds something to send */

/* Bytes beyond those that can leave now that will leave within SOON_US, estimated from window and round-trip
 * time, or from the rate limit. */
static uint64_t soon(const struct kt_kcptun_send_budget *h)
{
    const uint64_t trip = h->kcp.srtt_us ? h->kcp.srtt_us : SOON_US, least = SOON_SEGMENTS * h->mss;
    uint64_t bytes = (uint64_t)h->kcp.window * h->mss * SOON_US / trip;
    if (h->rate) bytes = kt_min64(bytes, h->rate * SOON_US / 1000000);
    if (h->kcp.rate) bytes = kt_min64(bytes, h->kcp.rate * PACED_SOON_US / 1000000);
    return bytes > least ? bytes : least;
}

size_t kt_kcptun_send_budget_room(const struct kt_kcptun_send_budget *h, size_t want)
{
    const uint64_t extra = soon(h), queued = (uint64_t)h->kcp.queued * h->mss;
    const uint64_t ahead = kt_min64(kt_min64((uint64_t)h->kcp.open * h->mss, h->path), h->kcp.paced) + extra;
    const size_t room = (size_t)kt_min64(h->space, ahead > queued ? ahead - queued : 0);
    if (room < h->overhead + (want > 0)) return 0;
    if (want == 0) return 1;
    if (want + h->overhead <= room) return want;
    /* Split a frame only if a fair share fits, so that a full window does not break frames into small pieces.
     * A queue two segments over budget is long enough to wait. */
    const size_t part = room == h->space ? h->mss * h->window / 4 : (size_t)extra - 2 * h->mss;
    return room - h->overhead >= part || !h->unacked ? room - h->overhead : 0;
}
