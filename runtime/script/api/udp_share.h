/* A UDP socket shared by the scripts that a reload passes it between. All of them may send; only the newest
 * holder receives. The socket is closed when the last holder leaves. */
#ifndef KT_SCRIPT_API_UDP_SHARE_H
#define KT_SCRIPT_API_UDP_SHARE_H

#include "base/addr.h"
#include "base/list.h"
#include "io/io.h"

struct kt_lua_udp_share;

struct kt_lua_udp_holder {
    struct kt_lua_udp_share *share;
    struct kt_list node;
    struct kt_udp *udp;                 /* the socket, or NULL */
    const struct kt_udp_events *events; /* the newest holder gets batch and error, all get writable */
    void *ctx;
};

void kt_lua_udp_holder_init(struct kt_lua_udp_holder *h, const struct kt_udp_events *events, void *ctx);

/* Binds a socket to `on` and, if `to` is not NULL, connects it. A wildcard is dual-stack, or IPv4 if the host
 * has no IPv6. */
int kt_lua_udp_share_open(struct kt_lua_udp_holder *h, struct kt_io *io, const struct kt_endpoint *on,
    const struct kt_addr *to, struct kt_err *err);
/* Joins the socket of `other`, as its newest holder. */
void kt_lua_udp_share_join(struct kt_lua_udp_holder *h, const struct kt_lua_udp_holder *other);
/* Does nothing if h holds no socket. */
void kt_lua_udp_share_leave(struct kt_lua_udp_holder *h);

#endif
