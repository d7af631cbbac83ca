/* Shared by the files of the accepting side. Only they include this.
 *
 *   acceptor.c  the acceptor as its user sees it: ports, settings, end
 *   guest.c     the table of sessions, and their lives
 *   route.c     assigns datagrams to sessions, and keeps track of peers' addresses
 *
 * The settings of a running acceptor can change. Its sessions keep those that they began with, including the
 * key. So each guest has its kt_kcptun_context, and while there are guests of earlier settings (elders), a
 * datagram from one of them is first tried with theirs. */
#ifndef KT_LINK_KCPTUN_ACCEPTOR_INTERNAL_H
#define KT_LINK_KCPTUN_ACCEPTOR_INTERNAL_H

#include "base/hmap.h"
#include "link/common/ports.h"
#include "link/kcptun/accepted.h"
#include "link/common/session_starts.h"

struct acceptor;

struct port {
    struct acceptor *acceptor;
    struct kt_udp *udp;
};

/* A session in the table. */
struct guest {
    struct kt_hnode by_conv; /* in acceptor->guests */
    struct kt_hnode by_peer; /* in acceptor->peers, if listed */
    struct kt_list by_age;   /* in acceptor->ages */
    struct port *port;       /* the peer's path: our port, and its address */
    struct kt_addr peer;
    struct kt_kcptun_context *context; /* counted reference; the settings that it began with */
    uint32_t conv;
    /* NULL: it broke the protocol; kept until `forget`, so that its retransmissions do not start it again */
    struct kt_kcptun_session *session;
    struct kt_timer forget;
    struct kt_list links; /* of kt_accepted: the session as a link, for each user so far */
    bool mismatch_logged;
    bool present; /* as last reported by `presence` */
    bool listed;  /* gets the packets without a conv (parity) from its address */
};

struct acceptor {
    struct kt_acceptor acceptor;
    struct kt_kcptun_context *context; /* of new sessions */
    struct kt_kcptun_context *next;    /* the prepared settings, or NULL */
    struct kt_link_totals ended;       /* of sessions that have ended */
    size_t elders;                     /* guests with other settings */
    uint64_t hash_seed;
    uint64_t secret; /* of challenges */
    const struct kt_acceptor_events *events;
    void *ctx;
    struct port *ports; /* one for each of shared_ports */
    struct kt_ports *shared_ports;
    struct kt_port_taker taker;
    struct kt_hmap guests;               /* by conv; the table that owns them */
    struct kt_hmap peers;                /* by peer address and port */
    struct kt_list ages;                 /* of guests, the oldest first */
    struct kt_session_starts *starts;    /* the runtime's, or own_starts */
    struct kt_session_starts own_starts; /* used if it was given none */
    struct kt_turn turn;
    bool closing;
    bool full_logged;
};

/* ---- guest.c ---- */

/* The guest with this conv, wherever its peer is. */
struct guest *kt_kcptun_guest_find(const struct acceptor *a, uint32_t conv);
/* The guest that is listed at an address. */
struct guest *kt_kcptun_guest_at(const struct port *port, const struct kt_addr *from);
bool kt_kcptun_guest_is_at(const struct guest *g, const struct port *port, const struct kt_addr *from);
/* Starts a session with this peer; no guest must have its conv yet. NULL: the table is full, or out of
 * memory. */
struct guest *kt_kcptun_guest_new(struct port *port, const struct kt_addr *from, uint32_t conv);
/* Ends its session. */
void kt_kcptun_guest_free(struct guest *g, int code, const char *why);
/* The session's peer has proven that it is at this address. The session now gets the packets without a conv
 * from there; an abandoned session at that address ends. */
void kt_kcptun_guest_settle(struct guest *g, struct port *port, const struct kt_addr *from);
/* Offers the session to the acceptor's user as a link. */
void kt_kcptun_guest_give_link(struct guest *g);
void kt_kcptun_guest_linger(struct guest *g);

/* ---- route.c ---- */

/* Fills in a->taker. */
void kt_kcptun_route_taker(struct acceptor *a);

#endif
