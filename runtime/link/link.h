/* Links and acceptors, whatever wire they speak (wire.h makes them). A link dials a peer and opens streams to
 * it; an acceptor accepts links from peers and hands out the streams that they open.
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
#include "link/flow.h"
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
    const char *name;     /* of a stream */
    const char *original; /* where a diverted conn or flow was meant to go */
};

/* Counters of a link or an acceptor, summed over all its sessions since it was opened, including ended ones,
 * so they never decrease. */
struct kt_link_totals {
    uint64_t segs_out, segs_retrans, segs_recovered; /* PUSH first sent; sent again; rebuilt by FEC here */
    uint64_t bytes_in, bytes_out;                    /* payload */
};

#define KT_LINK_OWN_STATS 8u

/* A snapshot of a link (for an acceptor: summed over its peers; times are then of the one most recently
 * heard). Everything but the totals covers only the sessions that are up now. */
struct kt_link_stats {
    const struct kt_wire *wire; /* the wire that fills in `own` */
    struct kt_link_totals total;
    size_t sessions, streams;
    uint32_t srtt_us, rttvar_us;
    uint32_t rto_us; /* without an acknowledgement for this long, something is sent again; kt's wire: PTO */
    uint32_t cwnd;   /* packets that the controller allows in flight; 0: it has not said yet */
    uint32_t inflight, queued;
    bool owing; /* the peer does not hold all stream data sent yet; keepalives and probes do not count */
    uint64_t since_heard_us; /* µs since anything authentic came; UINT64_MAX: never */
    bool up;                 /* some session's peer was heard and is not suspect */
    uint64_t up_us;          /* ... for this long, in the oldest such session */
    uint64_t silence_us;     /* the longest that a session's peer has now been silent while owing an answer */
    /* Over the last few seconds: */
    uint64_t rate_in, rate_out; /* bytes/s of payload */
    struct {
        uint64_t segs_out, retrans, segs_in, recovered;
    } recent;
    uint64_t own[KT_LINK_OWN_STATS]; /* figures of this wire only; kt_wire.describe names them */
};

/* Calls each for every row of link_stats.def, then for those of the wire. */
void kt_link_stats_each(const struct kt_link_stats *s, kt_stat_each each, void *ctx);

/* The share of segments lost lately, 0..1: the share of those sent that was sent again, or the share of those
 * received that FEC rebuilt, whichever is larger. Tends to 0 when little was sent, because one loss of two
 * segments says little. */
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

/* Options of a new stream. The strings may be NULL, and are read during the call only. They reach the peer if
 * the wire can carry them. */
struct kt_open_options {
    const char *target; /* where the far side connects it */
    const char *client; /* address of the client that it is for */
    const char *name;
    struct kt_stream_policy policy;
};
#define KT_OPEN_OPTIONS_DEFAULT                                                                              \
    {                                                                                                        \
        .policy = { KT_PRIORITY_DEFAULT, KT_WEIGHT_DEFAULT }                                                 \
    }

/* Events of a link. Each may be NULL. They come from the loop, never after kt_link_close. Callbacks may only
 * record things. */
struct kt_link_events {
    /* A peer was heard, after no session had one. */
    void (*up)(void *ctx);
    /* No session is left whose peer was heard and is not suspect. For a link that an acceptor gave out this
     * is the end: its pending calls are cancelled without a callback, and it must not be used any more. */
    void (*down)(void *ctx, const struct kt_err *why);
    /* The far side opened a stream; it is the callee's. NULL: such streams are refused. */
    void (*stream)(void *ctx, struct kt_pipe *stream, const struct kt_peer_info *peer);
    /* The far side opened a flow; it is the callee's, until closed. NULL: flows are refused. */
    void (*flow)(void *ctx, struct kt_flow *flow, const struct kt_peer_info *peer);
    /* Whether it carries anything has changed: open streams, or stream data that the peer does not hold yet.
     * Becomes true before the open's callback. Not for a link that an acceptor gave out. */
    void (*carries)(void *ctx, bool anything);
};

/* Options of a new flow. The texts are as in kt_open_options. */
struct kt_flow_options {
    const char *target; /* where the far side is to send its datagrams */
    const char *client; /* address of the client that it is for */
    unsigned copies;    /* send this many extra copies of each datagram, spaced; 0..KT_FLOW_COPIES */
    bool fec;           /* they are protected by FEC while packets are lost */
};

/* A stream or a probe that is asked of a link: `opened` or `probed` is set, the other is NULL. */
struct kt_request {
    struct kt_open_options options; /* of a stream */
    kt_open_cb opened;
    kt_probe_cb probed;
    void *ctx;
};

struct kt_link_ops {
    int (*request)(struct kt_link *, const struct kt_request *, struct kt_open **, struct kt_err *);
    /* NULL: the wire has none. */
    int (*flow)(struct kt_link *, const struct kt_flow_options *, struct kt_flow **, struct kt_err *);
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
    /* The link's; if it has a code: why the call still waits. NULL: no reason known. */
    const struct kt_err *why;
};

/* Asks for a stream; options NULL: the default. Waits, retrying every second, while the peer's name does not
 * resolve or no socket can be opened; (*out)->why says what is wrong. The caller sets a deadline with
 * kt_open_cancel. */
static inline int kt_link_open(struct kt_link *l, const struct kt_open_options *options, kt_open_cb cb,
    void *ctx, struct kt_open **out, struct kt_err *err)
{
    const struct kt_request r = {
        .options = options ? *options : (struct kt_open_options)KT_OPEN_OPTIONS_DEFAULT,
        .opened = cb,
        .ctx = ctx};
    return l->ops->request(l, &r, out, err);
}
/* Ends the wait for an open or a probe. */
static inline void kt_open_cancel(struct kt_open *o)
{
    o->cancel(o);
}
/* Measures a round trip with a question that every peer answers; dials if there is no session. Fails when the
 * session does; the caller sets a deadline with kt_open_cancel. */
static inline int kt_link_probe(
    struct kt_link *l, kt_probe_cb cb, void *ctx, struct kt_open **out, struct kt_err *err)
{
    const struct kt_request r = {.probed = cb, .ctx = ctx};
    return l->ops->request(l, &r, out, err);
}
/* Opens a flow, which is the caller's until closed. It exists at once: if there is no session it dials, and keeps the
 * last few datagrams until there is one; and it continues in the next session if its own ends. 0, KT_ENOMEM, KT_EINVAL
 * (a text is too long), or KT_ENOTSUP. */
static inline int kt_link_flow(
    struct kt_link *l, const struct kt_flow_options *options, struct kt_flow **out, struct kt_err *err)
{
    if (!l->ops->flow)
        return kt_err_set(err, KT_ENOTSUP, "this link's wire carries no datagrams; use wire = \"kt\"");
    return l->ops->flow(l, options, out, err);
}
/* Sets the receiver of events (static storage; NULL: none). */
static inline void kt_link_listen(struct kt_link *l, const struct kt_link_events *events, void *ctx)
{
    l->ops->listen(l, events, ctx);
}
/* From now on the link dials on its own and keeps dialling. KT_ENOTSUP for a link that an acceptor gave out. */
static inline int kt_link_stay(struct kt_link *l, struct kt_err *err)
{
    return l->ops->stay(l, err);
}
/* Changes the live settings (struct kt_setting) for current and future sessions; s is of the link's wire, and
 * its other settings are ignored. Current sessions keep their FEC groups and can only reduce their parity;
 * for more parity or other groups, new streams get a new session. 0, KT_ECONFIG, or KT_ENOTSUP as above. */
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
    /* A peer's session was heard for the first time. The link lives as long as the session (see `down`);
     * kt_link_close ends the session. NULL: no links are made. */
    void (*link)(void *ctx, struct kt_link *link, const struct kt_peer_info *peer);
    /* A peer opened a flow; it is the callee's, until closed. NULL: flows are refused. */
    void (*flow)(void *ctx, struct kt_flow *flow, const struct kt_peer_info *peer);
    /* A peer's session was heard for the first time, or again after it was silent (why NULL); or it is silent or over.
     * May be NULL. Not called while the acceptor closes. */
    void (*presence)(void *ctx, const struct kt_peer_info *peer, const struct kt_err *why);
    /* Decides whether a client may come in. key: its public key in base64. True: `name` holds its name, of 1 to
     * size - 1 bytes. Called in each handshake that authenticates, and after a reload, if the settings have `asks`. Must
     * not call the acceptor. */
    bool (*authorize)(void *ctx, const char *key, const char *address, char *name, size_t size);
};
/* The effect of kt_acceptor_apply. */
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
/* Changes settings (of the acceptor's wire) while it runs, in two steps: prepare may fail and changes
 * nothing; then the result is applied or dropped. New sessions get the new settings. A current session keeps
 * its own until it ends, and may bring new streams unless the key or the cipher has changed; if it has, the
 * session ends when its current streams have. Settings of the sockets (the address, dscp, sockbuf) stay. */
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
/* Gives the acceptor to a new user. Links of the old user live as long as their sessions, but closing one no
 * longer ends the session. Each session that is up is given to the new user as a link, the oldest first. */
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
