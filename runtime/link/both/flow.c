/* The flows of a link that may speak either wire (flow.h). Each passes through to a flow of the preferred
 * wire's link.
 *
 * Invariant: a flow is in the list exactly while it has an inner flow that has not ended. */
#include "link/both/flow.h"

#include <stdlib.h>

struct both_flow {
    struct kt_flow flow;
    struct kt_list node;
    struct kt_flow *inner;      /* NULL: ended */
    struct kt_flow_facts facts; /* once it has ended: its last */
};

static struct both_flow *of(struct kt_flow *f)
{
    return KT_CONTAINER(f, struct both_flow, flow);
}

static void on_datagram(void *ctx, const uint8_t *data, size_t len)
{
    struct both_flow *b = ctx;
    if (b->flow.events) b->flow.events->datagram(b->flow.ctx, data, len);
}

static void on_ended(void *ctx, int code)
{
    struct both_flow *b = ctx;
    kt_list_remove(&b->node);
    if (b->flow.events) b->flow.events->ended(b->flow.ctx, code);
}

static void on_send(struct kt_flow *f, const uint8_t *data, size_t len)
{
    struct both_flow *b = of(f);
    if (b->inner)
        kt_flow_send(b->inner, data, len);
    else
        b->facts.dropped++;
}

static void on_facts(const struct kt_flow *f, struct kt_flow_facts *out)
{
    const struct both_flow *b = KT_CONTAINER(f, const struct both_flow, flow);
    if (b->inner)
        kt_flow_facts(b->inner, out);
    else
        *out = b->facts;
}

static void on_copies(struct kt_flow *f, unsigned copies)
{
    if (of(f)->inner) kt_flow_copies(of(f)->inner, copies);
}

static void on_fec(struct kt_flow *f, bool fec)
{
    if (of(f)->inner) kt_flow_fec(of(f)->inner, fec);
}

static void on_close(struct kt_flow *f, int reason)
{
    struct both_flow *b = of(f);
    kt_list_remove(&b->node);
    if (b->inner) kt_flow_close(b->inner, reason);
    free(b);
}

int kt_both_flow(struct kt_list *list, struct kt_link *preferred, const struct kt_flow_options *options,
    struct kt_flow **out, struct kt_err *err)
{
    static const struct kt_flow_ops ops = {
        .send = on_send, .facts = on_facts, .copies = on_copies, .fec = on_fec, .close = on_close};
    static const struct kt_flow_events events = {on_datagram, on_ended};
    struct both_flow *b = calloc(1, sizeof *b);
    if (!b) return kt_err_set(err, KT_ENOMEM, "out of memory");
    const int rc = kt_link_flow(preferred, options, &b->inner, err);
    if (rc) {
        free(b);
        return rc;
    }
    b->flow.ops = &ops;
    kt_list_push(list, &b->node);
    kt_flow_listen(b->inner, &events, b);
    *out = &b->flow;
    return 0;
}

void kt_both_flows_end(struct kt_list *list, int code)
{
    for (struct kt_list *n; (n = kt_list_pop(list));) {
        struct both_flow *b = KT_CONTAINER(n, struct both_flow, node);
        kt_flow_facts(b->inner, &b->facts);
        kt_flow_close(b->inner, code);
        b->inner = NULL;
        if (b->flow.events) b->flow.events->ended(b->flow.ctx, code);
    }
}
