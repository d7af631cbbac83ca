/* Sockets of a link, each connected to one address of its peer. A socket may be closed by what it receives; then it is
 * freed once the batch is through. */
#include <stdlib.h>
#include "link/common/bind.h"
#include "link/native/link_internal.h"

static void on_batch(void *ctx, struct kt_dgram *dgrams, size_t n)
{
    struct kt_native_socket *s = ctx;
    s->busy = true;
    for (size_t i = 0; i < n && s->udp; i++) kt_native_dial_take(s, &dgrams[i]);
    s->busy = false;
    if (!s->udp) free(s);
}

static void on_writable(void *ctx)
{
    const struct kt_native_socket *s = ctx;
    if (s->l->a) kt_native_association_writable(s->l->a, s->udp);
}

static void on_error(void *ctx, int code)
{
    const struct kt_native_socket *s = ctx;
    if (code == KT_EREFUSED) kt_native_attempt_refused(s->l, s);
}

int kt_native_socket_open(struct link *l, const struct kt_addr *peer, size_t local,
    struct kt_native_socket **out, struct kt_err *err)
{
    static const struct kt_udp_events events = {on_batch, on_writable, on_error};
    const struct kt_native_config *cfg = &l->c->cfg;
    struct kt_udp_opts opts = {
        .remote = peer, .dscp = (int)cfg->dscp, .sndbuf = cfg->sockbuf, .rcvbuf = cfg->sockbuf};
    struct kt_endpoint from = {0};
    const struct kt_local *at = l->local_count > 0 ? &l->locals[local] : NULL;
    if (at && at->device[0])
        opts.device = at->device;
    else if (at)
        kt_addr_ip_text(&at->address, from.host);
    struct kt_native_socket *s = calloc(1, sizeof *s);
    if (!s) return kt_err_set(err, KT_ENOMEM, "out of memory");
    s->l = l;
    s->peer = *peer;
    s->local = local;
    const int rc = kt_bind_udp(l->c->io, &from, &opts, &events, s, &s->udp, err);
    if (rc) {
        free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void kt_native_socket_close(struct kt_native_socket *s)
{
    if (!s) return;
    kt_udp_close(s->udp);
    s->udp = NULL;
    if (!s->busy) free(s);
}

void kt_native_socket_replace(struct kt_native_socket **at, unsigned path, struct kt_native_socket *fresh)
{
    kt_native_association_move(fresh->l->a, path, fresh->udp, &fresh->peer);
    kt_native_socket_close(*at);
    *at = fresh;
}

bool kt_native_socket_same_host(const struct kt_native_socket *x, const struct kt_native_socket *y)
{
    struct kt_addr one, other;
    kt_udp_local(x->udp, &one);
    kt_udp_local(y->udp, &other);
    return kt_addr_same_host(&one, &other);
}

bool kt_native_socket_renew(struct kt_native_socket **at, unsigned path, bool always)
{
    struct kt_native_socket *fresh;
    struct kt_err err;
    if (kt_native_socket_open((*at)->l, &(*at)->peer, (*at)->local, &fresh, &err)) return false;
    if (!always && kt_native_socket_same_host(fresh, *at)) {
        kt_native_socket_close(fresh);
        return false;
    }
    kt_native_socket_replace(at, path, fresh);
    return true;
}
