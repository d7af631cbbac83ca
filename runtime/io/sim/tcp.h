/* What the three files of TCP share: tcp.c (segments and connections, as a kernel has them), conn.c
 * (the pipe that a process holds), listen.c (listeners).
 *
 * The model: segments arrive in order and are never lost on a line, so there are no sequence numbers; a conn
 * is known by a number of its own and which end is meant. A sender has credit for as many bytes as the other
 * end has room for, and gets it back as they are read. Unix sockets are the same over the loopback line. */
#ifndef KT_IO_SIM_TCP_H
#define KT_IO_SIM_TCP_H

#include "io/sim/internal.h"

struct sim_listener;

enum sim_tcp_state { SIM_DIALLING, SIM_OPEN, SIM_GONE };

struct sim_conn {
    struct kt_conn conn; /* first: a kt_pipe is cast to this */
    struct sim_io *p;    /* NULL once the process has given it up */
    struct kt_sim_host *host;
    struct kt_list node;     /* in host->conns, unless gone */
    struct kt_hnode id_node; /* in host->conn_ids, unless gone */
    struct kt_list waiting;  /* in a listener's backlog */
    struct sim_listener *listener;
    uint64_t id;
    uint8_t side; /* 0: connected, 1: was accepted */
    bool is_unix;
    enum sim_tcp_state state;
    bool answered; /* the other end took it: what comes after that is no failure to connect */
    struct kt_addr local, remote;

    /* the kernel's part */
    struct kt_bufq rx, tx;
    size_t credit; /* bytes that may still be sent */
    size_t owed;   /* bytes that were read since credit was last given back */
    bool fin_in, fin_out;
    bool watched;              /* the other end may have vanished: its keepalive is acted out */
    unsigned tries;            /* of SYNs or probes */
    struct kt_sim_event again; /* sends a SYN or a probe once more */
    struct kt_sim_event limit; /* dialling, stalled or closing: not longer than this */

    /* the process' part */
    uint8_t *in; /* block of KT_CONN_READ bytes, or NULL; unread: in_pos..in_len */
    size_t in_pos, in_len;
    bool eof;      /* it has read the end */
    bool incoming; /* it will read in its next turn */
    bool starved;  /* a write came up short */
    bool shut;     /* it has finished */
    bool user;     /* it holds the handle */
    bool detached; /* by close, or the process was killed: the kernel delivers what there is, alone */
    int code;      /* why it broke, or 0 */
    int dying;     /* the same, while what had come before is still read */
    bool told;
    struct kt_turn arrival, turn; /* events; `closed` at the end of a turn */
    struct kt_sim_event step;     /* slow or short: the next piece is read */
    struct kt_sim_event retry;    /* short writes: there is room again */
    uint64_t read_at;             /* slow: not before */
    void (*dialled)(void *ctx, int code);
    void *dialled_ctx;
    struct sim_grave grave;
};

static inline struct sim_conn *kt_sim_conn_of(const struct kt_pipe *p)
{
    return (struct sim_conn *)(void *)(uintptr_t)p;
}

/* ---- tcp.c ---- */

/* A conn without an address. NULL without memory. p: who will hold it; NULL: nobody yet. */
struct sim_conn *kt_sim_conn_new(struct kt_sim_host *h, struct sim_io *p, uint64_t id, uint8_t side);
/* Sends the first segment. dialled(ctx, 0 or a code) comes once from the process' turn, unless the conn is
 * dropped. path: of a unix socket, else NULL. 0, or a code at once. */
int kt_sim_tcp_dial(struct sim_conn *c, const struct kt_addr *to, const char *path,
    void (*dialled)(void *ctx, int code), void *ctx);
/* Sends what there is credit for, then FIN if it is due. */
void kt_sim_tcp_push(struct sim_conn *c);
/* Sends a segment without data. */
void kt_sim_tcp_tell(struct sim_conn *c, enum sim_tcp_kind kind, uint32_t credit);
/* Nobody reads any more: delivers what was written, then ends. */
void kt_sim_tcp_detach(struct sim_conn *c);
/* It is no more, without a word; the process, if it holds it, is not told. */
void kt_sim_tcp_gone(struct sim_conn *c);
/* Gives the memory back if nobody has any more to do with it. */
void kt_sim_conn_release(struct sim_conn *c);

/* ---- conn.c ---- */

void kt_sim_conn_init(struct sim_conn *c);
/* The kernel has something for the process: bytes, the end, room, a break. */
void kt_sim_conn_arrived(struct sim_conn *c);
void kt_sim_conn_room(struct sim_conn *c);
void kt_sim_conn_broke(struct sim_conn *c, int code);
/* Nobody reads what had come before it broke. */
void kt_sim_conn_dead(struct sim_conn *c);
/* Its ends by name. */
void kt_sim_conn_name(struct sim_conn *c, const char *path);
/* Gives the block for reading back. */
void kt_sim_conn_put_in(struct sim_conn *c);
/* Ends a conn that nobody was given. */
void kt_sim_conn_drop(struct sim_conn *c);

/* ---- listen.c ---- */

/* Who listens at an address, or at a path (path not NULL); NULL: nobody. */
struct sim_listener *kt_sim_listener_find(
    const struct kt_sim_host *h, const struct kt_addr *at, const char *path);
bool kt_sim_listener_full(const struct sim_listener *l);
void kt_sim_listener_add(struct sim_listener *l, struct sim_conn *c);
/* c waits there no more. */
void kt_sim_listener_remove(struct sim_listener *l, struct sim_conn *c);
bool kt_sim_tcp_port_taken(const struct kt_sim_host *h, uint16_t port);

#endif
