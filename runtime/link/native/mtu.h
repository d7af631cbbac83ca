/* How large a packet a path carries (docs/wire.md, 5.7; RFC 8899): a search with probes, and detection of a
 * black hole, where large packets vanish that used to pass.
 *
 * The owner asks for a probe in each turn, and sends it as a packet of PING and PADDING of exactly that size; its loss
 * does not count as congestion. One probe at a time. Probes go only beside other packets, or while a datagram
 * waits for the result. So an idle path is not probed, and needs no timer.
 *
 * A hole is suspected when losses of large packets were found at KT_NATIVE_MTU_ROW times in a row, with a small one
 * acknowledged since the first, and no large one. From then on packets have KT_NATIVE_MTU_BASE bytes, and probes of the
 * size before find out: where chance or a full queue dropped the large ones, one of the probes arrives, and the size
 * returns. Otherwise it is a hole. The packets of a probe timeout should have at most KT_NATIVE_MTU_BASE bytes: then
 * they pass the hole, and show it.
 *
 * Sizes are in bytes of UDP payload, times in µs. */
#ifndef KT_LINK_NATIVE_MTU_H
#define KT_LINK_NATIVE_MTU_H

#include <stdbool.h>
#include <stdint.h>

#define KT_NATIVE_MTU_BASE 1200u /* every path carries this */
#define KT_NATIVE_MTU_IPV4 1472u /* with an MTU of 1,500 */
#define KT_NATIVE_MTU_IPV6 1452u
#define KT_NATIVE_MTU_TRIES 3u /* probes of one size that may be lost */
#define KT_NATIVE_MTU_ROW 3u
#define KT_NATIVE_MTU_AGAIN_US 60000000u /* until a failed size is tried again */

struct kt_native_mtu {
    uint32_t size;      /* what packets may have */
    uint32_t most;      /* the largest to probe */
    uint32_t tries;     /* probes lost of the present size */
    bool probing;       /* one is in flight */
    uint32_t doubted;   /* the size before a hole was suspected; 0: none is */
    uint64_t search_us; /* no probe before this */
    uint32_t row;       /* times at which large packets were found lost */
    bool small;         /* a small one was acknowledged since */
    uint64_t row_us;    /* the last of these times */
    uint32_t holes;     /* found so far */
};

/* A new path, or one that has moved. most: by the address family and the interface, at least
 * KT_NATIVE_MTU_BASE. */
void kt_native_mtu_init(struct kt_native_mtu *m, uint32_t most);

/* Most bytes of a packet. */
static inline uint32_t kt_native_mtu_size(const struct kt_native_mtu *m)
{
    return m->size;
}

/* The size of the probe to send now, or 0. */
uint32_t kt_native_mtu_probe(const struct kt_native_mtu *m, uint64_t now_us);
/* The largest size that the search may now reach; the present one if no probe is due. */
uint32_t kt_native_mtu_reach(const struct kt_native_mtu *m, uint64_t now_us);

/* A probe leaves; a probe of this size was acknowledged, or lost. */
void kt_native_mtu_sent(struct kt_native_mtu *m);
void kt_native_mtu_acked(struct kt_native_mtu *m, uint32_t size);
/* Returns whether that proves a hole. */
bool kt_native_mtu_lost(struct kt_native_mtu *m, uint32_t size, uint64_t now_us);

/* A packet other than a probe was acknowledged, or lost. True if that changes the size, because a hole is
 * no longer suspected, or is now. */
bool kt_native_mtu_packet_acked(struct kt_native_mtu *m, uint32_t bytes);
bool kt_native_mtu_packet_lost(struct kt_native_mtu *m, uint32_t bytes, uint64_t now_us);

#endif
