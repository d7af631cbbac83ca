/* A peer's session as a link of the acceptor's user (accepted.h).
 *
 * Only a kt whose link serves streams accepts them, which its hello announces. No stream is opened to any
 * other peer: a kcptun client would never answer it. */
#include "link/kcptun/accepted.h"
#include <stdlib.h>

struct kt_kcptun_accepted {
    struct kt_link link;
    struct kt_list node; /* in the session's list */
    bool released;       /* the session has another user */
    struct kt_kcptun_context *sh;
    struct kt_kcptun_session *session;
    struct kt_calls calls;
    struct kt_list waiting; /* of kt_call: waiting for the peer's hello */
    struct kt_list probing; /* waiting for an answer to a probe */
    const struct kt_link_events *events;
    void *ctx;
    void (*end)(void *ctx);
    void *end_ctx;
    struct kt_turn turn;
    bool closing;
};

static struct kt_kcptun_accepted *of(struct kt_link *link)
{
    return KT_CONTAINER(link, struct kt_kcptun_accepted, link);
}

/* Opens the call's stream or fails it, once the peer's features are known. */
static void decide(struct kt_kcptun_accepted *r, struct kt_call *call)
{
    struct kt_err err;
    uint16_t features;
    if (kt_kcptun_session_hello(r->session, &features)) {
        if (features & KT_SMUX_F_SERVES) {
            if (kt_kcptun_call_serve(call, r->sh, r->session)) return;
            kt_err_set(&err, KT_ELIMIT, "no stream can be opened: the limit is reached");
        } else {
            kt_err_set(&err, KT_ENOTSUP, "%s does not serve streams: its script needs link:serve",
                kt_kcptun_session_peer_text(r->session));
        }
    } else if (kt_kcptun_session_spoken_to(r->session)) { /* a hello would have come first */
        kt_err_set(&err, KT_ENOTSUP, "%s cannot accept streams: only a kt can",
            kt_kcptun_session_peer_text(r->session));
    } else {
        kt_list_push(&r->waiting, &call->node);
        return;
    }
    kt_call_fail(call, &err);
}

static int call(struct kt_kcptun_accepted *r, const struct kt_open_options *options, kt_open_cb opened,
    kt_probe_cb probed, void *ctx, struct kt_open **out, struct kt_err *err)
{
    if (kt_kcptun_session_over(r->session))
        return kt_err_set(err, KT_ECLOSED, "%s", kt_kcptun_session_why(r->session));
    struct kt_call *c = kt_kcptun_call_new(&r->calls, options, opened, probed, ctx);
    if (!c) return kt_err_set(err, KT_ENOMEM, "out of memory");
    *out = &c->open;
    if (opened) {
        decide(r, c);
    } else {
        kt_kcptun_call_serve(c, r->sh, r->session);
        kt_list_push(&r->probing, &c->node);
    }
    return 0;
}

static int on_open(struct kt_link *link, const struct kt_open_options *options, kt_open_cb cb, void *ctx,
    struct kt_open **out, struct kt_err *err)
{
    if (options && options->target) return kt_kcptun_no_target(err);
    return call(of(link), options, cb, NULL, ctx, out, err);
}

static int on_probe(struct kt_link *link, kt_probe_cb cb, void *ctx, struct kt_open **out, struct kt_err *err)
{
    return call(of(link), NULL, NULL, cb, ctx, out, err);
}

static void on_listen(struct kt_link *link, const struct kt_link_events *events, void *ctx)
{
    of(link)->events = events;
    of(link)->ctx = ctx;
}

static int on_stay(struct kt_link *link, struct kt_err *err)
{
    (void)link;
    return kt_err_set(err, KT_ENOTSUP, "only the peer can dial an accepted link");
}

static int on_set(struct kt_link *link, const struct kt_settings *s, struct kt_err *err)
{
    (void)link;
    (void)s;
    return kt_err_set(err, KT_ENOTSUP, "an accepted link uses its acceptor's settings");
}

static void on_stats(const struct kt_link *link, struct kt_link_stats *out)
{
    const struct kt_kcptun_accepted *r = KT_CONTAINER(link, struct kt_kcptun_accepted, link);
    *out = (struct kt_link_stats){.wire = &kt_kcptun_wire, .since_heard_us = UINT64_MAX};
    kt_kcptun_session_stats(r->session, out);
}

static void end_calls(struct kt_kcptun_accepted *r)
{
    kt_calls_end(&r->calls);
    kt_calls_cancel(&r->waiting);
    kt_calls_cancel(&r->probing);
}

static void let_go(struct kt_kcptun_accepted *r)
{
    end_calls(r);
    kt_io_turn_cancel(&r->turn);
    kt_list_remove(&r->node);
    free(r);
}

static void on_turn(void *ctx)
{
    struct kt_kcptun_accepted *r = ctx;
    if (r->released)
        let_go(r);
    else
        r->end(r->end_ctx);
}

static void on_close(struct kt_link *link)
{
    struct kt_kcptun_accepted *r = of(link);
    r->closing = true;
    kt_calls_end(&r->calls);
    kt_io_turn(r->sh->io, &r->turn); /* not now: this may come from the session's own events */
}

struct kt_kcptun_accepted *kt_kcptun_accepted_new(struct kt_list *links, struct kt_kcptun_context *sh,
    struct kt_kcptun_session *s, void (*end)(void *ctx), void *ctx)
{
    static const struct kt_link_ops ops = {.open = on_open,
        .probe = on_probe,
        .listen = on_listen,
        .stay = on_stay,
        .set = on_set,
        .stats = on_stats,
        .close = on_close};
    struct kt_kcptun_accepted *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->link.ops = &ops;
    r->sh = sh;
    r->session = s;
    r->end = end;
    r->end_ctx = ctx;
    kt_kcptun_calls_init(&r->calls, sh);
    kt_list_init(&r->waiting);
    kt_list_init(&r->probing);
    kt_turn_init(&r->turn, on_turn, r);
    kt_list_push(links, &r->node);
    return r;
}

struct kt_link *kt_kcptun_accepted_link(struct kt_kcptun_accepted *r)
{
    return &r->link;
}

static void hello(struct kt_kcptun_accepted *r)
{
    struct kt_list waiting;
    kt_list_init(&waiting);
    for (struct kt_list *n; (n = kt_list_pop(&r->waiting));) kt_list_push(&waiting, n);
    for (struct kt_list *n; (n = kt_list_pop(&waiting));) decide(r, KT_CONTAINER(n, struct kt_call, node));
}

void kt_kcptun_accepted_hello(struct kt_list *links)
{
    for (struct kt_list *n = links->next; n != links; n = n->next)
        hello(KT_CONTAINER(n, struct kt_kcptun_accepted, node));
}

void kt_kcptun_accepted_release(struct kt_list *links)
{
    for (struct kt_list *n = links->next; n != links; n = n->next)
        KT_CONTAINER(n, struct kt_kcptun_accepted, node)->released = true;
}

static void end(struct kt_kcptun_accepted *r, int code, const char *why)
{
    end_calls(r);
    if (!r->closing && r->events && r->events->down) {
        struct kt_err err;
        kt_err_set(&err, code, "%s", why);
        r->events->down(r->ctx, &err);
    }
    let_go(r);
}

void kt_kcptun_accepted_end_all(struct kt_list *links, int code, const char *why)
{
    while (!kt_list_empty(links)) end(KT_CONTAINER(links->next, struct kt_kcptun_accepted, node), code, why);
}
