/* Walks over the statistics of links and streams, generated from link_stats.def and stream_stats.def. */
#include <math.h>
#include "link/link.h"
#include "link/wire.h"

static double since_heard(const struct kt_link_stats *s)
{
    return s->since_heard_us == UINT64_MAX ? HUGE_VAL : (double)s->since_heard_us / 1e6;
}

void kt_link_stats_each(const struct kt_link_stats *s, kt_stat_each each, void *ctx)
{
#define KT_STAT_EACH(row, value) each(ctx, row, value)
#include "link/stat_each.h"
#include "link/link_stats.def"
    s->wire->describe(s, each, ctx);
}

void kt_stream_facts_each(const struct kt_stream_facts *f, kt_stat_each each, void *ctx)
{
#include "link/stream_stats.def"
}
