/* A peer's session as a link of the acceptor's user (accepted.h).
 *
 * Only a kt whose link serves streams accepts them, which its hello announces. No stream is opened to any
 * other peer: a kcptun client would never answer it. */
#include "link/kcptun/accepted.h"
#include <stdlib.h>

struct kt_kcptun_accepted {
    struct kt_accepted accepted; /* first */
    struct kt_kcptun_context *context;
    struct kt_kcptun_session *session;
};

static struct kt_kcptun_accepted *of(struct kt_link *link)
{
    return KT_CONTAINER(link, struct kt_kcptun_accepted, accepted.link);
}

/* Opens the call's stream or fails it, once the peer's features are known. */
static void decide(struct kt_kcptun_accepted *r, struct kt_call *call)
{
    struct kt_err err;
    uint16_t features;
    if (kt_kcptun_session_hello(r->session, &features)) {
        if (features & KT_SMUX_F_SERVES) {
            if (kt_kcptun_call_serve(call, r->context, r->session)) return;
            kt_err_set(&err, KT_ELIMIT, "stream limit reached; close streams or raise max_streams");
        } else {
            kt_err_set(&err, KT_ENOTSUP, "%s does not serve streams: its script needs link:serve",
                kt_kcptun_session_peer_text(r->session));
        }
    } else if (kt_kcptun_session_spoken_to(r->session)) { /* a hello would have come first */
        kt_err_set(&err, KT_ENOTSUP, "%s cannot accept streams: only a kt can",
            kt_kcptun_session_peer_text(r->session));
    } else {
        kt_list_push(&r->accepted.waiting, &call->node);
        return;
    }
    kt_call_fail(call, &err);
}

static int on_request(
    struct kt_link *link, const struct kt_request *request, struct kt_open **out, struct kt_err *err)
{
    struct kt_kcptun_accepted *r = of(link);
    if (request->options.target) return kt_kcptun_no_target(err);
    if (kt_kcptun_session_over(r->session))
        return kt_err_set(err, KT_ECLOSED, "%s", kt_kcptun_session_why(r->session));
    struct kt_call *c = kt_kcptun_call_new(&r->accepted.calls, request);
    if (!c) return kt_err_set(err, KT_ENOMEM, "out of memory");
    *out = &c->open;
    if (request->opened) {
        decide(r, c);
    } else {
        kt_kcptun_call_serve(c, r->context, r->session);
        kt_list_push(&r->accepted.probing, &c->node);
    }
    return 0;
}

static void on_stats(const struct kt_link *link, struct kt_link_stats *out)
{
    const struct kt_kcptun_accepted *r = KT_CONTAINER(link, struct kt_kcptun_accepted, accepted.link);
    *out = (struct kt_link_stats){.wire = r->context->wire, .since_heard_us = UINT64_MAX};
    kt_kcptun_session_stats(r->session, out);
}

struct kt_link *kt_kcptun_accepted_new(struct kt_list *links, struct kt_kcptun_context *context,
    struct kt_kcptun_session *s, void (*end)(void *ctx), void *ctx)
{
    static const struct kt_link_ops ops = {.request = on_request,
        .listen = kt_accepted_listen,
        .stay = kt_accepted_stay,
        .set = kt_accepted_set,
        .stats = on_stats,
        .close = kt_accepted_close};
    struct kt_kcptun_accepted *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->context = context;
    r->session = s;
    kt_kcptun_calls_init(&r->accepted.calls, context);
    kt_accepted_init(&r->accepted, &ops, links, end, ctx);
    return &r->accepted.link;
}

static void hello(struct kt_kcptun_accepted *r)
{
    struct kt_list waiting;
    kt_list_take(&waiting, &r->accepted.waiting);
    for (struct kt_list *n; (n = kt_list_pop(&waiting));) decide(r, KT_CONTAINER(n, struct kt_call, node));
}

void kt_kcptun_accepted_hello(struct kt_list *links)
{
    for (struct kt_list *n = links->next; n != links; n = n->next)
        hello(KT_CONTAINER(n, struct kt_kcptun_accepted, accepted.node));
}
