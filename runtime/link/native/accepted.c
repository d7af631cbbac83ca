/* An association as a link of its acceptor. Probes are served at once, as the association exists already, and opens as
 * soon as it has room for another stream. */
#include "link/native/accepted.h"
#include <stdlib.h>
#include "link/native/flow_handle.h"
#include "link/native/serve.h"

struct kt_native_accepted {
    struct kt_accepted accepted; /* first */
    struct kt_native_association *a;
};

static struct kt_native_accepted *of(struct kt_link *link)
{
    return KT_CONTAINER(link, struct kt_native_accepted, accepted.link);
}

static int on_request(
    struct kt_link *link, const struct kt_request *request, struct kt_open **out, struct kt_err *err)
{
    struct kt_native_accepted *r = of(link);
    if (kt_native_association_over(r->a))
        return kt_err_set(err, KT_ECLOSED, "%s", kt_native_association_why(r->a));
    struct kt_call *c = kt_native_call_new(&r->accepted.calls, request);
    if (!c) return kt_err_set(err, KT_ENOMEM, "out of memory");
    *out = &c->open;
    if (c->probed) {
        kt_native_call_serve(c, r->a);
        kt_list_push(&r->accepted.probing, &c->node);
        return 0;
    }
    kt_native_calls_add(&r->accepted.waiting, c);
    kt_native_calls_serve(&r->accepted.waiting, r->a);
    return 0;
}

static int on_flow(
    struct kt_link *link, const struct kt_flow_options *options, struct kt_flow **out, struct kt_err *err)
{
    struct kt_native_accepted *r = of(link);
    const struct kt_native_flow_addresses addresses = {options->target, options->client};
    struct kt_native_flow *flow;
    if (kt_native_association_over(r->a))
        return kt_err_set(err, KT_ECLOSED, "%s", kt_native_association_why(r->a));
    const int rc = kt_native_association_flow(r->a, &addresses, options->copies, options->fec, &flow);
    if (rc) return kt_native_no_flow(rc, err);
    *out = kt_native_flow_accept(flow);
    return *out ? 0 : kt_err_set(err, KT_ENOMEM, "out of memory");
}

void kt_native_accepted_room(struct kt_list *links)
{
    for (struct kt_list *n = links->next; n != links; n = n->next) {
        struct kt_native_accepted *r = KT_CONTAINER(n, struct kt_native_accepted, accepted.node);
        kt_native_calls_serve(&r->accepted.waiting, r->a);
    }
}

static void on_stats(const struct kt_link *link, struct kt_link_stats *out)
{
    const struct kt_native_accepted *r = KT_CONTAINER(link, const struct kt_native_accepted, accepted.link);
    *out = (struct kt_link_stats){.wire = kt_native_association_wire(r->a), .since_heard_us = UINT64_MAX};
    kt_native_association_stats(r->a, out);
}

struct kt_link *kt_native_accepted_new(struct kt_list *links, struct kt_io *io,
    struct kt_native_association *a, void (*end)(void *ctx), void *ctx)
{
    static const struct kt_link_ops ops = {.request = on_request,
        .flow = on_flow,
        .listen = kt_accepted_listen,
        .stay = kt_accepted_stay,
        .set = kt_accepted_set,
        .stats = on_stats,
        .close = kt_accepted_close};
    struct kt_native_accepted *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->a = a;
    kt_native_calls_init(&r->accepted.calls, io);
    kt_accepted_init(&r->accepted, &ops, links, end, ctx);
    return &r->accepted.link;
}
