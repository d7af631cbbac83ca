/* A cache from a UDP peer to the local address it has sent to. Invariant: a set holds each peer at most once,
 * the most recent first. */
#include "script/api/udp_local.h"
#include <stdlib.h>
#include <string.h>

#define WAYS 4u

struct kt_lua_udp_local {
    struct kt_addr peer, local; /* peer of family AF_UNSPEC: empty */
};

static struct kt_lua_udp_local *set_of(const struct kt_lua_udp_locals *l, const struct kt_addr *peer)
{
    return &l->slots[kt_addr_hash(peer, 0) % (KT_UDP_LOCALS / WAYS) * WAYS];
}

void kt_lua_udp_locals_note(
    struct kt_lua_udp_locals *l, const struct kt_addr *peer, const struct kt_addr *local)
{
    if (!l->slots) l->slots = calloc(KT_UDP_LOCALS, sizeof *l->slots);
    if (!l->slots) return;
    struct kt_lua_udp_local *set = set_of(l, peer);
    size_t i = 0;
    while (i < WAYS - 1 && !kt_addr_equal(&set[i].peer, peer)) i++;
    memmove(set + 1, set, i * sizeof *set);
    set[0] = (struct kt_lua_udp_local){.peer = *peer, .local = *local};
}

const struct kt_addr *kt_lua_udp_locals_find(const struct kt_lua_udp_locals *l, const struct kt_addr *peer)
{
    if (!l->slots) return NULL;
    struct kt_lua_udp_local *set = set_of(l, peer);
    for (size_t i = 0; i < WAYS; i++)
        if (kt_addr_equal(&set[i].peer, peer)) return &set[i].local;
    return NULL;
}

void kt_lua_udp_locals_free(struct kt_lua_udp_locals *l)
{
    free(l->slots);
    l->slots = NULL;
}
