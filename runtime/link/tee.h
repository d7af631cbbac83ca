/* Observers of one direction of a splice, which never hold it up: a tap gets the first bytes; a mirror is a pipe
 * that gets a copy of all.
 *
 * A mirror may be slow: up to KT_MIRROR_BEHIND bytes wait for it here. One that falls further behind, breaks or is
 * closed by its other end is cut, since a copy with a gap is useless, and the bytes that it did not get are counted.
 * Bytes that its other end sends are dropped. */
#ifndef KT_LINK_TEE_H
#define KT_LINK_TEE_H

#include <stddef.h>
#include <stdint.h>
#include "base/pipe.h"

#define KT_MIRROR_BEHIND (256u * 1024)
#define KT_TAP_MAX (64u * 1024)

struct kt_tee;

struct kt_tee_opts {
    struct kt_pipe *mirror; /* NULL: none */
    size_t first;           /* of the tap, 1..KT_TAP_MAX bytes; 0: no tap */
    /* The first bytes of the direction, once: `first` of them, or fewer if kt_tee_tell comes before. Must not touch
     * the splice. */
    void (*tapped)(void *ctx, const void *data, size_t n);
    void *ctx;
};

/* Takes over the mirror. 0, or KT_ENOMEM, and the mirror is still the caller's. */
int kt_tee_new(const struct kt_tee_opts *opts, struct kt_tee **out);
/* In all functions below, t may be NULL. n bytes of these pieces have moved. */
void kt_tee_moved(struct kt_tee *t, const struct kt_iov *iov, size_t n);
/* Stops collecting for the tap; gives it the bytes that have arrived, if any. */
void kt_tee_tell(struct kt_tee *t);
/* Bytes that the mirror took, and bytes that it missed. */
struct kt_tee_counts {
    uint64_t mirrored, dropped;
};
/* Frees t and adds to *counts. The mirror is cut if it missed bytes, or if cut is true; else it is closed. */
void kt_tee_end(struct kt_tee *t, bool cut, struct kt_tee_counts *counts);

#endif
