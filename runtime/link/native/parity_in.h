/* Rebuilds lost packets of a path from the peer's PARITY frames (docs/wire.md, 6.4). It keeps the frames of the latest
 * KT_NATIVE_PARITY_KEPT packets, from the first PARITY on until none has come for KT_NATIVE_PARITY_IDLE_US.
 *
 * A rebuilt packet is handed over as if it had arrived, but its number stays missing in ACKs, so the peer measures the
 * losses of the path as they are.
 *
 * The peer is not trusted to be consistent. Memory is one block of a fixed size, a PARITY frame costs at most one
 * rebuilding, and each packet is rebuilt once at most. */
#ifndef KT_LINK_NATIVE_PARITY_IN_H
#define KT_LINK_NATIVE_PARITY_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "crypto/replay.h"
#include "link/native/frame.h"

#define KT_NATIVE_PARITY_KEPT 128u /* packets; a power of two */
#define KT_NATIVE_PARITY_IDLE_US 10000000u
#define KT_NATIVE_PARITY_IN_BYTES (256u * 1024u) /* memory of a path whose peer sends PARITY, at most */

struct kt_native_parity_store;

/* All zero: no PARITY has come. Fields are parity_in.c's own, except the counts. */
struct kt_native_parity_in {
    struct kt_native_parity_store *store; /* NULL: nothing is kept */
    uint64_t heard_us;                    /* the latest PARITY */
    uint64_t frames;                      /* PARITY frames */
    uint64_t rebuilt;                     /* packets; each used one PARITY frame */
    uint64_t short_groups;                /* given up with packets missing */
    uint64_t errors;                      /* rebuilt with an impossible length */
};

/* Takes the frames of a rebuilt packet. Must not call back. */
typedef void (*kt_native_parity_sink)(void *ctx, uint64_t number, const uint8_t *frames, size_t len);

static inline bool kt_native_parity_in_on(const struct kt_native_parity_in *p)
{
    return p->store != NULL;
}

void kt_native_parity_in_free(struct kt_native_parity_in *p);
/* When to free the packets, unless another PARITY comes before; UINT64_MAX: it keeps none. */
uint64_t kt_native_parity_in_due(const struct kt_native_parity_in *p);

/* A packet that has arrived. */
struct kt_native_parity_arrival {
    uint64_t number;
    const uint8_t *frames; /* 1..KT_NATIVE_DATAGRAM_MAX bytes */
    size_t len;
    const struct kt_replay *seen; /* the numbers that arrived */
    kt_native_parity_sink sink;   /* for what it makes possible to rebuild */
    void *ctx;
};

/* Begins to keep packets, with this one, which has PARITY. False: out of memory. */
bool kt_native_parity_in_start(struct kt_native_parity_in *p, const struct kt_native_parity_arrival *in);
/* A packet has arrived. Before its PARITY frames are taken. */
void kt_native_parity_in_packet(struct kt_native_parity_in *p, const struct kt_native_parity_arrival *in);
/* A PARITY frame among the frames of `in`. 0, or KT_EPROTO with a sentence: it is about packets that were not sent
 * before it. */
int kt_native_parity_in_take(struct kt_native_parity_in *p, const struct kt_native_parity *f,
    const struct kt_native_parity_arrival *in, uint64_t now_us, struct kt_err *err);

#endif
