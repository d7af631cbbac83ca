/* Decides whether the peer of a session is still alive and still the same. A pure function of facts;
 * session_health.c acts on the result.
 *
 * kcptun itself notices a dead peer by its heartbeat, after 30 to 60 s. kt is faster
 * (link/common/patience.h): it asks with WASK, which every live KCP answers at once. A peer that seems to
 * have restarted (restart.h) is asked twice within the time that it takes to be sure, and owes an answer to
 * that. */
#ifndef KT_LINK_KCPTUN_HEALTH_H
#define KT_LINK_KCPTUN_HEALTH_H

#include "kcp/kcp.h"
#include "link/common/patience.h"
#include "link/kcptun/restart.h"

struct kt_kcptun_health {
    struct kt_patience patience; /* suspect_us and dead_us are set by the session */
    uint64_t doubted;            /* µs, last probe because una had fallen back; 0: none */
    uint64_t doubt_due;          /* µs, the next one */
};

/* 0, KT_EDEAD or KT_ERESTART. owes: something is unacknowledged. Sets *probe if the peer should be asked now,
 * and updates patience.suspect. why: the reason for a code, and for a suspect peer. Call it whenever
 * something was heard or sent, and at kt_kcptun_health_due. */
int kt_kcptun_health_check(struct kt_kcptun_health *h, const struct kt_kcp_stats *st,
    const struct kt_kcptun_restart *restart, bool owes, uint64_t now_us, bool *probe, struct kt_err *why);

/* When to check next, later than the last check; UINT64_MAX while nothing is owed. */
uint64_t kt_kcptun_health_due(const struct kt_kcptun_health *h);

#endif
