/* Presence of a link: is any session up, does any carry something? Sums up its sessions, and raises the
 * link's `up`, `down` and `carries` (struct kt_link_events) when the sum changes.
 *
 * Invariant: up and carrying count exactly the sessions whose own flag is set. */
#ifndef KT_LINK_COMMON_PRESENCE_H
#define KT_LINK_COMMON_PRESENCE_H

#include "link/link.h"

struct kt_presence {
    const struct kt_link_events *events; /* NULL: no listener */
    void *ctx;
    size_t up, carrying; /* sessions */
    bool closing;        /* the link was closed: no more events */
};

/* One session's part. All false at first. */
struct kt_presence_part {
    bool up;      /* the peer was heard and is not suspect */
    bool carries; /* it has streams, or sent something in one that the peer does not hold yet */
};

/* These do nothing if the session is in that state already. An event may close the link. */
void kt_presence_up(struct kt_presence *p, struct kt_presence_part *part);
void kt_presence_down(struct kt_presence *p, struct kt_presence_part *part, int code, const char *why);
void kt_presence_carries(struct kt_presence *p, struct kt_presence_part *part, bool anything);

#endif
