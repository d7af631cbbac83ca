/* What the three files of the UDP backend share: udp.c (opening, events, closing), udp_in.c,
 * udp_out.c. */
#ifndef KT_IO_UV_UDP_H
#define KT_IO_UV_UDP_H

#include "io/uv/internal.h"

/* Transmit buffers of a socket: the most that can be committed or reserved at one time. */
#define KT_UV_UDP_SLOTS 128u

/* The transmit queue. A slot is free (in free[]), reserved (in neither), or committed (in fifo[], oldest at
 * head).
 */
struct udp_out {
    struct udp_arena *arena; /* NULL before the first reserve; owned */
    unsigned head, count;    /* of fifo[] */
    unsigned frees;          /* of free[] */
    size_t gso_max;          /* longer datagrams are sent without GSO; 0: all are */
    unsigned gso_segments;   /* most datagrams in a message */
    unsigned gso_sent; /* datagrams sent since that was last changed, while it is not the most there can be */
    int discover;      /* the socket's IP_MTU_DISCOVER while it does not fragment */
    bool fragments;    /* the socket is set to fragment */
    bool blocked;      /* the system takes no more until it is writable */
    bool starved;      /* a reserve gave NULL: the user waits for room */
    uint8_t free[KT_UV_UDP_SLOTS], fifo[KT_UV_UDP_SLOTS];
};

struct uv_udp {
    struct kt_udp udp;
    struct uv_io *u;
    const struct kt_udp_events *events;
    void *ctx;
    uv_poll_t poll;
    int fd;
    int polled; /* what poll asks for */
    int error;  /* KT_E… to report from the loop, or 0 */
    bool is_v6, connected, gro;
    bool pktinfo;         /* bound to a wildcard: datagrams come and go with this host's address */
    bool singles;         /* lately there was nothing for GRO to glue together */
    bool closed;          /* by the user */
    struct kt_list dirty; /* in u->udp_dirty */
    struct udp_out out;
};

/* Takes what has arrived, within bounds, and hands it to the user. */
void kt_uv_udp_receive(struct uv_udp *s);

/* The user's half of struct kt_udp_ops. */
uint8_t *kt_uv_udp_reserve(struct kt_udp *udp);
void kt_uv_udp_commit(struct kt_udp *udp, uint8_t *buf, const uint8_t *data, size_t len,
    const struct kt_addr *to, const struct kt_addr *from);
void kt_uv_udp_cancel(struct kt_udp *udp, uint8_t *buf);
void kt_uv_udp_fragment(struct kt_udp *udp, uint8_t *buf);

/* Probes for GSO. */
void kt_uv_udp_out_init(struct uv_udp *s);
/* Sends what is committed, as far as the system takes it. Calls no one above. */
void kt_uv_udp_send(struct uv_udp *s);
/* Some buffer could be reserved. */
bool kt_uv_udp_has_room(const struct uv_udp *s);
void kt_uv_udp_out_free(struct uv_udp *s);

/* Asks the loop for what the socket's state needs to hear of. */
void kt_uv_udp_poll(struct uv_udp *s);
/* Notes an error that came asynchronously, for the user to be told of from the loop. */
void kt_uv_udp_note(struct uv_udp *s, int errnum);

#endif
