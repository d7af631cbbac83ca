/* Intrusive hash map: the node is embedded in the caller's struct, and the caller supplies hash and comparison.
 * Chained; grows by doubling. Seed the hash of anything that a peer chooses (kt_addr_hash, kt_hash_u64). */
#ifndef KT_BASE_HMAP_H
#define KT_BASE_HMAP_H

#include <stddef.h>
#include <stdint.h>

struct kt_hnode {
    struct kt_hnode *next;
    uint64_t hash;
};

struct kt_hmap {
    struct kt_hnode **slots;
    size_t mask, count; /* mask + 1 slots; slots is NULL until the first add */
};

/* Initialises an empty map, which holds no memory. */
void kt_hmap_init(struct kt_hmap *m);
/* Frees the table, not the nodes. */
void kt_hmap_free(struct kt_hmap *m);

/* The first node with this hash, or NULL; kt_hmap_again gives the next with the same hash. The caller compares
 * keys. */
struct kt_hnode *kt_hmap_find(const struct kt_hmap *m, uint64_t hash);
struct kt_hnode *kt_hmap_again(const struct kt_hnode *node);

/* 0, or KT_ENOMEM with the map unchanged (only the first add can fail). The key must not be in the map yet. */
int kt_hmap_add(struct kt_hmap *m, struct kt_hnode *node, uint64_t hash);
void kt_hmap_remove(struct kt_hmap *m, struct kt_hnode *node);

/* Iterates over all nodes: pass NULL to start; returns NULL at the end. To remove the current node, ask for the
 * next one first. */
struct kt_hnode *kt_hmap_next(const struct kt_hmap *m, const struct kt_hnode *node);

static inline uint64_t kt_hash_u64(uint64_t x, uint64_t seed)
{
    /* splitmix64's finaliser (Steele, Lea, Flood 2014) */
    x += seed + 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

#endif
