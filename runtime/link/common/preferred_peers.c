/* A ring of hashes. It is searched when a link is made or its peer speaks, never for a packet. */
#include "link/common/preferred_peers.h"
#include <string.h>
#include "base/hmap.h"

void kt_preferred_peers_init(struct kt_preferred_peers *s, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    s->seed = seed;
}

static uint64_t hash_of(const struct kt_preferred_peers *s, const struct kt_endpoint *peer)
{
    uint64_t h = kt_hash_u64((uint64_t)peer->port_min << 16 | peer->port_max, s->seed);
    for (const char *c = peer->host; *c; c++) h = kt_hash_u64((unsigned char)*c, h);
    return h;
}

static bool holds(const struct kt_preferred_peers *s, uint64_t hash)
{
    const size_t n = s->count < KT_PREFERRED_PEERS ? s->count : KT_PREFERRED_PEERS;
    for (size_t i = 0; i < n; i++)
        if (s->peers[i] == hash) return true;
    return false;
}

bool kt_preferred_peers_has(const struct kt_preferred_peers *s, const struct kt_endpoint *peer)
{
    return holds(s, hash_of(s, peer));
}

void kt_preferred_peers_add(struct kt_preferred_peers *s, const struct kt_endpoint *peer)
{
    const uint64_t hash = hash_of(s, peer);
    if (!holds(s, hash)) s->peers[s->count++ % KT_PREFERRED_PEERS] = hash;
}
