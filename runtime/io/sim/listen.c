/* Listeners, and how connecting hosts find them by address or path.
 *
 * Invariant: a listener is in its host's tables exactly while it is bound; conns that were not accepted yet
 * wait in its backlog. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/system.h"
#include "io/sim/tcp.h"

#define BACKLOG 1024u

struct sim_listener {
    struct kt_listener listener;
    struct sim_io *p;
    struct kt_sim_host *host;
    const struct kt_listener_events *events;
    void *ctx;
    struct kt_list node;  /* in host->listeners, while bound */
    struct kt_hnode port; /* in host->tcp_ports; not for unix */
    struct kt_addr at;
    struct kt_turn arrival;
    struct kt_list backlog; /* of sim_conn */
    size_t n;
    bool is_unix, bound, closed;
    enum kt_diverted diverted;
    struct sim_grave grave;
    char path[108];
};

/* ---- accepting ---- */

static void on_conns(void *ctx)
{
    struct sim_listener *l = ctx;
    struct sim_io *p = l->p;
    while (!l->closed && !p->dead && l->n > 0) {
        struct sim_conn *c = KT_CONTAINER(l->backlog.next, struct sim_conn, waiting);
        kt_sim_listener_remove(l, c);
        c->p = p;
        c->user = true;
        kt_sim_opened(p);
        l->events->conn(l->ctx, &c->conn);
        if (c->user && !c->detached && c->p)
            kt_sim_conn_arrived(c); /* deliver what arrived before it was accepted */
    }
}

bool kt_sim_listener_full(const struct sim_listener *l)
{
    return l->n >= BACKLOG;
}

void kt_sim_listener_add(struct sim_listener *l, struct sim_conn *c)
{
    const bool diverted = l->diverted && !kt_sim_is_own(l->host, &c->local);
    struct kt_conn_names *names = diverted ? kt_conn_names(&c->conn) : NULL;
    if (names) kt_addr_text(&c->local, names->original);
    kt_list_push(&l->backlog, &c->waiting);
    l->n++;
    c->listener = l;
    kt_sim_arrive(l->p, &l->arrival);
}

void kt_sim_listener_remove(struct sim_listener *l, struct sim_conn *c)
{
    kt_list_remove(&c->waiting);
    c->listener = NULL;
    l->n--;
}

/* The listener that gets conns to addresses of other hosts. */
static struct sim_listener *find_diverted(const struct kt_sim_host *h, const struct kt_addr *at)
{
    for (struct kt_list *n = h->listeners.next; n != &h->listeners; n = n->next) {
        struct sim_listener *l = KT_CONTAINER(n, struct sim_listener, node);
        if (l->diverted && kt_sim_covers(&l->at, at)) return l;
    }
    return NULL;
}

struct sim_listener *kt_sim_listener_find(
    const struct kt_sim_host *h, const struct kt_addr *at, const char *path)
{
    struct sim_listener *best = NULL;
    if (path) {
        for (struct kt_list *n = h->listeners.next; n != &h->listeners; n = n->next) {
            struct sim_listener *l = KT_CONTAINER(n, struct sim_listener, node);
            if (l->is_unix && strcmp(l->path, path) == 0) return l;
        }
        return NULL;
    }
    if (!kt_sim_is_own(h, at)) return find_diverted(h, at);
    struct kt_hnode *n = kt_hmap_find(&h->tcp_ports, kt_hash_u64(kt_addr_port(at), 0));
    for (; n; n = kt_hmap_again(n)) {
        struct sim_listener *l = KT_CONTAINER(n, struct sim_listener, port);
        bool any = kt_sim_is_any(&l->at);
        if (!any && kt_addr_equal(&l->at, at)) return l;
        if (any && (l->at.sa.sa_family == AF_INET6 || at->sa.sa_family == AF_INET)) best = l;
    }
    return best;
}

bool kt_sim_tcp_port_taken(const struct kt_sim_host *h, uint16_t port)
{
    if (kt_hmap_find(&h->tcp_ports, kt_hash_u64(port, 0))) return true;
    for (const struct kt_list *n = h->conns.next; n != &h->conns; n = n->next) {
        const struct sim_conn *c = KT_CONTAINER(n, const struct sim_conn, node);
        if (kt_addr_port(&c->local) == port) return true;
    }
    return false;
}

/* ---- closing ---- */

static void unbind(struct sim_listener *l, bool tell)
{
    if (!l->bound) return;
    l->bound = false;
    kt_list_remove(&l->node);
    if (!l->is_unix) kt_hmap_remove(&l->host->tcp_ports, &l->port);
    kt_sim_host_closed(l->host);
    while (l->n > 0) {
        struct sim_conn *c = KT_CONTAINER(l->backlog.next, struct sim_conn, waiting);
        kt_sim_listener_remove(l, c);
        if (tell)
            kt_sim_conn_drop(c);
        else
            kt_sim_tcp_gone(c);
        kt_sim_conn_release(c);
    }
}

void kt_sim_listen_vanish(struct kt_sim_host *h, const struct sim_io *p)
{
    struct kt_list *node = h->listeners.next, *next;
    for (; node != &h->listeners; node = next) {
        struct sim_listener *l = KT_CONTAINER(node, struct sim_listener, node);
        next = node->next;
        if (!p || l->p == p) unbind(l, p != NULL);
    }
}

static void destroy(struct sim_grave *g)
{
    free(KT_CONTAINER(g, struct sim_listener, grave));
}

static void listener_close(struct kt_listener *listener)
{
    struct sim_listener *l = (struct sim_listener *)(void *)listener;
    assert(!l->closed);
    l->closed = true;
    unbind(l, true);
    kt_list_remove(&l->arrival.node);
    kt_sim_ended(l->p);
    kt_sim_bury(l->p->sim, &l->grave, destroy);
}

/* ---- opening ---- */

static int bind_unix(struct sim_listener *l, struct kt_err *err)
{
    const void *data;
    size_t len;
    if (kt_sim_file_get(l->host, l->path, &data, &len))
        return kt_err_set(
            err, KT_EINUSE, "%s: a file of this name exists and is not a socket", l->listener.local);
    if (kt_sim_listener_find(l->host, NULL, l->path))
        return kt_system_bind_error(err, l->listener.local, 0, EADDRINUSE);
    return 0;
}

/* 0 or a positive errno. */
static int bind_tcp(struct sim_listener *l)
{
    struct kt_sim_host *h = l->host;
    int errnum = kt_sim_bindable(h, &l->at);
    if (errnum) return errnum;
    if (kt_addr_port(&l->at) == 0) {
        uint16_t port = kt_sim_port(h, kt_sim_tcp_port_taken);
        if (!port) return EADDRINUSE;
        kt_addr_set_port(&l->at, port);
    }
    uint64_t hash = kt_hash_u64(kt_addr_port(&l->at), 0);
    for (struct kt_hnode *n = kt_hmap_find(&h->tcp_ports, hash); n; n = kt_hmap_again(n)) {
        const struct sim_listener *other = KT_CONTAINER(n, const struct sim_listener, port);
        bool v6_any = (kt_sim_is_any(&l->at) && l->at.sa.sa_family == AF_INET6) ||
                      (kt_sim_is_any(&other->at) && other->at.sa.sa_family == AF_INET6);
        bool same = l->at.sa.sa_family == other->at.sa.sa_family;
        bool any = kt_sim_is_any(&l->at) || kt_sim_is_any(&other->at);
        if (v6_any || (same && any) || kt_addr_same_host(&l->at, &other->at)) return EADDRINUSE;
    }
    return kt_hmap_add(&h->tcp_ports, &l->port, hash) == 0 ? 0 : ENOMEM;
}

static int open_listener(struct sim_listener *l, const struct kt_endpoint *at, struct kt_err *err)
{
    if (at->is_unix) {
        snprintf(l->listener.local, sizeof l->listener.local, "unix:%.120s", at->host);
        snprintf(l->path, sizeof l->path, "%.107s", at->host);
        return bind_unix(l, err);
    }
    bool v6 = strchr(at->host, ':') != NULL;
    snprintf(l->listener.local, sizeof l->listener.local, v6 ? "[%.100s]:%u" : "%.100s:%u", at->host,
        (unsigned)at->port_min);
    if (!kt_addr_from_ip(&l->at, at->host[0] ? at->host : "::", at->port_min))
        return kt_err_set(
            err, KT_EINVAL, "%s: expected an IP address to listen on, got a name", l->listener.local);
    int scope = kt_addr_check_scope(&l->at, err);
    if (scope) return scope;
    int errnum = bind_tcp(l);
    if (errnum) return kt_system_bind_error(err, l->listener.local, at->port_min, errnum);
    kt_addr_text(&l->at, l->listener.local);
    return 0;
}

int kt_sim_listen(struct kt_io *io, const struct kt_endpoint *at, const struct kt_listener_events *events,
    void *ctx, struct kt_listener **out, struct kt_err *err)
{
    *out = NULL;
    struct sim_io *p = kt_sim_io(io);
    if (kt_sim_alive(p, err) != 0) return KT_ECLOSED;
    struct sim_listener *l = calloc(1, sizeof *l);
    if (!l) return kt_err_set(err, KT_ENOMEM, "out of memory");
    l->listener.close = listener_close;
    l->p = p;
    l->host = p->host;
    l->events = events;
    l->ctx = ctx;
    l->is_unix = at->is_unix;
    l->diverted = at->diverted;
    kt_list_init(&l->node);
    kt_list_init(&l->backlog);
    kt_turn_init(&l->arrival, on_conns, l);
    int code = open_listener(l, at, err);
    if (code) {
        free(l);
        return code;
    }
    l->bound = true;
    kt_list_push(&p->host->listeners, &l->node);
    kt_sim_host_opened(p->host);
    kt_sim_opened(p);
    *out = &l->listener;
    return 0;
}
