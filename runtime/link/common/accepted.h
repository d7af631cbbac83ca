/* A link that an acceptor gave to its user: the half that is the same on every wire. It lives as long as the session or
 * association behind it, which may have several, because after a reload the acceptor's new user gets its own. The wire
 * puts its own fields behind it, in one allocation that begins with it and is freed with it, and serves its calls. */
#ifndef KT_LINK_COMMON_ACCEPTED_H
#define KT_LINK_COMMON_ACCEPTED_H

#include "link/common/calls.h"

struct kt_accepted {
    struct kt_link link;    /* first */
    struct kt_list node;    /* in the session's list */
    struct kt_calls calls;  /* set up by the wire */
    struct kt_list waiting; /* of kt_call: not served yet */
    struct kt_list probing; /* waiting for an answer to a probe */
    const struct kt_link_events *events;
    void *ctx;
    void (*end)(void *ctx);
    void *end_ctx;
    struct kt_turn turn;
    bool released; /* the session has another user */
    bool closing;
};

/* Puts it into `links`, the session's list. end is called once, from the loop, when the user has closed the link: end
 * the session with kt_accepted_end_all. */
void kt_accepted_init(struct kt_accepted *r, const struct kt_link_ops *ops, struct kt_list *links,
    void (*end)(void *ctx), void *ctx);

/* For the wire's kt_link_ops. */
void kt_accepted_listen(struct kt_link *link, const struct kt_link_events *events, void *ctx);
int kt_accepted_stay(struct kt_link *link, struct kt_err *err);
int kt_accepted_set(struct kt_link *link, const struct kt_settings *s, struct kt_err *err);
void kt_accepted_close(struct kt_link *link);

/* These apply to all links of a session. The links no longer own it: they live as long as it does, but closing one
 * does not end it. */
void kt_accepted_release(struct kt_list *links);
/* Ends the links, before the session is freed: raises `down` unless the user has closed the link, and frees them. */
void kt_accepted_end_all(struct kt_list *links, int code, const char *why);

#endif
