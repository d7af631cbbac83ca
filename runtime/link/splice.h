/* Splice: joins two pipes; the bytes stay in C.
 *
 * Ends of direction are carried over: the end of data on one side becomes a shutdown of the other where that
 * reaches the peer (kt_pipe_half_close). Where it cannot, the other direction may go on delivering until it
 * has been quiet for `linger_us` since the peer has heard of the pipe; then both are closed. When a pipe
 * breaks, what it had brought is still written to the other, as long as that takes something of it every
 * KT_SPLICE_REST_US, and the other is then ended as one whose source broke (kt_pipe_cut), with the reason
 * that came from the far side of the first one, if one did.
 *
 * A direction with a rate moves no more than its bucket holds (base/bucket.h); what it does not move stays in
 * the source, and holds back its sender. */
#ifndef KT_LINK_SPLICE_H
#define KT_LINK_SPLICE_H

#include <stdbool.h>
#include <stdint.h>
#include "base/pipe.h"

#define KT_SPLICE_REST_US 10000000u

struct kt_io;
struct kt_splice;

struct kt_splice_opts {
    uint64_t idle_us;          /* end when nothing has moved either way for so long; 0: never */
    uint64_t total_us;         /* end so long after the start; 0: never */
    uint64_t rate_ab, rate_ba; /* bytes a second, each direction; 0: no limit */
    uint64_t linger_us;        /* see above; 0: close at once */
    /* the same once the other direction has brought something: it was answering, and has probably said all.
     * At most linger_us is used. */
    uint64_t settle_us;
};

struct kt_splice_result {
    uint64_t a_to_b, b_to_a; /* bytes moved */
    uint64_t duration_us;
    int code; /* 0: both directions ended cleanly; else why it was cut short (KT_ERESET, KT_EIDLE,
                 KT_ETOTAL, KT_ECANCELED, …) */
    const struct kt_err *cause; /* what the far side of the pipe that broke gave as its reason (kt_pipe_why);
                                   NULL: nothing. Valid during `done`. */
};

/* Takes both pipes over and ends them by itself. done comes exactly once, never from inside this call; the
 * splice is freed before it. 0 or KT_ENOMEM (then the pipes are still the caller's). */
int kt_splice(struct kt_io *io, struct kt_pipe *a, struct kt_pipe *b, const struct kt_splice_opts *opts,
    void (*done)(void *ctx, const struct kt_splice_result *result), void *ctx, struct kt_splice **out);

/* Changes the terms of a splice that runs: idle counts from the last byte that moved, total from the start.
 */
void kt_splice_set(struct kt_splice *s, const struct kt_splice_opts *opts);

/* The pipes that it has: a, or b. */
struct kt_pipe *kt_splice_pipe(const struct kt_splice *s, bool b);
/* Another pipe takes the place of a, or b; it has the listener of that one already (link/shaper.h). */
void kt_splice_replace(struct kt_splice *s, bool b, struct kt_pipe *by);
/* Why a, or b, broke, what it had brought being moved still; 0: it did not. */
int kt_splice_code(const struct kt_splice *s, bool b);
/* For a pipe that broke before the splice began, when it was another one's to hear of: as if it broke now. */
void kt_splice_broke(struct kt_splice *s, bool b, int code);

/* Resets both pipes, with this reason for their far sides (kt_pipe_abort); done is not called, and the splice
 * is gone. */
void kt_splice_cancel(struct kt_splice *s, int reason, const char *text);

#endif
