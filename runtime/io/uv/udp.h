/* Internal to io/uv: what the three files of UDP share. udp.c opens, closes and handles events; udp_in.c receives;
 * udp_out.c sends. */
#ifndef KT_IO_UV_UDP_H
#define KT_IO_UV_UDP_H

#include "io/uv/internal.h"

/* Transmit buffers per socket: the most that can be reserved or committed at one time. */
#define KT_UV_UDP_SLOTS 128u

/* The transmit queue. Invariant: a slot is free (in free[]), reserved (in neither), or committed (in fifo[], oldest
 * at head). */
struct udp_out {
    struct udp_arena *arena; /* NULL before the first reserve; owned */
    unsigned head, count;    /* in fifo[] */
    unsigned frees;          /* in free[] */
    size_t gso_max;          /* longest datagram to send with GSO; 0: none */
    unsigned gso_segments;   /* most datagrams per message */
    unsigned gso_sent;       /* datagrams sent since gso_segments was lowered */
    int discover;            /* the socket's IP_MTU_DISCOVER without fragmentation */
    bool fragments;          /* the socket is set to allow fragmentation */
    bool blocked;            /* the system takes no more until it is writable */
    bool starved;            /* a reserve returned NULL: the user waits for room */
    uint8_t free[KT_UV_UDP_SLOTS], fifo[KT_UV_UDP_SLOTS];
};

struct uv_udp {
    struct kt_udp udp;
    struct uv_io *u;
    const struct kt_udp_events *events;
    void *ctx;
    uv_poll_t poll;
    int fd;
    int polled;         /* the events that poll asks for */
    int error;          /* KT_E… to report from the loop, or 0 */
    uint64_t *oversize; /* as in kt_udp_opts */
    bool is_v6, connected, gro;
    bool activated;       /* the service manager has bound it */
    bool diverted;        /* datagrams carry where they were sent to */
    bool pktinfo;         /* bound to a wildcard: datagrams carry this host's address */
    bool singles;         /* GRO has recently found nothing to merge */
    bool closed;          /* by the user */
    struct kt_list dirty; /* in u->udp_dirty */
    struct udp_out out;
};

/* Receives what has arrived, up to a limit, and passes it to the user. */
void kt_uv_udp_receive(struct uv_udp *s);

/* The user's half of struct kt_udp_ops. */
uint8_t *kt_uv_udp_reserve(struct kt_udp *udp);
void kt_uv_udp_commit(struct kt_udp *udp, uint8_t *buf, const uint8_t *data, size_t len,
    const struct kt_addr *to, const struct kt_addr *from);
void kt_uv_udp_cancel(struct kt_udp *udp, uint8_t *buf);
void kt_uv_udp_fragment(struct kt_udp *udp, uint8_t *buf);

/* Probes for GSO. */
void kt_uv_udp_out_init(struct uv_udp *s);
/* Sends what is committed, as far as the system takes it. Calls nothing above. */
void kt_uv_udp_send(struct uv_udp *s);
/* Whether a buffer can be reserved. */
bool kt_uv_udp_has_room(const struct uv_udp *s);
void kt_uv_udp_out_free(struct uv_udp *s);

/* Polls for the events that the socket's state needs. */
void kt_uv_udp_poll(struct uv_udp *s);
/* Stores an asynchronous error, to be reported to the user from the loop. */
void kt_uv_udp_note(struct uv_udp *s, int errnum);

#endif
