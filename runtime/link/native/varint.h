/* Variable-length integers (RFC 9000, section 16): 1, 2, 4 or 8 bytes, big endian, the length in the two
 * highest bits. Values 0..KT_NATIVE_VARINT_MAX. A reader takes any length; a writer uses the shortest. */
#ifndef KT_LINK_NATIVE_VARINT_H
#define KT_LINK_NATIVE_VARINT_H

#include <stddef.h>
#include <stdint.h>
#include "base/bytes.h"

#define KT_NATIVE_VARINT_MAX ((UINT64_C(1) << 62) - 1)
#define KT_NATIVE_VARINT_BYTES 8u

/* Bytes that v takes. */
static inline size_t kt_native_varint_size(uint64_t v)
{
    return v < 1u << 6 ? 1 : v < 1u << 14 ? 2 : v < 1u << 30 ? 4 : 8;
}

/* Returns the bytes read, or 0 if in is too short. */
static inline size_t kt_native_varint_get(uint64_t *v, const uint8_t *in, size_t len)
{
    if (len == 0) return 0;
    const size_t size = (size_t)1 << (in[0] >> 6);
    if (len < size) return 0;
    switch (size) {
    case 1:
        *v = in[0];
        break;
    case 2:
        *v = kt_get16_be(in) & 0x3fffu;
        break;
    case 4:
        *v = kt_get32_be(in) & 0x3fffffffu;
        break;
    default:
        *v = kt_get64_be(in) & KT_NATIVE_VARINT_MAX;
    }
    return size;
}

/* v: at most KT_NATIVE_VARINT_MAX. Returns the bytes written, or 0 if they do not fit. */
static inline size_t kt_native_varint_put(uint8_t *out, size_t room, uint64_t v)
{
    const size_t size = kt_native_varint_size(v);
    if (room < size) return 0;
    switch (size) {
    case 1:
        out[0] = (uint8_t)v;
        break;
    case 2:
        kt_put16_be(out, (uint32_t)v | 0x4000u);
        break;
    case 4:
        kt_put32_be(out, (uint32_t)v | 0x80000000u);
        break;
    default:
        kt_put64_be(out, v | UINT64_C(3) << 62);
    }
    return size;
}

#endif
