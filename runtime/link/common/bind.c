/* Binds UDP sockets: the one place that knows how a wildcard covers IPv6 and IPv4. */
#include "link/common/bind.h"

int kt_bind_udp(struct kt_io *io, const struct kt_endpoint *at, const struct kt_udp_opts *opts,
    const struct kt_udp_events *events, void *ctx, struct kt_udp **out, struct kt_err *err)
{
    struct kt_udp_opts o = *opts;
    const char *host = at ? at->host : "";
    const uint16_t port = at ? at->port_min : 0;
    if (!host[0] && !o.remote) {
        kt_addr_from_ip(&o.local, "::", port);
        const int rc = kt_udp_open(io, &o, events, ctx, out, err);
        if (rc == 0 || rc == KT_EINUSE || rc == KT_EACCES) return rc;
    }
    if (!host[0]) host = o.remote && o.remote->sa.sa_family == AF_INET6 ? "::" : "0.0.0.0";
    if (!kt_addr_from_ip(&o.local, host, port))
        return kt_err_set(err, KT_ECONFIG,
            "\"%s\": expected an IP address of this machine, or :%u for all of them", host, port);
    return kt_udp_open(io, &o, events, ctx, out, err);
}
