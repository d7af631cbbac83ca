/* Figures of links and streams that every wire derives in the same way from what a session knows. */
#ifndef KT_LINK_COMMON_DERIVED_STATS_H
#define KT_LINK_COMMON_DERIVED_STATS_H

#include <stdint.h>
#include "link/common/patience.h"
#include "link/common/recent.h"
#include "link/link.h"

struct kt_udp;

/* Adds a session to a link's: how long its peer has been up and silent, and its recent traffic. up_at: µs, when its
 * peer was first heard; 0: it was not. */
void kt_derived_stats_add_session(struct kt_link_stats *sum, uint64_t up_at,
    const struct kt_patience *patience, const struct kt_recent *recent, uint64_t now_us);

/* Fills in what a stream has from the session that carries it, all but its policy and queue. udp: the session's
 * socket; from: the address that it sends from, AF_UNSPEC: the socket's own. */
void kt_derived_stats_of_stream(struct kt_stream_facts *out, const struct kt_link_stats *session,
    const struct kt_udp *udp, const struct kt_addr *from);

#endif
