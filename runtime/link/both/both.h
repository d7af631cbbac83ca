/* Two wires as one: a link finds out which of them its peer speaks, an acceptor takes both on the same
 * ports. link/wires.def says which two; no file here names either.
 *
 *   wire.c      settings of both, side by side
 *   link.c      the choice between the two
 *   acceptor.c  both at once
 *   flow.c      flows, which only one of them carries
 *
 * Settings are a struct kt_settings followed by those of each wire (kt_wire_part). The first hold for both
 * wires, and are copied into each wire's when a link or an acceptor is made. */
#ifndef KT_LINK_BOTH_BOTH_H
#define KT_LINK_BOTH_BOTH_H

#include "link/wire.h"

enum { KT_PREFERRED, KT_FALLBACK, KT_BOTH_WIRES };

extern const struct kt_wire kt_both_wire;

int kt_both_link(const struct kt_wire *self, const struct kt_wire_env *env, const struct kt_settings *s,
    struct kt_link **out, struct kt_err *err);
int kt_both_accept(const struct kt_wire *self, const struct kt_wire_env *env, const struct kt_settings *s,
    const struct kt_acceptor_events *events, void *ctx, struct kt_acceptor **out, struct kt_err *err);

/* A copy of the settings, with the common ones filled in for each wire. The caller frees it; NULL: out of
 * memory. */
struct kt_settings *kt_both_spread(const struct kt_settings *s);
/* The settings of wire i in s. */
const struct kt_settings *kt_both_part(const struct kt_settings *s, size_t i);
/* Adds one wire's figures to a sum that starts as kt_both_stats(). Times are those of the peer heard most
 * recently. */
struct kt_link_stats kt_both_stats(void);
void kt_both_stats_add(struct kt_link_stats *sum, const struct kt_link_stats *more);

#endif
