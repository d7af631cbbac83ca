/* Calls on a link of kt's own wire: opens and probes, served by an association. Both ends of the wire use it. */
#ifndef KT_LINK_NATIVE_SERVE_H
#define KT_LINK_NATIVE_SERVE_H

#include "link/common/calls.h"
#include "link/native/association.h"

void kt_native_calls_init(struct kt_calls *c, struct kt_io *io);
/* A new call in no list; NULL: out of memory. */
struct kt_call *kt_native_call_new(struct kt_calls *c, const struct kt_request *r);
/* Gives the call its stream, or starts its probe; it leaves its list. False: an open that has to wait, in its list, for
 * the owner's `room` (association.h). */
bool kt_native_call_serve(struct kt_call *call, struct kt_native_association *a);
/* The same for a list of calls, in order, up to an open that has to wait. */
void kt_native_calls_serve(struct kt_list *waiting, struct kt_native_association *a);
/* Adds it to the list: behind the others, or before all if it is a probe, which never has to wait for room. */
void kt_native_calls_add(struct kt_list *waiting, struct kt_call *call);

#endif
