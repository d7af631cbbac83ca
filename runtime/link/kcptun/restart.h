/* Decides whether the peer of a session has restarted. A pure function of its packets (struct kt_kcp_report).
 *
 * A kcptun that restarts makes a new session for any datagram from an unknown address, whatever its sn (wire
 * specification, section 7), without a message. Two things show it:
 *
 * - Its una is 0 although it had acknowledged something, or it says that it does not know the conversation.
 *   Overtaken or copied packets show this a few times; a restarted peer shows nothing else.
 * - It sends data that the old peer would not send again, because it had read our acknowledgement. That
 *   happens when FEC rebuilt our side of the conversation for the new peer, so that its una fits. Reordering
 *   never does that. */
#ifndef KT_LINK_KCPTUN_RESTART_H
#define KT_LINK_KCPTUN_RESTART_H

#include "kcp/kcp.h"

struct kt_kcptun_restart {
    uint32_t behind;         /* packets of the first kind since one whose una fits */
    uint64_t behind_since;   /* µs, the first of them */
    uint64_t contradictions; /* packets of the second kind */
    bool acknowledged;       /* the peer has acknowledged something */
    uint32_t read_at, read;  /* when its una was read_at or more, the peer had read that our una is `read` */
};

/* One packet from the peer. For kt_kcp_observe: restart is a struct kt_kcptun_restart, all zero at first. */
void kt_kcptun_restart_note(void *restart, const struct kt_kcp_report *r);

#endif
