/* A connected UDP socket as a flow. Invariant: the socket is open as long as the flow has not ended. */
#include <stdlib.h>
#include <string.h>
#include "base/list.h"
#include "link/common/bind.h"
#include "link/common/udp_flows.h"
#include "link/counters.h"

struct target {
    struct kt_flow flow;
    struct kt_udp *udp; /* NULL: ended */
    struct kt_flow_facts facts;
};

static struct target *of(struct kt_flow *f)
{
    return KT_CONTAINER(f, struct target, flow);
}

static void on_batch(void *ctx, struct kt_dgram *dgrams, size_t n)
{
    struct target *t = ctx;
    for (size_t i = 0; i < n; i++) {
        t->facts.received++;
        t->facts.bytes_in += dgrams[i].len;
        if (t->flow.events) t->flow.events->datagram(t->flow.ctx, dgrams[i].data, dgrams[i].len);
    }
}

static void on_writable(void *ctx)
{
    (void)ctx; /* what found no room was dropped */
}

/* Once something came back, an error concerns a datagram, not the flow: the target may be restarting. */
static void on_error(void *ctx, int code)
{
    struct target *t = ctx;
    if (code != KT_EREFUSED || t->facts.received > 0 || !t->udp) return;
    kt_udp_close(t->udp);
    t->udp = NULL;
    if (t->flow.events) t->flow.events->ended(t->flow.ctx, code);
}

static void on_send(struct kt_flow *f, const uint8_t *data, size_t len)
{
    struct target *t = of(f);
    uint8_t *buf;
    if (len > KT_UDP_MAX) {
        t->facts.too_large++;
        return;
    }
    if (!t->udp || !(buf = kt_udp_reserve(t->udp))) {
        t->facts.dropped++;
        return;
    }
    if (len > 0) memcpy(buf, data, len);
    kt_udp_commit(t->udp, buf, buf, len, NULL, NULL);
    t->facts.sent++;
    t->facts.bytes_out += len;
}

static void on_facts(const struct kt_flow *f, struct kt_flow_facts *out)
{
    *out = KT_CONTAINER(f, const struct target, flow)->facts;
}

static void on_close(struct kt_flow *f, int reason)
{
    (void)reason; /* UDP cannot say it */
    kt_udp_close(of(f)->udp);
    free(of(f));
}

int kt_udp_flow_connect(struct kt_io *io, struct kt_counters *counters, const struct kt_addr *to,
    struct kt_flow **out, struct kt_err *err)
{
    static const struct kt_flow_ops ops = {.send = on_send, .facts = on_facts, .close = on_close};
    static const struct kt_udp_events events = {on_batch, on_writable, on_error};
    const struct kt_udp_opts opts = {.remote = to, .oversize = &counters->FlowDatagramsTooLarge};
    struct target *t = calloc(1, sizeof *t);
    if (!t) return kt_err_set(err, KT_ENOMEM, "out of memory");
    t->flow.ops = &ops;
    const int rc = kt_bind_udp(io, NULL, &opts, &events, t, &t->udp, err);
    if (rc)
        free(t);
    else
        *out = &t->flow;
    return rc;
}
