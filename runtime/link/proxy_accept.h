/* Conns that begin with a PROXY protocol header: holds each accepted conn until its header has come, then hands it on
 * under the addresses that the header names. */
#ifndef KT_LINK_PROXY_ACCEPT_H
#define KT_LINK_PROXY_ACCEPT_H

#include "base/err.h"

struct kt_conn;
struct kt_io;
struct kt_proxy_accept;

/* Time for the whole header to come, µs: longer than the 3 s that section 2 of the specification asks for, which allow
 * for a lost packet. */
#define KT_PROXY_ACCEPT_US 5000000u
/* Conns that may wait for their header at a time. A new one replaces the one waiting longest. */
#define KT_PROXY_ACCEPT_MAX 1024u

struct kt_proxy_accept_events {
    /* The header has come; the callee owns the conn. Bytes after the header are still to be read. */
    void (*ready)(void *ctx, struct kt_conn *conn);
    /* The conn is about to be reset. code: KT_EPROTO (no valid header), KT_ETIMEOUT, KT_ELIMIT (too many are waiting),
     * KT_ENOMEM, or why the conn broke, KT_ECLOSED if it ended. May not close the kt_proxy_accept. */
    void (*refused)(void *ctx, struct kt_conn *conn, int code);
};

/* NULL: out of memory. */
struct kt_proxy_accept *kt_proxy_accept_new(
    struct kt_io *io, const struct kt_proxy_accept_events *events, void *ctx);
/* Takes a conn that was just accepted. An event may come at once. */
void kt_proxy_accept_add(struct kt_proxy_accept *a, struct kt_conn *conn);
/* Resets the conns that are waiting, without an event. NULL is harmless. */
void kt_proxy_accept_free(struct kt_proxy_accept *a);

#endif
