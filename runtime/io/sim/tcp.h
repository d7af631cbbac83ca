/* Shared by the three files of TCP: tcp.c (segments and connections, as in a kernel), conn.c (the pipe that a
 * process holds), listen.c (listeners).
 *
 * The model: a line delivers segments in order and never loses one, so there are no sequence numbers; a conn is
 * identified by a number and by which end is meant. A sender has credit for as many bytes as the other end has
 * room for, and gets it back as they are read. Unix sockets work the same way over the loopback line. */
#ifndef KT_IO_SIM_TCP_H
#define KT_IO_SIM_TCP_H

#include "io/read_block.h"
#include "io/sim/internal.h"

struct sim_listener;

#define SIM_SEND_BUFFER (64u * 1024) /* bytes that wait to be sent */

enum sim_tcp_state { SIM_DIALLING, SIM_OPEN, SIM_GONE };

struct sim_conn {
    struct kt_conn conn; /* first: a kt_pipe is cast to this */
    struct sim_io *p;    /* NULL once the process has closed it */
    struct kt_sim_host *host;
    struct kt_list node;     /* in host->conns, unless gone */
    struct kt_hnode id_node; /* in host->conn_ids, unless gone */
    struct kt_list waiting;  /* in a listener's backlog */
    struct sim_listener *listener;
    uint64_t id;
    uint8_t side; /* 0: connected, 1: was accepted */
    bool is_unix;
    enum sim_tcp_state state;
    bool answered; /* the other end accepted it: a later failure is not a failure to connect */
    struct kt_addr local, remote;

    /* the kernel's part */
    struct kt_bufq rx, tx;
    size_t credit; /* bytes that may still be sent */
    size_t owed;   /* bytes that were read since credit was last given back */
    bool fin_in, fin_out;
    bool watched;              /* the other end may have vanished: keepalive is simulated */
    unsigned tries;            /* of SYNs or probes */
    struct kt_sim_event again; /* sends a SYN or a probe again */
    struct kt_sim_event limit; /* the time limit for dialling, stalling or closing */

    /* the process' part */
    struct kt_read_block in;
    bool eof;      /* it has read the end */
    bool incoming; /* it will read in its next turn */
    bool starved;  /* a write came up short */
    bool shut;     /* it has finished */
    bool user;     /* it holds the handle */
    bool detached; /* by close, or the process was killed: the kernel delivers what there is, alone */
    int code;      /* why it broke, or 0 */
    int dying;     /* the same, while data from before the break is still read */
    bool told;
    struct kt_turn arrival, turn; /* events; `closed` at the end of a turn */
    struct kt_sim_event step;     /* slow or short: the next piece is read */
    struct kt_sim_event retry;    /* short writes: there is room again */
    uint64_t read_at;             /* slow: not before */
    uint64_t taken_us;            /* when the process last read bytes; at first, when it was made */
    void (*dialled)(void *ctx, int code);
    void *dialled_ctx;
    struct sim_grave grave;
};

static inline struct sim_conn *kt_sim_conn_of(const struct kt_pipe *p)
{
    return (struct sim_conn *)(void *)(uintptr_t)p;
}

/* ---- tcp.c ---- */

/* A conn without an address. NULL without memory. p: the process that will hold it; NULL: none yet. */
struct sim_conn *kt_sim_conn_new(struct kt_sim_host *h, struct sim_io *p, uint64_t id, uint8_t side);
/* Sends the first segment. dialled(ctx, 0 or a code) is called once, from the process's turn, unless the conn is
 * dropped. path: the unix socket's, else NULL. 0, or a code at once. */
int kt_sim_tcp_dial(struct sim_conn *c, const struct kt_addr *to, const char *path,
    void (*dialled)(void *ctx, int code), void *ctx);
/* Sends as much as credit allows, then FIN if it is due. */
void kt_sim_tcp_push(struct sim_conn *c);
/* Sends a segment without data. */
void kt_sim_tcp_tell(struct sim_conn *c, enum sim_tcp_kind kind, uint32_t credit);
/* The process no longer reads: delivers what was written, then ends. */
void kt_sim_tcp_detach(struct sim_conn *c);
/* Removes the conn without sending anything or telling the process. */
void kt_sim_tcp_gone(struct sim_conn *c);
/* Frees the memory once nothing uses the conn any more. */
void kt_sim_conn_release(struct sim_conn *c);

/* ---- conn.c ---- */

void kt_sim_conn_init(struct sim_conn *c);
/* The kernel has news for the process: bytes, the end of data, room, or a break. */
void kt_sim_conn_arrived(struct sim_conn *c);
void kt_sim_conn_room(struct sim_conn *c);
void kt_sim_conn_broke(struct sim_conn *c, int code);
/* Drops unread data that arrived before the conn broke. */
void kt_sim_conn_dead(struct sim_conn *c);
/* Names the two ends. */
void kt_sim_conn_name(struct sim_conn *c, const char *path);
/* Gives back the block for reading. */
void kt_sim_conn_put_in(struct sim_conn *c);
/* Ends a conn that was never handed to a user. */
void kt_sim_conn_drop(struct sim_conn *c);

/* ---- listen.c ---- */

/* The listener at an address, or at a path (if not NULL); NULL if none. */
struct sim_listener *kt_sim_listener_find(
    const struct kt_sim_host *h, const struct kt_addr *at, const char *path);
bool kt_sim_listener_full(const struct sim_listener *l);
void kt_sim_listener_add(struct sim_listener *l, struct sim_conn *c);
/* Removes c from the listener's backlog. */
void kt_sim_listener_remove(struct sim_listener *l, struct sim_conn *c);
bool kt_sim_tcp_port_taken(const struct kt_sim_host *h, uint16_t port);

#endif
