/* Shared by the files of smux. Only they include this (and the spec, for its hook).
 *
 *   smux.c         lifecycle, the table of streams, young streams
 *   smux_recv.c    bytes in: the frame parser
 *   smux_refuse.c  refused streams
 *   smux_window.c  receive windows
 *   smux_send.c    frames out
 *   smux_stream.c  a stream as a kt_pipe
 *   smux_event.c   calls to stream owners, and what makes them safe
 *
 * A stream is in the table from SYN until its user has released its pipe and its FIN was framed (and, if
 * young, settled). It is in at most one send queue, and only if it could send given room; so idle streams and
 * those held back by the peer's window cost nothing.
 *
 * Callbacks: only kt_smux_drain calls stream owners, accept, hello and streams, and only one runs at a time.
 * Those calls may do anything, so after them only the smux itself is used, which `busy` keeps alive. Pipe
 * operations call only wake and resume, which may not call back. */
#ifndef KT_LINK_KCPTUN_SMUX_INTERNAL_H
#define KT_LINK_KCPTUN_SMUX_INTERNAL_H

#include "base/bufq.h"
#include "base/hmap.h"
#include "base/list.h"
#include "crypto/kcptun/qpp.h"
#include "link/common/stream_schedule.h"
#include "link/kcptun/smux.h"
#include "link/stream.h"

#define KT_SMUX_INITIAL_WINDOW 262144u /* of the peer, before its first UPD (wire-kcptun.md 9.4) */
#define KT_SMUX_UPD_BODY 8u
#define KT_SMUX_RST_BODY (1u + KT_SMUX_RST_TEXT)

/* RST is kt's own (smux.h). */
enum kt_smux_cmd { KT_SMUX_SYN, KT_SMUX_FIN, KT_SMUX_PSH, KT_SMUX_NOP, KT_SMUX_UPD, KT_SMUX_RST };

enum kt_smux_queue {
    KT_SMUX_Q_NONE,
    KT_SMUX_Q_CONTROL, /* SYN, UPD or an abrupt FIN is due */
    KT_SMUX_Q_DATA,    /* scheduled (link/common/stream_schedule.h): data, then half-close, then FIN */
    KT_SMUX_Q_HELD,    /* a shutdown or an abort that waits for the peer's hello */
};

/* Control frames due. */
#define KT_SMUX_DUE_SYN 0x1u
#define KT_SMUX_DUE_UPD 0x2u
#define KT_SMUX_DUE_FIN 0x4u

/* Events due. */
#define KT_SMUX_EV_ACCEPT 0x1u
#define KT_SMUX_EV_READABLE 0x2u
#define KT_SMUX_EV_WRITABLE 0x4u
#define KT_SMUX_EV_CLOSED 0x8u
#define KT_SMUX_EV_KNOWN 0x10u

/* Refused streams whose FIN or RST was not framed yet (smux_refuse.c). */
struct kt_smux_refusals {
    struct kt_smux_refusal {
        uint32_t id;
        uint8_t why; /* as in kt_smux_stream */
    } * list;
    size_t first, end, cap;
};

struct kt_smux_stream {
    struct kt_pipe pipe; /* first: a stream's pipe is the stream */
    struct kt_smux *m;
    struct kt_hnode node;
    struct kt_stream_entry entry; /* its node is in the queue that `queue` names */
    struct kt_list touched;       /* in m->touched while events are due; once cut: in m->cuts */
    struct kt_list starting;      /* in m->young; the peer's: in m->arrivals while KT_SMUX_EV_ACCEPT is due */
    struct kt_list grant;         /* in m->granted or one of m->shrunk (v2) */
    /* first `sent` bytes that were framed but kept (young), then those not framed, then why_len bytes of text */
    struct kt_bufq send;
    struct kt_bufq recv;
    uint64_t syn_no; /* number of its SYN frame */
    uint32_t id;
    uint32_t sent;
    uint32_t written;                    /* payload framed, mod 2^32 */
    uint32_t written_then;               /* … when the last heartbeat looked (cut) */
    uint32_t peer_consumed, peer_window; /* from UPD (v2) */
    uint32_t consumed;                   /* payload given to the reader, mod 2^32 (v2) */
    uint32_t unannounced;                /* … since the last UPD */
    /* Where windows end (v2), in the count of `consumed`; before the first UPD as the peer assumes. */
    uint32_t last;  /* of the last one announced */
    uint32_t edge;  /* of the largest one that the peer may still rely on */
    uint32_t far;   /* of the farthest one ever */
    uint32_t claim; /* bytes of the session's buffer */
    int code;       /* why it broke; 0: it has not */
    uint8_t queue, control, events;
    uint8_t why; /* code of an abort, a KT_E… without its sign: the peer's, or ours once closed; 0: none */
    uint8_t why_len; /* length of its text, at the end of `send` */
    bool is_young;
    bool closed;               /* released by its owner: the handle is dead, nothing is read */
    bool shut;                 /* shutdown was called */
    bool half_sent;            /* … and the half-close was framed */
    bool fin_sent;             /* … and it is kept only because it is young */
    bool half_in;              /* the peer has finished sending */
    bool fin_in;               /* the peer has forgotten the stream */
    bool aborted;              /* … with RST */
    bool lost;                 /* … and unsent bytes were dropped for that reason */
    bool want_write;           /* a write accepted less than it was offered */
    bool announced;            /* an UPD was sent or is due */
    bool resting;              /* nothing was read from it since smux_window.c last looked */
    bool cut;                  /* its unread bytes were dropped: it must not look like a clean end */
    bool told;                 /* `closed` was raised */
    bool unheard;              /* … without a listener */
    struct kt_qpp_state qpp[]; /* out, in; only with QPP */
};

struct kt_smux {
    struct kt_smux_config cfg;
    struct kt_smux_owner owner;
    void *ctx;
    struct kt_slab *bufs;

    struct kt_hmap table; /* streams by id */
    size_t count;         /* streams that exist */
    bool recount;         /* … which changed since the owner's `streams` was called */
    uint64_t next_id;     /* 64 bits, so that running out of ids is noticed */
    uint64_t frames;      /* framed so far */
    struct kt_list control, held, touched;
    struct kt_list arrivals; /* streams that wait for `accept`, in the order of their SYNs */
    unsigned control_run;    /* control frames since the last data frame, while data waited */
    struct kt_list cuts;     /* streams that were cut and still have data to send */
    struct kt_smux_refusals refused;
    struct kt_stream_schedule data;
    struct kt_list young; /* in the order of their SYNs: first those framed, then those not framed yet */

    /* parser */
    uint8_t head[KT_SMUX_HEADER + KT_SMUX_RST_BODY]; /* with the body of an UPD or RST */
    size_t head_len;
    size_t body_left;            /* of a PSH */
    struct kt_smux_stream *body; /* its stream; NULL: dropped */
    bool failed;
    bool limited;          /* kt_smux_budget was called */
    uint32_t frames_left;  /* what is left of it */
    uint32_t accepts_left; /* UINT32_MAX: no limit */

    size_t buffered;
    size_t queued;                     /* bytes in the streams' send queues */
    size_t send_blocks, recv_blocks;   /* blocks of the slab, in send and in receive queues */
    size_t claimed;                    /* sum of the streams' claims */
    struct kt_list granted, shrunk[2]; /* smux_window.c */
    uint64_t read;                     /* bytes that were consumed or dropped so far */
    bool stalled;                      /* input accepted less than it was given */

    bool hello_due, nop_due;
    bool hello_held; /* the peer is known to hold ours */
    bool hello_in, hello_raise;
    uint16_t peer_features;
    bool half_close;   /* both ends announced it */
    bool abort;        /* likewise */
    bool foreign;      /* stopped waiting for the peer's hello */
    bool hello_waited; /* the peer held ours at the last heartbeat */

    bool awake; /* wake was called, and the pump has not run since */
    bool pumping, draining;
    bool ended, torn;               /* kt_smux_free was called; has done its work */
    int code;                       /* … with this */
    unsigned busy;                  /* calls on the stack that still need the smux */
    struct kt_smux_stream *current; /* the stream whose callback is running; NULL once it must get no more */
};

static inline struct kt_smux_stream *kt_smux_of(struct kt_pipe *p)
{
    return (struct kt_smux_stream *)(void *)p;
}

static inline const struct kt_smux_stream *kt_smux_of_const(const struct kt_pipe *p)
{
    return (const struct kt_smux_stream *)(const void *)p;
}

static inline size_t kt_smux_unsent(const struct kt_smux_stream *s)
{
    return s->send.len - s->sent - s->why_len;
}

/* All changes of a send queue come through these and kt_smux_append. */
static inline void kt_smux_send_consume(struct kt_smux_stream *s, size_t n)
{
    kt_bufq_consume(&s->send, n);
    s->m->queued -= n;
}

static inline void kt_smux_send_clear(struct kt_smux_stream *s)
{
    s->m->queued -= s->send.len;
    kt_bufq_clear(&s->send);
}

/* ---- smux.c ---- */

/* A stream in the table; NULL: out of memory. */
struct kt_smux_stream *kt_smux_stream_new(struct kt_smux *m, uint32_t id);
/* Removes it from all lists and frees it; the last stream of an ended smux also frees the smux. */
void kt_smux_stream_free(struct kt_smux_stream *s);
struct kt_smux_stream *kt_smux_find(const struct kt_smux *m, uint32_t id);
/* The peer holds the stream. May free it (if its FIN was framed). */
void kt_smux_settle(struct kt_smux_stream *s);
/* Drops what was not framed and what is kept. */
void kt_smux_drop_send(struct kt_smux_stream *s);

/* enter and leave enclose code that calls out. The outermost leave completes a kt_smux_free that was called
 * in between, so m may be gone after it. */
void kt_smux_enter(struct kt_smux *m);
void kt_smux_leave(struct kt_smux *m);

/* ---- smux_stream.c ---- */

extern const struct kt_pipe_ops kt_smux_pipe_ops;
/* Appends up to n bytes to one of the stream's queues, through QPP if it is on; fewer if memory is short. */
size_t kt_smux_append(struct kt_smux_stream *s, struct kt_bufq *q, const uint8_t *data, size_t n);

/* Stores the reason of an abort, once. Text is cut after KT_SMUX_RST_TEXT bytes, and left out if memory is
 * short. */
void kt_smux_set_why(struct kt_smux_stream *s, uint8_t code, const void *text, size_t len);
/* Its text; returns the length. */
size_t kt_smux_get_why(const struct kt_smux_stream *s, uint8_t text[KT_SMUX_RST_TEXT]);
/* At each heartbeat: what a cut stream still has to send waits for the peer's window like any data, but if
 * the peer's reader stalls, the rest is dropped and the abort sent. */
void kt_smux_hurry_cuts(struct kt_smux *m);

/* ---- smux_send.c ---- */

/* Puts the stream into the queue that its state requires, and wakes the owner if there is something new to
 * send. Call it after every change of that state. */
void kt_smux_schedule(struct kt_smux_stream *s);
/* The same without waking the owner. */
void kt_smux_place(struct kt_smux_stream *s);
void kt_smux_wake(struct kt_smux *m);

/* ---- smux_recv.c ---- */

/* Calls resume if input can continue. */
void kt_smux_unstall(struct kt_smux *m);
/* Breaks both directions of the stream. */
void kt_smux_break(struct kt_smux_stream *s, int code);

/* ---- smux_refuse.c ---- */

/* Refuses a stream without making it. 0, even if the refusal cannot be sent. */
int kt_smux_refuse(struct kt_smux *m, uint32_t id, int code);
/* The next refusal to send; NULL: none. */
const struct kt_smux_refusal *kt_smux_refusal(const struct kt_smux *m);
void kt_smux_refusal_sent(struct kt_smux *m);
void kt_smux_refusals_free(struct kt_smux *m);

/* ---- smux_window.c ---- */

/* Most received bytes held for all streams together. */
size_t kt_smux_hold_most(const struct kt_smux *m);
/* Bytes that may be received now: what that and the memory left allow. */
size_t kt_smux_recv_room(const struct kt_smux *m);
/* Bytes of memory that may still be taken; first: as in kt_smux_owner. */
size_t kt_smux_spare(const struct kt_smux *m, bool first);
/* Most bytes that the stream's send queue may hold now. */
size_t kt_smux_send_most(const struct kt_smux_stream *s);
/* A stream begins: the window that the peer assumes is in force, and reduced if less is free. */
void kt_smux_start_window(struct kt_smux_stream *s);
/* n received bytes of the stream were consumed: makes room, and an UPD if one is due. */
void kt_smux_credit(struct kt_smux_stream *s, size_t n);
/* Its reader has had its turn: what is unread now claims room, and a window that is too large is reduced. */
void kt_smux_settle_window(struct kt_smux_stream *s);
/* Corrects the claim after a change of what is unread or may still arrive. */
void kt_smux_claim(struct kt_smux_stream *s);
/* The window to announce, with s->consumed; from then on it is in force. */
uint32_t kt_smux_grant(struct kt_smux_stream *s);
/* Whether n more bytes are within any window that was announced. */
bool kt_smux_within(const struct kt_smux_stream *s, size_t n);
/* The peer sent more than that: the stream is cut. */
void kt_smux_overrun(struct kt_smux_stream *s);

/* ---- smux_event.c ---- */

/* A stream of the peer's, for `accept`. */
void kt_smux_arrive(struct kt_smux_stream *s);
/* Events to be raised by the next drain. */
void kt_smux_touch(struct kt_smux_stream *s, unsigned events);
/* Schedules `writable` for a waiting writer, if there is enough room to be worth a call. */
void kt_smux_offer(struct kt_smux_stream *s);
/* Cancels all pending events of a stream, and any later ones. */
void kt_smux_silence(struct kt_smux_stream *s);
void kt_smux_drain(struct kt_smux *m);

#endif
