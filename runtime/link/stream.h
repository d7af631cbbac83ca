/* Streams of a link: the operations that they have beyond those of a pipe. A pipe that is a stream has a
 * kt_stream_ops in its kt_pipe_ops; a pipe that wraps another (tuncrypt) passes both calls on. A conn has
 * none. */
#ifndef KT_LINK_STREAM_H
#define KT_LINK_STREAM_H

#include <stdint.h>
#include "base/addr.h"
#include "base/err.h"
#include "base/pipe.h"
#include "link/stat.h"

#define KT_PRIORITIES 8u /* 0 is served first, 7 last: the urgency of RFC 9218 */
#define KT_PRIORITY_DEFAULT 3u
#define KT_WEIGHT_MAX 256u /* 1..256: the share among streams of one priority (RFC 7540, 5.3.2) */
#define KT_WEIGHT_DEFAULT 16u

/* Bytes of memory that a stream costs with its conn, splice and task, but without buffers; on x86-64. */
#define KT_STREAM_COST 5120u

struct kt_stream_policy {
    uint32_t priority, weight;
};

struct kt_stream_facts {
    struct kt_stream_policy policy;
    uint64_t queued; /* bytes written that the multiplexer still buffers */
    /* of the session that carries the stream, unless the wire knows better */
    uint32_t srtt_us, rttvar_us;
    double loss; /* 0..1, over the last seconds: the share of segments that were retransmitted */
    uint64_t sent, retransmitted, recovered; /* segments, since the session began */
    uint64_t late;                           /* of the retransmitted: those that arrived after all */
    uint32_t inflight;                       /* segments */
    struct kt_addr local;                    /* this end's network address; AF_UNSPEC: unknown */
};

struct kt_stream_ops {
    /* The policy has been checked. */
    void (*set)(struct kt_pipe *p, const struct kt_stream_policy *policy);
    void (*facts)(const struct kt_pipe *p, struct kt_stream_facts *out);
};

/* 0; KT_ENOTSUP: the pipe is not a stream; KT_EINVAL: out of range. */
static inline int kt_stream_set(struct kt_pipe *p, const struct kt_stream_policy *policy)
{
    if (!p->ops->stream) return KT_ENOTSUP;
    if (policy->priority >= KT_PRIORITIES || policy->weight < 1 || policy->weight > KT_WEIGHT_MAX)
        return KT_EINVAL;
    p->ops->stream->set(p, policy);
    return 0;
}

/* Calls each for every row of stream_stats.def. */
void kt_stream_facts_each(const struct kt_stream_facts *f, kt_stat_each each, void *ctx);

/* 0, or KT_ENOTSUP. */
static inline int kt_stream_facts(const struct kt_pipe *p, struct kt_stream_facts *out)
{
    *out = (struct kt_stream_facts){0};
    if (!p->ops->stream) return KT_ENOTSUP;
    p->ops->stream->facts(p, out);
    return 0;
}

#endif
