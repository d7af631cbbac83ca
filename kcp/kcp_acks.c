/* Acknowledgements owed: a ring that doubles as needed and drops the oldest when full. */
#include "kcp/kcp_acks.h"
#include <stdbool.h>
#include <stdlib.h>
#include "base/err.h"

#define FIRST_CAP 8u

int kt_kcp_acks_init(struct kt_kcp_acks *a)
{
    *a = (struct kt_kcp_acks){.cap = FIRST_CAP};
    a->ring = malloc(a->cap * sizeof *a->ring);
    return a->ring ? 0 : KT_ENOMEM;
}

void kt_kcp_acks_destroy(struct kt_kcp_acks *a)
{
    free(a->ring);
    a->ring = NULL;
}

/* To a ring of `cap`, a power of two that holds all. */
static bool resize(struct kt_kcp_acks *a, uint32_t cap)
{
    struct kt_kcp_ack *ring = malloc(cap * sizeof *ring);
    if (!ring) return false;
    for (uint32_t i = 0; i < a->count; i++) ring[i] = a->ring[(a->head + i) & (a->cap - 1)];
    free(a->ring);
    a->ring = ring;
    a->cap = cap;
    a->head = 0;
    return true;
}

void kt_kcp_acks_trim(struct kt_kcp_acks *a)
{
    uint32_t cap = FIRST_CAP;
    while (cap < a->count) cap *= 2;
    if (cap < a->cap) resize(a, cap); /* out of memory: keep the larger one */
}

void kt_kcp_acks_make_room(struct kt_kcp_acks *a)
{
    if (a->cap == KT_KCP_ACKS_MAX || !resize(a, 2 * a->cap)) kt_kcp_acks_pop(a);
}
