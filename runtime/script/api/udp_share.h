/* A UDP socket that a reload hands on from script to script. Handles of all of them hold it and may send;
 * what comes is the newest one's. It is closed when the last holder has left. */
#ifndef KT_SCRIPT_API_UDP_SHARE_H
#define KT_SCRIPT_API_UDP_SHARE_H

#include "base/addr.h"
#include "base/list.h"
#include "io/io.h"

struct kt_udp_share;

struct kt_udp_holder {
    struct kt_udp_share *share;
    struct kt_list node;
    struct kt_udp *udp;                 /* the socket; NULL: holds none */
    const struct kt_udp_events *events; /* batch and error for the newest holder, writable for each */
    void *ctx;
};

void kt_udp_holder_init(struct kt_udp_holder *h, const struct kt_udp_events *events, void *ctx);

/* Binds a socket to `on` (a wildcard is IPv6 taking IPv4 too, or IPv4 alone where there is no IPv6) and, if
 * `to` is not NULL, connects it. */
int kt_udp_share_open(struct kt_udp_holder *h, struct kt_io *io, const struct kt_endpoint *on,
    const struct kt_addr *to, struct kt_err *err);
/* Holds what `other` holds, as the newest. */
void kt_udp_share_join(struct kt_udp_holder *h, const struct kt_udp_holder *other);
/* Harmless if it holds none. */
void kt_udp_share_leave(struct kt_udp_holder *h);

#endif
