/* Links: what is above a wire. A link dials a peer and opens streams to it; an acceptor takes links from
 * peers and hands out the streams that they open. One folder per wire below; each makes a kt_link and a
 * kt_acceptor.
 *
 * Streams are kt_pipes. */
#ifndef KT_LINK_LINK_H
#define KT_LINK_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/pipe.h"

struct kt_link;
struct kt_acceptor;
struct kt_open;

/* A snapshot of a link (for an acceptor: summed over its peers; times are then of the one most recently
 * heard). */
struct kt_link_stats {
    size_t sessions, streams;
    uint32_t srtt_us, rttvar_us, rto_us;
    uint64_t segs_out, segs_retrans, segs_recovered; /* PUSH first sent; sent again; rebuilt by FEC here */
    uint64_t bytes_in, bytes_out;                    /* payload */
    uint32_t inflight, queued, rmt_wnd;
    uint32_t cwnd;           /* congestion window in segments */
    uint64_t since_heard_us; /* µs since anything authentic came; UINT64_MAX: never */
};

/* ---- links ---- */

/* cb comes exactly once, not from inside kt_link_open: the stream (the callee's, see base/pipe.h), or NULL
 * and err. */
typedef void (*kt_open_cb)(void *ctx, struct kt_pipe *stream, const struct kt_err *err);

struct kt_link_ops {
    int (*open)(struct kt_link *, kt_open_cb, void *, struct kt_open **, struct kt_err *);
    void (*stats)(const struct kt_link *, struct kt_link_stats *);
    void (*close)(struct kt_link *);
};
struct kt_link {
    const struct kt_link_ops *ops;
};
struct kt_open {
    void (*cancel)(struct kt_open *);
};

/* Asks for a stream. Waits as long as the peer's name does not resolve or no socket can be had (retrying
 * every second); the deadline is the caller's: kt_open_cancel. */
static inline int kt_link_open(
    struct kt_link *l, kt_open_cb cb, void *ctx, struct kt_open **out, struct kt_err *err)
{
    return l->ops->open(l, cb, ctx, out, err);
}
static inline void kt_open_cancel(struct kt_open *o)
{
    o->cancel(o);
}
static inline void kt_link_stats(const struct kt_link *l, struct kt_link_stats *out)
{
    l->ops->stats(l, out);
}
/* Streams still open are broken with KT_ECLOSED; pending opens are canceled without a callback. */
static inline void kt_link_close(struct kt_link *l)
{
    l->ops->close(l);
}

/* ---- acceptors ---- */

struct kt_acceptor_events {
    /* A peer opened a stream; it is the callee's. peer: its address as text, valid during the call. */
    void (*stream)(void *ctx, struct kt_pipe *stream, const char *peer);
};
struct kt_acceptor_ops {
    void (*stats)(const struct kt_acceptor *, struct kt_link_stats *);
    void (*close)(struct kt_acceptor *);
};
struct kt_acceptor {
    const struct kt_acceptor_ops *ops;
};
static inline void kt_acceptor_stats(const struct kt_acceptor *a, struct kt_link_stats *out)
{
    a->ops->stats(a, out);
}
static inline void kt_acceptor_close(struct kt_acceptor *a)
{
    a->ops->close(a);
}

#endif
