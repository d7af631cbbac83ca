/* A byte pipe: what a conn and a stream have in common, so that code that moves bytes (splice, the end-to-end
 * cipher, a script's read and write) is written once for both.
 *
 * Reading is pull: `peek` shows in place what has arrived, `consume` drops it. Bytes that are not consumed hold
 * back the sender (back-pressure). Writing takes only what fits. Before a conn reads, it asks its listener for how many
 * bytes it has room (kt_pipe_events.room); a splice answers with the room of its destination (kt_pipe_room). So neither
 * holds bytes that the next pipe does not take. The events:
 *
 *   readable   More data, or the end of data, has arrived since the last peek. Not repeated for data left there.
 *   writable   Space is available again after a short write.
 *   closed     The pipe broke, with a KT_E... code (KT_ERESET, KT_EDEAD, ...). Nothing more arrives; data that
 *              was readable before stays readable. A clean end of both directions raises no `closed`.
 *   known      The other end now knows of the pipe: kt_pipe_young has become false. Optional.
 *
 * Events never fire inside a call on the same pipe, and never after close. A handler may close the pipe. */
#ifndef KT_BASE_PIPE_H
#define KT_BASE_PIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/bufq.h"
#include "base/err.h"

#define KT_PIPE_PIECES 32u /* most pieces of one kt_pipe_writev */

struct kt_pipe;
struct kt_stream_ops;

struct kt_pipe_ops {
    size_t (*peek)(struct kt_pipe *p, struct kt_iov *iov, size_t max);
    void (*consume)(struct kt_pipe *p, size_t n);
    bool (*eof)(const struct kt_pipe *p);
    bool (*ended)(const struct kt_pipe *p); /* may be NULL: eof */
    size_t (*write)(struct kt_pipe *p, const void *data, size_t n);
    size_t (*writev)(
        struct kt_pipe *p, const struct kt_iov *iov, size_t pieces); /* may be NULL: write each */
    size_t (*room)(struct kt_pipe *p);                               /* may be NULL: unknown */
    void (*shutdown)(struct kt_pipe *p);
    bool (*half_close)(const struct kt_pipe *p);
    void (*reset)(struct kt_pipe *p, int reason, const char *text);
    void (*close)(struct kt_pipe *p);
    bool (*gone)(const struct kt_pipe *p);                        /* may be NULL: never */
    void (*cut)(struct kt_pipe *p, int reason, const char *text); /* may be NULL: reset */
    bool (*young)(const struct kt_pipe *p);                       /* may be NULL: never */
    bool (*behind)(const struct kt_pipe *p);                      /* may be NULL: never */
    bool (*why)(const struct kt_pipe *p, struct kt_err *out);     /* may be NULL: never known */
    bool single;                        /* peek shows one piece, and the next only once that is consumed */
    const struct kt_stream_ops *stream; /* NULL: not a link's stream (link/stream.h) */
};

struct kt_pipe_events {
    void (*readable)(void *ctx);
    void (*writable)(void *ctx);
    void (*closed)(void *ctx, int code);
    void (*known)(void *ctx); /* may be NULL */
    /* How many bytes the listener takes now, including those that it can peek. A conn stops reading when it has that
     * much, and asks again when the listener peeks or consumes all. Called from inside these two as well; must not
     * call the pipe. NULL: any number. */
    size_t (*room)(void *ctx);
};

struct kt_pipe {
    const struct kt_pipe_ops *ops;
    const struct kt_pipe_events *events; /* NULL: no listener; arrivals wait */
    void *ctx;
    uint64_t bytes_in, bytes_out; /* consumed; accepted by write */
};

/* Sets the listener. Data that arrived before can be peeked; its event is not repeated. */
static inline void kt_pipe_listen(struct kt_pipe *p, const struct kt_pipe_events *events, void *ctx)
{
    p->events = events;
    p->ctx = ctx;
}

/* Up to max pieces of the data that has arrived; returns the number of pieces. Valid until the next call on the
 * pipe or the return to the loop. */
static inline size_t kt_pipe_peek(struct kt_pipe *p, struct kt_iov *iov, size_t max)
{
    return p->ops->peek(p, iov, max);
}

/* Drops n bytes shown by peek, and lets the sender continue. */
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

/* True when the other end has finished sending, and nothing arrives beyond what can be peeked now. */
static inline bool kt_pipe_ended(const struct kt_pipe *p)
{
    return p->ops->ended ? p->ops->ended(p) : p->ops->eof(p);
}

/* Copies 0..n bytes; after fewer than n, wait for `writable`. Takes 0 after shutdown or on a broken pipe. */
static inline size_t kt_pipe_write(struct kt_pipe *p, const void *data, size_t n)
{
    const size_t taken = p->ops->write(p, data, n);
    p->bytes_out += taken;
    return taken;
}

/* Like kt_pipe_write, for up to KT_PIPE_PIECES pieces, none of them empty. Returns the sum. */
static inline size_t kt_pipe_writev(struct kt_pipe *p, const struct kt_iov *iov, size_t pieces)
{
    size_t taken = 0;
    if (p->ops->writev) {
        taken = p->ops->writev(p, iov, pieces);
    } else {
        bool full = false;
        for (size_t i = 0; i < pieces && !full; i++) {
            const size_t n = p->ops->write(p, iov[i].data, iov[i].len);
            taken += n;
            full = n < iov[i].len;
        }
    }
    p->bytes_out += taken;
    return taken;
}

/* Bytes that write would take now; SIZE_MAX: unknown. If 0, `writable` follows as after a short write. A pipe
 * that takes nothing any more says 1, so that the writer tries and finds out. */
static inline size_t kt_pipe_room(struct kt_pipe *p)
{
    return p->ops->room ? p->ops->room(p) : SIZE_MAX;
}

/* Ends sending once everything written is delivered. Reading continues. */
static inline void kt_pipe_shutdown(struct kt_pipe *p)
{
    p->ops->shutdown(p);
}

/* Whether the other end sees a shutdown while the reverse direction stays open. TCP: yes. smux to a foreign
 * peer: no; there the shutdown is held back until close. May change from false to true while the pipe is
 * young. */
static inline bool kt_pipe_half_close(const struct kt_pipe *p)
{
    return p->ops->half_close(p);
}

/* True while the other end may not know of the pipe yet. */
static inline bool kt_pipe_young(const struct kt_pipe *p)
{
    return p->ops->young && p->ops->young(p);
}

/* True while bytes from the other end may have arrived that cannot be read yet: they wait for a lost packet,
 * or behind others. */
static inline bool kt_pipe_behind(const struct kt_pipe *p)
{
    return p->ops->behind && p->ops->behind(p);
}

/* True if nothing written can reach the other end although the pipe did not break: the other end has closed
 * both directions (smux FIN). Data that arrived before stays readable. */
static inline bool kt_pipe_gone(const struct kt_pipe *p)
{
    return p->ops->gone && p->ops->gone(p);
}

/* Aborts at once and frees the pipe: drops unsent data, and the other end sees an abort (TCP RST). `reason` is
 * a KT_E... code; `text` is a sentence with more detail, or NULL. Both reach the other end if the wire can
 * carry them (kt_pipe_why). */
static inline void kt_pipe_abort(struct kt_pipe *p, int reason, const char *text)
{
    p->ops->reset(p, reason, text);
}

static inline void kt_pipe_reset(struct kt_pipe *p, int reason)
{
    p->ops->reset(p, reason, NULL);
}

/* Ends a pipe because the source of the data written to it broke. The other end sees an abort; a pipe that can
 * keep the order (smux) first delivers what was written. */
static inline void kt_pipe_cut(struct kt_pipe *p, int reason, const char *text)
{
    if (p->ops->cut)
        p->ops->cut(p, reason, text);
    else
        p->ops->reset(p, reason, text);
}

/* True if the other end aborted the pipe with a reason: its code, and its text (or the code's sentence). Both
 * come from the peer. Available from `closed` until the pipe is closed or aborted here. */
static inline bool kt_pipe_why(const struct kt_pipe *p, struct kt_err *out)
{
    return p->ops->why && p->ops->why(p, out);
}

/* Closes the pipe: delivers what was written, then ends both directions; reads nothing more. The handle is dead
 * after this call. The implementation frees its memory, no sooner than the next turn of the loop. */
static inline void kt_pipe_close(struct kt_pipe *p)
{
    p->ops->close(p);
}

#endif
