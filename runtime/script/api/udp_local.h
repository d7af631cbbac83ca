/* Which of this host's addresses each peer of a socket has addressed, so that what is sent to it comes from
 * there. Bounded: the peers heard last, KT_UDP_LOCALS at most, in sets by the hash of their address. A peer
 * that is forgotten is answered from the address that the system chooses. */
#ifndef KT_SCRIPT_API_UDP_LOCAL_H
#define KT_SCRIPT_API_UDP_LOCAL_H

#include "base/addr.h"

#define KT_UDP_LOCALS 512u

struct kt_udp_locals {
    struct kt_udp_local *slots; /* NULL until the first note; owned */
};

/* peer was heard on `local`. Without memory it is forgotten. */
void kt_udp_locals_note(struct kt_udp_locals *l, const struct kt_addr *peer, const struct kt_addr *local);
/* NULL: not known. Valid until the next note. */
const struct kt_addr *kt_udp_locals_find(const struct kt_udp_locals *l, const struct kt_addr *peer);
void kt_udp_locals_free(struct kt_udp_locals *l);

#endif
