/* Named random streams: repeatable, independent of each other, the same on every machine. Not for secrets. */
#ifndef KT_IO_SIM_RANDOM_H
#define KT_IO_SIM_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kt_sim_random {
    uint64_t s[4];
};

/* The stream of a seed, a name and a purpose ("a>b", "loss"). */
void kt_sim_random_init(struct kt_sim_random *r, uint64_t seed, const char *name, const char *purpose);
uint64_t kt_sim_random_next(struct kt_sim_random *r);
/* Uniform in 0..n-1; n > 0. */
uint64_t kt_sim_random_below(struct kt_sim_random *r, uint64_t n);
/* True with probability p. One draw, whatever p is. */
bool kt_sim_random_chance(struct kt_sim_random *r, double p);
void kt_sim_random_fill(struct kt_sim_random *r, void *out, size_t n);

#endif
