/* A peer's session as a link: how an acceptor's user opens streams to who has dialled in. It lives as long as
 * the session. A session may have several: an acceptor may get another user (a reload), who wants its own. */
#ifndef KT_LINK_KCPTUN_REVERSE_H
#define KT_LINK_KCPTUN_REVERSE_H

#include "link/kcptun/calls.h"

struct kt_reverse;

/* Enters it into `links`, the session's. end: the user closed the link, and the session is to be ended (by
 * kt_reverse_end_all and kt_session_free): from the loop, once. NULL: out of memory. */
struct kt_reverse *kt_reverse_new(
    struct kt_list *links, struct kt_shared *sh, struct kt_session *s, void (*end)(void *ctx), void *ctx);
struct kt_link *kt_reverse_link(struct kt_reverse *r);
/* For all links of a session: the peer has said what it can do. */
void kt_reverse_hello(struct kt_list *links);
/* ... the session is no longer theirs: they go on as long as it lives, but closing one does not end it. */
void kt_reverse_release(struct kt_list *links);
/* ... ends them, before the session goes: raises `down`, unless the user closed it, and frees them. */
void kt_reverse_end_all(struct kt_list *links, int code, const char *why);

#endif
