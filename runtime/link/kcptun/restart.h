/* Has the peer of a session restarted? A pure function of what its packets say (struct kt_kcp_report).
 *
 * A kcptun that restarts makes a new session for any datagram from an unknown address, whatever its sn (wire
 * specification, section 7), and never says so. Two things give it away:
 *
 * - Its una is 0 although it had acknowledged something, or it says that it does not know the conversation.
 *   Packets that were overtaken or copied show this a few times; a restarted peer shows nothing else.
 * - It sends data that the peer we knew cannot send any more, because it had read that we have it. That
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
