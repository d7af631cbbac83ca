/* Flows of a link whose peer may speak either wire. Only the preferred wire carries flows, so a flow opens
 * there while the peer's wire is not known, and ends if the peer turns out to speak the fallback. */
#ifndef KT_LINK_BOTH_FLOW_H
#define KT_LINK_BOTH_FLOW_H

#include "base/list.h"
#include "link/link.h"

/* Opens a flow as kt_link_flow. It is in `list` until it ends. */
int kt_both_flow(struct kt_list *list, struct kt_link *preferred, const struct kt_flow_options *options,
    struct kt_flow **out, struct kt_err *err);
/* Ends all flows in the list with this code. */
void kt_both_flows_end(struct kt_list *list, int code);

#endif
