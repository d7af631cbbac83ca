/* A flow of an association (docs/wire.md, 6.2) as a kt_flow (link/flow.h), for its user.
 *
 * A link's own flows outlive associations: while there is none, the last datagrams wait, and the flow is opened again
 * in the next. So its far end may see one flow as several, one after the other; datagrams promise no more. */
#ifndef KT_LINK_NATIVE_FLOW_HANDLE_H
#define KT_LINK_NATIVE_FLOW_HANDLE_H

#include "base/list.h"
#include "link/link.h"
#include "link/native/association.h"

/* Datagrams that wait for an association, at most this many bytes with their lengths. */
#define KT_NATIVE_FLOW_HELD 8192u

/* A flow that the peer opened; it ends with its association. NULL: out of memory, and the flow is closed. */
struct kt_flow *kt_native_flow_accept(struct kt_native_flow *flow);

/* Sets err to why a flow cannot be opened; returns the code. */
int kt_native_no_flow(int code, struct kt_err *err);

/* A flow of a link, in `list`, and in no association yet. 0, KT_EINVAL or KT_ENOMEM. */
int kt_native_flow_open(struct kt_list *list, const struct kt_flow_options *options, struct kt_flow **out);
/* Opens such a flow in an association. 0, KT_ENOTSUP (the peer does not accept flows) or KT_ENOMEM. */
int kt_native_flow_bind(struct kt_flow *flow, struct kt_native_association *a);
/* The link has an association: opens all flows of the list in it. One that cannot be opened ends. */
void kt_native_flows_bind(struct kt_list *list, struct kt_native_association *a);
/* The link cannot have an association: the flows that wait for one end. */
void kt_native_flows_fail(struct kt_list *list, int code);
/* The association is about to end: its flows are left without one. */
void kt_native_flows_unbind(struct kt_list *list);
/* The link is closed: its flows end for their users. */
void kt_native_flows_abandon(struct kt_list *list, int code);

#endif
