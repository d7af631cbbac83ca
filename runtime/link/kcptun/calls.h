/* Calls on a link that wait for their answer: opens and probes.
 *
 * Invariant: every call is in exactly one place: a list of its link's where it waits, a session (a probe that
 * is under way), or `ready` until its callback; and gets exactly one callback, unless it is cancelled or the
 * link is closed. Callbacks come from a turn hook of their own, never from inside the call that asked. */
#ifndef KT_LINK_KCPTUN_CALLS_H
#define KT_LINK_KCPTUN_CALLS_H

#include "link/kcptun/session.h"

/* One link's. */
struct kt_calls {
    struct kt_kcptun_context *sh;
    struct kt_list ready; /* of kt_call */
    struct kt_turn turn;
    bool ended;
};

struct kt_call {
    struct kt_open open;
    struct kt_list node; /* where it waits, or in calls->ready */
    struct kt_calls *calls;
    kt_open_cb opened; /* NULL: a probe */
    kt_probe_cb probed;
    struct kt_stream_policy policy; /* of the stream; the caller's to fill in */
    void *ctx;
    struct kt_kcptun_session_probe probe;
    struct kt_pipe *stream; /* results, while in `ready` */
    uint64_t rtt_us;
    struct kt_err err;
};

void kt_calls_init(struct kt_calls *c, struct kt_kcptun_context *sh);
/* Cancels what is in `ready`; what is answered from now on is cancelled too. The links own lists are its. */
void kt_calls_end(struct kt_calls *c);

/* A new call in no list; NULL when out of memory. One of opened and probed is NULL. */
struct kt_call *kt_call_new(struct kt_calls *c, kt_open_cb opened, kt_probe_cb probed, void *ctx);
void kt_call_fail(struct kt_call *call, const struct kt_err *err);
/* All that wait in the list. */
void kt_calls_fail(struct kt_list *waiting, const struct kt_err *err);
void kt_calls_cancel(struct kt_list *waiting);

/* Has the session serve the call: opens its stream (encrypted with --tuncrypt), or begins its probe. False if
 * the session cannot open any more streams (its ids are used up). */
bool kt_call_serve(struct kt_call *call, struct kt_kcptun_session *s);

/* What becomes of a stream that the peer opened: it is refused when the two ends do not go together (which is
 * said in the log once, *told), decrypted where that is asked for. Returns the pipe, or NULL. */
struct kt_pipe *kt_kcptun_admit(
    struct kt_kcptun_context *sh, const struct kt_kcptun_session *s, struct kt_pipe *stream, bool *told);

#endif
