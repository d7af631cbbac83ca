/* Fields and functions that the files of a conn share: conn.c has its life, conn_read.c and conn_write.c its two
 * directions. */
#ifndef KT_IO_UV_CONN_INTERNAL_H
#define KT_IO_UV_CONN_INTERNAL_H

#include "io/uv/inbox.h"
#include "io/uv/internal.h"

/* After writing has failed, what the peer sent can be read until this long after the consumer's last read. */
#define KT_UV_CONN_REST_US 10000000u

struct uv_conn {
    struct kt_conn conn; /* first: a kt_pipe is cast to this */
    struct uv_io *u;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } h;

    struct kt_uv_inbox in;
    uint64_t read_us; /* when bytes were last read; at first, when the conn was made */
    bool full;        /* the listener had no room when it was last asked */
    bool reading;     /* libuv is reading */
    bool eof;         /* the peer has finished */

    bool writing;   /* libuv is writing */
    bool starved;   /* a write came up short */
    bool shut;      /* the user has shut down its side */
    bool shutting;  /* libuv is sending FIN */
    bool shut_done; /* FIN was sent, or need not be */

    int write_code; /* why writing has failed, or 0 */
    int code;       /* why the pipe is broken, or 0 */
    int said;       /* the socket's error as a libuv code, or 0; the system reports it only once */
    bool is_unix;
    bool hung;                        /* a hang-up was reported but not handled yet */
    bool told;                        /* events->closed was called */
    bool closed;                      /* by the user */
    struct kt_turn turn;              /* reports `code` to the user */
    struct kt_timer timer;            /* salvage, or the time limit for closing */
    struct kt_list closing;           /* in u->conn_closing */
    struct kt_uv_mute_peer mute_peer; /* TCP only */
    struct kt_uv_watched watched;
};

static inline struct uv_conn *kt_uv_conn_of_pipe(const struct kt_pipe *p)
{
    return (struct uv_conn *)(void *)(uintptr_t)p;
}

/* Bytes or FIN are on their way out. */
static inline void kt_uv_conn_expect_answer(struct uv_conn *c)
{
    if (!c->is_unix) kt_uv_mute_peer_expect(&c->mute_peer, &c->u->io, c->conn.user_timeout_us);
}

/* Reports to a late listener what happened before it was set. */
static inline void kt_uv_conn_tell_late(struct uv_conn *c)
{
    if (c->code && !c->told) kt_io_turn(&c->u->io, &c->turn);
}

/* ---- conn.c ---- */

/* Sets its timer, counted from now by the clock. */
void kt_uv_conn_arm(struct uv_conn *c, uint64_t after_us);
/* Closes the handle, which frees the conn. */
void kt_uv_conn_finish(struct uv_conn *c);
/* The same for one that its user has closed, once both directions have finished. */
void kt_uv_conn_try_finish(struct uv_conn *c);
/* Breaks the pipe with a KT_E code; finishes a conn that its user has closed. */
void kt_uv_conn_break(struct uv_conn *c, int code);
/* Nothing more can be written, for this reason (a libuv code). */
void kt_uv_conn_write_failed(struct uv_conn *c, int uverr);
/* Handles a hang-up that was reported, unless libuv reads: then libuv finds it after the last data. */
void kt_uv_conn_look(struct uv_conn *c);

/* ---- conn_read.c ---- */

void kt_uv_conn_start_reading(struct uv_conn *c);
void kt_uv_conn_stop_reading(struct uv_conn *c);
size_t kt_uv_conn_peek(struct kt_pipe *p, struct kt_iov *iov, size_t max);
void kt_uv_conn_consume(struct kt_pipe *p, size_t n);
bool kt_uv_conn_ended(const struct kt_pipe *p);
bool kt_uv_conn_eof(const struct kt_pipe *p);

/* ---- conn_write.c ---- */

/* The system has taken everything that was written: sends FIN if it is due, and raises writable. */
void kt_uv_conn_drained(struct uv_conn *c);
size_t kt_uv_conn_write(struct kt_pipe *p, const void *data, size_t n);
size_t kt_uv_conn_writev(struct kt_pipe *p, const struct kt_iov *iov, size_t pieces);
size_t kt_uv_conn_room(struct kt_pipe *p);

#endif
