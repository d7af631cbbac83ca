/* Integers in byte arrays, little endian or (_be) big endian, and the smaller and the difference of two numbers.
 * Pointers need no alignment.
 *
 * memcpy of a fixed size is a single load or store. Written byte by byte, gcc 12 assembles neighbouring integers in a
 * vector, in some sixty instructions. */
#ifndef KT_BASE_BYTES_H
#define KT_BASE_BYTES_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t kt_get16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return le16toh(v);
}

static inline uint32_t kt_get24(const uint8_t *p)
{
    return kt_get16(p) | (uint32_t)p[2] << 16;
}

static inline uint32_t kt_get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return le32toh(v);
}

static inline uint64_t kt_get64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

/* Writes the low 16 bits of v. */
static inline void kt_put16(uint8_t *p, uint32_t v)
{
    const uint16_t low = htole16((uint16_t)v);
    memcpy(p, &low, sizeof low);
}

static inline void kt_put24(uint8_t *p, uint32_t v)
{
    kt_put16(p, v);
    p[2] = (uint8_t)(v >> 16);
}

static inline void kt_put32(uint8_t *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, sizeof v);
}

static inline void kt_put64(uint8_t *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof v);
}

static inline uint32_t kt_get16_be(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return be16toh(v);
}

static inline uint32_t kt_get32_be(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return be32toh(v);
}

static inline uint64_t kt_get64_be(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return be64toh(v);
}

/* Writes the low 16 bits of v. */
static inline void kt_put16_be(uint8_t *p, uint32_t v)
{
    const uint16_t low = htobe16((uint16_t)v);
    memcpy(p, &low, sizeof low);
}

static inline void kt_put32_be(uint8_t *p, uint32_t v)
{
    v = htobe32(v);
    memcpy(p, &v, sizeof v);
}

static inline void kt_put64_be(uint8_t *p, uint64_t v)
{
    v = htobe64(v);
    memcpy(p, &v, sizeof v);
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

/* a less b; 0 if b is larger. */
static inline uint64_t kt_sub64(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static inline size_t kt_sub_size(size_t a, size_t b)
{
    return a > b ? a - b : 0;
}

#endif
