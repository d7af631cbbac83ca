/* Looks up names with the system's resolver, in libuv's thread pool.
 *
 * Invariant: cb is called once, or never after a cancel. A running lookup cannot be stopped; cancelling it only
 * drops its callback, and its memory stays until the thread is done. Numeric addresses need no thread, but are
 * still reported at the end of the turn. */
#include <assert.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/uv/internal.h"

#define ADDRS 16u /* most addresses to try for a name */

struct uv_resolve {
    struct kt_resolve resolve;
    struct uv_io *u;
    kt_resolve_cb cb; /* NULL after cancel */
    void *ctx;
    uint16_t port;
    struct kt_addr numeric;
    struct kt_turn turn; /* reports a numeric address */
    uv_getaddrinfo_t req;
    char host[256];
};

/* Ends r, then reports: the callback may do anything, including starting another lookup. */
static void tell(struct uv_resolve *r, const struct kt_addr *addrs, size_t n, const struct kt_err *err)
{
    struct uv_io *u = r->u;
    kt_resolve_cb cb = r->cb;
    void *ctx = r->ctx;
    kt_uv_ended(u);
    free(r);
    cb(ctx, addrs, n, err);
}

static void tell_numeric(void *ctx)
{
    struct uv_resolve *r = ctx;
    struct kt_addr addr = r->numeric;
    tell(r, &addr, 1, NULL);
}

static size_t collect(struct kt_addr addrs[ADDRS], const struct addrinfo *res, uint16_t port)
{
    size_t n = 0;
    for (; res && n < ADDRS; res = res->ai_next) {
        if (!kt_addr_from_sockaddr(&addrs[n], res->ai_addr)) continue;
        kt_addr_set_port(&addrs[n], port);
        kt_addr_unmap(&addrs[n]);
        n++;
    }
    return n;
}

static void describe(struct kt_err *err, const char *host, int status)
{
    if (status == UV_EAI_AGAIN)
        kt_err_set(err, KT_ENAME, "%s: the name server does not answer", host);
    else if (status == 0 || status == UV_EAI_NONAME || status == UV_EAI_NODATA)
        kt_err_set(err, KT_ENAME, "%s: no such host name", host);
    else
        kt_err_set(err, kt_uv_code(status), "%s: %s", host, uv_strerror(status));
}

static void on_answer(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
    struct uv_resolve *r = req->data;
    kt_uv_wake(r->u);
    if (!r->cb) {
        uv_freeaddrinfo(res);
        kt_uv_close_done(r->u);
        free(r);
        return;
    }
    struct kt_addr addrs[ADDRS];
    struct kt_err err;
    size_t n = status == 0 ? collect(addrs, res, r->port) : 0;
    uv_freeaddrinfo(res);
    if (n == 0) describe(&err, r->host, status);
    tell(r, addrs, n, n ? NULL : &err);
}

static void resolve_cancel(struct kt_resolve *resolve)
{
    struct uv_resolve *r = (struct uv_resolve *)(void *)resolve;
    assert(r->cb);
    r->cb = NULL;
    if (r->req.data) {
        kt_uv_close_begun(r->u);
        uv_cancel((
            uv_req_t *)&r->req); /* works while it still waits for a thread; on_answer is called either way */
        return;
    }
    kt_io_turn_cancel(&r->turn);
    kt_uv_ended(r->u);
    free(r);
}

int kt_uv_resolve(struct kt_io *io, const char *host, uint16_t port, kt_resolve_cb cb, void *ctx,
    struct kt_resolve **out, struct kt_err *err)
{
    *out = NULL;
    struct uv_resolve *r = calloc(1, sizeof *r);
    if (!r) return kt_err_set(err, KT_ENOMEM, "%.255s: out of memory", host);
    r->resolve.cancel = resolve_cancel;
    r->u = kt_uv(io);
    r->cb = cb;
    r->ctx = ctx;
    r->port = port;
    kt_turn_init(&r->turn, tell_numeric, r);
    snprintf(r->host, sizeof r->host, "%s", host);
    if (kt_addr_from_ip(&r->numeric, host, port)) {
        kt_io_turn(io, &r->turn);
    } else if (!kt_uv_prealloc_threads(r->u)) {
        free(r);
        return kt_err_set(err, KT_ENOMEM, "%.255s: out of memory for the lookup threads", host);
    } else {
        /* One entry per address; the socket type does not matter otherwise. */
        struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
        int status = uv_getaddrinfo(&r->u->loop, &r->req, on_answer, host, NULL, &hints);
        if (status < 0) { /* failed to start: not a valid host name, such as one that is too long */
            free(r);
            return kt_err_set(err, KT_ENAME, "%.255s: not a host name: %s", host, uv_strerror(status));
        }
        r->req.data = r;
    }
    kt_uv_opened(r->u);
    *out = &r->resolve;
    return 0;
}
