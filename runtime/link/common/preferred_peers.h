/* Which peers have spoken the preferred one of two wires (link/both/): a link never falls back to the other wire with
 * them. Lives as long as the process, so that neither a reload nor a new link to the same peer opens the way to a
 * weaker wire for an attacker who blocks the better one.
 *
 * A peer is the endpoint that a link was given. */
#ifndef KT_LINK_COMMON_PREFERRED_PEERS_H
#define KT_LINK_COMMON_PREFERRED_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"

#define KT_PREFERRED_PEERS 256u /* peers that are remembered; the oldest makes room */

struct kt_preferred_peers {
    uint64_t seed;
    uint64_t peers[KT_PREFERRED_PEERS]; /* hashes */
    size_t count;                       /* of peers noted so far */
};

void kt_preferred_peers_init(struct kt_preferred_peers *s, uint64_t seed);
bool kt_preferred_peers_has(const struct kt_preferred_peers *s, const struct kt_endpoint *peer);
void kt_preferred_peers_add(struct kt_preferred_peers *s, const struct kt_endpoint *peer);

#endif
