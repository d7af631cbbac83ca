/* Links and acceptors, whatever wire they speak (wire.h makes them). A link dials a peer and opens streams to
 * it; an acceptor takes links from peers and hands out the streams that they open.
 *
 * Streams are kt_pipes. */
#ifndef KT_LINK_LINK_H
#define KT_LINK_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/pipe.h"
#include "link/stat.h"
#include "link/stream.h"

struct kt_link;
struct kt_acceptor;
struct kt_open;
struct kt_settings;
struct kt_wire;

/* The peer of a stream or a link. Strings are valid during the call that hands it over; NULL: the wire does not
 * carry it, or the peer did not say. */
struct kt_peer_info {
    const struct kt_wire *wire;
    const char *address;  /* as text; never NULL */
    const char *identity; /* what it authenticated as */
    const char *target;   /* where it wants a stream to go */
    const char *client;   /* address of the client that a stream is for */
};

/* Counters of a link or an acceptor, summed over all its sessions since it was opened, those that have ended
 * included: they never fall. */
struct kt_link_totals {
    uint64_t segs_out, segs_retrans, segs_recovered; /* PUSH first sent; sent again; rebuilt by FEC here */
    uint64_t bytes_in, bytes_out;                    /* payload */
};

#define KT_LINK_OWN_STATS 8u

/* A snapshot of a link (for an acceptor: summed over its peers; times are then of the one most recently
 * heard). All but the totals is of the sessions that are up now. */
struct kt_link_stats {
    const struct kt_wire *wire; /* whose figures `own` are */
    struct kt_link_totals total;
    size_t sessions, streams;
    uint32_t srtt_us, rttvar_us;
    uint32_t inflight, queued;
    bool owing; /* the peer does not hold yet all that streams sent; keepalives and probes do not count */
    uint64_t since_heard_us; /* µs since anything authentic came; UINT64_MAX: never */
    bool up;                 /* a peer was heard, in a session that still is and is not suspect */
    uint64_t up_us;          /* ... for so long, in the oldest such session */
    uint64_t silence_us;     /* the longest that a session's peer is silent now while it owes an answer */
    /* Over the last few seconds: */
    uint64_t rate_in, rate_out; /* bytes/s of payload */
    struct {
        uint64_t segs_out, retrans, segs_in, recovered;
    } recent;
    uint64_t own[KT_LINK_OWN_STATS]; /* figures that only the wire has: kt_wire.describe names them */
};

/* Calls each for every row of link_stats.def, then for those of the wire. */
void kt_link_stats_each(const struct kt_link_stats *s, kt_stat_each each, void *ctx);

/* The share of segments lost lately, 0..1: of those sent, the part that was sent again; of those received,
 * the part that FEC had to rebuild; whichever is larger. Where little was sent it tends to 0: one of two is
 * no rate. */
static inline double kt_link_loss(const struct kt_link_stats *s)
{
    const double few = 32;
    double sent = (double)s->recent.segs_out + (double)s->recent.retrans, came = (double)s->recent.segs_in;
    double out = (double)s->recent.retrans / (sent > few ? sent : few);
    double in = (double)s->recent.recovered / (came > few ? came : few);
    double loss = out > in ? out : in;
    return loss < 1 ? loss : 1;
}

/* ---- links ---- */

/* cb comes exactly once, not from inside kt_link_open: the stream (the callee's, see base/pipe.h), or NULL
 * and err. */
typedef void (*kt_open_cb)(void *ctx, struct kt_pipe *stream, const struct kt_err *err);
/* Likewise: err NULL and how long a round trip took, in µs, > 0. */
typedef void (*kt_probe_cb)(void *ctx, uint64_t rtt_us, const struct kt_err *err);

/* What a stream is opened with. The strings may be NULL, and reach the peer where the wire can carry them; they
 * are read during the call only. */
struct kt_open_options {
    const char *target; /* where the far side is to connect it */
    const char *client; /* address of the client that it is for */
    const char *name;
    struct kt_stream_policy policy;
};
#define KT_OPEN_OPTIONS_DEFAULT                                                                              \
    {                                                                                                        \
        .policy = { KT_PRIORITY_DEFAULT, KT_WEIGHT_DEFAULT }                                                 \
    }

/* What happens to a link. Each may be NULL. They come from the loop, only take note of things, and none comes
 * after kt_link_close. */
struct kt_link_events {
    /* The peer was heard, and no session had a peer that was. */
    void (*up)(void *ctx);
    /* No session is left whose peer was heard and is not suspect. Of a link that an acceptor gave out this is
     * the end: its pending calls are cancelled without a callback, and it must not be touched any more. */
    void (*down)(void *ctx, const struct kt_err *why);
    /* The far side opened a stream; it is the callee's. NULL: such streams are refused. */
    void (*stream)(void *ctx, struct kt_pipe *stream, const struct kt_peer_info *peer);
    /* Whether it carries anything has changed: streams that are open, or what was said in streams and the
     * peer does not hold yet. It begins before the open's callback. Not for a link that an acceptor gave out.
     */
    void (*carries)(void *ctx, bool anything);
};

struct kt_link_ops {
    int (*open)(struct kt_link *, const struct kt_open_options *, kt_open_cb, void *, struct kt_open **,
        struct kt_err *);
    int (*probe)(struct kt_link *, kt_probe_cb, void *, struct kt_open **, struct kt_err *);
    void (*listen)(struct kt_link *, const struct kt_link_events *, void *);
    int (*stay)(struct kt_link *, struct kt_err *);
    int (*set)(struct kt_link *, const struct kt_settings *, struct kt_err *);
    void (*stats)(const struct kt_link *, struct kt_link_stats *);
    void (*close)(struct kt_link *);
};
struct kt_link {
    const struct kt_link_ops *ops;
};
struct kt_open {
    void (*cancel)(struct kt_open *);
    const struct kt_err *why; /* not NULL and with a code: what it waits for is not to be had, and why */
};

/* Asks for a stream. Waits as long as the peer's name does not resolve or no socket can be had (retrying
 * every second); the deadline is the caller's: kt_open_cancel. Until then (*out)->why says what is wrong. */
static inline int kt_link_open(struct kt_link *l, const struct kt_open_options *options, kt_open_cb cb,
    void *ctx, struct kt_open **out, struct kt_err *err)
{
    return l->ops->open(l, options, cb, ctx, out, err);
}
/* Ends the wait for an open or a probe. */
static inline void kt_open_cancel(struct kt_open *o)
{
    o->cancel(o);
}
/* Asks the peer for an answer that any peer gives, and says how long it took; dials if there is no session.
 * Fails when the session does; the deadline is the caller's. */
static inline int kt_link_probe(
    struct kt_link *l, kt_probe_cb cb, void *ctx, struct kt_open **out, struct kt_err *err)
{
    return l->ops->probe(l, cb, ctx, out, err);
}
/* Sets who hears of events (static storage; NULL: nobody). */
static inline void kt_link_listen(struct kt_link *l, const struct kt_link_events *events, void *ctx)
{
    l->ops->listen(l, events, ctx);
}
/* From now on it dials at once and for ever, without being asked. KT_ENOTSUP for a link that an acceptor gave
 * out. */
static inline int kt_link_stay(struct kt_link *l, struct kt_err *err)
{
    return l->ops->stay(l, err);
}
/* Changes the live settings (struct kt_setting) for sessions that are up and for those to come; s is of the
 * link's wire, and its other settings are ignored. Sessions that are up keep their FEC groups, and send less
 * parity or none if that is asked for; for more, or other groups, new streams get a new session. 0, KT_ECONFIG,
 * or KT_ENOTSUP as above. */
static inline int kt_link_set(struct kt_link *l, const struct kt_settings *s, struct kt_err *err)
{
    return l->ops->set(l, s, err);
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
    /* A peer opened a stream; it is the callee's. */
    void (*stream)(void *ctx, struct kt_pipe *stream, const struct kt_peer_info *peer);
    /* A peer's session was heard for the first time: as a link, for as long as the session lives (see
     * `down`). kt_link_close ends the session. NULL: nobody wants them. */
    void (*link)(void *ctx, struct kt_link *link, const struct kt_peer_info *peer);
};
/* What kt_acceptor_apply did. */
struct kt_acceptor_change {
    bool changed; /* the settings differ from those before */
    bool retired; /* ... in the key or the cipher */
    size_t sessions;
};
struct kt_acceptor_ops {
    int (*prepare)(struct kt_acceptor *, const struct kt_settings *, struct kt_err *);
    void (*apply)(struct kt_acceptor *, struct kt_acceptor_change *);
    void (*drop)(struct kt_acceptor *);
    void (*adopt)(struct kt_acceptor *);
    void (*stats)(const struct kt_acceptor *, struct kt_link_stats *);
    void (*close)(struct kt_acceptor *);
};
struct kt_acceptor {
    const struct kt_acceptor_ops *ops;
};
/* Other settings (of the acceptor's wire) while it runs, in two steps: prepare may fail and changes nothing; then
 * they are applied or dropped. New sessions get the new ones. A session that is up keeps its own until it ends,
 * and may bring new streams unless the key or the cipher has changed: then those that it has may finish, and it
 * ends. What belongs to the sockets (the address, dscp, sockbuf) stays. */
static inline int kt_acceptor_prepare(struct kt_acceptor *a, const struct kt_settings *s, struct kt_err *err)
{
    return a->ops->prepare(a, s, err);
}
static inline void kt_acceptor_apply(struct kt_acceptor *a, struct kt_acceptor_change *out)
{
    a->ops->apply(a, out);
}
static inline void kt_acceptor_drop(struct kt_acceptor *a)
{
    a->ops->drop(a);
}
/* The acceptor has a new user. Links that it gave to the old one live as long as their sessions, but closing one
 * only lets go of it; and each session that is up is given to the new user as a link, the oldest first. */
static inline void kt_acceptor_adopt(struct kt_acceptor *a)
{
    a->ops->adopt(a);
}
static inline void kt_acceptor_stats(const struct kt_acceptor *a, struct kt_link_stats *out)
{
    a->ops->stats(a, out);
}
static inline void kt_acceptor_close(struct kt_acceptor *a)
{
    a->ops->close(a);
}

#endif
