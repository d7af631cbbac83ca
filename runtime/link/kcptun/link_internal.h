/* Shared by the files of the dialling side. Only they include this.
 *
 *   link.c  the operations of a link
 *   dial.c  its sessions: dialling, replacing, ending
 *
 * A slot holds one session at most. Calls wait in their slot while its name is looked up (again for each
 * session); nothing else makes them wait. A session whose peer has restarted leaves the streams that the peer
 * had not seen to the next one. A session whose peer is suspect leaves its slot (it is benched): it keeps its
 * streams in `draining`, and returns to the slot if it is heard again. An expired session moves to `draining`
 * and serves its streams there until they end or scavenge_us has passed; so does a stale one, whose streams
 * are never cut. */
#ifndef KT_LINK_KCPTUN_LINK_INTERNAL_H
#define KT_LINK_KCPTUN_LINK_INTERNAL_H

#include "link/common/locator.h"
#include "link/common/presence.h"
#include "link/kcptun/serve.h"

struct link;
struct slot;

/* A session with the socket it owns. */
struct dial {
    struct kt_list node; /* in link->draining, or in no list */
    struct link *link;
    struct slot *slot; /* NULL while draining */
    struct slot *home; /* the slot that it was made for */
    struct kt_udp *udp;
    struct kt_kcptun_session *session;
    struct kt_timer scavenge; /* cuts an expired one */
    struct kt_timer hello;    /* waits for the peer's */
    uint64_t hello_deadline;
    int code;     /* why it ended, if it is a slot's `dead` */
    bool refused; /* logged that nothing listens there */
    struct kt_presence_part part;
    bool benched; /* in link->draining because its peer is suspect */
    /* Takes no new streams, because changed settings need a new session, or an older session has come back; its streams
     * are never cut. */
    bool stale;
    bool mismatch_logged; /* that the two ends do not match */
};

struct slot {
    struct link *link;
    struct dial *dial;
    struct dial *dead;      /* ended, kept for its young streams until the next is up */
    struct kt_list waiting; /* of kt_call */
    struct kt_locator locator;
    unsigned fails; /* sessions without an answer and failed dials since the last answer */
};

struct link {
    struct kt_link link;
    struct kt_kcptun_context *context;
    struct slot *slots;
    size_t next;
    struct kt_list draining; /* of dial */
    struct kt_calls calls;
    struct kt_presence presence;
    struct kt_link_totals ended; /* of sessions that have ended */
    struct kt_turn turn;         /* ends it */
    bool stay;                   /* dials without calls */
};

/* ---- dial.c ---- */

void kt_kcptun_slot_init(struct slot *slot, struct link *l);
void kt_kcptun_slot_free(struct slot *slot);
/* Dials, unless dialling already. */
void kt_kcptun_slot_dial(struct slot *slot);
/* Lets the slot serve a call that is in no list: now, or once it has a session. */
void kt_kcptun_slot_call(struct slot *slot, struct kt_call *call);
/* Applies changed settings to the session as far as possible. True if that takes a new session. */
bool kt_kcptun_slot_tune(struct slot *slot);
/* The slot's session, if any, takes no new streams: the next call, or `stay`, dials a new one. */
void kt_kcptun_slot_renew(struct slot *slot);
void kt_kcptun_dial_free(struct dial *d, int code);

#endif
