/* An association as a link of an acceptor. Opens and probes are served at once: there is nothing to wait for. */
#include "link/native/accepted.h"
#include <stdlib.h>
#include "link/native/flow_handle.h"
#include "link/native/serve.h"

struct kt_native_accepted {
    struct kt_link link;
    struct kt_list node; /* in the association's list */
    bool released;       /* the association has another user */
    bool closing;
    struct kt_native_context *c;
    struct kt_native_association *a;
    struct kt_calls calls;
    struct kt_list probing; /* of kt_call: for an answer to a probe */
    const struct kt_link_events *events;
    void *ctx;
    void (*end)(void *ctx);
    void *end_ctx;
    struct kt_turn turn;
};

static struct kt_native_accepted *of(struct kt_link *link)
{
    return KT_CONTAINER(link, struct kt_native_accepted, link);
}

static int call(struct kt_native_accepted *r, const struct kt_open_options *options, kt_open_cb opened,
    kt_probe_cb probed, void *ctx, struct kt_open **out, struct kt_err *err)
{
    if (kt_native_association_over(r->a))
        return kt_err_set(err, KT_ECLOSED, "%s", kt_native_association_why(r->a));
    struct kt_call *c = kt_native_call_new(&r->calls, options, opened, probed, ctx);
    if (!c) return kt_err_set(err, KT_ENOMEM, "out of memory");
    *out = &c->open;
    kt_native_call_serve(c, r->a);
    if (probed) kt_list_push(&r->probing, &c->node);
    return 0;
}

static int on_open(struct kt_link *link, const struct kt_open_options *options, kt_open_cb cb, void *ctx,
    struct kt_open **out, struct kt_err *err)
{
    return call(of(link), options, cb, NULL, ctx, out, err);
}

static int on_probe(struct kt_link *link, kt_probe_cb cb, void *ctx, struct kt_open **out, struct kt_err *err)
{
    return call(of(link), NULL, NULL, cb, ctx, out, err);
}

static int on_flow(
    struct kt_link *link, const struct kt_flow_options *options, struct kt_flow **out, struct kt_err *err)
{
    struct kt_native_accepted *r = of(link);
    const struct kt_native_flow_addresses addresses = {options->target, options->client};
    struct kt_native_flow *flow;
    if (kt_native_association_over(r->a))
        return kt_err_set(err, KT_ECLOSED, "%s", kt_native_association_why(r->a));
    const int rc = kt_native_association_flow(r->a, &addresses, options->copies, &flow);
    if (rc) return kt_native_no_flow(rc, err);
    *out = kt_native_flow_accept(flow);
    return *out ? 0 : kt_err_set(err, KT_ENOMEM, "out of memory");
}

static void on_listen(struct kt_link *link, const struct kt_link_events *events, void *ctx)
{
    of(link)->events = events;
    of(link)->ctx = ctx;
}

static int on_stay(struct kt_link *link, struct kt_err *err)
{
    (void)link;
    return kt_err_set(err, KT_ENOTSUP, "only its peer can dial a link that was accepted");
}

static int on_set(struct kt_link *link, const struct kt_settings *s, struct kt_err *err)
{
    (void)link;
    (void)s;
    return kt_err_set(err, KT_ENOTSUP, "the settings of a link that was accepted are its acceptor's");
}

static void on_stats(const struct kt_link *link, struct kt_link_stats *out)
{
    const struct kt_native_accepted *r = KT_CONTAINER(link, const struct kt_native_accepted, link);
    *out = (struct kt_link_stats){.wire = &kt_native_wire, .since_heard_us = UINT64_MAX};
    kt_native_association_stats(r->a, out);
}

static void let_go(struct kt_native_accepted *r)
{
    kt_calls_end(&r->calls);
    kt_calls_cancel(&r->probing);
    kt_io_turn_cancel(&r->turn);
    kt_list_remove(&r->node);
    free(r);
}

static void on_turn(void *ctx)
{
    struct kt_native_accepted *r = ctx;
    if (r->released)
        let_go(r);
    else
        r->end(r->end_ctx);
}

static void on_close(struct kt_link *link)
{
    struct kt_native_accepted *r = of(link);
    r->closing = true;
    kt_calls_end(&r->calls);
    kt_io_turn(r->c->io, &r->turn); /* not now: this may come from the association's own events */
}

struct kt_native_accepted *kt_native_accepted_new(struct kt_list *links, struct kt_native_context *context,
    struct kt_native_association *a, void (*end)(void *ctx), void *ctx)
{
    static const struct kt_link_ops ops = {.open = on_open,
        .probe = on_probe,
        .flow = on_flow,
        .listen = on_listen,
        .stay = on_stay,
        .set = on_set,
        .stats = on_stats,
        .close = on_close};
    struct kt_native_accepted *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    *r = (struct kt_native_accepted){.link = {&ops}, .c = context, .a = a, .end = end, .end_ctx = ctx};
    kt_native_calls_init(&r->calls, context->io);
    kt_list_init(&r->probing);
    kt_turn_init(&r->turn, on_turn, r);
    kt_list_push(links, &r->node);
    return r;
}

struct kt_link *kt_native_accepted_link(struct kt_native_accepted *r)
{
    return &r->link;
}

void kt_native_accepted_release(struct kt_list *links)
{
    for (struct kt_list *n = links->next; n != links; n = n->next)
        KT_CONTAINER(n, struct kt_native_accepted, node)->released = true;
}

static void end(struct kt_native_accepted *r, int code, const char *why)
{
    kt_calls_end(&r->calls);
    kt_calls_cancel(&r->probing);
    if (!r->closing && r->events && r->events->down) {
        struct kt_err err;
        kt_err_set(&err, code, "%s", why);
        r->events->down(r->ctx, &err);
    }
    let_go(r);
}

void kt_native_accepted_end_all(struct kt_list *links, int code, const char *why)
{
    while (!kt_list_empty(links)) end(KT_CONTAINER(links->next, struct kt_native_accepted, node), code, why);
}
