/* The life of accepted links: a close takes effect in the loop, and ends the session unless it has another user. */
#include "link/common/accepted.h"
#include <stdlib.h>

static struct kt_accepted *of(struct kt_link *link)
{
    return KT_CONTAINER(link, struct kt_accepted, link);
}

void kt_accepted_listen(struct kt_link *link, const struct kt_link_events *events, void *ctx)
{
    of(link)->events = events;
    of(link)->ctx = ctx;
}

int kt_accepted_stay(struct kt_link *link, struct kt_err *err)
{
    (void)link;
    return kt_err_set(err, KT_ENOTSUP, "only the peer can dial an accepted link");
}

int kt_accepted_set(struct kt_link *link, const struct kt_settings *s, struct kt_err *err)
{
    (void)link;
    (void)s;
    return kt_err_set(err, KT_ENOTSUP, "an accepted link uses its acceptor's settings");
}

static void end_calls(struct kt_accepted *r)
{
    kt_calls_end(&r->calls);
    kt_calls_cancel(&r->waiting);
    kt_calls_cancel(&r->probing);
}

static void let_go(struct kt_accepted *r)
{
    end_calls(r);
    kt_io_turn_cancel(&r->turn);
    kt_list_remove(&r->node);
    free(r);
}

static void on_turn(void *ctx)
{
    struct kt_accepted *r = ctx;
    if (r->released)
        let_go(r);
    else
        r->end(r->end_ctx);
}

void kt_accepted_close(struct kt_link *link)
{
    struct kt_accepted *r = of(link);
    r->closing = true;
    kt_calls_end(&r->calls);
    kt_io_turn(r->calls.io, &r->turn); /* not now: this may come from the session's own events */
}

void kt_accepted_init(struct kt_accepted *r, const struct kt_link_ops *ops, struct kt_list *links,
    void (*end)(void *ctx), void *ctx)
{
    r->link.ops = ops;
    r->end = end;
    r->end_ctx = ctx;
    kt_list_init(&r->waiting);
    kt_list_init(&r->probing);
    kt_turn_init(&r->turn, on_turn, r);
    kt_list_push(links, &r->node);
}

void kt_accepted_release(struct kt_list *links)
{
    for (struct kt_list *n = links->next; n != links; n = n->next)
        KT_CONTAINER(n, struct kt_accepted, node)->released = true;
}

static void end(struct kt_accepted *r, int code, const char *why)
{
    end_calls(r);
    if (!r->closing && r->events && r->events->down) {
        struct kt_err err;
        kt_err_set(&err, code, "%s", why);
        r->events->down(r->ctx, &err);
    }
    let_go(r);
}

void kt_accepted_end_all(struct kt_list *links, int code, const char *why)
{
    while (!kt_list_empty(links)) end(KT_CONTAINER(links->next, struct kt_accepted, node), code, why);
}
