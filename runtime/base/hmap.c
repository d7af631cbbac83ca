/* Intrusive hash map with chaining.
 *
 * Invariant: a node is in the chain of slot `hash & mask`. The table doubles when it has more nodes than slots,
 * so chains hold at most one node on average. */
#include "base/hmap.h"

#include <assert.h>
#include <stdlib.h>
#include "base/err.h"

#define FIRST_SLOTS 16u

void kt_hmap_init(struct kt_hmap *m)
{
    *m = (struct kt_hmap){0};
}

void kt_hmap_free(struct kt_hmap *m)
{
    free(m->slots);
    kt_hmap_init(m);
}

static struct kt_hnode *with_hash(struct kt_hnode *node, uint64_t hash)
{
    while (node && node->hash != hash) node = node->next;
    return node;
}

struct kt_hnode *kt_hmap_find(const struct kt_hmap *m, uint64_t hash)
{
    return m->slots ? with_hash(m->slots[hash & m->mask], hash) : NULL;
}

struct kt_hnode *kt_hmap_again(const struct kt_hnode *node)
{
    return with_hash(node->next, node->hash);
}

static void link_node(struct kt_hnode **slots, size_t mask, struct kt_hnode *node)
{
    struct kt_hnode **slot = &slots[node->hash & mask];
    node->next = *slot;
    *slot = node;
}

static int resize(struct kt_hmap *m, size_t slots_wanted)
{
    struct kt_hnode **slots = calloc(slots_wanted, sizeof(struct kt_hnode *));
    if (!slots) return KT_ENOMEM;
    for (size_t i = 0; m->slots && i <= m->mask; i++) {
        struct kt_hnode *node = m->slots[i];
        while (node) {
            struct kt_hnode *next = node->next;
            link_node(slots, slots_wanted - 1, node);
            node = next;
        }
    }
    free(m->slots);
    m->slots = slots;
    m->mask = slots_wanted - 1;
    return 0;
}

int kt_hmap_add(struct kt_hmap *m, struct kt_hnode *node, uint64_t hash)
{
    if (!m->slots) {
        int rc = resize(m, FIRST_SLOTS);
        if (rc < 0) return rc;
    } else if (m->count > m->mask && m->mask < SIZE_MAX / 2) {
        /* Without memory for a bigger table, keep this one with longer chains. */
        (void)resize(m, (m->mask + 1) * 2);
    }
    node->hash = hash;
    link_node(m->slots, m->mask, node);
    m->count++;
    return 0;
}

void kt_hmap_remove(struct kt_hmap *m, struct kt_hnode *node)
{
    assert(m->slots);
    struct kt_hnode **at = &m->slots[node->hash & m->mask];
    while (*at != node) {
        assert(*at && "node is not in this map");
        at = &(*at)->next;
    }
    *at = node->next;
    node->next = NULL;
    m->count--;
}

struct kt_hnode *kt_hmap_next(const struct kt_hmap *m, const struct kt_hnode *node)
{
    if (!m->slots) return NULL;
    if (node && node->next) return node->next;
    for (size_t i = node ? (node->hash & m->mask) + 1 : 0; i <= m->mask; i++)
        if (m->slots[i]) return m->slots[i];
    return NULL;
}
