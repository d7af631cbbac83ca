/* A byte pipe: what a conn and a stream have in common, so that anything that moves bytes (splice, the
 * end-to-end cipher, a script's read and write) is written once for both.
 *
 * Reading is pull: `peek` shows what has arrived, in place, and `consume` drops it; what is not consumed
 * holds back the sender (back-pressure). Writing takes what there is room for. Events: readable: more data or
 * the end of data arrived since the last peek; not repeated for data that was left there; writable: there is
 * room again after a write that took less than it was offered; closed:   the pipe broke, with a KT_E… code
 * (KT_ERESET, KT_EDEAD, …); nothing more comes. What was readable before stays readable. A clean end of both
 * directions gives no `closed`. Events never come from inside a call on the same pipe, and never after close.
 * Events may close the pipe. */
#ifndef KT_BASE_PIPE_H
#define KT_BASE_PIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/bufq.h"
#include "base/err.h"

struct kt_pipe;
struct kt_stream_ops;

struct kt_pipe_ops {
    size_t (*peek)(struct kt_pipe *p, struct kt_iov *iov, size_t max);
    void (*consume)(struct kt_pipe *p, size_t n);
    bool (*eof)(const struct kt_pipe *p);
    size_t (*write)(struct kt_pipe *p, const void *data, size_t n);
    void (*shutdown)(struct kt_pipe *p);
    bool (*half_close)(const struct kt_pipe *p);
    void (*reset)(struct kt_pipe *p, int reason, const char *text);
    void (*close)(struct kt_pipe *p);
    bool (*gone)(const struct kt_pipe *p);                        /* may be NULL: never */
    void (*cut)(struct kt_pipe *p, int reason, const char *text); /* may be NULL: reset */
    bool (*young)(const struct kt_pipe *p);                       /* may be NULL: never */
    bool (*why)(const struct kt_pipe *p, struct kt_err *out);     /* may be NULL: never known */
    const struct kt_stream_ops *stream;                           /* NULL: no link's stream (link/stream.h) */
};

struct kt_pipe_events {
    void (*readable)(void *ctx);
    void (*writable)(void *ctx);
    void (*closed)(void *ctx, int code);
};

struct kt_pipe {
    const struct kt_pipe_ops *ops;
    const struct kt_pipe_events *events; /* NULL: nobody listens, arrivals wait under back-pressure */
    void *ctx;
    uint64_t bytes_in, bytes_out; /* consumed, and taken by write */
};

/* Sets who listens. Data that arrived before is there to peek; no event is repeated for it. */
static inline void kt_pipe_listen(struct kt_pipe *p, const struct kt_pipe_events *events, void *ctx)
{
    p->events = events;
    p->ctx = ctx;
}

/* Up to max pieces of what has arrived; returns how many. Valid until the next call on the pipe or return to
 * the loop. */
static inline size_t kt_pipe_peek(struct kt_pipe *p, struct kt_iov *iov, size_t max)
{
    return p->ops->peek(p, iov, max);
}

/* Drops n bytes that were shown by peek, and lets the sender go on. */
static inline void kt_pipe_consume(struct kt_pipe *p, size_t n)
{
    p->bytes_in += n;
    p->ops->consume(p, n);
}

/* True when the other end has finished sending and all of it has been consumed. */
static inline bool kt_pipe_eof(const struct kt_pipe *p)
{
    return p->ops->eof(p);
}

/* Takes 0..n bytes (copies them); fewer than n: wait for `writable`. 0 after shutdown or when broken. */
static inline size_t kt_pipe_write(struct kt_pipe *p, const void *data, size_t n)
{
    const size_t taken = p->ops->write(p, data, n);
    p->bytes_out += taken;
    return taken;
}

/* Ends sending once what was written is delivered; reading goes on. */
static inline void kt_pipe_shutdown(struct kt_pipe *p)
{
    p->ops->shutdown(p);
}

/* Whether a shutdown reaches the other end while the reverse direction stays open (TCP: yes; smux to a
 * foreign peer: no, there shutdown is held back until close). May change from false to true while the pipe is
 * young. */
static inline bool kt_pipe_half_close(const struct kt_pipe *p)
{
    return p->ops->half_close(p);
}

/* True while it is not known that the other end has heard of the pipe at all. */
static inline bool kt_pipe_young(const struct kt_pipe *p)
{
    return p->ops->young && p->ops->young(p);
}

/* True when nothing written can reach the other end any more although the pipe did not break: it has closed
 * both directions (smux FIN). What arrived before stays readable. */
static inline bool kt_pipe_gone(const struct kt_pipe *p)
{
    return p->ops->gone && p->ops->gone(p);
}

/* Aborts at once: unsent data is dropped, and the other end sees an abort (TCP RST). Also frees, as close
 * does. `reason` is a KT_E… code, and `text` a sentence that says more than the code does, or NULL; both
 * reach the other end where the wire can carry them (kt_pipe_why). */
static inline void kt_pipe_abort(struct kt_pipe *p, int reason, const char *text)
{
    p->ops->reset(p, reason, text);
}

static inline void kt_pipe_reset(struct kt_pipe *p, int reason)
{
    p->ops->reset(p, reason, NULL);
}

/* Ends a pipe because the source of what was written to it broke. The other end sees an abort, but a pipe
 * that can keep the order (smux) first delivers what was written. */
static inline void kt_pipe_cut(struct kt_pipe *p, int reason, const char *text)
{
    if (p->ops->cut)
        p->ops->cut(p, reason, text);
    else
        p->ops->reset(p, reason, text);
}

/* True if the other end aborted the pipe and gave a reason: its code, and its text (or the code's sentence).
 * Both come from the peer. Known from `closed` until the pipe is given up. */
static inline bool kt_pipe_why(const struct kt_pipe *p, struct kt_err *out)
{
    return p->ops->why && p->ops->why(p, out);
}

/* Gives the pipe up: what was written is still delivered, then both directions end; nothing more is read. The
 * handle is dead after this call; its memory is freed by the implementation, no sooner than the loop's next
 * turn. */
static inline void kt_pipe_close(struct kt_pipe *p)
{
    p->ops->close(p);
}

#endif
