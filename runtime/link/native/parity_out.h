/* Parity for the packets that leave on a path (docs/wire.md, 6.4). parity_rate.h says how much.
 *
 * A group is open from its first packet until it spans KT_NATIVE_PARITY_SPAN numbers, has as many packets as the code
 * protects, or its time has passed: a quarter of min_rtt, or half of it if it holds nothing but flows, but at most 50
 * ms. Then its parity waits to be sent, and no group is open until it was.
 *
 * No memory while the path loses nothing; one block of about 55 KiB while it does, which an idle path gives back.
 *
 * Times are in µs. */
#ifndef KT_LINK_NATIVE_PARITY_OUT_H
#define KT_LINK_NATIVE_PARITY_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "link/native/frame.h"
#include "link/native/parity_rate.h"

struct kt_fec_sums;

/* Bytes of PARITY beside the frames of the longest packet of its group. */
#define KT_NATIVE_PARITY_OVERHEAD (1u + 8u + 8u + 1u + 2u + KT_NATIVE_PARITY_HEAD)

/* All zero: nothing was lost. Fields are parity_out.c's own, except `sent`. */
struct kt_native_parity_out {
    struct kt_native_parity_loss loss;
    struct kt_fec_sums *sums;    /* NULL: off */
    uint64_t first, members;     /* of the open group; members 0: none is */
    unsigned count;              /* packets in it */
    bool asked;                  /* one of them is of a flow that asks for parity */
    unsigned most, plan;         /* packets of a full group, and the parity that it needs */
    unsigned rows;               /* parity that is computed for the open group */
    bool bulk;                   /* streams are worth their parity */
    uint64_t close_us, stale_us; /* its end; when its parity is of no use any more */
    unsigned waiting, next;      /* parity shards of the closed group to be sent; the next one */
    uint64_t sent;               /* PARITY frames */
};

void kt_native_parity_out_free(struct kt_native_parity_out *p);
/* Forgets the group, as after a change of the path. */
void kt_native_parity_out_reset(struct kt_native_parity_out *p);

/* Whether a packet that leaves now may join a group; looks at the path's losses. bulk: one without datagrams of flows
 * that ask for parity. */
bool kt_native_parity_out_open(struct kt_native_parity_out *p, const struct kt_native_recovery_stats *stats);
static inline bool kt_native_parity_out_bulk(const struct kt_native_parity_out *p)
{
    return p->bulk;
}

/* A packet leaves that is to be protected; it is not if the open group cannot span it. shard: room for
 * KT_NATIVE_PARITY_HEAD bytes, which are written, and its frames of len bytes. asked: for a flow that asks for it, else
 * for streams. After kt_native_parity_out_open. */
struct kt_native_parity_packet {
    uint64_t number;
    uint8_t *shard;
    size_t len;
    bool asked;
};
void kt_native_parity_out_add(struct kt_native_parity_out *p, const struct kt_native_parity_packet *packet,
    uint32_t min_rtt_us, uint64_t now_us);

/* When parity is to be sent; UINT64_MAX: none is. next: the next packet's number. */
uint64_t kt_native_parity_out_due(const struct kt_native_parity_out *p, uint64_t next);
/* Writes a PARITY frame that is due. 0: none is any more, as the losses are fewer by now, a round trip has passed or it
 * does not fit. */
size_t kt_native_parity_out_write(struct kt_native_parity_out *p, uint8_t *out, size_t room, uint64_t now_us);

#endif
