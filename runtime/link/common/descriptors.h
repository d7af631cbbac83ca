/* The share of a session or link in the process's descriptors. A stream takes one, for the conn at its end here. A peer
 * may have as many as it leaves to all others, so that none can take the last ones. */
#ifndef KT_LINK_COMMON_DESCRIPTORS_H
#define KT_LINK_COMMON_DESCRIPTORS_H

#include "io/io.h"
#include "link/counters.h"

#define KT_OTHER_DESCRIPTORS 32u /* that a process needs besides its conns */

/* Descriptors left if this peer has `own` streams. counted: those of its streams that StreamsNow counts already. */
static inline size_t kt_descriptors_left(
    const struct kt_io *io, const struct kt_counters *c, size_t counted, size_t own)
{
    const size_t limit = kt_io_descriptors(io);
    const size_t used = (size_t)c->StreamsNow - counted + own + KT_OTHER_DESCRIPTORS;
    return used < limit ? limit - used : 0;
}

/* How many streams a peer may have. counted: as above. */
static inline size_t kt_descriptors_share(const struct kt_io *io, const struct kt_counters *c, size_t counted)
{
    return (kt_descriptors_left(io, c, counted, 0) + 1) / 2;
}

#endif
