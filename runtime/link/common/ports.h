/* The UDP ports that acceptors listen on, and who takes what arrives. Acceptors of several wires can share them: a
 * datagram is offered to each taker in the order in which they were added, and the first that knows it keeps it.
 *
 * Counted: the opener and each acceptor hold a reference; the sockets close with the last one. */
#ifndef KT_LINK_COMMON_PORTS_H
#define KT_LINK_COMMON_PORTS_H

#include "base/list.h"
#include "io/io.h"

struct kt_ports;

struct kt_port_taker {
    struct kt_list node; /* in the ports' list */
    /* Takes datagrams that arrived at port `index`. Moves those that it does not know to the front, in order and
     * unchanged, and returns how many that are. */
    size_t (*batch)(void *ctx, size_t index, struct kt_dgram *dgrams, size_t n);
    /* The port's socket can be written again. */
    void (*writable)(void *ctx, size_t index);
    void *ctx;
};

/* Opens host:port_min to host:port_max. opts: as for kt_bind_udp. The caller owns a reference. shared, unless it is
 * NULL, is where acceptors that share ports meet: if it holds ports already, those are used, else it gets the new
 * ones; it holds no reference. */
int kt_ports_open(struct kt_ports **out, struct kt_ports **shared, struct kt_io *io,
    const struct kt_endpoint *at, const struct kt_udp_opts *opts, struct kt_err *err);
/* NULL is harmless. */
void kt_ports_unref(struct kt_ports *p);

size_t kt_ports_count(const struct kt_ports *p);
struct kt_udp *kt_ports_udp(const struct kt_ports *p, size_t index);

/* The taker's memory is the caller's until it is removed. Not from inside `batch`. */
void kt_ports_add(struct kt_ports *p, struct kt_port_taker *taker);
void kt_ports_remove(struct kt_port_taker *taker);
/* Whether no other is offered what this one leaves. */
bool kt_ports_last(const struct kt_ports *p, const struct kt_port_taker *taker);

#endif
