/* The paths of a link beside its first, one from each further address of this machine (the setting `paths`). A path
 * whose socket cannot be opened, since its interface is down, is tried again every 10 s. */
#include "link/native/link_internal.h"

#define AGAIN_US 10000000u

bool kt_native_local_fits(const struct link *l, size_t local, const struct kt_addr *peer)
{
    if (l->local_count == 0 || l->locals[local].device[0]) return true;
    return l->locals[local].address.sa.sa_family == peer->sa.sa_family;
}

/* An address of the peer for this one: the first path's, if it fits. */
static bool find_peer(struct link *l, size_t local, struct kt_addr *out)
{
    *out = l->socket->peer;
    return kt_native_local_fits(l, local, out) ||
           kt_native_remotes_family(l, l->locals[local].address.sa.sa_family, out);
}

static bool open_side(struct link *l, unsigned path, size_t local)
{
    struct kt_native_socket *s;
    struct kt_addr peer;
    struct kt_err err;
    if (!find_peer(l, local, &peer) || kt_native_socket_open(l, &peer, local, &s, &err)) return false;
    if (kt_native_association_path(l->a, path, s->udp, &peer)) {
        kt_native_socket_close(s);
        return false;
    }
    l->extra_sockets[path] = s;
    return true;
}

void kt_native_extra_paths_open(struct link *l)
{
    bool all = true;
    unsigned path = 0;
    for (size_t local = 0; local < l->local_count; local++) {
        if (local == l->first_local) continue;
        path++;
        if (!l->extra_sockets[path] && !open_side(l, path, local)) all = false;
    }
    if (!all) kt_io_timer_set(l->c->io, &l->extra_timer, kt_io_now(l->c->io) + AGAIN_US);
}

bool kt_native_extra_paths_has(const struct link *l, const struct kt_native_socket *s)
{
    for (unsigned i = 1; i < KT_NATIVE_PATHS; i++)
        if (l->extra_sockets[i] == s) return true;
    return false;
}

static void follow(struct link *l, unsigned path, const struct kt_addr *peer)
{
    struct kt_native_socket *fresh;
    struct kt_err err;
    if (!kt_native_socket_open(l, peer, l->extra_sockets[path]->local, &fresh, &err))
        kt_native_socket_replace(&l->extra_sockets[path], path, fresh);
}

void kt_native_extra_paths_renew(struct link *l, unsigned path, bool always)
{
    if (l->extra_sockets[path]) kt_native_socket_renew(&l->extra_sockets[path], path, always);
}

void kt_native_extra_paths_follow(struct link *l, const struct kt_native_socket *s)
{
    for (unsigned i = 1; i < KT_NATIVE_PATHS; i++)
        if (l->extra_sockets[i] && l->extra_sockets[i]->local == s->local) follow(l, i, &s->peer);
}

static void on_timer(void *ctx)
{
    struct link *l = ctx;
    if (l->a) kt_native_extra_paths_open(l);
}

void kt_native_extra_paths_init(struct link *l)
{
    kt_timer_init(&l->extra_timer, on_timer, l);
}

void kt_native_extra_paths_close(struct link *l)
{
    kt_io_timer_cancel(l->c->io, &l->extra_timer);
    for (unsigned i = 1; i < KT_NATIVE_PATHS; i++) {
        kt_native_socket_close(l->extra_sockets[i]);
        l->extra_sockets[i] = NULL;
    }
}
