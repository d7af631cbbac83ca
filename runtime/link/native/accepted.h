/* An association that an acceptor took, as a link (link/link.h): its user can open streams to the peer. It lives as
 * long as the association. */
#ifndef KT_LINK_NATIVE_ACCEPTED_H
#define KT_LINK_NATIVE_ACCEPTED_H

#include "link/native/association.h"

struct kt_native_accepted;

/* In `links`, of which there may be several: after kt_acceptor_adopt a former user still has its own. end(ctx) is
 * called once the user has closed it, from the turn; it ends the association. NULL: out of memory. */
struct kt_native_accepted *kt_native_accepted_new(struct kt_list *links, struct kt_native_context *context,
    struct kt_native_association *a, void (*end)(void *ctx), void *ctx);
struct kt_link *kt_native_accepted_link(struct kt_native_accepted *r);
/* All links of an association: closing one only lets go of it from now on. */
void kt_native_accepted_release(struct kt_list *links);
/* The association is over: `down` is raised, and all links are freed. */
void kt_native_accepted_end_all(struct kt_list *links, int code, const char *why);

#endif
