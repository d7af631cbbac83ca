/* Random streams of the simulator: xoshiro256**, seeded by splitmix64 (Steele, Lea and Flood 2014) as its authors
 * advise, from a hash of the stream's name (FNV-1a). */
#include "io/sim/random.h"

#include <string.h>
#include "base/hmap.h"
#include "base/xoshiro.h"

static uint64_t fnv1a(uint64_t h, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) h = (h ^ *p) * 0x100000001b3u;
    return (h ^ 0xffu) * 0x100000001b3u; /* ends the string: "ab","c" is not "a","bc" */
}

void kt_sim_random_init(struct kt_sim_random *r, uint64_t seed, const char *name, const char *purpose)
{
    uint64_t x = kt_hash_u64(fnv1a(fnv1a(0xcbf29ce484222325u, name), purpose), seed);
    for (int i = 0; i < 4; i++) {
        r->s[i] = kt_hash_u64(x, 0); /* adds the increment, then mixes: splitmix64's step */
        x += 0x9e3779b97f4a7c15u;
    }
}

uint64_t kt_sim_random_next(struct kt_sim_random *r)
{
    return kt_xoshiro_next(r->s);
}

/* The remainder's bias of n/2^64 is negligible here, and every draw takes one number. */
uint64_t kt_sim_random_below(struct kt_sim_random *r, uint64_t n)
{
    return kt_sim_random_next(r) % n;
}

/* Compares 53 bits with p * 2^53, both exact in a double: the same answer on every machine. */
bool kt_sim_random_chance(struct kt_sim_random *r, double p)
{
    return (double)(kt_sim_random_next(r) >> 11) < p * 0x1p53;
}

void kt_sim_random_fill(struct kt_sim_random *r, void *out, size_t n)
{
    uint8_t *dst = out;
    while (n > 0) {
        uint64_t x = kt_sim_random_next(r);
        size_t take = n < sizeof x ? n : sizeof x;
        for (size_t i = 0; i < take; i++) dst[i] = (uint8_t)(x >> (8 * i)); /* whatever the byte order */
        dst += take;
        n -= take;
    }
}
