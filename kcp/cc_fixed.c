/* No congestion control (kcptun's nc=1): the send window of this end and the receive window of the other are
 * the only limits, whatever is lost. */
#include "kcp/cc.h"

const struct kt_cc_ops kt_cc_fixed = {0};
