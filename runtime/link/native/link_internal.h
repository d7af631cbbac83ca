/* What the files of the dialling side share; nobody else includes this.
 *
 *   link.c  the link as its user sees it
 *   dial.c  how it comes by an association, and what becomes of it
 *
 * A link has one association at most, and one attempt at most to get (another) one. Calls wait in the link until there
 * is an association; nothing else waits for one: an association whose peer is silent keeps its streams and takes new
 * ones, for as long as it survives. */
#ifndef KT_LINK_NATIVE_LINK_INTERNAL_H
#define KT_LINK_NATIVE_LINK_INTERNAL_H

#include "link/common/calls.h"
#include "link/common/locator.h"
#include "link/common/presence.h"
#include "link/native/association.h"
#include "link/native/handshake_client.h"

#define KT_NATIVE_ADDRESSES 8u /* of a name that are tried */

struct link;

/* A handshake in progress. Each address of the peer gets a socket of its own, one at a time. */
struct attempt {
    bool active;
    struct kt_udp *udp; /* connected to addrs[index] */
    struct kt_native_client client;
    struct kt_addr addrs[KT_NATIVE_ADDRESSES];
    size_t count, index;
    uint64_t began_us, sent_us;
    struct kt_timer timer; /* the next initiation */
    bool told;             /* that nothing answers */
    bool refused;          /* the system said that nothing listens there */
};

struct link {
    struct kt_link link;
    struct kt_native_context *c;
    struct kt_native_association *a; /* NULL: none */
    struct kt_udp *udp;              /* a's, connected to its peer */
    struct attempt attempt;
    struct kt_locator locator;
    struct kt_list waiting; /* of kt_call */
    struct kt_calls calls;
    struct kt_presence presence;
    struct kt_presence_part part;
    struct kt_link_totals ended; /* of associations that have ended */
    struct kt_turn turn;         /* ends it */
    uint64_t doubt_us; /* when the peer was said not to know `a`; 0: it was not, or was heard since */
    bool stay;
};

/* ---- dial.c ---- */

/* Dials, unless that is under way or there is an association. */
void kt_native_dial(struct link *l);
void kt_native_dial_init(struct link *l);
/* Ends the attempt and the association. */
void kt_native_dial_end(struct link *l);
/* Serves all waiting calls, if there is an association. */
void kt_native_dial_serve(struct link *l);

#endif
