/* Shared by the files of the accepting side; no other file includes this.
 *
 *   acceptor.c  the acceptor as its user sees it: ports, settings, end
 *   guest.c     the table of associations, and their end
 *   route.c     datagrams: handshakes, and which association a packet belongs to
 *
 * The key of a running acceptor can change. Its associations keep the keys that they have; those of the earlier key
 * continue until their streams have ended. A packet's header is masked with the key of its association, so each header
 * is tried with the settings of the current key, and then with those of the key before. */
#ifndef KT_LINK_NATIVE_ACCEPTOR_INTERNAL_H
#define KT_LINK_NATIVE_ACCEPTOR_INTERNAL_H

#include "base/hmap.h"
#include "link/common/ports.h"
#include "link/common/session_starts.h"
#include "link/native/accepted.h"
#include "link/native/handshake_server.h"

struct acceptor;

/* Associations at a time whose peers have not been heard yet, and how long each may last (docs/wire.md,
 * 4.2). */
#define KT_NATIVE_UNPROVEN 1024u
#define KT_NATIVE_UNPROVEN_US 10000000u

/* When max_links are open, a new one replaces one that has been silent for KT_NATIVE_DISPLACE_US and does not answer,
 * or has missed KT_NATIVE_MISSED_KEEPALIVES over at least KT_NATIVE_MISSED_US. To find out, all that have been silent for
 * KT_NATIVE_QUIET_US are asked, at most once in that time. */
#define KT_NATIVE_DISPLACE_US 30000000u
#define KT_NATIVE_MISSED_KEEPALIVES 3u
#define KT_NATIVE_MISSED_US 60000000u
#define KT_NATIVE_QUIET_US 10000000u

/* When a client begins an association, this many others of its device are asked at most, and each has this long to
 * answer, or this many round trips if that is longer: else it was left by a process that is gone (docs/wire.md, 4.5). */
#define KT_NATIVE_ASKED_MOST 16u
#define KT_NATIVE_ASKED_US 2000000u
#define KT_NATIVE_ASKED_TRIPS 6u

/* An association in the table, under the connection ids of all its paths. */
struct guest {
    struct acceptor *acceptor;
    struct kt_native_context *c; /* counted; the settings that it began with */
    struct kt_native_association *a;
    struct guest_cid {
        struct kt_hnode node; /* in acceptor->cids */
        struct guest *guest;
    } cids[KT_NATIVE_PATHS];
    struct kt_hnode instance; /* in acceptor->instances, once it is proven */
    struct kt_hnode device;   /* in acceptor->devices, likewise, if its client named one */
    struct kt_list by_age;    /* in acceptor->ages, or in acceptor->unproven */
    struct kt_list silent;    /* in acceptor->silents while its peer is suspect, or has missed keepalives */
    struct kt_timer expire;   /* while it is not proven, or while asked_us is set */
    uint64_t asked_us;        /* when it was asked because of a new one of its device; 0: it has answered */
    struct kt_list links;     /* of kt_accepted */
    bool proven;
    bool listed, found; /* listed: in acceptor->instances; found: in acceptor->devices */
    bool suspect;       /* its peer owes an answer and is silent, or is stuck */
    bool present;       /* as last reported by `presence` */
};

struct acceptor {
    struct kt_acceptor acceptor;
    struct kt_native_context *c;    /* of new associations */
    struct kt_native_context *next; /* prepared for new associations, or NULL */
    struct kt_native_context *old;  /* of the key before, while guests use it; or NULL */
    struct kt_native_server server;
    struct kt_link_totals ended; /* of associations that have ended */
    const struct kt_acceptor_events *events;
    void *ctx;
    struct kt_ports *ports;
    struct kt_port_taker taker;
    struct kt_hmap cids;      /* of guest_cid */
    struct kt_hmap instances; /* of proven guests, by the instance that their link announced */
    struct kt_hmap devices;   /* likewise by the device */
    struct kt_list ages;      /* of guests that are proven, the oldest first */
    struct kt_list unproven;
    struct kt_list silents;           /* of guests whose peers may be dead, about the longest silent first */
    uint64_t asked_us;                /* when quiet ones were asked last; 0: never */
    size_t guests, unproven_count;    /* guests: proven or not */
    struct kt_session_starts *starts; /* the runtime's, or own_starts */
    struct kt_session_starts own_starts;
    struct kt_turn turn;
    uint64_t began_us, hash_seed;
    char name[KT_NATIVE_IDENTITY];  /* of the client allowed in last; empty: it has none */
    uint8_t refused[KT_NATIVE_KEY]; /* the refused key that was logged last, at refused_us (0: none) */
    uint64_t refused_us;
    bool closing;
    bool full_logged;
    bool displaced_logged;
};

/* ---- guest.c ---- */

/* The guest with a connection id, and which of its paths that stands for; NULL: none. */
struct guest *kt_native_guest_find(
    const struct acceptor *a, const uint8_t cid[KT_NATIVE_CID], unsigned *path);
/* True if there is room for another, which may take the place of a dead one. */
bool kt_native_guest_room(struct acceptor *a);
/* Makes a guest of a completed handshake. 0 or a code; KT_EAGAIN: a connection id is in use already. */
int kt_native_guest_new(
    struct acceptor *a, const struct kt_native_agreed *agreed, const struct kt_native_place *place);
/* Ends its association. text: for the peer's log, or NULL. */
void kt_native_guest_free(struct guest *g, int code, const char *text);
/* Finds the name of the client with this public key, which sends from this address. False: it is not
 * allowed. */
bool kt_native_guest_name(struct acceptor *a, const uint8_t key[KT_NATIVE_KEY], const struct kt_addr *from,
    char name[KT_NATIVE_IDENTITY]);
/* Offers the association to the acceptor's user as a link. */
void kt_native_guest_give_link(struct guest *g);

/* ---- route.c ---- */

/* Fills in a->taker. */
void kt_native_route_taker(struct acceptor *a);
/* (Re)starts a->server with the settings of a->c. */
void kt_native_route_server(struct acceptor *a);

#endif
