/* Opens ports and hands what arrives from taker to taker: each sees only what those before it left. */
#include "link/common/ports.h"
#include <stdlib.h>
#include "link/common/bind.h"

struct port {
    struct kt_ports *ports;
    struct kt_udp *udp;
};

struct kt_ports {
    size_t refs, count; /* count: of ports that are open */
    struct kt_list takers;
    struct port port[];
};

static void on_batch(void *ctx, struct kt_dgram *dgrams, size_t n)
{
    const struct port *port = ctx;
    const struct kt_list *takers = &port->ports->takers;
    const size_t index = (size_t)(port - port->ports->port);
    for (struct kt_list *t = takers->next; n > 0 && t != takers; t = t->next) {
        struct kt_port_taker *taker = KT_CONTAINER(t, struct kt_port_taker, node);
        n = taker->batch(taker->ctx, index, dgrams, n);
    }
}

static void on_writable(void *ctx)
{
    const struct port *port = ctx;
    const struct kt_list *takers = &port->ports->takers;
    for (struct kt_list *t = takers->next; t != takers; t = t->next) {
        struct kt_port_taker *taker = KT_CONTAINER(t, struct kt_port_taker, node);
        taker->writable(taker->ctx, (size_t)(port - port->ports->port));
    }
}

static void on_error(void *ctx, int code)
{
    (void)ctx;
    (void)code; /* which peer it concerns is not known; a dead one is found by its silence */
}

int kt_ports_open(struct kt_ports **out, struct kt_ports **shared, struct kt_io *io,
    const struct kt_endpoint *at, const struct kt_udp_opts *opts, struct kt_err *err)
{
    if (shared && *shared) {
        (*shared)->refs++;
        *out = *shared;
        return 0;
    }
    static const struct kt_udp_events events = {on_batch, on_writable, on_error};
    const size_t count = (size_t)at->port_max - at->port_min + 1;
    struct kt_ports *p = calloc(1, sizeof *p + count * sizeof p->port[0]);
    if (!p) return kt_err_set(err, KT_ENOMEM, "out of memory");
    p->refs = 1;
    kt_list_init(&p->takers);
    for (; p->count < count; p->count++) {
        struct port *port = &p->port[p->count];
        port->ports = p;
        struct kt_endpoint one = *at;
        one.port_min = one.port_max = (uint16_t)(at->port_min + p->count);
        const int rc = kt_bind_udp(io, &one, opts, &events, port, &port->udp, err);
        if (rc) {
            kt_ports_unref(p);
            return rc;
        }
    }
    if (shared) *shared = p;
    *out = p;
    return 0;
}

void kt_ports_unref(struct kt_ports *p)
{
    if (!p || --p->refs > 0) return;
    for (size_t i = 0; i < p->count; i++) kt_udp_close(p->port[i].udp);
    free(p);
}

size_t kt_ports_count(const struct kt_ports *p)
{
    return p->count;
}

struct kt_udp *kt_ports_udp(const struct kt_ports *p, size_t index)
{
    return p->port[index].udp;
}

void kt_ports_add(struct kt_ports *p, struct kt_port_taker *taker)
{
    kt_list_push(&p->takers, &taker->node);
}

void kt_ports_remove(struct kt_port_taker *taker)
{
    kt_list_remove(&taker->node);
}

bool kt_ports_last(const struct kt_ports *p, const struct kt_port_taker *taker)
{
    return taker->node.next == &p->takers;
}
