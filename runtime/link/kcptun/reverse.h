/* A peer's session as a link: how an acceptor's user opens streams to who has dialled in. It lives exactly as
 * long as the session. */
#ifndef KT_LINK_KCPTUN_REVERSE_H
#define KT_LINK_KCPTUN_REVERSE_H

#include "link/kcptun/calls.h"

struct kt_reverse;

/* end: the user closed the link, and the session is to be ended (by kt_reverse_end and kt_session_free): from
 * the loop, once. NULL: out of memory. */
struct kt_reverse *kt_reverse_new(
    struct kt_shared *sh, struct kt_session *s, void (*end)(void *ctx), void *ctx);
struct kt_link *kt_reverse_link(struct kt_reverse *r);
/* The peer has said what it can do. NULL is harmless. */
void kt_reverse_hello(struct kt_reverse *r);
/* Ends the link, before its session goes: raises `down`, unless the user closed it, and frees it. NULL is
 * harmless. */
void kt_reverse_end(struct kt_reverse *r, int code, const char *why);

#endif
