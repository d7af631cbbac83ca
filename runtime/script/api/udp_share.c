/* Shares a UDP socket between the scripts before and after a reload.
 *
 * Invariant: the socket is open exactly while it has holders, and datagrams go to the newest of them only. */
#include "script/api/udp_share.h"
#include <stdlib.h>
#include "link/common/bind.h"

struct kt_lua_udp_share {
    struct kt_udp *udp;
    struct kt_list holders;
    struct kt_lua_udp_holder *newest; /* NULL: it has left; datagrams are dropped */
};

static void on_batch(void *ctx, struct kt_dgram *dgrams, size_t n)
{
    const struct kt_lua_udp_holder *h = ((const struct kt_lua_udp_share *)ctx)->newest;
    if (h) h->events->batch(h->ctx, dgrams, n);
}

static void on_writable(void *ctx)
{
    const struct kt_lua_udp_share *s = ctx;
    for (const struct kt_list *n = s->holders.next; n != &s->holders; n = n->next) {
        const struct kt_lua_udp_holder *h = KT_CONTAINER(n, struct kt_lua_udp_holder, node);
        h->events->writable(h->ctx);
    }
}

static void on_error(void *ctx, int code)
{
    const struct kt_lua_udp_holder *h = ((const struct kt_lua_udp_share *)ctx)->newest;
    if (h) h->events->error(h->ctx, code);
}

static int bind_socket(struct kt_lua_udp_share *s, struct kt_io *io, const struct kt_endpoint *on,
    const struct kt_addr *to, struct kt_err *err)
{
    static const struct kt_udp_events events = {on_batch, on_writable, on_error};
    const struct kt_udp_opts opts = {.remote = to};
    return kt_bind_udp(io, on, &opts, &events, s, &s->udp, err);
}

static void join(struct kt_lua_udp_holder *h, struct kt_lua_udp_share *s)
{
    h->share = s;
    h->udp = s->udp;
    kt_list_push(&s->holders, &h->node);
    s->newest = h;
}

void kt_lua_udp_holder_init(struct kt_lua_udp_holder *h, const struct kt_udp_events *events, void *ctx)
{
    *h = (struct kt_lua_udp_holder){.events = events, .ctx = ctx};
    kt_list_init(&h->node);
}

int kt_lua_udp_share_open(struct kt_lua_udp_holder *h, struct kt_io *io, const struct kt_endpoint *on,
    const struct kt_addr *to, struct kt_err *err)
{
    struct kt_lua_udp_share *s = calloc(1, sizeof *s);
    if (!s) return kt_err_set(err, KT_ENOMEM, "out of memory");
    kt_list_init(&s->holders);
    int rc = bind_socket(s, io, on, to, err);
    if (rc)
        free(s);
    else
        join(h, s);
    return rc;
}

void kt_lua_udp_share_join(struct kt_lua_udp_holder *h, const struct kt_lua_udp_holder *other)
{
    join(h, other->share);
}

void kt_lua_udp_share_leave(struct kt_lua_udp_holder *h)
{
    struct kt_lua_udp_share *s = h->share;
    if (!s) return;
    h->share = NULL;
    h->udp = NULL;
    kt_list_remove(&h->node);
    if (s->newest == h) s->newest = NULL;
    if (!kt_list_empty(&s->holders)) return;
    kt_udp_close(s->udp);
    free(s);
}
