/* Binds UDP sockets to an address as people write it: one of this machine's, or none for all of them. */
#ifndef KT_LINK_COMMON_BIND_H
#define KT_LINK_COMMON_BIND_H

#include "io/io.h"

/* Opens a UDP socket on at->host and at->port_min; NULL: on any address and port. The host is an IP address, or "" for
 * the wildcard: of the remote's family if opts->remote is set, else IPv6 that also takes IPv4, or IPv4 if the machine
 * has no IPv6. opts: everything but `local`. Returns 0, KT_ECONFIG if the host is not an IP address, or a code of
 * kt_udp_open. */
int kt_bind_udp(struct kt_io *io, const struct kt_endpoint *at, const struct kt_udp_opts *opts,
    const struct kt_udp_events *events, void *ctx, struct kt_udp **out, struct kt_err *err);

#endif
