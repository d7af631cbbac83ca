/* Little-endian integers in byte arrays, and the smaller of two numbers. Pointers need no alignment. */
#ifndef KT_BASE_BYTES_H
#define KT_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>

static inline uint32_t kt_get16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static inline uint32_t kt_get24(const uint8_t *p)
{
    return kt_get16(p) | (uint32_t)p[2] << 16;
}

static inline uint32_t kt_get32(const uint8_t *p)
{
    return kt_get16(p) | kt_get16(p + 2) << 16;
}

/* Writes the low 16 bits of v. */
static inline void kt_put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void kt_put24(uint8_t *p, uint32_t v)
{
    kt_put16(p, v);
    p[2] = (uint8_t)(v >> 16);
}

static inline void kt_put32(uint8_t *p, uint32_t v)
{
    kt_put16(p, v);
    kt_put16(p + 2, v >> 16);
}

static inline uint32_t kt_min32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static inline uint64_t kt_min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline size_t kt_min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

#endif
