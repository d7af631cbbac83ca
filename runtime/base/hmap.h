/* Intrusive hash map: the node sits in the caller's struct; the caller brings hash and comparison. Chained,
 * grows by doubling; hashes of what peers choose must be seeded (kt_addr_hash, kt_hash_u64). */
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
    size_t mask, count; /* mask + 1 slots; slots is NULL while empty and never grown */
};

/* Starts at mask 0, no memory. */
void kt_hmap_init(struct kt_hmap *m);
/* Frees the table, not the nodes. */
void kt_hmap_free(struct kt_hmap *m);

/* First node with this hash, or NULL; kt_hmap_again gives the next with the same hash. The caller compares
 * keys. */
struct kt_hnode *kt_hmap_find(const struct kt_hmap *m, uint64_t hash);
struct kt_hnode *kt_hmap_again(const struct kt_hnode *node);

/* 0 or KT_ENOMEM (then nothing changed; only the first node can fail). The key must not be there yet. */
int kt_hmap_add(struct kt_hmap *m, struct kt_hnode *node, uint64_t hash);
void kt_hmap_remove(struct kt_hmap *m, struct kt_hnode *node);

/* Walks all nodes: start with NULL, ends with NULL. The current node may be removed before asking for the
 * next only if the next was asked for first. */
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
