/* Whether the peer of a session still lives, and is still the one we knew. A pure function of facts; the
 * session does what it says.
 *
 * kcptun itself notices a dead peer after 30 to 60 s, by its heartbeat. Here a peer that owes an answer and
 * is silent is suspect after suspect_us and dead after dead_us. It is asked again every second meanwhile (a
 * living KCP answers WASK at once). A peer that owes nothing may be silent for any time. A peer that is heard
 * but acknowledges nothing, although its window is open, is suspect after KT_HEALTH_STUCK times suspect_us,
 * and dead after that or dead_us, whichever is longer: it may not know this session. */
#ifndef KT_LINK_KCPTUN_HEALTH_H
#define KT_LINK_KCPTUN_HEALTH_H

#include "kcp/kcp.h"
#include "link/kcptun/restart.h"

#define KT_HEALTH_STUCK 3u
#define KT_HEALTH_TIMEOUTS 3u

struct kt_health {
    uint64_t suspect_us; /* owed silence that makes a peer suspect, or KT_HEALTH_TIMEOUTS times the
                            retransmission timeout where that is longer; never more than dead_us */
    uint64_t dead_us;    /* owed silence that makes a peer dead */
    uint64_t heard;      /* µs, last authentic packet; 0: never */
    uint64_t waiting; /* µs, since when an answer is owed and nothing was heard; 0: since the next check */
    uint64_t asked;   /* µs, last probe while waiting */
    uint64_t moved;   /* µs, last time una moved, or something began to be owed */
    uint64_t doubted; /* µs, last probe because una had fallen back; 0: it has not */
    uint64_t checked; /* µs, last check while owed */
    uint64_t due;     /* µs, the next one */
    uint64_t since;   /* µs, when the silence began for which it is suspect */
    uint32_t rto_us;  /* at the last check */
    uint32_t una;
    bool owed;    /* an answer was owed at the last check */
    bool silent;  /* suspect for its silence */
    bool suspect; /* give it no new work; it may recover */
};

/* Anything authentic came from the peer. Returns the silence that this ends, in µs, as kt_health_silence. */
uint64_t kt_health_heard(struct kt_health *h, uint64_t now_us);

/* 0, KT_EDEAD or KT_ERESTART. owes: something is unacknowledged (a peer whose una fell back owes an answer to
 * our probe besides). Sets *probe when the peer is to be asked now. Updates h->suspect. why: the sentence for
 * a code, and for a peer that is suspect. To be called whenever something was heard or sent, and at
 * kt_health_due. */
int kt_health_check(struct kt_health *h, const struct kt_kcp_stats *st,
    const struct kt_kcptun_restart *restart, bool owes, uint64_t now_us, bool *probe, struct kt_err *why);

/* How long it has been silent while it owed an answer, in µs. */
static inline uint64_t kt_health_silence(const struct kt_health *h, uint64_t now_us)
{
    return h->owed && h->waiting ? now_us - h->waiting : 0;
}

/* How long a suspect peer has until it is dead, in µs, if nothing changes. */
uint64_t kt_health_left(const struct kt_health *h, uint64_t now_us);

/* When to check next, later than the last check; UINT64_MAX while nothing is owed. */
uint64_t kt_health_due(const struct kt_health *h);

#endif
