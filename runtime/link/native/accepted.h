/* An association that an acceptor took, as a link for its user (link/common/accepted.h). */
#ifndef KT_LINK_NATIVE_ACCEPTED_H
#define KT_LINK_NATIVE_ACCEPTED_H

#include "link/common/accepted.h"
#include "link/native/association.h"

/* A new one in `links`; end as for kt_accepted_init. NULL: out of memory. */
struct kt_link *kt_native_accepted_new(struct kt_list *links, struct kt_io *io,
    struct kt_native_association *a, void (*end)(void *ctx), void *ctx);
/* The association of these links has room for more streams. */
void kt_native_accepted_room(struct kt_list *links);

#endif
