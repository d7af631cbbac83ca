/* Splice: joins two pipes; the bytes stay in C.
 *
 * The end of data on one side becomes a shutdown of the other if that reaches the peer (kt_pipe_half_close).
 * If it cannot, the other direction keeps delivering until it has been quiet for `linger_us`, counted from
 * when the peer knows of the pipe; then both are closed. It is not quiet while what has arrived waits for a
 * lost packet (kt_pipe_behind).
 *
 * When a pipe breaks, the bytes it had received are still written to the other one, as long as that accepts
 * some every KT_SPLICE_REST_US. The time before the break counts, so that a reset does not wait long for a reader that
 * had stalled already, but KT_SPLICE_REST_LEAST_US remain. Then the other is cut (kt_pipe_cut), with the reason from
 * the far side of the first if it gave one.
 *
 * Limits (limits.h) apply of the splice and of each pipe; a shared limit counts each byte once, however often it is
 * given. A direction moves no more than the rates allow; the rest stays in the source and holds back its sender. What
 * a pipe had received when it broke is bound by the rate of its destination only. When a pipe's time is up, that pipe
 * is reset and the other one cut. */
#ifndef KT_LINK_SPLICE_H
#define KT_LINK_SPLICE_H

#include <stdbool.h>
#include <stdint.h>
#include "base/pipe.h"

#define KT_SPLICE_REST_US 10000000u
#define KT_SPLICE_REST_LEAST_US 1000000u

struct kt_io;
struct kt_limits;
struct kt_shared_limit;
struct kt_splice;
struct kt_tee;

struct kt_splice_opts {
    uint64_t idle_us;          /* end after this long without a byte in either direction; 0: never */
    uint64_t total_us;         /* end this long after the start; 0: never */
    uint64_t rate_ab, rate_ba; /* bytes per second; 0: no limit */
    struct kt_shared_limit *limit_ab, *limit_ba; /* shared limits; NULL: none */
    uint64_t linger_us;                          /* see above; 0: close at once */
    struct kt_tee *tee_ab, *tee_ba;              /* observers (tee.h), taken over; NULL: none */
    /* used instead of linger_us, if shorter, once the other direction has delivered something: it was
     * answering, and is probably done */
    uint64_t settle_us;
};

struct kt_splice_result {
    uint64_t a_to_b, b_to_a;           /* bytes moved */
    uint64_t mirrored, mirror_dropped; /* bytes that mirrors took, and that they did not get (tee.h) */
    uint64_t duration_us;
    int code; /* 0: both directions ended cleanly; otherwise why not (KT_ERESET, KT_EIDLE, KT_ETOTAL,
                 KT_ECANCELED, ...) */
    const struct kt_err *cause; /* the reason from the far side of the pipe that broke (kt_pipe_why); NULL:
                                   none. Valid during `done`. */
};

/* Takes over both pipes and the tees, and ends them. done is called exactly once, never from inside this call, after
 * the splice was freed. 0, or KT_ENOMEM, and the pipes are still the caller's. */
int kt_splice(struct kt_io *io, struct kt_pipe *a, struct kt_pipe *b, const struct kt_splice_opts *opts,
    void (*done)(void *ctx, const struct kt_splice_result *result), void *ctx, struct kt_splice **out);

/* The limits of pipe a or b, read as long as the splice lives; NULL: none. Call it again after each change of them, and
 * with NULL before a change of their shared limits. */
void kt_splice_limit(struct kt_splice *s, bool b, struct kt_limits *limits);
/* Its pipe a or b. */
struct kt_pipe *kt_splice_pipe(const struct kt_splice *s, bool b);
/* For a pipe that broke before the splice began, and whose previous listener was told: as if it broke now. */
void kt_splice_broke(struct kt_splice *s, bool b, int code);

/* Resets both pipes with this reason for their far sides (kt_pipe_abort) and frees the splice. done is not
 * called. */
void kt_splice_cancel(struct kt_splice *s, int reason, const char *text);

#endif
