/* The ts that an ACK echoes.
 *
 * kcp-go takes the time since an echoed ts for a round trip. For a new PUSH that is right. But a PUSH that
 * FEC rebuilt, or that was received before, may have been sent long ago: echoing its ts would raise the
 * sender's RTO by the time that the FEC group took to fill, and a copy of an old datagram would raise it to
 * a minute. So the ACK of such a PUSH echoes the ts that a new PUSH would carry if it arrived now: that of
 * the latest new one, plus the time since it arrived. */
#ifndef KT_KCP_ECHOED_TS_H
#define KT_KCP_ECHOED_TS_H

#include <stdbool.h>
#include <stdint.h>
#include "kcp/kcp_segment.h"

struct kt_echoed_ts {
    uint32_t ts;    /* of the latest PUSH that was new and not rebuilt; the peer's clock, in ms */
    uint64_t at_us; /* when it arrived */
    bool known;     /* there has been one */
};

/* A new PUSH that was not rebuilt has arrived; its ACK echoes its own ts. */
static inline void kt_echoed_ts_fresh(struct kt_echoed_ts *e, uint32_t ts, uint64_t now_us)
{
    *e = (struct kt_echoed_ts){.ts = ts, .at_us = now_us, .known = true};
}

/* The ts to echo for a rebuilt or repeated PUSH that carries `ts`: its own if that is later, or if no other
 * is known. */
static inline uint32_t kt_echoed_ts_late(const struct kt_echoed_ts *e, uint32_t ts, uint64_t now_us)
{
    uint32_t now_ts = e->ts + (uint32_t)((now_us - e->at_us) / 1000);
    return e->known && kt_sn_diff(now_ts, ts) > 0 ? now_ts : ts;
}

#endif
