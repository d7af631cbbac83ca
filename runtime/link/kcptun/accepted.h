/* A peer's session as a link, through which an acceptor's user opens streams to a peer that has dialled in
 * (link/common/accepted.h). */
#ifndef KT_LINK_KCPTUN_ACCEPTED_H
#define KT_LINK_KCPTUN_ACCEPTED_H

#include "link/common/accepted.h"
#include "link/kcptun/serve.h"

/* A new one in `links`; end as for kt_accepted_init. NULL: out of memory. */
struct kt_link *kt_kcptun_accepted_new(struct kt_list *links, struct kt_kcptun_context *context,
    struct kt_kcptun_session *s, void (*end)(void *ctx), void *ctx);
/* The peer's hello has arrived, for all links of its session. */
void kt_kcptun_accepted_hello(struct kt_list *links);

#endif
