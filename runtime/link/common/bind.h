/* Binds UDP sockets to what people write: an address of this machine, or nothing for all of them. */
#ifndef KT_LINK_COMMON_BIND_H
#define KT_LINK_COMMON_BIND_H

#include "io/io.h"

/* Opens a UDP socket on host:port. host: an IP address; "": the wildcard, which is IPv6 taking IPv4 too, or
 * IPv4 alone where the machine has no IPv6; with opts->remote that of the remote's family. opts: everything
 * but `local`. Returns 0, KT_ECONFIG if host is no IP address, or as kt_udp_open. */
int kt_bind_udp(struct kt_io *io, const char *host, uint16_t port, const struct kt_udp_opts *opts,
    const struct kt_udp_events *events, void *ctx, struct kt_udp **out, struct kt_err *err);

#endif
