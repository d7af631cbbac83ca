/* Two wires as one: a link finds out which of them its peer speaks, an acceptor takes both on the same ports. Which two
 * they are stands in link/wires.def; no file here names either of them.
 *
 *   wire.c      settings: those of both, side by side
 *   link.c      the choice between the two
 *   acceptor.c  both at once
 *
 * Settings: a struct kt_settings, and behind it those of each wire; kt_wire_part finds them. The members of the first
 * count for both wires; they are copied when a link or an acceptor is made. */
#ifndef KT_LINK_BOTH_BOTH_H
#define KT_LINK_BOTH_BOTH_H

#include "link/wire.h"

enum { KT_PREFERRED, KT_FALLBACK, KT_BOTH_WIRES };

extern const struct kt_wire kt_both_wire;

int kt_both_link(const struct kt_wire *self, const struct kt_wire_env *env, const struct kt_settings *s,
    struct kt_link **out, struct kt_err *err);
int kt_both_accept(const struct kt_wire *self, const struct kt_wire_env *env, const struct kt_settings *s,
    const struct kt_acceptor_events *events, void *ctx, struct kt_acceptor **out, struct kt_err *err);

/* A copy of the settings in which each wire's have the common ones, too. The caller frees it; NULL: out of memory. */
struct kt_settings *kt_both_spread(const struct kt_settings *s);
/* The settings of wire i in s. */
const struct kt_settings *kt_both_part(const struct kt_settings *s, size_t i);
/* Adds the figures of one wire to a sum, which begins as kt_both_stats. Times are of the peer most recently heard. */
struct kt_link_stats kt_both_stats(void);
void kt_both_stats_add(struct kt_link_stats *sum, const struct kt_link_stats *more);

#endif
