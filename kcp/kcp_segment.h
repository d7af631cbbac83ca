/* The 24-byte segment header (docs/wire-kcptun.md, 6.1), and arithmetic on sequence numbers that wrap. All
 * fields are little endian. */
#ifndef KT_KCP_SEGMENT_H
#define KT_KCP_SEGMENT_H

#include <stdint.h>
#include "base/bytes.h"

enum kt_kcp_cmd {
    KT_KCP_PUSH = 81,
    KT_KCP_ACK = 82,
    KT_KCP_WASK = 83, /* window probe */
    KT_KCP_WINS = 84, /* window size */
};

/* frg of a PUSH that is sent again only so that its ts is echoed. kcptun always sends 0. */
#define KT_KCP_CHALLENGE 255u
/* sn of a WINS whose sender does not know the conversation. kcptun ignores the sn of a WINS. */
#define KT_KCP_UNKNOWN 0x656e6f67u

struct kt_kcp_segment {
    uint32_t conv;
    uint8_t cmd, frg;
    uint16_t wnd;
    uint32_t ts, sn, una, len;
};

/* a - b modulo 2^32: negative if a is before b. */
static inline int32_t kt_sn_diff(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

/* A time in µs as a ts. */
static inline uint32_t kt_ts(uint64_t us)
{
    return (uint32_t)(us / 1000);
}

/* Reads a header of KT_KCP_OVERHEAD bytes. Checks nothing. */
static inline struct kt_kcp_segment kt_kcp_segment_get(const uint8_t *p)
{
    return (struct kt_kcp_segment){
        .conv = kt_get32(p),
        .cmd = p[4],
        .frg = p[5],
        .wnd = (uint16_t)kt_get16(p + 6),
        .ts = kt_get32(p + 8),
        .sn = kt_get32(p + 12),
        .una = kt_get32(p + 16),
        .len = kt_get32(p + 20),
    };
}

static inline void kt_kcp_segment_put(uint8_t *p, const struct kt_kcp_segment *s)
{
    kt_put32(p, s->conv);
    p[4] = s->cmd;
    p[5] = s->frg;
    kt_put16(p + 6, s->wnd);
    kt_put32(p + 8, s->ts);
    kt_put32(p + 12, s->sn);
    kt_put32(p + 16, s->una);
    kt_put32(p + 20, s->len);
}

#endif
