/* xoshiro256** (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018). Not for secrets by
 * itself. The caller seeds the state, which must not be all zero. */
#ifndef KT_BASE_XOSHIRO_H
#define KT_BASE_XOSHIRO_H

#include <stdint.h>

static inline uint64_t kt_xoshiro_rotl(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static inline uint64_t kt_xoshiro_next(uint64_t s[4])
{
    const uint64_t result = kt_xoshiro_rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = kt_xoshiro_rotl(s[3], 45);
    return result;
}

#endif
