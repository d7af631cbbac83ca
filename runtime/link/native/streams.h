/* The streams of one association of kt's own wire (docs/wire.md, 6.1). No I/O and no clock: the owner hands in frames,
 * takes frames for its packets, and says what became of each packet's contents (content.h). Each stream is a kt_pipe
 * with a kt_stream_ops.
 *
 * Order is per stream, and loss too: lost bytes go again first, and hold up their own stream only. Frames of many
 * streams share a packet, by priority and weight (link/common/stream_schedule.h).
 *
 * How a stream's pipe ends, beyond base/pipe.h:
 *
 * - The peer closed it: what it had sent stays readable, then comes eof; write returns 0 and gone is true. There is no
 *   `closed`, unless written bytes had to be dropped: then KT_ERESET, after everything received was consumed.
 * - The peer reset it: `closed` with KT_ERESET, at once, or after the bytes that a peer cut it behind. kt_pipe_why
 *   gives the peer's code and text.
 * - The association ended: `closed` with its code.
 * - close sends what is buffered, then the end; arrivals are dropped. cut does the same, but the peer gets the reason
 *   instead of the end, and no later than KT_NATIVE_CUT_US after it stopped giving credit. reset drops what is
 *   buffered. A stream that is reset before its OPEN left leaves no trace.
 * - `closed` needs a listener. If there is none when the pipe breaks, gone becomes true instead.
 *
 * Memory. The peer can make us hold max_data bytes, and min_stream_data for each stream; in addition, about 650 bytes
 * for each stream that it opens (max_streams), and its texts until it is handed over. Windows of streams, max_data and
 * max_streams start small and double as they are used. Our own writers can make us hold send_memory bytes, or less if
 * the owner has less to spare, and KT_NATIVE_SEND_LEAST for each stream, of which there are at most own_streams. An
 * idle stream holds no block.
 *
 * Nothing scans streams: those that wait for something are in a list for it, and others cost nothing. */
#ifndef KT_LINK_NATIVE_STREAMS_H
#define KT_LINK_NATIVE_STREAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/pipe.h"
#include "base/slab.h"
#include "link/link.h"
#include "link/native/content.h"
#include "link/native/frame.h"
#include "link/native/params.h"

struct kt_native_streams;

#define KT_NATIVE_UNSENT (256u * 1024u) /* most bytes a stream may queue that were never sent */
#define KT_NATIVE_SEND_LEAST 4096u      /* bytes that a stream may always queue */
#define KT_NATIVE_OPENS_AHEAD 64u       /* own streams that may wait for the peer to allow more */
#define KT_NATIVE_CUT_US 10000000u /* without credit for this long, a cut stream drops what it has not sent */
#define KT_NATIVE_CUT_LEAST_US 1000000u /* ... but not sooner after the cut */

/* Parameters of the handshake (4.1), in bytes and streams. */
struct kt_native_credit {
    uint64_t max_data, max_stream_data, min_stream_data, max_streams;
};

struct kt_native_streams_config {
    bool client;
    struct kt_native_credit ours, peers; /* as announced; ours: max_streams at most KT_NATIVE_STREAMS_MAX */
    uint64_t memory;                     /* to which our max_data may grow, as far as the owner allows */
    uint64_t max_window;                 /* ... and the window of a stream */
    uint64_t send_memory;                /* written bytes that the peer does not hold yet, all streams */
    uint64_t own_streams;                /* open at a time, or closed and not yet delivered; 0: any number */
    uint64_t most_streams;               /* to which our max_streams may grow, as far as the owner allows */
    uint64_t hash_seed;                  /* random: the peer chooses ids */
    /* The last pipe was closed: the slabs are not used any more. May be NULL. */
    void (*freed)(void *ctx);
    void *freed_ctx;
};

/* The callbacks with events may call anything here and on pipes; they come from kt_native_streams_dispatch. `wake`,
 * `spare`, `more`, `allows` and `facts` may come from inside any function here or on a pipe and must not call back. All
 * but wake may be NULL. */
struct kt_native_streams_owner {
    /* There is something to send, or an event to raise: call kt_native_streams_dispatch by the end of the turn, and
     * write while kt_native_streams_pending. */
    void (*wake)(void *ctx);
    /* The peer opened a stream, which is the callee's; texts (NULL: empty) are valid during the call. It ends the pipe
     * with close or reset, now or later. NULL: such streams are refused. */
    void (*stream)(void *ctx, struct kt_pipe *stream, const struct kt_open_options *opened);
    /* The number of open streams has changed to n. */
    void (*count)(void *ctx, size_t n);
    /* kt_native_streams_open returned KT_EAGAIN, and may succeed now. */
    void (*room)(void *ctx);
    /* Bytes of memory that these streams may still queue. NULL: any number. */
    size_t (*spare)(void *ctx);
    /* Our max_data is to grow to `want` bytes: returns to how many it may, or has already. NULL: to any number. */
    uint64_t (*more)(void *ctx, uint64_t want);
    /* How many streams, of both ends, there may be now; more are not let in. NULL: any number. */
    size_t (*allows)(void *ctx);
    /* Fills in what only the association knows (link/stream.h). */
    void (*facts)(void *ctx, struct kt_stream_facts *out);
};

/* Of struct kt_native_block (blocks.h), for bytes received and to send; maybe one for both. Shared, outlive the
 * streams. */
struct kt_native_slabs {
    struct kt_slab *in, *out;
};

/* 0, KT_EINVAL or KT_ENOMEM. */
int kt_native_streams_new(struct kt_native_streams **out, const struct kt_native_streams_config *cfg,
    const struct kt_native_streams_owner *owner, void *ctx, const struct kt_native_slabs *slabs);

/* The association ended, with a KT_E... code: raises `closed` for all streams with a user that have not ended. The
 * owner gets no more calls. From inside a callback it takes effect when the outer dispatch returns. Freed when the
 * last pipe is closed. NULL is harmless. */
void kt_native_streams_free(struct kt_native_streams *s, int code);

/* The time and the smoothed round trip, in µs, for growing windows: once per turn, before anything else. */
void kt_native_streams_clock(struct kt_native_streams *s, uint64_t now_us, uint32_t srtt_us);

/* Opens a stream, which exists at once and leaves with its first frame. Beyond the peer's max_streams it waits for
 * others to close, in order, with at most KT_NATIVE_OPENS_AHEAD others. The pipe is the caller's. 0, KT_EINVAL (text
 * too long), KT_ENOMEM, KT_ECLOSED, or KT_EAGAIN: KT_NATIVE_OPENS_AHEAD already wait, or own_streams have not ended; the
 * owner's `room` follows. */
int kt_native_streams_open(
    struct kt_native_streams *s, const struct kt_open_options *options, struct kt_pipe **out);

/* True if such a frame is for kt_native_streams_input. */
static inline bool kt_native_streams_takes(uint8_t type)
{
    switch (type) {
    case KT_NATIVE_FRAME_OPEN:
    case KT_NATIVE_FRAME_RESET:
    case KT_NATIVE_FRAME_STOP:
    case KT_NATIVE_FRAME_MAX_DATA:
    case KT_NATIVE_FRAME_MAX_STREAM_DATA:
    case KT_NATIVE_FRAME_MAX_STREAMS:
    case KT_NATIVE_FRAME_BLOCKED:
        return true;
    default:
        return kt_native_frame_is_data(type);
    }
}
/* A frame from the peer. Events are raised by the next dispatch. 0; KT_EPROTO: it breaks a rule, err names the frame;
 * KT_ENOMEM. After an error the association must end. */
int kt_native_streams_input(struct kt_native_streams *s, const struct kt_native_frame *f, struct kt_err *err);
/* At most n streams of the peer are handed to the owner until the next call; others wait, with what arrives for them,
 * and count as open, so that the peer can open no more than max_streams in all. At first any number. */
void kt_native_streams_accept_most(struct kt_native_streams *s, uint32_t n);
/* Whether some wait for that. */
bool kt_native_streams_waiting(const struct kt_native_streams *s);
/* Whether the peer has opened as many as it may: further ones wait at its end. */
bool kt_native_streams_exhausted(const struct kt_native_streams *s);
/* Raises all events that are due. Does nothing from inside a callback. */
void kt_native_streams_dispatch(struct kt_native_streams *s);

/* True if kt_native_streams_write has something to write, given enough room. */
bool kt_native_streams_pending(struct kt_native_streams *s);
/* Writes frames to `out` and a description of each to contents, of which *count (up to KT_NATIVE_CONTENTS) are in use.
 * Returns the bytes written. The last frame may run to the end of the packet, if it fills the room. 0: there is
 * nothing to send, or too little room. */
size_t kt_native_streams_write(struct kt_native_streams *s, uint8_t *out, size_t room,
    struct kt_native_content *contents, size_t *count);
/* Writes the frame that a content stands for again, as a copy: what became of the first is not known. The copy has the
 * same content, and a fate of its own. 0: no longer needed, or no room. */
size_t kt_native_streams_copy(
    struct kt_native_streams *s, const struct kt_native_content *c, uint8_t *out, size_t room);
/* Bytes of a stream from the first that the peer is not known to hold to the last that was sent; 0: none, or no such
 * stream. */
uint64_t kt_native_streams_inflight(struct kt_native_streams *s, uint64_t id);
/* The fate of a content: once for each time it was written. DATA that continue one another may be reported as one. */
void kt_native_streams_acked(struct kt_native_streams *s, const struct kt_native_content *c);
void kt_native_streams_lost(struct kt_native_streams *s, const struct kt_native_content *c);

/* Moves streams that the peer may not know of (kt_pipe_young) to another association, with the same slabs, where they
 * are opened and sent from their beginning. Returns how many. */
size_t kt_native_streams_move_young(struct kt_native_streams *from, struct kt_native_streams *to);

/* When kt_native_streams_timer is to be called, for cut streams and for a peer that waits for more of them; UINT64_MAX:
 * never. */
uint64_t kt_native_streams_due(const struct kt_native_streams *s);
/* heard: the peer is there, so that it could have given credit. */
void kt_native_streams_timer(struct kt_native_streams *s, bool heard);

struct kt_native_streams_facts {
    size_t streams;          /* open, of both ends */
    uint64_t allowed;        /* how many more the peer may open; 0 while the first announcement stands */
    uint64_t queued;         /* bytes written that the peer does not hold yet */
    uint64_t unread;         /* bytes that arrived in order and were not taken */
    uint64_t sent, received; /* bytes since the start: sent for the first time; arrived in order */
    uint64_t charged_in, max_data_in;   /* of the credit that this end gave, and how much it is */
    uint64_t charged_out, max_data_out; /* of the peer's */
    uint64_t resent;                    /* bytes sent again, since the start */
};
void kt_native_streams_facts(const struct kt_native_streams *s, struct kt_native_streams_facts *out);

#endif
