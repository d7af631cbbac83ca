/* Calls on a link of kt's own wire: opens and probes, served by an association. Both ends of the wire use it. */
#ifndef KT_LINK_NATIVE_SERVE_H
#define KT_LINK_NATIVE_SERVE_H

#include "link/common/calls.h"
#include "link/native/association.h"

void kt_native_calls_init(struct kt_calls *c, struct kt_io *io);
/* A new call in no list; NULL: out of memory. */
struct kt_call *kt_native_call_new(struct kt_calls *c, const struct kt_request *r);
/* Gives the call its stream, or starts its probe; it leaves its list. */
void kt_native_call_serve(struct kt_call *call, struct kt_native_association *a);

#endif
