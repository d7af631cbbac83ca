/* Calls on a link that wait for a result: opens and probes.
 *
 * Invariant: a call gets exactly one callback, unless it is cancelled or its link is closed. Until then it is
 * in one place: a list of its link, the wire (which was asked for the result), or `ready`. Callbacks come
 * from a turn hook, never from inside the function that asked. */
#ifndef KT_LINK_COMMON_CALLS_H
#define KT_LINK_COMMON_CALLS_H

#include "base/list.h"
#include "io/io.h"
#include "link/link.h"

struct kt_call;

/* The calls of one link. */
struct kt_calls {
    struct kt_io *io;
    /* The call is being cancelled: the wire must withdraw the request. NULL: nothing to do. */
    void (*withdraw)(struct kt_call *call);
    struct kt_list ready; /* of kt_call */
    struct kt_turn turn;
    bool ended;
};

/* A wire may put its own fields behind it, in one allocation that begins with the call; it is freed with the
 * call. */
struct kt_call {
    struct kt_open open;
    struct kt_list node; /* in a list of its link, or in calls->ready */
    struct kt_calls *calls;
    kt_open_cb opened; /* NULL: a probe */
    kt_probe_cb probed;
    struct kt_stream_policy policy; /* of the stream */
    void *ctx;
    struct kt_pipe *stream; /* the result, while in `ready` */
    uint64_t rtt_us;        /* likewise */
    struct kt_err err;      /* likewise */
};

void kt_calls_init(struct kt_calls *c, struct kt_io *io, void (*withdraw)(struct kt_call *call));
/* Cancels the calls in `ready`, and from now on each call that would get a result. The link cancels its own
 * lists. */
void kt_calls_end(struct kt_calls *c);

/* A new call in no list, in `size` zeroed bytes; NULL: out of memory. */
struct kt_call *kt_call_new(struct kt_calls *c, size_t size, const struct kt_request *r);

/* Options of an open that outlive the caller's: kt_call_keep copies them and their texts, which need kt_call_texts
 * bytes that live as long. */
size_t kt_call_texts(const struct kt_open_options *o);
void kt_call_keep(struct kt_open_options *to, const struct kt_open_options *o, char *texts);

/* The result of a call. The call takes over the stream. */
void kt_call_opened(struct kt_call *call, struct kt_pipe *stream);
void kt_call_probed(struct kt_call *call, uint64_t rtt_us);
void kt_call_fail(struct kt_call *call, const struct kt_err *err);
/* Fails with the general text for the code. */
void kt_call_fail_code(struct kt_call *call, int code);

/* All calls in the list. */
void kt_calls_fail(struct kt_list *waiting, const struct kt_err *err);
void kt_calls_cancel(struct kt_list *waiting);

#endif
