/* Which peers have spoken the preferred one of two wires (link/both/): a link never falls back to the other wire with
 * them. Lives as long as the process, so that neither a reload nor a new link to the same peer opens the way to a
 * weaker wire for an attacker who blocks the better one.
 *
 * A peer is the endpoint that a link was given. */
#ifndef KT_LINK_COMMON_SPOKEN_H
#define KT_LINK_COMMON_SPOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"

#define KT_SPOKEN 256u /* peers that are remembered; the oldest makes room */

struct kt_spoken {
    uint64_t seed;
    uint64_t peers[KT_SPOKEN]; /* hashes */
    size_t count;              /* of peers noted so far */
};

void kt_spoken_init(struct kt_spoken *s, uint64_t seed);
bool kt_spoken_has(const struct kt_spoken *s, const struct kt_endpoint *peer);
void kt_spoken_add(struct kt_spoken *s, const struct kt_endpoint *peer);

#endif
