/* The flows of a link whose peer may speak either wire: only the preferred one carries flows. A flow opens there while
 * the peer's wire is not known, and ends once it turns out to be the fallback. */
#ifndef KT_LINK_BOTH_FLOW_H
#define KT_LINK_BOTH_FLOW_H

#include "base/list.h"
#include "link/link.h"

/* A flow of this link, in `list` until it ends. As kt_link_flow. */
int kt_both_flow(struct kt_list *list, struct kt_link *preferred, const struct kt_flow_options *options,
    struct kt_flow **out, struct kt_err *err);
/* All flows in the list end with a code. */
void kt_both_flows_end(struct kt_list *list, int code);

#endif
