/* Remembers the local address that each peer of a UDP socket has sent to, so that replies come from it. A
 * set-associative cache of the KT_UDP_LOCALS most recent peers. The system chooses the source address for
 * peers that are not in it. */
#ifndef KT_SCRIPT_API_UDP_LOCAL_H
#define KT_SCRIPT_API_UDP_LOCAL_H

#include "base/addr.h"

#define KT_UDP_LOCALS 512u

struct kt_lua_udp_locals {
    struct kt_lua_udp_local *slots; /* NULL until the first note; owned */
};

/* Records that peer has sent to `local`. Does nothing when out of memory. */
void kt_lua_udp_locals_note(
    struct kt_lua_udp_locals *l, const struct kt_addr *peer, const struct kt_addr *local);
/* The local address for a peer, or NULL if unknown. Valid until the next note. */
const struct kt_addr *kt_lua_udp_locals_find(const struct kt_lua_udp_locals *l, const struct kt_addr *peer);
void kt_lua_udp_locals_free(struct kt_lua_udp_locals *l);

#endif
