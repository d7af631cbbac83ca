/* One stream of an association (docs/wire.md, 6.1), and the association's table of them: shared by the files
 * that implement streams.h. No other file includes this.
 *
 *   streams.c         the table; opening, closing, moving
 *   streams_events.c  calls to those who use them
 *   stream.c          a stream as a kt_pipe
 *   stream_credit.c   how much either end may send
 *   streams_input.c   frames from the peer
 *   streams_write.c   frames to the peer, and their fates
 *   streams_cut.c     streams that were cut and still have bytes to send
 *
 * A direction of a stream is over when neither end will send anything more about it. A stream is freed when
 * both directions are over and it has no user. Functions that may free the stream say so. */
#ifndef KT_LINK_NATIVE_STREAM_H
#define KT_LINK_NATIVE_STREAM_H

#include "base/hmap.h"
#include "base/list.h"
#include "link/common/stream_schedule.h"
#include "link/native/recv_buffer.h"
#include "link/native/send_buffer.h"
#include "link/native/streams.h"

/* Frames of a stream that are due; they go before data. */
enum {
    KT_NATIVE_DUE_OPEN = 1, /* again; for the first time it goes with the data */
    KT_NATIVE_DUE_RESET = 2,
    KT_NATIVE_DUE_STOP = 4,
    KT_NATIVE_DUE_CREDIT = 8, /* MAX_STREAM_DATA */
    KT_NATIVE_DUE_BLOCKED = 16,
};

enum {
    KT_NATIVE_EV_STREAM = 1, /* to be handed to the owner */
    KT_NATIVE_EV_READABLE = 2,
    KT_NATIVE_EV_WRITABLE = 4,
    KT_NATIVE_EV_CLOSED = 8,
    KT_NATIVE_EV_KNOWN = 16,
};

/* Where a stream waits to send; entry.node is in that list. */
enum kt_native_line {
    KT_NATIVE_LINE_NONE,
    KT_NATIVE_LINE_READY,   /* has a frame to send */
    KT_NATIVE_LINE_STARVED, /* waits for credit of the association */
    KT_NATIVE_LINE_UNNAMED, /* waits for the peer to allow another stream */
};

enum kt_native_stop {
    KT_NATIVE_STOP_NONE,
    KT_NATIVE_STOP_SENT, /* or due */
    KT_NATIVE_STOP_ACKED,
};

/* The options that a stream was opened with, until the peer or the owner knows. Texts are stored one after the
 * other, each with a final zero. */
struct kt_native_opened {
    uint8_t len[3]; /* target, client, name */
    char text[];
};

struct kt_native_stream {
    struct kt_pipe pipe; /* first: a pipe is cast to its stream */
    struct kt_native_streams *all;
    struct kt_list sibling; /* in all->list */
    struct kt_hnode node;   /* in all->table, if id > 0 */
    uint64_t id;            /* 0: has not been sent yet */
    struct kt_stream_entry entry;
    struct kt_list due_node; /* in all->due while frames are due */
    struct kt_list
        touched; /* in all->touched or all->arrivals while events are due; once cut: in all->cuts */
    struct kt_native_opened *opened;
    char *text; /* of our RESET, or of the peer's; NULL: none */

    struct kt_native_send_buffer out;
    uint64_t out_taken, out_limit; /* announced by the peer; limit: bytes before it may be sent */
    uint64_t out_charge;
    uint64_t blocked_at; /* for BLOCKED; UINT64_MAX: never was */
    uint64_t reset_at;   /* offset of our RESET */
    uint64_t sent_us;    /* when a new byte was last sent; of a cut stream it may be later (streams_cut.c) */

    struct kt_native_recv_buffer in;
    uint64_t in_taken, in_limit; /* announced to the peer */
    uint64_t in_window;          /* for the next announcement */
    uint64_t in_charge;
    uint64_t grown_at,
        grown_limit;   /* when the window last grew: bytes taken by then, and the credit it got */
    uint64_t in_reset; /* offset of the peer's RESET; UINT64_MAX: none */
    uint64_t stop_at;  /* of our STOP: bytes that the user took */
    uint64_t tuned_taken, tuned_at; /* the window was last looked at: bytes, µs */

    int code;            /* for `closed`: a KT_E... code, 0: has not broken */
    int why;             /* the peer's reason to reset it */
    uint64_t reset_code; /* the wire's code in our RESET */
    uint8_t due, events, line, stop;
    bool ours;   /* opened by this end */
    bool known;  /* the peer knows of it */
    bool user;   /* its pipe has a user, or will have */
    bool handed; /* ... has one */
    bool out_over, in_over;
    bool reset, reset_acked; /* this end ends it with RESET */
    bool reset_in;           /* the peer's RESET has taken effect */
    bool stopped;            /* the peer takes no more */
    bool lost;               /* written bytes were dropped because of that */
    bool want_write;         /* a write was short */
    bool pressed;            /* the peer waits for credit: announce in small steps */
    bool told, unheard;      /* `closed` was raised; there was no listener */
};

struct kt_native_streams {
    struct kt_native_streams_config cfg;
    struct kt_native_streams_owner owner;
    void *ctx;
    struct kt_native_slabs slabs;
    struct kt_hmap table;
    struct kt_native_stream *last;    /* the last one found, or NULL */
    struct kt_native_stream *current; /* whose events are being raised; NULL if it went away */
    size_t count;                     /* structs, with and without id */
    size_t own, nameless;             /* of them: opened by this end; without id */
    struct kt_list list;              /* all streams */
    struct kt_list touched, due, unnamed;
    struct kt_list
        arrivals; /* by `touched`: of the peer, to be handed to the owner once accepts_left allows */
    uint32_t accepts_left;
    struct kt_list cuts; /* streams_cut.c */
    uint64_t cuts_due;   /* the next look at them, if there are any */
    struct kt_stream_schedule ready, starved;
    uint64_t now_us;
    uint32_t srtt_us;

    uint64_t own_next, own_limit;   /* index, from 0: of the next own stream; streams the peer allows */
    uint64_t peer_next, peer_limit; /* of the next stream of the peer; streams announced to it */
    uint64_t peer_closed;
    uint64_t review_us; /* when to look again whether a peer that has used up peer_limit may have more */

    uint64_t charged_in, max_data_in, max_data_want; /* max_data_in: as announced */
    uint64_t charged_out, max_data_out;
    uint64_t queued, unread, resent, sent, received;
    uint32_t busy; /* calls that may free streams, from callbacks of others */
    int code;
    uint64_t blocked_at; /* max_data when BLOCKED was last due for it */
    bool due_max_data, due_max_streams, due_blocked;
    bool crowded; /* the owner waits for `room` */
    bool ended, torn, draining, awake, recount;
};

static inline struct kt_native_stream *kt_native_stream_of(struct kt_pipe *p)
{
    return (struct kt_native_stream *)(void *)p;
}

static inline const struct kt_native_stream *kt_native_stream_of_const(const struct kt_pipe *p)
{
    return (const struct kt_native_stream *)(const void *)p;
}

/* ---- streams.c ---- */

/* NULL: no open stream has this id. */
struct kt_native_stream *kt_native_streams_find(struct kt_native_streams *s, uint64_t id);
/* A stream without an id, in no list, that kt_native_stream_free frees; NULL: no memory. */
struct kt_native_stream *kt_native_stream_new(struct kt_native_streams *s, bool ours);
/* 0, or KT_ENOMEM. */
int kt_native_stream_name(struct kt_native_stream *st, uint64_t id);
void kt_native_stream_free(struct kt_native_stream *st);
/* Updates which directions are over. Returns false if it freed the stream. */
bool kt_native_stream_settle(struct kt_native_stream *st);
/* The peer takes nothing more: what was not sent is dropped. */
void kt_native_stream_end_out(struct kt_native_stream *st);
/* Nothing more will be read; drops what has arrived. */
void kt_native_stream_drop_in(struct kt_native_stream *st);
int kt_native_stream_set_opened(struct kt_native_stream *st, const struct kt_native_text texts[3]);
void kt_native_stream_set_text(struct kt_native_stream *st, const char *text, size_t len, size_t most);
/* Whether another stream may be opened. */
bool kt_native_streams_has_room(const struct kt_native_streams *s);
/* Call around what may end streams or, from a callback, all of them. */
void kt_native_streams_enter(struct kt_native_streams *s);
void kt_native_streams_leave(struct kt_native_streams *s);

/* ---- streams_events.c ---- */

/* Asks the owner to call kt_native_streams_dispatch. */
void kt_native_streams_wake(struct kt_native_streams *s);
/* Records events (KT_NATIVE_EV_...). */
void kt_native_stream_touch(struct kt_native_stream *st, unsigned events);
/* The peer has shown that it knows of the stream. */
void kt_native_stream_know(struct kt_native_stream *st);
/* No event is raised any more. */
void kt_native_stream_silence(struct kt_native_stream *st);
/* Raises the events that were recorded, also while the streams end. */
void kt_native_streams_drain(struct kt_native_streams *s);

/* ---- stream.c ---- */

extern const struct kt_pipe_ops kt_native_stream_pipe_ops;
/* Raises `writable` if there is room again. */
void kt_native_stream_offer(struct kt_native_stream *st);

/* ---- streams_cut.c ---- */

/* Has a stream without a user end with RESET after everything that was written. */
void kt_native_stream_watch_cut(struct kt_native_stream *st);

/* ---- stream_credit.c ---- */

/* Recounts what a direction charges to the association. */
void kt_native_credit_count_out(struct kt_native_stream *st);
void kt_native_credit_count_in(struct kt_native_stream *st);
/* New bytes may be sent up to this offset. */
uint64_t kt_native_credit_limit(const struct kt_native_stream *st);
/* True if the association has credit worth a frame. */
bool kt_native_credit_left(const struct kt_native_streams *s);
/* Call after the user took bytes: announces that if it is time to, with a larger window if the present one
 * is used up fast. */
void kt_native_credit_took(struct kt_native_stream *st);
/* Call after bytes arrived: enlarges the window if what waits behind a gap is about to use it up. */
void kt_native_credit_arrived(struct kt_native_stream *st);
/* The peer waits for credit from `offset` on: announces what was taken, and a larger window if the peer
 * lacks that. */
void kt_native_credit_blocked(struct kt_native_stream *st, uint64_t offset);
/* A MAX_STREAM_DATA that is about to be written announces all that was taken so far. A copy of an earlier one repeats
 * its credit, because only the latest announcement is written again if it is lost. */
void kt_native_credit_announce(struct kt_native_stream *st);
/* Enlarges max_data, which is used up, as far as memory allows. */
void kt_native_credit_more(struct kt_native_streams *s);
/* Streams that the peer may have opened since the start, at least as many as were announced. It may have twice as many
 * open as it has, up to what the owner allows. */
uint64_t kt_native_credit_streams(const struct kt_native_streams *s);
/* Call when the peer has opened or closed a stream, or has waited for a while: announces more, in steps. */
void kt_native_credit_count_streams(struct kt_native_streams *s);

/* ---- streams_write.c ---- */

/* The stream has these frames to send (KT_NATIVE_DUE_...). */
void kt_native_stream_due(struct kt_native_stream *st, unsigned frames);
/* Puts the stream into the line where it now waits to send. */
void kt_native_stream_place(struct kt_native_stream *st);
/* Call when the peer allows more streams. */
void kt_native_streams_place_unnamed(struct kt_native_streams *s);

#endif
