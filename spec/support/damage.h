/* Datagrams that an attacker without the key can send, by the million: damaged copies of a datagram, replays, and
 * random bytes. */
#ifndef SPEC_DAMAGE_H
#define SPEC_DAMAGE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t damage_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Writes what is sent as number i into out, n bytes at most, and returns its length: by turns a replay, a copy with one
 * bit flipped, one that is cut, one with another byte, and as many random bytes. state: not 0. */
static inline size_t damage(uint8_t *out, const uint8_t *in, size_t n, uint64_t i, uint64_t *state)
{
    const uint64_t r = damage_random(state);
    memcpy(out, in, n);
    switch (i % 5) {
    case 0:
        return n;
    case 1:
        out[r % n] ^= (uint8_t)(1u << (r >> 32) % 8);
        return n;
    case 2:
        return r % n;
    case 3:
        out[r % n] = (uint8_t)(out[r % n] + 1 + (r >> 32) % 255);
        return n;
    default:
        for (size_t at = 0; at < n; at += sizeof r) {
            const uint64_t random = damage_random(state);
            memcpy(out + at, &random, n - at < sizeof random ? n - at : sizeof random);
        }
        return n;
    }
}

#endif
