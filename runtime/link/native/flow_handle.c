/* Joins a kt_flow to a flow of the association that the link has at the time. */
#include "link/native/flow_handle.h"
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"

struct handle {
    struct kt_flow flow;
    struct kt_list node;          /* in the link's list, or in none */
    struct kt_native_flow *inner; /* NULL: no association, or it has ended */
    bool own;                     /* a link's: it is opened again */
    struct kt_flow_facts earlier; /* of its former inner flows */
    uint8_t *held;                /* datagrams that wait, each behind its length (2 bytes); NULL: none */
    size_t held_len;
    char *target, *client;
    unsigned copies;
    bool fec;
};

static struct handle *of(struct kt_flow *f)
{
    return KT_CONTAINER(f, struct handle, flow);
}

static void add(struct kt_flow_facts *sum, const struct kt_native_flow_facts *facts)
{
    sum->sent += facts->sent;
    sum->received += facts->received;
    sum->bytes_out += facts->bytes_out;
    sum->bytes_in += facts->bytes_in;
    sum->dropped += facts->dropped;
    sum->too_large += facts->too_large;
}

/* Adds the figures of the inner flow, if there is one. */
static void add_facts(const struct handle *h, struct kt_flow_facts *sum)
{
    struct kt_native_flow_facts facts;
    if (!h->inner) return;
    kt_native_flow_facts(h->inner, &facts);
    add(sum, &facts);
}

/* ---- what the inner flow says ---- */

static void on_datagram(void *ctx, const uint8_t *data, size_t len)
{
    struct handle *h = ctx;
    if (h->flow.events) h->flow.events->datagram(h->flow.ctx, data, len);
}

/* Ends the flow for its user, with or without an inner one. */
static void end(struct handle *h, int code)
{
    h->inner = NULL;
    h->own = false;
    if (h->flow.events) h->flow.events->ended(h->flow.ctx, code);
}

static void on_ended(void *ctx, int code, const struct kt_native_flow_facts *facts)
{
    struct handle *h = ctx;
    add(&h->earlier, facts);
    end(h, code);
}

static const struct kt_native_flow_events inner_events = {on_datagram, on_ended};

/* ---- sending ---- */

static void drop_oldest(struct handle *h)
{
    const size_t n = 2 + (size_t)kt_get16(h->held);
    h->held_len -= n;
    memmove(h->held, h->held + n, h->held_len);
    h->earlier.dropped++;
}

static void hold(struct handle *h, const uint8_t *data, size_t len)
{
    if (len > KT_FLOW_DATAGRAM) {
        h->earlier.too_large++;
        return;
    }
    if (!h->held) h->held = malloc(KT_NATIVE_FLOW_HELD);
    if (!h->held) {
        h->earlier.dropped++;
        return;
    }
    while (h->held_len + 2 + len > KT_NATIVE_FLOW_HELD) drop_oldest(h);
    uint8_t *to = h->held + h->held_len;
    kt_put16(to, (uint32_t)len);
    memcpy(to + 2, data, len);
    h->held_len += 2 + len;
}

static void on_send(struct kt_flow *f, const uint8_t *data, size_t len)
{
    struct handle *h = of(f);
    if (h->inner)
        kt_native_flow_send(h->inner, data, len); /* it counts what it cannot take */
    else if (h->own)
        hold(h, data, len);
    else
        h->earlier.dropped++;
}

static void on_facts(const struct kt_flow *f, struct kt_flow_facts *out)
{
    const struct handle *h = KT_CONTAINER(f, const struct handle, flow);
    *out = h->earlier;
    add_facts(h, out);
}

static void on_copies(struct kt_flow *f, unsigned copies)
{
    struct handle *h = of(f);
    h->copies = copies;
    if (h->inner) kt_native_flow_copies(h->inner, copies);
}

static void on_fec(struct kt_flow *f, bool fec)
{
    struct handle *h = of(f);
    h->fec = fec;
    if (h->inner) kt_native_flow_parity(h->inner, fec);
}

static void on_close(struct kt_flow *f, int reason)
{
    struct handle *h = of(f);
    if (h->inner) kt_native_flow_close(h->inner, reason);
    kt_list_remove(&h->node);
    free(h->held);
    free(h->target);
    free(h->client);
    free(h);
}

static const struct kt_flow_ops ops = {
    .send = on_send, .facts = on_facts, .copies = on_copies, .fec = on_fec, .close = on_close};

static struct handle *handle_new(bool own)
{
    struct handle *h = calloc(1, sizeof *h);
    if (!h) return NULL;
    h->flow.ops = &ops;
    h->own = own;
    kt_list_init(&h->node);
    return h;
}

static void join(struct handle *h, struct kt_native_flow *inner)
{
    h->inner = inner;
    kt_native_flow_listen(inner, &inner_events, h);
}

struct kt_flow *kt_native_flow_accept(struct kt_native_flow *flow)
{
    struct handle *h = handle_new(false);
    if (!h) {
        kt_native_flow_close(flow, KT_ENOMEM);
        return NULL;
    }
    join(h, flow);
    return &h->flow;
}

/* ---- a link's flows ---- */

int kt_native_no_flow(int code, struct kt_err *err)
{
    if (code == KT_ENOTSUP) return kt_err_set(err, code, "the peer does not accept flows");
    if (code == KT_EINVAL)
        return kt_err_set(
            err, code, "the target and the client of a flow have at most %u bytes each", KT_NATIVE_NAME_MAX);
    return kt_err_set(err, code, "cannot open a flow: %s", kt_strerror(code));
}

static int keep(char **to, const char *text)
{
    if (!text) return 0;
    if (strlen(text) > KT_NATIVE_NAME_MAX) return KT_EINVAL;
    *to = strdup(text);
    return *to ? 0 : KT_ENOMEM;
}

int kt_native_flow_open(struct kt_list *list, const struct kt_flow_options *options, struct kt_flow **out)
{
    struct handle *h = handle_new(true);
    if (!h) return KT_ENOMEM;
    h->copies = options->copies;
    h->fec = options->fec;
    int rc = keep(&h->target, options->target);
    if (!rc) rc = keep(&h->client, options->client);
    if (rc) {
        on_close(&h->flow, 0);
        return rc;
    }
    kt_list_push(list, &h->node);
    *out = &h->flow;
    return 0;
}

static void flush(struct handle *h)
{
    for (size_t at = 0; at < h->held_len;) {
        const size_t len = kt_get16(h->held + at);
        kt_native_flow_send(h->inner, h->held + at + 2, len);
        at += 2 + len;
    }
    free(h->held);
    h->held = NULL;
    h->held_len = 0;
}

static int enter(struct handle *h, struct kt_native_association *a)
{
    const struct kt_native_flow_addresses addresses = {h->target, h->client};
    struct kt_native_flow *inner;
    const int rc = kt_native_association_flow(a, &addresses, h->copies, h->fec, &inner);
    if (rc) return rc;
    join(h, inner);
    flush(h);
    return 0;
}

int kt_native_flow_bind(struct kt_flow *f, struct kt_native_association *a)
{
    return enter(of(f), a);
}

void kt_native_flows_bind(struct kt_list *list, struct kt_native_association *a)
{
    struct kt_list *next;
    for (struct kt_list *n = list->next; n != list; n = next) {
        struct handle *h = KT_CONTAINER(n, struct handle, node);
        next = n->next;
        const int rc = h->own && !h->inner ? enter(h, a) : 0;
        if (rc) end(h, rc); /* may free it */
    }
}

void kt_native_flows_unbind(struct kt_list *list)
{
    for (struct kt_list *n = list->next; n != list; n = n->next) {
        struct handle *h = KT_CONTAINER(n, struct handle, node);
        if (!h->inner) continue;
        add_facts(h, &h->earlier);
        kt_native_flow_listen(h->inner, NULL, NULL);
        h->inner = NULL;
    }
}

void kt_native_flows_fail(struct kt_list *list, int code)
{
    struct kt_list *next;
    for (struct kt_list *n = list->next; n != list; n = next) {
        struct handle *h = KT_CONTAINER(n, struct handle, node);
        next = n->next;
        if (h->own && !h->inner) end(h, code); /* may free it */
    }
}

void kt_native_flows_abandon(struct kt_list *list, int code)
{
    struct kt_list *next;
    for (struct kt_list *n = list->next; n != list; n = next) {
        struct handle *h = KT_CONTAINER(n, struct handle, node);
        next = n->next;
        kt_list_remove(n);
        end(h, code);
    }
}
