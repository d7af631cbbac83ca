/* Named random streams: repeatable, independent of each other, the same on every machine. Not for secrets. */
#ifndef KT_IO_SIM_RANDOM_H
#define KT_IO_SIM_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kt_rng {
    uint64_t s[4];
};

/* The stream of a seed, a name and a purpose ("a>b", "loss"). */
void kt_rng_init(struct kt_rng *r, uint64_t seed, const char *name, const char *purpose);
uint64_t kt_rng_next(struct kt_rng *r);
/* Uniform in 0..n-1; n > 0. */
uint64_t kt_rng_below(struct kt_rng *r, uint64_t n);
/* True with probability p. One draw, whatever p is. */
bool kt_rng_chance(struct kt_rng *r, double p);
void kt_rng_fill(struct kt_rng *r, void *out, size_t n);

#endif
