/* Presents the settings and statistics of two wires as those of one (both.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "link/both/both.h"

#define KT_WIRE(name, folder) extern const struct kt_wire kt_##folder##_wire;
#include "link/wires.def"
#undef KT_WIRE

#define KT_BOTH(preferred, fallback)                                                                         \
    static const struct kt_wire *const wires[] = {&kt_##preferred##_wire, &kt_##fallback##_wire, NULL};
#include "link/wires.def"
#undef KT_BOTH

static struct kt_settings *part(struct kt_settings *s, size_t i)
{
    return kt_wire_part(&kt_both_wire, s, i, NULL);
}

const struct kt_settings *kt_both_part(const struct kt_settings *s, size_t i)
{
    return kt_wire_part(&kt_both_wire, (struct kt_settings *)s, i, NULL);
}

static void spread(struct kt_settings *s)
{
    for (size_t i = 0; wires[i]; i++) *part(s, i) = *s;
}

struct kt_settings *kt_both_spread(const struct kt_settings *s)
{
    const size_t size = kt_wire_size(&kt_both_wire);
    struct kt_settings *copy = malloc(size);
    if (!copy) return NULL;
    memcpy(copy, s, size);
    spread(copy);
    return copy;
}

/* Each wire sets its defaults; the common settings are those of the last, the fallback. */
static void defaults(struct kt_settings *s, bool client)
{
    memset(s, 0, kt_wire_size(&kt_both_wire));
    for (size_t i = 0; wires[i]; i++) {
        wires[i]->defaults(part(s, i), client);
        *s = *part(s, i);
    }
}

static bool mode(struct kt_settings *s, const char *name)
{
    bool known = false;
    for (size_t i = 0; wires[i]; i++) {
        if (!wires[i]->mode(part(s, i), name)) continue;
        memcpy(s->mode, part(s, i)->mode, sizeof s->mode);
        known = true;
    }
    return known;
}

static int check(const struct kt_settings *s, struct kt_err *err)
{
    int rc = 0;
    for (size_t i = 0; wires[i] && !rc; i++) rc = wires[i]->check(kt_both_part(s, i), err);
    return rc;
}

static void summary(const struct kt_settings *s, char *text, size_t size)
{
    char each[KT_BOTH_WIRES][256];
    for (size_t i = 0; wires[i]; i++) wires[i]->summary(kt_both_part(s, i), each[i], sizeof each[i]);
    snprintf(
        text, size, "%s; or %s's wire, %s", each[KT_PREFERRED], wires[KT_FALLBACK]->name, each[KT_FALLBACK]);
}

static const char *weak_key(const struct kt_settings *s)
{
    const char *weak = NULL;
    for (size_t i = 0; wires[i] && !weak; i++) weak = wires[i]->weak_key(s);
    return weak;
}

static void conflict(const struct kt_settings *s, bool client, char *text, size_t size)
{
    text[0] = '\0';
    for (size_t i = 0; wires[i] && !text[0]; i++)
        if (wires[i]->conflict) wires[i]->conflict(kt_both_part(s, i), client, text, size);
}

/* For a link that is not open yet: the preferred wire's figures. Once it is, stats->wire is the wire that
 * `own` is of. */
static void describe(const struct kt_link_stats *stats, kt_stat_each each, void *ctx)
{
    wires[KT_PREFERRED]->describe(stats, each, ctx);
}

struct kt_link_stats kt_both_stats(void)
{
    return (struct kt_link_stats){.wire = wires[KT_PREFERRED], .since_heard_us = UINT64_MAX};
}

void kt_both_stats_add(struct kt_link_stats *sum, const struct kt_link_stats *more)
{
    if (more->since_heard_us < sum->since_heard_us) {
        sum->wire = more->wire;
        memcpy(sum->own, more->own, sizeof sum->own);
        sum->srtt_us = more->srtt_us;
        sum->rttvar_us = more->rttvar_us;
        sum->rto_us = more->rto_us;
        sum->cwnd = more->cwnd;
        sum->since_heard_us = more->since_heard_us;
    }
    sum->total.segs_out += more->total.segs_out;
    sum->total.segs_retrans += more->total.segs_retrans;
    sum->total.segs_recovered += more->total.segs_recovered;
    sum->total.bytes_in += more->total.bytes_in;
    sum->total.bytes_out += more->total.bytes_out;
    sum->sessions += more->sessions;
    sum->streams += more->streams;
    sum->inflight += more->inflight;
    sum->queued += more->queued;
    sum->owing |= more->owing;
    sum->up |= more->up;
    if (more->up_us > sum->up_us) sum->up_us = more->up_us;
    if (more->silence_us > sum->silence_us) sum->silence_us = more->silence_us;
    sum->rate_in += more->rate_in;
    sum->rate_out += more->rate_out;
    sum->recent.segs_out += more->recent.segs_out;
    sum->recent.retrans += more->recent.retrans;
    sum->recent.segs_in += more->recent.segs_in;
    sum->recent.recovered += more->recent.recovered;
}

const struct kt_wire kt_both_wire = {
    .name = "auto",
    .parts = wires,
    .defaults = defaults,
    .mode = mode,
    .check = check,
    .summary = summary,
    .weak_key = weak_key,
    .conflict = conflict,
    .link = kt_both_link,
    .accept = kt_both_accept,
    .describe = describe,
};
