/* A peer's session as a link, through which an acceptor's user opens streams to a peer that has dialled in.
 * It lives as long as the session. A session may have several, because after a reload the acceptor's new user
 * gets its own. */
#ifndef KT_LINK_KCPTUN_ACCEPTED_H
#define KT_LINK_KCPTUN_ACCEPTED_H

#include "link/kcptun/serve.h"

struct kt_kcptun_accepted;

/* Makes one in `links`, the session's list. end is called once, from the loop, when the user has closed the
 * link: end the session with kt_kcptun_accepted_end_all and kt_kcptun_session_free. NULL: out of memory. */
struct kt_kcptun_accepted *kt_kcptun_accepted_new(struct kt_list *links, struct kt_kcptun_context *sh,
    struct kt_kcptun_session *s, void (*end)(void *ctx), void *ctx);
struct kt_link *kt_kcptun_accepted_link(struct kt_kcptun_accepted *r);
/* The peer's hello has arrived. This and the rest apply to all links of a session. */
void kt_kcptun_accepted_hello(struct kt_list *links);
/* The links no longer own the session: they live as long as it does, but closing one does not end it. */
void kt_kcptun_accepted_release(struct kt_list *links);
/* Ends the links, before the session is freed: raises `down` unless the user has closed the link, and frees
 * them. */
void kt_kcptun_accepted_end_all(struct kt_list *links, int code, const char *why);

#endif
