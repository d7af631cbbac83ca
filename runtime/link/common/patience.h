/* How long to wait for a silent peer: when to ask it for an answer, when to suspect it and when to give up on
 * it. A pure function of facts; the session acts on the result.
 *
 * Time counts only while the peer owes an answer. A peer that owes one and is silent is asked once a second,
 * suspect after suspect_us and dead after dead_us. A peer that owes nothing may be silent indefinitely. A
 * peer that is heard but acknowledges nothing, although its window is open, is stuck: suspect after
 * KT_PATIENCE_STUCK times suspect_us, and dead after that or dead_us, whichever is longer. */
#ifndef KT_LINK_COMMON_PATIENCE_H
#define KT_LINK_COMMON_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

#define KT_PATIENCE_STUCK 3u
#define KT_PATIENCE_TIMEOUTS 3u

struct kt_patience {
    uint64_t suspect_us; /* silence after which a peer is suspect, or KT_PATIENCE_TIMEOUTS retransmission
                            timeouts if that is longer; never more than dead_us */
    uint64_t dead_us;    /* silence after which a peer is dead */
    uint64_t heard;      /* µs, last authentic packet; 0: never */
    uint64_t waiting;    /* µs, when the current silence began; 0: at the next check */
    uint64_t asked;      /* µs, last probe during this silence */
    uint64_t moved;      /* µs, last progress, or when it began to owe an answer */
    uint64_t checked;    /* µs, last check while it owed an answer */
    uint64_t due;        /* µs, the next check */
    uint64_t since;      /* µs, start of the silence that made it suspect */
    uint32_t rto_us;     /* at the last check */
    uint32_t progress;   /* likewise */
    bool owed;           /* it owed an answer at the last check */
    bool silent;         /* suspect because it is silent */
    bool suspect;        /* give it no new work; it may recover */
};

struct kt_patience_facts {
    bool owes;         /* it owes an answer */
    bool doubtful;     /* hearing it is not enough to trust it again */
    bool blocked;      /* its window is closed: it cannot make progress */
    uint32_t progress; /* any number that changes when it acknowledges something */
    uint32_t rto_us;   /* retransmission timeout */
};

/* Something authentic came from the peer. Returns the length of the silence it ends, as
 * kt_patience_silence. */
uint64_t kt_patience_heard(struct kt_patience *p, uint64_t now_us);

/* 0 or KT_EDEAD. Sets *ask if the peer should be asked for an answer now, and leaves it alone otherwise;
 * updates p->suspect. why: the reason, if the peer is dead or suspect. Call it whenever something was heard
 * or sent, and at kt_patience_due. */
int kt_patience_check(struct kt_patience *p, const struct kt_patience_facts *facts, uint64_t now_us,
    bool *ask, struct kt_err *why);

/* How long the peer has been silent while it owed an answer, in µs. */
static inline uint64_t kt_patience_silence(const struct kt_patience *p, uint64_t now_us)
{
    return p->owed && p->waiting ? now_us - p->waiting : 0;
}

/* Time until a suspect peer is dead if nothing changes, in µs. */
uint64_t kt_patience_left(const struct kt_patience *p, uint64_t now_us);

/* When to check next, later than the last check; UINT64_MAX while nothing is owed. */
static inline uint64_t kt_patience_due(const struct kt_patience *p)
{
    return p->owed ? p->due : UINT64_MAX;
}

#endif
