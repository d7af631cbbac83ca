/* A peer's session as a link: how an acceptor's user opens streams to who has dialled in. It lives as long as
 * the session. A session may have several: an acceptor may get another user (a reload), who wants its own. */
#ifndef KT_LINK_KCPTUN_ACCEPTED_H
#define KT_LINK_KCPTUN_ACCEPTED_H

#include "link/kcptun/serve.h"

struct kt_kcptun_accepted;

/* Enters it into `links`, the session's. end: the user closed the link, and the session is to be ended (by
 * kt_kcptun_accepted_end_all and kt_kcptun_session_free): from the loop, once. NULL: out of memory. */
struct kt_kcptun_accepted *kt_kcptun_accepted_new(struct kt_list *links, struct kt_kcptun_context *sh,
    struct kt_kcptun_session *s, void (*end)(void *ctx), void *ctx);
struct kt_link *kt_kcptun_accepted_link(struct kt_kcptun_accepted *r);
/* For all links of a session: the peer has said what it can do. */
void kt_kcptun_accepted_hello(struct kt_list *links);
/* ... the session is no longer theirs: they go on as long as it lives, but closing one does not end it. */
void kt_kcptun_accepted_release(struct kt_list *links);
/* ... ends them, before the session goes: raises `down`, unless the user closed it, and frees them. */
void kt_kcptun_accepted_end_all(struct kt_list *links, int code, const char *why);

#endif
